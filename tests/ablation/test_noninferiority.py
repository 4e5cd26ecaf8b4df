"""Non-inferiority: bound and p come from one model, and agree."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from ablate.ablation.intervals import over_seeds, over_seeds_and_images
from ablate.ablation.significance import noninferiority
from ablate.errors import ParameterError

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


def test_a_large_gain_is_kept_and_a_loss_beyond_the_margin_is_not() -> None:
    gain, loss = (noninferiority(over_seeds(SEEDS + by), 0.005) for by in (1, -1))
    assert (gain.kept, loss.kept) == (True, False)
    assert gain.p < 1e-6
    assert loss.p == pytest.approx(1, abs=1e-6)


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


def test_what_is_lost_of_a_metric_that_is_minimised_is_what_is_added() -> None:
    for margin in (0.001, 0.003, 0.005):
        turned = noninferiority(over_seeds(-SEEDS), margin, is_minimized=True)
        plain = noninferiority(over_seeds(SEEDS), margin)
        assert (turned.kept, turned.low) == (plain.kept, pytest.approx(plain.low))
        assert turned.p == pytest.approx(plain.p)


def test_the_bound_must_be_above_the_margin() -> None:
    model = over_seeds(SEEDS)
    edge = -model.estimate().low
    assert noninferiority(model, edge).kept is False
    assert noninferiority(model, edge * 1.0001).kept is True
    assert noninferiority(model, edge).p == pytest.approx(0.025)


def test_at_the_margin_itself_nothing_speaks_for_either_side() -> None:
    model = over_seeds(np.array([-0.5, -0.25, -0.75]))
    assert noninferiority(model, 0.5).p == 0.5


def test_too_few_seeds_say_nothing() -> None:
    two = noninferiority(over_seeds(np.array([0.2500, 0.2501])), 0.25)
    assert two.kept is None
    assert two.p < 0.001  # what is asked is not how far it lies, but how many there are
    assert noninferiority(over_seeds(np.array([0.2500, 0.2501, 0.2502])), 0.25).kept is True


def test_the_model_that_is_given_decides() -> None:
    # The images differ far more than the seeds: on these it is kept, on others it is not known.
    images = np.random.default_rng(0).normal(0, 0.2, (1, 100))
    table = images - images.mean() + SEEDS[:, None]
    assert noninferiority(over_seeds(SEEDS), 0.005).kept is True
    of_both = noninferiority(over_seeds_and_images(table), 0.005)
    assert of_both.kept is False
    assert of_both.p > 0.25


@pytest.mark.parametrize("seeds", [np.empty(0), SEEDS[:1], np.full(8, 0.25)])
def test_without_an_interval_nothing_is_said(seeds: np.ndarray) -> None:
    found = noninferiority(over_seeds(seeds), 0.005)
    assert found.kept is None
    assert math.isnan(found.p)
    assert math.isnan(found.low)


@pytest.mark.parametrize("margin", [0.0, -0.01, math.nan, math.inf])
def test_a_margin_that_is_none_is_refused(margin: float) -> None:
    with pytest.raises(ParameterError) as error:
        noninferiority(over_seeds(SEEDS), margin)
    assert str(error.value) == (
        f"margin: must be above 0 and finite, got {margin}. Give the largest loss allowed."
    )
