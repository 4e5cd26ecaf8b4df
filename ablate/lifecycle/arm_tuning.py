"""Every arm of an ablation tuned by a search of its own, before its seeds are run."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

from ablate.ablation.arm_search import arm_study, tuned_cells
from ablate.ablation.cell import Cell, Design, Tuning
from ablate.ablation.reference import best_of, pick_trial
from ablate.ledger.record import StudyRecord
from ablate.lifecycle.place import Place
from ablate.search.progress import Progress
from ablate.study.settings import Study

RunSearch = Callable[[Place, Study], StudyRecord]
"""Begins a search, or goes on with it, to its end."""


def tune_design(
    design: Design, study: Study, place: Place, run_search: RunSearch, progress: Progress
) -> Design:
    """The design with each cell at the values that its own search has picked.

    The searches are studies in the same storage, below the run's folder, so each can be looked at
    and is gone on with where it was stopped.

    Args:
        place: of the ablation.

    Raises:
        ParameterError: if a search has no such trial as is to be picked.
    """
    assert study.ablation is not None
    assert study.ablation.tune is not None
    pick = study.ablation.tune.pick
    cells, tuning = {cell.name: cell for cell in design.cells}, {}
    asked = tuned_cells(study, design.cells)
    for number, cell in enumerate(asked):
        where = _place(place, number, cell)
        progress.note(f"tuning {cell.name} ({number + 1} of {len(asked)}): {where.name}")
        record = run_search(where, arm_study(study, cell, where.name))
        point = pick_trial(record, pick, key="ablation.tune")
        cells[cell.name] = replace(cell, values={**cell.values, **point.params})
        tuning[cell.name] = _tuning(record, point.number, pick)
    return replace(design, cells=tuple(cells.values()), tuning=tuning)


def _place(place: Place, number: int, cell: Cell) -> Place:
    slug = re.sub(r"[^A-Za-z0-9+._-]+", "-", cell.name).strip("-.") or "arm"
    label = f"{number:02d}-{slug}"[:40]
    folder = place.folder / "tune" / label
    return Place(f"{place.name}~{label}", place.url, folder, place.given)


def _tuning(record: StudyRecord, number: int, pick: str) -> Tuning:
    metrics = [objective.metric for objective in record.study.objectives]
    best = best_of(pick.rpartition(" ")[2], metrics)
    at = len(metrics) - 1 if best is None else metrics.index(best)
    scores = tuple(None if row.values is None else row.values[at] for row in record.rows)
    return Tuning(record.name, number, metrics[at], scores)
