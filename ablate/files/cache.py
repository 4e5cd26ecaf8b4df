"""The cache: what is made once and shared by trials, studies and processes.

Everything is made under a lock, in a temporary place beside its own, and put there in one
rename: a reader sees all of it or nothing, whatever dies in between.
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
"""What the system says of a network file system that does not answer."""


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
    """Another thread has said that what was begun is not wanted any more."""


@contextmanager
def locked(path: Path, stop: threading.Event | None = None) -> Iterator[None]:
    """Hold the lock of a cache entry; other processes and threads wait at the entrance.

    The lock ends with the process that holds it, so a crash leaves none behind.

    Args:
        stop: ends the waiting once it is set; None: it is waited for as long as it takes.

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
    """Write a file so that it is there whole or not at all, and stays after a power cut.

    Args:
        path: where it will be; a file that is there is replaced.
        write: writes the whole file at the path it is given.

    Raises:
        UsageError: if the folder cannot be written.
        InfrastructureError: if the disk is full or broken.
    """
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
        try:
            temporary.touch(exist_ok=False)  # with the rights of any new file: others may read it
            write(temporary)
            _sync(temporary)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
        _sync(path.parent)


@contextmanager
def publish_folder(path: Path) -> Iterator[Path]:
    """Fill a folder so that it is there whole or not at all.

    The block gets an empty temporary folder; where the block ends well, that folder takes the
    place of `path`, whatever is there. Hold `locked(path)` around it where several processes may
    make the same.

    Raises:
        UsageError: if the folder cannot be written.
        InfrastructureError: if the disk is full or broken.
    """
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
        temporary.mkdir()  # with the rights of any new folder: others may share the cache
        try:
            yield temporary
            for file in temporary.iterdir():
                _sync(file)
            _sync(temporary)
            if path.is_symlink() or path.is_file():
                path.unlink()
            elif path.exists():
                shutil.rmtree(path)
            temporary.replace(path)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        _sync(path.parent)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn what the system says about `path` into one line."""
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
