"""Files that failed their checksum: they are regenerated and reported.

Importing this does not load torch.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ablate.errors import InfrastructureError

_LOG = logging.getLogger("ablate.cache")
_lock = threading.Lock()
_heard: list[list[str]] = []
_checked: dict[tuple[Path, ...], tuple[object, ...]] = {}


class DamagedError(InfrastructureError):
    """A file is damaged or missing; the caller regenerates it."""


def say_made_again(what: str) -> None:
    """Report that something was damaged and is regenerated.

    The report goes to the innermost `heard_damage` block of this process; without one, to the
    logger `ablate.cache`, which writes to standard error by default.

    Args:
        what: with its verb, such as "images of fog, severity 3 were".
    """
    text = f"cache: {what} damaged; regenerated"
    with _lock:
        if _heard:
            _heard[-1].append(text)
            return
    _LOG.warning(text)


@contextmanager
def heard_damage() -> Iterator[list[str]]:
    """Collect reports of damage from all threads of this process while the block runs."""
    texts: list[str] = []
    with _lock:
        _heard.append(texts)
    try:
        yield texts
    finally:
        with _lock:
            _heard[:] = [one for one in _heard if one is not texts]


def is_whole(files: tuple[Path, ...], expected: str, digest: Callable[[], str]) -> bool:
    """Whether files are intact, checked once per process.

    They are read again only if their number, size or times have changed.

    Args:
        files: files of the digest.
        expected: the stored digest; digest: reads the files and computes it.

    Raises:
        OSError: if one is missing or cannot be read.
    """
    stamps = (expected, *(_stamp(file) for file in files))
    with _lock:
        if _checked.get(files) == stamps:
            return True
    if digest() != expected:
        return False
    with _lock:
        _checked[files] = stamps
    return True


def _stamp(file: Path) -> tuple[int, ...]:
    found = file.stat()
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
