"""Durable training states, as bytes, on a path or an fsspec URI.

A state is complete or absent: a local file is renamed after an fsync, and so is one on a remote
file system that supports renaming; an object store publishes complete objects.  When read, a state
is compared with its recorded sha256, so an incomplete state is never used.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ablate.errors import InfrastructureError, MissingDependencyError, UsageError, error_text
from ablate.files.cache import AWAY, publish_file, size_of, writing
from ablate.files.regular import check_regular

_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.:-]*://")
_LOCAL = ("file", "local")


class CheckpointError(InfrastructureError):
    """A training state is missing or is not what was written; fall back to the one before."""


@dataclass(frozen=True)
class Checkpoint:
    """A durable training state; a trial continues from the last recorded one.

    Attributes:
        epoch: epochs done.
        uri: absolute path or fsspec URI.
        sha256: of the content.
        step: steps done in the current epoch; 0 between epochs.
        seconds: time of these steps.
    """

    epoch: int
    uri: str
    sha256: str
    step: int = 0
    seconds: float = 0.0

    @property
    def place(self) -> tuple[int, int]:
        """Grows from one state of a trial to the next."""
        return self.epoch, self.step

    def __str__(self) -> str:
        return f"epoch {self.epoch}" + (f", step {self.step}" if self.step else "")


def is_uri(text: str) -> bool:
    """Whether it is a URI (`s3://bucket/folder`), not a path."""
    return _URI.match(text) is not None


def save_blob(
    folder: str, epoch: int, content: bytes, *, step: int = 0, seconds: float = 0.0
) -> Checkpoint:
    """Write a state, flushed to the disk.

    Nothing is removed: old states are removed after newer ones are recorded.

    Args:
        folder: absolute path or fsspec URI, only for this trial and attempt; created if missing.
        epoch: epochs done.
        content: of the state.
        step: steps done in the current epoch; seconds: their time.

    Raises:
        UsageError: if the folder cannot be written: permissions, or an unknown protocol.
        MissingDependencyError: if the protocol's package is not installed.
        InfrastructureError: if the disk is full or broken, or the file system does not answer.
    """
    amid = f"-step-{step:08d}" if step else ""
    uri = _write(folder, f"epoch-{epoch:06d}{amid}.state", content)
    return Checkpoint(epoch, uri, hashlib.sha256(content).hexdigest(), step, seconds)


def load_blob(saved: Checkpoint) -> bytes:
    """Read a state back.

    Raises:
        CheckpointError: if it is missing, not readable, or its content differs.
        InfrastructureError: if the file system does not answer; the state may be intact.
    """
    path = _local(saved.uri)
    try:
        if path is not None:
            check_regular(path)
            content = path.read_bytes()
        else:
            with _reaching(saved.uri):
                files, name = _open(saved.uri)
                content = bytes(files.cat_file(name))
    except (OSError, UsageError) as error:
        if getattr(error, "errno", None) in AWAY:
            with writing(Path(saved.uri)):
                raise
        reason = getattr(error, "strerror", None) or str(error)
        raise CheckpointError(
            f"{saved.uri}: the state of {saved} must be readable, got {reason!r}. Continue from "
            "the previous one."
        ) from error
    sha256 = hashlib.sha256(content).hexdigest()
    if sha256 != saved.sha256:
        raise CheckpointError(
            f"{saved.uri}: sha256 must be {saved.sha256[:12]}, got {sha256[:12]}. Continue from "
            "the previous one."
        )
    return content


def remove_state(uri: str) -> None:
    """Remove a state; missing or unreachable ones are ignored."""
    with suppress(Exception):
        files, name = _open(uri)
        files.rm_file(name)


def remove_folder(folder: str) -> None:
    """Remove a folder with its content; a missing folder and failures are ignored."""
    with suppress(Exception):
        files, root = _open(folder)
        files.invalidate_cache(root)
        files.rm(root, recursive=True)


def list_folder(folder: str) -> list[str]:
    """Names of a folder's entries; empty if it is missing or unreadable."""
    with suppress(Exception):
        files, root = _open(folder)
        files.invalidate_cache(root)
        return [entry.rstrip("/").rpartition("/")[2] for entry in files.ls(root, detail=False)]
    return []


