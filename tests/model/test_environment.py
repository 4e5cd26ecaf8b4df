"""Device, precision and threads."""

from __future__ import annotations

import pytest
import torch

from ablate.errors import ResourceError
from ablate.model.environment import (
    environment_of,
    preparation_cores,
    resolve_environment,
)
from ablate.study.settings import RunSettings


def test_a_gpu_that_is_asked_for_is_not_replaced_by_a_cpu() -> None:
    for gpus in (0, "auto"):
        assert environment_of(RunSettings(gpus_per_trial=gpus)).precision
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(
        ResourceError, match=r"run\.gpus_per_trial: needs a torch that sees .* 0\.5"
    ):
        environment_of(RunSettings(gpus_per_trial=0.5))


def test_apply_keeps_matrices_of_fp32_whole() -> None:
    torch.backends.cuda.matmul.allow_tf32 = True
    resolve_environment("fp32", threads=1, device="cpu").apply()
    assert not torch.backends.cuda.matmul.allow_tf32


def test_apply_asks_cudnn_for_the_same_bits_only_where_told() -> None:
    environment = resolve_environment("fp32", threads=1, device="cpu")
    for same_bits in (True, False):
        environment.apply(same_bits=same_bits)
        assert torch.backends.cudnn.deterministic is same_bits
    environment.apply(same_bits=True)
    environment.apply()
    assert not torch.backends.cudnn.deterministic


@pytest.mark.parametrize(
    ("precision", "dtype"), [("bf16", torch.bfloat16), ("fp32", torch.float32)]
)
def test_autocast_is_of_the_precision(precision: str, dtype: torch.dtype) -> None:
    environment = resolve_environment(precision, threads=1, device="cpu")
    with environment.autocast():
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == dtype


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is here")
def test_a_gpu_that_is_not_there_is_said() -> None:
    with pytest.raises(ResourceError) as error:
        resolve_environment(threads=1, device="cuda")
    assert str(error.value) == (
        "device: must be available, got cuda, but torch sees no GPU. Use cpu, or install a torch "
        "built for this GPU's driver."
    )


def test_fp16_on_a_cpu_is_refused() -> None:
    with pytest.raises(ResourceError) as error:
        resolve_environment("fp16", threads=1, device="cpu")
    assert str(error.value) == (
        "run.precision: fp16 needs a GPU, got a CPU. Use bf16 or fp32, or auto, which chooses by "
        "hardware."
    )


@pytest.mark.parametrize(
    ("asked", "cores"), [(None, 4), ("", 4), ("3", 3), ("9", 4), ("0", 4), ("2,1", 4)]
)
def test_a_preparation_takes_all_cores_or_as_many_as_openmp_may(
    asked: str | None, cores: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ablate.model.environment.usable_cores", lambda: 4)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if asked is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", asked)
    assert preparation_cores() == cores
