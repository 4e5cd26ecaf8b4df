"""The sign-flip test: against SciPy, by hand, ties, few seeds and many."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
from scipy import stats

from ablate.ablation.significance import FLIPS, PermutationTest, sign_flip_test
from ablate.errors import ParameterError


@pytest.mark.parametrize("n", [2, 3, 5, 8, 12])
def test_it_is_that_of_scipy(n: int) -> None:
    differences = np.random.default_rng(n).normal(0.5, 1.0, n)
    expected = stats.permutation_test(
        (differences,),
        lambda sample, axis: sample.mean(axis=axis),
        permutation_type="samples",
        n_resamples=np.inf,
        vectorized=True,
    )
    found = sign_flip_test(differences)
    assert found.p == pytest.approx(expected.pvalue, abs=1e-12)
    assert found.exact


def test_by_hand() -> None:
    # Sums of (1, 2, 3) with all signs: 6, 4, 2, 0, 0, -2, -4, -6.  4 is reached by 1 of 8 sums
    # more than itself, and by as many on the other side.
    assert sign_flip_test(np.array([-1.0, 2.0, 3.0])).p == 4 / 8


@pytest.mark.parametrize("n", [2, 5, 8, 16])
def test_the_least_p_is_reached_where_all_signs_agree(n: int) -> None:
    differences = np.random.default_rng(n).uniform(0.1, 1.0, n)
    assert sign_flip_test(differences) == PermutationTest(2 / 2**n, True)


def test_floating_point_decides_no_tie() -> None:
    # Differences of 0.1 that were subtracted from different accuracies, and so are not equal.
    differences = np.array([0.9 - 0.8, 0.8 - 0.7, 0.4 - 0.3, 0.6 - 0.7])
    assert len(set(np.abs(differences))) > 1
    exact = np.array([1.0, 1.0, 1.0, -1.0])
    assert sign_flip_test(differences).p == sign_flip_test(exact).p == 10 / 16
    signs = np.array(list(product((-1, 1), repeat=4)))
    assert np.mean(np.abs(signs @ exact) >= 2) == 10 / 16


@pytest.mark.parametrize("unit", [1e-12, 1.0, 1e9])
def test_the_unit_changes_nothing(unit: float) -> None:
    differences = np.array([0.3, -0.1, 0.2, 0.25, -0.05])
    signs = np.array(list(product((-1, 1), repeat=5)))
    sums = np.abs(signs @ differences)
    expected = np.mean(sums >= abs(differences.sum()) - 1e-9)
    assert sign_flip_test(unit * differences).p == expected


def test_no_seed_one_seed_and_no_difference() -> None:
    none = sign_flip_test(np.array([]))
    assert math.isnan(none.p)
    assert none.exact
    assert sign_flip_test(np.array([3.0])) == PermutationTest(1.0, True)
    for n in (1, 8, 20):
        assert sign_flip_test(np.zeros(n)) == PermutationTest(1.0, n <= 16)


@pytest.mark.slow
def test_above_sixteen_seeds_signs_are_drawn() -> None:
    differences = np.random.default_rng(1).normal(0.4, 1.0, 20)
    found = sign_flip_test(differences)
    assert not found.exact
    # A normal approximation of the same distribution is near enough at twenty seeds.
    z = abs(differences.sum()) / math.sqrt(float((differences**2).sum()))
    assert found.p == pytest.approx(2 * stats.norm.sf(z), abs=0.01)
    assert found.p * (FLIPS + 1) == pytest.approx(round(found.p * (FLIPS + 1)))
    assert sign_flip_test(differences) == found


def test_drawn_and_exact_agree_at_the_border() -> None:
    differences = np.random.default_rng(2).normal(0.3, 1.0, 16)
    exact = sign_flip_test(differences)
    # A seventeenth that is zero doubles every sum, and changes no share.
    drawn = sign_flip_test(np.append(differences, 0.0))
    assert (exact.exact, drawn.exact) == (True, False)
    assert drawn.p == pytest.approx(exact.p, abs=0.006)


@pytest.mark.slow
def test_drawn_signs_never_give_zero() -> None:
    found = sign_flip_test(np.ones(40))
    assert not found.exact
    assert found.p == pytest.approx(2 / (FLIPS + 1))


@pytest.mark.slow
def test_the_error_of_the_first_kind_is_kept() -> None:
    random = np.random.default_rng(3)
    values = [sign_flip_test(random.normal(size=8)).p for _ in range(1000)]
    assert np.mean(np.array(values) <= 0.05) == pytest.approx(0.047, abs=0.02)  # 12 / 256


def test_what_is_refused() -> None:
    with pytest.raises(ParameterError) as error:
        sign_flip_test(np.zeros((2, 2)))
    assert str(error.value) == (
        "differences: must be [K], got shape (2, 2). Give one array over the seeds."
    )
    with pytest.raises(ParameterError) as error:
        sign_flip_test(np.array([0.1, math.nan]))
    assert str(error.value) == (
        "differences: must be finite, got 1 of 2 that are not. Leave out failed seeds."
    )
