"""How the hypervolume of a search grew: by trials, by epochs, by time at work."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ablate.analysis.accounting import attempt_end
from ablate.analysis.basis import Basis, study_basis
from ablate.analysis.bounds import LARGEST, MOST_OBJECTIVES, is_beyond
from ablate.analysis.fronts import ConfirmedMean
from ablate.analysis.hypervolume import hypervolume
from ablate.analysis.hypervolume_steps import hypervolume_steps
from ablate.analysis.objectives import shared_objectives
from ablate.errors import NothingToDrawError
from ablate.ledger.record import TERMINAL, RowRecord, StudyRecord

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Spent:
    """What a study had spent at each of some moments, rows that ended until then.

    Attributes:
        trials: that had ended, complete or not.
        epochs: of all their attempts, those of pruned, failed and broken off ones too.
        hours: in which at least one attempt was at work, so that pauses do not count.
    """

    trials: NDArray[np.int64]
    epochs: NDArray[np.int64]
    hours: NDArray[np.float64]


@dataclass(frozen=True)
class HypervolumeCurve(Basis):
    """The hypervolume of one study, after each complete trial in the order in which they ended.

    Attributes:
        numbers: of the complete trials, in that order; equal moments by number.
        hypervolume: after each of them; spent: what it had taken until then.
        total: one entry, after the last trial that ended.
        own_reference_point: that its ledger holds, which may be another than the figure's.
        confirmed: hypervolume of the confirmed means; None where nothing was confirmed.
        confirmed_trials: how many means that are.
    """

    numbers: NDArray[np.int64]
    hypervolume: NDArray[np.float64]
    spent: Spent
    total: Spent
    own_reference_point: tuple[float, ...] | None
    confirmed: float | None
    confirmed_trials: int


@dataclass(frozen=True)
class HypervolumeInfo:
    """Hypervolumes of studies with the same objectives, against one reference point.

    Attributes:
        studies: at least one; without an entry before the first trial is complete.
        reference_point: of the first study that has one.
    """

    studies: tuple[HypervolumeCurve, ...]
    reference_point: tuple[float, ...]

    @property
    def has_own_reference_points(self) -> bool:
        """Whether any study has a reference point of its own that is not the figure's."""
        own = {study.own_reference_point for study in self.studies}
        return bool(own - {None, self.reference_point})

    def frame(self) -> pd.DataFrame:
        """One row a complete trial, in the order in which they ended.

        Columns: study (text), number, ended_trials, epochs (int64), hours, hypervolume (float64).
        """
        import pandas as pd

        return pd.concat(
            [
                pd.DataFrame(
                    {
                        "study": study.study,
                        "number": study.numbers,
                        "ended_trials": study.spent.trials,
                        "epochs": study.spent.epochs,
                        "hours": study.spent.hours,
                        "hypervolume": study.hypervolume,
                    }
                )
                for study in self.studies
            ],
            ignore_index=True,
        )


def hypervolume_info(
    records: Sequence[StudyRecord], confirmed: Sequence[Sequence[ConfirmedMean]]
) -> HypervolumeInfo:
    """How the hypervolume of these studies grew.

    Args:
        records: at least one, of searches.
        confirmed: one entry a record.

    Raises:
        NothingToDrawError: if no study has a reference point, they have more than
            `MOST_OBJECTIVES` objectives, or the volume is beyond what can be drawn.
        ParameterError: if their objectives differ, or the reference point has another number of
            values.
    """
    objectives = shared_objectives(records)
    if len(objectives) > MOST_OBJECTIVES:
        raise NothingToDrawError(
            f"study {records[0].name}: figure hypervolume is of at most {MOST_OBJECTIVES} "
            f"objectives, got {len(objectives)}. Draw pareto."
        )
    points = (record.reference_point for record in records)
    reference_point = next((point for point in points if point is not None), None)
    if reference_point is None:
        raise NothingToDrawError(_without_reference(records[0]))
    curves = []
    for record, means in zip(records, confirmed, strict=True):
        ended = sorted(
            (row for row in record.rows if row.state in TERMINAL and row.finished is not None),
            key=lambda row: (_moment(row), row.number),
        )
        spent = _spent(ended)
        complete = np.array([row.values is not None for row in ended], dtype=bool)
        values = [row.values for row in ended if row.values is not None]
        curves.append(
            HypervolumeCurve(
                **vars(study_basis(record)),
                numbers=np.array([row.number for row in ended], dtype=np.int64)[complete],
                hypervolume=hypervolume_steps(values, objectives, reference_point),
                spent=_at(spent, complete),
                total=_at(spent, np.arange(len(ended)) == len(ended) - 1),
                own_reference_point=record.reference_point,
                confirmed=hypervolume([mean.values for mean in means], objectives, reference_point)
                if means
                else None,
                confirmed_trials=len(means),
            )
        )
    if any(is_beyond(float(curve.hypervolume.max(initial=0.0))) for curve in curves):
        raise NothingToDrawError(
            f"study {records[0].name}: figure hypervolume is of volumes up to {LARGEST:g}, got a "
            "larger one. Draw pareto."
        )
    return HypervolumeInfo(tuple(curves), reference_point)


def _without_reference(record: StudyRecord) -> str:
    head = f"study {record.name}: figure hypervolume needs a reference point, got none"
    if record.foreign:
        return f"{head}: another tool's study has none. Draw pareto."
    if record.study.trainable is None:
        return f"{head}: its baseline is not scored yet. Launch it."
    return f"{head}. Write search.reference_point into the study file before it is launched."


def _spent(ended: Sequence[RowRecord]) -> Spent:
    """At the end of each row, in this order."""
    epochs = [_epochs(row) for row in ended]
    moments = np.array([_moment(row) for row in ended], dtype=np.float64)
    return Spent(
        trials=np.arange(1, len(ended) + 1, dtype=np.int64),
        epochs=np.cumsum(np.array(epochs, dtype=np.int64)),
        hours=_busy_seconds(ended, moments) / 3600,
    )


def _at(spent: Spent, mask: NDArray[np.bool_]) -> Spent:
    return replace(
        spent, trials=spent.trials[mask], epochs=spent.epochs[mask], hours=spent.hours[mask]
    )


def _epochs(row: RowRecord) -> int:
    """Epochs that were trained for a row, those of attempts that came to nothing too."""
    of_attempts = sum(max(0, one.epochs - one.first_epoch) for one in row.attempts)
    return max(of_attempts, len(row.curve))


def _busy_seconds(ended: Sequence[RowRecord], moments: NDArray[np.float64]) -> NDArray[np.float64]:
    """Time until each moment in which at least one of these rows was at work."""
    spans = [
        (attempt.started, attempt_end(row, attempt)) for row in ended for attempt in row.attempts
    ] or [(row.started.timestamp(), _moment(row)) for row in ended if row.started is not None]
    if not spans:
        return np.zeros(len(moments))
    starts, ends = np.array(sorted(spans), dtype=np.float64).T
    reached = np.maximum.accumulate(ends)
    # Where a span starts after all before it have ended, a block of work begins.
    begins = np.concatenate([[True], starts[1:] > reached[:-1]])
    begin, end = starts[begins], reached[np.append(begins[1:], True)]
    before = np.concatenate([[0.0], np.cumsum(end - begin)])
    block = np.searchsorted(begin, moments, side="right") - 1
    inside = np.clip(moments - begin[block], 0.0, end[block] - begin[block])
    busy: NDArray[np.float64] = np.where(block < 0, 0.0, before[block] + inside)
    return busy


def _moment(row: RowRecord) -> float:
    assert row.finished is not None
    return row.finished.timestamp()
