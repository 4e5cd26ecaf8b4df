"""Operators that move an image: rotate, shear_x, shear_y, translate_x, translate_y.

All are one affine map an image, so that images of different operators go through one resampling.
Bilinear; what comes from outside is black.
Source: AugMix's, by PIL's affine transform.  Differs: angles are not cut to whole degrees.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import functional

from ablate.distortion.shapes import Images, PerImage
from ablate.finetune.augment.operators import OPERATORS

ANGLE = math.radians(30)
"""Angle at level 1, about the centre."""

SHEAR = 0.3
"""Shift at level 1 in pixels a row or column, about the upper left corner."""

SHIFT = 1 / 3
"""Shift at level 1 as a share of the side, cut to whole pixels: a part of one would blur."""


def move(
    images: Images, operators: Int64[Tensor, " batch"], level: PerImage, sign: PerImage
) -> Images:
    """Each image by its own operator.

    Args:
        images: in [0, 1].
        operators: number in `OPERATORS`, of `GEOMETRY`.
        level: in [0, 1].
        sign: 1 or -1: the direction.
    """
    height, width = images.shape[2:]

    def amount(name: str, unit: float) -> PerImage:
        return torch.where(operators == OPERATORS.index(name), unit * level * sign, 0.0)

    angle = amount("rotate", ANGLE)
    shear_x, shear_y = amount("shear_x", SHEAR), amount("shear_y", SHEAR)
    shift_x = amount("translate_x", SHIFT * width).trunc() / width
    shift_y = amount("translate_y", SHIFT * height).trunc() / height
    maps = affine_maps(angle, shear_x, shear_y, shift_x, shift_y, aspect=width / height)
    grid = functional.affine_grid(maps.to(images.dtype), list(images.shape), align_corners=False)
    return functional.grid_sample(images, grid, align_corners=False)


def affine_maps(
    angle: PerImage,
    shear_x: PerImage,
    shear_y: PerImage,
    shift_x: PerImage,
    shift_y: PerImage,
    *,
    aspect: float,
) -> Float[Tensor, "batch 2 3"]:
    """Where each pixel of the result is read from, in torch's coordinates of [-1, 1] a side.

    Args:
        angle: in radians, about the centre.
        shear_x, shear_y: pixels along one axis for each pixel along the other.
        shift_x, shift_y: as shares of the side.
            At most one of the five may differ from 0 on an image.
        aspect: width over height.
    """
    cosine, sine = angle.cos(), angle.sin()
    across, down = shear_x / aspect, shear_y * aspect
    first = torch.stack([cosine, across - sine / aspect, across + 2 * shift_x], dim=1)
    second = torch.stack([down + sine * aspect, cosine, down + 2 * shift_y], dim=1)
    return torch.stack([first, second], dim=1)
