"""Weights from elsewhere: files with damage, and tensors that no network can be given."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ablate.errors import DataError
from ablate.model.build import build_model
from ablate.model.weights.external_checkpoint import load_external
from ablate.study.settings import ModelSettings

OWN = ModelSettings(name="resnet8")
FIRST = "normalize.mean"


def build() -> nn.Module:
    return build_model(OWN, 5, (0.4, 0.5, 0.6), (0.2, 0.2, 0.3), 0)


def refusal(path: Path, model: nn.Module | None = None) -> str:
    model = model or build()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    with pytest.raises(DataError) as error:
        load_external(model, OWN, path.name, path.parent)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    text = str(error.value)
    assert text.isprintable(), "one line"
    return text


@pytest.mark.parametrize(
    "content",
    [
        {1: torch.zeros(1)},
        {"model": {**build().state_dict(), 2: torch.zeros(1)}},
    ],
    ids=["bare", "nested and mixed"],
)
def test_keys_that_are_no_text(tmp_path: Path, content: Any) -> None:
    torch.save(content, tmp_path / "weights.pt")
    assert refusal(tmp_path / "weights.pt") == (
        "baseline.checkpoint: must be a state dict, key -> tensor, got 'weights.pt' with a key "
        "that is not text: int. Save model.state_dict()."
    )


def _of(change: Callable[[Tensor], Tensor]) -> dict[str, Tensor]:
    return {key: change(value) for key, value in build().state_dict().items()}


def _spoiled(value: float, dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
    state = build().state_dict()
    state["classifier.bias"] = torch.tensor([0, 1, value, 3, value], dtype=dtype)
    return state


@pytest.mark.parametrize(
    ("state", "got"),
    [
        (_of(lambda one: one.to_sparse()), f"{FIRST} stored as sparse_coo, float32"),
        (_of(lambda one: one.to("meta")), f"{FIRST} without values (device meta)"),
        (_of(lambda one: one.to(torch.complex64)), f"{FIRST} of complex64"),
        (_of(lambda one: one.to(torch.int8)), f"{FIRST} of int8"),
        (_spoiled(float("nan")), "classifier.bias not finite in 2 of 5 values"),
        (_spoiled(1e300, torch.float64), "classifier.bias not finite in 2 of 5 values"),
    ],
)
def test_tensors_that_are_no_weights(tmp_path: Path, state: dict[str, Tensor], got: str) -> None:
    torch.save(state, tmp_path / "weights.pt")
    assert refusal(tmp_path / "weights.pt") == (
        "baseline.checkpoint: must contain dense, finite, floating-point weights, got 'weights.pt' "
        f"with {got}. Save model.state_dict() of the trained network in float32."
    )


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_another_precision_is_taken(tmp_path: Path, dtype: torch.dtype) -> None:
    state = _of(lambda one: one.to(dtype) if one.is_floating_point() else one.to(torch.int32))
    torch.save(state, tmp_path / "weights.pt")
    model = build()
    load_external(model, OWN, "weights.pt", tmp_path)
    for key, value in model.state_dict().items():
        assert torch.equal(value, state[key].to(value.dtype))


def test_a_key_with_a_line_break(tmp_path: Path) -> None:
    torch.save({**build().state_dict(), "two\nlines": torch.zeros(1)}, tmp_path / "weights.pt")
    assert "with keys 1 unexpected ('two\\nlines'). Name" in refusal(tmp_path / "weights.pt")
