"""The hypervolume by hand: rectangles, directions, what adds nothing."""

from __future__ import annotations

import math

import pytest

from ablate.analysis.hypervolume import hypervolume
from ablate.errors import ParameterError
from ablate.study.settings import ObjectiveSettings

UP = ObjectiveSettings(metric="val_clean_accuracy")
DOWN = ObjectiveSettings(metric="train_seconds", direction="minimize")


@pytest.mark.parametrize(
    ("values", "objectives", "reference", "expected"),
    [
        ([(0.9, 0.7)], (UP, UP), (0.8, 0.5), 0.1 * 0.2),
        # Two rectangles less what they share.
        ([(0.9, 0.7), (1.0, 0.6)], (UP, UP), (0.8, 0.5), 0.1 * 0.2 + 0.2 * 0.1 - 0.1 * 0.1),
        ([(0.9, 0.7), (0.85, 0.6)], (UP, UP), (0.8, 0.5), 0.1 * 0.2),
        ([(0.9, 0.7), (0.9, 0.7)], (UP, UP), (0.8, 0.5), 0.1 * 0.2),
        ([(0.9, 10.0)], (UP, DOWN), (0.8, 60.0), 0.1 * 50),
        ([(0.9, 0.7, 10.0)], (UP, UP, DOWN), (0.8, 0.5, 60.0), 0.1 * 0.2 * 50),
        ([(0.9,), (0.85,)], (UP,), (0.8,), 0.1),
        # No better than the reference in one objective.
        ([(0.9, 0.5), (0.7, 0.9)], (UP, UP), (0.8, 0.5), 0.0),
        ([], (UP, UP), (0.8, 0.5), 0.0),
        ([(math.nan, 0.9), (0.9, math.inf)], (UP, UP), (0.8, 0.5), 0.0),
        ([(math.nan, 0.9), (0.9, 0.7)], (UP, UP), (0.8, 0.5), 0.1 * 0.2),
    ],
)
def test_value(values: list, objectives: tuple, reference: tuple, expected: float) -> None:
    assert hypervolume(values, objectives, reference) == pytest.approx(expected)


def test_without_a_reference_point_there_is_none() -> None:
    assert hypervolume([(0.9, 0.7)], (UP, UP), None) is None


def test_wrong_reference_point() -> None:
    with pytest.raises(ParameterError) as caught:
        hypervolume([(0.9, 0.7)], (UP, UP), (0.8,))
    assert str(caught.value) == (
        "reference_point: needs one value per objective (2), got [0.8]. Give 2 values, in the "
        "objectives' order."
    )
