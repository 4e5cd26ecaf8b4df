"""Defocus blur: every point becomes an even disk, each image by its own radius.

Source: the defocus blur of CIFAR-10-C and ImageNet-C.  Differs: the radius is a share of the
image's side, the disk's edge falls off over one pixel instead of being smoothed by a Gaussian, and
the border mirrors the image (edge repeated).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ablate.distortion.convolution import convolve
from ablate.distortion.kind import Distortion, keep_at_zero
from ablate.distortion.random import draw_nothing
from ablate.distortion.shapes import Images, Strengths

RADIUS = 3 / 32
"""Radius at strength 1 as a share of the shorter side: 3 pixels of 32, 21 of 224."""


def defocus_blur(images: Images, strength: Strengths, _draws: Tensor) -> Images:
    """The images convolved with a disk of radius `RADIUS * strength` times the shorter side.

    A pixel within the radius has weight 1; over the next pixel the weight falls to 0, so that
    radius 0 is the identity and any larger radius has an effect.

    Args:
        images: in [0, 1].
        strength: in [0, 1], one per image.
    """
    wide = torch.promote_types(images.dtype, torch.float32)
    strongest = RADIUS * min(images.shape[2:])
    radius = (strongest * strength).to(wide)[:, None, None]
    reach = math.ceil(strongest)
    step = torch.arange(-reach, reach + 1, device=images.device)
    distance = (step[:, None].square() + step.square()).to(wide).sqrt_()
    disks = (radius + 1 - distance).clamp_(0, 1)
    blurred = convolve(images, disks, diagonal=False).clamp_(0, 1)
    return keep_at_zero(blurred, images, strength)


DISTORTION = Distortion("defocus_blur", draw_nothing, defocus_blur)
