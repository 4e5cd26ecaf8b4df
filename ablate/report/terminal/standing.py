"""Where a running study stands, kept up event by event; the displays show it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from ablate.analysis.accounting import worked_seconds
from ablate.analysis.dominance import nondominated
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
        self._states: dict[int, str] = {}
        self._seconds = 0.0
        self._front: list[tuple[float, ...]] = []
        self._started: dict[int | None, float] = {}
        self._widest = 1
        self._is_search = True

    @property
    def ended(self) -> int:
        return len(self._states)

    def reset(self, record: StudyRecord) -> None:
        """Take up what the ledger holds; what is running stays, the plain finetune if unscored."""
        self.trials = record.trials
        self.objectives = record.study.objectives
        self._reference_point = record.reference_point
        ended = [row for row in record.rows if row.state in TERMINAL]
        self._states = {row.number: row.state.lower() for row in ended}
        self._seconds = sum(map(worked_seconds, ended))
        self._is_search = record.design is None
        if not self._is_search:
            return
        self.best = best_values(ended, self.objectives)
        self._front = self._nondominated(complete_values(ended))
        self._measure()
        if "plain" in record.references:
            self._stop(None)

    def start(self, number: int | None, moment: float) -> None:
        """A trial began; `moment` in seconds, of any clock that only goes on."""
        self.running[number] = None
        self._started[number] = moment
        self._widest = max(self._widest, len(self.running))

    def epoch(self, number: int | None, epoch: Epoch) -> None:
        self.running[number] = epoch

    def finish(self, row: RowRecord) -> None:
        """A trial has ended; what that costs here does not grow with the trials before it."""
        self._stop(row.number)
        if row.number in self._states:
            return
        self._states[row.number] = row.state.lower()
        self._seconds += worked_seconds(row)
        if not self._is_search or row.state != "COMPLETE" or row.values is None:
            return
        self.best = self._better(row)
        front = self._nondominated([*self._front, row.values])
        if front != self._front:
            self._front = front
            self._measure()

    def counts(self) -> dict[str, int]:
        """Trials by state, in words; those at zero are left out."""
        ended = Counter(self._states.values())
        running = sum(number is not None for number in self.running)
        waiting = max(0, self.trials - self.ended - running)
        counts = {**ended, "running": running, "waiting": waiting}
        return {state: count for state, count in counts.items() if count}

    def seconds_left(self, moment: float) -> float | None:
        """Until every row has ended, or None where no ended row says how long one takes.

        Args:
            moment: now, by the clock that `start` was told.
        """
        if not self.ended:
            return None
        elapsed = [moment - self._started[number] for number in self.running if number is not None]
        return time_left(
            self._seconds / self.ended, self.trials - self.ended, elapsed, self._widest
        )

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

    def _better(self, row: RowRecord) -> tuple[Best, ...]:
        """The best values, with this row beside them; of equal ones that of the least number."""
        directions = {objective.metric: objective.direction for objective in self.objectives}
        found: dict[str, Best] = {best.metric: best for best in self.best}
        for new in best_values([row], self.objectives):
            old = found.get(new.metric)
            sign = 1 if directions[new.metric] == "maximize" else -1
            if old is None or (sign * new.value, -new.number) > (sign * old.value, -old.number):
                found[new.metric] = new
        return tuple(found[metric] for metric in directions if metric in found)

    def _nondominated(self, values: list[tuple[float, ...]]) -> list[tuple[float, ...]]:
        distinct = list(dict.fromkeys(values))
        on_front = nondominated(distinct, self.objectives)
        return [point for point, keep in zip(distinct, on_front, strict=True) if keep]

    def _measure(self) -> None:
        self._hypervolume = hypervolume(self._front, self.objectives, self._reference_point)


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