def folder_bytes(folder: str) -> int:
    """Bytes of all files below a folder; 0 if it is missing.

    Raises:
        UsageError: if a URI's folder may not be read, or its protocol is unknown.
        InfrastructureError: if a URI's file system does not answer.
    """
    path = _local(folder)
    if path is not None:
        return size_of(path.resolve()) if path.exists() else 0
    with _reaching(folder):
        files, root = _open(folder)
        files.invalidate_cache(root)
        return int(files.du(root)) if files.exists(root) else 0


def check_writable(folder: str) -> None:
    """Write and remove a small file, so that an unusable folder is reported before any work.

    Raises:
        UsageError, MissingDependencyError, InfrastructureError: as `save_blob`.
    """
    remove_state(_write(folder, f"probe-{secrets.token_hex(8)}", b"probe"))


def _local(folder: str) -> Path | None:
    """The path if it is local; None for a URI of another file system."""
    if not is_uri(folder):
        return Path(folder).absolute()
    protocol, _, rest = folder.partition("://")
    return Path(rest).absolute() if protocol in _LOCAL else None


def _write(folder: str, name: str, content: bytes) -> str:
    """Write a whole file; returns its path or URI.

    A file system with its own `mv` has renames and folders.  Others are object stores, which
    publish complete objects, and whose `makedirs` would create a bucket for a misspelt name.
    """
    path = _local(folder)
    if path is not None:
        publish_file(path / name, lambda temporary: temporary.write_bytes(content))
        return str(path / name)
    from fsspec import AbstractFileSystem

    uri = f"{folder.rstrip('/')}/{name}"
    with _reaching(folder):
        files, root = _open(folder)
        if type(files).mv is AbstractFileSystem.mv:
            files.pipe_file(f"{root}/{name}", content)
        else:
            aside = f"{root}/.{name}.{secrets.token_hex(4)}"
            files.makedirs(root, exist_ok=True)
            files.pipe_file(aside, content)
            files.mv(aside, f"{root}/{name}")
        files.invalidate_cache(root)
        size = int(files.info(f"{root}/{name}")["size"])
    if size != len(content):
        raise InfrastructureError(
            f"{uri}: must be {len(content)} bytes after writing, "
            f"got {size}. Check the storage and resume."
        )
    return uri


def _open(folder: str) -> tuple[Any, str]:
    """The fsspec file system of a path or URI, and the path in it.

    Raises:
        UsageError: if the protocol is unknown, or the URI holds a password.
        MissingDependencyError: if the protocol's package is not installed.
    """
    import fsspec

    protocol = folder.partition("://")[0] if is_uri(folder) else "file"
    if is_uri(folder) and urlsplit(folder).password is not None:
        raise UsageError(
            f"{protocol}://...: must not contain a password, got one. Set it in the environment or "
            "configuration file of the protocol's package."
        )
    try:
        fsspec.get_filesystem_class(protocol)
    except ValueError as error:
        raise UsageError(
            f"{folder}: must use a protocol known to fsspec, got {protocol}. Write a path, or "
            "s3://, gs://, abfs://, sftp://, ..."
        ) from error
    except ImportError as error:
        raise MissingDependencyError(
            f"{folder}: needs a package for {protocol}://, which is not installed. {error}."
        ) from error
    files, root = fsspec.core.url_to_fs(folder)
    return files, str(root).rstrip("/")


@contextmanager
def _reaching(uri: str) -> Iterator[None]:
    """Turn what a file system's package raises about `uri` into one line."""
    try:
        yield
    except (InfrastructureError, UsageError):
        raise
    except Exception as error:
        # Packages have their own exceptions for missing credentials, without a common base.
        refused = isinstance(error, PermissionError | FileNotFoundError | NotImplementedError)
        if refused or "Credential" in type(error).__name__:
            raise UsageError(
                f"{uri}: must exist and be readable and writable, got {error_text(error)}. Check "
                "the bucket's name and the credentials."
            ) from error
        raise InfrastructureError(
            f"{uri}: must be reachable, got {error_text(error)}. Restore it and resume."
        ) from error
