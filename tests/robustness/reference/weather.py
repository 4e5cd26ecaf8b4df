"""Snow, frost, fog, brightness and spatter.  Images are bytes; results are levels, uncut."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from reference.canny import find_edges
from reference.filters import (
    average_3x3,
    chamfer_distance,
    correlate,
    equalise,
    smooth,
    streak,
    zoom_centre,
)
from reference.hsv import hsv_to_rgb, rgb_to_hsv
from reference.tables import Row

WATER = np.array([175, 238, 238]) / 255
MUD = np.array([63, 42, 20]) / 255
EMBOSS = np.array([[-2, -1, 0], [-1, 1, 1], [0, 1, 2]])


def snow(image: np.ndarray, row: Row, rng: np.random.Generator) -> np.ndarray:
    loc, scale, zoom, threshold, radius, sigma, mix = row
    floats = (image / 255).astype(np.float32)
    layer = zoom_centre(rng.normal(loc, scale, image.shape[:2]), zoom)
    layer[layer < threshold] = 0
    layer_bytes = (np.clip(layer, 0, 1) * 255).astype(np.uint8)
    flakes = streak(layer_bytes, radius, sigma, rng.uniform(-135, -45)) / 255
    grey = floats @ np.array([0.299, 0.587, 0.114])
    whitened = np.maximum(floats, grey[..., None] * 1.5 + 0.5)
    mixed = mix * floats + (1 - mix) * whitened
    return (mixed + flakes[..., None] + np.rot90(flakes, 2)[..., None]) * 255


def frost(
    image: np.ndarray,
    row: Row,
    rng: np.random.Generator,
    scale: str,
    photographs: Sequence[np.ndarray],
) -> np.ndarray:
    """Of the photographs the first five are drawn from; reduced to a fifth by OpenCV's rule.

    That rule, bilinear without a filter, puts sample i at 5 * i + 2: on a pixel.
    """
    height, width = image.shape[:2]
    photograph = photographs[rng.integers(5)]
    if scale == "cifar":
        rows, columns = (round(side * 0.2) for side in photograph.shape[:2])
        photograph = photograph[2::5, 2::5][:rows, :columns]
    top = rng.integers(photograph.shape[0] - height)
    left = rng.integers(photograph.shape[1] - width)
    crop = photograph[top : top + height, left : left + width]
    return row[0] * image.astype(np.float64) + row[1] * crop


def make_plasma(side: int, decay: float, rng: np.random.Generator) -> np.ndarray:
    """Diamond-square on a torus, normalised to [0, 1].

    The amplitude is the square of `wibble`, and it decays by the square of `decay`.
    """
    heights = np.empty((side, side))
    heights[0, 0] = 0
    step, wibble = side, 100.0

    def disturb(sums: np.ndarray) -> np.ndarray:
        return sums / 4 + wibble * rng.uniform(-wibble, wibble, sums.shape)

    while step >= 2:
        half = step // 2
        corners = heights[0::step, 0::step]
        pairs = corners + np.roll(corners, -1, axis=0)
        heights[half::step, half::step] = disturb(pairs + np.roll(pairs, -1, axis=1))
        # The midpoints of the sides: two corners, and the two centres on either hand.
        centres = heights[half::step, half::step]
        above_and_below = centres + np.roll(centres, 1, axis=0)
        left_and_right = corners + np.roll(corners, -1, axis=1)
        heights[0::step, half::step] = disturb(above_and_below + left_and_right)
        left_and_right = centres + np.roll(centres, 1, axis=1)
        above_and_below = corners + np.roll(corners, -1, axis=0)
        heights[half::step, 0::step] = disturb(left_and_right + above_and_below)
        step //= 2
        wibble /= decay
    heights -= heights.min()
    return heights / heights.max()


def fog(image: np.ndarray, row: Row, rng: np.random.Generator) -> np.ndarray:
    height, width = image.shape[:2]
    side = 1
    while side < max(height, width):
        side *= 2
    floats = image / 255
    brightest = floats.max()
    fogged = floats + row[0] * make_plasma(side, row[1], rng)[:height, :width, None]
    return np.clip(fogged * brightest / (brightest + row[0]), 0, 1) * 255


def brightness(image: np.ndarray, row: Row, rng: np.random.Generator) -> np.ndarray:
    hsv = rgb_to_hsv(image / 255)
    hsv[..., 2] = np.clip(hsv[..., 2] + row[0], 0, 1)
    return hsv_to_rgb(hsv) * 255


def spatter(image: np.ndarray, row: Row, rng: np.random.Generator) -> np.ndarray:
    loc, scale, sigma, threshold, intensity, mud = row
    floats = image / 255
    layer = smooth(rng.normal(loc, scale, image.shape[:2]), sigma)
    layer[layer < threshold] = 0
    if mud:
        mask = smooth((layer > threshold).astype(np.float64), intensity)
        mask[mask < 0.8] = 0
        return (floats * (1 - mask[..., None]) + mask[..., None] * MUD) * 255
    # From here on the layer is bytes, in the product with its light too.
    layer_bytes = (layer * 255).astype(np.uint8)
    distance = chamfer_distance(find_edges(layer_bytes, 50, 150), cut=20)
    light = equalise(average_3x3(distance).astype(np.uint8))
    light = np.clip(correlate(light.astype(np.int64), EMBOSS), 0, 255).astype(np.uint8)
    water = layer_bytes * average_3x3(light).astype(np.float64)
    if not water.any():
        return floats * 255
    return np.clip(floats + (intensity * water / water.max())[..., None] * WATER, 0, 1) * 255


FUNCTIONS = {function.__name__: function for function in (snow, frost, fog, brightness, spatter)}
