"""OpenCV's Canny edges, written out for one plane of bytes."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

TANGENT = 13573 / 2**15
"""Of 22.5 degrees, in OpenCV's fixed point."""


def find_edges(plane: np.ndarray, low: float, high: float) -> np.ndarray:
    """`cv2.Canny(plane, low, high)` with its 3 x 3 Sobel filter and the L1 norm.

    Args:
        plane: uint8 `[height, width]`.

    Returns:
        bool, true on edges.
    """
    levels = plane.astype(np.int64)
    ramp, hat = np.array([-1, 0, 1]), np.array([1, 2, 1])
    across = ndimage.correlate(levels, np.outer(hat, ramp), mode="nearest")
    down = ndimage.correlate(levels, np.outer(ramp, hat), mode="nearest")
    strength = np.abs(across) + np.abs(down)
    candidates = (strength > low) & _is_ridge(strength, across, down)
    # What is connected with a strong edge, by its sides or corners, is one.
    pieces, _ = ndimage.label(candidates, structure=np.ones((3, 3)))
    strong = np.unique(pieces[candidates & (strength > high)])
    return np.isin(pieces, strong[strong > 0])


def _is_ridge(strength: np.ndarray, across: np.ndarray, down: np.ndarray) -> np.ndarray:
    """Where the gradient is larger than on both sides along it, by three directions."""
    height, width = strength.shape
    padded = np.pad(strength, 1)

    def beside(rows: int, columns: int) -> np.ndarray:
        return padded[1 + rows : 1 + rows + height, 1 + columns : 1 + columns + width]

    flat, steep = TANGENT * np.abs(across), (TANGENT + 2) * np.abs(across)
    horizontal = np.abs(down) < flat
    vertical = np.abs(down) > steep
    falling = (across < 0) == (down < 0)
    by_row = (strength > beside(0, -1)) & (strength >= beside(0, 1))
    by_column = (strength > beside(-1, 0)) & (strength >= beside(1, 0))
    by_falling = (strength > beside(-1, -1)) & (strength > beside(1, 1))
    by_rising = (strength > beside(-1, 1)) & (strength > beside(1, -1))
    diagonal = np.where(falling, by_falling, by_rising)
    return np.where(horizontal, by_row, np.where(vertical, by_column, diagonal))
