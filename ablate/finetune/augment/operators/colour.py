"""Operators that overlap the test corruptions: color, contrast, brightness, sharpness.

Each mixes the image with a plain form of itself; the image's share is `0.1 + 1.8 * level`, so that
above level 0.5 it is enhanced.
Source: PIL's `ImageEnhance` with AugMix's factors.  Differs: not cut to bytes.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from ablate.distortion.saturation import LUMA
from ablate.distortion.shapes import Images, PerImage

SHARE = (0.1, 1.8)
"""The image's share at level 0, and what level 1 adds."""


def color(images: Images, level: PerImage) -> Images:
    """Mixed with its own grey; grey images stay as they are."""
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
    weights = torch.tensor(LUMA, dtype=images.dtype, device=images.device)
    return (images * weights[:, None, None]).sum(1, keepdim=True)
