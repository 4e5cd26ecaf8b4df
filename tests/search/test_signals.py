"""Signals wait while Ray starts and ends, and none is lost."""

from __future__ import annotations

import signal
from contextlib import suppress

import pytest

from ablate.search.drive import Stops, Terminated, held


def run(number: int, *, times: int, done: list[int], error: Exception | None = None) -> None:
    """What must not be cut, with so many signals in it."""
    with Stops().heard(), held():
        for _ in range(times):
            signal.raise_signal(number)
        done.append(times)
        if error is not None:
            raise error


@pytest.mark.parametrize(
    ("number", "raised"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, Terminated)]
)
def test_the_first_waits_and_the_second_does_not(number: int, raised: type[BaseException]) -> None:
    done: list[int] = []
    with pytest.raises(raised):
        run(number, times=1, done=done)
    with pytest.raises(raised):
        run(number, times=2, done=done)
    with pytest.raises(raised):
        run(number, times=1, done=done, error=ValueError("failed as well"))
    assert done == [1, 1]


def test_one_that_was_swallowed_is_raised_again() -> None:
    def swallow(stops: Stops) -> None:
        with stops.heard():
            with suppress(KeyboardInterrupt):
                signal.raise_signal(signal.SIGTERM)
            with stops.heard():
                pytest.fail("the run must not go on")

    with pytest.raises(Terminated) as stop:
        swallow(Stops())
    assert stop.value.signal == signal.SIGTERM
