"""Asynchronous successive halving: stops trials that are behind others at the same epoch.

Source: Li et al. 2020, arXiv:1810.05934, in the stopping variant, which does not wait for a rung to
fill.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterable, Mapping
from typing import Any

from ablate.errors import ParameterError
from ablate.ledger.record import Rung
from ablate.study.scores import COSTS
from ablate.study.settings import ObjectiveSettings, PrunerSettings


class Asha:
    """Decides at each rung whether a trial continues.

    At a rung with n values, including the trial's own, the trial continues if it is among the best
    n / reduction_factor (rounded up), or if n is below reduction_factor.  Decisions are final.  May
    be used from any thread; decides in memory, at once.

    Args:
        settings: of the study's pruner.
        objectives: of the study; a metric that is an objective has its direction.
        recorded: earlier decisions from the ledger, by row.
    """

    def __init__(
        self,
        settings: PrunerSettings,
        objectives: Iterable[ObjectiveSettings],
        recorded: Iterable[tuple[int, Rung]],
    ) -> None:
        self._settings = settings
        ways = {objective.metric: objective.direction for objective in objectives}
        default = "minimize" if settings.metric in COSTS else "maximize"
        self._sign = 1.0 if ways.get(settings.metric, default) == "maximize" else -1.0
        self._lock = threading.Lock()
        self._values: dict[int, dict[int, float]] = {}
        self._sequence = 0
        self._decided: dict[tuple[int, int], Rung] = {}
        for number, rung in recorded:
            self._decided[number, rung.epoch] = rung
            self._values.setdefault(rung.epoch, {})[number] = self._signed(rung.value)
            self._sequence = max(self._sequence, rung.sequence)

    @property
    def has_decided(self) -> bool:
        return bool(self._decided)

    def decide(self, number: int, epoch: int, metrics: Mapping[str, float]) -> Rung | None:
        """Compare a trial with the others at its rung; None if the epoch is not a rung.

        A metric that is missing or NaN counts as the worst.
        """
        if not self._settings.is_rung(epoch):
            return None
        value = float(metrics.get(self._settings.metric, math.nan))
        factor = self._settings.reduction_factor
        with self._lock:
            if (number, epoch) in self._decided:  # a row that was restarted before this rung
                return self._decided[number, epoch]
            values = self._values.setdefault(epoch, {})
            values[number] = self._signed(value)
            better = sum(other > values[number] for other in values.values())
            count = len(values)
            stop = count >= factor and better >= math.ceil(count / factor)
            self._sequence += 1
            rung = self._decided[number, epoch] = Rung(epoch, value, stop, self._sequence)
            return rung

    def _signed(self, value: float) -> float:
        return -math.inf if math.isnan(value) else self._sign * value


# -- Check that a custom training loop reports the pruner's metric --
#
# A finetuning always does; its metrics are checked with the study file.


class PrunerMetric:
    """Checks the reports of a loop.

    Args:
        settings: of the study's pruner.
        reported: whether any trial had the metric at a rung.
    """

    def __init__(self, settings: PrunerSettings, *, reported: bool) -> None:
        self._settings = settings
        self._looked = self.reported = reported

    def first_look(self, entry: Mapping[str, Any]) -> str | None:
        """The message if the first report of a study lacks the metric."""
        if self._looked:
            return None
        self._looked = True
        scores = entry.get("scores", {})
        if self._settings.metric in scores:
            return None
        return (
            f"search.pruner.metric: the first report has {_names(scores)} without "
            f"{self._settings.metric}; it must be reported from epoch "
            f"{self._settings.min_epochs} on"
        )

    def missing(self, entry: Mapping[str, Any]) -> ParameterError | None:
        """The message if a report at a rung lacks the metric."""
        scores = entry.get("scores", {})
        if self._settings.metric in scores:
            self.reported = True
            return None
        return ParameterError(
            f"search.pruner.metric: must be reported after epoch {entry['epoch']}, got "
            f"{_names(scores)} without {self._settings.metric}. Report it at each rung, or name "
            "another metric in the study file; then run `ablate resume FILE`."
        )


def _names(scores: Mapping[str, Any]) -> str:
    return ", ".join(scores) or "none"
