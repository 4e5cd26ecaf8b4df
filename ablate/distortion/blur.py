"""Blur: Gaussian, defocus, motion and zoom, each image by its own size of the blur.

Source: the blurs of CIFAR-10-C and ImageNet-C.  Differs: lengths are shares of the image's side,
kernels are not cut, and the border mirrors the image (edge repeated); the disk of defocus falls off
over one pixel; motion runs along a line to both sides, in any direction; zooms grow by a constant
factor.  Computed in fp32 (fp64 for fp64 images), regardless of autocast.
"""

from __future__ import annotations

import math
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional

from ablate.distortion.convolution import convolve, mix_axes
from ablate.distortion.kind import distortion, keep_at_zero
from ablate.distortion.random import draw_angle
from ablate.distortion.shapes import Images, PerImage, Strengths

SIGMA = 1 / 16
"""Of the Gaussian at strength 1, as a share of the shorter side: 2 pixels of 32, 14 of 224."""

RADIUS = 3 / 32
"""Of defocus at strength 1, as a share of the shorter side: 3 pixels of 32, 21 of 224."""

LENGTH = 5 / 16
"""Of motion at strength 1, as a share of the shorter side: 10 pixels of 32, 70 of 224."""

ZOOM = 0.5
"""The largest zoom at strength 1, above 1: half as large again."""

_SHARPEST_PIXELS = 1e-3  # stands for sigma 0: every weight but the centre's underflows to 0
_NEGLIGIBLE_WEIGHT = 1e-26  # far below rounding; products of denormal numbers are slow on a CPU


@distortion()
def gaussian_blur(images: Images, strength: Strengths, _: Tensor) -> Images:
    """The images convolved with a Gaussian of sigma `SIGMA * strength` times the shorter side."""
    wide = torch.promote_types(images.dtype, torch.float32)
    sigma = (SIGMA * min(images.shape[2:]) * strength).to(wide)
    return mix_axes(images.to(wide), partial(_blur_matrix, sigma)).clamp_(0, 1).to(images.dtype)


def _blur_matrix(sigma_pixels: PerImage, side: int) -> Tensor:
    """The kernel and the mirrored border."""
    position = torch.arange(2 * side, device=sigma_pixels.device)
    scaled = position / sigma_pixels.clamp_min(_SHARPEST_PIXELS)[:, None]
    kernel = functional.threshold(torch.exp(-0.5 * scaled.square()), _NEGLIGIBLE_WEIGHT, 0.0)
    # Rows that slide over one line of weights: copies of views, where indices would be gathered.
    line = torch.cat([kernel[:, 1:side].flip(1), kernel[:, :side]], dim=1)
    weights = line.unfold(1, side, 1).flip(1)
    # A pixel and its mirror images beyond both ends; the next ones are 16 sigma away.
    beyond = kernel[:, 1:]
    weights += beyond.unfold(1, side, 1)
    weights += beyond.flip(1).unfold(1, side, 1)
    return weights.div_(weights.sum(2, keepdim=True))


@distortion()
def defocus_blur(images: Images, strength: Strengths, _: Tensor) -> Images:
    """The images convolved with a disk of radius `RADIUS * strength` times the shorter side.

    A pixel within the radius has weight 1; over the next pixel the weight falls to 0, so that
    radius 0 is the identity and any larger radius has an effect.
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


@distortion(draw_angle)
def motion_blur(images: Images, strength: Strengths, angle: PerImage) -> Images:
    """The images' mean along a line of `LENGTH * strength` times the shorter side.

    Args:
        angle: of the line to the rows, in radians; pi / 2 is upright.
    """
    wide = torch.promote_types(images.dtype, torch.float32)
    longest = LENGTH * min(images.shape[2:])
    points = math.ceil(longest)  # on half of the line, so two a pixel or more
    place = (torch.arange(points, device=images.device) + 0.5) * (longest / 2 / points)
    along = (strength[:, None] * place).to(wide)
    reach = math.ceil(longest / 2)
    pixel = torch.arange(-reach, reach + 1, device=images.device)
    # Each point is shared between its two pixels of an axis, as linear interpolation does.
    down, across = (
        (1 - ((along * part(angle.to(wide))[:, None])[:, :, None] - pixel).abs_()).clamp_min_(0)
        for part in (torch.sin, torch.cos)
    )
    with torch.autocast(images.device.type, enabled=False):
        half_lines = down.mT @ across
    return keep_at_zero(convolve(images, half_lines).clamp_(0, 1), images, strength)


@distortion()
def zoom_blur(images: Images, strength: Strengths, _: Tensor) -> Images:
    """The mean of the images at zooms into their centres, from 1 to `1 + ZOOM * strength`.

    The mean of 2**n zooms is made by n averages of the image so far with one zoom of itself, each
    by twice the factor before (on a logarithmic scale).  n is such that the border of the image
    moves by a pixel or less from one zoom to the next.
    """
    wide = torch.promote_types(images.dtype, torch.float32)
    border_pixels = max(images.shape[2:]) / 2 * ZOOM / (1 + ZOOM)
    doublings = max(1, math.ceil(math.log2(border_pixels + 1)))
    largest = torch.log1p(ZOOM * strength).to(wide)
    blurred = images.to(wide)
    for number in range(doublings):
        zoom = torch.exp(largest * (2**number / (2**doublings - 1)))
        blurred = torch.lerp(mix_axes(blurred, partial(_zoom_matrix, zoom)), blurred, 0.5)
    return blurred.clamp_(0, 1).to(images.dtype)


def _zoom_matrix(zoom: PerImage, side: int) -> Tensor:
    here = torch.arange(side, device=zoom.device)
    centre = (side - 1) / 2
    source = (here - centre) / zoom[:, None] + centre
    return (source[:, :, None] - here).abs_().neg_().add_(1).clamp_min_(0)
