"""Ctrl-C and SIGTERM: the driver ends within seconds, and resume finishes exactly N rows."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import ablate
from ablate.ledger.record import StudyRecord

Write = Callable[..., Path]

SEARCH = {"trials": 4, "sampler": "random", "seed": 3}
FINETUNE = {"budget": {"epochs": 24}, "batch_size": 12}


@pytest.fixture(scope="module")
def whole(write_study_in: Write, tmp_path_factory: pytest.TempPathFactory) -> StudyRecord:
    """The study as nothing has stopped it."""
    folder = tmp_path_factory.mktemp("whole")
    file = write_study_in(folder, "whole", search=SEARCH, finetune=FINETUNE)
    with contextlib.chdir(folder):
        return ablate.launch(file, executor="inline")


def _default_signals() -> None:
    # A suite that runs in the background of a shell has SIGINT ignored, and so would its children.
    signal.signal(signal.SIGINT, signal.default_int_handler)


def _stop_after_first_row(file: Path, executor: str, number: int) -> tuple[int, float, str]:
    """Launch, signal the whole process group once a row has ended, and wait for the end."""
    process = subprocess.Popen(
        [sys.executable, "-m", "ablate", "launch", str(file), "--executor", executor],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        preexec_fn=_default_signals,  # noqa: PLW1509 (no threads in the child)
    )
    assert process.stdout is not None
    seen = []
    for line in process.stdout:
        seen.append(line)
        if re.match(r"trial \d+ complete", line):
            break
    began = time.monotonic()
    os.killpg(process.pid, number)
    rest, _ = process.communicate(timeout=60)
    return process.returncode, time.monotonic() - began, "".join(seen) + rest


@pytest.mark.parametrize(
    ("executor", "number", "code"),
    [("ray", signal.SIGINT, 130), ("ray", signal.SIGTERM, 143), ("inline", signal.SIGINT, 130)],
)
def test_stopped_and_resumed_is_as_never_stopped(
    write_study: Write, whole: StudyRecord, executor: str, number: int, code: int
) -> None:
    name = f"stopped-{executor}-{code}"
    file = write_study(name, search=SEARCH, finetune=FINETUNE)
    returned, seconds, output = _stop_after_first_row(file, executor, number)
    assert returned == code, output
    assert f"go on with: ablate resume runs/{name}" in output
    assert "Traceback" not in output
    assert seconds < 20

    left = ablate.read(file.parent / "runs" / name)
    assert left.count("RUNNING") >= 1
    record = ablate.resume(file.parent / "runs" / name, executor="inline")
    assert [row.number for row in record.rows] == [0, 1, 2, 3]
    assert all(row.state == "COMPLETE" for row in record.rows)

    assert [row.values for row in record.rows] == [row.values for row in whole.rows]
    assert [row.params for row in record.rows] == [row.params for row in whole.rows]


def test_a_resumed_row_goes_on_from_its_checkpoint(write_study: Write, work: Path) -> None:
    file = write_study("continued", search=SEARCH, finetune=FINETUNE)
    _stop_after_first_row(file, "inline", signal.SIGINT)
    running = [row for row in ablate.read(file).rows if row.state == "RUNNING"]
    record = ablate.resume(file, executor="inline")
    for row in running:
        ended = record.rows[row.number]
        assert ended.attempt == 2
        # What was trained before keeps its wall time; a row begun anew would have other ones.
        assert ended.curve[: len(row.curve)] == row.curve
