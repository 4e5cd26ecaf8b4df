"""Distances of two feature maps, one per file; importing this loads no torch."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from ablate.errors import ParameterError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

    from torch import Tensor

DISTANCES = (
    "relative",
    "mse",
    "l1",
    "cosine",
    "cosine_per_position",
    "unit",
    "attention",
    "pooled",
    "cka",
    "invariance",
)
"""What `loss.fma.distance` may name."""


def load_distance(name: str) -> Callable[[Tensor, Tensor], Tensor]:
    """The function (clean feature map, distorted feature map) -> mean distance over the batch.

    Raises:
        ParameterError: if there is no distance of that name.
    """
    distance: Callable[[Tensor, Tensor], Tensor] = getattr(_module(name), f"{name}_distance")
    return distance


def min_images(name: str) -> int:
    """The fewest images that a distance can compare: its file's `MIN_IMAGES`, 1 without one.

    Raises:
        ParameterError: if there is no distance of that name.
    """
    least: int = getattr(_module(name), "MIN_IMAGES", 1)
    return least


def reads_channels(name: str) -> bool:
    """Whether a distance tells the channel axis of a map from the others: its file's
    `READS_CHANNELS`, False without one.

    Raises:
        ParameterError: if there is no distance of that name.
    """
    reads: bool = getattr(_module(name), "READS_CHANNELS", False)
    return reads


def gradient_scale(name: str) -> float:
    """The constant by which FMA multiplies a distance: its file's `GRADIENT_SCALE`, 1 without one.

    With it, weight 1 gives a gradient (norm over all parameters) about as large as that of the
    cross-entropy on the augmented copies, on the last tap.  It is the geometric mean over trained
    baselines that `benchmarks/calibration.py` measures; docs/reference/losses.md has the table.

    Raises:
        ParameterError: if there is no distance of that name.
    """
    return float(getattr(_module(name), "GRADIENT_SCALE", 1.0))


def _module(name: str) -> ModuleType:
    if name not in DISTANCES:
        raise ParameterError(
            f"loss.fma.distance: must be a registered distance, got {name!r}. "
            f"{did_you_mean(name, DISTANCES)}"
        )
    return import_module(f"ablate.finetune.loss.distance.{name}")
