"""Vectors without their length, for the distances that are free of scale."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def direction(vectors: Tensor, axes: Sequence[int]) -> Tensor:
    """Vectors scaled to length 1; a vector of zeros is not changed, and its gradient is finite.

    Args:
        vectors: in fp32 or fp64.
        axes: over which one vector lies.
    """
    length = torch.linalg.vector_norm(vectors, dim=tuple(axes), keepdim=True)
    unit: Tensor = vectors / length.where(length > 0, 1.0)
    return unit


def direction_gap(first: Tensor, second: Tensor, axes: Sequence[int]) -> Tensor:
    """1 - cos of the angle between two vectors, in [0, 2].

    Computed as half the squared chord, which is precise for similar vectors.

    Args:
        first, second: of one shape, in fp32 or fp64.
        axes: over which one vector lies.

    Returns:
        One number for each vector.  A vector of zeros has no direction: its distance is 1 from any
        other, and 0 from another one of zeros.
    """
    over = tuple(axes)
    gap: Tensor = (direction(first, over) - direction(second, over)).square().sum(over) / 2
    # The chord from a vector of zeros has length 1, half of the required value.
    zero = [torch.linalg.vector_norm(one.detach(), dim=over) == 0 for one in (first, second)]
    gap += (zero[0] != zero[1]) / 2
    return gap
