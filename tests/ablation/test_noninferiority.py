"""Non-inferiority: the bound decides, the sign flips stand beside it."""

from __future__ import annotations

import math

import numpy as np
import pytest

from ablate.ablation.intervals import crossed_interval, t_interval
from ablate.ablation.significance import noninferiority, sign_flip_test
from ablate.errors import ParameterError

SEEDS = np.array([-0.004, -0.001, 0.002, -0.002, 0.001])


def test_a_small_loss_is_kept_and_a_large_one_is_not() -> None:
    estimate = t_interval(SEEDS)  # -0.0008 +- 0.0030
    kept = noninferiority(SEEDS, 0.005, estimate)
    assert (kept.margin, kept.kept, kept.low) == (0.005, True, estimate.low)
    assert kept.p == 1 / 32  # all five are above -0.005
    close = noninferiority(SEEDS, 0.003, estimate)
    assert close.kept is False
    assert close.p == sign_flip_test(SEEDS + 0.003, alternative="greater").p
    assert close.p > kept.p


def test_a_large_gain_is_kept_and_a_loss_beyond_the_margin_is_not() -> None:
    assert noninferiority(SEEDS + 1, 0.005, t_interval(SEEDS + 1)).kept is True
    lost = noninferiority(SEEDS - 1, 0.005, t_interval(SEEDS - 1))
    assert lost.kept is False
    assert lost.p == 1.0


def test_the_bound_must_be_above_the_margin() -> None:
    same = np.full(5, -0.25)
    assert noninferiority(same, 0.25, t_interval(same)).kept is False
    assert noninferiority(same, 0.26, t_interval(same)).kept is True


def test_too_few_seeds_say_nothing() -> None:
    four = np.full(4, 0.25)
    found = noninferiority(four, 0.25, t_interval(four))
    assert (found.kept, found.p) == (None, 1 / 2**4)  # the least there is, and above .05


def test_the_interval_that_is_given_decides() -> None:
    # The images differ far more than the seeds: on these it is kept, on others it is not known.
    images = np.random.default_rng(0).normal(0, 0.2, (1, 100))
    table = images - images.mean() + SEEDS[:, None]
    assert noninferiority(SEEDS, 0.005, t_interval(SEEDS)).kept is True
    of_both = noninferiority(table.mean(axis=1), 0.005, crossed_interval(table))
    assert of_both.kept is False
    assert of_both.p == 1 / 32


def test_without_an_interval_nothing_is_said() -> None:
    one = noninferiority(SEEDS[:1], 0.005, t_interval(SEEDS[:1]))
    assert one.kept is None
    assert one.p == 0.5
    assert math.isnan(one.low)
    none = noninferiority(SEEDS[:0], 0.005, t_interval(SEEDS[:0]))
    assert none.kept is None
    assert math.isnan(none.p)


@pytest.mark.parametrize("margin", [0.0, -0.01, math.nan, math.inf])
def test_a_margin_that_is_none_is_refused(margin: float) -> None:
    with pytest.raises(ParameterError) as error:
        noninferiority(SEEDS, margin, t_interval(SEEDS))
    assert str(error.value) == (
        f"margin: must be above 0 and finite, got {margin}. Give the largest loss allowed."
    )


def test_an_estimate_of_other_seeds_is_refused() -> None:
    with pytest.raises(ParameterError) as error:
        noninferiority(SEEDS, 0.01, t_interval(SEEDS[:3]))
    assert str(error.value) == (
        "estimate: must use the same 5 seeds, got 3. Estimate it from these differences."
    )


def test_a_seed_that_failed_is_refused() -> None:
    with pytest.raises(ParameterError) as error:
        noninferiority(np.array([0.1, math.nan]), 0.01, t_interval(SEEDS[:2]))
    assert str(error.value) == (
        "differences: must be finite, got 1 of 2 that are not. Leave out failed seeds."
    )
