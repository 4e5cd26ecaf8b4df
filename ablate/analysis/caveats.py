"""What the numbers of a study are based on: data, counts and caveats under figures and tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

from ablate.analysis.drawn import kept_with_record
from ablate.analysis.objectives import is_accuracy, metric_split
from ablate.files.shown import few, show_name, shown_if
from ablate.ledger.record import ADAPTED, Rung, StudyRecord, row_violation
from ablate.robustness.suites import caveats, find_suite
from ablate.study.baseline_checks import WARNING_ERRORS, gain_rule
from ablate.study.scores import Bound, Scores, violation
from ablate.study.settings import ObjectiveSettings


@dataclass(frozen=True)
class StudyFacts:
    """Facts about a study and its data, for searches and ablations.

    Attributes:
        study, question, fingerprint: of the study.
        subject: data set and model, or the training function.
        split: "validation" or "test"; None for a custom training loop, whose metrics have any
            names.
        n_images: images in that split, n_corrupted: scored under a corruption, cell_share: share
            of the types and severities that each of these is scored under, mean_over: what robust
            accuracy is the mean of, "families" or "types"; None before anything is scored, and for
            such a loop.
        marks: caveats to be shown with the numbers.
    """

    study: str
    question: str
    subject: str
    fingerprint: str
    split: str | None
    n_images: int | None
    n_corrupted: int | None
    cell_share: float | None
    mean_over: str | None
    marks: tuple[str, ...]

    @property
    def warning(self) -> str:
        """The mark that stands before everything else; empty without one."""
        return next((mark for mark in self.marks if mark.endswith((ACCEPTED, SUSPECTED))), "")

    @property
    def warnings(self) -> tuple[str, ...]:
        """The marks without which a number misleads: on the baseline, and on collapsed runs."""
        ends = (ACCEPTED, SUSPECTED, COLLAPSED)
        return tuple(mark for mark in self.marks if mark.endswith(ends))


def study_facts(
    record: StudyRecord, scores: object, split: str | None, marks: Sequence[str]
) -> StudyFacts:
    """The facts of a study.

    Args:
        scores: any of its scores in that split; the images are known only from `Scores`.
    """
    study = record.study
    first = scores if isinstance(scores, Scores) else None
    return StudyFacts(
        study=record.name,
        question=study.question,
        subject=study.trainable or f"{study.dataset.name}, {study.model.name}",
        fingerprint=record.fingerprint,
        split=split,
        n_images=first.n_images if first else None,
        n_corrupted=first.n_scored if first else None,
        cell_share=first.cell_share if first else None,
        mean_over=first.mean_over if first else None,
        marks=tuple(marks),
    )


@dataclass(frozen=True)
class Basis(StudyFacts):
    """The basis of the numbers of a study's trials.

    Attributes:
        split: of the first objective that has one.
        trials: N, the number of rows of the finished study, or those that a budget allowed;
            complete: of them.
        seed: of the finetuning, one for all trials of a search; None for an ablation, whose runs
            have different seeds.
        violating: number of complete trials that violate a constraint.
    """

    objectives: tuple[ObjectiveSettings, ...]
    trials: int
    complete: int
    seed: int | None
    violating: int


@kept_with_record
def study_basis(record: StudyRecord) -> Basis:
    """The basis of a study's numbers, at the moment at which its record was read."""
    study = record.study
    complete = record.complete
    scored = chain(record.references.values(), (row.scores for row in complete))
    first = next((scores for scores in scored if isinstance(scores, Scores)), None)
    splits = filter(None, (metric_split(objective.metric) for objective in study.objectives))
    split = next(splits, None if study.trainable is not None else "validation")
    return Basis(
        **vars(study_facts(record, first, split, result_marks(record))),
        objectives=study.objectives,
        trials=record.rows_at_end,
        complete=len(complete),
        seed=study.finetune.seed if record.design is None else None,
        violating=sum(row_violation(row, record.bounds) > 0 for row in complete),
    )


# -- Caveats of a study's numbers


ACCEPTED = "the baseline is fed wrongly or has not converged, which was accepted"
SUSPECTED = "the baseline may be fed wrongly, or not have converged"
COLLAPSED = "where seeds collapse, intervals hold the truth less often than 95 %"
OVERLAP = "types trained on are among the scored: not comparable with methods that hold them out"


def baseline_warning(record: StudyRecord) -> str:
    """What a study's results are to be read with, if plain finetuning makes its baseline much
    better; empty otherwise.

    A search of which nothing was accepted has it from 3 points and two standard errors of two
    independent accuracies on.
    """
    if record.accepted_baseline:
        return f"{record.accepted_baseline}: {ACCEPTED}"
    baseline, plain = map(record.references.get, ("baseline", "plain"))
    if not (isinstance(baseline, Scores) and isinstance(plain, Scores)):
        return ""
    gain = gain_rule(
        baseline.clean_accuracy,
        plain.clean_accuracy,
        baseline.n_images,
        None,
        errors=WARNING_ERRORS,
    )
    return f"{gain}: {SUSPECTED}" if gain else ""


