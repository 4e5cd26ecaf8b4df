"""Distances of two feature maps, one a file; importing this loads no torch."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from ablate.errors import ParameterError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

DISTANCES = ("relative", "mse", "cosine")
"""What `loss.fma.distance` may name."""


def load_distance(name: str) -> Callable[[Tensor, Tensor], Tensor]:
    """The function (clean feature map, distorted feature map) -> mean distance over the batch.

    Raises:
        ParameterError: if there is no distance of that name.
    """
    if name not in DISTANCES:
        raise ParameterError(
            f"loss.fma.distance: must be a registered distance, got {name!r}. "
            f"{did_you_mean(name, DISTANCES)}"
        )
    module = import_module(f"ablate.finetune.loss.distance.{name}")
    distance: Callable[[Tensor, Tensor], Tensor] = getattr(module, f"{name}_distance")
    return distance
