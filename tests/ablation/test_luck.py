"""How probable a place on the front is: against all resamples, directions, ties, few seeds."""

from __future__ import annotations

import math
import time
from itertools import product

import numpy as np
import pytest

from ablate.ablation.confirm import front_probability
from ablate.errors import ParameterError

UP = ("maximize", "maximize")


def test_a_point_that_always_wins_and_one_that_never_does() -> None:
    random = np.random.default_rng(0)
    noise = random.normal(0, 0.001, (3, 5, 2))
    centre = np.array([[0.9, 0.9], [0.5, 0.5], [0.95, 0.1]])
    assert front_probability(centre[:, None] + noise, UP).tolist() == [1.0, 0.0, 1.0]
    down = ("maximize", "minimize")
    assert front_probability(centre[:, None] + noise, down).tolist() == [0.0, 0.0, 1.0]


def test_it_is_the_share_of_all_resamples() -> None:
    values = np.random.default_rng(1).normal(size=(4, 3, 2))
    on_front = []
    for draw in product(range(3), repeat=3):
        means = values[:, draw].mean(axis=1) * (1, -1)
        on_front.append(
            [
                not any((other >= point).all() and (other > point).any() for other in means)
                for point in means
            ]
        )
    found = front_probability(values, ("maximize", "minimize"), resamples=20_000)
    assert found == pytest.approx(np.mean(on_front, axis=0), abs=0.02)
    assert ((found > 0) & (found < 1)).any()


def test_the_seeds_are_paired() -> None:
    # All points and objectives have the same good and bad seeds: what they share is no luck.
    of_seed = np.random.default_rng(2).normal(0, 10, (1, 6, 1))
    values = np.array([[1.0, 1.0], [0.9, 0.9]])[:, None] + of_seed
    assert front_probability(values, UP).tolist() == [1.0, 0.0]
    across = np.concatenate([of_seed, 1 - of_seed], axis=2)  # the sum is the same at each seed
    pair = np.concatenate([across, across[:, ::-1]])
    assert front_probability(pair, UP).tolist() == [1.0, 1.0]


def test_equal_points_share_their_fate() -> None:
    values = np.random.default_rng(3).normal(size=(2, 4, 2))
    twice = np.concatenate([values, values[:1]])
    found = front_probability(twice, UP)
    assert found[0] == found[2]
    assert front_probability(np.zeros((3, 4, 2)), UP).tolist() == [1.0, 1.0, 1.0]


def test_floating_point_decides_no_tie() -> None:
    values = np.array([[[0.1 + 0.2, 0.5]], [[0.3, 0.5]]]).repeat(3, axis=1)
    assert front_probability(values, UP).tolist() == [1.0, 1.0]


def test_a_seed_that_failed_is_left_out_of_all() -> None:
    values = np.random.default_rng(4).normal(size=(3, 5, 2))
    holed = values.copy()
    holed[1, 2, 0] = math.nan
    kept = values[:, [0, 1, 3, 4]]
    assert front_probability(holed, UP).tolist() == front_probability(kept, UP).tolist()


def test_few_seeds_and_no_point() -> None:
    assert front_probability(np.empty((0, 4, 2)), UP).tolist() == []
    for n in (0, 1):
        assert np.isnan(front_probability(np.zeros((2, n, 2)), UP)).tolist() == [True, True]
    alone = np.random.default_rng(5).normal(size=(1, 4, 2))
    assert front_probability(alone, UP).tolist() == [1.0]


def test_one_objective_and_three() -> None:
    values = np.random.default_rng(6).normal(size=(5, 6, 3))
    one = front_probability(values[:, :, :1], ("minimize",))
    assert one.sum() == pytest.approx(1)
    assert (front_probability(values, (*UP, "minimize")) >= 0).all()


def test_the_seed_decides_the_draws() -> None:
    values = np.random.default_rng(7).normal(size=(6, 5, 2))
    found = front_probability(values, UP, seed=1)
    assert (found == front_probability(values, UP, seed=1)).all()
    assert (found != front_probability(values, UP, seed=2)).any()


def test_a_hundred_points_take_a_moment() -> None:
    values = np.random.default_rng(8).normal(size=(100, 10, 2))
    began = time.process_time()
    front_probability(values, UP)
    assert time.process_time() - began < 1


def test_what_is_refused() -> None:
    with pytest.raises(ParameterError) as error:
        front_probability(np.zeros((2, 3)), UP)
    assert str(error.value) == (
        "values: must be [points, K, 2] as of directions, got shape (2, 3). Give one value per "
        "objective."
    )
    with pytest.raises(ParameterError) as error:
        front_probability(np.zeros((2, 3, 2)), ("maximize", "minimise"))
    assert str(error.value) == (
        "directions: unknown direction, got 'minimise'. Did you mean minimize?"
    )
