"""Sign flips, Holm's adjustment, non-inferiority, equivalence: by hand, by SciPy, few seeds."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
from scipy import stats

from ablate.ablation.intervals import over_seeds, over_seeds_and_images
from ablate.ablation.significance import (
    FLIPS,
    equivalence_p,
    holm,
    noninferiority,
    sign_flip_test,
)


@pytest.mark.parametrize("n", [2, 3, 8])
def test_sign_flips_are_those_of_scipy(n: int) -> None:
    differences = np.random.default_rng(n).normal(0.5, 1.0, n)
    expected = stats.permutation_test(
        (differences,),
        lambda sample, axis: sample.mean(axis=axis),
        permutation_type="samples",
        n_resamples=np.inf,
        vectorized=True,
    )
    assert sign_flip_test(differences) == pytest.approx(expected.pvalue, abs=1e-12)


def test_floating_point_decides_no_tie_of_signs() -> None:
    # Differences of 0.1 that were subtracted from different accuracies, and so are not equal.
    differences = np.array([0.9 - 0.8, 0.8 - 0.7, 0.4 - 0.3, 0.6 - 0.7])
    assert len(set(np.abs(differences))) > 1
    exact = np.array([1.0, 1.0, 1.0, -1.0])
    assert sign_flip_test(differences) == sign_flip_test(exact) == 10 / 16
    signs = np.array(list(product((-1, 1), repeat=4)))
    assert np.mean(np.abs(signs @ exact) >= 2) == 10 / 16


def test_no_seed_one_seed_and_no_difference() -> None:
    assert math.isnan(sign_flip_test(np.array([])))
    assert sign_flip_test(np.array([3.0])) == 1.0
    for n in (1, 8, 20):
        assert sign_flip_test(np.zeros(n)) == 1.0


@pytest.mark.slow
def test_above_sixteen_seeds_signs_are_drawn() -> None:
    differences = np.random.default_rng(1).normal(0.4, 1.0, 20)
    found = sign_flip_test(differences)
    # A normal approximation of the same distribution is near enough at twenty seeds.
    z = abs(differences.sum()) / math.sqrt(float((differences**2).sum()))
    assert found == pytest.approx(2 * stats.norm.sf(z), abs=0.01)
    assert found * (FLIPS + 1) == pytest.approx(round(found * (FLIPS + 1)))
    assert sign_flip_test(differences) == found


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
    ],
)
def test_holm_by_hand(p_values: list[float], expected: list[float]) -> None:
    assert holm(p_values) == pytest.approx(expected)


SEEDS = np.array([-0.004, -0.001, 0.002, -0.002, 0.001])


def test_a_small_loss_is_kept_and_a_large_one_is_not() -> None:
    model = over_seeds(SEEDS)  # -0.0008 +- 0.0030
    kept = noninferiority(model, 0.005)
    assert (kept.margin, kept.kept, kept.low) == (0.005, True, model.estimate().low)
    close = noninferiority(model, 0.003)
    assert close.kept is False
    for found, margin in ((kept, 0.005), (close, 0.003)):
        expected = stats.ttest_1samp(SEEDS, -margin, alternative="greater").pvalue
        assert found.p == pytest.approx(expected, rel=1e-8)


@pytest.mark.parametrize("is_minimized", [False, True])
@pytest.mark.parametrize("n_seeds", [3, 8])
def test_it_is_kept_exactly_where_p_is_below_a_fortieth(n_seeds: int, is_minimized: bool) -> None:
    seen = set()
    for seed in range(10):
        random = np.random.default_rng(seed)
        table = random.normal(0, 1, (n_seeds, 1)) + random.normal(0, 3, (n_seeds, 20))
        for model in (over_seeds_and_images(table), over_seeds(table.mean(axis=1))):
            for margin in (0.5, 1.5, 3.0):
                found = noninferiority(model, margin, is_minimized=is_minimized)
                assert found.kept is (found.p < 0.025), (seed, margin)
                seen.add(found.kept)
    assert seen == {True, False}


@pytest.mark.parametrize("n_seeds", [3, 8])
def test_two_are_equivalent_exactly_where_the_interval_is_within_the_margin(n_seeds: int) -> None:
    seen = set()
    for seed in range(10):
        random = np.random.default_rng(seed)
        table = random.normal(0, 1, (n_seeds, 1)) + random.normal(0, 3, (n_seeds, 20))
        seeds = table.mean(axis=1)
        for margin in (0.5, 1.5, 3.0):
            tests = [
                stats.ttest_1samp(seeds, -margin, alternative="greater").pvalue,
                stats.ttest_1samp(seeds, margin, alternative="less").pvalue,
            ]
            assert equivalence_p(over_seeds(seeds), margin) == pytest.approx(max(tests), rel=1e-8)
            for model in (over_seeds_and_images(table), over_seeds(seeds)):
                one, is_within = model.estimate(), equivalence_p(model, margin) < 0.025
                assert is_within == (-margin < one.low and one.high < margin), (seed, margin)
                seen.add(is_within)
    assert seen == {True, False}


def test_too_few_seeds_say_nothing() -> None:
    two = noninferiority(over_seeds(np.array([0.2500, 0.2501])), 0.25)
    assert two.kept is None
    assert two.p < 0.001  # what is asked is not how far it lies, but how many there are
    assert noninferiority(over_seeds(np.array([0.2500, 0.2501, 0.2502])), 0.25).kept is True


@pytest.mark.parametrize("seeds", [np.empty(0), SEEDS[:1], np.full(8, 0.25)])
def test_without_an_interval_nothing_is_said(seeds: np.ndarray) -> None:
    found = noninferiority(over_seeds(seeds), 0.005)
    assert found.kept is None
    assert math.isnan(found.p)
    assert math.isnan(found.low)
    assert math.isnan(equivalence_p(over_seeds(seeds), 0.005))
