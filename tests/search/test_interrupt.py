"""Ctrl-C and SIGTERM: the driver ends in order, and resume finishes exactly N rows."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import ablate
from ablate.ledger.record import StudyRecord

pytestmark = pytest.mark.slow

Write = Callable[..., Path]

SEARCH = {"trials": 2, "sampler": "random", "seed": 3}
FINETUNE = {"budget": {"epochs": 8}, "batch_size": 12}
EPOCHS = 20
LOOP = """
import time

def train(context):
    value = float((context.checkpoint / "value").read_text()) if context.checkpoint else 0.0
    for epoch in range(context.start_epoch + 1, context.epochs + 1):
        time.sleep(0.05)
        value = value / 2 + epoch * context.params["x"]
        (context.checkpoint_folder / "value").write_text(repr(value))
        context.report(epoch, {"a": value, "b": float(epoch)})
"""


def uninterrupted(x: float) -> tuple[float, float]:
    """What the loop reports last where nothing stops it."""
    value = 0.0
    for epoch in range(1, EPOCHS + 1):
        value = value / 2 + epoch * x
    return value, float(EPOCHS)


DRIVER = """
import os, sys, time

from ablate.cli.main import main
from ablate.search.dispatcher import Dispatcher

at, number = map(int, sys.argv[1:3])
report, sent = Dispatcher.report, []

def signalled(self, row, what):
    report(self, row, what)
    if row.number == at and what.entry and not sent:
        sent.append(number)
        os.killpg(0, number)
        while self._draining is None:
            time.sleep(0.01)

Dispatcher.report = signalled
sys.argv = ["ablate", *sys.argv[3:]]
main()
"""
"""Signals its whole process group in the first epoch of a row, whatever else is slow."""


def stop_in_row(at: int, file: Path, executor: str, number: int, code: int) -> StudyRecord:
    """Launch, signal the whole process group in this row, and look at how it ends."""
    launch = ["launch", str(file), "--executor", executor]
    process = subprocess.Popen(
        [sys.executable, "-c", DRIVER, str(at), str(number), *launch],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        output, _ = process.communicate(timeout=240)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == code, output
    assert re.search(r"trial \d+ complete", output), output
    assert f"resume with: ablate resume runs/{file.stem}" in output
    assert "Traceback" not in output
    left = ablate.read(file)
    assert left.count("RUNNING") >= 1
    return left


def test_stopped_on_ray_and_resumed_is_as_never_stopped(write_own: Write) -> None:
    """A signal to the whole process group, in which are Ray's processes too.

    SIGTERM and SIGUSR1, to the driver alone, are faults of tests/test_faults.py.
    """
    keys = {"search": {**SEARCH, "trials": 5}, "run": {"parallel": 2}}
    file = write_own("interrupted", LOOP, finetune={"budget": {"epochs": EPOCHS}}, **keys)
    stop_in_row(2, file, "ray", signal.SIGINT, 130)  # of two at once: one has ended
    record = ablate.resume(file, executor="inline")
    assert [(row.number, row.state) for row in record.rows] == [(n, "COMPLETE") for n in range(5)]
    assert [row.values for row in record.rows] == [
        uninterrupted(row.params["x"]) for row in record.rows
    ]


@pytest.fixture(scope="module")
def whole(write_study_in: Write, tmp_path_factory: pytest.TempPathFactory) -> StudyRecord:
    """The finetuning as nothing has stopped it."""
    folder = tmp_path_factory.mktemp("whole")
    file = write_study_in(folder, "whole", search=SEARCH, finetune=FINETUNE)
    with contextlib.chdir(folder):
        return ablate.launch(file, executor="inline")


def test_a_finetuning_goes_on_from_its_checkpoint_with_the_same_scores(
    write_study: Write, whole: StudyRecord
) -> None:
    file = write_study("stopped", search=SEARCH, finetune=FINETUNE)
    left = stop_in_row(1, file, "inline", signal.SIGINT, 130)
    running = [row for row in left.rows if row.state == "RUNNING"]
    record = ablate.resume(file, executor="inline")
    assert [(row.number, row.state) for row in record.rows] == [(n, "COMPLETE") for n in range(2)]
    assert [row.values for row in record.rows] == [row.values for row in whole.rows]
    assert [row.params for row in record.rows] == [row.params for row in whole.rows]
    for row in running:
        ended = record.rows[row.number]
        assert ended.attempt == 2
        # What was trained before keeps its wall time; a restarted row would have other ones.
        assert ended.curve[: len(row.curve)] == row.curve
