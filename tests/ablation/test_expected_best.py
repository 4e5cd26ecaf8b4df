"""The expected best score: by brute force, by hand, ties and failures."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest

from ablate.ablation.searches import expected_best

NAN = math.nan


@pytest.mark.parametrize(
    "values", [[0.3], [0.1, 0.9], [0.4, 0.1, 0.9, 0.2, 0.3], [0.5, 0.5, 0.1, 0.5, 0.1], [2.0, -1.0]]
)
def test_it_is_the_mean_over_all_draws(values: list[float]) -> None:
    expected = [
        np.mean([max(draw) for draw in product(values, repeat=n)])
        for n in range(1, len(values) + 1)
    ]
    assert expected_best(np.array(values)) == pytest.approx(expected)


def test_by_hand() -> None:
    # Of 0 and 1: one draw is 1 half the time, one of two draws three times of four.
    assert expected_best(np.array([1.0, 0.0])).tolist() == [0.5, 0.75]


def test_it_is_the_papers_sum() -> None:
    values = np.random.default_rng(0).normal(size=40)
    shares = np.arange(1, 41) / 40
    papers = [np.sum(np.sort(values) * (shares**n - (shares - 1 / 40) ** n)) for n in range(1, 41)]
    assert expected_best(values) == pytest.approx(papers)


def test_it_never_falls_and_stays_below_the_best() -> None:
    values = np.random.default_rng(1).random(200)
    best = expected_best(values)
    assert best[0] == pytest.approx(values.mean())
    assert (np.diff(best) > 0).all()
    assert best[-1] < values.max()


def test_scores_that_are_alike() -> None:
    assert expected_best(np.full(5, 0.1)).tolist() == [0.1] * 5


def test_a_failed_trial_is_as_bad_as_the_worst() -> None:
    found = expected_best(np.array([0.9, NAN, 0.2, -math.inf]))
    assert found == pytest.approx(expected_best(np.array([0.9, 0.2, 0.2, 0.2])))


def test_all_failed_and_no_trial() -> None:
    assert np.isnan(expected_best(np.array([NAN, NAN]))).tolist() == [True, True]
    assert expected_best(np.array([])).tolist() == []
