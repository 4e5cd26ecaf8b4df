"""What every number of a study stands on: what is said under each figure and table of it."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain

from ablate.analysis.marks import result_marks
from ablate.analysis.metrics import metric_split
from ablate.ledger.record import StudyRecord
from ablate.study.scores import Scores
from ablate.study.settings import ObjectiveSettings


@dataclass(frozen=True)
class Basis:
    """Which study, on what data, by how many trials.

    Attributes:
        study, question, fingerprint: of the study.
        subject: what is trained: data set and model, or the function that trains.
        trials: N, the rows that the finished study has; complete: of them.
        split: "validation" or "test", of the first objective that has one; None where a training
            loop of the user's own names its metrics freely.
        n_images: images in that split; None before anything is scored, and for such a loop.
        n_corrupted: images in each corrupted copy of it; None as above.
        mean_over: what robust accuracy is the mean of, "families" or "types"; None as above.
        seed: of the finetuning, one for all trials of a search; None of an ablation, whose runs
            have seeds of their own, and of another tool's study, which does not say.
        marks: what has to be said beside the numbers.
    """

    study: str
    question: str
    subject: str
    fingerprint: str
    objectives: tuple[ObjectiveSettings, ...]
    trials: int
    complete: int
    split: str | None
    n_images: int | None
    n_corrupted: int | None
    mean_over: str | None
    seed: int | None
    marks: tuple[str, ...]


def study_basis(record: StudyRecord) -> Basis:
    """The basis of a study's numbers, at the moment at which its record was read."""
    study = record.study
    own_loop = study.trainable is not None
    complete = record.complete
    scored = chain(record.references.values(), (row.scores for row in complete))
    first = next((scores for scores in scored if isinstance(scores, Scores)), None)
    splits = (metric_split(objective.metric) for objective in study.objectives)
    return Basis(
        study=record.name,
        question=study.question,
        subject=study.trainable or f"{study.dataset.name}, {study.model.name}",
        fingerprint=record.fingerprint,
        objectives=study.objectives,
        trials=record.trials,
        complete=len(complete),
        split=next((split for split in splits if split), None if own_loop else "validation"),
        n_images=first.n_images if first else None,
        n_corrupted=(first.n_corrupted or first.n_images) if first else None,
        mean_over=first.mean_over if first else None,
        seed=None if record.foreign or record.design is not None else study.finetune.seed,
        marks=result_marks(record),
    )
