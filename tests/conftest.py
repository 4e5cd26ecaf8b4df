"""Fixtures of the whole suite.

Shapes are checked while the tests run: jaxtyping's annotations through beartype.
"""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from jaxtyping import install_import_hook
from needs import missing
from postgres_server import PostgresServer, postgres_programs

os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
# A process for each core: more threads than cores, of which some spin, take ten times as long.
# What is started from here has both too; a study sets its own number of threads.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

install_import_hook(
    ["ablate.distortion", "ablate.finetune", "ablate.robustness"], "beartype.beartype"
)

LONGEST = ("test_faults.py", "test_cli.py", "test_executors.py", "test_interrupt.py")
"""Files of a minute and more: begun last, one would be waited for by an idle process."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The longest files come first; what needs a GPU is left out where there is none.

    What starts a browser is slow.
    """
    import torch

    for item in items:
        if item.get_closest_marker("browser"):
            item.add_marker("slow")
    places = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path.name, len(places)))
    if torch.cuda.is_available():
        return
    needs_gpu = [item for item in items if item.get_closest_marker("gpu")]
    config.hook.pytest_deselected(items=needs_gpu)
    items[:] = [item for item in items if not item.get_closest_marker("gpu")]


@pytest.fixture(scope="session", autouse=True)
def session_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The cache of this session's tests: baselines are trained once.

    From the beginning, so that what a module's tests share is not made in the user's.
    """
    cache = tmp_path_factory.getbasetemp() / "cache"
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("ABLATE_CACHE", str(cache))
        environment.delenv("ABLATE_STORAGE", raising=False)
        yield cache


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    """The suite has a process for each core; a test before may have set another number."""
    import torch

    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _own_cache(session_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reads or writes the user's cache or storage."""
    monkeypatch.setenv("ABLATE_CACHE", str(session_cache))
    monkeypatch.delenv("ABLATE_STORAGE", raising=False)


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder that commands are run in."""
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture(scope="session")
def chromium_path() -> str:
    """Where Chromium is; without it a test is skipped, and fails where CI=true."""
    path = shutil.which("chromium")
    if path is None:
        missing("chromium")
    return path


@pytest.fixture(scope="session")
def image_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three classes of 16 x 16 images, told apart by where they are bright: 90 to train on."""
    import numpy as np
    from PIL import Image

    root = tmp_path_factory.mktemp("images")
    random = np.random.default_rng(0)
    for split, count in (("train", 30), ("test", 4)):
        for label, name in enumerate(("left", "middle", "right")):
            folder = root / split / name
            folder.mkdir(parents=True)
            for index in range(count):
                pixels = random.integers(0, 120, (16, 16, 3), dtype=np.uint8)
                pixels[:, 5 * label : 5 * label + 6] += 120
                Image.fromarray(pixels).save(folder / f"{index}.png")
    return root


@pytest.fixture(scope="session")
def write_study_in(image_folder: Path) -> Callable[..., Path]:
    """Writes a study file of seconds into a folder; keywords replace its top-level keys."""

    def write(folder: Path, name: str = "small", **keys: object) -> Path:
        study = {
            "version": 1,
            "name": name,
            "dataset": {
                "name": "image_folder",
                "path": str(image_folder),
                "image_size": 16,
                "validation": {"fraction": 0.2},
            },
            "model": {"name": "resnet8"},
            "baseline": {"epochs": 2, "batch_size": 24},
            "finetune": {"budget": {"epochs": 2}, "batch_size": 24},
            "space": {
                "loss.terms": {"choice": ["clean+da", "clean+st", "clean+fma"]},
                "loss.fma.weight": {
                    "float": [0.01, 30],
                    "log": True,
                    "when": {"loss.terms": {"contains": "fma"}},
                },
                "augment.families": {"subset": ["noise", "blur", "photometric"]},
                "augment.mix": {"simplex": "augment.families"},
            },
            "search": {"trials": 4, "sampler": "random"},
            "robustness": {"severities": [3]},
        }
        file = folder / f"{name}.yaml"
        file.write_text(yaml.safe_dump({**study, **keys}, sort_keys=False))
        return file

    return write


@pytest.fixture
def write_study(work: Path, write_study_in: Callable[..., Path]) -> Callable[..., Path]:
    """Writes a study file of seconds into `work`; keywords replace its top-level keys."""
    return functools.partial(write_study_in, work)


@pytest.fixture
def ablate() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs the command line in a process of its own."""

    def run(*arguments: object, **options: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "ablate", *map(str, arguments)],
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
            **options,  # type: ignore[call-overload]
        )

    return run


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """A PostgreSQL server of this session's own."""
    programs = postgres_programs()
    if programs is None:
        missing("PostgreSQL (initdb)")
    server = PostgresServer(programs)
    try:
        server.start()
        yield server
    finally:
        server.remove()


@pytest.fixture
def postgres_url(postgres_server: PostgresServer) -> str:
    """A new database on the session's server."""
    return postgres_server.new_database()


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def storage_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A new storage of every kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/study.db"
    return str(request.getfixturevalue("postgres_url"))
