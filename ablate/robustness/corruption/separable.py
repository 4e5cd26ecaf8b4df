"""Linear filters that work on the rows and on the columns alone: a matrix for each axis.

On a CPU the product with a whole matrix is quicker than a convolution of a few taps, and it is
the same on a GPU.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Float64
from scipy import ndimage
from torch import Tensor
from torch.nn import functional

from ablate.distortion.shapes import Images

AxisMatrix = Float64[Tensor, "_to _from"]
"""What a filter makes of an axis, in fp64 on the CPU."""

NEGLIGIBLE_WEIGHT = 1e-5
"""Of a tap: both of a kernel's ends move no value by more than 0.005 grey levels."""


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
