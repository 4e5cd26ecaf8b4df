"""The cache: data that are computed once and shared by trials, studies and processes.

Everything is written under a lock, to a temporary path, and then renamed: readers see a complete
entry or none, even after a crash.
"""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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
    own = os.environ.get("ABLATE_CACHE")
    if own:
        return Path(own).expanduser().absolute()
    shared = os.environ.get("XDG_CACHE_HOME")
    return (Path(shared) if shared else Path.home() / ".cache") / "ablate"


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
        if path.is_symlink() or path.is_file():
            path.unlink()
        elif path.exists():
            shutil.rmtree(path)


@contextmanager
def _aside(path: Path) -> Iterator[Path]:
    """A name beside a path; what the block makes there is renamed to it, and flushed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        yield temporary
        _sync(temporary)
        temporary.replace(path)
    finally:
        if temporary.is_dir():
            shutil.rmtree(temporary, ignore_errors=True)
        else:
            temporary.unlink(missing_ok=True)
    _sync(path.parent)


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
