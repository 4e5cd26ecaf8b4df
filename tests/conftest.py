"""Fixtures of the whole suite.

Shapes are checked while the tests run: jaxtyping's annotations through beartype.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import os
import secrets
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import compress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from commands import run_alone, run_here
from fast_databases import make_databases_fast
from needs import FIXTURES, PROGRAMS, missing
from own_study import write_own_study
from postgres_server import PostgresServer, postgres_programs
from shape_checker import check_modules

if TYPE_CHECKING:
    from ray.cluster_utils import Cluster

    from ablate.data.dataset import Split
    from ablate.model.environment import Environment

# Without files of bytecode each run compiles all tests again, and each Python that it starts all of
# ablate: half the time of collecting, and a second for every command in a process of its own.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# Statistics are recomputed by the script that checks archives without ablate.
sys.path.append(str(Path(__file__).parents[1] / "studies" / "paper"))

# A suite in the background of a shell has SIGINT ignored, and so would every process it starts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
# Ray's own is 15: its workers wait for all else that runs, and the test for them.
os.environ["RAY_worker_niceness"] = "0"  # noqa: SIM112 (so Ray spells it)
# Ray reads its token once a process. Clusters with and without one in turn, joined from the same
# process, hang: so all of them have this one.
os.environ["RAY_AUTH_MODE"] = "token"
os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
# A process for each core: more threads than cores, of which some spin, take ten times as long.
# What is started from here has both too; a study sets its own number of threads.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

CHECKED = (
    *("distortion", "data", "model", "trial.robustness", "trial.estimate"),
    *("finetune.augment", "finetune.loss", "finetune.baseline", "finetune.forward"),
    *("finetune.loop", "finetune.optimizer"),
    *("robustness.corruption", "robustness.evaluation_set", "robustness.measures"),
    "robustness.score",
)
"""What has tensors in its signatures; functions that check what users pass are left out."""

check_modules([f"ablate.{name}" for name in CHECKED])

LONGEST = (
    *("test_faults.py", "test_selftest.py", "test_nodes.py", "test_gpu_benchmark.py"),
    *("test_clean_loss.py", "test_executors.py", "test_replicates.py", "test_ablation.py"),
    *("test_corruption_parity.py", "test_mixture_study.py", "test_confirmed_mixtures.py"),
    *("test_training_options.py", "test_cli.py"),
)
"""Files of half a minute and more: if one is started last, idle processes wait for it."""

# What collecting makes stays: the collector of garbage need not look at it time and again.
gc.disable()

SLOW = {"ray_head", "ablate_alone", "browser", "postgres", "long"}
"""Fixtures and markers: what has one starts Ray, a Python, Chromium or PostgreSQL, or is long."""


def pytest_configure(config: pytest.Config) -> None:
    """Long tests are left out of `python -m pytest`, and run where they are asked for, by their
    path or by their marker."""
    asked = config.option.markexpr
    if config.args_source is pytest.Config.ArgsSource.TESTPATHS and "long" not in asked:
        config.option.markexpr = f"({asked}) and not long" if asked else "not long"


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The longest files come first; a fixture that needs a program brings its marker; what starts
    much is slow; without a GPU nothing needs one; whole networks are trained where they are asked
    for."""
    import torch

    for item in items:
        fixtures = set(getattr(item, "fixturenames", ()))
        for fixture in fixtures & FIXTURES.keys():
            item.add_marker(FIXTURES[fixture])
        if SLOW & (fixtures | {marker.name for marker in item.iter_markers()}):
            item.add_marker("slow")
    places = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path.name, len(places)))
    left_out = [] if "whole" in config.option.markexpr else ["whole"]
    left_out += [] if torch.cuda.is_available() else ["gpu"]
    there = [any(map(item.get_closest_marker, left_out)) for item in items]
    config.hook.pytest_deselected(items=[*compress(items, there)])
    items[:] = [item for item, is_out in zip(items, there, strict=True) if not is_out]


def pytest_collection_finish() -> None:
    # Of a module that a test edits within a second, Python would take the old bytecode.
    sys.dont_write_bytecode = True
    gc.freeze()
    gc.enable()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """A program that a test needs, and that is not there, is looked for before its fixtures."""
    for marker, (program, find) in PROGRAMS.items():
        if item.get_closest_marker(marker) and find() is None:
            missing(program)


