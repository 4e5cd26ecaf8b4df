"""What is installed and what is missing, with how to install it."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from ablate.errors import AblateError, MissingDependencyError, error_text, pip_install
from ablate.errors.masking import masked
from ablate.study.provenance import usable_cores, versions
from ablate_robustness import another_ablate


@dataclass(frozen=True)
class Finding:
    """One check.

    Attributes:
        state: "ok", "absent" (an optional thing), or "broken" (a needed one).
        fix: how to install or fix it, if it is not ok.
    """

    what: str
    state: str
    found: str
    fix: str = ""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def examine(begin: Callable[[str], None] = lambda _: None) -> Iterator[Finding]:
    """Check everything that a study needs, by using it.

    Args:
        begin: called with the name of each check before it starts.
    """
    for what in CHECKS:
        begin(f"checking: {what}")
        finding = check(what)
        if (what, finding.state) != ("package", "ok"):
            yield finding


def check(what: str) -> Finding:
    """Run one of `CHECKS`."""
    try:
        found = CHECKS[what]()
        return Finding(what, "ok", found) if isinstance(found, str) else Finding(what, *found)
    except MissingDependencyError as error:
        return Finding(what, "absent", str(error))
    except AblateError as error:
        return Finding(what, "broken", str(error).splitlines()[0])
    except Exception as error:
        return Finding(what, "broken", masked(error_text(error)))


# Each check returns what it has found; or state, what it has found, and the fix.
_Found = str | tuple[str, ...]


def _versions() -> str:
    names = ("ablate", "torch", "torchvision", "optuna", "ray", "plotly")
    installed = ", ".join(f"{name} {version}" for name, version in versions(names).items())
    return f"Python {platform.python_version()}, {installed}"


def _package() -> _Found:
    another = another_ablate()
    return "no other package of this name" if another is None else ("broken", another)


def _torch() -> str:
    import torch

    from ablate.model.environment import resolve_environment

    cores = usable_cores()
    here = resolve_environment("auto", threads=cores)
    gpus = map(torch.cuda.get_device_name, range(torch.cuda.device_count()))
    named = ", ".join(gpus) or "no GPU"
    return f"{here.device_name}, {cores} CPUs, {named}; auto: {here.precision}"


def _ray() -> str:
    import ray

    from ablate.search.ray_tune import RayExecutor
    from ablate.study.settings import RunSettings

    executor = RayExecutor(RunSettings())
    try:
        there = ray.cluster_resources()
        return (
            f"starts here: {there.get('CPU', 0):g} CPUs, {there.get('GPU', 0):g} GPUs; "
            f"parallel: auto is {executor.parallel}"
        )
    finally:
        executor.close()


def _cluster_token() -> _Found:
    if os.environ.get("RAY_AUTH_MODE") == "disabled":
        risk = "anyone who can reach the cluster's ports can run code on it"
        return "absent", f"RAY_AUTH_MODE=disabled: {risk}", "export RAY_AUTH_MODE=token"
    if os.environ.get("RAY_AUTH_TOKEN"):
        return "RAY_AUTH_TOKEN"
    named = os.environ.get("RAY_AUTH_TOKEN_PATH")
    file = Path(named) if named else Path.home() / ".ray" / "auth_token"
    if file.is_file():
        return str(file)
    fix = "ray get-auth-token --generate, and the same file on every node"
    return "broken" if named else "absent", f"no {file}; only a cluster needs one", fix


def _cache() -> str:
    from ablate.files.cache import cache_folder, size_of

    folder = cache_folder()
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder):
        free = shutil.disk_usage(folder).free
    return f"{folder}: {size_of(folder.resolve()) / 1e6:.0f} MB used, {free / 1e9:.0f} GB free"


def _sqlite() -> str:
    from ablate.ledger.storage import open_storage, sqlite_url

    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        open_storage(sqlite_url(Path(folder) / "study.db"), create=True).dispose()
    return "works in this folder, in WAL mode"


def _storage() -> _Found:
    from ablate.ledger.storage import fill_variables, open_storage

    if "ABLATE_STORAGE" not in os.environ:
        return "absent", "not set: studies are stored in runs/NAME/study.db"
    url = fill_variables(os.environ["ABLATE_STORAGE"])
    open_storage(url, create=True).dispose()
    return f"{masked(url)} answers"


def _images() -> str:
    from plotly.graph_objects import Figure

    from ablate.report.write import write_figure

    with tempfile.TemporaryDirectory() as folder:
        write_figure(Figure(), Path(folder) / "figure.png")
    return f"PNG, SVG and PDF by kaleido {versions(['kaleido'])['kaleido']}"


def _extra(name: str, package: str) -> _Found:
    if importlib.util.find_spec(package) is None:
        return "absent", "not installed", pip_install(name)
    return f"{package} {versions([package])[package]}"


CHECKS: dict[str, Callable[[], _Found]] = {
    "versions": _versions,
    "package": _package,
    "torch": _torch,
    "ray": _ray,
    "cluster token": _cluster_token,
    "cache": _cache,
    "SQLite": _sqlite,
    "ABLATE_STORAGE": _storage,
    "PostgreSQL": partial(_extra, "postgres", "psycopg"),
    "images": _images,
}
