"""How long each epoch under way has taken, beside what it may."""

from __future__ import annotations

import time

_AWAY_SECONDS = 5.0
"""Between two looks: more, and the driver itself was stopped or busy, with reports waiting."""


class EpochLimit:
    """Finds the trials whose epoch takes too long.

    What a driver did not see does not count: while it is stopped, reports wait for it.

    Args:
        seconds: that an epoch may take; none: any time.
    """

    def __init__(self, seconds: float | None) -> None:
        self._seconds = seconds
        self._began: dict[str, float] = {}
        self._looked = time.monotonic()

    def begin(self, trial_id: str) -> None:
        """An epoch of the trial begins; the one before is over."""
        self._began[trial_id] = time.monotonic()

    def end(self, trial_id: str) -> None:
        """The trial has ended, however."""
        self._began.pop(trial_id, None)

    def overdue(self) -> list[str]:
        """Trials whose epoch has taken longer; call it a few times a second."""
        now = time.monotonic()
        away, self._looked = now - self._looked, now
        if self._seconds is None:
            return []
        if away > _AWAY_SECONDS:
            self._began = {one: began + away for one, began in self._began.items()}
        return [one for one, began in self._began.items() if now - began > self._seconds]
