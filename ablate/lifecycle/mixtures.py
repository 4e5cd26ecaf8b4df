"""Which finetuned weights are kept; and the mixtures of a search that are made of them: once, when
all of its rows have ended, and stored.

A driver that is killed before they are stored leaves nothing of them, and the next one gets the
same, because they are a function of the rows (`ablate.ablation.mixtures`).
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from ablate.analysis.pareto import pareto_info, point_of
from ablate.errors import AblateError
from ablate.files.shown import count_text, few
from ablate.ledger.record import RowRecord, StudyRecord, counted_values
from ablate.study.keys import searched
from ablate.study.mixture import Mixtures
from ablate.study.preparation import OnStep, PreparationStep
from ablate.study.scores import AT_CLEAN_LOSS, Bound, Scores
from ablate.trial.task import Job, weights_file

if TYPE_CHECKING:  # its statistics load SciPy, which a study that is only read does without
    from ablate.ablation.mixtures import Ingredients
    from ablate.ledger.ledger import Ledger
    from ablate.lifecycle.drive import Running, RunOptions

_SHARED = ("model.", "baseline.", "robustness.", "dataset.")
"""Keys of what all trials of a mixture must have in common."""


def refusal(record: StudyRecord) -> str:
    """Why a search has no mixtures, in words; empty if it can have some."""
    study = record.study
    differ = [key for key in searched(study.space) if key.startswith(_SHARED)]
    of_curve = [one.metric for one in study.objectives if one.metric.endswith(AT_CLEAN_LOSS)]
    if differ := [key for key in differ if key != "dataset.train_fraction"]:
        return f"need one network and one set of images, got {differ[0]} in the space"
    if of_curve:
        return f"need objectives of one network, got {of_curve[0]}, which is of a curve"
    if study.finetune.result_alpha != 1:
        alpha = study.finetune.result_alpha
        return f"need finetuned weights, got finetune.interpolation.alpha {alpha:g}"
    return ""


def _with_weights(record: StudyRecord) -> dict[int, Scores]:
    """The scores of the complete trials that have weights of their own, by number: those that
    `run.keep_checkpoints` keeps, by a rule that reads nothing but the rows."""
    removed = {*keeper_of(record).resume(record.rows)}
    removed.update(*(edit.get("removed", ()) for edit in record.edits))
    rows = [row for row in record.complete if row.copy_of is None and row.number not in removed]
    return {row.number: row.scores for row in rows if isinstance(row.scores, Scores)}


def lost_weights(record: StudyRecord, folder: Path) -> str:
    """Which files of weights mixtures wait for, in one line; empty if they wait for none."""
    if not record.lacks_mixtures or refusal(record):
        return ""
    numbers = _with_weights(record)
    lost = [number for number in numbers if not weights_file(folder, number).is_file()]
    if not lost:
        return ""
    return (
        f"no mixtures: they need the weights of {count_text(len(numbers), 'trial')}, got no file "
        f"of {few(lost, 8)} in {weights_file(folder, None).parent}. Resume the study where they "
        "are, or set answer.mixtures: false."
    )


def make_mixtures(ledger: Ledger, running: Running, run: RunOptions) -> None:
    """Score the mixtures of a search whose rows have ended, and store them, unless they are there.

    What goes wrong with them is a note: all rows have ended well, and a resume tries again.
    """
    record = ledger.read()
    if not record.awaits_mixtures:
        return
    if why := refusal(record):
        ledger.set_mixtures(Mixtures(record.ended, notes=(f"no mixtures: they {why}",)))
        run.progress.note(f"no mixtures: they {why}")
        return
    if lost := lost_weights(record, running.folder):
        run.progress.note(lost)
        return
    began, given = time.monotonic(), _ingredients(record)
    try:
        work = partial(_find, given=given)
        mixtures = running.executor.work(running.job, work, run.progress.preparing)
    except AblateError as error:
        run.progress.note(f"no mixtures yet: {error}")
        return
    ledger.set_mixtures(mixtures)
    for note in mixtures.notes:
        run.progress.note(note)
    front = pareto_info(replace(record, mixtures=mixtures)).front
    on_front = sum(point.is_mixture for point in front)
    count = count_text(len(mixtures.scored), "mixture")
    seconds = time.monotonic() - began
    run.progress.note(f"{count} scored in {seconds:.0f} s, {on_front} of {len(front)} on the front")


def _ingredients(record: StudyRecord) -> Ingredients:
    from ablate.ablation.mixtures import Ingredients

    trials = _with_weights(record)
    return Ingredients(
        rows=record.ended,
        trials=trials,
        alphas={number: point_of(record.rows[number]).alpha for number in trials},
        baseline=record.references["baseline"],
        objectives=record.study.objectives,
        reference_point=record.reference_point,
        bounds=record.bounds,
        margin=record.study.answer.clean_margin,
    )


def _find(job: Job, on_step: OnStep, given: Ingredients) -> Mixtures:
    """In a process of a worker."""
    from ablate.ablation.mixtures import find_mixtures
    from ablate.trial.mixing import Mixer

    def say(done: int) -> None:
        on_step(PreparationStep("scoring mixtures", done, unit="networks"))

    mixer = Mixer(job, given.trials)
    return find_mixtures(given, mixer, say, threads=mixer.threads)


# -- Which finetuned weights are kept: `run.keep_checkpoints` --------------------------


class Keeper:
    """Selects the weights to delete after each completed trial.

    At most `keep` trials have weights: those on the Pareto front first, then the newest; if the
    front itself is larger, the newest of it.  Newest means last completed.  A trial without weights
    still counts for the front; equal points are all on it.

    Args:
        directions: one per objective.
        keep: trials, 1 or more, or "all".
        bounds: of the study's constraints.
    """

    def __init__(
        self,
        directions: Sequence[Literal["maximize", "minimize"]],
        keep: int | Literal["all"],
        bounds: Sequence[Bound],
    ) -> None:
        self._bounds = bounds
        self._signs = np.array([1.0 if way == "maximize" else -1.0 for way in directions])
        self._keep = keep
        self._front: dict[int, NDArray[np.float64]] = {}
        """Points of the front by their trial, with weights or without; more is better."""
        self._kept: list[int] = []
        """Trials with weights, oldest first."""

    def completed(self, row: RowRecord) -> list[int]:
        """Add a complete trial that is no copy; one with a value that is not finite, or that
        violates a constraint, is never on the front.

        Returns:
            Numbers of the trials whose weights are to be deleted; may include this one.
        """
        if self._keep == "all":
            return []
        point = np.asarray(counted_values(row, self._bounds), dtype=float) * self._signs
        is_beaten = row.outside or any(_beats(other, point) for other in self._front.values())
        if np.isfinite(point).all() and not is_beaten:
            front = self._front.items()
            self._front = {trial: other for trial, other in front if not _beats(point, other)}
            self._front[row.number] = point
        self._kept.append(row.number)
        if len(self._kept) <= self._keep:
            return []
        going = next((number for number in self._kept if number not in self._front), self._kept[0])
        self._kept.remove(going)
        return [going]

    def resume(self, rows: Iterable[RowRecord]) -> list[int]:
        """Add the rows of an existing study, in the order of their completion.

        Returns:
            Numbers of the trials that have no weights, or should have none.
        """
        complete = [row for row in rows if row.values is not None and row.copy_of is None]
        complete.sort(key=attrgetter("end_order"))
        return [gone for row in complete for gone in self.completed(row)]


def keeper_of(record: StudyRecord) -> Keeper:
    """The keeper of a study, which knows no row yet; once its space was edited it keeps all, since
    a trial that is outside of the space may lie in the next one; of a confirmed front with mixtures
    too, since these are made of the others."""
    directions = [objective.direction for objective in record.study.objectives]
    needs_all = record.edits or any(row.mixture for row in record.rows)
    keep = "all" if needs_all else record.study.run.keep_checkpoints
    return Keeper(directions, keep, record.bounds)


def _beats(point: NDArray[np.float64], other: NDArray[np.float64]) -> bool:
    """Whether a point dominates another one."""
    return bool((point >= other).all() and (point > other).any())
