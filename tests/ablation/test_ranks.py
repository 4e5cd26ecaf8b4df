"""Ranks over seeds: by hand, against SciPy, ties, few cells and few seeds."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
from scipy import stats

from ablate.ablation.significance import rank_stability, resampled_means
from ablate.errors import ParameterError

NAN = math.nan


def test_a_clear_order_is_certain() -> None:
    values = np.array([[0.1, 0.2, 0.1], [0.9, 0.8, 0.9], [0.5, 0.5, 0.4]])
    found = rank_stability(values, names=["a", "b", "c"])
    assert found.names == ("a", "b", "c")
    assert found.mean_rank == found.rank_low == found.rank_high == (3.0, 1.0, 2.0)
    assert found.first_probability == (0.0, 1.0, 0.0)
    assert found.kendall_w == pytest.approx(1)
    assert found.n == 3


def test_by_hand_with_ties() -> None:
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


def test_cells_that_are_alike_share_their_rank() -> None:
    found = rank_stability(np.full((2, 3), 0.1), names="ab")
    assert found.mean_rank == found.rank_low == found.rank_high == (1.5, 1.5)
    assert found.first_probability == (0.5, 0.5)
    assert math.isnan(found.kendall_w)


def test_floating_point_decides_no_tie() -> None:
    values = np.array([[0.1 + 0.2, 0.7 + 0.1, 0.6], [0.3, 0.8, 0.2 * 3]])
    assert (values[0] != values[1]).all()
    found = rank_stability(values, names="ab")
    assert found.mean_rank == found.rank_low == found.rank_high == (1.5, 1.5)
    assert found.first_probability == (0.5, 0.5)


def test_a_seed_that_failed_in_one_cell_is_left_out_of_all() -> None:
    values = np.array([[0.1, NAN, 0.2, 0.1], [0.3, 0.4, 0.1, math.inf], [0.2, 0.1, 0.3, 0.2]])
    assert rank_stability(values, names="abc") == rank_stability(values[:, [0, 2]], names="abc")
    assert rank_stability(values, names="abc").n == 2


def test_one_seed_says_nothing_of_luck() -> None:
    found = rank_stability(np.array([[0.1], [0.3]]), names="ab")
    assert found.mean_rank == (2.0, 1.0)
    assert found.n == 1
    assert all(map(math.isnan, (*found.rank_low, *found.rank_high, *found.first_probability)))
    assert math.isnan(found.kendall_w)


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


def test_the_seed_decides_the_draws() -> None:
    values = np.random.default_rng(0).normal(size=(4, 6))
    found = rank_stability(values, names="abcd", seed=3)
    assert found == rank_stability(values, names="abcd", seed=3)
    assert found != rank_stability(values, names="abcd", seed=4)
    assert 0 < max(found.first_probability) < 1
    means = resampled_means(list(values[:, :, None]), resamples=5, seed=0)
    assert means.shape == (5, 4)


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


def test_the_seeds_are_drawn_alike_however_many_images_there_are() -> None:
    of_seeds = np.random.default_rng(0).normal(size=(5, 1))
    one, many = (
        resampled_means([np.tile(of_seeds, (1, n))], resamples=300, seed=3) for n in (1, 40)
    )
    assert one == pytest.approx(many)


@pytest.mark.parametrize("shape", [(2, 5), (3,), (3, 5, 1)])
def test_another_shape_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ParameterError) as error:
        rank_stability(np.zeros(shape), names="abc")
    assert str(error.value) == (
        f"values: must be [cells, K] with 3 cells as in names, got shape {shape}. Give one name "
        "per row."
    )
