"""Values of each trial by epoch, and the comparisons by a pruner."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import median
from typing import TYPE_CHECKING, Any

from ablate.analysis.caveats import Basis, study_basis
from ablate.analysis.frame import typed_frame
from ablate.analysis.pareto import pareto_info
from ablate.errors import NothingToDrawError, ParameterError, did_you_mean
from ablate.ledger.record import RowRecord, Rung, State, StudyRecord
from ablate.study.metrics import larger_is_better
from ablate.study.settings import ObjectiveSettings

if TYPE_CHECKING:
    import pandas as pd

TRAIN_LOSS = "train_loss"
UNKNOWN_METRIC = "Value at the rung"
"""Of the rungs of a study whose pruner was taken out of its file since."""
MOST_DRAWN = 500
"""Lines in one figure: more are a blot, and a page of megabytes."""


@dataclass(frozen=True)
class Curve:
    """One trial, epoch by epoch.

    Attributes:
        group: its loss terms; of an ablation its cell; empty for a custom training loop without
            cells.
        loss_terms: in one order; empty for a custom training loop.
        on_front: of the complete trials of a search.
        epochs: from 1, increasing; values: one per epoch, NaN if not finite.
        rungs: comparisons by a pruner, by epoch.
    """

    number: int
    state: State
    group: str
    loss_terms: str
    on_front: bool
    epochs: tuple[int, ...]
    values: tuple[float, ...]
    rungs: tuple[Rung, ...]


@dataclass(frozen=True)
class CurvesInfo(Basis):
    """The curves of a study.

    Attributes:
        metric: of the curves: "train_loss", or one that a custom training loop reports.
        rung_metrics: of the scores at rungs, those that were compared first, or the one that was
            asked for; none if no trial was compared.
        curves: by number; of trials with an epoch or a rung at most `MOST_DRAWN`: the front, then
            an even selection of the others.
        found: number of such trials.
        seeds: of an ablation, largest number of runs per cell; None: a search.
        own_losses: whether losses differ between trials, because terms or weights are searched;
            then only shares of the loss of the first epoch are comparable.
    """

    metric: str
    rung_metrics: tuple[str, ...]
    curves: tuple[Curve, ...]
    found: int
    seeds: int | None
    own_losses: bool

    def shown(self, curve: Curve) -> tuple[float, ...]:
        """The values of a curve that compare with those of others: with `own_losses` as shares of
        the first, NaN if that is not above 0."""
        if not self.own_losses or not curve.values:
            return curve.values
        first = curve.values[0] if curve.values[0] > 0 else math.nan
        return tuple(value / first for value in curve.values)

    def compared_as(self, metric: str) -> ObjectiveSettings:
        """A metric of a pruner as an objective."""
        is_larger = larger_is_better(metric, self.objectives)
        return ObjectiveSettings(metric=metric, direction="maximize" if is_larger else "minimize")

    def above_median(self, rung: Rung, metric: str) -> float:
        """A rung's score less the median of the shown trials at its epoch, which makes rungs
        comparable; NaN if it is not finite."""
        return rung.value(metric) - self._medians.get((rung.epoch, metric), math.nan)

    @cached_property
    def _medians(self) -> dict[tuple[int, str], float]:
        at: dict[tuple[int, str], list[float]] = {}
        for curve in self.curves:
            for rung in curve.rungs:
                for name in self.rung_metrics:
                    value = rung.value(name)
                    at.setdefault((rung.epoch, name), []).extend([value] * math.isfinite(value))
        return {key: median(values) if values else math.nan for key, values in at.items()}

    def frame(self) -> pd.DataFrame:
        """One row per epoch, and per rung and metric of `rung_metrics`.

        Columns: number (int64); state, group (text, as in `Curve`); on_front (bool); what, "curve"
        or "rung"; metric (text); epoch (int64); value (float64, NaN if not finite); stop (boolean,
        only at a rung); above_median (float64, only at a rung).
        """
        rows: list[tuple[Any, ...]] = []
        for curve in self.curves:
            trial = (curve.number, curve.state, curve.group, curve.on_front)
            for epoch, value in zip(curve.epochs, curve.values, strict=True):
                rows.append((*trial, "curve", self.metric, epoch, value, None, math.nan))
            for rung in curve.rungs:
                for name in self.rung_metrics:
                    value, above = rung.value(name), self.above_median(rung, name)
                    rows.append((*trial, "rung", name, rung.epoch, value, rung.stop, above))
        types = {"number": "int64", "state": "string", "group": "string", "on_front": "bool"}
        types |= {"what": "string", "metric": "string", "epoch": "int64", "value": "float64"}
        return typed_frame(types | {"stop": "boolean", "above_median": "float64"}, rows)


def curves_info(record: StudyRecord, trials: Sequence[int] = (), objective: str = "") -> CurvesInfo:
    """The curves of a study's trials, in any state.

    Args:
        trials: numbers to show; empty: all.
        objective: the metric to show, by epoch or at the rungs; empty: the training loss of a
            finetuning, for a custom training loop its first objective, or else any reported
            metric; and all metrics at the rungs.

    Raises:
        NothingToDrawError: for a study of another tool, whose trials have no epochs.
        ParameterError: if a trial does not exist, or no trial has reported the metric.
    """
    if record.foreign:
        raise NothingToDrawError(
            record.name,
            "curves",
            "needs values by epoch, got a study of another tool",
            "Draw pareto.",
        )
    there = {row.number for row in record.rows}
    for number in trials:
        if number not in there:
            raise ParameterError(
                f"--trials: must be trials of {record.name}, got {number}. "
                f"It has {len(there)}, from 0."
            )
    rows = [row for row in record.rows if not trials or row.number in trials]
    at_rungs = _rung_metrics(record, rows)
    metric = _metric(record, rows, objective, at_rungs)
    begun = [row for row in rows if row.curve or row.rungs]
    on_front = _front(record)
    chosen = _evenly([row for row in begun if row.number in on_front], MOST_DRAWN)
    others = [row for row in begun if row.number not in on_front]
    chosen += _evenly(others, MOST_DRAWN - len(chosen))
    _check_epochs(record, begun)
    searched = {key for row in chosen for key in row.params}
    return CurvesInfo(
        **vars(study_basis(record)),
        metric=metric,
        rung_metrics=(objective,) if objective in at_rungs else at_rungs,
        curves=tuple(
            _curve(record, row, metric, row.number in on_front)
            for row in sorted(chosen, key=lambda row: row.number)
        ),
        found=len(begun),
        seeds=None if record.design is None else len({row.pair for row in record.rows}),
        own_losses=metric == TRAIN_LOSS and any(key.startswith("loss.") for key in searched),
    )


def _rung_metrics(record: StudyRecord, rows: Sequence[RowRecord]) -> tuple[str, ...]:
    """Of all rungs, in their order; those of ablate 0.1 have no names."""
    pruner = record.study.search.pruner
    unnamed = UNKNOWN_METRIC if pruner is None else pruner.compared(record.study.objectives)[0]
    names = (name or unnamed for row in rows for rung in row.rungs for name in rung.scores)
    return tuple(dict.fromkeys(names))


def _check_epochs(record: StudyRecord, begun: Sequence[RowRecord]) -> None:
    """Refuse a finished study whose trials had one epoch each."""
    longest = max((len(row.curve) for row in begun), default=0)
    if record.is_over and longest == 1 and not any(row.rungs for row in begun):
        raise NothingToDrawError(
            record.name,
            "curves",
            "needs trials with at least two epochs, got one epoch per trial",
            "Draw pareto.",
        )


def _metric(
    record: StudyRecord, rows: Sequence[RowRecord], asked: str, at_rungs: Sequence[str]
) -> str:
    """The metric of the curves: the requested one, or the default of the study."""
    if record.study.trainable is None and asked in ("", TRAIN_LOSS, *at_rungs):
        return TRAIN_LOSS
    entries = [entry for row in rows for entry in row.curve]
    known = dict.fromkeys(name for entry in entries for name in entry.get("scores") or ())
    if any(TRAIN_LOSS in entry for entry in entries):
        known[TRAIN_LOSS] = None
    objectives = [objective.metric for objective in record.study.objectives]
    if asked and asked not in at_rungs:
        if asked not in known:
            raise ParameterError(
                f"--objective: must be reported epoch by epoch in {record.name}, got {asked}. "
                f"{did_you_mean(asked, [*known, *at_rungs])}"
            )
        return asked
    objectives = [asked, *objectives] if asked else objectives
    return next((name for name in (*objectives, *known) if name in known), objectives[0])


def _front(record: StudyRecord) -> set[int]:
    """Numbers of the trials on the front; an ablation has none."""
    if record.design is not None:
        return set()
    return {point.number for point in pareto_info(record).front}


def _curve(record: StudyRecord, row: RowRecord, metric: str, on_front: bool) -> Curve:
    points = [
        (int(entry["epoch"]), value)
        for entry in row.curve
        if (value := _value(entry, metric)) is not None
    ]
    return Curve(
        number=row.number,
        state=row.state,
        group=record.loss_terms(row) if record.design is None else row.cell or "",
        loss_terms=record.loss_terms(row),
        on_front=on_front,
        epochs=tuple(epoch for epoch, _ in points),
        values=tuple(value for _, value in points),
        rungs=row.rungs,
    )


def _value(entry: Mapping[str, Any], metric: str) -> float | None:
    """None if the epoch lacks the metric."""
    value = (entry.get("scores") or {}).get(metric)
    if value is None and metric == TRAIN_LOSS:
        value = entry.get(TRAIN_LOSS)
    if value is None:
        return None
    return float(value) if math.isfinite(value) else math.nan


def _evenly(rows: Sequence[RowRecord], most: int) -> list[RowRecord]:
    """At most so many, with equal steps between them."""
    if len(rows) <= most:
        return list(rows)
    return [rows[place * len(rows) // most] for place in range(most)]
