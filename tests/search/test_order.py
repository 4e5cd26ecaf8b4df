"""Rows begin in the order in which they were handed out, on every size of cluster."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

import ablate

ROWS = 10
LOOP = """
import os, signal, time

def train(context):
    if context.number == 5 and context.attempt == 1 and context.params["dies"]:
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(0.1)
    context.report(1, {"a": 0.5, "b": 0.5})
"""


@pytest.fixture(scope="module")
def four_cpus() -> Iterator[None]:
    """A Ray that is started once: studies use what is there."""
    import ray

    ray.init(address="local", num_cpus=4, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


@pytest.mark.parametrize(("parallel", "dies"), [(1, False), (2, True), (4, False)])
def test_rows_begin_in_their_order(work: Path, four_cpus: None, parallel: int, dies: bool) -> None:
    (work / "in_order.py").write_text(LOOP)
    study = {
        "version": 1,
        "name": f"order-{parallel}-{dies}",
        "trainable": "in_order:train",
        "finetune": {"budget": {"epochs": 1}},
        "space": {"dies": {"choice": [dies]}, "x": {"float": [0.0, 1.0]}},
        "objectives": [{"metric": "a"}, {"metric": "b"}],
        "search": {"trials": ROWS, "sampler": "random"},
        "run": {"parallel": parallel},
    }
    (work / "order.yaml").write_text(yaml.safe_dump(study))
    rows = ablate.launch(work / "order.yaml", executor="ray").rows
    assert [row.state for row in rows] == ["COMPLETE"] * ROWS
    # Of an attempt that died without a word it is known only when it was handed out.
    told = [row for row in rows if row.attempt == 1]
    begun = sorted((row.attempts[0].started, place) for place, row in enumerate(told))
    # Workers that come up together begin together.
    assert all(abs(place - at) < parallel for at, (_, place) in enumerate(begun)), begun
    if dies:
        assert [attempt.end for attempt in rows[5].attempts] == ["lost", "complete"]
        again = rows[5].attempts[1].started
        # It goes on before new rows, but for the two that were handed out by then.
        assert sum(row.attempts[0].started > again for row in rows) >= ROWS - 6 - 3
