"""The Pareto front of a study, ready to be drawn or printed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ablate.analysis.caveats import Basis, study_basis
from ablate.analysis.drawn import kept_with_record
from ablate.analysis.frame import typed_frame
from ablate.analysis.hypervolume import as_table, hypervolume, knee_place, nondominated
from ablate.analysis.objectives import is_score
from ablate.ledger.record import (
    NOT_FINETUNED,
    RowRecord,
    StudyRecord,
    counted_values,
    row_violation,
)
from ablate.study.displayed import Displayed
from ablate.study.mixture import Mixture
from ablate.study.scores import AT_CLEAN_LOSS, AnyScores, Bound, Scores, violation
from ablate.study.settings import ObjectiveSettings

if TYPE_CHECKING:
    import pandas as pd

MOST_LEADING = 5


def point_of(row: RowRecord) -> Mixture:
    """The network whose scores are the row's."""
    return Mixture((row.number,), 1.0 if row.path is None else row.path.alpha)


class ParetoPoint(NamedTuple):
    """A complete trial, or a mixture.

    Attributes:
        values: one per objective; with NaN it is never on the front.
        params: resolved, by dotted key.
        loss_terms: in one order, such as "clean+fma"; empty for a custom training loop.
        copy_of: number of the trial with the same point whose scores it copies.
        violation: of constraints (`ablate.study.scores.violation`); above 0 it is not on the front.
        is_mixture: it is no row: it was made of rows, and has no parameters of its own; `number`
            and `origin` are not its own.
    """

    point: Mixture
    values: tuple[float, ...]
    params: Mapping[str, Any]
    scores: AnyScores | None
    loss_terms: str
    on_front: bool
    copy_of: int | None = None
    violation: float = 0.0
    is_mixture: bool = False

    @property
    def number(self) -> int:
        return self.point.trials[0]

    @property
    def origin(self) -> int:
        """The trial that has its weights and bits: a copy has those of its original."""
        return self.number if self.copy_of is None else self.copy_of

    @property
    def name(self) -> str:
        return self.point.name

    @property
    def counted(self) -> tuple[float, ...]:
        """Its values; NaN if it violates a constraint."""
        return (math.nan,) * len(self.values) if self.violation else self.values

    @property
    def retrained(self) -> dict[str, Any]:
        """The values with which this network is trained again: parameters, and alpha."""
        if self.point.alpha == 1:
            return dict(self.params)
        return {**self.params, "finetune.interpolation": {"alpha": self.point.alpha}}


@dataclass(frozen=True)
class ParetoInfo(Displayed, Basis):
    """The result of a search: only complete trials, at the full budget.

    Attributes:
        points: the trials, by number. Equal points are all on the front or all off it.
        mixtures: that were scored, in that order; on one front with the trials.
        references: one value an objective; NaN of what is no accuracy if it was not finetuned.
        reference_point: of the hypervolume; None before the baseline is scored, and if a study
            without a baseline defines none.
        hypervolume: of trials and mixtures that keep all constraints; None without a reference
            point.
        outside: complete trials that do not count since the space was edited.
        curves: values of the networks between the baseline and a trial of the front, by number.
        bounds: of the study's constraints.
        refused: averages that are no mixture, and why.
    """

    points: tuple[ParetoPoint, ...]
    mixtures: tuple[ParetoPoint, ...]
    references: Mapping[str, tuple[float, ...]]
    reference_point: tuple[float, ...] | None
    hypervolume: float | None
    curves: Mapping[int, Sequence[tuple[float, ...]]]
    bounds: tuple[Bound, ...]
    refused: tuple[str, ...] = ()
    outside: tuple[ParetoPoint, ...] = ()

    @cached_property
    def values(self) -> NDArray[np.float64]:
        """`[points, objectives]`, not to be written into."""
        return as_table([point.values for point in self.points], len(self.objectives))

    @cached_property
    def counted(self) -> NDArray[np.float64]:
        """Values of trials and mixtures, with NaN for those that violate a constraint; not to be
        written into."""
        counted = [each.counted for each in (*self.points, *self.mixtures)]
        return as_table(counted, len(self.objectives))

    @cached_property
    def is_on_front(self) -> NDArray[np.bool_]:
        """One bool a point, not to be written into."""
        return np.array([point.on_front for point in self.points], dtype=bool)

    @cached_property
    def front(self) -> tuple[ParetoPoint, ...]:
        """The networks on the front, in the order of `ranked`; of one objective the best, or all
        that are equal to it."""
        return tuple(point for point in self.ranked if point.on_front)

    @property
    def leading(self) -> tuple[ParetoPoint, ...]:
        """The points of a table: the front; of one objective the `MOST_LEADING` best."""
        return self.ranked[:MOST_LEADING] if len(self.objectives) == 1 else self.front

    @cached_property
    def ranked(self) -> tuple[ParetoPoint, ...]:
        """Trials and mixtures that keep all constraints and have a number for the first objective,
        best first, then trials by number."""
        sign = -1.0 if self.objectives[0].direction == "maximize" else 1.0
        kept = (
            each
            for each in (*self.points, *self.mixtures)
            if not each.violation and math.isfinite(each.values[0])
        )

        def place(each: ParetoPoint) -> tuple[float, bool, Mixture]:
            return sign * each.values[0], each.is_mixture, each.point

        return tuple(sorted(kept, key=place))

    @property
    def picked(self) -> ParetoPoint | None:
        """The knee of the front (`knee_place`); None without a front."""
        values = [point.values for point in self.front]
        return self.front[knee_place(values, self.objectives)] if values else None

    def frame(self) -> pd.DataFrame:
        """One row a complete trial: number, loss_terms, on_front, and a column an objective."""
        types = {"number": "int64", "loss_terms": "string", "on_front": "bool"}
        types |= {objective.metric: "float64" for objective in self.objectives}
        rows = [
            (point.number, point.loss_terms, point.on_front, *point.values) for point in self.points
        ]
        return typed_frame(types, rows)

    def gains(self, values: tuple[float, ...]) -> tuple[float, ...]:
        """How much better than the baseline, in the objectives' units; positive is better.

        NaN where there is no baseline, and for whatever is no accuracy.
        """
        baseline = self.references.get("baseline", (math.nan,) * len(values))
        return tuple(
            value - before if objective.direction == "maximize" else before - value
            for value, before, objective in zip(values, baseline, self.objectives, strict=True)
        )


