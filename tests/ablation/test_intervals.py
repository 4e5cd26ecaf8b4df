"""Intervals over seeds, and over seeds and images: against SciPy, explicit sums, simulation."""

from __future__ import annotations

import math
import time

import numpy as np
import pytest
from scipy import stats

from ablate.ablation.intervals import (
    Estimate,
    crossed_interval,
    t_interval,
)
from ablate.errors import ParameterError

NAN = math.nan


def bounds(estimate: Estimate) -> tuple[float, float]:
    return estimate.low, estimate.high


def crossed(
    seed: int, n_seeds: int, n_images: int, sds: tuple[float, float, float] = (1.0, 1.0, 1.0)
) -> np.ndarray:
    random = np.random.default_rng(seed)
    shapes = (n_seeds, 1), (1, n_images), (n_seeds, n_images)
    return sum(random.normal(0, sd, shape) for sd, shape in zip(sds, shapes, strict=True))


@pytest.mark.parametrize("n", [2, 5, 20])
@pytest.mark.parametrize("level", [0.8, 0.95])
def test_over_seeds_it_is_that_of_scipy(n: int, level: float) -> None:
    random = np.random.default_rng(n)
    first, second = random.normal(0.8, 0.01, n), random.normal(0.79, 0.01, n)
    found = t_interval(first - second, level)
    expected = stats.ttest_rel(first, second).confidence_interval(level)
    assert bounds(found) == pytest.approx((expected.low, expected.high), rel=1e-9)
    scale = stats.sem(first - second)
    same = stats.t.interval(level, n - 1, loc=(first - second).mean(), scale=scale)
    assert bounds(found) == pytest.approx(same, rel=1e-9)
    assert (found.n, found.method) == (n, "t over seeds")
    assert found.sd == pytest.approx(scale * math.sqrt(n))


def test_over_seeds_by_hand() -> None:
    found = t_interval(np.array([0.01, 0.02, 0.03]))
    half = 4.302653 * 0.01 / math.sqrt(3)  # t of two degrees of freedom at 97.5 %
    assert (found.mean, found.sd) == pytest.approx((0.02, 0.01))
    assert bounds(found) == pytest.approx((0.02 - half, 0.02 + half), abs=1e-8)


@pytest.mark.parametrize("interval", [t_interval, crossed_interval])
def test_no_seed_one_seed_and_no_variation(interval: object) -> None:
    tail = () if interval is t_interval else (4,)
    none = interval(np.empty((0, *tail)))
    assert (none.n, none.method) == (0, "none")
    assert all(map(math.isnan, (none.mean, none.sd, none.low, none.high)))
    one = interval(np.full((1, *tail), 0.25))
    assert (one.mean, one.n, one.method) == (0.25, 1, "none")
    assert all(map(math.isnan, (one.sd, one.low, one.high)))
    # The mean of five times 0.1 is not 0.1 in floating point; here it is.
    alike = interval(np.full((5, *tail), 0.1))
    assert (alike.mean, alike.sd, alike.low, alike.high) == (0.1, 0.0, 0.1, 0.1)


def test_the_variance_is_that_of_explicit_sums() -> None:
    table = crossed(0, 4, 6)
    n_seeds, n_images = table.shape
    cells = [(k, i) for k in range(n_seeds) for i in range(n_images)]
    grand = sum(table[k, i] for k, i in cells) / len(cells)
    rows = [sum(table[k, i] for i in range(n_images)) / n_images for k in range(n_seeds)]
    columns = [sum(table[k, i] for k in range(n_seeds)) / n_seeds for i in range(n_images)]
    square_seeds = n_images * sum((row - grand) ** 2 for row in rows) / 3
    square_images = n_seeds * sum((column - grand) ** 2 for column in columns) / 5
    rest = [(table[k, i] - rows[k] - columns[i] + grand) ** 2 for k, i in cells]
    square_rest = sum(rest) / 15
    total = square_seeds + square_images - square_rest
    freedom = total**2 / (square_seeds**2 / 3 + square_images**2 / 5 + square_rest**2 / 15)
    # The same in the other spelling: s_K^2 / K + s_I^2 / n - s_E^2 / (K n).
    variance = (
        np.var(rows, ddof=1) / n_seeds
        + np.var(columns, ddof=1) / n_images
        - square_rest / (n_seeds * n_images)
    )
    assert variance == pytest.approx(total / (n_seeds * n_images))
    half = stats.t.ppf(0.975, freedom) * math.sqrt(variance)
    found = crossed_interval(table)
    assert found.high - found.low > np.subtract(*bounds(t_interval(table.mean(axis=1)))[::-1])
    assert bounds(found) == pytest.approx((grand - half, grand + half), rel=1e-9)
    assert found.sd == pytest.approx(np.std(rows, ddof=1))
    assert (found.n, found.method) == (4, "t over seeds and images")


def test_seeds_that_agree_leave_the_images_variance() -> None:
    # One network each, trained without chance: a paired t interval over the images.
    images = np.random.default_rng(0).normal(size=50)
    found = crossed_interval(np.tile(images, (5, 1)))
    assert bounds(found) == pytest.approx(bounds(t_interval(images)), rel=1e-9)
    assert found.sd == pytest.approx(0, abs=1e-12)


