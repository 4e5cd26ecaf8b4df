"""Residual networks for 32x32 images.

Source: He et al. 2016, arXiv:1512.03385, sec. 4.2 (6n + 2 layers; He initialisation as in
arXiv:1502.01852).  Differs: the shortcut into a wider stage is a 1x1 convolution (their option B).
Not to be confused with the ImageNet ResNets, whose stem shrinks the image fourfold.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import nn

from ablate.distortion.shapes import Images, Logits
from ablate.model import TAPS
from ablate.model.normalization import Normalize

_WIDTHS = (16, 32, 64)


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut around them."""

    def __init__(self, width_in: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width_in, width, 3, stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU()
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or width_in != width:
            self.shortcut = nn.Sequential(
                nn.Conv2d(width_in, width, 1, stride, bias=False), nn.BatchNorm2d(width)
            )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        inner = self.relu(self.norm1(self.conv1(x)))
        out: torch.Tensor = self.relu(self.norm2(self.conv2(inner)) + self.shortcut(x))
        return out


class ResNet(nn.Module):
    """A stem, three stages and a linear classifier.

    Args:
        blocks: residual blocks per stage; 6 * blocks + 2 layers.
        classes: size of the output.
        mean, std: of each channel of the images, as fractions of 255.

    Attributes:
        taps: name -> module path of the layers whose feature maps have a name, first to last;
            each is what leaves a ReLU.
    """

    def __init__(
        self, blocks: int, classes: int, mean: Sequence[float], std: Sequence[float]
    ) -> None:
        super().__init__()
        self.normalize = Normalize(mean, std)
        first, second, third = _WIDTHS
        self.stem = nn.Sequential(
            nn.Conv2d(len(mean), first, 3, padding=1, bias=False), nn.BatchNorm2d(first), nn.ReLU()
        )
        self.stage1 = _build_stage(ResidualBlock, first, first, blocks, stride=1)
        self.stage2 = _build_stage(ResidualBlock, first, second, blocks, stride=2)
        self.stage3 = _build_stage(ResidualBlock, second, third, blocks, stride=2)
        self.classifier = nn.Linear(third, classes)
        self.taps = {name: name for name in TAPS}
        initialize_convolutions(self)

    def forward(self, images: Images) -> Logits:
        x = self.stem(self.normalize(images))
        x = self.stage3(self.stage2(self.stage1(x)))
        logits: torch.Tensor = self.classifier(x.mean(dim=(2, 3)))
        return logits


def initialize_convolutions(model: nn.Module) -> None:
    """He initialisation for the gradient's way, as in arXiv:1502.01852."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")


def _build_stage(
    block: Callable[[int, int, int], nn.Module], width_in: int, width: int, blocks: int, stride: int
) -> nn.Sequential:
    first = block(width_in, width, stride)
    return nn.Sequential(first, *(block(width, width, 1) for _ in range(blocks - 1)))


# -- Wide residual networks (WRN) for 32x32 images: norm and ReLU come before each convolution
#
# Source: Zagoruyko and Komodakis 2016, arXiv:1605.07146, sec. 2 (WRN-depth-widening; He
# initialisation as in arXiv:1502.01852).  Differs: no dropout, which is 0 in their CIFAR networks
# without it.


class PreactivationBlock(nn.Module):
    """Norm, ReLU and a 3x3 convolution, twice, and a shortcut around them.

    Where the shape changes, the shortcut is a 1x1 convolution of the first ReLU's output.
    """

    def __init__(self, width_in: int, width: int, stride: int) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(width_in)
        self.conv1 = nn.Conv2d(width_in, width, 3, stride, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.relu = nn.ReLU()
        self.shortcut: nn.Module | None = None
        if stride != 1 or width_in != width:
            self.shortcut = nn.Conv2d(width_in, width, 1, stride, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        active = self.relu(self.norm1(x))
        around = x if self.shortcut is None else self.shortcut(active)
        out: torch.Tensor = self.conv2(self.relu(self.norm2(self.conv1(active)))) + around
        return out


class WideResNet(nn.Module):
    """A stem, three stages, a last norm and ReLU, and a linear classifier.

    Args:
        depth: 6 n + 4, with n blocks a stage.
        widening: factor on the widths 16, 32 and 64 of the stages.
        classes: size of the output.
        mean, std: of each channel of the images, as fractions of 255.

    Attributes:
        taps: name -> module path of the layers whose feature maps have a name, first to last.
            Each is what a stage puts out: a sum that no norm or ReLU has touched yet.  The last
            map after them is the module `relu`.
    """

    def __init__(
        self,
        depth: int,
        widening: int,
        classes: int,
        mean: Sequence[float],
        std: Sequence[float],
    ) -> None:
        super().__init__()
        blocks = (depth - 4) // 6
        first = _WIDTHS[0]
        one, two, three = (width * widening for width in _WIDTHS)
        self.normalize = Normalize(mean, std)
        self.stem = nn.Conv2d(len(mean), first, 3, padding=1, bias=False)
        self.stage1 = _build_stage(PreactivationBlock, first, one, blocks, stride=1)
        self.stage2 = _build_stage(PreactivationBlock, one, two, blocks, stride=2)
        self.stage3 = _build_stage(PreactivationBlock, two, three, blocks, stride=2)
        self.norm = nn.BatchNorm2d(three)
        self.relu = nn.ReLU()
        self.classifier = nn.Linear(three, classes)
        self.taps = {name: name for name in TAPS}
        initialize_convolutions(self)

    def forward(self, images: Images) -> Logits:
        x = self.stem(self.normalize(images))
        x = self.relu(self.norm(self.stage3(self.stage2(self.stage1(x)))))
        logits: torch.Tensor = self.classifier(x.mean(dim=(2, 3)))
        return logits
