"""Holm's adjustment, worked by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from ablate.ablation.significance import holm
from ablate.errors import ParameterError

NAN = math.nan


@pytest.mark.parametrize(
    ("p_values", "expected"),
    [
        ([], []),
        ([0.03], [0.03]),
        # 4 x .005, 3 x .01, 2 x .03, then .04, held up by the .06 before it.
        ([0.01, 0.04, 0.03, 0.005], [0.03, 0.06, 0.06, 0.02]),
        # Never above 1.
        ([0.9, 0.6, 0.5], [1.0, 1.0, 1.0]),
        # Ties share the larger one: 3 x .02; 2 x .02 is held up to it.
        ([0.02, 0.02, 0.5], [0.06, 0.06, 0.5]),
        ([0.0, 1.0], [0.0, 1.0]),
        # What was not tested does not count.
        ([0.01, NAN, 0.04, NAN], [0.02, NAN, 0.04, NAN]),
        ([NAN, NAN], [NAN, NAN]),
    ],
)
def test_by_hand(p_values: list[float], expected: list[float]) -> None:
    assert holm(p_values) == pytest.approx(expected, nan_ok=True)


def test_what_is_rejected_is_what_the_step_down_rejects() -> None:
    random = np.random.default_rng(0)
    for _ in range(200):
        p_values = (random.random(6) ** 3).tolist()
        rejected = set()
        for rank, place in enumerate(np.argsort(p_values)):
            if p_values[place] > 0.05 / (6 - rank):
                break
            rejected.add(int(place))
        assert {place for place, p in enumerate(holm(p_values)) if p <= 0.05} == rejected


def test_the_order_is_kept() -> None:
    p_values = np.random.default_rng(1).random(30)
    adjusted = np.array(holm(p_values.tolist()))
    assert (np.diff(adjusted[np.argsort(p_values)]) >= 0).all()
    assert (adjusted >= p_values).all()
    assert adjusted.max() <= 1


@pytest.mark.parametrize("odd", [-0.1, 1.5])
def test_what_is_no_probability_is_refused(odd: float) -> None:
    with pytest.raises(ParameterError) as error:
        holm([0.1, odd])
    assert str(error.value) == f"p_values: must be from 0 to 1, got {odd}. Give unadjusted ones."
