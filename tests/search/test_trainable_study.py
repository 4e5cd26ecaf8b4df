"""A study with a custom training loop, from its file to its ledger."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from own_study import write_own_study

import ablate
from ablate.errors import StudyFileError
from ablate.trial.task import log_file

WriteOwn = Callable[..., Path]
LOOP = """
def train(trial):
    weight, target = 0.0, 3.0
    for epoch in range(trial.start_epoch + 1, trial.epochs + 1):
        weight += trial.params["lr"] * (target - weight)
        print("trained", epoch)
        trial.report(epoch, {"error": abs(target - weight), "size": weight})
"""


@pytest.fixture
def write_own(work: Path) -> WriteOwn:
    """Writes a study of a loop and the loop beside it."""

    def write(name: str, loop: str = LOOP, **keys: Any) -> Path:
        study = {
            "finetune": {"budget": {"epochs": 3}},
            "space": {"lr": {"float": [0.01, 1.0], "log": True}},
            "objectives": [{"metric": "error", "direction": "minimize"}, {"metric": "size"}],
            "search": {"trials": 4, "sampler": "random", "enqueue": [{"lr": 0.5}]},
        }
        return write_own_study(work, name, loop, **{**study, **keys})

    return write


def test_it_runs_to_its_end(write_own: WriteOwn, work: Path) -> None:
    record = ablate.launch(write_own("ends"), executor="inline")
    assert [row.state for row in record.rows] == ["COMPLETE"] * 4
    assert record.rows[0].params == {"lr": 0.5}
    assert record.rows[0].enqueued
    for row in record.rows:
        rate = row.params["lr"]
        assert row.values == pytest.approx((3 * (1 - rate) ** 3, 3 - 3 * (1 - rate) ** 3))
        assert [entry["epoch"] for entry in row.curve] == [1, 2, 3]
        assert row.attempts[-1].host
    assert record.references == {}
    text = log_file(work / "runs" / "ends", 2, 1).read_text()
    assert text == "trained 1\ntrained 2\ntrained 3\n"


def test_a_loop_that_is_not_there_is_refused_by_line(write_own: WriteOwn) -> None:
    file = write_own("gone", trainable="loop_gone:trian")
    with pytest.raises(StudyFileError, match=r"gone\.yaml:3:12: trainable: loop_gone must have"):
        ablate.launch(file, executor="inline")
