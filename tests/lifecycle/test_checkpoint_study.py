"""A study whose baseline is a checkpoint from elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import ablate
from ablate.errors import DataError, FingerprintError
from ablate.lifecycle.dry_run import dry_run
from ablate.model.build import build_model
from ablate.model.weights.export_metadata import export_weights
from ablate.study.settings import ModelSettings

Write = Callable[..., Path]


@pytest.mark.slow
def test_a_checkpoint_may_move_and_may_not_change(write_study: Write, work: Path) -> None:
    def write(checkpoint: str) -> Path:
        baseline = {"checkpoint": checkpoint, "saw_validation": False}
        return write_study("outside", baseline=baseline, search={"trials": 1})

    def export(seed: int) -> None:
        network = build_model(ModelSettings(name="resnet8"), 3, (0.5,) * 3, (0.5,) * 3, seed)
        export_weights(network, work / "weights.safetensors")

    export(0)
    ablate.launch(write("weights.safetensors"), executor="inline")
    (work / "weights.safetensors").rename(work / "moved.safetensors")
    file = write("moved.safetensors")
    assert len(ablate.resume(file, add=1, executor="inline").rows) == 2
    export(1)
    file = write("weights.safetensors")
    with pytest.raises(FingerprintError, match=r"got other weights in baseline\.checkpoint"):
        ablate.resume(file, add=1, executor="inline")


def test_a_dry_run_says_what_is_wrong_with_a_file(write_study: Write, work: Path) -> None:
    baseline = {"checkpoint": "nowhere.pt", "saw_validation": False}
    file = write_study("outside", baseline=baseline, search={"trials": 1})
    with pytest.raises(DataError, match=r"nowhere\.pt"):
        dry_run(file, (), executor="inline")