@pytest.fixture(autouse=True)
def _ray_is_slow(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A test that starts Ray or joins it, and is not marked as slow, fails."""
    ray = sys.modules.get("ray")
    if ray is not None and request.node.get_closest_marker("slow") is None:
        monkeypatch.setattr(ray, "init", _refuse_ray)


def _refuse_ray(*_given: object, **_named: object) -> None:
    pytest.fail("a test that starts Ray is slow: ask for ray_here, or mark it")


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


@pytest.fixture(scope="session", autouse=True)
def _databases_are_made_fast() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        make_databases_fast(patch.setattr)
        yield


@pytest.fixture(scope="session", autouse=True)
def _no_command_is_slow() -> Iterator[None]:
    """What a command prints does not depend on how fast the machine is."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ablate.cli.options.SLOW_SECONDS", 3600.0)
        yield


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
    """Where Chromium is."""
    path = shutil.which("chromium")
    assert path is not None
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
                "image_size": 8,
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
            "answer": {"mixtures": False},  # which have tests of their own
        }
        file = folder / f"{name}.yaml"
        file.write_text(yaml.safe_dump({**study, **keys}, sort_keys=False))
        return file

    return write


@pytest.fixture
def write_study(work: Path, write_study_in: Callable[..., Path]) -> Callable[..., Path]:
    """Writes a study file of seconds into `work`; keywords replace its top-level keys."""
    return functools.partial(write_study_in, work)


@pytest.fixture(scope="session")
def launched(write_study_in: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `done.yaml`, a study of two rows that has been run to its end."""
    folder = tmp_path_factory.mktemp("launched")
    file = write_study_in(folder, "done", search={"trials": 2, "sampler": "random"})
    result = run_here("launch", file, "--executor", "inline", cwd=folder)
    assert result.returncode == 0, result.stdout + result.stderr
    return folder


@pytest.fixture
def done(launched: Path, work: Path) -> Path:
    """The file of that study, a copy for one test."""
    shutil.copytree(launched, work, dirs_exist_ok=True)
    return work / "done.yaml"


@pytest.fixture
def write_own(work: Path) -> Callable[..., Path]:
    """Writes a study with a custom training loop into `work`: name, loop, top-level keys."""
    return functools.partial(write_own_study, work)


@pytest.fixture
def ablate() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs the command line, in this process."""
    return run_here


@pytest.fixture
def ablate_alone() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs the command line in a process of its own, where that is what is tested."""
    return run_alone


@pytest.fixture(scope="session")
def ray_head(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A Ray cluster of this session's own, of one node with two CPUs, as Ray is told."""
    from ray.cluster_utils import Cluster

    from ablate.search.ray_private import few_daemons

    # Else Ray takes 15 s to find a killed node dead.
    soon = {"health_check_period_ms": 1000, "health_check_failure_threshold": 3}
    head: dict[str, Any] = {"num_cpus": 2, "include_dashboard": False, "_system_config": soon}
    head["object_store_memory"] = 100 * 2**20
    with few_daemons():
        # Ray's workers search the folder that it was started in first.
        with contextlib.chdir(tmp_path_factory.mktemp("started")):
            made = Cluster(initialize_head=True, head_node_args=head)
        yield made
        made.shutdown()


@pytest.fixture(scope="module")
def ray_here(ray_head: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Joins the session's cluster meanwhile: what starts Ray takes the one that is there."""
    import ray

    ray_head.wait_for_nodes(
        timeout=120
    )  # Ray would join one that was removed just now, and wait for ever
    with contextlib.chdir(tmp_path_factory.mktemp("joined")):
        ray.init(address=ray_head.address, log_to_driver=False)
    yield
    ray.shutdown()


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """A PostgreSQL server of this session's own; who stops it starts it again."""
    programs = postgres_programs()
    assert programs is not None
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


@pytest.fixture
def environment() -> Environment:
    from ablate.model.environment import resolve_environment

    made = resolve_environment("fp32", threads=1, device="cpu")
    made.apply()
    return made


@pytest.fixture
def split() -> Split:
    """20 images of 8x8 noise, 4 classes."""
    import torch

    from ablate.data.dataset import Split, digest_images

    generator = torch.Generator().manual_seed(0)
    images = torch.randint(256, (20, 3, 8, 8), generator=generator, dtype=torch.uint8)
    labels = torch.arange(20) % 4
    return Split(images, labels, digest_images(images.numpy(), labels.numpy()))
