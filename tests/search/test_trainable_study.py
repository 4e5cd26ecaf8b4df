"""A study with a custom training loop, from its file to its ledger."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from commands import run_alone
from own_study import write_own_study

import ablate
from ablate.errors import StudyFileError, UsageError
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
    with pytest.raises(StudyFileError, match=r"gone\.yaml:3:1: trainable: loop_gone must have"):
        ablate.launch(file, executor="inline")


LEAVING_LOOP = """
import multiprocessing
import os
import threading

def leave(status):
    os._exit(status)

def forked(status):
    process = os.fork()
    if not process:
        os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])

def train(context):
    if context.number == 2:
        os._exit(0)
    if context.number == 1:
        other = threading.Thread(target=leave, args=(0,))
        other.start()
        other.join()
    if context.number == 0:
        child = multiprocessing.get_context("fork").Process(target=leave, args=(5,))
        child.start()
        child.join()
        context.report(1, {"a": child.exitcode, "b": forked(7)})
        return
    if context.number == 3:
        try:
            os._exit(3)
        except BaseException:
            pass
    context.report(1, {"a": 1.0, "b": 1.0})
"""


@pytest.mark.slow
def test_an_inline_trial_ends_alone(write_own: WriteOwn) -> None:
    keys = {"search": {"trials": 5}, "run": {"max_failed_fraction": 1.0}}
    objectives = [{"metric": "a"}, {"metric": "b"}]
    file = write_own("leaving", LEAVING_LOOP, objectives=objectives, **keys)
    done = run_alone("launch", file.name, "--executor", "inline")
    assert done.returncode == 0, done.stderr
    assert "(5 of 5" in done.stdout
    rows = ablate.read(file).rows
    assert [row.state for row in rows] == ["COMPLETE", "FAIL", "FAIL", "FAIL", "COMPLETE"]
    assert rows[0].values == (5.0, 7.0)
    for row, status in ((rows[1], 0), (rows[2], 0), (rows[3], 3)):
        assert row.failure is not None
        assert (row.failure.kind, row.failure.reason) == (
            "raised",
            f"ProcessExit: a trial must not end its process, got os._exit({status}). Return, or "
            "raise an exception.",
        )


@pytest.mark.slow
def test_a_runtime_environment_that_ray_refuses(write_own: WriteOwn) -> None:
    """That its workers have it is in test_cluster.py."""
    wrong = write_own("wrong", run={"runtime_env": {"env_vars": [1]}})
    with pytest.raises(
        UsageError, match=r"^run\.runtime_env: must be a runtime environment of Ray"
    ):
        ablate.launch(wrong, progress=False)
