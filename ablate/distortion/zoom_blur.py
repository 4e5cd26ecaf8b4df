"""Zoom blur: the mean of the image and of ever larger zooms into its centre.

Source: the zoom blur of CIFAR-10-C and ImageNet-C.  Differs: the zooms grow by a constant factor
instead of a constant step, by linear interpolation, and the largest grows linearly with the
strength.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ablate.distortion.kind import Distortion
from ablate.distortion.random import draw_nothing
from ablate.distortion.shapes import Images, PerImage, Strengths

ZOOM = 0.5
"""The largest zoom at strength 1, above 1: half as large again."""


def zoom_blur(images: Images, strength: Strengths, _draws: Tensor) -> Images:
    """The mean of the images at zooms from 1 to `1 + ZOOM * strength`.

    The mean of 2**n zooms is made by n averages of the image so far with one zoom of itself, each
    by twice the factor before (on a logarithmic scale).  n is such that the border of the image
    moves by a pixel or less from one zoom to the next.  A zoom is two matrix products.

    Args:
        images: in [0, 1].
        strength: in [0, 1], one per image.
    """
    _, channels, height, width = images.shape
    wide = torch.promote_types(images.dtype, torch.float32)
    border_pixels = max(height, width) / 2 * ZOOM / (1 + ZOOM)
    doublings = max(1, math.ceil(math.log2(border_pixels + 1)))
    largest = torch.log1p(ZOOM * strength).to(wide)
    planes = images.to(wide).reshape(-1, height, width)
    for number in range(doublings):
        zoom = torch.exp(largest * (2**number / (2**doublings - 1)))
        rows = _zoom_matrix(height, zoom).repeat_interleave(channels, dim=0)
        if width == height:
            columns = rows
        else:
            columns = _zoom_matrix(width, zoom).repeat_interleave(channels, dim=0)
        with torch.autocast(images.device.type, enabled=False):
            planes = torch.lerp(rows @ planes @ columns.mT, planes, 0.5)
    return planes.view(images.shape).clamp_(0, 1).to(images.dtype)


def _zoom_matrix(side: int, zoom: PerImage) -> Tensor:
    here = torch.arange(side, device=zoom.device)
    centre = (side - 1) / 2
    source = (here - centre) / zoom[:, None] + centre
    return (source[:, :, None] - here).abs_().neg_().add_(1).clamp_min_(0)


DISTORTION = Distortion("zoom_blur", draw_nothing, zoom_blur)
