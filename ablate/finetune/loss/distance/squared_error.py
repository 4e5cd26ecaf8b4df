"""Squared Euclidean distance of two feature maps per image, used by `relative` and `mse`.

Written as one autograd function with a manual derivative, because it is the default and runs on
every tap in every step (`blocks` explains the pieces).  The backward pass recomputes the difference
instead of storing it.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from ablate.distortion.shapes import FeatureMap, PerImage
from ablate.finetune.loss.distance.blocks import image_blocks
from ablate.finetune.loss.term import wide_dtype


def squared_error(clean: FeatureMap, distorted: FeatureMap) -> PerImage:
    """Sum over each image's map of (clean - distorted)^2.

    Args:
        clean, distorted: feature maps of one shape, dtype and device.  A gradient flows into
            each unless the caller detaches it; not a second derivative.

    Returns:
        One sum per image, in fp32 (in fp64 for fp64 maps), whatever autocast says.
    """
    error: Tensor = _SquaredError.apply(clean, distorted)  # type: ignore[no-untyped-call]
    return error


def squared_norm(features: FeatureMap) -> PerImage:
    """Sum over each image's map of its squares, without gradient; fp32, or fp64 for fp64 maps."""
    axes = tuple(range(1, features.ndim))
    norm: Tensor = torch.linalg.vector_norm(features.detach(), dim=axes, dtype=wide_dtype(features))
    return norm.square()


class _SquaredError(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, clean: Tensor, distorted: Tensor) -> Tensor:
        ctx.save_for_backward(clean, distorted)
        axes = tuple(range(1, clean.ndim))
        value = torch.empty(len(clean), dtype=wide_dtype(clean), device=clean.device)
        for rows in image_blocks(clean):
            difference = _difference(distorted[rows], clean[rows])
            torch.linalg.vector_norm(difference, dim=axes, out=value[rows])
        return value.square_()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None]:
        clean, distorted = ctx.saved_tensors
        slope = (2 * grad).view(-1, *[1] * (clean.ndim - 1))
        wanted_clean, wanted_distorted = ctx.needs_input_grad
        to_distorted = torch.empty_like(distorted)
        for rows in image_blocks(clean):
            to_distorted[rows] = _difference(distorted[rows], clean[rows]).mul_(slope[rows])
        to_clean = -to_distorted if wanted_clean else None
        return to_clean, to_distorted if wanted_distorted else None


def _difference(distorted: Tensor, clean: Tensor) -> Tensor:
    return distorted.to(wide_dtype(distorted), copy=True).sub_(clean)
