"""What a running study tells whoever watches it."""

from __future__ import annotations

from typing import Protocol

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
