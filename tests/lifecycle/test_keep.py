"""Whose weights stay on disk."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from ablate.analysis.hypervolume import nondominated
from ablate.lifecycle.mixtures import Keeper, keeper_of
from ablate.study.settings import ObjectiveSettings
from tests.example_records import example_record, example_row

UP = ("maximize", "maximize")


def kept_after(keeper: Keeper, values: list[tuple[float, ...]]) -> list[int]:
    """The trials with weights, once all are complete, in that order."""
    kept: set[int] = set()
    for number, value in enumerate(values):
        kept.add(number)
        kept -= set(keeper.completed(example_row(number, value)))
    return sorted(kept)


def test_equal_points_are_on_the_front_together() -> None:
    assert kept_after(Keeper(UP, 2, ()), [(0.5, 0.5), (0.5, 0.5), (0.1, 0.1)]) == [0, 1]


def test_a_value_that_is_not_finite_is_on_no_front() -> None:
    values = [(0.5, 0.5), (math.nan, 0.9), (0.9, math.inf)]
    assert kept_after(Keeper(UP, 1, ()), values) == [0]


def test_all_keeps_all() -> None:
    assert kept_after(Keeper(UP, "all", ()), [(0.1, 0.1)] * 200) == list(range(200))


def test_once_a_space_was_edited_all_are_kept() -> None:
    """A trial that is outside now may be the best of the next space."""
    record = example_record()
    settings = record.study.run.model_copy(update={"keep_checkpoints": 1})
    record = replace(record, study=record.study.model_copy(update={"run": settings}))
    values = [(0.9, 0.9), (0.1, 0.1), (0.2, 0.2)]
    assert kept_after(keeper_of(record), values) == [0]
    edited = replace(record, edits=({"rows": 1, "outside": 1},))
    assert kept_after(keeper_of(edited), values) == [0, 1, 2]


@pytest.mark.parametrize("columns", [1, 2, 3])
@pytest.mark.parametrize("keep", [1, 7, 40])
def test_as_many_as_fit_are_kept_and_all_of_the_front_that_fits(columns: int, keep: int) -> None:
    values = np.random.default_rng(columns).integers(0, 30, (300, columns)).tolist()
    keeper = Keeper(("maximize", "minimize", "maximize")[:columns], keep, ())
    objectives = [
        ObjectiveSettings(metric="m", direction=way)
        for way in ("maximize", "minimize", "maximize")[:columns]
    ]
    kept: list[int] = []
    for number, value in enumerate(values):
        front = np.flatnonzero(nondominated(values[: number + 1], objectives)).tolist()
        candidates = [*kept, number]
        ranked = sorted(candidates, key=lambda one: (one in front, one), reverse=True)
        for gone in keeper.completed(example_row(number, tuple(value))):
            candidates.remove(gone)
        kept = candidates
        assert kept == sorted(ranked[:keep])


def test_a_resumed_study_chooses_as_if_it_had_not_been_stopped() -> None:
    values = np.random.default_rng(0).random((60, 2)).tolist()
    order = np.random.default_rng(1).permutation(60).tolist()
    rows = {}
    whole, resumed = Keeper(UP, 5, ()), Keeper(UP, 5, ())
    gone: list[int] = []
    for place, number in enumerate(order):
        rows[number] = example_row(number, values[number], seconds=1000 + place - 5 * number)
        if place < 40:
            gone += whole.completed(rows[number])
    rows_then = [rows[number] for number in sorted(order[:40])]
    assert resumed.resume([*rows_then, example_row(60, None, state="FAIL")]) == gone
    for number in order[40:]:
        assert resumed.completed(rows[number]) == whole.completed(rows[number])
