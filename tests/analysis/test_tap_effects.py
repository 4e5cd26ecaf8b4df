"""What taps go along with."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from scipy import stats

from ablate.analysis.importance import TapEffects, tap_effects

KEY = "loss.fma.layers"


def effects(*trials: tuple[str, float], space: Any = None, **others: list[Any]) -> TapEffects:
    """Of trials with these taps and scores, and other parameters, one value a trial."""
    named = {key.replace("_", "."): values for key, values in others.items()}
    rows = [
        {KEY: list(taps)} | {key: values[at] for key, values in named.items()}
        for at, (taps, _) in enumerate(trials)
    ]
    return tap_effects(rows, KEY, np.array([score for _, score in trials]), space or {})


def test_a_taps_difference_holds_the_other_taps() -> None:
    """Where b always goes with a, the plain means would credit a with what b brings."""
    a, b, c = effects(*[("c", 0.60)] * 3, *[("ac", 0.62)] * 3, *[("abc", 0.72)] * 6).taps
    assert [one.tap for one in (a, b, c)] == ["a", "b", "c"]
    assert (a.difference, b.difference) == pytest.approx((0.02, 0.10))
    assert (a.trials_in, a.trials_out, b.trials_in, b.trials_out) == (9, 3, 6, 6)
    assert math.isnan(c.difference), "it is in every trial"
    assert math.isnan(c.low)


def test_the_interval_is_students() -> None:
    without, with_b = [0.60, 0.62, 0.61], [0.70, 0.73, 0.70]
    _, b = effects(*(("a", one) for one in without), *(("ab", one) for one in with_b)).taps
    expected = stats.ttest_ind(with_b, without).confidence_interval(0.95)
    assert b.difference == pytest.approx(0.10)
    assert (b.low, b.high) == pytest.approx((expected.low, expected.high))


def test_weight_strength_and_terms_are_adjusted_for() -> None:
    random = np.random.default_rng(0)
    weights, strengths = 10 ** random.uniform(-2, 1, 24), random.uniform(0.2, 1, 24)
    terms = [("clean+fma", "clean+st+fma")[at // 2 % 2] for at in range(24)]
    scores = 0.5 + 0.02 * np.log10(weights) + 0.1 * strengths
    scores += [0.07 * (at % 2) + 0.03 * (terms[at] != "clean+fma") for at in range(24)]
    trials = [("ab"[: 1 + at % 2], float(scores[at])) for at in range(24)]
    others = {"augment_strength": strengths.tolist(), "loss_fma_weight": weights.tolist()}
    space = {"loss.fma.weight": {"float": [0.01, 30], "log": True}}
    found = effects(*trials, space=space, loss_terms=terms, **others)
    assert found.adjusted == ("augment.strength", "loss.fma.weight", "loss.terms")
    b = found.taps[1]
    assert (b.difference, b.low, b.high) == pytest.approx((0.07, 0.07, 0.07))
    few = effects(*trials[:8], space=space, loss_terms=terms, **others)
    assert few.adjusted == (), "of 8 trials 2 would be left to tell an error"
