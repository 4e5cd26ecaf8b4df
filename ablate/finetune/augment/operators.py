"""The operators of AugMix: every image through its own, with one pass for each operator in use.

Source: AutoAugment's operators in the reading of Hendrycks et al. 2020, arXiv:1912.02781 (AugMix).
"""

from __future__ import annotations

import math
from functools import cache

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import functional

from ablate.distortion.photometric import LUMA
from ablate.distortion.shapes import Images, PerImage
from ablate.finetune.augment.mixture import rows_by_number

TONE = ("autocontrast", "equalize", "posterize", "solarize")
GEOMETRY = ("rotate", "shear_x", "shear_y", "translate_x", "translate_y")
COLOUR = ("color", "contrast", "brightness", "sharpness")

DISJOINT = (*TONE, *GEOMETRY)
"""Those that overlap no test corruption."""

OPERATORS = (*DISJOINT, *COLOUR)
"""All; an operator is a number in this order."""

OVERLAPS = {"color": "saturation", "contrast": "contrast", "brightness": "brightness"}
"""Operator -> the distortion type that it shows to the network."""


# -- Operators on an image's histogram or its values: autocontrast, equalize, posterize, solarize
#
# Each works on all images at once.  Values are taken as bytes where the operator is defined on
# bytes.
# Source: the PIL `ImageOps` of these names, whose results on bytes these are.


POSTERIZE_BITS = 4.0
"""Number of bits kept at level 0; at level 1 none is kept, and the image is black."""


def autocontrast(images: Images, _level: PerImage) -> Images:
    """Stretch each channel so that its smallest value is 0 and its largest 1.

    A constant channel is not changed.  Differs from PIL: not rounded to bytes.
    """
    low, high = images.amin((2, 3), keepdim=True), images.amax((2, 3), keepdim=True)
    flat = low == high
    stretched = (images - low) / torch.where(flat, 1.0, high - low)
    return torch.where(flat, images, stretched)


