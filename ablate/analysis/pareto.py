"""The Pareto front of a study, ready to be drawn or printed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ablate.analysis.dominance import nondominated
from ablate.analysis.hypervolume import hypervolume
from ablate.analysis.marks import result_marks
from ablate.analysis.metrics import is_accuracy, metric_split
from ablate.ledger.record import StudyRecord
from ablate.study.scores import AnyScores, Scores
from ablate.study.settings import ObjectiveSettings


@dataclass(frozen=True)
class ParetoPoint:
    """A complete trial.

    Attributes:
        values: one an objective; NaN where it is not a number, and then never on the front.
        params: resolved, by dotted key.
        scores: of the finetuned network, or whatever a training loop of the user's own reported.
        loss_terms: as written, such as "clean+fma"; the study's where it is not searched; empty
            in a study with a training loop of the user's own.
    """

    number: int
    values: tuple[float, ...]
    params: Mapping[str, Any]
    scores: AnyScores | None
    loss_terms: str
    on_front: bool


@dataclass(frozen=True)
class ParetoInfo:
    """What a search has found: complete trials only, all at the full budget.

    Attributes:
        study, question, fingerprint: of the study.
        subject: what is trained: data set and model, or the function that trains.
        trials: N, the rows that the finished study has.
        points: by number; empty before the first trial is complete. Equal points are all on the
            front or all off it.
        references: "baseline" and "plain", as far as they are scored, one value an objective. The
            baseline has NaN for whatever is no accuracy: it was not finetuned.
        reference_point: of the hypervolume; None before the baseline is scored, and where a study
            without a baseline gives none.
        hypervolume: of the points; None without a reference point, 0 without a point.
        split: "validation" or "test", of the first objective that has one; None where a training
            loop of the user's own names its metrics freely.
        n_images: images in that split; None before anything is scored, and for such a loop.
        n_corrupted: images in each corrupted copy of it; None as above.
        mean_over: what robust accuracy is the mean of, "families" or "types"; None as above.
        seed: of the finetuning, one for all trials.
        marks: what has to be said beside the numbers.
    """

    study: str
    question: str
    subject: str
    fingerprint: str
    objectives: tuple[ObjectiveSettings, ...]
    trials: int
    points: tuple[ParetoPoint, ...]
    references: Mapping[str, tuple[float, ...]]
    reference_point: tuple[float, ...] | None
    hypervolume: float | None
    split: str | None
    n_images: int | None
    n_corrupted: int | None
    mean_over: str | None
    seed: int
    marks: tuple[str, ...]

    @property
    def front(self) -> tuple[ParetoPoint, ...]:
        """The points on the front, best first in the first objective, then by number."""
        sign = -1.0 if self.objectives[0].direction == "maximize" else 1.0
        on_front = (point for point in self.points if point.on_front)
        return tuple(sorted(on_front, key=lambda point: (sign * point.values[0], point.number)))

    def gains(self, values: tuple[float, ...]) -> tuple[float, ...]:
        """How much better than the baseline, in the objectives' units; positive is better.

        NaN where there is no baseline, and for whatever is no accuracy.
        """
        baseline = self.references.get("baseline")
        if baseline is None:
            return (math.nan,) * len(values)
        return tuple(
            value - of_baseline if objective.direction == "maximize" else of_baseline - value
            for value, of_baseline, objective in zip(values, baseline, self.objectives, strict=True)
        )


def pareto_info(record: StudyRecord) -> ParetoInfo:
    """The front of a study's complete trials.

    Args:
        record: with any number of rows; all but the complete ones are left out.

    Raises:
        ParameterError: if the record's reference point has another number of values than there
            are objectives.
    """
    study = record.study
    objectives = study.objectives
    own_loop = study.trainable is not None
    rows = [row for row in record.complete if row.values is not None]
    values = [row.values for row in rows if row.values is not None]
    points = tuple(
        ParetoPoint(
            number=row.number,
            values=of_row,
            params=row.params,
            scores=row.scores,
            loss_terms="" if own_loop else str(row.params.get("loss.terms", study.loss.terms)),
            on_front=bool(on_front),
        )
        for row, of_row, on_front in zip(
            rows, values, nondominated(values, objectives), strict=True
        )
    )
    scored = [*record.references.values(), *(row.scores for row in rows)]
    first = next((scores for scores in scored if isinstance(scores, Scores)), None)
    splits = (metric_split(objective.metric) for objective in objectives)
    return ParetoInfo(
        study=record.name,
        question=study.question,
        subject=study.trainable or f"{study.dataset.name}, {study.model.name}",
        fingerprint=record.fingerprint,
        objectives=objectives,
        trials=record.trials,
        points=tuple(sorted(points, key=lambda point: point.number)),
        references={
            name: _reference_values(name, scores, objectives)
            for name, scores in record.references.items()
        },
        reference_point=record.reference_point,
        hypervolume=hypervolume(values, objectives, record.reference_point),
        split=next((split for split in splits if split), None if own_loop else "validation"),
        n_images=first.n_images if first else None,
        n_corrupted=(first.n_corrupted or first.n_images) if first else None,
        mean_over=first.mean_over if first else None,
        seed=study.finetune.seed,
        marks=result_marks(record),
    )


def _reference_values(
    name: str, scores: Scores, objectives: tuple[ObjectiveSettings, ...]
) -> tuple[float, ...]:
    metrics = scores.metrics()
    return tuple(
        metrics.get(objective.metric, math.nan)
        if is_accuracy(objective.metric) or name != "baseline"
        else math.nan
        for objective in objectives
    )
