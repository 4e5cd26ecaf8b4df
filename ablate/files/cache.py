"""The cache: data that are computed once and shared by trials, studies and processes.

Everything is written under a lock, to a temporary path, and then renamed: readers see a complete
entry or none, even after a crash.  Files that failed their checksum are made again and reported.
`ablate cache` sees only what was made here: entries under a key, their locks, and what a killed
process left of one.  Importing this loads no torch.
"""

from __future__ import annotations

import errno
import logging
import math
import os
import re
import secrets
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from ablate.errors import InfrastructureError, UsageError

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EIO)
AWAY = (
    *(errno.ESTALE, errno.ETIMEDOUT, errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.ENETDOWN),
    *(errno.ENETUNREACH, errno.ENOTCONN, errno.ECONNRESET, errno.ECONNREFUSED),
)
"""Error codes of a network file system that does not answer."""


def cache_folder() -> Path:
    """Where data, baselines and evaluation sets are kept.

    Returns:
        `$ABLATE_CACHE`, else `$XDG_CACHE_HOME/ablate`, else `~/.cache/ablate`; it need not exist.
    """
    if own := os.environ.get("ABLATE_CACHE"):
        return Path(own).expanduser().absolute()
    shared = os.environ.get("XDG_CACHE_HOME")
    return (Path(shared) if shared else Path.home() / ".cache") / "ablate"


# -- Writing: completely or not at all -------------------------------------------------------


class GivenUpError(Exception):
    """Another thread has cancelled the work."""


@contextmanager
def locked(path: Path, stop: threading.Event | None = None) -> Iterator[None]:
    """Hold the lock of a cache entry; other processes and threads wait.

    The lock ends with the process that holds it, so a crash leaves none behind.

    Args:
        stop: ends the waiting once it is set; None: wait without limit.

    Raises:
        GivenUpError: if `stop` is set.
        UsageError: if its folder cannot be written.
        InfrastructureError: if the disk is full or broken.
    """
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(f"{path}.lock")
        try:
            lock.acquire(cancel_check=None if stop is None else stop.is_set)
        except Timeout as error:
            raise GivenUpError from error
    try:
        yield
    finally:
        lock.release()


def publish_file(path: Path, write: Callable[[Path], object]) -> None:
    """Write a file completely or not at all, durable across a power failure.

    Args:
        path: final path; an existing file is replaced.
        write: writes the file to the path that it gets.

    Raises:
        UsageError: if the folder cannot be written, or `path` is a device, a pipe or a socket: a
            file would take its place, for the whole machine.
        InfrastructureError: if the disk is full or broken.
    """
    if path.exists() and not path.is_file() and not path.is_dir():
        raise UsageError(
            f"{path}: must be a file, got a device, a pipe or a socket. Choose another name."
        )
    with writing(path), _aside(path) as temporary:
        temporary.touch(exist_ok=False)
        rights = temporary.stat().st_mode & 0o777  # of any new file: others may read it
        write(temporary)
        temporary.chmod(rights)  # a writer may have replaced the file by one of its own


@contextmanager
def publish_folder(path: Path) -> Iterator[Path]:
    """Create a folder completely or not at all.

    The block gets an empty temporary folder; if it succeeds, that folder replaces `path`.  Hold
    `locked(path)` if several processes may create the same folder.

    Raises:
        UsageError: if the folder cannot be written.
        InfrastructureError: if the disk is full or broken.
    """
    with writing(path), _aside(path) as temporary:
        temporary.mkdir()  # with the rights of any new folder: others may share the cache
        yield temporary
        for file in temporary.iterdir():
            _sync(file)
        _delete(path)


@contextmanager
def _aside(path: Path) -> Iterator[Path]:
    """A name beside a path; what the block makes there is renamed to it, and flushed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _temporary(path)
    try:
        yield temporary
        _sync(temporary)
        temporary.replace(path)
    finally:
        with suppress(OSError):
            _delete(temporary)
    _sync(path.parent)


def _temporary(path: Path) -> Path:
    return path.with_name(f".{path.name}.{secrets.token_hex(8)}")


def _delete(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Convert errors of the operating system about `path` to one line."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        if error.errno in _FULL:
            raise InfrastructureError(
                f"{path}: cannot be written, got {reason!r}. Free disk space and resume."
            ) from error
        if error.errno in AWAY:
            raise InfrastructureError(
                f"{path}: must be reachable, got {reason!r}. Restore it and resume."
            ) from error
        raise UsageError(
            f"{path}: must be in a writable folder, got {reason!r}. "
            "Choose another folder or change its owner."
        ) from error


# -- Damage ----------------------------------------------------------------------------------

_LOG = logging.getLogger("ablate.cache")
_checked: dict[tuple[Path, ...], list[object]] = {}


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
    stamps: list[object] = [expected]
    for status in (file.stat() for file in files):
        stamps += [status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns]
    if _checked.get(files) != stamps:
        if digest() != expected:
            return False
        _checked[files] = stamps
    return True


# -- What the cache holds --------------------------------------------------------------------

KINDS = {
    "evaluation": ("evaluation", "images.npy"),
    "data": ("data", "digest"),
    "scan": ("scans", "about.json"),
    "baseline": ("baselines", "baseline.json"),
}
"""Kind -> its folder in the cache, and the file that every entry of it has."""
ABOUT = "about.json"
"""File with an entry's description; for an evaluation set also its checksums."""
_BOUND, _USUAL_BOUND_GB = "ABLATE_CACHE_GB", 50.0
_MADE = re.compile(
    r"(?:([0-9a-f]{32})(\.lock|\.state)?|\.([0-9a-f]{32})(?:\.state)?\.[0-9a-f]{16})"
)
"""An entry, its lock, the state of an unfinished training; a temporary name of one of these."""
_IN_USE_SECONDS, _LEFT_SECONDS = 3600.0, 86400.0


