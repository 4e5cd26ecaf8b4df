"""A study that is killed, stopped and starved ends as one that was not: `benchmarks/faults.py`."""

from __future__ import annotations

import os
import random
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from needs import missing

sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))
import faults

pytestmark = [pytest.mark.postgres, pytest.mark.timeout(180)]


@pytest.fixture(scope="module")
def bench() -> Iterator[faults.Bench]:
    with faults.bench() as made:
        if made.server is None:
            missing("PostgreSQL (initdb)")
        random.seed(os.getpid())
        yield made


@pytest.mark.parametrize(
    ("name", "storage"),
    [(name, ("sqlite", "postgresql")[place % 2]) for place, name in enumerate(faults.POINTS)],
)
def test_a_driver_that_dies_at_a_point(bench: faults.Bench, name: str, storage: str) -> None:
    assert bench.run(name, faults.POINTS[name], storage=storage, inline=True) == []


@pytest.mark.parametrize("name", faults.OTHERS)
def test_what_breaks_a_study_on_ray(bench: faults.Bench, name: str) -> None:
    if name == "checkpoint: no space left" and os.geteuid() != 0:
        missing("the right to mount a small file system")
    try:
        assert bench.run(name, faults.OTHERS[name]) == []
    except faults.NotAllowedError as error:  # in a container of CI, say
        pytest.skip(f"needs {error}")


def test_a_node_that_dies(bench: faults.Bench) -> None:
    assert bench.run("node", bench.node_lost, storage="postgresql") == []


def test_a_server_that_is_away(bench: faults.Bench) -> None:
    assert bench.run("server", bench.server_away(8.0), storage="postgresql") == []


def test_a_driver_that_is_behind(bench: faults.Bench) -> None:
    assert bench.run("behind", bench.driver_behind, storage="postgresql") == []


def test_what_is_wrong_is_seen(bench: faults.Bench) -> None:
    """The judge itself: a row more, and an epoch done twice, are found."""

    def invent_a_row(lab: faults.Lab) -> None:
        lab.write()
        lab.resume()
        lab.end(lab.start("resume", "study.yaml", "--add", "1"))

    assert bench.run("a row more", invent_a_row, inline=True) == ["rows: [0, 1, 2, 3, 4, 5, 6]"]
