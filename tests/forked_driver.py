"""Drivers of a study as children of one process that has imported all they need.

A driver is a process of its own, with the command line's code from its first line on, and dies as
one; what is left out is the start of Python, the imports and what is read once a process, which
take ten times as long as the driver itself.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from multiprocessing import forkserver
from pathlib import Path

import pytest

_FORKS = multiprocessing.get_context("forkserver")


def _start_template() -> None:
    """The process that drivers are forked from, once a process of the suite."""
    _FORKS.set_forkserver_preload(["driver_template"])
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("PYTHONPATH", str(Path(__file__).parent), prepend=os.pathsep)
        forkserver.ensure_running()


class ForkedDriver:
    """`python PROGRAM...` as `subprocess.Popen` has it, in a session of its own.

    Args:
        program: arguments of `ablate`, or, with `point`, of `fault_driver.py`.
    """

    def __init__(
        self, program: Sequence[str], folder: Path, environment: Mapping[str, str]
    ) -> None:
        _start_template()
        self._log = folder / f"driver-{time.monotonic_ns()}.log"
        given = (list(program), str(folder), dict(environment), str(self._log))
        self._process = _FORKS.Process(target=_drive, args=given)
        self._process.start()
        assert self._process.pid is not None
        self.pid = self._process.pid

    @property
    def returncode(self) -> int | None:
        return self.poll()

    def poll(self) -> int | None:
        """Its exit code once it has ended, below zero where a signal ended it."""
        return self._process.exitcode

    def communicate(self, timeout: float | None = None) -> tuple[str, None]:
        """What it printed, at its end.

        Raises:
            subprocess.TimeoutExpired: if it has not ended by then.
        """
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired("driver", timeout or 0)
        return self._log.read_text() if self._log.exists() else "", None

    def send_signal(self, number: int) -> None:
        """Send it, unless it has ended."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def kill(self) -> None:
        self._process.kill()


def _drive(program: list[str], folder: str, environment: dict[str, str], log: str) -> None:
    os.setsid()
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for stream in (1, 2):
        os.dup2(output, stream)
    sys.stdout = sys.stderr = open(1, "w", buffering=1, closefd=False)  # noqa: SIM115
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    sys.path.insert(0, folder)
    if program[0] == "--at":
        from fault_driver import arm

        arm(program[1], int(program[2]))
        program = program[3:]
    from ablate.cli.main import main

    sys.argv = ["ablate", *program]
    main(prog_name="ablate")
