"""Why a trial failed is one line."""

from __future__ import annotations

import pytest

from ablate.errors import InfrastructureError
from ablate.trial.worker import failed


@pytest.mark.parametrize(
    "text",
    [
        "CUDA error: out of memory",
        "cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
    ],
)
def test_memory_of_a_gpu_runs_out_under_many_names(text: str) -> None:
    assert failed(RuntimeError(text)).failure["kind"] == "out_of_memory"  # type: ignore[index]


def test_a_lost_gpu_is_not_the_trials_fault() -> None:
    text = "CUDA error: device-side assert triggered\nCUDA kernel errors might be"
    with pytest.raises(InfrastructureError) as caught:
        failed(RuntimeError(text))
    assert str(caught.value) == (
        f"GPU: must answer, got RuntimeError: {text.splitlines()[0]}. Its process ends, and "
        "another takes up the trial; without Ray, run `ablate resume`."
    )


def test_memory_that_ran_out_says_what_to_change() -> None:
    import torch

    error = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.\nMore.")
    failure = failed(error).failure
    assert failure is not None
    assert failure["kind"] == "out_of_memory"
    assert failure["reason"] == (
        "OutOfMemoryError: CUDA out of memory. Tried to allocate 2 GiB. Lower finetune.batch_size, "
        "or raise run.gpu_memory_fraction."
    )
