"""Why a trial failed is one line."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from ablate.errors import InfrastructureError
from ablate.study.settings import BudgetSettings
from ablate.trial.worker import _kind, _reason, failed


def test_values_that_a_section_refuses() -> None:
    with pytest.raises(ValidationError) as error:
        BudgetSettings.model_validate({"epochs": -1})
    assert _reason(error.value) == "epochs: Input should be greater than or equal to 0, got -1"


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (RuntimeError("shapes\nand more"), "RuntimeError: shapes"),
        (KeyError(), "KeyError"),
    ],
)
def test_anything_else(error: Exception, reason: str) -> None:
    assert _reason(error) == reason


@pytest.mark.parametrize(
    "text",
    [
        "CUDA error: out of memory",
        "cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
    ],
)
def test_memory_of_a_gpu_runs_out_under_many_names(text: str) -> None:
    assert failed(RuntimeError(text)).failure["kind"] == "out_of_memory"  # type: ignore[index]


@pytest.mark.parametrize(
    "text",
    [
        "CUDA error: device-side assert triggered\nCUDA kernel errors might be",
    ],
)
def test_a_lost_gpu_is_not_the_trials_fault(text: str) -> None:
    with pytest.raises(InfrastructureError) as caught:
        failed(RuntimeError(text))
    assert str(caught.value) == (
        f"GPU: must answer, got RuntimeError: {text.splitlines()[0]}. Its process ends, and "
        "another takes up the trial; without Ray, run `ablate resume`."
    )


def test_memory_that_ran_out_says_what_to_change() -> None:
    import torch

    error = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.\nMore.")
    assert _kind(error) == "out_of_memory"
    assert _reason(error) == (
        "OutOfMemoryError: CUDA out of memory. Tried to allocate 2 GiB. Lower finetune.batch_size, "
        "or raise run.gpu_memory_fraction."
    )
