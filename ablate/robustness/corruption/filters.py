"""The linear filters that corruptions are made of: Gaussian, few taps, smear and zoom."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from functools import lru_cache
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Float64, Int64
from scipy import ndimage, sparse
from torch import Tensor
from torch.nn import functional

from ablate.distortion.shapes import Images, PerImage

AxisMatrix = Float64[Tensor, "_to _from"]
"""What a filter that works on the rows and on the columns alone makes of an axis, in fp64 on the
CPU.  There the product with a whole matrix is quicker than a convolution of a few taps, and it is
the same on a GPU."""

NEGLIGIBLE_WEIGHT = 1e-5
"""Of a tap: a kernel's ends that weigh less move no value by more than 0.005 grey levels."""


def filter_axes(images: Images, rows: AxisMatrix, columns: AxisMatrix) -> Images:
    """The images with the rows mixed by one matrix and the columns by another."""
    rows, columns = (matrix.to(images) for matrix in (rows, columns))
    return rows @ (images @ columns.mT)


def gaussian_filter(
    images: Images,
    sigma_pixels: float,
    *,
    border: Literal["nearest", "reflect"] = "nearest",
    truncate: float = 4.0,
) -> Images:
    """scipy's and scikit-image's Gaussian filter.

    Args:
        sigma_pixels: 0 is the identity.
        border: "nearest": the edge repeated; "reflect": mirrored, the edge repeated once.
        truncate: where the kernel ends, in sigmas, rounded to whole pixels.
    """
    if int(truncate * sigma_pixels + 0.5) == 0:
        return images
    taps = _gaussian_taps(sigma_pixels, truncate)
    if len(taps) == 3:  # and both borders are the edge repeated
        return correlate(images, (taps[None], taps[:, None]), "replicate")
    rows, columns = (
        gaussian_matrix(side, sigma_pixels, border, truncate) for side in images.shape[2:]
    )
    return filter_axes(images, rows, columns)


@lru_cache(maxsize=64)
def _gaussian_taps(sigma_pixels: float, truncate: float) -> Float64[np.ndarray, " tap"]:
    """The kernel, without its ends where they weigh nothing."""
    reach = int(truncate * sigma_pixels + 0.5)
    point = np.eye(2 * reach + 1)[reach]
    taps = ndimage.gaussian_filter1d(point, sigma_pixels, truncate=truncate, mode="constant")
    kept = taps[taps > NEGLIGIBLE_WEIGHT]
    return np.asarray(kept / kept.sum())


@lru_cache(maxsize=64)
def gaussian_matrix(
    side_pixels: int,
    sigma_pixels: float,
    border: Literal["nearest", "reflect"] = "nearest",
    truncate: float = 4.0,
) -> AxisMatrix:
    """What `gaussian_filter` makes of an axis."""
    unit = np.eye(side_pixels)
    matrix = ndimage.gaussian_filter1d(unit, sigma_pixels, 0, mode=border, truncate=truncate)
    return torch.from_numpy(matrix)


Kernel = Float[np.ndarray, "_rows _columns"]
"""Of odd sides; its middle lies on the pixel."""


