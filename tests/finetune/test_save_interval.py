"""When a training state is due during an epoch."""

from __future__ import annotations

import time

import pytest

from ablate.finetune.budget import SaveInterval


def test_a_state_is_due_after_so_many_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    interval = SaveInterval(300.0)
    now = 1299.0
    assert not interval.is_due()
    now = 1300.0
    assert interval.is_due()
    with interval.writing():
        now = 1301.0
    now = 1600.0
    assert not interval.is_due()
    now = 1601.0
    assert interval.is_due()


def test_a_slow_write_takes_a_hundredth_of_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    interval = SaveInterval(1.0)
    with interval.writing():
        now = 4.0
    now = 403.0
    assert not interval.is_due()
    now = 404.0
    assert interval.is_due()
