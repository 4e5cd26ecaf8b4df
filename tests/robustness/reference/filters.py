"""Filters as scikit-image and OpenCV apply them, by SciPy."""

from __future__ import annotations

import numpy as np
from scipy import ndimage


def smooth(planes: np.ndarray, sigma: float) -> np.ndarray:
    """`skimage.filters.gaussian` with its defaults; channels, if any, are the last axis."""
    if planes.ndim == 2:
        return ndimage.gaussian_filter(planes, sigma, mode="nearest", truncate=4)
    blurred = np.empty_like(planes)
    for channel in range(planes.shape[2]):
        blurred[..., channel] = ndimage.gaussian_filter(
            planes[..., channel], sigma, mode="nearest", truncate=4
        )
    return blurred


def correlate(planes: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """`cv2.filter2D`: correlation, the border reflected about its outermost pixel."""
    if planes.ndim == 2:
        return ndimage.correlate(planes, kernel, mode="mirror")
    filtered = np.empty_like(planes)
    for channel in range(planes.shape[2]):
        filtered[..., channel] = ndimage.correlate(planes[..., channel], kernel, mode="mirror")
    return filtered


def smooth_by_taps(plane: np.ndarray, taps: int, sigma: float) -> np.ndarray:
    """`cv2.GaussianBlur` with that many taps, which sum to 1."""
    line = np.exp(-((np.arange(taps) - taps // 2) ** 2) / (2 * sigma**2))
    line /= line.sum()
    return correlate(plane, np.outer(line, line))


def average_3x3(plane: np.ndarray) -> np.ndarray:
    """`cv2.blur(plane, (3, 3))`; bytes are rounded to bytes."""
    # The sum first: nine ninths, added up, may end below 1, and bytes are cut later.
    average = correlate(plane.astype(np.float64), np.ones((3, 3))) * (1 / 9)
    return np.rint(average).astype(np.uint8) if plane.dtype == np.uint8 else average


def zoom_centre(planes: np.ndarray, factor: float) -> np.ndarray:
    """The benchmark's `clipped_zoom`: the middle of the image, enlarged to its size."""
    height, width = planes.shape[:2]
    rows, columns = int(np.ceil(height / factor)), int(np.ceil(width / factor))
    top, left = (height - rows) // 2, (width - columns) // 2
    factors = (factor, factor) + (1,) * (planes.ndim - 2)
    middle = planes[top : top + rows, left : left + columns]
    zoomed = ndimage.zoom(middle, factors, order=1)
    top, left = (zoomed.shape[0] - height) // 2, (zoomed.shape[1] - width) // 2
    return zoomed[top : top + height, left : left + width]


def equalise(plane: np.ndarray) -> np.ndarray:
    """`cv2.equalizeHist`: bytes in, bytes out; a constant plane stays as it is."""
    counts = np.bincount(plane.ravel(), minlength=256)
    lowest = int(np.flatnonzero(counts)[0])
    if counts[lowest] == plane.size:
        return plane.copy()
    counts[lowest] = 0
    share = np.cumsum(counts) / counts.sum()
    return np.rint(share * 255).astype(np.uint8)[plane]


def chamfer_distance(zeros: np.ndarray, cut: float) -> np.ndarray:
    """`cv2.distanceTransform(..., DIST_L2, 5)`: steps of 1, 1.4 and 2.1969; `cut` at the most.

    Args:
        zeros: bool, where the distance is 0.
        cut: what is longer is this long; also where there is nothing to be far from.
    """
    height, width = zeros.shape
    distance = np.where(zeros, 0.0, cut)
    moves = [
        (down, right, {1: 1.0, 2: 1.4, 5: 2.1969}[down**2 + right**2])
        for down in range(-2, 3)
        for right in range(-2, 3)
        if down**2 + right**2 in (1, 2, 5)
    ]
    while True:
        padded = np.pad(distance, 2, constant_values=np.inf)
        shorter = distance
        for down, right, length in moves:
            there = padded[2 + down : 2 + down + height, 2 + right : 2 + right + width]
            shorter = np.minimum(shorter, there + length)
        if np.array_equal(shorter, distance):
            return distance
        distance = shorter


def streak(planes: np.ndarray, radius: float, sigma: float, degrees: float) -> np.ndarray:
    """ImageMagick's `MotionBlurImage` of bytes: half a Gaussian along a line of whole pixels.

    Args:
        planes: uint8 `[height, width]` or `[height, width, channel]`.

    Returns:
        Bytes, rounded.
    """
    taps = 2 * int(np.ceil(radius)) + 1
    weights = [np.exp(-(tap**2) / (2 * sigma**2)) for tap in range(taps)]
    total = sum(weights)
    height, width = planes.shape[:2]
    padding = [(taps, taps), (taps, taps)] + [(0, 0)] * (planes.ndim - 2)
    padded = np.pad(planes.astype(np.float64), padding, mode="edge")
    blurred = np.zeros(planes.shape)
    angle = np.deg2rad(degrees)
    for tap in range(taps):
        right = int(np.ceil(tap * np.cos(angle) - 0.5))
        down = int(np.ceil(tap * np.sin(angle) - 0.5))
        rows = slice(taps + down, taps + down + height)
        columns = slice(taps + right, taps + right + width)
        blurred += weights[tap] / total * padded[rows, columns]
    return np.rint(blurred).astype(np.uint8)
