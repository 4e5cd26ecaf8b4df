"""The parts of a batch that holds clean images and their copies."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from ablate.errors import ParameterError
from ablate.model.taps import split_copies


@pytest.mark.parametrize("used", ["first", "second", "both"])
def test_split_has_the_gradient_of_chunk_in_the_maps_own_memory_format(used: str) -> None:
    batch = torch.rand(4, 3, 5, 5).contiguous(memory_format=torch.channels_last)

    def gradient(split: Callable[[Tensor], tuple[Tensor, ...]]) -> Tensor:
        moving = batch.clone().requires_grad_()
        first, second = split(moving)
        value = (first**2).sum() * (used != "second") + (second**3).sum() * (used != "first")
        return torch.autograd.grad(value, moving)[0]

    def one_half(moving: Tensor) -> Tensor:
        return (split_copies(moving, 2)[used == "second"] ** 2).sum()

    own = gradient(lambda moving: split_copies(moving, 2))
    torch.testing.assert_close(own, gradient(lambda moving: moving.chunk(2)))
    assert own.is_contiguous(memory_format=torch.channels_last)
    alone = batch.clone().requires_grad_()
    one_half(alone).backward()
    assert alone.grad is not None
    used_rows, other_rows = alone.grad.chunk(2)[:: -1 if used == "second" else 1]
    assert used_rows.abs().min() > 0
    assert other_rows.abs().max() == 0


def test_an_odd_batch_has_no_halves() -> None:
    with pytest.raises(ParameterError) as caught:
        split_copies(torch.rand(3, 2), 2)
    assert str(caught.value) == (
        "split: a batch must split into 2 equal parts, got 3 rows. Concatenate as many copies of "
        "every image."
    )


@pytest.mark.parametrize(("rows", "n"), [(6, 4), (3, 0), (2, 3)])
def test_a_batch_that_does_not_fall_into_parts(rows: int, n: int) -> None:
    with pytest.raises(ParameterError) as caught:
        split_copies(torch.rand(rows, 2), n)
    assert str(caught.value) == (
        f"split: a batch must split into {n} equal parts, got {rows} rows. Concatenate as many "
        "copies of every image."
    )
