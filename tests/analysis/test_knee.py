"""The knee of a front, by hand."""

from __future__ import annotations

import pytest
from example_records import example_record, example_row

from ablate.analysis.hypervolume import knee_place
from ablate.analysis.pareto import pareto_info
from ablate.study.settings import ObjectiveSettings

UP = ObjectiveSettings(metric="val_clean_accuracy")
DOWN = ObjectiveSettings(metric="train_seconds", direction="minimize")


@pytest.mark.parametrize(
    ("values", "objectives", "place"),
    [
        ([(1.0, 0.0), (0.8, 0.7), (0.0, 1.0)], (UP, UP), 1),
        # Scaled to the front's own range: (0.9, 0.5) of 1 against (0.5, 0.6).
        ([(0.96, 100.0), (0.955, 150.0), (0.935, 160.0), (0.91, 200.0)], (UP, UP), 1),
        ([(1.0, 50.0), (0.8, 10.0), (0.7, 9.0)], (UP, DOWN), 1),
        ([(0.9, 0.9, 9.0), (0.88, 0.88, 1.0), (0.7, 0.7, 0.0)], (UP, UP, DOWN), 1),
        # Of two, of equal ones and of one: the first.
        ([(1.0, 0.0), (0.0, 1.0)], (UP, UP), 0),
        ([(0.5, 0.5), (0.5, 0.5)], (UP, UP), 0),
        ([(0.5, 0.5)], (UP, UP), 0),
    ],
)
def test_place(values: list, objectives: tuple, place: int) -> None:
    assert knee_place(values, objectives) == place


def knee_of(*values: tuple[float, float]) -> int | None:
    rows = [example_row(number, of_row) for number, of_row in enumerate(values)]
    knee = pareto_info(example_record(rows)).knee
    return None if knee is None else knee.number


def test_a_front_of_fewer_than_three_different_points_has_none() -> None:
    assert knee_of((0.9, 0.6), (0.8, 0.79), (0.7, 0.8)) == 1
    assert knee_of((0.9, 0.6), (0.7, 0.8), (0.7, 0.8)) is None
    assert knee_of((0.9, 0.6)) is None
    assert knee_of() is None
