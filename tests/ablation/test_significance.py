"""Sign flips, Holm's adjustment, non-inferiority and ranks: by hand, against SciPy, few seeds."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
from scipy import stats

from ablate.ablation.intervals import over_seeds, over_seeds_and_images
from ablate.ablation.significance import (
    FLIPS,
    holm,
    noninferiority,
    rank_stability,
    resampled_means,
    sign_flip_test,
)


@pytest.mark.parametrize("n", [2, 3, 5, 8, 12])
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


def test_sign_flips_by_hand() -> None:
    # Sums of (1, 2, 3) with all signs: 6, 4, 2, 0, 0, -2, -4, -6.  4 is reached by 1 of 8 sums
    # more than itself, and by as many on the other side.
    assert sign_flip_test(np.array([-1.0, 2.0, 3.0])) == 4 / 8


@pytest.mark.parametrize("n", [2, 5, 8, 16])
def test_the_least_p_is_reached_where_all_signs_agree(n: int) -> None:
    differences = np.random.default_rng(n).uniform(0.1, 1.0, n)
    assert sign_flip_test(differences) == 2 / 2**n


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
    ],
)
def test_holm_by_hand(p_values: list[float], expected: list[float]) -> None:
    assert holm(p_values) == pytest.approx(expected)


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
@pytest.mark.parametrize("n_seeds", [3, 4, 5, 8])
def test_it_is_kept_exactly_where_p_is_below_a_fortieth(n_seeds: int, is_minimized: bool) -> None:
    seen = set()
    for seed in range(40):
        random = np.random.default_rng(seed)
        table = random.normal(0, 1, (n_seeds, 1)) + random.normal(0, 3, (n_seeds, 20))
        for model in (over_seeds_and_images(table), over_seeds(table.mean(axis=1))):
            for margin in (0.5, 1.5, 3.0):
                found = noninferiority(model, margin, is_minimized=is_minimized)
                assert found.kept is (found.p < 0.025), (seed, margin)
                seen.add(found.kept)
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


def test_a_clear_order_is_certain() -> None:
    values = np.array([[0.1, 0.2, 0.1], [0.9, 0.8, 0.9], [0.5, 0.5, 0.4]])
    found = rank_stability(values, names=["a", "b", "c"])
    assert found.names == ("a", "b", "c")
    assert found.mean_rank == found.rank_low == found.rank_high == (3.0, 1.0, 2.0)
    assert found.first_probability == (0.0, 1.0, 0.0)
    assert found.kendall_w == pytest.approx(1)
    assert found.n == 3


def test_ranks_by_hand_with_ties() -> None:
    # Ranks at the seeds: (1.5, 1.5, 3), (1, 2, 3), (2, 1, 3), (1, 2.5, 2.5).
    values = np.array([[5, 5, 4, 9], [5, 4, 6, 1], [1, 3, 2, 1]])
    found = rank_stability(values, names="abc")
    assert found.mean_rank == pytest.approx((5.5 / 4, 7 / 4, 11.5 / 4))
    # W = 12 S / (m^2 (n^3 - n) - m T): S of 5.5, 7, 11.5 about 8; T of two ties of two is 12.
    spread = 2.5**2 + 1 + 3.5**2
    assert found.kendall_w == pytest.approx(12 * spread / (16 * 24 - 4 * 12))


def test_kendalls_w_is_friedmans_statistic() -> None:
    values = np.random.default_rng(0).integers(0, 6, (5, 7)).astype(float)
    expected = stats.friedmanchisquare(*values).statistic / (7 * 4)
    assert rank_stability(values, names="abcde").kendall_w == pytest.approx(expected)


def test_the_bootstrap_agrees_with_all_resamples() -> None:
    values = np.array([[0.5, 0.9, 0.4], [0.6, 0.5, 0.6], [0.1, 0.7, 0.8]])
    ranks, first = [], []
    for draw in product(range(3), repeat=3):  # 27 of them, all as likely
        means = np.round(values[:, draw].mean(axis=1), 10)
        ranks.append(stats.rankdata(-means))
        best = means == means.max()
        first.append(best / best.sum())
    found = rank_stability(values, names="abc", resamples=20_000)
    assert found.first_probability == pytest.approx(np.mean(first, axis=0), abs=0.02)
    assert sum(found.first_probability) == pytest.approx(1)
    low, high = np.quantile(ranks, [0.025, 0.975], axis=0, method="nearest")
    assert found.rank_low == tuple(low)
    assert found.rank_high == tuple(high)


def test_a_seed_that_failed_in_one_cell_is_left_out_of_all() -> None:
    values = np.array([[0.1, NAN, 0.2, 0.1], [0.3, 0.4, 0.1, math.inf], [0.2, 0.1, 0.3, 0.2]])
    assert rank_stability(values, names="abc") == rank_stability(values[:, [0, 2]], names="abc")
    assert rank_stability(values, names="abc").n == 2


def test_no_common_seed_no_cell_and_one_cell() -> None:
    apart = rank_stability(np.array([[0.1, NAN], [NAN, 0.2]]), names="ab")
    assert apart.n == 0
    assert all(map(math.isnan, (*apart.mean_rank, *apart.first_probability, apart.kendall_w)))
    empty = rank_stability(np.empty((0, 4)), names=())
    assert (empty.names, empty.mean_rank, empty.first_probability) == ((), (), ())
    assert math.isnan(empty.kendall_w)
    alone = rank_stability(np.array([[0.1, 0.2, 0.3]]), names=["a"])
    assert alone.mean_rank == alone.rank_low == alone.rank_high == (1.0,)
    assert alone.first_probability == (1.0,)
    assert math.isnan(alone.kendall_w)


def test_means_are_of_seeds_and_images_drawn_with_replacement() -> None:
    table = np.arange(6.0).reshape(2, 3) ** 2
    means = resampled_means([table, 2 * table], resamples=4000, seed=0)
    assert means[:, 1] == pytest.approx(2 * means[:, 0])  # the same draw for both
    drawn = [
        table[list(seeds)][:, list(images)].mean()
        for seeds in product(range(2), repeat=2)
        for images in product(range(3), repeat=3)
    ]
    assert {round(one, 6) for one in means[:, 0]} == {round(one, 6) for one in drawn}
    assert means[:, 0].mean() == pytest.approx(np.mean(drawn), abs=0.3)
    assert means[:, 0].std() == pytest.approx(np.std(drawn), rel=0.05)
