"""Checks that every node sees a folder: the driver writes a token, a node reads it and answers."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ablate.errors import (
    FingerprintError,
    InfrastructureError,
    MissingDependencyError,
    UsageError,
    error_text,
)
from ablate.files.cache import locked, publish_folder
from ablate.files.damage import say_made_again
from ablate.finetune.baseline_record import WEIGHTS, read_record
from ablate.search.cluster.tasks import LOOK_SECONDS, Node, answer, submit

_PROBE = ".ablate-probe-"


def put_token(folder: str, token: str) -> None:
    """Write the driver's token into a folder, which is created if it is missing.

    Args:
        folder: absolute path or fsspec URI.
        token: a unique name.

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
    except Exception as error:  # each file system of fsspec has its own errors
        raise InfrastructureError(
            f"{folder}: must be a writable folder, got {error_text(error)}. Change its "
            "permissions, or run.checkpoints."
        ) from error


def see_token(folder: str, token: str, node: str, *, write: bool = True) -> str:
    """Read the driver's token on a node, and write the node's answer next to it.

    Args:
        node: id of the node that this runs on.
        write: also write an answer.

    Returns:
        What is wrong; "" if it is the driver's folder.
    """
    try:
        system, path = _file_system(folder)
        if system.cat_file(f"{path}/{_PROBE}{token}") != token.encode():
            return "the node has a different folder at this path"
        if write:
            system.pipe_file(f"{path}/{_PROBE}{token}-{node}", node.encode())
    except FileNotFoundError:
        return "the driver's files are missing there"
    except Exception as error:
        return error_text(error)
    return ""


def answered(folder: str, token: str, node: str) -> bool:
    """Whether the driver sees a node's answer, which is then removed."""
    try:
        system, path = _file_system(folder)
        there = bool(system.cat_file(f"{path}/{_PROBE}{token}-{node}") == node.encode())
        system.rm_file(f"{path}/{_PROBE}{token}-{node}")
    except Exception:
        return False
    return there


def take_token(folder: str, token: str) -> None:
    """Remove the driver's token, if possible."""
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
            f"run.checkpoints: {folder} needs a package for fsspec, got {error_text(error)}. "
            "Install it on every node."
        ) from error
    except ValueError as error:
        raise UsageError(
            f"run.checkpoints: must be a folder or an fsspec URI, got {folder} "
            f"({error_text(error)}). Write an absolute path or PROTOCOL://...."
        ) from error
    return system, path.rstrip("/")


# -- Compare packages and environment of a node with the driver and the first node ---


def look_at_packages() -> Callable[[Sequence[str]], dict[str, str]]:
    """Make a function that Ray sends by value, so that it also runs where ablate cannot be
    imported."""

    def look(packages: Sequence[str]) -> dict[str, str]:
        import hashlib
        import importlib
        import platform
        from importlib import metadata
        from pathlib import Path

        found = {}
        for name in packages:
            try:
                found[name] = (
                    platform.python_version() if name == "python" else metadata.version(name)
                )
            except metadata.PackageNotFoundError:
                found[name] = "none"
        try:
            package = importlib.import_module("ablate")
            root = Path(str(package.__file__)).parent
            code = hashlib.sha256()
            for file in sorted(root.rglob("*.py")):
                code.update(str(file.relative_to(root)).encode() + b"\0" + file.read_bytes())
            found["ablate"] = f"{package.__version__} with code {code.hexdigest()[:10]}"
        except Exception as error:
            found["ablate"] = f"one that cannot be imported ({type(error).__name__}: {error})"
        return found

    return look


def compare_versions(nodes: Sequence[Node], *, torch: bool) -> dict[str, str]:
    """Compare every node's packages with this process's.

    Args:
        torch: compare torch too.

    Returns:
        Version by package; ablate's with a digest of its code.

    Raises:
        UsageError: naming the node and what differs there.
    """
    packages = ["python", *(["torch"] if torch else []), "ray", "ablate"]
    look = look_at_packages()
    here = look(packages)
    waiting = [(node, submit(node, look, packages)) for node in nodes]
    for node, reference in waiting:
        refuse_other_versions(node, here, answer(node, reference, LOOK_SECONDS))
    return here


def refuse_other_versions(node: Node, here: Mapping[str, str], there: Mapping[str, str]) -> None:
    """Refuse a node whose packages differ from the driver's.

    Raises:
        UsageError: naming the node and what differs there.
    """
    different = [name for name in here if here[name] != there[name]]
    if different:
        listed = "; ".join(f"{name} {there[name]} (here {here[name]})" for name in different)
        raise UsageError(
            f"node {node.name}: packages must match the driver's, got {listed}. "
            "Install the same versions there, or remove the node from the cluster."
        )


def refuse_other_environment(first: Mapping[str, Any], here: Mapping[str, Any]) -> None:
    """Refuse an environment that would give other scores than the first node's.

    Raises:
        FingerprintError: naming what differs.
    """
    different = [
        f"{key} {here.get(key)} (elsewhere {first[key]})"
        for key in first
        if key != "device_name" and here.get(key) != first[key]
    ]
    if different:
        raise FingerprintError(
            f"environment: must match that of the preparation, got {'; '.join(different)}. Scores "
            "would differ: set run.precision, or remove the node or GPU that differs."
        )


# -- Copying a baseline from one node's cache to another's: trained once, identical everywhere -


@dataclass(frozen=True)
class BaselineFiles:
    """A cache entry: its name, and the contents of its files by name."""

    name: str
    files: Mapping[str, bytes]


def read_baseline(entry: Path) -> BaselineFiles:
    """Read the files of a baseline from this node's cache."""
    files = {file.name: file.read_bytes() for file in sorted(entry.iterdir()) if file.is_file()}
    return BaselineFiles(entry.name, files)


def receive_baseline(cache: Path, baseline: BaselineFiles) -> None:
    """Put a baseline into this node's cache; an existing intact one is kept.

    Args:
        cache: folder that holds `baselines/`.

    Raises:
        FingerprintError: if the cache has one with the same settings and other bits, which another
            study may be using.
        UsageError: if the cache cannot be written.
    """
    entry = cache / "baselines" / baseline.name
    with locked(entry):
        there = read_record(entry)
        if there is not None:
            if there.sha256 != hashlib.sha256(baseline.files[WEIGHTS]).hexdigest():
                raise FingerprintError(
                    f"{entry}: the baseline must be identical to the first node's, got different "
                    "weights for the same settings. Delete the folder if no study uses it."
                )
            return
        if entry.is_dir():
            say_made_again("the baseline was")
        with publish_folder(entry) as temporary:
            for name, content in baseline.files.items():
                (temporary / name).write_bytes(content)
