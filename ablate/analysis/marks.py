"""What has to be said beside the numbers of a study, so that nobody takes them for others."""

from __future__ import annotations

from ablate.analysis.bounds import beyond_marks
from ablate.ledger.record import StudyRecord
from ablate.robustness.suites import approximations, find_suite
from ablate.study.scores import Scores

OVERLAP = "types trained on are among the scored: not comparable with methods that hold them out"


def _copy_marks(record: StudyRecord) -> tuple[str, ...]:
    """Trials that took another's scores count as complete, and stand beside it on the front."""
    copies = sum(row.copy_of is not None for row in record.rows)
    if not copies:
        return ()
    are = "is a copy" if copies == 1 else "are copies"
    said = f"{copies} of {len(record.complete)} complete trials {are} of another"
    return (f"{said}: the same point, not run again",)


def result_marks(record: StudyRecord) -> tuple[str, ...]:
    """The marks of a study's results: of its baseline, its suite, and what was trained on."""
    study = record.study
    beyond = (*_copy_marks(record), *beyond_marks(record.rows))
    if study.trainable is not None:
        return (*study.marks, *beyond)
    suite = find_suite(study.robustness.suite)
    marks = [*study.marks, *approximations(suite, study.robustness.frost_images)]
    marks += beyond
    scored = (row.scores for row in record.rows)
    if any(isinstance(scores, Scores) and scores.overlaps for scores in scored):
        marks.append(OVERLAP)
    return tuple(marks)
