"""Distance to an image's own copy, divided by the distance of any two maps in the batch.

Source: Hernandez-Garcia et al. 2019, arXiv:1906.04547 for the quotient.  Our own reading [O]: the
batch contains clean and distorted maps; all pairs of two different maps count in the denominator,
including the pair of an image and its copy; and the quotient is differentiated.  So it is reduced
by moving an image and its copy together and by keeping images apart, but not by shrinking the
activations.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from ablate.distortion.shapes import FeatureMap, Scalar
from ablate.finetune.loss.distance.blocks import as_rows, column_blocks, from_rows, memory_order
from ablate.finetune.loss.distance.squared_error import squared_error
from ablate.finetune.loss.term import wide_dtype

MIN_IMAGES = 2
"""With one image the own pair is the only one, and the quotient is 1 whatever the maps are."""

GRADIENT_SCALE = 18
"""Measured by `benchmarks/calibration.py`: see `gradient_scale`."""


def invariance_distance(clean: FeatureMap, distorted: FeatureMap) -> Scalar:
    """Mean ||F - F'||^2 of an image and its copy over that of all pairs in the batch.

    Args:
        clean: first axis the image, at least 2; all other axes are features.
        distorted: of the same shape.

    Returns:
        Scalar in [0, 2 * batch - 1] in fp32: about 1 if a copy is as far from its image as any
        other; 0 if all maps are equal.
    """
    pairs = 2 * len(clean) - 1
    # All squared distances of n points sum to n times the squared distances from their mean.
    everyone = 2 * scatter(clean, distorted) / pairs
    return squared_error(clean, distorted).mean() / everyone.where(everyone > 0, 1.0)


def scatter(clean: FeatureMap, distorted: FeatureMap) -> Scalar:
    """Sum over both branches' maps of the squared distance from the mean of all of them."""
    total: Tensor = _Scatter.apply(clean, distorted)  # type: ignore[no-untyped-call]
    return total


class _Scatter(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, clean: Tensor, distorted: Tensor) -> Tensor:
        ctx.save_for_backward(clean, distorted)
        order = memory_order(clean)
        total = clean.new_zeros((), dtype=wide_dtype(clean))
        rows = [as_rows(maps, order) for maps in (clean, distorted)]
        for columns in column_blocks(rows[0]):
            for centred in _centred(*(branch[:, columns] for branch in rows)):
                total += torch.linalg.vector_norm(centred).square()
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor | None, Tensor | None]:
        branches = ctx.saved_tensors
        order = memory_order(branches[0])
        rows = [as_rows(maps, order) for maps in branches]
        grads = [
            torch.empty_like(branch) if wanted else None
            for branch, wanted in zip(rows, ctx.needs_input_grad, strict=True)
        ]
        for columns in column_blocks(rows[0]):
            parts = _centred(*(branch[:, columns] for branch in rows))
            for grad, centred in zip(grads, parts, strict=True):
                if grad is not None:
                    grad[:, columns] = centred.mul_(2 * slope)
        first, second = (
            None if grad is None else from_rows(grad, maps, order)
            for grad, maps in zip(grads, branches, strict=True)
        )
        return first, second


def _centred(clean: Tensor, distorted: Tensor) -> tuple[Tensor, Tensor]:
    first, second = (rows.to(wide_dtype(rows), copy=True) for rows in (clean, distorted))
    mean = (first.mean(0) + second.mean(0)) / 2
    return first.sub_(mean), second.sub_(mean)