def correlate(
    images: Images, kernels: Sequence[Kernel], border: Literal["replicate", "reflect"]
) -> Images:
    """The images under one kernel after the other, each channel by itself; beyond the border the
    edge is repeated, or the image is mirrored about the pixel at it.

    A weighted sum of the images moved in memory: each tap is one pass over numbers side by side, in
    which a CPU is at its quickest, and taps of 0 cost nothing.
    """
    height, width = images.shape[2:]
    above, left = (sum(kernel.shape[axis] // 2 for kernel in kernels) for axis in (0, 1))
    if not images.numel():
        return images.clone()
    padded = functional.pad(images, (left, left, above, above), mode=border)
    summed = padded.view(-1)
    for kernel in kernels:
        flat, summed = summed, summed * float(kernel[0, 0])
        for row, column in np.argwhere(kernel):
            moved = row * padded.shape[3] + column
            if moved:
                summed[:-moved].add_(flat[moved:], alpha=float(kernel[row, column]))
    # What was moved in from the next row, or is missing at the end, lies beyond the images.
    return summed.view(padded.shape)[:, :, :height, :width].contiguous()


# -- ImageMagick's motion blur, which the benchmark's motion blur and snow are made with ----
#
# Source: `MotionBlurImage` of ImageMagick 6 and 7 (effect.c): weights, offsets and border.  The
# kernel is half of a Gaussian: it starts at the pixel and runs `2 * radius` pixels to one side, in
# whole pixels.


_TOGETHER = 128  # images with one extension, which is the smaller the more alike their angles are
_STRETCH_VALUES = 2**18  # of all taps, so that they are in a CPU's cache when they are summed

Offsets = Int64[Tensor, "batch tap 2"]
"""How far down and across each tap lies, in pixels."""


def smear(images: Images, radius: float, sigma: float, angle_degrees: PerImage) -> Images:
    """The images drawn out to one side, each in a direction of its own, in whole bytes.

    Args:
        images: in [0, 1]; what lies beyond the border is the pixel at the border.
        radius: in pixels; the kernel has `2 * radius + 1` taps.
        sigma: of the Gaussian along the line, in pixels.
        angle_degrees: where the line comes from, clockwise from the right; any angle.
    """
    taps = [math.exp(-(tap**2) / (2 * sigma**2)) for tap in range(2 * math.ceil(radius) + 1)]
    kept = [tap for tap in taps if tap > NEGLIGIBLE_WEIGHT * sum(taps)]
    weights = images.new_tensor([tap / sum(kept) for tap in kept])
    radians = torch.deg2rad(angle_degrees.double())
    directions = torch.stack([radians.sin(), radians.cos()], dim=1)
    along = torch.arange(len(kept), device=images.device)[:, None] * directions[:, None]
    offsets = (along - 0.5).ceil_().long()
    blurred = torch.empty_like(images, memory_format=torch.contiguous_format)
    for start in range(0, len(images), _TOGETHER):
        some = slice(start, start + _TOGETHER)
        levels = _sum_taps(images[some], weights * 255, offsets[some]).round_()
        torch.div(levels, 255, out=blurred[some])
    return blurred


def _sum_taps(images: Images, weights: Tensor, offsets: Offsets) -> Tensor:
    """The images moved by each tap, weighted and summed.

    Rows that are moved down and across are one stretch of the memory that the extended plane lies
    in, borders between them included.  Stretches of all taps are copied out, and a product sums
    them: no step is for a single tap of a single image.
    """
    batch, channels, height, width = images.shape
    least, most = (bound.tolist() for bound in offsets.flatten(0, 1).aminmax(dim=0))
    above, left = (max(0, -offset) for offset in least)
    below, right = (max(0, offset) for offset in most)
    extended = _extend(images, above, below, left, right)
    row = extended.shape[3]
    planes = torch.arange(batch * channels, device=images.device).mul_(extended.shape[2] * row)
    moves = (above + offsets[..., 0]) * row + left + offsets[..., 1]
    first = planes + moves.mT.repeat_interleave(channels, 1)
    summed = images.new_empty((batch * channels, height * row))
    rows = min(height, max(1, _STRETCH_VALUES // (len(first) * row)))
    size = max(1, _STRETCH_VALUES // (len(first) * row * rows))
    for top in range(0, height, rows):
        length = row * (min(rows, height - top) - 1) + width
        positions = extended.numel() - top * row - length + 1
        stretches = extended.view(-1)[top * row :].as_strided((positions, length), (1, 1))
        goals = torch.split(summed[:, top * row : top * row + length], size)
        for goal, starts in zip(goals, torch.split(first, size, 1), strict=True):
            moved = stretches.index_select(0, starts.flatten()).view(len(weights), -1)
            goal.copy_((weights @ moved).view(goal.shape))
    return summed.view(batch, channels, height, row)[..., :width]


def _extend(images: Images, above: int, below: int, left: int, right: int) -> Tensor:
    """The images with so many copies of their border pixels on each side."""
    batch, channels, height, width = images.shape
    extended = images.new_empty(batch, channels, above + height + below, left + width + right)
    rows = extended[:, :, above : above + height]
    rows[..., left : left + width] = images
    rows[..., :left] = images[..., :1]
    rows[..., left + width :] = images[..., -1:]
    extended[:, :, :above] = rows[:, :, :1]
    extended[:, :, above + height :] = rows[:, :, -1:]
    return extended


# -- Zooms into the centre as the benchmark makes them: crop, enlarge, trim to the old size
#
# A zoom is linear and works on each axis alone, so it is a matrix for the rows and one for the
# columns; a sum of zooms is one sparse matrix for the whole image.  Source: `clipped_zoom` and
# `zoom_blur` of hendrycks/robustness, which call `scipy.ndimage.zoom`.


LARGEST_OPERATOR = 2**16
"""In pixels: 256 x 256."""


def clipped_zoom(planes: Images, factor: float) -> Images:
    """The planes' centre enlarged by a factor of 1 or more, of the same size as before."""
    height, width = planes.shape[2:]
    return filter_axes(planes, zoom_matrix(height, factor), zoom_matrix(width, factor))


def mean_of_zooms(images: Images, end: float, step: float) -> Images:
    """The mean of the images and of zooms by 1, 1 + step, ... before end.

    numpy's arange says how many zooms: rounding makes it one more or less than one may think.
    Images up to `LARGEST_OPERATOR` go through one sparse product; larger ones, whose product
    would take gigabytes, through one zoom after another.
    """
    height, width = images.shape[2:]
    factors = tuple(np.arange(1, end, step).tolist())
    if height * width > LARGEST_OPERATOR:
        total = images.clone()
        for factor in factors:
            kept = [math.ceil(side / factor) for side in (height, width)]
            top, left = (height - kept[0]) // 2, (width - kept[1]) // 2
            crop = images[:, :, top : top + kept[0], left : left + kept[1]]
            size = [round(side * factor) for side in kept]
            enlarged = functional.interpolate(crop, size, mode="bilinear", align_corners=True)
            top, left = (size[0] - height) // 2, (size[1] - width) // 2
            total += enlarged[:, :, top : top + height, left : left + width]
        return total.div_(1 + len(factors))
    operator = _zoom_operator(height, width, factors, images.device)
    pixels_first = images.reshape(-1, height * width).mT.contiguous()
    return (operator @ pixels_first).mT.reshape(images.shape)


@lru_cache(maxsize=16)
def _zoom_operator(
    height: int, width: int, factors: tuple[float, ...], device: torch.device
) -> Tensor:
    """`[to, from]` over the pixels of an image in reading order, in sparse rows."""
    total = sparse.csr_array((height * width, height * width))
    for factor in (1.0, *factors):  # first the image itself
        rows, columns = (
            sparse.csr_array(zoom_matrix(side, factor).numpy()) for side in (height, width)
        )
        total = total + sparse.kron(rows, columns, format="csr")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Sparse (CSR|invariant)", UserWarning)
        operator = torch.sparse_csr_tensor(
            torch.from_numpy(total.indptr.astype(np.int32)),
            torch.from_numpy(total.indices.astype(np.int32)),
            torch.from_numpy((total.data / (1 + len(factors))).astype(np.float32)),
            size=total.shape,
        )
        return operator.to(device)


@lru_cache(maxsize=256)
def zoom_matrix(side_pixels: int, factor: float) -> AxisMatrix:
    """What a zoom does to an axis: `[to, from]`, in fp64 on the CPU.

    It is scipy's own zoom of the unit vectors, so that it keeps scipy's sizes (rounded), its grid
    (corners on corners), and the last sample that rounding can put outside, which is then 0.
    """
    kept = math.ceil(side_pixels / factor)
    first = (side_pixels - kept) // 2
    enlarged = ndimage.zoom(np.eye(kept), (factor, 1), order=1)
    trimmed = (len(enlarged) - side_pixels) // 2
    matrix = np.zeros((side_pixels, side_pixels))
    matrix[:, first : first + kept] = enlarged[trimmed : trimmed + side_pixels]
    return torch.from_numpy(matrix)
