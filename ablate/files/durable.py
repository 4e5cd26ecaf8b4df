"""Durable training states, as bytes, on a path or an fsspec URI.

A state is whole or not there: a local file is renamed into place after an fsync, and so is one on
a file system with a rename of its own; an object store publishes whole objects. What is read is
compared with the sha256 that was recorded, so what a crash left half done is never gone on from.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import secrets
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ablate.errors import InfrastructureError, UsageError, error_text
from ablate.files.cache import AWAY, publish_file
from ablate.files.remote import open_uri, put_file, reaching

_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.:-]*://")
_LOCAL = ("file", "local")


class CheckpointError(InfrastructureError):
    """A training state is missing or is not what was written; fall back to the one before."""


@dataclass(frozen=True)
class SavedState:
    """Where a training state is, and what it must be.

    Attributes:
        epoch: epochs done.
        uri: absolute path or fsspec URI.
        sha256: of the content.
        step: steps done in the epoch under way; 0 between two epochs.
        seconds: that these steps took.
    """

    epoch: int
    uri: str
    sha256: str
    step: int = 0
    seconds: float = 0.0

    def __str__(self) -> str:
        return f"epoch {self.epoch}" + (f", step {self.step}" if self.step else "")


def is_uri(text: str) -> bool:
    """Whether it is a URI (`s3://bucket/folder`), not a path."""
    return _URI.match(text) is not None


def save_blob(
    folder: str, epoch: int, content: bytes, *, step: int = 0, seconds: float = 0.0
) -> SavedState:
    """Write a state, flushed to the disk.

    Nothing is removed: which states are needed no more is known by who has recorded newer ones.

    Args:
        folder: absolute path or fsspec URI, of this trial and attempt alone; made if missing.
        epoch: epochs done.
        content: of the state.
        step: steps done in the epoch under way; seconds: that they took.

    Raises:
        UsageError: if the folder cannot be written: rights, or a protocol that is unknown.
        MissingDependencyError: if the protocol's package is not installed.
        InfrastructureError: if the disk is full or broken, or the file system does not answer.
    """
    amid = f"-step-{step:08d}" if step else ""
    name = f"epoch-{epoch:06d}{amid}.state"
    path = _local(folder)
    if path is not None:
        _publish(path / name, content)
        uri = str(path / name)
    else:
        uri = f"{folder.rstrip('/')}/{name}"
        with reaching(uri):
            files, root = open_uri(folder)
            put_file(files, f"{root}/{name}", content, uri)
    return SavedState(epoch, uri, hashlib.sha256(content).hexdigest(), step, seconds)


def load_blob(saved: SavedState) -> bytes:
    """Read a state back.

    Raises:
        CheckpointError: if it is missing, may not be read, or its content is another one.
        InfrastructureError: if the file system does not answer: what is there may be whole.
    """
    try:
        content = _read(saved.uri)
    except UsageError as error:
        raise CheckpointError(str(error)) from error
    except OSError as error:
        reason = error.strerror or error_text(error)
        if error.errno in AWAY:
            raise InfrastructureError(
                f"{saved.uri}: must be reachable, got {reason!r}. Bring it back and resume."
            ) from error
        raise CheckpointError(
            f"{saved.uri}: the state of {saved} must be readable, "
            f"got {reason!r}. Go on from the one before."
        ) from error
    sha256 = hashlib.sha256(content).hexdigest()
    if sha256 != saved.sha256:
        raise CheckpointError(
            f"{saved.uri}: sha256 must be {saved.sha256[:12]}, got {sha256[:12]}. "
            "Go on from the one before."
        )
    return content


def remove_state(uri: str) -> None:
    """Remove a state that is needed no more; one that is gone, or cannot be reached, is left."""
    path = _local(uri)
    with suppress(Exception):
        if path is not None:
            path.unlink(missing_ok=True)
        else:
            files, name = open_uri(uri)
            files.rm_file(name)


def remove_folder(folder: str) -> None:
    """Remove a folder with all in it; one that is missing or cannot be removed is left so."""
    path = _local(folder)
    if path is not None:
        shutil.rmtree(path, ignore_errors=True)
        return
    with suppress(Exception):
        files, root = open_uri(folder)
        files.invalidate_cache(root)
        files.rm(root, recursive=True)


def list_folder(folder: str) -> list[str]:
    """Names of what is in a folder; empty for one that is missing or cannot be read."""
    path = _local(folder)
    with suppress(Exception):
        if path is not None:
            return [entry.name for entry in path.iterdir()]
        files, root = open_uri(folder)
        files.invalidate_cache(root)
        return [entry.rstrip("/").rpartition("/")[2] for entry in files.ls(root, detail=False)]
    return []


def folder_bytes(folder: str) -> int:
    """Bytes of all files below a folder; 0 for one that is missing.

    Raises:
        UsageError: if a URI's folder may not be read, or its protocol is unknown.
        InfrastructureError: if a URI's file system does not answer.
    """
    path = _local(folder)
    if path is not None:
        total = 0
        for file in path.rglob("*"):
            with suppress(OSError):  # removed meanwhile
                status = file.lstat()
                total += status.st_size * file.is_file()
        return total
    with reaching(folder):
        files, root = open_uri(folder)
        files.invalidate_cache(root)
        return int(files.du(root)) if files.exists(root) else 0


def check_writable(folder: str) -> None:
    """Write a small file and remove it again, so that a bad folder is said before any work.

    Raises:
        UsageError: if the folder cannot be written, the protocol is unknown, or the URI holds a
            password.
        MissingDependencyError: if the protocol's package is not installed.
        InfrastructureError: if the disk is full or broken, or the file system does not answer.
    """
    name = f"probe-{secrets.token_hex(8)}"
    path = _local(folder)
    if path is not None:
        _publish(path / name, name.encode())
        with suppress(OSError):
            (path / name).unlink()
        return
    with reaching(folder):
        files, root = open_uri(folder)
        put_file(files, f"{root}/{name}", name.encode(), folder)
        files.rm_file(f"{root}/{name}")


def _local(folder: str) -> Path | None:
    """The path where it is one of this machine's; none for another file system's URI."""
    if not is_uri(folder):
        return Path(folder).absolute()
    protocol, _, rest = folder.partition("://")
    return Path(rest).absolute() if protocol in _LOCAL else None


def _publish(path: Path, content: bytes) -> None:
    def write(temporary: Path) -> None:
        temporary.write_bytes(content)

    publish_file(path, write)


def _read(uri: str) -> bytes:
    """The content of a file.

    Raises:
        OSError: if there is no such file, or a local one cannot be read.
    """
    path = _local(uri)
    if path is not None:
        if path.exists() and not path.is_file():  # a FIFO would be waited for without end
            raise OSError(errno.EINVAL, "it is no plain file")
        return path.read_bytes()
    gone: FileNotFoundError | None = None
    with reaching(uri):
        files, name = open_uri(uri)
        try:
            return bytes(files.cat_file(name))
        except FileNotFoundError as error:
            gone = error
    raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), uri) from gone
