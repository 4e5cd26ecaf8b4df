"""Where the images of a study's report come from: its data, its weights, and the trial to show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ablate.analysis.knee import knee_place
from ablate.analysis.pareto import pareto_info
from ablate.files.cache import cache_folder
from ablate.ledger.record import RowRecord, StudyRecord
from ablate.lifecycle.place import Place
from ablate.study.scores import Scores


@dataclass(frozen=True)
class Origin:
    """Where a study's images and weights are.

    Attributes:
        folder: of the run; base: that the study's relative paths start from.
        baseline_sha256: of the baseline's weights; empty where it has none.
        cache: folder of data and baselines.
    """

    record: StudyRecord
    folder: Path
    base: Path
    baseline_sha256: str
    cache: Path


def find_origin(place: Place, record: StudyRecord) -> Origin:
    """Where the images of a study are.

    Args:
        place: of the study; record: of the same.

    Raises:
        StudyNotFoundError: if there is no such study.
    """
    from ablate.ledger.ledger import Ledger

    ledger = Ledger.open(place.url, place.name)
    try:
        head = ledger.head
    finally:
        ledger.close()
    return Origin(record, place.folder, Path(head.base), head.baseline_sha256, cache_folder())


def best_trial(record: StudyRecord, rows: Sequence[RowRecord]) -> RowRecord | None:
    """The knee of these rows' front; of an ablation the best in robust accuracy."""
    scored = {row.number: row for row in rows if isinstance(row.scores, Scores)}
    if record.design is not None:
        robust = {
            number: row.scores.robust_accuracy
            for number, row in scored.items()
            if isinstance(row.scores, Scores)
        }
        return scored[max(robust, key=lambda number: robust[number])] if robust else None
    front = pareto_info(replace(record, rows=tuple(scored.values()))).front
    if not front:
        return None
    place = knee_place([point.values for point in front], record.study.objectives)
    return scored[front[place].number]


def one_line(error: Exception) -> str:
    """What an error says, on one line."""
    return " ".join(str(error).split())
