"""Whether every node sees a folder: the driver puts a token there, a node reads it and answers."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

from ablate.errors import InfrastructureError, MissingDependencyError, UsageError, error_text

_PROBE = ".ablate-probe-"


def put_token(folder: str, token: str) -> None:
    """Write the driver's token into a folder, which is made where it is missing.

    Args:
        folder: absolute path or fsspec URI.
        token: a name that nobody else uses.

    Raises:
        MissingDependencyError: if the URI's protocol needs a package.
        UsageError: if the protocol is unknown.
        InfrastructureError: if the folder cannot be written.
    """
    system, path = _file_system(folder)
    try:
        with suppress(FileExistsError, NotImplementedError):
            system.makedirs(path, exist_ok=True)
        system.pipe_file(f"{path}/{_PROBE}{token}", token.encode())
    except Exception as error:  # each file system of fsspec has errors of its own
        raise InfrastructureError(
            f"{folder}: must be a folder that can be written, got {error_text(error)}. "
            "Change its rights, or run.checkpoints."
        ) from error


def see_token(folder: str, token: str, node: str, *, write: bool = True) -> str:
    """Read the driver's token on a node, and leave the node's own beside it.

    Args:
        node: id of the node that this runs on.
        write: also leave an answer.

    Returns:
        What is wrong; "" where the folder is the driver's.
    """
    try:
        system, path = _file_system(folder)
        if system.cat_file(f"{path}/{_PROBE}{token}") != token.encode():
            return "another folder is there"
        if write:
            system.pipe_file(f"{path}/{_PROBE}{token}-{node}", node.encode())
    except FileNotFoundError:
        return "what the driver wrote is not there"
    except Exception as error:
        return error_text(error)
    return ""


def answered(folder: str, token: str, node: str) -> bool:
    """Whether the driver sees what a node left; the answer is taken away."""
    try:
        system, path = _file_system(folder)
        there = bool(system.cat_file(f"{path}/{_PROBE}{token}-{node}") == node.encode())
        system.rm_file(f"{path}/{_PROBE}{token}-{node}")
    except Exception:
        return False
    return there


def take_token(folder: str, token: str) -> None:
    """Take the driver's token away, where it can be."""
    with suppress(Exception):
        system, path = _file_system(folder)
        system.rm_file(f"{path}/{_PROBE}{token}")


def _file_system(folder: str) -> tuple[Any, str]:
    """fsspec's file system and the path in it."""
    from fsspec.core import url_to_fs

    local = Path(folder).is_absolute()
    try:
        system, path = (
            url_to_fs(folder, use_listings_cache=False) if not local else url_to_fs(folder)
        )
    except ImportError as error:
        raise MissingDependencyError(
            f"run.checkpoints: {folder} needs a package of fsspec's, got {error_text(error)}. "
            "Install it on every node."
        ) from error
    except ValueError as error:
        raise UsageError(
            f"run.checkpoints: must be a folder or an fsspec URI, got {folder} "
            f"({error_text(error)}). Write an absolute path or PROTOCOL://...."
        ) from error
    return system, path.rstrip("/")