@dataclass(frozen=True)
class Entry:
    """An entry of the cache, or what a killed process left of one.

    Attributes:
        key: folder that it is, or would have become.
        size: of its files, in bytes; used: when it was last opened or written, as a time stamp.
    """

    kind: str
    path: Path
    key: Path
    size: int
    used: float

    @property
    def is_left(self) -> bool:
        """Whether it is what a killed process left."""
        return self.path != self.key


def state_file(entry: Path) -> Path:
    """Where the state of a training is that the entry will be made of."""
    return Path(f"{entry}.state")


def mark_used(entry: Path) -> None:
    """Set an entry's time of last use to now, where the cache can be written."""
    with suppress(OSError):
        os.utime(entry)


def list_cache(cache: Path, kind: str) -> list[Entry]:
    """The entries of a kind, the most recently used first, and what was left for a day."""
    folder, file = KINDS[kind]
    entries = []
    for path in _children(cache / folder):
        made = _MADE.fullmatch(path.name)
        if made is None:
            continue
        key = path.with_name(made[1] or made[3])
        if (path == key and not (path / file).is_file()) or (made[2] == ".lock" and key.exists()):
            continue
        with suppress(OSError):  # removed meanwhile
            # Of what is still being written, the files too: they do not change its time.
            files = [] if path == key else _children(path)
            used = max(part.lstat().st_mtime for part in (path, *files))
            if path == key or time.time() - used > _LEFT_SECONDS:
                entries.append(Entry(kind, path, key, size_of(path), used))
    return sorted(entries, key=lambda entry: (-entry.used, entry.path.name))


def remove(entry: Entry) -> bool:
    """Remove an entry with its lock; processes that have it mapped are not affected.

    Returns:
        Whether it is gone: not if a process is making it, or it cannot be removed.
    """
    lock = FileLock(f"{entry.key}.lock")
    try:
        lock.acquire(blocking=False)
    except (Timeout, OSError):
        return False
    try:
        if Path(lock.lock_file) != entry.path:
            gone = _temporary(entry.key)
            with suppress(FileNotFoundError):
                entry.path.rename(gone)  # in one step: no reader finds an incomplete entry
                _delete(gone)
        if not entry.key.exists():
            Path(lock.lock_file).unlink(missing_ok=True)
    except OSError:
        return False
    finally:
        lock.release()
    return True


def evaluation_bound() -> float:
    """Bytes that evaluation sets may take: `ABLATE_CACHE_GB`, else 50 GB.

    Raises:
        UsageError: if it is not a number from 0, or is not finite.
    """
    text = os.environ.get(_BOUND) or str(_USUAL_BOUND_GB)
    try:
        bound = float(text)
    except ValueError:
        bound = math.nan
    if not (bound >= 0 and math.isfinite(bound * 1e9)):
        raise UsageError(
            f"{_BOUND}: must be a number of GB, at least 0, got {text!r}. Correct it, or unset it "
            f"to use {_USUAL_BOUND_GB:g}."
        )
    return bound * 1e9


def bound_evaluation_sets(cache: Path, keep: Path) -> list[Path]:
    """Remove the least recently used evaluation sets until their size is within the bound.

    What killed processes left goes first.  Sets used within the last hour are kept, so the bound
    may be exceeded while many are in use.  Of several processes that do this at once, one removes
    and the others wait and count again.

    Args:
        cache: folder that holds `evaluation/`.
        keep: the new entry, which is kept.

    Returns:
        The removed sets.

    Raises:
        UsageError: if `ABLATE_CACHE_GB` is not a number from 0, or the cache cannot be written.
    """
    bound, removed = evaluation_bound(), []
    with locked(cache / KINDS["evaluation"][0] / "bound"):
        entries = list_cache(cache, "evaluation")
        total = sum(entry.size for entry in entries)
        since = time.time() - _IN_USE_SECONDS
        for entry in sorted(entries, key=lambda entry: (not entry.is_left, entry.used)):
            if not entry.is_left and (total <= bound or entry.used > since):
                break
            if entry.path != keep and remove(entry):
                total -= entry.size
                removed.append(entry.path)
    return removed


def size_of(path: Path) -> int:
    """Bytes of a file, or of all files below a folder; links are not followed."""
    if path.is_symlink() or not path.is_dir():
        return path.lstat().st_size
    total = 0
    for folder, _, names in os.walk(path):
        for name in names:
            with suppress(OSError):  # removed meanwhile
                total += Path(folder, name).lstat().st_size
    return total


def _children(folder: Path) -> list[Path]:
    with suppress(OSError):
        return list(folder.iterdir())
    return []
