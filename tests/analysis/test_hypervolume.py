"""By hand: the hypervolume, which points are on the front, its step line, its knee."""

from __future__ import annotations

import math

import pytest

from ablate.analysis.hypervolume import hypervolume, nondominated, staircase
from ablate.errors import ParameterError
from ablate.study.settings import ObjectiveSettings

UP = ObjectiveSettings(metric="val_clean_accuracy")
DOWN = ObjectiveSettings(metric="train_seconds", direction="minimize")


@pytest.mark.parametrize(
    ("values", "objectives", "reference", "expected"),
    [
        # Two rectangles less what they share.
        ([(0.9, 0.7), (1.0, 0.6)], (UP, UP), (0.8, 0.5), 0.1 * 0.2 + 0.2 * 0.1 - 0.1 * 0.1),
        ([(0.9, 10.0)], (UP, DOWN), (0.8, 60.0), 0.1 * 50),
        ([(0.9, 0.7, 10.0)], (UP, UP, DOWN), (0.8, 0.5, 60.0), 0.1 * 0.2 * 50),
        # No better than the reference in one objective.
        ([(0.9, 0.5), (0.7, 0.9)], (UP, UP), (0.8, 0.5), 0.0),
        ([], (UP, UP), (0.8, 0.5), 0.0),
        ([(math.nan, 0.9), (0.9, 0.7)], (UP, UP), (0.8, 0.5), 0.1 * 0.2),
    ],
)
def test_value(values: list, objectives: tuple, reference: tuple, expected: float) -> None:
    assert hypervolume(values, objectives, reference) == pytest.approx(expected)


def test_of_no_reference_point_or_a_wrong_one() -> None:
    assert hypervolume([(0.9, 0.7)], (UP, UP), None) is None
    with pytest.raises(ParameterError) as caught:
        hypervolume([(0.9, 0.7)], (UP, UP), (0.8,))
    assert str(caught.value) == (
        "reference_point: needs one value per objective (2), got [0.8]. Give 2 values, in the "
        "objectives' order."
    )


@pytest.mark.parametrize(
    ("values", "objectives", "expected"),
    [
        ([], (UP, UP), []),
        ([(0.9, 0.1), (0.1, 0.9), (0.1, 0.1)], (UP, UP), [True, True, False]),
        # Better in one and equal in the other is better.
        ([(0.9, 0.5), (0.9, 0.6)], (UP, UP), [False, True]),
        # Equal points share their fate.
        ([(0.9, 0.9), (0.9, 0.9), (0.1, 0.1), (0.1, 0.1)], (UP, UP), [True, True, False, False]),
        ([(0.9, 30.0), (0.9, 20.0), (0.8, 10.0)], (UP, DOWN), [False, True, True]),
        ([(0.9, 0.9, 9.0), (0.8, 0.8, 9.0), (0.8, 0.8, 8.0)], (UP, UP, DOWN), [True, False, True]),
        # What is no number is off the front and pushes nobody off it.
        ([(math.nan, 0.9), (0.5, 0.5), (math.inf, 0.6)], (UP, UP), [False, True, False]),
    ],
)
def test_front(values: list, objectives: tuple, expected: list[bool]) -> None:
    assert nondominated(values, objectives).tolist() == expected


@pytest.mark.parametrize(
    ("points", "objectives", "corner", "expected"),
    [
        # From the left edge along the best y, down and right over each point, down to the foot.
        (
            [(0.9, 0.6), (0.8, 0.7), (0.5, 0.5)], (UP, UP), (0.4, 0.3),
            [(0.4, 0.7), (0.8, 0.7), (0.8, 0.6), (0.9, 0.6), (0.9, 0.3)],
        ),
        (
            [(0.9, 30), (0.8, 10)], (UP, DOWN), (0.5, 40),
            [(0.5, 10), (0.8, 10), (0.8, 30), (0.9, 30), (0.9, 40)],
        ),
        (
            [(30, 0.9), (10, 0.8)], (DOWN, UP), (40, 0.5),
            [(40, 0.9), (30, 0.9), (30, 0.8), (10, 0.8), (10, 0.5)],
        ),
        ([(0.9, 0.6)] * 2, (UP, UP), (0, 0), [(0, 0.6), (0.9, 0.6), (0.9, 0)]),
        ([(math.nan, 0.5)], (UP, UP), (0, 0), []),
        ([], (UP, UP), (0, 0), []),
    ],
)  # fmt: skip
def test_staircase(points: list, objectives: tuple, corner: tuple, expected: list) -> None:
    assert list(zip(*staircase(points, objectives, corner), strict=True)) == expected