def test_images_that_agree_leave_the_seeds_variance() -> None:
    seeds = np.random.default_rng(0).normal(size=(5, 1))
    found = crossed_interval(np.tile(seeds, (1, 50)))
    assert bounds(found) == pytest.approx(bounds(t_interval(seeds[:, 0])), rel=1e-9)


def test_more_seeds_do_not_average_the_images_away() -> None:
    # Of 100 images that differ with deviation 1, no number of seeds tells more than 1 / 10.
    found = crossed_interval(crossed(0, 400, 100, (0.1, 1.0, 0.1)))
    assert (found.high - found.low) / 2 == pytest.approx(1.96 * 0.1, rel=0.2)
    over_seeds = t_interval(crossed(0, 400, 100, (0.1, 1.0, 0.1)).mean(axis=1))
    assert (over_seeds.high - over_seeds.low) / 2 < 0.02


@pytest.mark.parametrize("n_seeds", [2, 3, 5, 8])
@pytest.mark.parametrize("image_sd", [0.0, 0.5, 3.0])
def test_it_is_never_narrower_than_over_the_seeds_alone(n_seeds: int, image_sd: float) -> None:
    for seed in range(50):
        table = crossed(seed, n_seeds, 30, (0.3, image_sd, 1.0))
        both, seeds = crossed_interval(table), t_interval(table.mean(axis=1))
        assert both.mean == pytest.approx(seeds.mean, abs=1e-12)
        assert both.high - both.low >= (seeds.high - seeds.low) * (1 - 1e-12)


@pytest.mark.parametrize("n_seeds", [2, 3, 5])
def test_few_seeds_cover_what_they_say(n_seeds: int) -> None:
    # Images weigh a quarter of what seeds do: there Satterthwaite alone covers 88 % with two seeds.
    scale = math.sqrt(400 / n_seeds)
    covered = 0
    for seed in range(1000):
        found = crossed_interval(crossed(seed, n_seeds, 400, (1.0, 0.5 * scale, scale)))
        covered += found.low <= 0 <= found.high
    assert 0.93 <= covered / 1000 <= 0.98


def test_one_image_is_an_interval_over_seeds() -> None:
    seeds = np.array([0.0, 1.0, 0.0, -1.0])
    assert crossed_interval(seeds[:, None]) == t_interval(seeds)
    assert crossed_interval(seeds[:1, None]).method == "none"


def test_bits_are_taken_as_they_are() -> None:
    random = np.random.default_rng(0)
    first, second = random.random((2, 6, 40)) < 0.5
    whole = first.astype(np.int8) - second.astype(np.int8)
    assert crossed_interval(whole) == crossed_interval(whole.astype(float))


def test_the_estimated_variance_is_right_on_average_for_bits() -> None:
    # Of 0 and 1 nothing is normal.  2.0 is the normal quantile that a large freedom would give.
    random = np.random.default_rng(0)
    means, widths = [], []
    for _ in range(600):
        easy = random.normal(0, 1, (1, 60))
        push = random.normal(0, 0.3, (40, 1))
        bits = easy + push + random.normal(0, 1, (40, 60)) > 0
        found = crossed_interval(bits)
        means.append(found.mean)
        widths.append((found.high - found.low) / 2)
    assert np.median(widths) / np.std(means) == pytest.approx(2.0, rel=0.1)


def test_twenty_seeds_on_ten_thousand_images_take_milliseconds() -> None:
    table = crossed(0, 20, 10_000)
    crossed_interval(table)
    began = time.process_time()
    for _ in range(10):
        crossed_interval(table)
    assert (time.process_time() - began) / 10 < 0.02


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: t_interval(np.zeros((2, 3))),
            "differences: must be [K], got shape (2, 3). Give one array over the seeds.",
        ),
        (
            lambda: crossed_interval(np.zeros(3)),
            "differences: must be [K, n_images], got shape (3,). Give one array over the seeds.",
        ),
        (
            lambda: t_interval(np.array([0.1, NAN, math.inf])),
            "differences: must be finite, got 2 of 3 that are not. Leave out failed seeds.",
        ),
        (
            lambda: crossed_interval(np.array([[0.1, 0.2], [NAN, 0.1]])),
            "differences: must be finite, got 1 of 4 that are not. Leave out failed seeds.",
        ),
        (
            lambda: crossed_interval(np.zeros((8, 0))),
            "differences: must contain at least one image, got shape (8, 0). Score more images.",
        ),
        (
            lambda: t_interval(np.zeros(3), 95),
            "level: must be between 0 and 1, got 95. Write 0.95.",
        ),
        (
            lambda: crossed_interval(np.zeros((3, 2)), 0),
            "level: must be between 0 and 1, got 0. Write 0.95.",
        ),
    ],
)
def test_what_is_refused(call: object, message: str) -> None:
    with pytest.raises(ParameterError) as error:
        call()
    assert str(error.value) == message
