"""Whose weights stay on disk."""

from __future__ import annotations

import math

import numpy as np
import pytest

from ablate.analysis.hypervolume import nondominated
from ablate.lifecycle.drive import Keeper
from ablate.study.settings import ObjectiveSettings
from tests.example_records import example_row

UP = ("maximize", "maximize")


def kept_after(keeper: Keeper, values: list[tuple[float, ...]]) -> list[int]:
    """The trials with weights, once all are complete, in that order."""
    kept: set[int] = set()
    for number, value in enumerate(values):
        kept.add(number)
        kept -= set(keeper.completed(example_row(number, value)))
    return sorted(kept)


def test_the_front_stays_first_then_the_newest() -> None:
    values = [(0.9, 0.1), (0.5, 0.5), (0.1, 0.9), (0.4, 0.4), (0.3, 0.3), (0.2, 0.2)]
    assert kept_after(Keeper(UP, 4, ()), values) == [0, 1, 2, 5]
    assert kept_after(Keeper(UP, 3, ()), values) == [0, 1, 2]


def test_of_a_front_beyond_the_bound_the_newest_stays() -> None:
    values = [(number / 10, 1 - number / 10) for number in range(6)]
    assert kept_after(Keeper(UP, 2, ()), values) == [4, 5]


def test_what_is_beaten_goes_before_an_older_trial_of_the_front() -> None:
    keeper = Keeper(UP, 2, ())
    assert keeper.completed(example_row(7, (0.9, 0.1))) == []
    assert keeper.completed(example_row(3, (0.2, 0.8))) == []
    assert keeper.completed(example_row(5, (0.3, 0.9))) == [3]


def test_a_trial_off_a_full_front_goes_at_once() -> None:
    keeper = Keeper(UP, 1, ())
    assert keeper.completed(example_row(0, (0.9, 0.9))) == []
    assert keeper.completed(example_row(1, (0.1, 0.1))) == [1]


def test_directions_are_heeded() -> None:
    values = [(0.9, 10.0), (0.8, 5.0), (0.7, 20.0)]
    assert kept_after(Keeper(("maximize", "minimize"), 2, ()), values) == [0, 1]


def test_equal_points_are_on_the_front_together() -> None:
    assert kept_after(Keeper(UP, 2, ()), [(0.5, 0.5), (0.5, 0.5), (0.1, 0.1)]) == [0, 1]


def test_a_value_that_is_not_finite_is_on_no_front() -> None:
    values = [(0.5, 0.5), (math.nan, 0.9), (0.9, math.inf)]
    assert kept_after(Keeper(UP, 1, ()), values) == [0]


def test_all_keeps_all() -> None:
    assert kept_after(Keeper(UP, "all", ()), [(0.1, 0.1)] * 200) == list(range(200))


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
