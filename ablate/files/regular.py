"""Files that a user names: regular, and of a stated size at most.

A FIFO would be waited for, a device never ends, and a file of any size fills the memory.
"""

from __future__ import annotations

import errno
import stat
from pathlib import Path

MOST_TEXT_BYTES = 1_000_000
"""Of a study file, a space file, or another text that is written by hand."""
MOST_READ_BYTES = 1_000_000_000
"""Of an archive, or of scores: what is read as one."""
MOST_WEIGHTS_BYTES = 50_000_000_000

_KINDS = {
    stat.S_IFIFO: "a FIFO",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
}


class UnusualFileError(OSError):
    """A file is not regular, or too large; `strerror` says what it is."""

    def __str__(self) -> str:
        return str(self.strerror)


def check_regular(path: Path, most_bytes: int | None = None) -> None:
    """Refuse what is no regular file, or larger than `most_bytes`.

    Raises:
        OSError: if it is so, missing or a folder; `strerror` says which.
    """
    status = path.stat()
    kind = stat.S_IFMT(status.st_mode)
    if kind == stat.S_IFDIR:
        raise IsADirectoryError(errno.EISDIR, "a folder", str(path))
    if kind != stat.S_IFREG:
        raise UnusualFileError(errno.EINVAL, _KINDS.get(kind, "no regular file"), str(path))
    if most_bytes is not None and status.st_size > most_bytes:
        raise _too_large(path, status.st_size, most_bytes)


def read_regular(path: Path, most_bytes: int) -> bytes:
    """The bytes of a file.

    Raises:
        OSError: as `check_regular`, or if it cannot be read.
    """
    check_regular(path, most_bytes)
    with path.open("rb") as file:  # those of the system (/proc) are regular without a size
        content = file.read(most_bytes + 1)
    if len(content) > most_bytes:
        raise _too_large(path, len(content), most_bytes)
    return content


def _too_large(path: Path, size: int, most_bytes: int) -> UnusualFileError:
    return UnusualFileError(errno.EFBIG, f"{size:,} bytes, above {most_bytes:,}", str(path))
