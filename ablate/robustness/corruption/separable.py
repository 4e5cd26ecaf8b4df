"""Linear filters that work on the rows and on the columns alone: a matrix for each axis.

On a CPU the product with a whole matrix is quicker than a convolution of a few taps, and it is
the same on a GPU.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float64
from scipy import ndimage
from torch import Tensor

from ablate.distortion.shapes import Images
from ablate.robustness.corruption.few_taps import correlate

AxisMatrix = Float64[Tensor, "_to _from"]
"""What a filter makes of an axis, in fp64 on the CPU."""

Taps = Float64[np.ndarray, " tap"]

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
        images: any values.
        sigma_pixels: 0 is the identity.
        border: "nearest": the edge repeated; "reflect": mirrored, the edge repeated once.
        truncate: where the kernel ends, in sigmas, rounded to whole pixels.

    Returns:
        The images themselves where the kernel is one pixel.
    """
    if int(truncate * sigma_pixels + 0.5) == 0:
        return images
    taps = _gaussian_taps(sigma_pixels, truncate)
    if len(taps) == 3:  # and both borders are the edge repeated
        return correlate(images, (taps[None], taps[:, None]), "replicate")
    rows, columns = (
        _gaussian_matrix(side, sigma_pixels, border, truncate) for side in images.shape[2:]
    )
    return filter_axes(images, rows, columns)


@lru_cache(maxsize=64)
def _gaussian_taps(sigma_pixels: float, truncate: float) -> Taps:
    """The kernel, without its ends where they weigh nothing."""
    reach = int(truncate * sigma_pixels + 0.5)
    point = np.eye(2 * reach + 1)[reach]
    taps = ndimage.gaussian_filter1d(point, sigma_pixels, truncate=truncate, mode="constant")
    kept: Taps = taps[taps > NEGLIGIBLE_WEIGHT]
    kept /= kept.sum()
    return kept


@lru_cache(maxsize=64)
def _gaussian_matrix(
    side_pixels: int, sigma_pixels: float, border: Literal["nearest", "reflect"], truncate: float
) -> AxisMatrix:
    unit = np.eye(side_pixels)
    matrix = ndimage.gaussian_filter1d(unit, sigma_pixels, 0, mode=border, truncate=truncate)
    return torch.from_numpy(matrix)
