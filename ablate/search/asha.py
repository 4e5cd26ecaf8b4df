"""Asynchronous successive halving: stops trials that are behind others at the same epoch.

Source: Li et al. 2020, arXiv:1810.05934, in the stopping variant, which does not wait for a rung to
fill; on several metrics by Pareto rank, as in Schmucker et al. 2021, arXiv:2106.12639.  Differs:
with up to three metrics, ties are settled by hypervolume; with more by their epsilon-net.
"""

from __future__ import annotations

import math
import threading
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ablate.errors import ParameterError
from ablate.ledger.record import Failure, Rung
from ablate.study.metrics import larger_is_better
from ablate.study.scores import COSTS, Bound, violation
from ablate.study.settings import ObjectiveSettings, PrunerSettings, Study

_MOST_MEASURED = 3
"""Metrics of which a hypervolume is computed: with 5, one decision among 300 trials takes 1 s."""
_MARGIN = 0.1
"""Distance of its reference point from the worst values, as a share of each metric's range."""


def goes_on(
    gains: Sequence[Sequence[float]],
    own: int,
    factor: int,
    violations: Sequence[float] | None = None,
) -> bool:
    """Whether a trial continues at its rung: if it is among the best n / factor (rounded up) of n.

    Trials that violate constraints less come first.  Those that violate them as much, as all that
    keep them, are ordered by Pareto rank: first those that no other dominates, then those that only
    these dominate, and so on.  Of a rank that does not fit as a whole, some are taken (`choose`).
    Equal trials continue or stop together, so with one metric this is the order of its values.

    Args:
        gains: `[trial, metric]`, larger is better; not NaN.
        own: index of the trial.
        factor: at least 2; below this number of trials all continue.
        violations: of constraints, 0 or more, one per trial; none: no constraints.
    """
    # moocore's ranks crash on an infinite gain.
    table = np.minimum(np.asarray(gains, dtype=np.float64), np.finfo(np.float64).max)
    if len(table) < factor:
        return True
    import moocore

    room = math.ceil(len(table) / factor)
    if violations is not None:
        missed = np.asarray(violations, dtype=np.float64)
        room -= int((missed < missed[own]).sum())
        alike = missed == missed[own]
        table, own = table[alike], int(alike[:own].sum())
    ranks = moocore.pareto_rank(table, maximise=True)
    room -= int((ranks < ranks[own]).sum())
    rivals, places = np.unique(table[ranks == ranks[own]], axis=0, return_inverse=True)
    if room <= 0 or len(rivals) <= room:
        return room > 0
    place = places.reshape(-1)[int((ranks[:own] == ranks[own]).sum())]
    return int(place) in choose(_scaled(rivals, table), room)


def choose(points: np.ndarray, count: int) -> list[int]:
    """Choose points of a front: those whose hypervolume no other point covers is largest; with more
    than three metrics an `epsilon_net`.

    Args:
        points: `[point, metric]`, larger is better, from 0 to 1; none dominates another.
        count: at least 1, at most the number of points.

    Returns:
        Indices; of equally good points the first.
    """
    if points.shape[1] > _MOST_MEASURED:
        return epsilon_net(points, count)
    import moocore

    reference = [-_MARGIN] * points.shape[1]
    own = moocore.hv_contributions(points, ref=reference, maximise=True)
    return [int(place) for place in np.argsort(-own, kind="stable")[:count]]


def epsilon_net(points: np.ndarray, count: int) -> list[int]:
    """Choose points that cover a front: the most balanced one, then always the one that is
    farthest from those chosen.

    Arguments and result are as for `choose`, in the order of choice.
    """
    chosen = [int(points.min(axis=1).argmax())]
    distances = np.linalg.norm(points - points[chosen[0]], axis=1)
    while len(chosen) < count:
        chosen.append(int(distances.argmax()))
        distances = np.minimum(distances, np.linalg.norm(points - points[chosen[-1]], axis=1))
    return chosen


def _scaled(points: np.ndarray, table: np.ndarray) -> np.ndarray:
    """Points with each metric from 0, the worst finite value of the table, to 1, the best."""
    scaled = np.zeros_like(points)
    for metric, column in enumerate(table.T):
        finite = column[np.isfinite(column)]
        if len(finite) and (width := finite.max() - finite.min()) > 0:
            scaled[:, metric] = np.clip((points[:, metric] - finite.min()) / width, 0.0, 1.0)
    return scaled


def judged_at_rungs(bounds: Sequence[Bound], compared: Sequence[str]) -> list[Bound]:
    """The constraints by which trials are ordered at a rung: with one side, on a metric that is not
    compared."""
    sides = Counter(bound.metric for bound in bounds)
    return [bound for bound in bounds if bound.metric not in compared and sides[bound.metric] == 1]


def largest_costs(bounds: Sequence[Bound], growing: Sequence[str]) -> list[Bound]:
    """The largest values of metrics that only grow: at a rung, a trial above one is stopped."""
    return [bound for bound in bounds if bound.metric in growing and not bound.is_least]


def _growing(study: Study) -> Sequence[str]:
    return () if study.trainable is not None else COSTS


