"""A residual 2D U-Net whose finest layers work on pixels folded into channels."""

import torch
from torch import nn
from torch.nn import functional

from chaos_seg.errors import UserError
from chaos_seg.networks.unet import expect_size, initialise
from chaos_seg.registry import NETWORKS

NORMS = ("batch", "instance")


def normalisation(norm: str, channels: int) -> nn.Module:
    return nn.BatchNorm2d(channels) if norm == "batch" else nn.InstanceNorm2d(channels, affine=True)


class ResidualBlock(nn.Module):
    """relu(x' + conv(relu(conv(x)))) with normalisation after each 3 x 3 convolution; x' is x, or 1 x 1 convolved to
    as many channels (He et al. 2016, arXiv:1512.03385). (N, inputs, H, W) -> (N, outputs, H, W).
    """

    def __init__(self, inputs: int, outputs: int, norm: str):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
            normalisation(norm, outputs),
            nn.ReLU(inplace=True),
            nn.Conv2d(outputs, outputs, 3, padding=1, bias=False),
            normalisation(norm, outputs),
        )
        self.skip = nn.Identity() if inputs == outputs else nn.Conv2d(inputs, outputs, 1, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return functional.relu(self.skip(x) + self.body(x))


@NETWORKS.register("resunet")
class ResidualUNet(nn.Module):
    """Logits of liver for each pixel of a CT slice.

    Args:
        inputs: channels of the image.
        base: channels at the finest level; each of the `depth` levels below doubles them.
        depth: how often the resolution is halved below the stem.
        fold: this many pixels along each side become channels at the input, and channels pixels at the output (space
            to depth, and the sub-pixel head of Shi et al. 2016, arXiv:1609.05158); 1 leaves them.
        norm: batch or instance.
        dropout: probability at the end of the contracting path.
        deep_supervision: in training give the logits of every decoder level but the lowest, from fine to coarse, each
            at half the size of the one before, for the loss to look at (Lee et al. 2015, arXiv:1409.5185).

    Shape:
        input (N, inputs, H, W), H and W divisible by `divisor`; output (N, 1, H, W), before the sigmoid.

    Raises:
        UserError: no channels, another norm, or a size that `divisor` does not divide.
    """

    def __init__(
        self,
        inputs: int = 1,
        base: int = 24,
        depth: int = 4,
        fold: int = 2,
        norm: str = "batch",
        dropout: float = 0.1,
        deep_supervision: bool = False,
    ):
        super().__init__()
        if min(base, depth, fold) < 1 or norm not in NORMS or not 0 <= dropout < 1:
            raise UserError(
                f"network resunet: expected base, depth and fold above 0, norm batch or instance and dropout from 0 to "
                f"below 1, found {base}, {depth}, {fold}, {norm} and {dropout}."
            )
        channels = [base * 2**level for level in range(depth + 1)]
        self.inputs, self.fold, self.divisor = inputs, fold, fold * 2**depth
        self.encoder = nn.ModuleList(
            ResidualBlock(before, after, norm)
            for before, after in zip([inputs * fold**2, *channels], channels, strict=False)
        )
        self.up = nn.ModuleList(
            nn.ConvTranspose2d(channels[level + 1], channels[level], 2, stride=2) for level in range(depth)
        )
        self.decoder = nn.ModuleList(
            ResidualBlock(2 * channels[level], channels[level], norm) for level in range(depth)
        )
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Conv2d(base, fold**2, 1)
        coarser = channels[1 : depth - 1] if deep_supervision else []
        self.heads = nn.ModuleList(nn.Conv2d(width, fold**2, 1) for width in coarser)
        self.apply(initialise)

    def forward(self, image: torch.Tensor) -> torch.Tensor | tuple[torch.Tensor, ...]:
        expect_size(image, self.inputs, self.divisor)
        x = self.encoder[0](functional.pixel_unshuffle(image, self.fold))  # (N, base, H / fold, W / fold)
        skips = [x]
        for block in self.encoder[1:]:
            x = block(functional.max_pool2d(x, 2))  # channels double, sides halve
            skips.append(x)
        skips.pop()
        x = self.dropout(x)
        levels = []  # of the decoder, from coarse to fine
        for up, block, skip in zip(reversed(self.up), reversed(self.decoder), reversed(skips), strict=True):
            x = block(torch.cat([up(x), skip], dim=1))
            levels.append(x)
        logits = functional.pixel_shuffle(self.head(x), self.fold)
        if not self.training or not len(self.heads):
            return logits
        coarser = zip(self.heads, levels[-2::-1], strict=False)
        return logits, *(functional.pixel_shuffle(head(level), self.fold) for head, level in coarser)
