"""Fronts of one study or several in one plane, with confirmed values of their trials."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from operator import attrgetter
from statistics import median
from typing import TYPE_CHECKING, Any, NamedTuple

from ablate.analysis.frame import typed_frame
from ablate.analysis.hypervolume import nondominated
from ablate.analysis.objectives import ENDED, check_several, is_accuracy, shared_objectives
from ablate.analysis.pareto import ParetoInfo, pareto_info
from ablate.errors import NothingToDrawError, ParameterError
from ablate.ledger.record import TERMINAL, RowRecord, StudyRecord
from ablate.study.settings import ObjectiveSettings

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class ConfirmedMean:
    """A trial of a front, retrained with new seeds and scored on the same split.

    Attributes:
        number: of the trial.
        values: means, one per objective, all finite.
        low, high: bounds of the interval over seeds; NaN without an interval.
        sds: standard deviations over seeds; NaN of one seed.
        seeds: smallest number of seeds of these means.
        violation: of the study's constraints, by the means.
    """

    number: int
    values: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    sds: tuple[float, ...]
    seeds: int
    violation: float = 0.0


class StoppedTrial(NamedTuple):
    """A trial that a pruner stopped.

    Attributes:
        epoch: of its last rung; values: one per objective, scored then.
        loss_terms: as of `ParetoPoint`.
    """

    number: int
    epoch: int
    values: tuple[float, ...]
    loss_terms: str


@dataclass(frozen=True)
class FrontsInfo:
    """Fronts of studies with the same objectives.

    The history of one objective is a front too: that of the trials that ended, as few as possible,
    and of the values; its points are those that were the best so far.

    Attributes:
        studies: at least one.
        confirmed: one entry a study; empty of one whose front was not confirmed.
        stopped: trials that were stopped, and scored on the images of the front; empty unless
            asked for. Never on a front: their scores are of an earlier epoch.
        unlike: number of stopped trials that were scored on fewer images, or in other metrics;
            None: stopped trials were not asked for.
    """

    studies: tuple[ParetoInfo, ...]
    confirmed: tuple[tuple[ConfirmedMean, ...], ...]
    stopped: tuple[StoppedTrial, ...] = ()
    unlike: int | None = None

    @property
    def objectives(self) -> tuple[ObjectiveSettings, ...]:
        return self.studies[0].objectives

    @property
    def is_history(self) -> bool:
        """Whether the first objective is the number of trials that ended."""
        return self.objectives[0].metric == ENDED

    def one_image(self, objective: int) -> float:
        """What one image is worth in an accuracy, as a fraction: in a robust one, if it changes in
        each corrupted copy. NaN of other metrics, and where studies have different images."""
        metric = self.objectives[objective].metric
        is_clean = metric.endswith("clean_accuracy")
        counts = {one.n_images if is_clean else one.n_corrupted for one in self.studies}
        count = counts.pop() if len(counts) == 1 and is_accuracy(metric) else None
        return 1 / count if count else math.nan

    def one_seed(self, objective: int) -> float:
        """Standard deviation over training seeds of a confirmed trial, of the median variance, so
        that a trial that collapsed at a seed does not count; NaN without a confirmation."""
        sds = [mean.sds[objective] for means in self.confirmed for mean in means]
        squares = [sd**2 for sd in sds if math.isfinite(sd)]
        return math.sqrt(median(squares)) if squares else math.nan

    def frame(self) -> pd.DataFrame:
        """One row a complete trial, and one a stopped trial where these were asked for.

        Columns: study (text), number (int64), loss_terms (text), on_front, is_knee (bool), a
        float64 column an objective; where any front was confirmed also confirmed_seeds (Int64)
        and, an objective, confirmed.METRIC, confirmed.METRIC.low and .high (float64), missing of
        trials that were not confirmed; with stopped trials stopped_epoch (Int64).
        """
        metrics = [objective.metric for objective in self.objectives]
        types = {"study": "string", "number": "int64", "loss_terms": "string"}
        types |= {"on_front": "bool", "is_knee": "bool"} | dict.fromkeys(metrics, "float64")
        if any(self.confirmed):
            types["confirmed_seeds"] = "Int64"
            for metric in metrics:
                named = (f"confirmed.{metric}{ending}" for ending in ("", ".low", ".high"))
                types |= dict.fromkeys(named, "float64")
        if self.unlike is not None:
            types["stopped_epoch"] = "Int64"
        rows = []
        for info, means in zip(self.studies, self.confirmed, strict=True):
            found = {mean.number: mean for mean in means}
            knee = None if self.is_history else info.knee
            for point in info.points:
                row: list[Any] = [info.study, point.number, point.loss_terms, point.on_front]
                row += [point is knee, *point.values]
                mean = found.get(point.number)
                if mean is not None:
                    row.append(mean.seeds)
                    row += chain.from_iterable(zip(mean.values, mean.low, mean.high, strict=True))
                rows.append(row + [None] * (len(types) - len(row)))
        for one in self.stopped:  # of the one study
            row = [self.studies[0].study, one.number, one.loss_terms, False, False, *one.values]
            rows.append([*row, *[None] * (len(types) - len(row) - 1), one.epoch])
        return typed_frame(types, rows)


def fronts_info(
    records: Sequence[StudyRecord],
    confirmed: Sequence[Sequence[ConfirmedMean]],
    *,
    rungs: bool = False,
) -> FrontsInfo:
    """The fronts of these studies.

    Args:
        records: at least one.
        confirmed: one entry a record.
        rungs: also the trials that were stopped at rungs, of one study.

    Raises:
        NothingToDrawError: if they have one objective.
        ParameterError: if their objectives differ, or several studies are given with `rungs`.
    """
    shared_objectives(records)
    check_several(records[0], "pareto")
    info = FrontsInfo(
        studies=tuple(pareto_info(record) for record in records),
        confirmed=tuple(tuple(means) for means in confirmed),
    )
    return _with_stopped(info, records) if rungs else info


def _with_stopped(info: FrontsInfo, records: Sequence[StudyRecord]) -> FrontsInfo:
    """With the trials of one study that were stopped at rungs."""
    if len(records) > 1:
        raise ParameterError(f"--rungs: needs one study, got {len(records)}. Draw one at a time.")
    (record,) = records
    at_rungs = [row for row in record.rows if row.state == "PRUNED" and row.rungs]
    stopped = [_stopped(record, row) for row in at_rungs]
    known = tuple(one for one in stopped if one is not None)
    return replace(info, stopped=known, unlike=stopped.count(None))


def _stopped(record: StudyRecord, row: RowRecord) -> StoppedTrial | None:
    """A stopped trial at its last rung; None if it was not scored there as after the last epoch."""
    rung = row.rungs[-1]
    metrics = (objective.metric for objective in record.study.objectives)
    values = tuple(rung.scores.get(metric, math.nan) for metric in metrics)
    if rung.images or not all(map(math.isfinite, values)):
        return None
    return StoppedTrial(row.number, rung.epoch, values, record.loss_terms(row))


def history_info(
    records: Sequence[StudyRecord],
    confirmed: Sequence[Sequence[ConfirmedMean]],
    *,
    rungs: bool = False,
) -> FrontsInfo:
    """The values of one objective in the order in which the trials ended, and the best so far.

    Args and errors: as `fronts_info`, of studies with one objective.  A reference is at 0 trials.
    """
    objectives = shared_objectives(records)
    if len(objectives) > 1:
        count = len(objectives)
        raise NothingToDrawError(
            records[0].name,
            "history",
            f"needs one objective, got {count}",
            "Draw pareto or hypervolume.",
        )
    studies, means = [], []
    for record, of_study in zip(records, confirmed, strict=True):
        places = {row.number: place for place, row in enumerate(ended_rows(record), 1)}
        studies.append(_history(pareto_info(record), places))
        means.append(tuple(_at_place(mean, places[mean.number]) for mean in of_study))
    info = FrontsInfo(tuple(studies), tuple(means))
    if not rungs:
        return info
    info = _with_stopped(info, records)
    placed = (one._replace(values=(float(places[one.number]), *one.values)) for one in info.stopped)
    return replace(info, stopped=tuple(placed))


def ended_rows(record: StudyRecord) -> list[RowRecord]:
    """The rows that have ended, in the order in which they did; equal times by number."""
    return sorted(
        (row for row in record.rows if row.state in TERMINAL and row.finished is not None),
        key=attrgetter("end_order"),
    )


def _history(info: ParetoInfo, places: Mapping[int, int]) -> ParetoInfo:
    objectives = (ObjectiveSettings(metric=ENDED, direction="minimize"), *info.objectives)
    points = [one for one in info.points if one.number in places]
    values = [(float(places[one.number]), *one.values) for one in points]
    counted = [
        (math.nan,) * 2 if one.violation else of for one, of in zip(points, values, strict=True)
    ]
    on_front = nondominated(counted, objectives).tolist()
    return replace(
        info,
        objectives=objectives,
        points=tuple(
            one._replace(values=of_point, on_front=best)
            for one, of_point, best in zip(points, values, on_front, strict=True)
        ),
        references={name: (0.0, *of_name) for name, of_name in info.references.items()},
        reference_point=None,
        hypervolume=None,
        curves=(),
    )


def _at_place(mean: ConfirmedMean, place: int) -> ConfirmedMean:
    return replace(
        mean,
        values=(float(place), *mean.values),
        low=(math.nan, *mean.low),
        high=(math.nan, *mean.high),
        sds=(math.nan, *mean.sds),
    )
