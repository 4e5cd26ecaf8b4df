"""Where a result came from: the code's commit, the versions that ran it, the cores."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import ablate
from ablate.errors.masking import environment_without_secrets
from ablate.study.fingerprint import digest_of

PACKAGES = ("ablate", "torch", "torchvision", "optuna", "ray", "numpy", "timm")


def provenance(folder: Path) -> dict[str, Any]:
    """The environment of a run, as recorded.

    Args:
        folder: of the study file: of the Git repository that it is in, if it is in one.

    Returns:
        `python`, `platform`, `packages` (name -> version), `sources` (digest of ablate's own), and
        `git` (`commit`, `dirty`), which is None outside a repository or without Git.
    """
    commit = _run_git(folder, "rev-parse", "HEAD")
    status = "" if commit is None else _run_git(folder, "status", "--porcelain")
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": versions(PACKAGES),
        "sources": source_digest(),
        "git": None if commit is None else {"commit": commit, "dirty": bool(status)},
    }


@cache
def source_digest() -> str:
    """sha256 in hex of ablate's own Python files, by name and content."""
    folder = Path(ablate.__file__).parent
    files = {str(file.relative_to(folder)): file.read_text() for file in folder.rglob("*.py")}
    return digest_of(files)


def versions(packages: Sequence[str]) -> dict[str, str]:
    """Package -> its version, of those that are installed."""
    found = {"ablate": ablate.__version__}  # of the code that runs, also where it is not installed
    for package in packages:
        with suppress(PackageNotFoundError):
            found.setdefault(package, version(package))
    return {package: found[package] for package in packages if package in found}


def _run_git(folder: Path, *arguments: str) -> str | None:
    command, environment = ["git", "-C", str(folder), *arguments], environment_without_secrets()
    with suppress(OSError, subprocess.SubprocessError):
        return subprocess.check_output(
            command, env=environment, text=True, stderr=subprocess.DEVNULL, timeout=10
        ).strip()
    return None


def usable_cores() -> int:
    """Cores that this process may use; at least 1."""
    has_affinity = hasattr(os, "sched_getaffinity")
    return len(os.sched_getaffinity(0)) if has_affinity else os.cpu_count() or 1
