"""File systems behind a URI, through fsspec: `s3://`, `gs://`, `sftp://`, `memory://`, ..."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from ablate.errors import InfrastructureError, MissingDependencyError, UsageError, error_text


def open_uri(folder: str) -> tuple[Any, str]:
    """An fsspec file system and the place in it, as it names it.

    Raises:
        UsageError: if the protocol is unknown or chained, or the URI holds a password.
        MissingDependencyError: if the protocol's package is not installed.
    """
    protocol = folder.partition("://")[0]
    if urlsplit(folder).password is not None:
        raise UsageError(
            f"{protocol}://...: must hold no password, got one. "
            "Give it in the environment or configuration file of the protocol's package."
        )
    if "::" in protocol:
        raise UsageError(
            f"{folder}: must be of one protocol, got {protocol}. "
            f"Write {protocol.rpartition('::')[2]}://..."
        )
    import fsspec
    from fsspec.registry import known_implementations

    try:
        fsspec.get_filesystem_class(protocol)
    except ValueError as error:
        raise UsageError(
            f"{folder}: must be a protocol that fsspec knows, got {protocol}. "
            "Write a path, or s3://, gs://, abfs://, sftp://, ..."
        ) from error
    except ImportError as error:
        package = str(known_implementations[protocol]["class"]).partition(".")[0]
        fix = f"pip install {package}" if package != "fsspec" else f"{error}"
        raise MissingDependencyError(
            f"{folder}: needs a package for {protocol}://, which is not installed. {fix}."
        ) from error
    files, root = fsspec.core.url_to_fs(folder)
    return files, str(root).rstrip("/")


def put_file(files: Any, path: str, content: bytes, uri: str) -> None:
    """Publish a file whole; call it within `reaching`.

    A file system with a `mv` of its own has renames and folders. The others are object stores,
    which publish whole objects, and whose `makedirs` would make a bucket of a misspelt name.

    Args:
        files: of fsspec; path: in it; uri: the same, as messages name it.

    Raises:
        InfrastructureError: if what arrived is of another size.
    """
    from fsspec import AbstractFileSystem

    folder, _, name = path.rpartition("/")
    if type(files).mv is AbstractFileSystem.mv:
        files.pipe_file(path, content)
    else:
        written = f"{folder}/.{name}.{secrets.token_hex(4)}"
        files.makedirs(folder, exist_ok=True)
        files.pipe_file(written, content)
        files.mv(written, path)
    files.invalidate_cache(folder)
    size = int(files.info(path)["size"])
    if size != len(content):
        raise InfrastructureError(
            f"{uri}: must be {len(content)} bytes after writing, "
            f"got {size}. Check the storage and resume."
        )


@contextmanager
def reaching(uri: str) -> Iterator[None]:
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
                f"{uri}: must be there with the right to read and write, got "
                f"{error_text(error)}. Check the bucket's name and the credentials."
            ) from error
        raise InfrastructureError(
            f"{uri}: must be reachable, got {error_text(error)}. Bring it back and resume."
        ) from error
