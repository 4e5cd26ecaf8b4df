"""A study that is killed, stopped and starved ends as one that was not: `benchmarks/faults.py`.

Each kind of fault once, as short as it can be: drivers are forked, and only faults that are of
workers, nodes or what Ray does meanwhile are made on Ray.
"""

from __future__ import annotations

import os
import random
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from forked_driver import ForkedDriver
from needs import missing
from postgres_server import PostgresServer
from ray.cluster_utils import Cluster

sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))
import faults

ON_RAY = {
    "driver: during epochs",
    "driver: SIGUSR1",
    "worker: within an epoch, after a checkpoint in it",
    "trial: never ends (epoch_timeout_seconds)",
    "driver: Ctrl-C while Ray starts",
    "run folder: deleted during a run",
    faults.CUT_OFF,
}
ELSEWHERE = {"worker: SIGKILL"}
"""A worker that is killed amid an epoch says more, and tests/search/test_order.py kills one too."""
THEN_INLINE = {"driver: SIGUSR1", "run folder: deleted during a run"}
SHORTER = {faults.AT_RANDOM: faults.driver_at_random(0.0, 1.5)}


@pytest.fixture
def bench(ray_head: Cluster, postgres_server: PostgresServer) -> Iterator[faults.Bench]:
    random.seed(os.getpid())
    yield faults.Bench(ray_head, postgres_server, ForkedDriver)
    postgres_server.start()  # a fault that was not over has left it stopped


@pytest.mark.parametrize(
    ("name", "storage"),
    [(name, ("sqlite", "postgresql")[place % 2]) for place, name in enumerate(faults.POINTS)],
)
def test_a_driver_that_dies_at_a_point(bench: faults.Bench, name: str, storage: str) -> None:
    pruned = "stop decision" in name  # and constrained: rows and decisions as without the fault
    wrong = bench.run(name, faults.POINTS[name], storage=storage, inline=True, pruned=pruned)
    assert wrong == []


@pytest.mark.parametrize("name", [name for name in faults.OTHERS if name not in ELSEWHERE])
def test_what_breaks_a_study(bench: faults.Bench, name: str) -> None:
    if name == "checkpoint: no space left" and os.geteuid() != 0:
        missing("the right to mount a small file system")
    fault = SHORTER.get(name, faults.OTHERS[name])
    then = "inline" if name in THEN_INLINE else None
    try:
        wrong = bench.run(name, fault, inline=name not in ON_RAY, resumed_on=then)
    except faults.NotAllowedError as error:  # in a container of CI, say
        pytest.skip(f"needs {error}")
    assert wrong == []


def test_a_server_that_is_away(bench: faults.Bench) -> None:
    assert bench.run("server", bench.server_away(4.0), storage="postgresql") == []


def test_a_driver_that_is_behind(bench: faults.Bench) -> None:
    then = "inline"
    assert bench.run("behind", bench.driver_behind, storage="postgresql", resumed_on=then) == []


def test_what_is_wrong_is_seen(bench: faults.Bench) -> None:
    """The judge itself: a row more, and an epoch done twice, are found."""

    def invent_a_row(lab: faults.Lab) -> None:
        lab.write()
        lab.resume()
        lab.end(lab.start("resume", "study.yaml", "--add", "1"))

    assert bench.run("a row more", invent_a_row, inline=True) == ["rows: [0, 1, 2, 3, 4, 5, 6]"]
