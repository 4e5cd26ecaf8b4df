"""Packages and environment of a node beside those of the driver and of the first node."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ablate.errors import FingerprintError, UsageError
from ablate.search.cluster.tasks import LOOK_SECONDS, Node, answer, submit


def look_at_packages() -> Callable[[Sequence[str]], dict[str, str]]:
    """A function that Ray sends by value: where ablate cannot be imported, it still runs."""

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
            root = Path(str(importlib.import_module("ablate").__file__)).parent
            code = hashlib.sha256()
            for file in sorted(root.rglob("*.py")):
                code.update(str(file.relative_to(root)).encode() + b"\0" + file.read_bytes())
            found["ablate"] += f" with code {code.hexdigest()[:10]}"
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
    """Refuse a node whose packages are not those here.

    Raises:
        UsageError: naming the node and what differs there.
    """
    different = [name for name in here if here[name] != there[name]]
    if different:
        listed = "; ".join(f"{name} {there[name]} (here {here[name]})" for name in different)
        raise UsageError(
            f"node {node.name}: packages must be the driver's, got {listed}. "
            "Install the same there, or take the node out of the cluster."
        )


def refuse_other_environment(first: Mapping[str, Any], here: Mapping[str, Any]) -> None:
    """Refuse an environment that gives other digits than the first node's.

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
            f"environment: must be that of the other nodes, got {'; '.join(different)}. Scores "
            "would differ from node to node: set run.precision, or take the node out."
        )
