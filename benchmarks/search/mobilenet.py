"""A small MobileNet for 32 x 32 images: the network of the table that no default was tuned on.

Source: Howard et al. 2017, arXiv:1704.04861, table 1.  Differs: four depthwise separable blocks in
place of thirteen, narrower ones, for smaller images.
"""

from __future__ import annotations

from collections import OrderedDict
from functools import partial

from torch import nn
from torchvision.ops import Conv2dNormActivation

_layer = partial(Conv2dNormActivation, activation_layer=nn.ReLU)
"""A convolution without bias, batch norm, ReLU."""


class MobileNet(nn.Sequential):
    """Of normalised images (batch, 3, 32, 32); logits (batch, classes).

    Its taps have the names of the ResNets', which the surrogate's features read.
    """

    def __init__(self, classes: int) -> None:
        layers = {
            "stem": _layer(3, 32, 3, stride=2),
            "stage1": _separable(32, 64, 1),
            "stage2": nn.Sequential(_separable(64, 128, 2), _separable(128, 128, 1)),
            "stage3": _separable(128, 256, 2),
        }
        head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(256, classes))
        super().__init__(OrderedDict(**layers, head=head))
        self.taps = {name: name for name in layers}


def _separable(channels: int, width: int, stride: int) -> nn.Sequential:
    """A depthwise convolution of 3 x 3, then one of 1 x 1."""
    depthwise = _layer(channels, channels, 3, stride=stride, groups=channels)
    return nn.Sequential(depthwise, _layer(channels, width, 1))
