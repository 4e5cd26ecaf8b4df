"""How probable a place on the front is: against all resamples, directions, ties, few seeds."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any, Literal

import numpy as np
import pytest

from ablate.ablation import confirm
from ablate.study.settings import ObjectiveSettings

Direction = Literal["maximize", "minimize"]
UP: Sequence[Direction] = ("maximize", "maximize")


def front_probability(
    tables: Sequence[Sequence[np.ndarray]], directions: Sequence[Direction], **options: Any
) -> np.ndarray:
    objectives = [
        ObjectiveSettings(metric=f"objective_{place}", direction=direction)
        for place, direction in enumerate(directions)
    ]
    return confirm.front_probability(tables, objectives, **options)


def columns(values: np.ndarray) -> list[list[np.ndarray]]:
    """`[points, K, objectives]` of no images: one column a point and objective."""
    return [[of_point[:, [place]] for place in range(values.shape[2])] for of_point in values]


def is_on_front(means: np.ndarray) -> list[bool]:
    """Of points, `[points, objectives]`, more is better."""
    return [
        not any((other >= point).all() and (other > point).any() for other in means)
        for point in means
    ]


def test_a_point_that_always_wins_and_one_that_never_does() -> None:
    random = np.random.default_rng(0)
    noise = random.normal(0, 0.001, (3, 5, 2))
    centre = np.array([[0.9, 0.9], [0.5, 0.5], [0.95, 0.1]])
    tables = columns(centre[:, None] + noise)
    assert front_probability(tables, UP).tolist() == [1.0, 0.0, 1.0]
    assert front_probability(tables, ("maximize", "minimize")).tolist() == [0.0, 0.0, 1.0]


def test_it_is_the_share_of_all_resamples() -> None:
    values = np.random.default_rng(1).normal(size=(4, 3, 2))
    on_front = [
        is_on_front(values[:, draw].mean(axis=1) * (1, -1)) for draw in product(range(3), repeat=3)
    ]
    found = front_probability(columns(values), ("maximize", "minimize"), resamples=20_000)
    assert found == pytest.approx(np.mean(on_front, axis=0), abs=0.02)
    assert ((found > 0) & (found < 1)).any()


@pytest.mark.slow
def test_it_is_the_share_of_all_resamples_of_seeds_and_images() -> None:
    tables = np.random.default_rng(1).normal(size=(3, 2, 2, 3))  # points, objectives, K, images
    on_front = []
    for seeds in product(range(2), repeat=2):
        for images in product(range(3), repeat=3):
            drawn = tables[:, :, list(seeds)][:, :, :, list(images)]
            on_front.append(is_on_front(drawn.mean(axis=(2, 3))))
    found = front_probability([list(of_point) for of_point in tables], UP, resamples=20_000)
    assert found == pytest.approx(np.mean(on_front, axis=0), abs=0.02)
    assert ((found > 0) & (found < 1)).any()
    # The seeds alone would say less.
    of_seeds = front_probability(columns(tables.mean(axis=3).swapaxes(1, 2)), UP, resamples=20_000)
    assert np.abs(of_seeds - found).max() > 0.05


@pytest.mark.slow
def test_objectives_may_have_other_images_and_none() -> None:
    random = np.random.default_rng(9)
    tables = [[random.normal(size=(4, n)) for n in (6, 3, 1)] for _ in range(3)]
    found = front_probability(tables, (*UP, "minimize"), resamples=20_000)
    # Drawn once more, each set of images by itself, with one draw of the seeds for all.
    hits = np.zeros(3)
    for _ in range(3000):
        seeds = random.integers(0, 4, 4)
        images = [random.integers(0, n, n) for n in (6, 3, 1)]
        means = [
            [table[seeds][:, of].mean() for table, of in zip(of_point, images, strict=True)]
            for of_point in tables
        ]
        hits += is_on_front(np.array(means) * (1, 1, -1))
    assert found == pytest.approx(hits / 3000, abs=0.04)


def test_the_seeds_are_paired() -> None:
    # All points and objectives have the same good and bad seeds: what they share is no luck.
    of_seed = np.random.default_rng(2).normal(0, 10, (1, 6, 1))
    values = np.array([[1.0, 1.0], [0.9, 0.9]])[:, None] + of_seed
    assert front_probability(columns(values), UP).tolist() == [1.0, 0.0]
    across = np.concatenate([of_seed, 1 - of_seed], axis=2)  # the sum is the same at each seed
    pair = np.concatenate([across, across[:, ::-1]])
    assert front_probability(columns(pair), UP).tolist() == [1.0, 1.0]


def test_the_images_are_paired() -> None:
    # All points and objectives find the same images hard: what they share is no luck.
    of_image = np.random.default_rng(2).normal(0, 10, (1, 8))
    seeds = np.zeros((3, 1))
    tables = [[of_image + seeds + by] * 2 for by in (1.0, 0.9)]
    assert front_probability(tables, UP).tolist() == [1.0, 0.0]


def test_equal_points_share_their_fate() -> None:
    values = np.random.default_rng(3).normal(size=(2, 4, 2))
    found = front_probability(columns(np.concatenate([values, values[:1]])), UP)
    assert found[0] == found[2]
    assert front_probability(columns(np.zeros((3, 4, 2))), UP).tolist() == [1.0, 1.0, 1.0]


def test_floating_point_decides_no_tie() -> None:
    values = np.array([[[0.1 + 0.2, 0.5]], [[0.3, 0.5]]]).repeat(3, axis=1)
    assert front_probability(columns(values), UP).tolist() == [1.0, 1.0]


def test_few_seeds_and_no_point() -> None:
    assert front_probability([], UP).tolist() == []
    for n in (0, 1):
        found = front_probability(columns(np.zeros((2, n, 2))), UP)
        assert np.isnan(found).tolist() == [True, True]
    alone = np.random.default_rng(5).normal(size=(1, 4, 2))
    assert front_probability(columns(alone), UP).tolist() == [1.0]


def test_one_objective_and_three() -> None:
    values = np.random.default_rng(6).normal(size=(5, 6, 3))
    one = front_probability(columns(values[:, :, :1]), ("minimize",))
    assert one.sum() == pytest.approx(1)
    three = front_probability(columns(values), (*UP, "minimize"))
    two = front_probability(columns(values[:, :, :2]), UP)
    assert (three >= two - 1e-12).all()  # values that all differ: what is on a front stays on it


def test_the_seed_decides_the_draws() -> None:
    tables = [list(of_point) for of_point in np.random.default_rng(7).normal(size=(6, 2, 5, 4))]
    found = front_probability(tables, UP, seed=1)
    assert (found == front_probability(tables, UP, seed=1)).all()
    assert (found != front_probability(tables, UP, seed=2)).any()