class Asha:
    """Decides at each rung whether a trial continues (`goes_on`).

    Trials are compared with those that were scored on as many images.  Decisions are final.  May be
    used from any thread; decides in memory, at once.

    Args:
        settings: of the study's pruner.
        objectives: of the study; a metric that is an objective has its direction.
        recorded: earlier decisions from the ledger, by row, in order.
        bounds: of the study's constraints.  One on a metric that is compared anyway is not judged
            at a rung (docs/measurements.md), nor one with two sides, of which a score before
            the end says too little, nor one on a metric that is not known there.
        growing: metrics that only grow: at a rung, a trial above their largest value is stopped.
    """

    def __init__(
        self,
        settings: PrunerSettings,
        objectives: Sequence[ObjectiveSettings],
        recorded: Iterable[tuple[int, Rung]],
        bounds: Sequence[Bound] = (),
        growing: Sequence[str] = (),
    ) -> None:
        self._settings = settings
        self._signs = {
            metric: 1.0 if larger_is_better(metric, objectives) else -1.0
            for metric in settings.compared(objectives)
        }
        self._bounds = judged_at_rungs(bounds, list(self._signs))
        self._final = largest_costs(bounds, growing)
        self._lock = threading.Lock()
        self._compared: dict[tuple[int, int], list[tuple[tuple[float, ...], float]]] = {}
        """By epoch and images, of each trial: its metrics, larger is better, and violations."""
        self._sequence = 0
        self._decided: dict[tuple[int, int], Rung] = {}
        for number, rung in recorded:
            self._decided[number, rung.epoch] = rung
            self._add(rung)
            self._sequence = max(self._sequence, rung.sequence)

    def exceeded(self, rung: Rung) -> list[Bound]:
        """The largest values of growing metrics that a trial is above."""
        return [bound for bound in self._final if bound.excess(rung.scores) > 0]

    def decide(self, number: int, epoch: int, found: Mapping[str, Any]) -> Rung | None:
        """Compare a trial with the others at its rung; None if the epoch is not a rung.

        Args:
            found: as in `Report.rung`.  A metric that is missing or NaN counts as the worst.
        """
        if not self._settings.is_rung(epoch):
            return None
        with self._lock:
            if (number, epoch) in self._decided:  # a row that was restarted before this rung
                return self._decided[number, epoch]
            self._sequence += 1
            rung = Rung(epoch=epoch, stop=False, sequence=self._sequence, **found)
            gains, violations = zip(*self._add(rung), strict=True)
            factor = self._settings.reduction_factor
            is_good = goes_on(gains, len(gains) - 1, factor, violations)
            stop = bool(self.exceeded(rung)) or not is_good
            self._decided[number, epoch] = replace(rung, stop=stop)
            return self._decided[number, epoch]

    def _add(self, rung: Rung) -> list[tuple[tuple[float, ...], float]]:
        """Add a trial to those that it is compared with."""
        values = {metric: rung.value(metric) for metric in self._signs}
        gains = tuple(
            -math.inf if math.isnan(value) else self._signs[metric] * value
            for metric, value in values.items()
        )
        trials = self._compared.setdefault((rung.epoch, rung.images), [])
        trials.append((gains, violation(self._bounds, rung.scores)))
        return trials


class Pruner:
    """Judges the trials of a study at its rungs; a custom training loop must report its metrics.

    A finetuning always does; its metrics are checked with the study file.

    Args:
        study: with a pruner.
        recorded, bounds: as of `Asha`.
    """

    def __init__(
        self, study: Study, recorded: Iterable[tuple[int, Rung]], bounds: Sequence[Bound] = ()
    ) -> None:
        settings, recorded = study.search.pruner, list(recorded)
        assert settings is not None
        self._asha = Asha(settings, study.objectives, recorded, bounds, _growing(study))
        self._is_custom = study.trainable is not None
        self._key = f"search.pruner.metric{'s' if settings.metric is None else ''}"
        self._metrics = settings.compared(study.objectives)
        self._reported = any(
            not any(math.isnan(rung.value(metric)) for metric in self._metrics)
            for _number, rung in recorded
        )

    def judge(
        self, number: int, entry: Mapping[str, Any], found: Mapping[str, Any]
    ) -> Rung | Failure | ParameterError | None:
        """The comparison of a trial at a rung.

        Args:
            entry: of its curve; found: as in `Report.rung`.

        Returns:
            The decision; None if the epoch is not a rung; a failure of a trial without a metric
            that others have; an error if none has it, so that the study file is wrong.
        """
        scores = entry.get("scores", {})
        missing = [metric for metric in self._metrics if metric not in scores]
        if not self._is_custom or not missing:
            self._reported = True
            return self._asha.decide(number, int(entry["epoch"]), found)
        error = ParameterError(
            f"{self._key}: must be reported after epoch {entry['epoch']}, got "
            f"{', '.join(scores) or 'none'} without {missing[0]}. Report it at each rung, or name "
            "another metric in the study file; then run `ablate resume FILE`."
        )
        return Failure("raised", f"ParameterError: {error}") if self._reported else error

    def exceeded(self, rung: Rung | None) -> list[Bound]:
        """As of `Asha`; none without a rung."""
        return [] if rung is None else self._asha.exceeded(rung)
