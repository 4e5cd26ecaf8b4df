"""What the machine lacks ends a command in one line, wherever it is noticed."""

from __future__ import annotations

import errno
import shlex
import subprocess
from pathlib import Path

import pytest
from commands import COMMAND, run_here
from own_study import write_own_study

from ablate.errors.device import fault_of_machine


@pytest.mark.slow
def test_too_few_open_files_are_one_line(tmp_path: Path) -> None:
    file = write_own_study(tmp_path, "own")
    assert run_here("launch", file, "--executor", "inline", cwd=tmp_path).returncode == 0
    result = subprocess.run(
        ["sh", "-c", f"ulimit -n 6; exec {shlex.join(COMMAND)} status runs/own"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 3
    assert result.stderr.count("\n") == 1
    assert result.stderr.startswith("ablate: ")
    assert result.stderr.endswith(
        ": must be usable, got: Too many open files. Allow more open files (ulimit -n), then run "
        "the command again.\n"
    )


@pytest.mark.parametrize(
    ("error", "line", "code"),
    [
        (
            OSError(errno.ENOSPC, "No space left on device"),
            "a file: must be usable, got: No space left on device. Free disk space, then run the "
            "command again.",
            3,
        ),
        *(
            (
                error,
                "memory: must suffice, got: out of memory. Free memory, or allow more (ulimit -v, "
                "the container's limit), then run the command again.",
                3,
            )
            for error in (MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory"))
        ),
        (
            OSError(errno.ENAMETOOLONG, "File name too long", "runs/long"),
            "runs/long: must be shorter, got: File name too long. Choose a shorter name.",
            2,
        ),
    ],
)
def test_what_the_machine_lacks(error: Exception, line: str, code: int) -> None:
    fault = fault_of_machine(error)
    assert fault is not None
    assert (str(fault), fault.exit_code) == (line, code)


def test_other_errors_are_not_of_the_machine() -> None:
    for error in (FileNotFoundError(errno.ENOENT, "none"), RuntimeError("a bug"), OSError("text")):
        assert fault_of_machine(error) is None
