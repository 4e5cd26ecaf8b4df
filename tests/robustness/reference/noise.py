"""Gaussian, shot, impulse and speckle noise.  Images are bytes; results are levels, uncut."""

from __future__ import annotations

import numpy as np

from reference.tables import Row


def gaussian_noise(image: np.ndarray, row: Row, rng: np.random.Generator) -> np.ndarray:
    return (image / 255 + rng.normal(0, row[0], image.shape)) * 255


def shot_noise(image: np.ndarray, row: Row, rng: np.random.Generator) -> np.ndarray:
    return rng.poisson(image / 255 * row[0]) / row[0] * 255


def impulse_noise(image: np.ndarray, row: Row, rng: np.random.Generator) -> np.ndarray:
    """scikit-image's "s&p": every value alone, white or black with equal odds."""
    hit = rng.random(image.shape) < row[0]
    white = rng.random(image.shape) < 0.5
    levels = image.astype(np.float64)
    levels[hit & white] = 255
    levels[hit & ~white] = 0
    return levels


def speckle_noise(image: np.ndarray, row: Row, rng: np.random.Generator) -> np.ndarray:
    floats = image / 255
    return (floats + floats * rng.normal(0, row[0], image.shape)) * 255


FUNCTIONS = {
    function.__name__: function
    for function in (gaussian_noise, shot_noise, impulse_noise, speckle_noise)
}
