"""Which epochs take too long."""

from __future__ import annotations

import time

import pytest

from ablate.errors import UsageError
from ablate.search.drive import InlineExecutor
from ablate.search.ray_tune import EpochLimit
from ablate.study.settings import RunSettings


class Clock:
    now = 100.0


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(time, "monotonic", lambda: made.now)
    return made


def wait(clock: Clock, limit: EpochLimit, seconds: int) -> list[str]:
    """Look once a second; all that was overdue."""
    found: list[str] = []
    for _ in range(seconds):
        clock.now += 1
        found += limit.overdue()
    return found


def test_an_epoch_is_overdue_after_its_seconds(clock: Clock) -> None:
    limit = EpochLimit(30.0)
    limit.begin("a")
    assert wait(clock, limit, 20) == []
    limit.begin("b")
    assert wait(clock, limit, 10) == []
    assert wait(clock, limit, 1) == ["a"]
    limit.end("a")
    limit.begin("b")  # its next epoch
    assert wait(clock, limit, 30) == []
    assert wait(clock, limit, 1) == ["b"]


def test_what_the_driver_did_not_see_does_not_count(clock: Clock) -> None:
    limit = EpochLimit(30.0)
    limit.begin("a")
    assert wait(clock, limit, 20) == []
    clock.now += 1000  # it was stopped; reports wait
    assert limit.overdue() == []
    assert wait(clock, limit, 10) == []
    assert wait(clock, limit, 1) == ["a"]


def test_without_a_limit_nothing_is_overdue(clock: Clock) -> None:
    limit = EpochLimit(None)
    limit.begin("a")
    assert wait(clock, limit, 20) == []


def test_the_inline_executor_cannot_end_a_trial() -> None:
    with pytest.raises(UsageError) as error:
        InlineExecutor(RunSettings(epoch_timeout_seconds=60.0), loads_torch=False)
    assert str(error.value) == (
        "run.epoch_timeout_seconds: needs Ray, which can stop a trial's process, got the inline "
        "executor. Leave out `executor='inline'`, or set it to null."
    )
