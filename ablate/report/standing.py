"""Where a running study stands, kept up event by event; the displays show it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from statistics import fmean

from ablate.analysis.columns import worked_seconds
from ablate.analysis.hypervolume import hypervolume
from ablate.analysis.summary import Best, best_values, complete_values
from ablate.ledger.record import TERMINAL, RowRecord, StudyRecord
from ablate.report.numbers import reference_text
from ablate.study.settings import ObjectiveSettings


@dataclass(frozen=True)
class Epoch:
    """Epochs done, of how many, and the last one's mean loss."""

    epoch: int
    epochs: int | None
    train_loss: float


class Standing:
    """The rows that have ended and what is running.  Not thread-safe: its owner locks.

    Attributes:
        running: trial number (None: the plain finetune) -> its last epoch, None before the first.
        best: one an objective, over the complete trials.
    """

    def __init__(self) -> None:
        self.trials = 0
        self.objectives: tuple[ObjectiveSettings, ...] = ()
        self.running: dict[int | None, Epoch | None] = {}
        self.best: tuple[Best, ...] = ()
        self._reference_point: tuple[float, ...] | None = None
        self._hypervolume: float | None = None
        self._rows: dict[int, RowRecord] = {}
        self._started: dict[int | None, float] = {}
        self._widest = 1

    @property
    def ended(self) -> int:
        return len(self._rows)

    def reset(self, record: StudyRecord) -> None:
        """Take up what the ledger holds; what is running stays, the plain finetune if unscored."""
        self.trials = record.trials
        self.objectives = record.study.objectives
        self._reference_point = record.reference_point
        self._rows = {row.number: row for row in record.rows if row.state in TERMINAL}
        if "plain" in record.references:
            self._stop(None)
        self._count()

    def start(self, number: int | None, moment: float) -> None:
        """A trial began; `moment` in seconds, of any clock that only goes on."""
        self.running[number] = None
        self._started[number] = moment
        self._widest = max(self._widest, len(self.running))

    def epoch(self, number: int | None, epoch: Epoch) -> None:
        self.running[number] = epoch

    def finish(self, row: RowRecord) -> None:
        self._stop(row.number)
        self._rows[row.number] = row
        self._count()

    def counts(self) -> dict[str, int]:
        """Trials by state, in words; those at zero are left out."""
        ended = Counter(row.state.lower() for row in self._rows.values())
        running = sum(number is not None for number in self.running)
        waiting = max(0, self.trials - self.ended - running)
        counts = {**ended, "running": running, "waiting": waiting}
        return {state: count for state, count in counts.items() if count}

    def seconds_left(self, moment: float) -> float | None:
        """Until every row has ended, or None where no ended row says how long one takes.

        Args:
            moment: now, by the clock that `start` was told.
        """
        times = [worked_seconds(row) for row in self._rows.values()]
        known = [seconds for seconds in times if seconds is not None]
        if not known:
            return None
        elapsed = [moment - self._started[number] for number in self.running if number is not None]
        return time_left(fmean(known), self.trials - self.ended, elapsed, self._widest)

    def hypervolume_text(self) -> str | None:
        """With its reference point; None before the baseline is scored."""
        if self._hypervolume is None or self._reference_point is None:
            return None
        metrics = [objective.metric for objective in self.objectives]
        point = reference_text(metrics, self._reference_point)
        return f"hypervolume {self._hypervolume:.4g}, reference point {point}"

    def _stop(self, number: int | None) -> None:
        self.running.pop(number, None)
        self._started.pop(number, None)

    def _count(self) -> None:
        rows = [self._rows[number] for number in sorted(self._rows)]
        self.best = best_values(rows, self.objectives)
        self._hypervolume = hypervolume(
            complete_values(rows), self.objectives, self._reference_point
        )


def time_left(mean_seconds: float, rows: int, elapsed_seconds: list[float], parallel: int) -> float:
    """How long `rows` rows take, `parallel` at once, of which some have run for a while.

    Args:
        mean_seconds: of one row.
        rows: not ended, the running ones among them.
        elapsed_seconds: of each running row; what runs over the mean counts as about to end.
        parallel: rows at once, at least 1.
    """
    done = sum(min(elapsed, mean_seconds) for elapsed in elapsed_seconds)
    return max(0.0, rows * mean_seconds - done) / max(1, min(parallel, rows))
