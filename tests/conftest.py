"""Fixtures of the whole suite.

Shapes are checked while the tests run: jaxtyping's annotations through beartype.
"""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from jaxtyping import install_import_hook

os.environ["RAY_USAGE_STATS_ENABLED"] = "0"

install_import_hook(
    ["ablate.distortion", "ablate.finetune", "ablate.robustness"], "beartype.beartype"
)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what needs a GPU where there is none; pytest says how many that were."""
    import torch

    if torch.cuda.is_available():
        return
    needs_gpu = [item for item in items if item.get_closest_marker("gpu")]
    config.hook.pytest_deselected(items=needs_gpu)
    items[:] = [item for item in items if not item.get_closest_marker("gpu")]


def missing(what: str) -> None:
    """Skip where a program is missing; in CI that is a failure."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"{what} is missing, and CI must not skip what needs it")
    pytest.skip(f"{what} is missing")


@pytest.fixture(scope="session")
def session_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The cache of this session's tests: baselines are trained once."""
    return tmp_path_factory.getbasetemp() / "cache"


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


@pytest.fixture
def write_study(work: Path, image_folder: Path) -> Callable[..., Path]:
    """Writes a study file of seconds; keywords replace its top-level keys."""

    def write(name: str = "small", **keys: object) -> Path:
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
        file = work / f"{name}.yaml"
        file.write_text(yaml.safe_dump({**study, **keys}, sort_keys=False))
        return file

    return write


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
def postgres_server() -> Iterator[str]:
    """A PostgreSQL server of this session's own; gives its URL up to the database."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not found and shutil.which("initdb") is None:
        missing("PostgreSQL (initdb)")
    programs = found[-1].parent if found else Path(str(shutil.which("initdb"))).parent
    # Not in pytest's own folder, which is closed to every user but this one.
    folder = Path(tempfile.mkdtemp(prefix="ablate-postgres-"))
    password = secrets.token_hex(8)
    (folder / "password").write_text(password)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]

    def as_server(command: str) -> None:
        # PostgreSQL refuses to run as root.
        line = ["su", "postgres", "-c", command] if os.geteuid() == 0 else ["sh", "-c", command]
        subprocess.run(line, check=True, capture_output=True, text=True, cwd="/")

    if os.geteuid() == 0:
        shutil.chown(folder, "postgres")
        shutil.chown(folder / "password", "postgres")
    data = folder / "data"
    as_server(
        f"{programs}/initdb -D {data} -U ablate -A scram-sha-256 --pwfile={folder}/password -E UTF8"
    )
    options = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1 -c fsync=off"
    as_server(f'{programs}/pg_ctl -D {data} -l {folder}/log -w -o "{options}" start')
    try:
        yield f"postgresql+psycopg://ablate:{password}@127.0.0.1:{port}"
    finally:
        as_server(f"{programs}/pg_ctl -D {data} -m immediate stop")
        shutil.rmtree(folder)


@pytest.fixture
def postgres_url(postgres_server: str) -> str:
    """A new database on the session's server."""
    import sqlalchemy

    name = f"test_{secrets.token_hex(4)}"
    engine = sqlalchemy.create_engine(f"{postgres_server}/postgres", isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name}")
    engine.dispose()
    return f"{postgres_server}/{name}"


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def storage_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A new storage of every kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/study.db"
    return str(request.getfixturevalue("postgres_url"))
