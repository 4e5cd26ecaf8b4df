"""What the machine lacks, whatever was being done: memory, files, disk; a GPU that is lost.

What torch says is known by names and words: a worker that runs a training loop without torch does
not load it for this, and torch raises many of these as plain `RuntimeError`.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from ablate.errors import AblateError, InfrastructureError, UsageError, cut, unencodable

_MEMORY = (
    "can't allocate memory",  # the CPU's allocator
    "not enough memory",
    "CUDA error: out of memory",
    "CUDA out of memory",
    "STATUS_ALLOC_FAILED",  # cuBLAS and cuDNN
)
_LOST = (
    "an illegal memory access was encountered",
    "an illegal instruction was encountered",
    "device-side assert triggered",
    "hardware stack error",
    "invalid address space",
    "invalid program counter",
    "launch timed out and was terminated",
    "misaligned address",
    "uncorrectable ECC error encountered",
    "unspecified launch failure",
)
"""Errors after which, by the CUDA runtime's documentation, all further work of the process returns
the same error, and the process has to be started again."""
_LACKS = {
    errno.EMFILE: "Allow more open files (ulimit -n)",
    errno.ENFILE: "End what has so many files open",
    errno.ENOMEM: "Free memory",
    errno.ENOSPC: "Free disk space",
    errno.EDQUOT: "Free disk space of your quota",
    errno.EFBIG: "Allow larger files (ulimit -f)",
    errno.EROFS: "Choose a folder that can be written",
    errno.EIO: "Check the disk",
}


class OutOfMemoryError(AblateError):
    """Training or scoring needs more memory than there is."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out, of the CPU or of a GPU."""
    named = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
    return named or _says(error, _MEMORY)


def is_lost_gpu(error: BaseException) -> bool:
    """Whether no later call of this process will reach the GPU."""
    return _says(error, ("CUDA error",)) and _says(error, _LOST)


def _says(error: BaseException, words: Iterable[str]) -> bool:
    try:
        return isinstance(error, RuntimeError) and any(word in str(error) for word in words)
    except Exception:  # a text of the user's own that cannot be made
        return False


def fault_of_machine(error: BaseException) -> AblateError | None:
    """The one line of an error that can occur anywhere: a name that is too long or not UTF-8, no
    memory, a full disk; None if it is of another kind."""
    if is_out_of_memory(error):
        return InfrastructureError(
            "memory: must suffice, got: out of memory. Free memory, or allow more (ulimit -v, the "
            "container's limit), then run the command again."
        )
    if isinstance(error, UnicodeEncodeError):  # of a path; of output nothing is refused
        return UsageError(unencodable(error))
    if not isinstance(error, OSError) or error.errno is None:
        return None
    name = "a file" if error.filename is None else cut(str(error.filename))
    if error.errno == errno.ENAMETOOLONG:
        return UsageError(f"{name}: must be shorter, got: {error.strerror}. Choose a shorter name.")
    if error.errno not in _LACKS:
        return None
    return InfrastructureError(
        f"{name}: must be usable, got: {error.strerror}. {_LACKS[error.errno]}, then run the "
        "command again."
    )


@contextmanager
def within_memory(rule: str) -> Iterator[None]:
    """Turn what is raised for want of memory into one line.

    Raises:
        OutOfMemoryError: with this text.
    """
    try:
        yield
    except Exception as error:
        if isinstance(error, OutOfMemoryError) or not is_out_of_memory(error):
            raise
        raise OutOfMemoryError(rule) from error
