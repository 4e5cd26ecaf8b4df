"""Zooms into the centre as the benchmark makes them: crop, enlarge, trim to the old size.

A zoom is linear and works on each axis alone, so it is a matrix for the rows and one for the
columns; a sum of zooms is one sparse matrix for the whole image.  Source: `clipped_zoom` and
`zoom_blur` of hendrycks/robustness, which call `scipy.ndimage.zoom`.
"""

from __future__ import annotations

import math
import warnings
from functools import lru_cache

import numpy as np
import torch
from scipy import ndimage, sparse
from torch import Tensor
from torch.nn import functional

from ablate.distortion.shapes import Images
from ablate.robustness.corruption.separable import AxisMatrix, filter_axes

LARGEST_OPERATOR = 2**16
"""In pixels: 256 x 256."""


def clipped_zoom(planes: Images, factor: float) -> Images:
    """The planes' centre enlarged, of the same size as before.

    Args:
        planes: any values.
        factor: 1 or more; 1 is the identity.
    """
    height, width = planes.shape[2:]
    return filter_axes(planes, zoom_matrix(height, factor), zoom_matrix(width, factor))


def mean_of_zooms(images: Images, end: float, step: float) -> Images:
    """The mean of the images and of zooms by 1, 1 + step, ... before end.

    numpy's arange says how many zooms: rounding makes it one more or less than one may think.
    Images up to `LARGEST_OPERATOR` go through one sparse product; larger ones, whose product
    would take gigabytes, through one zoom after another.
    """
    height, width = images.shape[2:]
    if height * width > LARGEST_OPERATOR:
        total = images.clone()
        for factor in np.arange(1, end, step).tolist():
            total += _zoom_alone(images, factor)
        return total.div_(1 + len(np.arange(1, end, step)))
    operator = _zoom_operator(height, width, end, step, images.device)
    pixels_first = images.reshape(-1, height * width).mT.contiguous()
    return (operator @ pixels_first).mT.reshape(images.shape)


def _zoom_alone(images: Images, factor: float) -> Images:
    """`clipped_zoom` without matrices."""
    height, width = images.shape[2:]
    kept = [math.ceil(side / factor) for side in (height, width)]
    top, left = (height - kept[0]) // 2, (width - kept[1]) // 2
    crop = images[:, :, top : top + kept[0], left : left + kept[1]]
    size = [round(side * factor) for side in kept]
    enlarged = functional.interpolate(crop, size=size, mode="bilinear", align_corners=True)
    top, left = (size[0] - height) // 2, (size[1] - width) // 2
    return enlarged[:, :, top : top + height, left : left + width]


@lru_cache(maxsize=16)
def _zoom_operator(
    height: int, width: int, end: float, step: float, device: torch.device
) -> Tensor:
    """`[to, from]` over the pixels of an image in reading order, in sparse rows."""
    factors = [1.0, *np.arange(1, end, step).tolist()]  # first the image itself
    total = sparse.csr_array((height * width, height * width))
    for factor in factors:
        rows, columns = (
            sparse.csr_array(zoom_matrix(side, factor).numpy()) for side in (height, width)
        )
        total = total + sparse.kron(rows, columns, format="csr")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Sparse (CSR|invariant)", UserWarning)
        operator = torch.sparse_csr_tensor(
            torch.from_numpy(total.indptr.astype(np.int32)),
            torch.from_numpy(total.indices.astype(np.int32)),
            torch.from_numpy((total.data / len(factors)).astype(np.float32)),
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
