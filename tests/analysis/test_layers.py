"""What taps and subsets of taps go along with."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from example_records import example_record, example_row
from scipy import stats

from ablate.analysis.layers import LayersInfo, layers_info, least_squares, mean_interval
from ablate.errors import NothingToDrawError
from ablate.ledger.record import RowRecord

ROBUST = 1


def tap_row(number: int, taps: str, robust: float, **others: Any) -> RowRecord:
    params = {"loss.terms": "clean+fma", "loss.fma.layers": list(taps), **others}
    return example_row(number, (0.9, robust), params=params)


def info_of(*rows: RowRecord, **settings: Any) -> LayersInfo:
    return layers_info(example_record(rows, **settings), ROBUST)


def test_a_taps_difference_holds_the_other_taps() -> None:
    """Where b always goes with a, the plain means would credit a with what b brings."""
    rows = [
        *(tap_row(at, "c", 0.60) for at in range(3)),
        *(tap_row(at, "ac", 0.62) for at in range(3, 6)),
        *(tap_row(at, "abc", 0.72) for at in range(6, 12)),
    ]
    info = info_of(*rows)
    assert info.taps == ("a", "b", "c")
    a, b, c = info.effects
    assert (a.difference, b.difference) == pytest.approx((0.02, 0.10))
    assert (a.trials_in, a.trials_out, b.trials_in, b.trials_out) == (9, 3, 6, 6)
    assert math.isnan(c.difference), "it is in every trial"
    assert math.isnan(c.low)


def test_the_interval_is_students() -> None:
    scores = [0.60, 0.62, 0.61, 0.70, 0.73, 0.70]
    taps = ["a", "a", "a", "ab", "ab", "ab"]
    info = info_of(*(tap_row(at, *two) for at, two in enumerate(zip(taps, scores, strict=True))))
    expected = stats.ttest_ind(scores[3:], scores[:3]).confidence_interval(0.95)
    (_, b) = info.effects
    assert b.difference == pytest.approx(0.10)
    assert (b.low, b.high) == pytest.approx((expected.low, expected.high))


def test_taps_that_always_go_together_are_not_told_apart() -> None:
    rows = [tap_row(at, "abc"[: 1 + 2 * (at % 2)], 0.6 + 0.1 * (at % 2)) for at in range(6)]
    _, b, c = info_of(*rows).effects
    assert math.isnan(b.difference)
    assert math.isnan(c.difference)


def test_weight_strength_and_terms_are_adjusted_for() -> None:
    random = np.random.default_rng(0)
    rows = []
    for number in range(24):
        has_b, terms = number % 2, ("clean+fma", "clean+st+fma")[number // 2 % 2]
        weight, strength = float(10 ** random.uniform(-2, 1)), float(random.uniform(0.2, 1))
        robust = 0.5 + 0.07 * has_b + 0.02 * math.log10(weight) + 0.1 * strength
        robust += 0.03 * (terms == "clean+st+fma")
        others = {"loss.fma.weight": weight, "augment.strength": strength, "loss.terms": terms}
        rows.append(tap_row(number, "ab"[: 1 + has_b], robust, **others))
    space = {"loss.fma.weight": {"float": [0.01, 30], "log": True}}
    info = info_of(*rows, space=space)
    assert info.adjusted == ("augment.strength", "loss.fma.weight", "loss.terms")
    assert info.unadjusted == ()
    _, b = info.effects
    assert (b.difference, b.low, b.high) == pytest.approx((0.07, 0.07, 0.07))
    few = info_of(*rows[:8], space=space)
    assert few.adjusted == ()
    assert few.unadjusted == info.adjusted, "of 8 trials 2 would be left to tell an error"


def test_subsets_have_their_trials_mean_and_interval() -> None:
    info = info_of(
        tap_row(0, "ab", 0.6), tap_row(1, "b", 0.8), tap_row(2, "b", 0.7), tap_row(3, "a", 0.5)
    )
    assert [(one.taps, one.numbers) for one in info.subsets] == [
        (("b",), (1, 2)), (("a", "b"), (0,)), (("a",), (3,)),
    ]  # fmt: skip
    best, single, _ = info.subsets
    half = 12.7062 * 0.05  # t of one degree of freedom, times the standard error
    assert (best.mean, best.low, best.high) == pytest.approx((0.75, 0.75 - half, 0.75 + half), 1e-4)
    assert single.mean == 0.6
    assert math.isnan(single.low)
    frame = info.frame()
    assert frame.kind.tolist() == ["tap", "tap", "subset", "subset", "subset"]
    assert frame.taps.tolist() == ["a", "b", "b", "a+b", "a"]
    assert frame.trials.tolist() == [2, 3, 2, 1, 1]
    assert frame.best.tolist()[2:] == [0.8, 0.6, 0.5]


def test_of_a_cost_the_least_is_the_best() -> None:
    objectives = [("val_clean_accuracy", "maximize"), ("train_seconds", "minimize")]
    rows = [tap_row(0, "a", 30.0), tap_row(1, "b", 10.0), tap_row(2, "b", 14.0)]
    info = info_of(*rows, objectives=objectives, reference_point=None)
    assert [one.mean for one in info.subsets] == [12.0, 30.0]
    assert info.frame().best.tolist()[-2:] == [10.0, 30.0]


def test_taps_stand_in_the_networks_order() -> None:
    rows = [tap_row(0, "bc", 0.6), tap_row(1, "d", 0.6), tap_row(2, "ab", 0.6)]
    assert info_of(*rows).taps == ("a", "b", "c", "d")


def test_only_complete_trials_with_fma_and_a_number_count() -> None:
    rows = [
        tap_row(0, "a", 0.6),
        replace(tap_row(1, "a", 0.7), state="PRUNED", values=None),
        tap_row(2, "a", math.nan),
        example_row(3, (0.9, 0.8), params={"loss.terms": "clean+st"}),
    ]
    (subset,) = info_of(*rows).subsets
    assert subset.numbers == (0,)


def test_before_the_first_trial_is_complete() -> None:
    info = info_of(space={"loss.fma.layers": {"subset": "taps"}})
    assert (info.taps, info.effects, info.subsets) == ((), (), ())
    assert len(info.frame()) == 0


def test_layers_that_are_not_searched() -> None:
    with pytest.raises(
        NothingToDrawError,
        match=r"^study example: figure layers needs loss\.fma\.layers among what is searched, "
        r"got loss\.terms\. Write loss\.fma\.layers: \{subset: taps\}\.$",
    ):
        info_of(example_row(0, (0.9, 0.7)))


def test_with_as_many_columns_as_trials_there_is_no_interval() -> None:
    ((slope, low, high),) = least_squares(np.array([[0.0], [1.0]]), np.array([1.0, 3.0]), 0.95)
    assert slope == pytest.approx(2.0)
    assert math.isnan(low)
    assert math.isnan(high)
    assert mean_interval([2.0], 0.95)[0] == 2.0
