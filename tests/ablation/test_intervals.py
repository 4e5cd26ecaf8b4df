"""Intervals over seeds, and over seeds and images: against SciPy, explicit sums, simulation."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from recompute import ADDED_IMAGES, Model, mean_squares
from scipy import stats
from threadpoolctl import threadpool_limits

from ablate.ablation.intervals import (
    Estimate,
    MeanModel,
    over_images,
    over_seeds,
    over_seeds_and_images,
    t_interval,
)


def crossed_interval(differences: np.ndarray, level: float = 0.95) -> Estimate:
    return over_seeds_and_images(differences).estimate(level)


def bounds(estimate: Estimate) -> tuple[float, float]:
    return estimate.low, estimate.high


def crossed(
    seed: int, n_seeds: int, n_images: int, sds: tuple[float, float, float] = (1.0, 1.0, 1.0)
) -> np.ndarray:
    random = np.random.default_rng(seed)
    shapes = (n_seeds, 1), (1, n_images), (n_seeds, n_images)
    return sum(random.normal(0, sd, shape) for sd, shape in zip(sds, shapes, strict=True))


def right_or_wrong(seed: int, n_seeds: int, n_images: int, rate: float) -> np.ndarray:
    """Differences of bits: one network is right on `rate` of the images, one on a little less."""
    random = np.random.default_rng(seed)
    first, second = (random.random((n_seeds, n_images)) < one for one in (rate, rate - 0.02))
    return first.astype(float) - second


@pytest.mark.parametrize(("n", "level"), [(2, 0.95), (20, 0.8)])
def test_over_seeds_it_is_that_of_scipy(n: int, level: float) -> None:
    random = np.random.default_rng(n)
    first, second = random.normal(0.8, 0.01, n), random.normal(0.79, 0.01, n)
    found = t_interval(first - second, level)
    expected = stats.ttest_rel(first, second).confidence_interval(level)
    assert bounds(found) == pytest.approx((expected.low, expected.high), rel=1e-9)
    assert (found.n, found.method) == (n, "t over seeds")
    assert found.sd == pytest.approx(np.std(first - second, ddof=1))


@pytest.mark.parametrize("interval", [t_interval, crossed_interval])
def test_no_seed_and_one_seed(interval: object) -> None:
    tail = () if interval is t_interval else (4,)
    none = interval(np.empty((0, *tail)))
    assert (none.n, none.method) == (0, "none")
    assert all(map(math.isnan, (none.mean, none.sd, none.low, none.high)))
    one = interval(np.full((1, *tail), 0.25))
    assert (one.mean, one.n, one.method) == (0.25, 1, "none")
    assert all(map(math.isnan, (one.sd, one.low, one.high)))
    for model in (over_seeds(np.empty(0)), over_seeds(np.array([0.25]))):
        assert math.isnan(model.p())


def test_over_images_by_hand() -> None:
    """Of 100 images 12 are won and 4 lost; 2.5 more are added, each of size 1."""
    bits = np.repeat([1.0, -1.0, 0.0], [12, 4, 84])
    variance = (16 - 100 * 0.08**2 + ADDED_IMAGES) / (100 + ADDED_IMAGES - 1)
    half = stats.t.ppf(0.975, 99) * math.sqrt(variance / 100)
    found = over_images(bits).estimate()
    assert (found.mean, found.n, found.method) == (pytest.approx(0.08), 1, "t over images")
    assert bounds(found) == pytest.approx((0.08 - half, 0.08 + half))
    assert math.isnan(found.sd), "of one seed"
    assert over_images(bits).p(found.low) == pytest.approx(0.05)


def test_over_images_where_no_image_differs_and_of_one() -> None:
    found = over_images(np.zeros(100)).estimate()
    assert found.high == -found.low > 1 / 100
    one = over_images(np.array([0.5])).estimate()
    assert (one.mean, one.method) == (0.5, "none")
    assert math.isnan(one.low)


def test_equal_seeds_say_nothing_of_seeds() -> None:
    # The mean of five times 0.1 is not 0.1 in floating point; here it is.
    model = over_seeds(np.full(5, 0.1))
    alike = model.estimate()
    assert (alike.mean, alike.sd, alike.n, alike.method) == (0.1, 0.0, 5, "none")
    assert all(map(math.isnan, (alike.low, alike.high, model.p(), model.p(0.1))))


@pytest.mark.parametrize(("n_seeds", "n_images"), [(2, 359), (8, 36)])
def test_images_that_do_not_differ_exclude_no_small_difference(n_seeds: int, n_images: int) -> None:
    found = over_seeds_and_images(np.zeros((n_seeds, n_images)))
    estimate = found.estimate()
    # Of the added images alone, each right for one network only.
    variance = ADDED_IMAGES / (n_images + ADDED_IMAGES - 1)
    half = stats.t.ppf(0.975, n_images - 1) * math.sqrt(variance / n_images)
    assert (estimate.mean, found.p()) == (0.0, 1.0)
    assert bounds(estimate) == pytest.approx((-half, half), rel=1e-9)
    assert half > 2 / n_images


TABLES = {
    "normal": lambda seed, k: crossed(seed, k, 6),
    "no images": lambda seed, k: crossed(seed, k, 6, (1.0, 0.0, 1.0)),
    "no seeds": lambda seed, k: crossed(seed, k, 6, (0.0, 1.0, 1.0)),
    "bits": lambda seed, k: right_or_wrong(seed, k, 20, 0.6),
    "ceiling": lambda seed, k: right_or_wrong(seed, k, 60, 0.99),
}


def fourths(table: np.ndarray) -> float:
    return (table**4).sum() / (table**2).sum()


@pytest.mark.parametrize("kind", TABLES)
@pytest.mark.parametrize("n_seeds", [2, 5])
def test_the_parts_of_the_variance_are_explicit_sums(kind: str, n_seeds: int) -> None:
    for seed in range(3):
        table = TABLES[kind](seed, n_seeds)
        n_images = table.shape[1]
        of_seeds, of_images, rest = mean_squares(table)
        found = over_seeds_and_images(table)
        total = max(of_seeds + of_images - rest, 0.0)
        free = (n_seeds - 1, n_images - 1, (n_seeds - 1) * (n_images - 1))
        spread = sum(
            square**2 / one for square, one in zip((of_seeds, of_images, rest), free, strict=True)
        )
        parts = np.array([found.total, found.of_seeds, found.of_images]) * table.size
        expected = (total, max(of_seeds - rest, 0.0), max(of_images, rest))
        assert parts == pytest.approx(expected, rel=1e-9, abs=1e-12)
        assert found.freedom == pytest.approx(max(n_seeds - 1, total**2 / spread))
        assert found.image_freedom == n_images - 1
        # Of the components the added images are no part.
        scored = (
            of_images * (n_images + ADDED_IMAGES - 1) - n_seeds * ADDED_IMAGES * fourths(table)
        ) / (n_images - 1)
        variances = (of_seeds - rest) / n_images, (scored - rest) / n_seeds, rest
        components = found.components
        assert components is not None
        assert [components.seeds, components.images, components.rest] == pytest.approx(
            [math.sqrt(max(one, 0.0)) for one in variances], rel=1e-6, abs=1e-7
        )
        # The same in the other spelling: s_K^2 / K + s_I^2 / n - s_E^2 / (K n).
        seeds_alone = np.var(table.mean(axis=1), ddof=1) / n_seeds
        assert of_seeds / table.size == pytest.approx(seeds_alone)


@pytest.mark.parametrize("kind", TABLES)
@pytest.mark.parametrize("n_seeds", [2, 5])
def test_interval_and_p_are_those_of_the_widest_form(kind: str, n_seeds: int) -> None:
    for seed in range(3):
        table = TABLES[kind](seed, n_seeds)
        found, expected = over_seeds_and_images(table), Model(table)
        assert found.mean == pytest.approx(expected.mean, abs=1e-12)
        assert found.sd == pytest.approx(expected.sd, abs=1e-12)
        for level in (0.8, 0.95, 0.999):
            assert bounds(found.estimate(level)) == pytest.approx(
                expected.bounds(1 - level), rel=1e-7
            )
        for null in (0.0, 0.05, -1.0):
            assert found.p(null) == pytest.approx(expected.p(null), rel=1e-5)


def models(seed: int, n_seeds: int) -> Iterator[MeanModel]:
    for make in TABLES.values():
        yield over_seeds_and_images(make(seed, n_seeds))
    yield over_seeds(np.random.default_rng(seed).normal(0.5, 1.0, n_seeds))


@pytest.mark.parametrize(
    ("n_seeds", "draws"), [(2, 2), pytest.param(5, 20, marks=pytest.mark.slow)]
)
def test_p_is_below_alpha_exactly_where_the_interval_excludes_the_null(
    n_seeds: int, draws: int
) -> None:
    sides = set()
    for seed in range(draws):
        for model in models(seed, n_seeds):
            scale = abs(model.mean) + model.estimate(0.5).high - model.estimate(0.5).low
            for null in (0.0, model.mean + scale, model.mean - 3 * scale, 0.01):
                for level in (0.5, 0.8, 0.95, 0.975, 0.99):
                    found = model.estimate(level)
                    is_out = not found.low <= null <= found.high
                    if not math.isclose(model.p(null), 1 - level, rel_tol=1e-9):
                        assert (model.p(null) < 1 - level) == is_out, (seed, null, level)
                    sides.add(is_out)
            # At its own level the interval ends at the null.
            level = 1 - model.p(0.01)
            if 0 < level < 1 - 1e-6:
                edge = min(model.estimate(level).low, model.estimate(level).high, key=_from(0.01))
                assert edge == pytest.approx(0.01, abs=1e-8 + 1e-6 * scale)
    assert sides == {True, False}


def _from(null: float) -> Callable[[float], float]:
    return lambda bound: abs(bound - null)


def test_one_image_is_an_interval_over_seeds() -> None:
    seeds = np.array([0.0, 1.0, 0.0, -1.0])
    assert crossed_interval(seeds[:, None]) == t_interval(seeds)
    assert crossed_interval(seeds[:1, None]).method == "none"


def test_the_number_of_threads_changes_no_digit() -> None:
    differences = np.random.default_rng(0).integers(-1, 2, (8, 5000)) / 3
    found = []
    for threads in (1, 2, 4):
        with threadpool_limits(threads, "blas"):
            found.append(over_seeds_and_images(differences))
    assert found[0] == found[1] == found[2]
