"""The 19 corruptions once more: NumPy, SciPy and Pillow, one image at a time, in plain loops.

It is what the batched ones are tested against, and shares no line, no table and no kernel with
them.  The functions of scikit-image, OpenCV and ImageMagick that the benchmark was made with are
written out (`filters`, `canny`, `motion`), so that none of the three is needed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from reference import blur, digital, noise, weather
from reference.tables import TABLES

FUNCTIONS = {**noise.FUNCTIONS, **blur.FUNCTIONS, **weather.FUNCTIONS, **digital.FUNCTIONS}


def corrupt(
    image: np.ndarray,
    name: str,
    severity: int,
    rng: np.random.Generator,
    *,
    scale: Literal["cifar", "imagenet"] = "cifar",
    frost: Sequence[np.ndarray] | None = None,
) -> np.ndarray:
    """One image, corrupted.

    Args:
        image: uint8 `[height, width, 3]`, RGB.
        name: one of `FUNCTIONS`.
        severity: from 1 to 5.
        rng: makes every draw.
        scale: whose table.
        frost: photographs, uint8 RGB each, for "frost" alone.

    Returns:
        uint8 of the same shape: cut to [0, 255] and truncated.
    """
    parameters = TABLES[scale][name][severity - 1]
    if name == "frost":
        made = weather.frost(image, parameters, rng, scale, frost or ())
    elif name == "elastic_transform":
        made = digital.elastic_transform(image, parameters, rng, scale)
    else:
        made = FUNCTIONS[name](image, parameters, rng)
    if made.dtype == np.uint8:
        return made
    return np.clip(made, 0, 255).astype(np.uint8)
