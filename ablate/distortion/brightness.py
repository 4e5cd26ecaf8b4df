"""Brightness: the same amount added to every value of an image, or taken from it.

Source: the brightness of CIFAR-10-C.  Differs: added in RGB instead of to HSV's V, and darker is as
likely as brighter.
"""

from __future__ import annotations

import torch

from ablate.distortion.kind import Distortion
from ablate.distortion.random import draw_sign
from ablate.distortion.shapes import Images, PerImage, Strengths

SHIFT = 0.5
"""Amount added or subtracted at strength 1, in units of the pixel range."""


def brightness(images: Images, strength: Strengths, sign: PerImage) -> Images:
    """The images plus `SHIFT * strength * sign`, clamped to [0, 1].

    Args:
        images: in [0, 1].
        strength: in [0, 1], one per image.
        sign: 1 brighter, -1 darker, one per image.
    """
    change = (strength * sign).view(-1, 1, 1, 1)
    return torch.add(images, change, alpha=SHIFT).clamp_(0, 1).to(images.dtype)


DISTORTION = Distortion("brightness", draw_sign, brightness)
