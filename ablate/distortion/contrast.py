"""Contrast: the image pulled towards its own mean, channel by channel.

Source: the contrast of CIFAR-10-C and ImageNet-C, whose strongest factors are 0.15 and 0.05.
Differs: the factor falls linearly with the strength.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ablate.distortion.kind import Distortion
from ablate.distortion.random import draw_nothing
from ablate.distortion.shapes import Images, Strengths

FACTOR = 0.1
"""Fraction of the contrast kept at strength 1."""


def contrast(images: Images, strength: Strengths, _draws: Tensor) -> Images:
    """The images' distance from their channel means times `1 - (1 - FACTOR) * strength`.

    Args:
        images: in [0, 1].
        strength: in [0, 1], one per image.
    """
    kept = (1 - (1 - FACTOR) * strength).to(images.dtype)[:, None, None, None]
    # Written out, since lerp with two broadcast operands is three times slower on a CPU.
    means = torch.empty_like(images).copy_(images.mean((2, 3), keepdim=True))
    return means.lerp_(images, kept).clamp_(0, 1)


DISTORTION = Distortion("contrast", draw_nothing, contrast)
