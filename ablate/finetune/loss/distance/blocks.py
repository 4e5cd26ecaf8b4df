"""Work on feature maps in fp32, in pieces that stay in a CPU's cache.

Feature maps are the largest tensors of a step.  Their fp32 copies, and those of every operation of
a formula, would cost more in fresh memory than in arithmetic, so a CPU processes a few images (or a
few columns of all images) at a time.  The backward pass stores no values in between: a formula's
gradient is worked out with its value, while both are in the cache, and kept in the maps' dtype; a
written-out derivative recomputes what it needs.  A GPU processes all at once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from ablate.distortion.shapes import FeatureMap, PerImage
from ablate.finetune.loss.term import widen, without_autocast

CPU_BLOCK_ELEMENTS = 2**18  # 1 MiB of fp32

Formula = Callable[[Tensor, Tensor], Tensor]
"""(Clean maps, distorted maps) of some images, in fp32 or fp64 -> one number an image."""


def per_image(formula: Formula, clean: FeatureMap, distorted: FeatureMap) -> PerImage:
    """Evaluate a formula for each image, a few images at a time.

    Args:
        formula: differentiable, a function of one image's two maps.
        clean, distorted: feature maps of one shape.  A gradient flows into each unless the
            caller detaches it; not a second derivative.

    Returns:
        One number per image, in fp32 (in fp64 for fp64 maps), regardless of autocast.
    """
    # No gradient is worked out where none can be asked for.
    inputs = formula, torch.is_grad_enabled(), clean, distorted
    value: Tensor = _PerImage.apply(*inputs)  # type: ignore[no-untyped-call]
    return value


class _PerImage(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, formula: Formula, may_learn: bool, clean: Tensor, distorted: Tensor
    ) -> Tensor:
        wanted = [may_learn and want for want in ctx.needs_input_grad[2:]]
        # fp16 would lose small gradients, which are not scaled up yet.
        grads = [
            torch.empty_like(maps, dtype=_kept_dtype(maps)) if want else None
            for maps, want in zip((clean, distorted), wanted, strict=True)
        ]
        parts = []
        for rows in image_blocks(clean):
            leaves = [
                widen(maps[rows].detach()).requires_grad_(want)
                for maps, want in zip((clean, distorted), wanted, strict=True)
            ]
            with torch.set_grad_enabled(any(wanted)), without_autocast(clean):
                value = formula(*leaves)
            parts.append(value.detach())
            moving = [leaf for leaf in leaves if leaf.requires_grad]
            ones = torch.ones_like(value)
            found = iter(torch.autograd.grad(value, moving, ones) if moving else ())
            for grad in grads:
                if grad is not None:
                    grad[rows] = next(found)
        ctx.dtypes = clean.dtype, distorted.dtype
        ctx.save_for_backward(*grads)
        return torch.cat(parts)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope: Tensor) -> tuple[None, None, Tensor | None, Tensor | None]:
        first, second = (
            None if grad is None else _scaled(grad, slope, dtype)
            for grad, dtype in zip(ctx.saved_tensors, ctx.dtypes, strict=True)
        )
        return None, None, first, second


def _kept_dtype(maps: Tensor) -> torch.dtype:
    return torch.float32 if maps.dtype == torch.float16 else maps.dtype


def _scaled(grad: Tensor, slope: Tensor, dtype: torch.dtype) -> Tensor:
    """Each image's gradient times its slope, multiplied in fp32 (fp64 for fp64 maps)."""
    scaled = torch.empty_like(grad, dtype=dtype)
    slopes = slope.view(-1, *[1] * (grad.ndim - 1))
    for rows in image_blocks(grad):
        scaled[rows] = widen(grad[rows]) * slopes[rows]
    return scaled


def image_blocks(features: Tensor) -> Iterator[slice]:
    """Rows that are worked on at once."""
    yield from _steps(len(features), math.prod(features.shape[1:]), features.device)


def column_blocks(rows: Tensor) -> Iterator[slice]:
    """Columns of a [batch, values] matrix that are worked on at once."""
    yield from _steps(rows.shape[1], len(rows), rows.device)


def _steps(count: int, size: int, device: torch.device) -> Iterator[slice]:
    whole = CPU_BLOCK_ELEMENTS // max(1, size) if device.type == "cpu" else count
    step = max(1, whole)
    for start in range(0, count, step):
        yield slice(start, start + step)


def memory_order(features: Tensor) -> tuple[int, ...]:
    """The axes after the first, from the one with the longest stride to that with the shortest."""
    strides = features.stride()
    return tuple(sorted(range(1, features.ndim), key=lambda axis: -strides[axis]))


def as_rows(features: Tensor, order: tuple[int, ...]) -> Tensor:
    """One row an image, its values in the given order of axes: no copy in `memory_order`."""
    return features.permute(0, *order).flatten(1)


def from_rows(rows: Tensor, features: Tensor, order: tuple[int, ...]) -> Tensor:
    """What `as_rows` took apart, in the shape of `features`."""
    inside = rows.view(len(rows), *(features.shape[axis] for axis in order))
    return inside.permute(0, *(1 + order.index(axis) for axis in range(1, features.ndim)))
