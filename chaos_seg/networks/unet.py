"""The 2D U-Net (Ronneberger et al. 2015, arXiv:1505.04597) with batch norm and dropout, as small as the study's."""

import torch
from torch import nn

from chaos_seg.errors import UserError
from chaos_seg.registry import NETWORKS

PLACES = ("bottom", "blocks", "joints")  # of dropout


class ConvBlock(nn.Sequential):
    """Twice: 3 x 3 convolution, batch norm, ReLU. (N, inputs, H, W) -> (N, outputs, H, W)."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__(
            nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
            nn.Conv2d(outputs, outputs, 3, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
        )


@NETWORKS.register("unet")
class UNet(nn.Module):
    """Logits of liver for each pixel of a CT slice.

    Args:
        inputs: channels of the image.
        base: channels at full resolution; each of the `depth` levels below doubles them.
        depth: how often the resolution is halved.
        dropout: probability.
        dropout_at: bottom, the end of the contracting path, where the paper has it; blocks, behind every one; or
            joints, behind every pooling and every concatenation.

    Shape:
        input (N, inputs, H, W), H and W divisible by 2**depth; output (N, 1, H, W), before the sigmoid.

    Raises:
        UserError: no channels or levels, another number of channels, or a size that 2**depth does not divide.
    """

    def __init__(
        self, inputs: int = 1, base: int = 8, depth: int = 4, dropout: float = 0.2, dropout_at: str = "bottom"
    ):
        super().__init__()
        for key, value in (("base", base), ("depth", depth)):
            if not value > 0:
                raise UserError(f"network.{key}={value}: expected a number above 0.")
        if not 0 <= dropout < 1:
            raise UserError(f"network.dropout={dropout}: expected a number from 0 to below 1.")
        if dropout_at not in PLACES:
            raise UserError(f"network.dropout_at={dropout_at}: expected one of {', '.join(PLACES)}.")
        channels = [base * 2**level for level in range(depth + 1)]  # 8 16 32 64 128
        self.inputs, self.depth, self.divisor, self.dropout_at = inputs, depth, 2**depth, dropout_at
        self.encoder = nn.ModuleList(
            ConvBlock(before, after) for before, after in zip([inputs, *channels], channels, strict=False)
        )
        # Transposed convolution: bilinear upsampling has no deterministic backward on CUDA.
        self.up = nn.ModuleList(
            nn.ConvTranspose2d(channels[level + 1], channels[level], 2, stride=2) for level in range(depth)
        )
        self.decoder = nn.ModuleList(ConvBlock(2 * channels[level], channels[level]) for level in range(depth))
        self.pool = nn.MaxPool2d(2)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Conv2d(base, 1, 1)
        self.apply(initialise)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        expect_size(image, self.inputs, self.divisor)
        x = self._dropped(self.encoder[0](image), "blocks")  # (N, base, H, W)
        skips = [x]
        for block in self.encoder[1:]:
            x = self._dropped(block(self._dropped(self.pool(x), "joints")), "blocks")  # channels double, sides halve
            skips.append(x)
        skips.pop()
        x = self._dropped(x, "bottom")  # (N, base * 2**depth, H / 2**depth, W / 2**depth)
        for level in reversed(range(self.depth)):
            x = self._dropped(torch.cat([self.up[level](x), skips[level]], dim=1), "joints")
            x = self._dropped(self.decoder[level](x), "blocks")
        logits: torch.Tensor = self.head(x)
        return logits

    def _dropped(self, x: torch.Tensor, place: str) -> torch.Tensor:
        dropped: torch.Tensor = self.dropout(x) if place == self.dropout_at else x
        return dropped


def expect_size(image: torch.Tensor, inputs: int, divisor: int) -> None:
    """Raises UserError for an image that a network of so many input channels and such a divisor can't take."""
    if image.ndim != 4 or image.shape[1] != inputs or image.shape[2] % divisor or image.shape[3] % divisor:
        raise UserError(
            f"network: expected images (N, {inputs}, H, W) with H and W divisible by {divisor}, found "
            f"{tuple(image.shape)}; choose another image_size or network.depth."
        )


def initialise(module: nn.Module) -> None:
    """He et al. 2015 (arXiv:1502.01852). Soft losses get going in a third of the epochs of torch's default."""
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        if module.bias is not None:
            nn.init.zeros_(module.bias)
