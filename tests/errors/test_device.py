"""What the machine lacks ends a command in one line, wherever it is noticed."""

from __future__ import annotations

import errno

import pytest

from ablate.errors.device import fault_of_machine


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
