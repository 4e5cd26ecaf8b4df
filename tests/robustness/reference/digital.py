"""Contrast, elastic, pixelate, JPEG and saturate.  Images are bytes; results are levels, uncut."""

from __future__ import annotations

from io import BytesIO

import numpy as np
from PIL import Image
from scipy import ndimage

from reference.hsv import hsv_to_rgb, rgb_to_hsv
from reference.tables import Row


def contrast(image: np.ndarray, row: Row, rng: np.random.Generator) -> np.ndarray:
    floats = image / 255
    mean = floats.mean((0, 1), keepdims=True)
    return ((floats - mean) * row[0] + mean) * 255


def saturate(image: np.ndarray, row: Row, rng: np.random.Generator) -> np.ndarray:
    hsv = rgb_to_hsv(image / 255)
    hsv[..., 1] = np.clip(hsv[..., 1] * row[0] + row[1], 0, 1)
    return hsv_to_rgb(hsv) * 255


def jpeg_compression(image: np.ndarray, row: Row, rng: np.random.Generator) -> np.ndarray:
    coded = BytesIO()
    Image.fromarray(image).save(coded, "JPEG", quality=int(row[0]))
    return np.array(Image.open(coded))


def pixelate(image: np.ndarray, row: Row, rng: np.random.Generator) -> np.ndarray:
    height, width = image.shape[:2]
    small = Image.fromarray(image).resize(
        (int(width * row[0]), int(height * row[0])), Image.Resampling.BOX
    )
    return np.array(small.resize((width, height), Image.Resampling.BOX))


def elastic_transform(
    image: np.ndarray, row: Row, rng: np.random.Generator, scale: str
) -> np.ndarray:
    """A random affine map of three points, then a smoothed field of displacements."""
    height, width = image.shape[:2]
    # The generator of ImageNet-C has 244 where 224 was meant.
    side = height if scale == "cifar" else 244 / 224 * height
    alpha, sigma, affine = (side * value for value in row)
    floats = (image / 255).astype(np.float32)
    centre = np.array([height // 2, width // 2])
    square = min(height, width) // 3
    before = np.array([centre + square, [centre[0] + square, centre[1] - square], centre - square])
    after = before + rng.uniform(-affine, affine, before.shape)
    floats = _warp(floats, _find_affine_map(before, after))
    across, down = (
        ndimage.gaussian_filter(
            rng.uniform(-1, 1, (height, width)), sigma, mode="reflect", truncate=3
        )
        * alpha
        for _ in range(2)
    )
    y, x = np.mgrid[0:height, 0:width]
    warped = np.empty_like(floats)
    for channel in range(3):
        warped[..., channel] = ndimage.map_coordinates(
            floats[..., channel], [y + down, x + across], order=1, mode="reflect"
        )
    return warped * 255


def _find_affine_map(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """`cv2.getAffineTransform`: `[2, 3]`, of (x, y, 1)."""
    return np.linalg.solve(np.column_stack([before, np.ones(3)]), after).T


def _warp(floats: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """`cv2.warpAffine`: bilinear at 1/32 of a pixel, borders reflected about their last pixel."""
    height, width = floats.shape[:2]
    y, x = np.mgrid[0:height, 0:width]
    back = np.linalg.inv(matrix[:, :2])
    points = back @ (np.stack([x.ravel(), y.ravel()]) - matrix[:, 2:])
    from_x, from_y = np.floor(points * 32 + 0.5) / 32
    left, top = np.floor(from_x).astype(int), np.floor(from_y).astype(int)
    part_x, part_y = (from_x - left)[:, None], (from_y - top)[:, None]

    def pixels(rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        return floats[_reflect(rows, height), _reflect(columns, width)]

    upper = pixels(top, left) * (1 - part_x) + pixels(top, left + 1) * part_x
    lower = pixels(top + 1, left) * (1 - part_x) + pixels(top + 1, left + 1) * part_x
    return (upper * (1 - part_y) + lower * part_y).reshape(floats.shape)


def _reflect(index: np.ndarray, count: int) -> np.ndarray:
    """Indices beyond the border, folded back: -1 is 1, `count` is `count - 2`."""
    folded = np.abs(index) % (2 * (count - 1))
    return np.minimum(folded, 2 * (count - 1) - folded)


FUNCTIONS = {
    function.__name__: function
    for function in (contrast, elastic_transform, pixelate, jpeg_compression, saturate)
}
