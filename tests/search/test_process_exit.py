"""A trial that calls `os._exit` ends itself, and neither the driver nor the study."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import ablate

LOOP = """
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


def test_an_inline_trial_ends_alone(
    write_own: Callable[..., Path],
    ablate_alone: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    search = {"trials": 5, "sampler": "random"}
    file = write_own("leaving", LOOP, search=search, run={"max_failed_fraction": 1.0})
    done = ablate_alone("launch", file.name, "--executor", "inline")
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