def equalize(images: Images, _level: PerImage) -> Images:
    """Equalise the histogram of 256 bytes of each channel.

    A channel is not changed if it is constant, or if all but fewer than 255 values are the largest
    one.
    """
    values = _nearest_bytes(images).long().flatten(2)
    counts = torch.zeros((*values.shape[:2], 256), dtype=torch.int64, device=values.device)
    counts.scatter_add_(2, values, torch.ones_like(values))
    greatest = counts.gather(2, values.amax(2, keepdim=True))
    step = (counts.sum(2, keepdim=True) - greatest) // 255
    below = counts.cumsum(2) - counts
    table = ((below + step // 2) // step.clamp_min(1)).clamp_max(255)
    table = torch.where(step > 0, table, torch.arange(256, device=values.device))
    return (table.gather(2, values) / 255).to(images.dtype).view(images.shape)


def posterize(images: Images, level: PerImage) -> Images:
    """Bytes of which only the highest bits are left: `4 - 4 * level` of them, rounded up."""
    left = POSTERIZE_BITS - (POSTERIZE_BITS * level).floor()
    width = 2 ** (8 - left)[:, None, None, None]
    return (_nearest_bytes(images) / width).floor() * width / 255


def solarize(images: Images, level: PerImage) -> Images:
    """Bytes of at least `256 - 256 * level`, rounded up, turned into 255 less themselves."""
    threshold = 256 - (256 * level).floor()
    bright = _nearest_bytes(images) >= threshold[:, None, None, None]
    return torch.where(bright, 1 - images, images)


def _nearest_bytes(images: Images) -> Images:
    """0 to 255 for each value, whole numbers in the images' dtype."""
    return (images * 255).round()


# -- Operators that overlap the test corruptions: color, contrast, brightness, sharpness ---
#
# Each mixes the image with a plain form of itself; the image's share is `0.1 + 1.8 * level`, so
# that above level 0.5 it is enhanced.
# Source: PIL's `ImageEnhance` with AugMix's factors.  Differs: not cut to bytes.


SHARE = (0.1, 1.8)
"""The image's share at level 0, and what level 1 adds."""


def color(images: Images, level: PerImage) -> Images:
    """Mix with the image's grey version; grey images are not changed."""
    return _mix(_grey(images), images, level)


def contrast(images: Images, level: PerImage) -> Images:
    """Mixed with the mean of its grey."""
    return _mix(_grey(images).mean((2, 3), keepdim=True), images, level)


def brightness(images: Images, level: PerImage) -> Images:
    """Mixed with black."""
    return _mix(images.new_zeros(1), images, level)


def sharpness(images: Images, level: PerImage) -> Images:
    """Mixed with a smoothed form: neighbours 1, centre 5, of 13; the outer pixels stay."""
    plain = images.clone()
    if min(images.shape[2:]) > 2:
        centre = images[..., 1:-1, 1:-1]
        around = torch.nn.functional.avg_pool2d(images, 3, stride=1) * 9
        plain[..., 1:-1, 1:-1] = (around + 4 * centre) / 13
    return _mix(plain, images, level)


def _mix(plain: Tensor, images: Images, level: PerImage) -> Images:
    share = (SHARE[0] + SHARE[1] * level).to(images.dtype)[:, None, None, None]
    return torch.lerp(plain.expand_as(images), images, share).clamp_(0, 1)


def _grey(images: Images) -> Float[Tensor, "batch 1 height width"]:
    if images.shape[1] == 1:
        return images
    return (images * _luma(images.dtype, images.device)).sum(1, keepdim=True)


@cache
def _luma(dtype: torch.dtype, device: torch.device) -> Float[Tensor, "3 1 1"]:
    return torch.tensor(LUMA, dtype=dtype, device=device)[:, None, None]


def apply_operators(
    images: Images, operators: Int64[Tensor, " batch"], level: PerImage, sign: PerImage
) -> Images:
    """Apply to each image its own operator, or none.

    Args:
        images: in [0, 1], fp32 or fp64.
        operators: number in `OPERATORS`, -1 for none; on the CPU.
        level: of each image, in [0, 1]: 1 is the strongest; on the images' device.
        sign: 1 or -1: direction of geometric operators; on the images' device.

    Returns:
        New images in [0, 1], up to rounding.
    """
    result = images.clone()
    by_operator = rows_by_number(operators, len(OPERATORS), images.device)
    of_tone = (autocontrast, equalize, posterize, solarize)
    for operator in (*of_tone, color, contrast, brightness, sharpness):
        rows = by_operator[OPERATORS.index(operator.__name__)]
        if len(rows):
            result[rows] = operator(images[rows], level[rows])
    moves = {OPERATORS.index(name): by_operator[OPERATORS.index(name)] for name in GEOMETRY}
    rows = torch.cat(list(moves.values()))
    if len(rows):
        moved = torch.cat([torch.full_like(some, number) for number, some in moves.items()])
        result[rows] = move(images[rows], moved, level[rows], sign[rows])
    return result


# -- Operators that move an image: rotate, shear_x, shear_y, translate_x, translate_y ------
#
# All are one affine map per image, so that images with different operators need only one
# resampling. Bilinear; a pixel whose centre comes from outside is black, and one from the edge is
# not mixed with black. Source: AugMix's, by PIL's affine transform.  Differs: angles are not
# rounded to whole degrees, values not cut to bytes.


ANGLE = math.radians(30)
"""Angle at level 1, about the centre."""

SHEAR = 0.3
"""Shift at level 1 in pixels a row or column, about the upper left corner."""

SHIFT = 1 / 3
"""Shift at level 1 as a fraction of the side, rounded down to whole pixels, because a fraction of a
pixel would blur."""


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
    # Where each pixel is read from, in torch's coordinates of [-1, 1] a side.  At most one of the
    # five differs from 0 on an image.
    aspect, cosine, sine = width / height, angle.cos(), angle.sin()
    across, down = shear_x / aspect, shear_y * aspect
    first = torch.stack([cosine, across - sine / aspect, across + 2 * shift_x], dim=1)
    second = torch.stack([down + sine * aspect, cosine, down + 2 * shift_y], dim=1)
    maps = torch.stack([first, second], dim=1)
    grid = functional.affine_grid(maps.to(images.dtype), list(images.shape), align_corners=False)
    sampled = functional.grid_sample(images, grid, padding_mode="border", align_corners=False)
    inside = ((grid >= -1) & (grid < 1)).all(-1)
    return sampled * inside[:, None]
