"""Files that failed their checksum: they are regenerated and reported.

Importing this does not load torch.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ablate.errors import InfrastructureError

_LOG = logging.getLogger("ablate.cache")
_checked: dict[tuple[Path, ...], tuple[object, ...]] = {}


class DamagedError(InfrastructureError):
    """A file is damaged or missing; the caller regenerates it."""


def say_made_again(what: str) -> None:
    """Report that something was damaged and is regenerated.

    The report goes to the logger `ablate.cache`: to the `heard_damage` blocks of this process, else
    to standard error by default.

    Args:
        what: with its verb, such as "images of fog, severity 3 were".
    """
    _LOG.warning("cache: %s damaged; regenerated", what)


@contextmanager
def heard_damage() -> Iterator[list[str]]:
    """Collect reports of damage from all threads of this process while the block runs."""
    texts: list[str] = []

    class Collecting(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            texts.append(record.getMessage())

    handler = Collecting()
    _LOG.addHandler(handler)
    try:
        yield texts
    finally:
        _LOG.removeHandler(handler)


def is_whole(files: tuple[Path, ...], expected: str, digest: Callable[[], str]) -> bool:
    """Whether files are intact, checked once per process.

    They are read again only if their number, size or times have changed.

    Args:
        files: files of the digest.
        expected: the stored digest; digest: reads the files and computes it.

    Raises:
        OSError: if one is missing or cannot be read.
    """
    statuses = [file.stat() for file in files]
    stamps = (
        expected,
        *((one.st_ino, one.st_size, one.st_mtime_ns, one.st_ctime_ns) for one in statuses),
    )
    if _checked.get(files) != stamps:
        if digest() != expected:
            return False
        _checked[files] = stamps
    return True
