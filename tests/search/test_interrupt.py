"""Ctrl-C and SIGTERM: the driver ends in order, and resume finishes exactly N rows."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

import ablate
from ablate.ledger.record import StudyRecord
from ablate.search.drive import Stops, Terminated, held

Write = Callable[..., Path]

SEARCH = {"trials": 2, "sampler": "random", "seed": 3}
EPOCHS = 6
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


@pytest.mark.long
def test_stopped_on_ray_and_resumed_is_as_never_stopped(write_own: Write) -> None:
    """A signal to the whole process group, in which are Ray's processes too.

    SIGTERM and SIGUSR1, to the driver alone, are faults of tests/test_faults.py.
    """
    keys = {"search": {**SEARCH, "trials": 4}, "run": {"parallel": 2}}
    file = write_own("interrupted", LOOP, finetune={"budget": {"epochs": EPOCHS}}, **keys)
    stop_in_row(2, file, "ray", signal.SIGINT, 130)  # of two at once: one has ended
    record = ablate.resume(file, executor="inline")
    assert [(row.number, row.state) for row in record.rows] == [(n, "COMPLETE") for n in range(4)]
    assert [row.values for row in record.rows] == [
        uninterrupted(row.params["x"]) for row in record.rows
    ]


# -- While workers start and import, beside the preparation --------------------------------


def left_of(session: int) -> list[str]:
    """Names of the processes of a session that have not ended."""
    names = []
    for entry in Path("/proc").iterdir():
        with suppress(OSError, ValueError):
            name, _, rest = (entry / "stat").read_text().rpartition(")")
            state, _, _, its_session = rest.split()[:4]
            if int(its_session) == session and state != "Z":
                names.append(name)
    return names


@pytest.mark.long
@pytest.mark.parametrize(
    ("at", "keys", "code", "said"),
    [
        ("starting the workers", {}, 130, "ablate: stopped"),
        ("obtaining the baseline", {}, 130, "ablate: stopped"),
        (
            "",
            {"run": {"cpus_per_trial": 9999}},
            2,
            "ablate: run.cpus_per_trial: must fit on one node, got 9999 where the largest has",
        ),
    ],
)
def test_what_ends_it_is_one_line_and_leaves_no_process(
    write_study: Write, at: str, keys: dict[str, object], code: int, said: str
) -> None:
    file = write_study("early", **{"run": {"parallel": 1}, **keys})
    process = subprocess.Popen(
        [sys.executable, "-m", "ablate", "launch", str(file)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        assert process.stdout is not None
        while at and at not in process.stdout.readline():
            assert process.poll() is None
        if at:
            os.killpg(process.pid, signal.SIGINT)
        _, errors = process.communicate(timeout=240)
        assert (process.returncode, errors.count("\n")) == (code, 1), errors
        assert errors.startswith(said)
        end = time.monotonic() + 60
        while left := left_of(process.pid):
            assert time.monotonic() < end, left
            time.sleep(0.2)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


# -- Signals wait while Ray starts and ends, and none is lost ------------------------------


def run(number: int, *, times: int, done: list[int], error: Exception | None = None) -> None:
    """What must not be cut, with so many signals in it."""
    with Stops().heard(), held():
        for _ in range(times):
            signal.raise_signal(number)
        done.append(times)
        if error is not None:
            raise error


@pytest.mark.parametrize(
    ("number", "raised"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, Terminated)]
)
def test_the_first_waits_and_the_second_does_not(number: int, raised: type[BaseException]) -> None:
    done: list[int] = []
    with pytest.raises(raised):
        run(number, times=1, done=done)
    with pytest.raises(raised):
        run(number, times=2, done=done)
    with pytest.raises(raised):
        run(number, times=1, done=done, error=ValueError("failed as well"))
    assert done == [1, 1]


def test_one_that_was_swallowed_is_raised_again() -> None:
    def swallow(stops: Stops) -> None:
        with stops.heard():
            with suppress(KeyboardInterrupt):
                signal.raise_signal(signal.SIGTERM)
            with stops.heard():
                pytest.fail("the run must not go on")

    with pytest.raises(Terminated) as stop:
        swallow(Stops())
    assert stop.value.signal == signal.SIGTERM
