"""Pillow's resize by its box filter, to fewer pixels and back to as many as before.

Source: Pillow's `Image.resize(..., BOX)`.  Its box covers whole pixels, whose centres it holds, so
that a pixel of the small image is the plain mean of one to a few; back up, a pixel is a copy.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from PIL import Image

from ablate.distortion.shapes import Images
from ablate.robustness.corruption.separable import AxisMatrix


def shrink_and_enlarge(images: Images, share: float) -> Images:
    """The images at a share of their sides, and back, in whole bytes.

    Args:
        images: in [0, 1], rounded to bytes here.
        share: of both sides, in (0, 1]; pixels are cut to a whole number.
    """
    rows, columns = (_axis(side, int(side * share)).to(images) for side in images.shape[2:])
    # As Pillow does it: the width first, and bytes in between, half of one rounded up.
    levels = (images * 255).round_()
    levels = (levels @ columns.mT).add_(_HALF).floor_()
    return (rows @ levels).add_(_HALF).floor_().div_(255)


_HALF = 0.5 + 1e-4  # a mean of six bytes that ends in .5 may have lost its last digit


@lru_cache(maxsize=64)
def _axis(side_pixels: int, small_pixels: int) -> AxisMatrix:
    """Down and up again: Pillow's own resizes of the unit vectors.

    In one, since what is rounded after the first may as well be rounded after the copying.
    """
    return _resize(small_pixels, side_pixels) @ _resize(side_pixels, small_pixels)


def _resize(from_pixels: int, to_pixels: int) -> AxisMatrix:
    unit = Image.fromarray(np.eye(from_pixels, dtype=np.float32))
    resized = unit.resize((to_pixels, from_pixels), Image.Resampling.BOX)
    covered = np.asarray(resized).T > 0
    return torch.from_numpy(covered / covered.sum(1, keepdims=True))
