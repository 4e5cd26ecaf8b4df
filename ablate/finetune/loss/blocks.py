"""Work on feature maps in fp32, in pieces that stay in a CPU's cache.

Feature maps are the largest tensors of a step.  Their fp32 copies, and those of every operation of
a formula, would cost more in fresh memory than in arithmetic, so a CPU processes a few images (or a
few columns of all images) at a time.  The backward pass stores no values in between: a formula's
gradient is worked out with its value, while both are in the cache, and kept in the maps' dtype; a
written-out derivative recomputes what it needs.  A GPU processes all at once.

A gradient flows into each map unless the caller detaches it; there is no second derivative.
Results are in fp32 (in fp64 for fp64 maps), regardless of autocast.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from ablate.distortion.shapes import FeatureMap, PerImage, Scalar
from ablate.finetune.loss.term import wide_dtype, widen, without_autocast

CPU_BLOCK_ELEMENTS = 2**18  # 1 MiB of fp32

Formula = Callable[[Tensor, Tensor], Tensor]
"""(Clean maps, distorted maps) of some images, in fp32 or fp64 -> one number an image."""


def per_image(formula: Formula, clean: FeatureMap, distorted: FeatureMap) -> PerImage:
    """Evaluate a differentiable formula of one image's two maps for each image, a few at a time."""
    # No gradient is worked out where none can be asked for.
    inputs = formula, torch.is_grad_enabled(), clean, distorted
    value: Tensor = _PerImage.apply(*inputs)  # type: ignore[no-untyped-call]
    return value


class _PerImage(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, formula: Formula, may_learn: bool, clean: Tensor, distorted: Tensor
    ) -> Tensor:
        branches = {"clean": clean, "distorted": distorted}
        grads: dict[str, Tensor] = {}
        for (branch, maps), wanted in zip(branches.items(), ctx.needs_input_grad[2:], strict=True):
            if may_learn and wanted:
                # fp16 would lose small gradients, which are not scaled up yet.
                kept = torch.float32 if maps.dtype == torch.float16 else maps.dtype
                grads[branch] = torch.empty_like(maps, dtype=kept)
        parts = []
        for rows in image_blocks(clean):
            leaves = {
                branch: widen(maps[rows].detach()).requires_grad_(branch in grads)
                for branch, maps in branches.items()
            }
            with torch.set_grad_enabled(bool(grads)), without_autocast(clean):
                value = formula(leaves["clean"], leaves["distorted"])
            parts.append(value.detach())
            if grads:
                moving = [leaves[branch] for branch in grads]
                slopes = torch.autograd.grad(value, moving, torch.ones_like(value))
                for grad, slope in zip(grads.values(), slopes, strict=True):
                    grad[rows] = slope
        ctx.dtypes = clean.dtype, distorted.dtype
        ctx.save_for_backward(grads.get("clean"), grads.get("distorted"))
        return torch.cat(parts)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope: Tensor) -> tuple[None, None, Tensor | None, Tensor | None]:
        def scaled(grad: Tensor | None, dtype: torch.dtype) -> Tensor | None:
            if grad is None:
                return None
            result = torch.empty_like(grad, dtype=dtype)
            slopes = slope.view(-1, *[1] * (grad.ndim - 1))
            for rows in image_blocks(grad):
                result[rows] = widen(grad[rows]) * slopes[rows]
            return result

        first, second = map(scaled, ctx.saved_tensors, ctx.dtypes)
        return None, None, first, second


def squared_error(clean: FeatureMap, distorted: FeatureMap) -> PerImage:
    """Sum over each image's map of (clean - distorted)^2.

    Written out, since it is in the default distance and runs on every tap in every step.
    """
    return squared_errors([clean], [distorted])[0]


def squared_errors(
    clean: Sequence[Tensor], distorted: Sequence[Tensor]
) -> Float[Tensor, "layers batch"]:
    """`squared_error` of the maps of several layers, of one kind of wide dtype."""
    errors: Tensor = _SquaredErrors.apply(len(clean), *clean, *distorted)  # type: ignore[no-untyped-call]
    return errors


class _SquaredErrors(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, layers: int, *maps: Tensor) -> Tensor:
        clean, distorted = maps[:layers], maps[layers:]
        ctx.dtypes = [one.dtype for one in distorted]
        ctx.is_whole = all(len(list(image_blocks(one))) == 1 for one in clean)
        values = clean[0].new_empty((layers, len(clean[0])), dtype=wide_dtype(clean[0]))
        kept: Sequence[Tensor] = maps
        if ctx.is_whole:
            kept = _differences(distorted, clean)
            for value, difference in zip(values, kept, strict=True):
                _norm(difference, value)
        else:
            for value, target, moved in zip(values, clean, distorted, strict=True):
                for rows in image_blocks(target):
                    _norm(_difference(moved[rows], target[rows]), value[rows])
        ctx.save_for_backward(*kept)
        return values.square_()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        layers, kept, wanted = len(grad), ctx.saved_tensors, ctx.needs_input_grad[1:]
        grads: list[Tensor | None] = [None] * (2 * layers)
        for number, slope in enumerate((2 * grad).unbind()):
            gradient = torch.empty_like(kept[-layers + number], dtype=ctx.dtypes[number])
            slopes = slope.view(-1, *[1] * (gradient.ndim - 1))
            if ctx.is_whole:
                torch.mul(kept[number], slopes, out=gradient)
            else:
                for rows in image_blocks(gradient):
                    difference = _difference(kept[layers + number][rows], kept[number][rows])
                    torch.mul(difference, slopes[rows], out=gradient[rows])
            grads[number] = -gradient if wanted[number] else None
            grads[layers + number] = gradient if wanted[layers + number] else None
        return None, *grads


