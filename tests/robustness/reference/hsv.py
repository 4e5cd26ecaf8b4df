"""Hue, saturation and value, as scikit-image converts them."""

from __future__ import annotations

import numpy as np


def rgb_to_hsv(rgb: np.ndarray) -> np.ndarray:
    """Floats in [0, 1], `[height, width, 3]`; greys have hue and saturation 0."""
    red, green, blue = rgb[..., 0], rgb[..., 1], rgb[..., 2]
    value = rgb.max(2)
    range_ = value - rgb.min(2)
    grey = range_ == 0
    divisor = np.where(grey, 1, range_)
    hue = (green - blue) / divisor
    hue = np.where(green == value, 2 + (blue - red) / divisor, hue)
    hue = np.where(blue == value, 4 + (red - green) / divisor, hue)
    hue = np.where(grey, 0, hue / 6 % 1)
    saturation = np.where(grey, 0, range_ / np.where(value == 0, 1, value))
    return np.stack([hue, saturation, value], 2)


def hsv_to_rgb(hsv: np.ndarray) -> np.ndarray:
    """The way back, by sextants of the hue."""
    hue, saturation, value = hsv[..., 0], hsv[..., 1], hsv[..., 2]
    sextant = np.floor(hue * 6)
    part = hue * 6 - sextant
    low = value * (1 - saturation)
    falling = value * (1 - part * saturation)
    rising = value * (1 - (1 - part) * saturation)
    by_sextant = [
        (value, rising, low),
        (falling, value, low),
        (low, value, rising),
        (low, falling, value),
        (rising, low, value),
        (value, low, falling),
    ]
    chosen = sextant.astype(np.int64) % 6
    return np.stack([np.choose(chosen, [row[k] for row in by_sextant]) for k in range(3)], 2)