@kept_with_record
def pareto_info(record: StudyRecord) -> ParetoInfo:
    """The front of a study's complete trials and of their mixtures.

    Raises:
        ParameterError: if the record's reference point has another number of values than there
            are objectives.
    """
    objectives, curves = record.study.objectives, {}
    # A metric at a clean loss is of the whole curve.
    has_curves = not any(one.metric.endswith(AT_CLEAN_LOSS) for one in objectives)
    rows = [row for row in record.complete if row.values is not None]
    mixed = mixture_points(record)
    kept = [counted_values(row, record.bounds) for row in rows]
    kept += [each.counted for each in mixed]
    counted = as_table(kept, len(objectives))
    on_front = nondominated(counted, objectives).tolist()
    points = list[ParetoPoint]()
    for row, is_on_front in zip(rows, on_front, strict=False):
        terms, violated = record.loss_terms(row), row_violation(row, record.bounds)
        # Made by place: 10,000 of them are a good part of what a figure takes.
        own = (row.params, row.scores, terms, is_on_front, row.copy_of, violated)
        points.append(ParetoPoint(point_of(row), row.values or (), *own))
        if has_curves and is_on_front and row.path and isinstance(row.scores, Scores):
            scored = zip(row.path.alphas, row.path.all_scores(row.scores), strict=True)
            names = (("trial" if alpha else "baseline", scores) for alpha, scores in scored)
            curves[row.number] = [reference_values(*of_alpha, objectives) for of_alpha in names]
    mixtures = zip(mixed, on_front[len(rows) :], strict=True)
    return ParetoInfo(
        **vars(study_basis(record)),
        points=tuple(sorted(points, key=lambda point: point.number)),
        mixtures=tuple(each._replace(on_front=is_on_front) for each, is_on_front in mixtures),
        references={
            name: reference_values(name, scores, objectives)
            for name, scores in record.references.items()
        },
        reference_point=record.reference_point,
        hypervolume=hypervolume(counted, objectives, record.reference_point),
        curves=curves,
        bounds=record.bounds,
        refused=record.shown_mixtures.notes,
        outside=tuple(
            ParetoPoint(point_of(row), row.values, row.params, row.scores, "", on_front=False)
            for row in record.rows
            if row.state == "OUTSIDE" and row.values is not None
        ),
    )


def mixture_points(record: StudyRecord) -> list[ParetoPoint]:
    """The mixtures, on no front yet; what all trials of one have in common is its own."""
    found, by_number = [], {row.number: row for row in record.rows}
    for scored in record.shown_mixtures.scored:
        if not by_number.keys() >= {*scored.trials}:  # of some rows alone
            continue
        rows, metrics = [by_number[number] for number in scored.trials], scored.scores.metrics()
        values = tuple(metrics[objective.metric] for objective in record.study.objectives)
        params = rows[0].params if len(rows) == 1 else {}
        terms = {record.loss_terms(row) for row in rows}
        found.append(
            ParetoPoint(
                scored.mixture,
                values,
                params,
                scored.scores,
                terms.pop() if len(terms) == 1 else "",
                on_front=False,
                violation=violation(record.bounds, metrics),
                is_mixture=True,
            )
        )
    return found


def reference_values(
    name: str, scores: Scores, objectives: Sequence[ObjectiveSettings]
) -> tuple[float, ...]:
    """The values of a reference: NaN of what is no score if it was not finetuned."""
    known, metrics = scores.metrics(), (objective.metric for objective in objectives)
    was_finetuned = name not in NOT_FINETUNED
    return tuple(
        known.get(metric, math.nan) if is_score(metric) or was_finetuned else math.nan
        for metric in metrics
    )


def shared_references(infos: Sequence[ParetoInfo]) -> dict[str, tuple[float, ...]]:
    """The references that have the same values in all studies with them."""
    found = dict[str, list[tuple[float, ...]]]()
    for name, values in (one for info in infos for one in info.references.items()):
        found.setdefault(name, []).append(values)
    alike = partial(np.allclose, rtol=0, atol=1e-9, equal_nan=True)
    return {name: values[0] for name, values in found.items() if alike(values, values[0])}