def _norm(features: Tensor, out: Tensor) -> None:
    torch.linalg.vector_norm(features, dim=tuple(range(1, features.ndim)), out=out)


def _differences(distorted: Sequence[Tensor], clean: Sequence[Tensor]) -> Sequence[Tensor]:
    """`_difference` of whole maps of several layers, in two operations."""
    maps = [*distorted, *clean]
    wide = [torch.empty_like(one, dtype=wide_dtype(one)) for one in maps]
    torch._foreach_copy_(wide, maps)
    torch._foreach_sub_(wide[: len(clean)], wide[len(clean) :])
    return wide[: len(clean)]


def _difference(distorted: Tensor, clean: Tensor) -> Tensor:
    return distorted.to(wide_dtype(distorted), copy=True).sub_(clean)


def gram_matrix(features: FeatureMap) -> Tensor:
    """Inner products of the images' features, each feature centred over the batch.

    Returns:
        `[batch, batch]`.  Centred before the product: activations after a ReLU have large means, in
        which the differences would be lost.
    """
    gram: Tensor = _Gram.apply(features)  # type: ignore[no-untyped-call]
    return gram


class _Gram(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, features: Tensor) -> Tensor:
        ctx.save_for_backward(features)
        rows = _as_rows(features, features)
        gram = rows.new_zeros(len(rows), len(rows), dtype=wide_dtype(rows))
        with without_autocast(rows):
            for columns in column_blocks(rows):
                (centred,) = _centred(rows[:, columns])
                gram.addmm_(centred, centred.T)
        return gram

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope: Tensor) -> Tensor:
        (features,) = ctx.saved_tensors
        rows = _as_rows(features, features)
        # Centring the result is the derivative of centring the features.
        both = slope + slope.T
        both = both - both.mean(0)
        grad = torch.empty_like(rows)
        with without_autocast(rows):
            for columns in column_blocks(rows):
                (centred,) = _centred(rows[:, columns])
                grad[:, columns] = both @ centred
        return _from_rows(grad, features)


def scatter(clean: FeatureMap, distorted: FeatureMap) -> Scalar:
    """Sum over both branches' maps of the squared distance from the mean of all of them."""
    total: Tensor = _Scatter.apply(clean, distorted)  # type: ignore[no-untyped-call]
    return total


class _Scatter(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, clean: Tensor, distorted: Tensor) -> Tensor:
        ctx.save_for_backward(clean, distorted)
        total = clean.new_zeros((), dtype=wide_dtype(clean))
        rows = [_as_rows(maps, clean) for maps in (clean, distorted)]
        for columns in column_blocks(rows[0]):
            for centred in _centred(*(branch[:, columns] for branch in rows)):
                total += torch.linalg.vector_norm(centred).square()
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor | None, ...]:
        branches = ctx.saved_tensors
        rows = [_as_rows(maps, branches[0]) for maps in branches]
        grads = [
            torch.empty_like(branch) if wanted else None
            for branch, wanted in zip(rows, ctx.needs_input_grad, strict=True)
        ]
        for columns in column_blocks(rows[0]):
            parts = _centred(*(branch[:, columns] for branch in rows))
            for grad, centred in zip(grads, parts, strict=True):
                if grad is not None:
                    grad[:, columns] = centred.mul_(2 * slope)
        return tuple(None if grad is None else _from_rows(grad, branches[0]) for grad in grads)


def _centred(*branches: Tensor) -> list[Tensor]:
    """Wide copies of one or two branches' rows, less the mean over all images of both."""
    wide = [rows.to(wide_dtype(rows), copy=True) for rows in branches]
    means = [rows.mean(0) for rows in wide]
    mean = means[0] if len(means) == 1 else (means[0] + means[1]) / 2
    return [rows.sub_(mean) for rows in wide]


# -- The pieces ---------------------------------------------------------------------------


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


def _memory_order(features: Tensor) -> list[int]:
    """The axes after the first, from the one with the longest stride to that with the shortest."""
    strides = features.stride()
    return sorted(range(1, features.ndim), key=lambda axis: -strides[axis])


def _as_rows(features: Tensor, like: Tensor) -> Tensor:
    """One row an image, its values in the order in which `like` has them in memory: then no copy
    is made of `like` itself."""
    return features.permute(0, *_memory_order(like)).flatten(1)


def _from_rows(rows: Tensor, like: Tensor) -> Tensor:
    """What `_as_rows` took apart, in the shape of `like`."""
    order = _memory_order(like)
    inside = rows.view(len(rows), *(like.shape[axis] for axis in order))
    return inside.permute(0, *(1 + order.index(axis) for axis in range(1, like.ndim)))
