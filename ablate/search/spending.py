"""What a study has cost so far, beside what it may."""

from __future__ import annotations

import time
from collections.abc import Sequence

from ablate.ledger.record import Drive, StudyRecord
from ablate.study.settings import SearchBudgetSettings


class Spending:
    """Counts driving seconds and GPU hours, those of earlier drives included.

    Args:
        record: the study as it stands before this drive.
        gpus_per_trial: of this drive.
        last_sign: of a driver that never said its end, in seconds since 1970: what it left open
            counts up to then.
    """

    def __init__(
        self, record: StudyRecord, gpus_per_trial: float, last_sign: float | None = None
    ) -> None:
        self._budget: SearchBudgetSettings = record.study.search.budget
        self._gpus = gpus_per_trial
        self._began = time.monotonic()
        self._seconds = sum(
            _between(drive.started, drive.ended or last_sign) for drive in record.drives
        )
        self._gpu_seconds = sum(
            _between(attempt.started, attempt.ended or last_sign)
            * gpus_at(record.drives, attempt.started)
            for row in record.rows
            for attempt in row.attempts
        )
        self._running: dict[int | None, float] = {}

    def begin(self, number: int | None) -> None:
        """An attempt of a row begins."""
        self._running[number] = time.monotonic()

    def end(self, number: int | None) -> None:
        """It ends, however."""
        began = self._running.pop(number, None)
        if began is not None:
            self._gpu_seconds += (time.monotonic() - began) * self._gpus

    def spent(self) -> str | None:
        """Which limit is reached, with what was spent; none where no limit is."""
        now = time.monotonic()
        seconds = self._seconds + now - self._began
        running = sum(now - began for began in self._running.values()) * self._gpus
        gpu_hours = (self._gpu_seconds + running) / 3600
        for name, limit, value in (
            ("gpu_hours", self._budget.gpu_hours, gpu_hours),
            ("seconds", self._budget.seconds, seconds),
        ):
            if limit is not None and value >= limit:
                return f"search.budget.{name}: {limit:g} are spent"
        return None


def _between(started: float, ended: float | None) -> float:
    return max(0.0, (ended or started) - started)


def gpus_at(drives: Sequence[Drive], moment: float) -> float:
    """GPUs that a trial had in the drive that was under way at a moment."""
    begun = [drive for drive in drives if drive.started <= moment]
    return begun[-1].gpus_per_trial if begun else 0.0
