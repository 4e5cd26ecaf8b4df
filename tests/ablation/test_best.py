"""Which arms are bold: the best mean, and all whose paired difference to it may be nothing."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from example_results import DIED, ROBUST, Run, make_example, make_scored, make_scores
from recompute import Model

from ablate.ablation.cell import Arm
from ablate.ablation.effects import arm_difference, tied_with_best
from ablate.ablation.results import Results

BASELINE = 0.4


def results_of(cells: Mapping[str, Sequence[Any]], baseline: Any = None) -> Results:
    """Cells by their runs, or by their robust accuracy at each seed; NaN: it failed."""

    def run(one: Any) -> Run:
        if not isinstance(one, float):
            return one
        return DIED if math.isnan(one) else make_scores(one)

    runs = {name: [run(one) for one in row] for name, row in cells.items()}
    return make_example(runs, baseline=baseline).results()


def best(cells: Mapping[str, Sequence[Any]], baseline: Any = None, **of: Any) -> set[str]:
    names = [*(["baseline"] if baseline is not None else []), *cells]
    arms = [Arm(name, (name,)) for name in names]
    found = results_of(cells, baseline)
    return set(tied_with_best(found, arms, ROBUST, **{"is_minimized": False, **of}))


PLAIN = [0.50, 0.60, 0.55, 0.65, 0.70]


@pytest.mark.parametrize(
    ("gains", "is_tied"),
    [
        ([-0.01, -0.02, -0.01, -0.02, -0.01], False),  # at every seed, though the seeds vary by .2
        ([-0.01, -0.02, 0.01, -0.02, 0.02], True),
        ([-0.01, -0.01, -0.01, -0.01, math.nan], False),  # of four that are alike nothing is known
        ([0.0, 0.0, 0.0, 0.0, 0.0], True),
    ],
)
def test_an_arm_is_tied_by_its_paired_difference(gains: list[float], is_tied: bool) -> None:
    other = [base + gain for base, gain in zip(PLAIN, gains, strict=True)]
    assert best({"plain": PLAIN, "FMA": other}) == ({"plain", "FMA"} if is_tied else {"plain"})
    turned = [1 - one for one in PLAIN], [1 - one for one in other]
    of_less = best({"plain": turned[0], "FMA": turned[1]}, is_minimized=True)
    assert of_less == ({"plain", "FMA"} if is_tied else {"plain"})


def test_it_is_the_interval_of_the_model() -> None:
    random = np.random.default_rng(0)
    tied = 0
    for _ in range(100):
        first, second = random.normal(0.5, 0.02, (2, 5))
        second -= 0.02
        names = ("a", "b") if first.mean() > second.mean() else ("b", "a")
        low, high = Model(first - second).bounds()
        expected = set(names) if low <= 0 <= high else {names[0]}
        assert best({"a": first.tolist(), "b": second.tolist()}) == expected
        tied += len(expected) == 2
    assert 10 < tied < 90


def test_with_bits_the_images_are_a_part_of_it() -> None:
    random = np.random.default_rng(1)
    rates = {"plain": 0.5, "FMA": 0.6, "ST": 0.62}
    cells = {name: [make_scored(random, rate) for _ in range(5)] for name, rate in rates.items()}
    results = results_of(cells)
    arms = {name: Arm(name, (name,)) for name in cells}
    means = {name: results.values(name, ROBUST).mean() for name in cells}
    top = max(means, key=lambda name: means[name])
    shares = {name: np.asarray(results.shares(name, ROBUST, [0, 1, 2, 3, 4])) for name in cells}
    expected = {top}
    for name in cells:
        if name == top:
            continue
        low, high = Model(shares[name] - shares[top]).bounds()
        found = arm_difference(results, arms[name], arms[top], ROBUST, 0.95)
        assert (found.low, found.high) == pytest.approx((low, high))
        assert found.method == "t over seeds and images"
        expected |= {name} if low <= 0 <= high else set()
    assert best(cells) == expected
    assert 1 < len(expected) < 3


def test_the_one_baseline_is_compared_with_every_seed() -> None:
    baseline = make_scores(BASELINE)
    assert best({"plain": PLAIN}, baseline) == {"plain"}
    below = [BASELINE + by for by in (-0.01, -0.02, -0.01, -0.03, -0.02)]
    assert best({"plain": below}, baseline) == {"baseline"}
    around = [BASELINE + by for by in (-0.01, 0.02, -0.01, 0.01, 0.02)]
    assert best({"plain": around}, baseline) == {"baseline", "plain"}


def test_one_seed_ties_with_nothing_but_its_like() -> None:
    assert best({"a": [0.7], "b": [0.7], "c": [0.6]}) == {"a", "b"}
    assert best({"a": [0.7], "b": [0.71]}) == {"b"}


def test_floating_point_decides_no_tie() -> None:
    # One arm is the mean of three models, and equal to the other but for how it is added up.
    cells = {name: [0.3, 0.4, 0.0] for name in ("a", "b", "c", "d")}
    arms = [Arm("single", ("a", "b", "c")), Arm("d", ("d",))]
    results = results_of(cells)
    single = np.mean([results.values(name, ROBUST) for name in "abc"], axis=0)
    assert single.mean() != results.values("d", ROBUST).mean()
    assert tied_with_best(results, arms, ROBUST, is_minimized=False) == ("single", "d")


def test_an_arm_without_a_run_is_none_of_them() -> None:
    nan = math.nan
    assert best({"nothing": [nan] * 3, "b": [0.1, 0.2, 0.1]}) == {"b"}
    assert best({"nothing": [nan] * 3}) == set()
    found = arm_difference(
        results_of({"nothing": [nan] * 3, "b": [0.1, 0.2, 0.1]}),
        *(Arm(name, (name,)) for name in ("nothing", "b")),
        ROBUST,
        0.95,
    )
    assert (found.n, found.method) == (0, "none")
