"""What is installed and what is missing, with how to install it."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ablate.errors import AblateError, MissingDependencyError, error_text
from ablate.errors.installation import pip_install
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
    yield versions_finding()
    if another := another_ablate():
        yield Finding("package", "broken", another)
    for look, what in (
        (torch_finding, "torch"),
        (_ray, "ray"),
        (cluster_token, "cluster token"),
        (_cache, "cache"),
        (_sqlite, "SQLite"),
        (_storage, "ABLATE_STORAGE"),
        (_postgres, "PostgreSQL"),
        (_images, "images"),
        (_dashboard, "dashboard"),
    ):
        begin(f"checking: {what}")
        yield _guarded(what, look)


def _guarded(what: str, look: Callable[[], Finding]) -> Finding:
    try:
        return look()
    except MissingDependencyError as error:
        return Finding(what, "absent", str(error))
    except AblateError as error:
        return Finding(what, "broken", str(error).splitlines()[0])
    except Exception as error:
        return Finding(what, "broken", masked(error_text(error)))


def versions_finding() -> Finding:
    """Versions of Python and the main packages."""
    packages = ("ablate", "torch", "torchvision", "optuna", "ray", "plotly")
    found = ", ".join(f"{name} {_version(name)}" for name in packages)
    return Finding("versions", "ok", f"Python {platform.python_version()}, {found}")


def _version(package: str) -> str:
    return versions([package]).get(package, "absent")


def torch_finding() -> Finding:
    """The devices that torch sees here."""
    import torch

    from ablate.model.environment import resolve_environment

    cores = usable_cores()
    here = resolve_environment("auto", threads=cores)
    gpus = torch.cuda.device_count()
    names = ", ".join(torch.cuda.get_device_name(index) for index in range(gpus)) or "no GPU"
    return Finding(
        "torch", "ok", f"{here.device_name}, {cores} CPUs, {names}; auto: {here.precision}"
    )


def _ray() -> Finding:
    import ray

    from ablate.search.ray_tune import RayExecutor
    from ablate.study.settings import RunSettings

    executor = RayExecutor(RunSettings())
    try:
        there = ray.cluster_resources()
        return Finding(
            "ray",
            "ok",
            f"starts here: {there.get('CPU', 0):g} CPUs, {there.get('GPU', 0):g} GPUs; "
            f"parallel: auto is {executor.parallel}",
        )
    finally:
        executor.close()


def cluster_token() -> Finding:
    """The token that `ray start` and --ray-address would use."""
    what, mode = "cluster token", os.environ.get("RAY_AUTH_MODE")
    if mode == "disabled":
        return Finding(
            what,
            "absent",
            "RAY_AUTH_MODE=disabled: anyone who can reach the cluster's ports can run code on it",
            "export RAY_AUTH_MODE=token",
        )
    if os.environ.get("RAY_AUTH_TOKEN"):
        return Finding(what, "ok", "RAY_AUTH_TOKEN")
    named = os.environ.get("RAY_AUTH_TOKEN_PATH")
    file = Path(named) if named else Path.home() / ".ray" / "auth_token"
    if file.is_file():
        return Finding(what, "ok", str(file))
    return Finding(
        what,
        "broken" if named else "absent",
        f"no {file}; only a cluster needs one",
        "ray get-auth-token --generate, and the same file on every node",
    )


def _cache() -> Finding:
    from ablate.files.cache import cache_folder

    folder = cache_folder()
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder):
        pass
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    free = shutil.disk_usage(folder).free
    return Finding("cache", "ok", f"{folder}: {size / 1e6:.0f} MB used, {free / 1e9:.0f} GB free")


def _sqlite() -> Finding:
    from ablate.ledger.storage import open_storage, sqlite_url

    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        open_storage(sqlite_url(Path(folder) / "study.db"), create=True)
    return Finding("SQLite", "ok", "works in this folder, in WAL mode")


def _storage() -> Finding:
    from ablate.ledger.storage import fill_variables, open_storage

    if "ABLATE_STORAGE" not in os.environ:
        return Finding(
            "ABLATE_STORAGE", "absent", "not set: studies are stored in runs/NAME/study.db"
        )
    url = fill_variables(os.environ["ABLATE_STORAGE"])
    open_storage(url, create=True)
    return Finding("ABLATE_STORAGE", "ok", f"{masked(url)} answers")


def _postgres() -> Finding:
    if importlib.util.find_spec("psycopg") is None:
        return Finding("PostgreSQL", "absent", "no driver", pip_install("postgres"))
    return Finding("PostgreSQL", "ok", f"driver psycopg {_version('psycopg')}")


def _images() -> Finding:
    from plotly.graph_objects import Figure

    from ablate.report.write import write_figure

    with tempfile.TemporaryDirectory() as folder:
        write_figure(Figure(), Path(folder) / "figure.png")
    return Finding("images", "ok", f"PNG, SVG and PDF by kaleido {_version('kaleido')}")


def _dashboard() -> Finding:
    if importlib.util.find_spec("optuna_dashboard") is None:
        return Finding("dashboard", "absent", "no package", pip_install("dashboard"))
    return Finding("dashboard", "ok", f"optuna-dashboard {_version('optuna-dashboard')}")
