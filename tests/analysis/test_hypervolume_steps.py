"""The hypervolume point after point: rectangles by hand, and against moocore's."""

from __future__ import annotations

import math

import numpy as np
import pytest

from ablate.analysis.history import hypervolume_steps
from ablate.analysis.hypervolume import hypervolume
from ablate.errors import ParameterError
from ablate.study.settings import ObjectiveSettings

UP = ObjectiveSettings(metric="val_clean_accuracy")
DOWN = ObjectiveSettings(metric="train_seconds", direction="minimize")


@pytest.mark.parametrize(
    ("values", "objectives", "reference", "expected"),
    [
        ([], (UP, UP), (0, 0), []),
        # A corner more to the right, one more above, one in the notch, one over all.
        ([(2, 2), (3, 1), (1, 3), (2, 2.5), (4, 4)], (UP, UP), (0, 0), [4, 5, 6, 6.5, 16]),
        # Dominated, equal, as wide but higher, as high but wider.
        ([(2, 2), (1, 1), (2, 2), (2, 3), (3, 3)], (UP, UP), (0, 0), [4, 4, 4, 6, 9]),
        # No number, no better than the reference, and before it all.
        ([(math.nan, 2), (5, math.inf), (1, 9), (2, 3)], (UP, UP), (1, 1), [0, 0, 0, 2]),
        ([(2, 50), (1, 10)], (UP, DOWN), (0, 60), [20, 60]),
        ([(1, 1, 1), (2, 1, 1), (1, 1, 1), (1, 3, 1)], (UP, UP, UP), (0, 0, 0), [1, 2, 2, 4]),
        ([(2, 2, 50), (1, 1, 40)], (UP, UP, DOWN), (0, 0, 60), [40, 50]),
    ],
)
def test_steps(values: list, objectives: tuple, reference: tuple, expected: list[float]) -> None:
    assert hypervolume_steps(values, objectives, reference).tolist() == pytest.approx(expected)


@pytest.mark.parametrize("objectives", [(UP, DOWN), (UP, DOWN, UP)])
def test_every_step_is_the_hypervolume_so_far(objectives: tuple) -> None:
    random = np.random.default_rng(0)
    # On a coarse grid, so that ties come up.
    values = random.integers(0, 15, (120, len(objectives))).astype(float)
    reference = [2.0, 12.0, 2.0][: len(objectives)]
    steps = hypervolume_steps(values, objectives, reference)
    expected = [hypervolume(values[: end + 1], objectives, reference) for end in range(120)]
    assert steps == pytest.approx(np.array(expected), abs=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("shape", ["cloud", "all on the front"])
def test_a_hundred_thousand_points_end_at_their_hypervolume(shape: str) -> None:
    random = np.random.default_rng(0)
    values = random.random((100_000, 2))
    if shape != "cloud":
        values[:, 1] = 1 - values[:, 0]
    steps = hypervolume_steps(values, (UP, UP), (0, 0))
    assert steps[-1] == pytest.approx(hypervolume(values, (UP, UP), (0, 0)))


def test_a_reference_point_of_another_length() -> None:
    with pytest.raises(ParameterError) as caught:
        hypervolume_steps([(1, 1)], (UP, UP), (0,))
    assert str(caught.value) == (
        "reference_point: needs one value per objective (2), got [0]. Give 2 values, in the "
        "objectives' order."
    )
