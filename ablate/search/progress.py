"""What a running study tells whoever watches it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any, Protocol

from ablate.ledger.record import RowRecord, StudyRecord
from ablate.study.preparation import PreparationStep


class Progress(Protocol):
    """Listens to a study in motion.

    Every method returns at once, may be called from any thread, and raises nothing.
    """

    def preparing(self, step: PreparationStep) -> None:
        """What is being done now that is no trial: a step begins, or gets on."""

    def note(self, text: str) -> None:
        """Something that the user should read, now or later."""

    def totals(self, record: StudyRecord) -> None:
        """Where the study stands: before the first trial, and when a reference is scored."""

    def started(self, number: int | None) -> None:
        """A trial began, or began again; none is the plain finetune."""

    def epoch(self, number: int | None, epoch: int, epochs: int | None, train_loss: float) -> None:
        """An epoch of a trial ended: `epoch` of `epochs`, with its mean loss (may be NaN).

        Where the clock ends the trial, nobody knows how many there will be.
        """

    def finished(self, row: RowRecord) -> None:
        """A trial ended, however it ended; `row.state` is terminal."""


class Silent:
    """Nobody watches."""

    def preparing(self, step: PreparationStep) -> None: ...
    def note(self, text: str) -> None: ...
    def totals(self, record: StudyRecord) -> None: ...
    def started(self, number: int | None) -> None: ...
    def epoch(
        self, number: int | None, epoch: int, epochs: int | None, train_loss: float
    ) -> None: ...
    def finished(self, row: RowRecord) -> None: ...


class Guarded:
    """A progress of somebody's, which no study stops for: what it raises is dropped.

    Args:
        progress: what is told; one that raises has missed that word and gets the next.
    """

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    def preparing(self, step: PreparationStep) -> None:
        self._tell(self._progress.preparing, step)

    def note(self, text: str) -> None:
        self._tell(self._progress.note, text)

    def totals(self, record: StudyRecord) -> None:
        self._tell(self._progress.totals, record)

    def started(self, number: int | None) -> None:
        self._tell(self._progress.started, number)

    def epoch(self, number: int | None, epoch: int, epochs: int | None, train_loss: float) -> None:
        self._tell(self._progress.epoch, number, epoch, epochs, train_loss)

    def finished(self, row: RowRecord) -> None:
        self._tell(self._progress.finished, row)

    def _tell(self, method: Callable[..., None], *what: Any) -> None:
        with suppress(Exception, SystemExit):  # rich answers a closed pipe with SystemExit
            method(*what)
