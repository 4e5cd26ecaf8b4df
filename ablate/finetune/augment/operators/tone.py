"""Operators on an image's histogram or its values: autocontrast, equalize, posterize, solarize.

Each works on all images at once.  Values are taken as bytes where the operator is defined on bytes.
Source: the PIL `ImageOps` of these names, whose results on bytes these are.
"""

from __future__ import annotations

import torch

from ablate.distortion.shapes import Images, PerImage

POSTERIZE_BITS = 4.0
"""Bits that are left at level 0; at level 1 there is none, and the image is black."""


def autocontrast(images: Images, _level: PerImage) -> Images:
    """Each channel stretched so that its least value is 0 and its greatest 1.

    A channel of one value stays as it is.  Differs from PIL: not cut to bytes.
    """
    low, high = images.amin((2, 3), keepdim=True), images.amax((2, 3), keepdim=True)
    flat = low == high
    stretched = (images - low) / torch.where(flat, 1.0, high - low)
    return torch.where(flat, images, stretched)


def equalize(images: Images, _level: PerImage) -> Images:
    """Each channel with its histogram of 256 bytes made even.

    A channel whose most values are the greatest one (more than all but 255 of them) stays as it
    is, as does one of one value.
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
