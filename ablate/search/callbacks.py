"""Functions of the user that the driver calls while a study runs.

They can stop the study, which drains it as a signal does, and cannot break it: one that raises is
noted in the log of the run and not called again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ablate.errors import error_text
from ablate.ledger.record import Row, RowRecord, StudyRecord

Note = Callable[[str, str], None]
"""Takes the event and the text of a note about the run."""


class StopStudy(Exception):  # noqa: N818 (a callback asks for it; nothing went wrong)
    """Raised in a callback, it stops the study.

    Running epochs are finished within `run.grace_seconds`, no trial is started, and
    `ablate.resume` continues the study.

    Example:
        >>> def enough(trial):
        ...     if trial.number >= 3:
        ...         raise ablate.StopStudy("four trials are enough")
        >>> record = ablate.resume("runs/own", add=2, executor="inline", on_trial_end=enough)
        >>> record.count("COMPLETE"), record.count("WAITING")
        (9, 0)
    """


@dataclass(frozen=True)
class EpochEnd:
    """The end of an epoch, for `on_epoch`.

    Attributes:
        trial: its number; None: the plain finetune.
        epoch: epochs done; epochs: the budget, None if it is not in epochs.
        seconds: that the epoch took.
        scores: what a training loop reported; of a finetuning `train_loss`.
    """

    trial: int | None
    epoch: int
    epochs: int | None
    seconds: float
    scores: Mapping[str, float]


class Callbacks:
    """The callbacks of one run.

    Args:
        on_epoch: called after each epoch; on_trial_end: when a trial has ended, in any state;
            on_study_end: with the record that the run returns.

    Attributes:
        drain: called with why a callback has stopped the study; of the drive that runs.
        stopped: why a callback has stopped the study; None: none has.
    """

    def __init__(
        self,
        on_epoch: Callable[[EpochEnd], object] | None = None,
        on_trial_end: Callable[[RowRecord], object] | None = None,
        on_study_end: Callable[[StudyRecord], object] | None = None,
    ) -> None:
        self._on: dict[str, Callable[[Any], object] | None] = {
            "on_epoch": on_epoch,
            "on_trial_end": on_trial_end,
            "on_study_end": on_study_end,
        }
        self.drain: Callable[[str], None] = lambda _reason: None
        self.stopped: str | None = None

    def epoch(self, row: Row, entry: Mapping[str, Any], note: Note) -> None:
        loss = {name: entry[name] for name in ("train_loss",) if name in entry}
        scores = {**loss, **entry.get("scores", {})}
        seconds = float(entry.get("seconds") or 0.0)
        end = EpochEnd(row.number, entry["epoch"], entry.get("epochs"), seconds, scores)
        self._call("on_epoch", end, note)

    def trial_ended(self, record: RowRecord, note: Note) -> None:
        self._call("on_trial_end", record, note)

    def study_ended(self, record: StudyRecord, note: Note) -> None:
        self._call("on_study_end", record, note)

    def _call(self, name: str, what: Any, note: Note) -> None:
        callback = self._on[name]
        if callback is None:
            return
        try:
            callback(what)
        except StopStudy as stop:
            if self.stopped is None:
                self.stopped = f"{name}: {stop}" if str(stop) else name
                self.drain(self.stopped)
        except (Exception, SystemExit) as error:
            self._on[name] = None
            note("callback", f"{name} raised {error_text(error)}; it is not called again")