def bounds_at(record: StudyRecord, rung: Rung) -> tuple[Bound, ...]:
    """The constraints on the images of a rung: on fewer than the study's, only those that are not
    relative to the baseline, whose score on these is not recorded."""
    return record.study.bounds(None) if rung.images else record.bounds


def nearest_text(record: StudyRecord) -> str:
    """The complete trial that violates the constraints least, and by how much, in words.

    Args:
        record: with constraints, and such a trial.
    """
    rows = [row for row in record.complete if row.scores is not None]
    scored = [(row.number, row.scores.metrics()) for row in rows if row.scores is not None]
    number, metrics = min(scored, key=lambda one: (violation(record.bounds, one[1]), one[0]))
    return f"trial {number}, whose {' and '.join(missed_bounds(record.bounds, metrics))}"


def missed_bounds(bounds: Sequence[Bound], metrics: Mapping[str, float]) -> list[str]:
    """The bounds that a trial violates, in words."""
    return [
        f"{bound.metric} is {_number(bound.metric, metrics[bound.metric])}, {_must_be(bound)}"
        for bound in bounds
        if bound.excess(metrics) > 0
    ]


def _must_be(bound: Bound) -> str:
    side = "at least" if bound.is_least else "at most"
    return f"must be {side} {_number(bound.metric, bound.limit)}"


def _number(metric: str, value: float) -> str:
    return f"{100 * value:.2f} %" if is_accuracy(metric) else f"{value:.6g}"


def result_marks(record: StudyRecord) -> tuple[str, ...]:
    """The caveats of a study's results: baseline, suite, trials, training types, and cost."""
    study, complete, marks = record.study, record.complete, list[str]()
    has_baseline = study.trainable is None
    if has_baseline and (warning := baseline_warning(record)):
        marks.append(warning)
    marks += study.marks
    if has_baseline:
        suite = find_suite(study.robustness.suite)
        marks += caveats(suite, study.robustness.frost_images)
        if (images := study.robustness.adapt_batch_norm) is not None:
            marks.append(
                f"{ADAPTED}: batch norm adapted at test time to batches of one copy; its own "
                f"statistics count as {images} images"
            )
        if left_out := record.environment.get("left_out") or {}:
            each = ", ".join(f"{count} in {show_name(name)}" for name, count in left_out.items())
            marks.append(f"image files that cannot be read are left out: {each}")
    marks += record.history
    if record.awaits_mixtures:
        fix = shown_if(record.driver is None, ": `ablate resume` scores them")
        marks.append(f"mixtures are not scored yet{fix}")
    marks += _constraint_marks(record)
    if copies := sum(row.copy_of is not None for row in complete):
        are = "is a copy" if copies == 1 else "are copies"
        number = f"{copies} of {len(complete)} complete trials {are} of another"
        marks.append(f"{number}: same parameters, not run again")
    if refused := [row.number for row in complete if row.path is not None and row.path.note]:
        were = f"curves of {len(refused)} trials were" if refused[1:] else "curve of 1 trial was"
        marks.append(
            f"{were} refused ({few(refused, 12)}): networks between lose clean accuracy to both "
            "ends, so alpha 1 is used"
        )
    costs = [row.scores for row in complete if isinstance(row.scores, Scores)]
    taught = sum(cost.teacher_images > 0 for cost in costs)
    if study.finetune.budget.images is not None and taught:
        marks.append(
            f"{taught} of {len(costs)} runs {'has' if taught == 1 else 'have'} a teacher, whose "
            "forward passes budget.images does not count: budget.flops does"
        )
    if any(isinstance(row.scores, Scores) and row.scores.overlaps for row in record.rows):
        marks.append(OVERLAP)
    changed = record.since_registration.items()
    marks += [f"outside of what was registered: {name} ({text})" for name, text in changed]
    return tuple(marks)


def _constraint_marks(record: StudyRecord) -> Iterator[str]:
    """How many trials count; if none does, how near they came."""
    rows = [row for row in record.complete if row.scores is not None]
    if not record.bounds or not rows:
        return
    count = sum(row_violation(row, record.bounds) > 0 for row in rows)
    must = " and ".join(f"{bound.metric} {_must_be(bound)}" for bound in record.bounds)
    if count == len(rows):
        yield f"no complete trial keeps all constraints; nearest: {nearest_text(record)}"
    elif not count:
        yield f"every complete trial keeps the constraints: {must}"
    else:
        do = "violates a constraint and does" if count == 1 else "violate a constraint and do"
        yield f"{count} of {len(rows)} complete trials {do} not count: {must}"
