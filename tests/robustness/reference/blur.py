"""Gaussian, glass, defocus, motion and zoom blur.  Images are bytes; results are levels, uncut."""

from __future__ import annotations

import numpy as np

from reference.filters import correlate, smooth, smooth_by_taps, streak, zoom_centre
from reference.tables import Row


def gaussian_blur(image: np.ndarray, row: Row, rng: np.random.Generator) -> np.ndarray:
    return smooth(image / 255, row[0]) * 255


def glass_blur(image: np.ndarray, row: Row, rng: np.random.Generator) -> np.ndarray:
    """Each pixel, from the last to the first, becomes a copy of one near it as that is by then."""
    sigma, delta, iterations = row[0], int(row[1]), int(row[2])
    levels = (smooth(image / 255, sigma) * 255).astype(np.uint8)
    height, width = image.shape[:2]
    for _ in range(iterations):
        moves = rng.integers(-delta, delta, (height, width, 2)).tolist()
        for y in range(height - delta, delta, -1):
            for x in range(width - delta, delta, -1):
                right, down = moves[y][x]
                levels[y, x] = levels[y + down, x + right]
    return smooth(levels / 255, sigma) * 255


def defocus_blur(image: np.ndarray, row: Row, rng: np.random.Generator) -> np.ndarray:
    radius, alias_sigma = row
    if radius <= 8:
        axis, taps = np.arange(-8, 9), 3
    else:
        axis, taps = np.arange(-radius, radius + 1), 5
    inside = axis[:, None] ** 2 + axis[None, :] ** 2 <= radius**2
    # fp32, as the benchmark's kernel is: whole levels come out a little above themselves.
    disk = (inside / inside.sum()).astype(np.float32)
    disk = smooth_by_taps(disk, taps, alias_sigma)
    return correlate(image / 255, disk) * 255


def motion_blur(image: np.ndarray, row: Row, rng: np.random.Generator) -> np.ndarray:
    return streak(image, row[0], row[1], rng.uniform(-45, 45))


def zoom_blur(image: np.ndarray, row: Row, rng: np.random.Generator) -> np.ndarray:
    floats = (image / 255).astype(np.float32)
    zooms = np.arange(1, row[0], row[1])
    total = np.zeros_like(floats)
    for zoom in zooms:
        total += zoom_centre(floats, float(zoom))
    return (floats + total) / (len(zooms) + 1) * 255


FUNCTIONS = {
    function.__name__: function
    for function in (defocus_blur, glass_blur, motion_blur, zoom_blur, gaussian_blur)
}
