"""Gaussian blur, each image by its own sigma.

Source: the Gaussian blur of CIFAR-10-C and ImageNet-C.  Differs: sigma is a share of the image's
side, the kernel is not cut, and the border mirrors the image (edge repeated).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from ablate.distortion.kind import Distortion
from ablate.distortion.random import draw_nothing
from ablate.distortion.shapes import Images, PerImage, Strengths

SIGMA = 1 / 16
"""Standard deviation at strength 1 as a share of the shorter side: 2 pixels of 32, 14 of 224."""

SHARPEST_PIXELS = 1e-3  # stands for sigma 0: every weight but the centre's underflows to 0
NEGLIGIBLE_WEIGHT = 1e-26  # far below rounding; products of denormal numbers are slow on a CPU


def gaussian_blur(images: Images, strength: Strengths, _draws: Tensor) -> Images:
    """The images convolved with a Gaussian of sigma `SIGMA * strength` times the shorter side.

    Blurring an axis is a product with a matrix that holds the kernel and the mirrored border, so
    that images of different sigma need one batched product per axis.  Computed in fp32 (fp64 for
    fp64 images), regardless of autocast.

    Args:
        images: in [0, 1].
        strength: in [0, 1], one per image.
    """
    _, channels, height, width = images.shape
    wide = torch.promote_types(images.dtype, torch.float32)
    sigma = (SIGMA * min(height, width) * strength).to(wide)
    rows = _blur_matrix(height, sigma).repeat_interleave(channels, dim=0)
    if width == height:
        columns = rows
    else:
        columns = _blur_matrix(width, sigma).repeat_interleave(channels, dim=0)
    with torch.autocast(images.device.type, enabled=False):
        planes = rows @ images.to(wide).reshape(-1, height, width) @ columns.mT
    return planes.view(images.shape).clamp_(0, 1).to(images.dtype)


def _blur_matrix(side: int, sigma_pixels: PerImage) -> Tensor:
    position = torch.arange(2 * side, device=sigma_pixels.device)
    scaled = position / sigma_pixels.clamp_min(SHARPEST_PIXELS)[:, None]
    kernel = functional.threshold(torch.exp(-0.5 * scaled.square()), NEGLIGIBLE_WEIGHT, 0.0)
    # Rows that slide over one line of weights: copies of views, where indices would be gathered.
    line = torch.cat([kernel[:, 1:side].flip(1), kernel[:, :side]], dim=1)
    weights = line.unfold(1, side, 1).flip(1)
    # A pixel and its mirror images beyond both ends; the next ones are 16 sigma away.
    beyond = kernel[:, 1:]
    weights += beyond.unfold(1, side, 1)
    weights += beyond.flip(1).unfold(1, side, 1)
    return weights.div_(weights.sum(2, keepdim=True))


DISTORTION = Distortion("gaussian_blur", draw_nothing, gaussian_blur)
