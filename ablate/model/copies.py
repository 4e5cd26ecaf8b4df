"""The parts of a batch that holds clean images and their copies."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from ablate.errors import ParameterError


def split_copies(batch: Tensor, n: int) -> tuple[Tensor, ...]:
    """The `n` equal parts of a batch, in order, as views.

    Like `batch.chunk(n)`, but the gradient keeps the memory format (`chunk` makes that of a
    channels_last map contiguous, and every layer below then works on the wrong layout).

    Args:
        batch: rows of the first part, then of the second, and so on.
        n: parts, 1 or more.

    Raises:
        ParameterError: if the batch does not fall into as many equal parts.
    """
    if n < 1 or len(batch) % n:
        raise ParameterError(
            f"split: a batch must fall into {n} equal parts, got {len(batch)} rows. "
            "Concatenate as many copies of every image."
        )
    if n == 1:
        return (batch,)
    parts: tuple[Tensor, ...] = _Parts.apply(batch, n)  # type: ignore[no-untyped-call]
    return parts


class _Parts(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, batch: Tensor, n: int) -> tuple[Tensor, ...]:
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(batch)
        return batch.tensor_split(n)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *given: Tensor | None) -> tuple[Tensor, None]:
        (batch,) = ctx.saved_tensors
        grad = torch.empty_like(batch)
        for part, rows in zip(grad.tensor_split(len(given)), given, strict=True):
            if rows is None:
                part.zero_()
            else:
                part.copy_(rows)
        return grad, None
