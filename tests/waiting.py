"""Waiting for what another thread or process does, however slow the machine is."""

from __future__ import annotations

import time
from collections.abc import Callable

SECONDS = 120.0
"""Far longer than anything takes that is waited for."""


def wait_until(holds: Callable[[], object], seconds: float = SECONDS) -> None:
    """Return as soon as it holds; fail if it does not within this time."""
    until = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < until, f"{holds} does not hold after {seconds:g} s"
        time.sleep(0.01)
