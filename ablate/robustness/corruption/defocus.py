"""The defocus blur's disk, and convolution under a border that mirrors without its edge.

An axis mirrored about its end pixels is a sum of cosines that reach their extremes there, and a
kernel that is the same in both directions of both axes only scales them.  So a large disk takes
four matrix products; a small one is summed tap by tap.  Source: Martucci 1994, "Symmetric
convolution and the discrete sine and cosine transforms" [S]; the disk and the border are
hendrycks/robustness's, which are OpenCV's.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Float
from scipy import ndimage
from torch import Tensor

from ablate.distortion.shapes import Images
from ablate.robustness.corruption.few_taps import Kernel, correlate
from ablate.robustness.corruption.separable import filter_axes

SMALLEST_REACH = 8
"""The disk's canvas reaches so far from its centre, or as far as a larger radius."""

MOST_TAPS = 21
"""Of a disk that is summed tap by tap, as all of CIFAR-10-C are; with more, waves are quicker."""

_NOTHING = 1e-8  # of a tap: what fp32 does not keep


def convolve_with_disk(images: Images, radius_pixels: float, alias_sigma: float) -> Images:
    """The images convolved with a disk whose edge is smoothed.

    Args:
        images: any values; beyond the border they are mirrored about the pixel at it.
        radius_pixels: of the disk; below 1 it is one pixel.
        alias_sigma: of the small Gaussian that smooths it, in pixels.
    """
    few = _few_taps(radius_pixels, alias_sigma)
    if few is not None:
        return correlate(images, (few,), "reflect")
    height, width = images.shape[2:]
    (rows, row_waves), (columns, column_waves) = (_waves(side) for side in (height, width))
    spectrum = filter_axes(images, rows, columns)
    spectrum *= _response(height, width, radius_pixels, alias_sigma).to(images)
    return filter_axes(spectrum, row_waves, column_waves)


def disk(radius_pixels: float, alias_sigma: float) -> Float[np.ndarray, "side side"]:
    """The kernel: pixels within the radius, even, then blurred by 3 or 5 taps of a Gaussian.

    A disk that reaches the canvas's border is mirrored into it by that blur, as the reference's
    is: radius 8 and 10 brighten the image by 1.3 %.
    """
    large = radius_pixels > SMALLEST_REACH
    reach = int(radius_pixels) if large else SMALLEST_REACH
    step = np.arange(-reach, reach + 1)
    kernel = (step[:, None] ** 2 + step**2 <= radius_pixels**2).astype(np.float64)
    kernel /= kernel.sum()
    tap = np.arange(-2, 3) if large else np.arange(-1, 2)
    weights = np.exp(-(tap**2) / (2 * alias_sigma**2))
    weights /= weights.sum()
    for axis in (0, 1):
        kernel = ndimage.correlate1d(kernel, weights, axis, mode="mirror")
    return kernel


@lru_cache(maxsize=32)
def _few_taps(radius_pixels: float, alias_sigma: float) -> Kernel | None:
    """The disk without its empty borders, if it has few taps."""
    kernel = disk(radius_pixels, alias_sigma)
    kernel[kernel < _NOTHING] = 0
    rows, columns = kernel.nonzero()
    if len(rows) > MOST_TAPS:
        return None
    return kernel[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]


@lru_cache(maxsize=32)
def _waves(side_pixels: int) -> tuple[Float[Tensor, "side side"], Float[Tensor, "side side"]]:
    """From pixels to how much there is of each cosine, and back."""
    place = np.arange(side_pixels)
    cosines = np.cos(np.pi / (side_pixels - 1) * (np.outer(place, place) % (2 * side_pixels - 2)))
    return torch.from_numpy(np.linalg.inv(cosines)), torch.from_numpy(cosines)


@lru_cache(maxsize=32)
def _response(
    height: int, width: int, radius_pixels: float, alias_sigma: float
) -> Float[Tensor, "height width"]:
    """What the disk multiplies each pair of cosines by."""
    kernel = disk(radius_pixels, alias_sigma)
    reach = len(kernel) // 2
    down, across = (
        np.cos(np.pi / (side - 1) * np.outer(np.arange(side), np.arange(-reach, reach + 1)))
        for side in (height, width)
    )
    return torch.from_numpy(down @ kernel @ across.T)
