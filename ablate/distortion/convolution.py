"""Linear filters of each image by its own weights: a matrix for each axis, or a kernel.

An image with mirrored borders is a sum of cosines.  A kernel that is symmetric under a half-turn
only scales them: by its even part if both axes remain cosines, and by its odd part if both become
sines.  So the cost does not depend on the kernel size, and images with different kernels use the
same four or six matrix products.  Source: Martucci 1994, "Symmetric convolution and the discrete
sine and cosine transforms" [S].  On a CPU small kernels are faster tap by tap.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from ablate.distortion.shapes import Images

Kernels = Float[Tensor, "batch taps_down taps_across"]
"""Weights of the pixels around each pixel, one kernel per image; the middle is the pixel itself."""


def mix_axes(images: Images, matrix_of: Callable[[int], Tensor]) -> Images:
    """The images with their rows and their columns mixed, regardless of autocast.

    Args:
        matrix_of: a side in pixels -> `[image, to, from]`, so that images with different filters
            need one batched product per axis.
    """
    _, channels, height, width = images.shape
    rows = matrix_of(height).repeat_interleave(channels, dim=0)
    columns = rows
    if width != height:
        columns = matrix_of(width).repeat_interleave(channels, dim=0)
    with torch.autocast(images.device.type, enabled=False):
        planes = rows @ images.reshape(-1, height, width) @ columns.mT
    return planes.view(images.shape)


def convolve(images: Images, kernels: Kernels, *, diagonal: bool = True) -> Images:
    """Convolve the images with mirrored borders (edge repeated), in the kernels' dtype.

    Args:
        kernels: odd in both sides.  They are scaled to sum 1 and averaged with their half-turn, so
            that half a kernel is sufficient.
        diagonal: whether mirroring one axis changes a kernel; False spares two products.
    """
    kernels = kernels / kernels.sum((1, 2), keepdim=True)
    images = images.to(kernels.dtype)
    taps = kernels.shape[1] * kernels.shape[2]
    # The one with fewer multiplications; but a GPU may round a convolution's operands to TF32.
    direct = len(images) > 0 and images.device.type == "cpu" and taps <= 4 * min(images.shape[2:])
    with torch.autocast(images.device.type, enabled=False):
        if direct:
            return convolve_by_tap(images, kernels)
        return convolve_by_wave(images, kernels, diagonal=diagonal)


def convolve_by_wave(images: Images, kernels: Kernels, *, diagonal: bool = True) -> Images:
    """`convolve` by products with the axes' cosines and sines; for kernels of sum 1."""
    rows, columns = (
        _waves(side, taps, kernels)
        for side, taps in zip(images.shape[2:], kernels.shape[1:], strict=True)
    )
    spectrum = rows.analysis @ images @ columns.analysis.mT
    even = rows.kernel_cosines @ kernels @ columns.kernel_cosines.mT
    convolved = rows.cosines @ (spectrum * even[:, None]) @ columns.cosines.mT
    if diagonal:
        odd = rows.kernel_sines @ kernels @ columns.kernel_sines.mT
        convolved += rows.sines @ spectrum.mul_(odd[:, None]) @ columns.sines.mT
    return convolved


def convolve_by_tap(images: Images, kernels: Kernels) -> Images:
    """`convolve` by a convolution of each channel by itself; for kernels of sum 1."""
    batch, channels, height, width = images.shape
    down, across = kernels.shape[1:]
    rows, columns = _mirror(height, down // 2, images), _mirror(width, across // 2, images)
    places = (rows[:, None] * width + columns).flatten()
    extended = images.reshape(-1, height * width).index_select(1, places)
    planes = extended.view(1, -1, len(rows), len(columns))
    symmetric = (kernels + kernels.flip(1, 2)) / 2
    weights = symmetric.repeat_interleave(channels, dim=0)[:, None]
    return functional.conv2d(planes, weights, groups=batch * channels).view(images.shape)


def _mirror(side: int, reach: int, like: Tensor) -> Tensor:
    """The pixel that each place shows, from `reach` before an axis to `reach` behind it."""
    place = torch.arange(-reach, side + reach, device=like.device).remainder_(2 * side)
    return torch.minimum(place, 2 * side - 1 - place)


class _Waves(NamedTuple):
    """An axis's cosines and sines at the frequencies of its cosine transform, slowest first."""

    analysis: Tensor  # [frequency, position]: from pixels to how much there is of each cosine
    cosines: Tensor  # [position, frequency]
    sines: Tensor
    kernel_cosines: Tensor  # [frequency, tap]
    kernel_sines: Tensor


def _waves(side: int, taps: int, like: Tensor) -> _Waves:
    frequency = torch.arange(side, device=like.device)
    twice_centre = 2 * torch.arange(side, device=like.device) + 1
    tap = torch.arange(taps, device=like.device) - taps // 2
    at_centre = _angle(twice_centre[:, None] * frequency, 2 * side, like)
    at_tap = _angle(frequency[:, None] * tap, side, like)
    cosines = at_centre.cos()
    analysis = cosines.mT * (2 / side)
    analysis[0] /= 2  # a sum of squares of the constant wave is twice that of any other
    return _Waves(analysis, cosines, at_centre.sin(), at_tap.cos(), at_tap.sin())


def _angle(steps: Tensor, half_turn: int, like: Tensor) -> Tensor:
    """pi * steps / half_turn.

    Whole turns go while the numbers are integers: a large angle would lose its last digits.
    """
    return steps.remainder(2 * half_turn).to(like.dtype) * (math.pi / half_turn)
