"""Rows begin in the order in which they were handed out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import ablate

pytestmark = pytest.mark.long

ROWS, PARALLEL = 12, 2
LOOP = """
import os, pathlib, signal, time

def train(context):
    here, number = pathlib.Path(__file__).parent, context.number
    (here / f"begun_{number}").touch()
    if number == 5:
        if context.attempt == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        (here / "is_back").touch()
    # A row ends once all before it have begun, however slow their workers are.  A death is seen
    # late: row 6 waits until row 5 is back, and so do those after 8, which may be handed out by
    # then.
    awaited = [here / f"begun_{before}" for before in range(number)]
    awaited += [here / "is_back"] * (number > 5 and number not in (7, 8))
    until = time.monotonic() + 120
    while not all(one.exists() for one in awaited):
        assert time.monotonic() < until, f"row {number} waited in vain"
        time.sleep(0.01)
    context.report(1, {"a": 0.5, "b": 0.5})
"""


def test_rows_begin_in_their_order_after_a_death(
    write_own: Callable[..., Path], ray_here: None
) -> None:
    file = write_own(
        "order",
        LOOP,
        space={"x": {"float": [0.0, 1.0]}},
        search={"trials": ROWS, "sampler": "random"},
        run={"parallel": PARALLEL},
    )
    rows = ablate.launch(file, executor="ray").rows
    assert [row.state for row in rows] == ["COMPLETE"] * ROWS
    # Of an attempt that died without a word it is known only when it was handed out.
    told = [row for row in rows if row.attempt == 1]
    begun = sorted((row.attempts[0].started, place) for place, row in enumerate(told))
    # Workers that come up together begin together; no row ends before all before it have begun.
    assert all(abs(place - at) < PARALLEL for at, (_, place) in enumerate(begun)), begun
    assert [attempt.end for attempt in rows[5].attempts] == ["lost", "complete"]
    again = rows[5].attempts[1].started
    # It goes on before new rows, but for those that were handed out by then.
    assert sum(row.attempts[0].started < again for row in rows[6:]) <= PARALLEL + 1
