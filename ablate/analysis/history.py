"""How the hypervolume of a search grew, trial by trial."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ablate.analysis.caveats import Basis, study_basis
from ablate.analysis.drawn import LARGEST, MOST_OBJECTIVES, is_beyond
from ablate.analysis.frame import typed_frame
from ablate.analysis.fronts import ConfirmedMean, ended_rows
from ablate.analysis.hypervolume import as_table, check_reference_point, hypervolume, maximised
from ablate.analysis.objectives import check_several, shared_objectives
from ablate.analysis.summary import complete_values
from ablate.errors import NothingToDrawError
from ablate.ledger.record import StudyRecord
from ablate.study.settings import ObjectiveSettings

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class HypervolumeCurve(Basis):
    """The hypervolume of one study after each complete trial, in order of completion.

    Attributes:
        numbers: of the complete trials, in that order; equal times by number.
        ended: number of trials that had ended by then, in any state.
        hypervolume: after each of them.
        ended_in_all: total number of ended trials.
        own_reference_point: of its ledger, which may differ from the figure's.
        confirmed: hypervolume of the confirmed means; None without a confirmation.
        confirmed_trials: number of these means.
    """

    numbers: NDArray[np.int64]
    ended: NDArray[np.int64]
    hypervolume: NDArray[np.float64]
    ended_in_all: int
    own_reference_point: tuple[float, ...] | None
    confirmed: float | None
    confirmed_trials: int


@dataclass(frozen=True)
class HypervolumeInfo:
    """Hypervolumes of studies with the same objectives, against one reference point.

    Attributes:
        studies: at least one; without entries before the first complete trial.
        reference_point: of the first study that has one.
    """

    studies: tuple[HypervolumeCurve, ...]
    reference_point: tuple[float, ...]

    @property
    def has_own_reference_points(self) -> bool:
        """Whether a study's reference point differs from the figure's."""
        own = {study.own_reference_point for study in self.studies}
        return bool(own - {None, self.reference_point})

    def frame(self) -> pd.DataFrame:
        """One row a complete trial, in the order in which they ended.

        Columns: study (text), number, ended_trials (int64), hypervolume (float64).
        """
        rows = [
            (study.study, *row)
            for study in self.studies
            for row in zip(study.numbers, study.ended, study.hypervolume, strict=True)
        ]
        types = {"study": "string", "number": "int64", "ended_trials": "int64"}
        return typed_frame(types | {"hypervolume": "float64"}, rows)


def hypervolume_info(
    records: Sequence[StudyRecord], confirmed: Sequence[Sequence[ConfirmedMean]]
) -> HypervolumeInfo:
    """How the hypervolume of these studies grew.

    Args:
        records: at least one, of searches.
        confirmed: one entry a record.

    Raises:
        NothingToDrawError: if no study has a reference point, they have one objective or more
            than `MOST_OBJECTIVES`, or the volume is beyond what can be drawn.
        ParameterError: if their objectives differ, or the reference point has another number of
            values.
    """
    objectives, name = shared_objectives(records), records[0].name
    check_several(records[0], "hypervolume")
    if len(objectives) > MOST_OBJECTIVES:
        raise NothingToDrawError(
            name,
            "hypervolume",
            f"supports at most {MOST_OBJECTIVES} objectives, got {len(objectives)}",
            "Draw pareto.",
        )
    points = (record.reference_point for record in records)
    reference_point = next((point for point in points if point is not None), None)
    if reference_point is None:
        raise NothingToDrawError(name, "hypervolume", *_without_reference(records[0]))
    curves = []
    for record, means in zip(records, confirmed, strict=True):
        kept = [mean.values for mean in means if not mean.violation]
        ended = ended_rows(record)
        complete = np.flatnonzero([row.values is not None for row in ended])
        values = complete_values(ended, record.bounds)
        curves.append(
            HypervolumeCurve(
                **vars(study_basis(record)),
                numbers=np.array([row.number for row in ended], dtype=np.int64)[complete],
                ended=complete + 1,
                hypervolume=hypervolume_steps(values, objectives, reference_point),
                ended_in_all=len(ended),
                own_reference_point=record.reference_point,
                confirmed=hypervolume(kept, objectives, reference_point) if means else None,
                confirmed_trials=len(means),
            )
        )
    if any(is_beyond(float(curve.hypervolume.max(initial=0.0))) for curve in curves):
        raise NothingToDrawError(
            name,
            "hypervolume",
            f"supports volumes up to {LARGEST:g}, got a larger one",
            "Draw pareto.",
        )
    return HypervolumeInfo(tuple(curves), reference_point)


def _without_reference(record: StudyRecord) -> tuple[str, str]:
    """Reason and fix."""
    reason = "needs a reference point, got none"
    if record.foreign:
        return f"{reason}: a study of another tool has none", "Draw pareto."
    if record.study.trainable is None:
        return f"{reason}: its baseline is not scored yet", "Launch it."
    return reason, "Set search.reference_point in the study file before launching."


# -- The hypervolume after each of a sequence of points ------------------------------------
#
# Source: the sweep over a sorted front of Fonseca et al. 2006, one point at a time; with more than
# two objectives moocore's hypervolume, asked only when the front changes.


def hypervolume_steps(
    values: ArrayLike, objectives: Sequence[ObjectiveSettings], reference_point: Sequence[float]
) -> NDArray[np.float64]:
    """The hypervolume of the first point, of the first two, and so on.

    Args:
        values: in their order, one row a point, one column an objective; may have no row. Points
            with a NaN or an infinity, and points no better than the reference, add nothing.
        objectives: their directions.
        reference_point: one value an objective, in its own unit and direction.

    Returns:
        One number a point, none less than the one before it; the last is that of
        `ablate.analysis.hypervolume`. A hundred thousand points of two objectives take a fraction
        of a second.

    Raises:
        ParameterError: if the reference point has another number of values.
    """
    check_reference_point(reference_point, objectives)
    signs = np.where(maximised(objectives), 1.0, -1.0)
    gains = (as_table(values, len(objectives)) - np.asarray(reference_point, dtype=float)) * signs
    counts = np.isfinite(gains).all(axis=1) & (gains > 0).all(axis=1)
    added = np.zeros(len(gains))
    added[counts] = (_swept if len(objectives) == 2 else _asked)(gains[counts])
    steps: NDArray[np.float64] = np.cumsum(added)
    return steps


def _swept(gains: NDArray[np.float64]) -> list[float]:
    """What each point adds; two objectives, both maximised, the reference at the origin.

    The front is kept sorted: x ascends, y descends. A point is dominated if its right neighbour is
    as high; else it takes the place of those to its left that are not higher.
    """
    front: list[float] = []
    height: dict[float, float] = {}
    added = []
    for x, y in gains.tolist():
        place = bisect_left(front, x)
        right = height[front[place]] if place < len(front) else 0.0
        if right >= y:
            added.append(0.0)
            continue
        area = (x - _left(front, place)) * (y - right)
        first = place
        while first and height[front[first - 1]] <= y:
            first -= 1
            area += (front[first] - _left(front, first)) * (y - height[front[first]])
        last = place + (place < len(front) and front[place] == x)
        for gone in front[first:last]:
            del height[gone]
        front[first:last] = [x]
        height[x] = y
        added.append(area)
    return added


def _left(front: list[float], place: int) -> float:
    return front[place - 1] if place else 0.0


def _asked(gains: NDArray[np.float64]) -> list[float]:
    """The same of any number of objectives."""
    import moocore

    measure = moocore.Hypervolume(ref=np.zeros(gains.shape[1]), maximise=True)
    front = np.empty((0, gains.shape[1]))
    volume = 0.0
    added = []
    for gain in gains:
        if (front >= gain).all(axis=1).any():
            added.append(0.0)
            continue
        front = np.vstack([front[~(front <= gain).all(axis=1)], gain])
        before, volume = volume, float(measure(front))
        added.append(volume - before)
    return added
