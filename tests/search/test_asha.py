"""The pruner: which trials continue at a rung, on one metric and on several."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from ablate.search.asha import Asha, goes_on
from ablate.study.scores import Bound
from ablate.study.settings import ObjectiveSettings, PrunerSettings

Gains = Sequence[tuple[float, ...]]


def continuing(gains: Gains, factor: int) -> set[int]:
    return {own for own in range(len(gains)) if goes_on(gains, own, factor)}


def dominates(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    return one != other and all(a >= b for a, b in zip(one, other, strict=True))


def test_below_the_factor_every_trial_continues() -> None:
    assert continuing([(0.1, 0.1), (0.9, 0.9)], 3) == {0, 1}
    assert continuing([(0.1, 0.1), (0.9, 0.9), (0.5, 0.5)], 3) == {1}


def test_an_infinite_value_is_the_largest() -> None:
    """Of three metrics it ended the process, in moocore's ranks."""
    random = np.random.default_rng(0)
    for _ in range(40):
        gains = [*map(tuple, random.random((6, 3)))]
        gains[1] = (gains[1][0], math.inf, gains[1][2])
        assert 1 in continuing(gains, 2)


@pytest.mark.parametrize("factor", [2, 4])
def test_one_metric_is_its_order_and_equal_values_continue_together(factor: int) -> None:
    values = np.random.default_rng(factor).integers(0, 9, 30) / 10
    gains = [(value,) for value in values]
    room = math.ceil(len(values) / factor)
    best = {own for own in range(30) if (values > values[own]).sum() < room}
    assert continuing(gains, factor) == best
    assert len(best) >= room


@pytest.mark.parametrize("metrics", [2, 3, 5])
@pytest.mark.parametrize("seed", range(2))
def test_what_no_other_dominates_continues_as_far_as_the_factor_allows(
    metrics: int, seed: int
) -> None:
    gains = [tuple(row) for row in np.random.default_rng(seed).random((40, metrics))]
    chosen = continuing(gains, 3)
    assert len(chosen) == 14  # of 40, rounded up
    front = {own for own in range(40) if not any(dominates(other, gains[own]) for other in gains)}
    assert chosen <= front if len(front) >= 14 else front <= chosen
    for stopped in set(range(40)) - chosen:
        assert not any(dominates(gains[stopped], gains[one]) for one in chosen)


def test_of_a_front_that_is_too_large_those_continue_that_add_most() -> None:
    crowded = [(0.0, 1.0), (0.4, 0.6), (0.5, 0.58), (0.51, 0.57), (0.6, 0.4), (1.0, 0.0)]
    # Of each point alone: 0.1 x 0.4, 0.4 x 0.02, 0.1 x 0.01, 0.01 x 0.17, 0.09 x 0.4, 0.4 x 0.1.
    assert continuing(crowded, 2) == {0, 4, 5}
    assert continuing(crowded, 3) == {0, 5}


def test_of_a_front_of_many_metrics_those_continue_that_cover_it() -> None:
    front = [(x / 8, 1 - x / 8, 0.5, 0.5) for x in range(9)]
    assert continuing(front, 3) == {0, 4, 8}


def test_missing_values_are_the_worst_and_a_constant_metric_says_nothing() -> None:
    nothing = (-math.inf, -math.inf)
    assert continuing([nothing, (0.5, 0.5), nothing], 3) == {1}
    assert continuing([nothing] * 3, 3) == {0, 1, 2}
    assert continuing([(1.0, 0.3), (1.0, 0.4), (1.0, 0.5)], 3) == {2}
    assert continuing([(0.5, -math.inf), (0.4, 0.4), (0.3, 0.3), (0.2, 0.2)], 2) == {0, 1}


# -- Decisions -----------------------------------------------------------------------------


OBJECTIVES = (
    ObjectiveSettings(metric="accuracy"),
    ObjectiveSettings(metric="parameters", direction="minimize"),
)


def pruner_of(**settings: Any) -> PrunerSettings:
    return PrunerSettings(**{"reduction_factor": 2, **settings})


def found(accuracy: float, parameters: float, **more: Any) -> dict[str, Any]:
    return {"scores": {"accuracy": accuracy, "parameters": parameters}, **more}


def test_a_small_network_is_not_stopped_for_its_accuracy() -> None:
    """The two kinds, on the same reports: all objectives, and one."""
    reports = [found(0.9, 100), found(0.8, 10), found(0.7, 90), found(0.95, 200)]
    stopped = {}
    for settings in (pruner_of(), pruner_of(metric="accuracy")):
        asha = Asha(settings, OBJECTIVES, ())
        rungs = [asha.decide(number, 1, one) for number, one in enumerate(reports)]
        stopped[settings.kind] = [rung.stop for rung in rungs if rung]
    assert stopped["pareto_asha"] == [False, False, True, True]
    assert stopped["asha"] == [False, True, True, False]


@pytest.mark.parametrize("after", [0, 20])
def test_decisions_are_the_same_after_a_restart_and_a_recorded_one_stays(after: int) -> None:
    generator = np.random.default_rng(3)
    reports = [found(*generator.random(2)) for _ in range(40)]
    whole = Asha(pruner_of(), OBJECTIVES, ())
    rungs = [whole.decide(number, 2, one) for number, one in enumerate(reports)]
    assert {rung.stop for rung in rungs if rung} == {True, False}
    kept = [(at, rung) for at, rung in enumerate(rungs[:after]) if rung]
    again = Asha(pruner_of(), OBJECTIVES, kept)
    assert [again.decide(number, 2, one) for number, one in enumerate(reports)] == rungs
    assert again.decide(0, 3, reports[0]) is None


def test_trials_are_compared_on_as_many_images() -> None:
    asha = Asha(pruner_of(), OBJECTIVES, ())
    assert asha.decide(0, 1, found(0.9, 1.0))
    few = asha.decide(1, 1, found(0.1, 9.0, images=50))
    assert few is not None
    assert (few.stop, few.images) == (False, 50)
    all_images = asha.decide(2, 1, found(0.1, 9.0))
    assert all_images is not None
    assert all_images.stop


def test_trials_that_violate_constraints_less_come_first() -> None:
    gains = [(0.9, 0.9), (0.1, 0.1), (0.5, 0.2), (0.8, 0.8), (0.2, 0.5), (0.7, 0.7)]
    missed = [0.3, 0.0, 0.0, 0.1, 0.0, 0.2]
    going = {own for own in range(6) if goes_on(gains, own, 2, missed)}
    assert going == {1, 2, 4}
    assert {own for own in range(6) if goes_on(gains, own, 3, missed)} == {2, 4}
    few = [0.3, 0.4, 0.0, 0.1, 0.5, 0.1]  # one keeps them: then the nearest, by Pareto rank
    assert {own for own in range(6) if goes_on(gains, own, 3, few)} == {2, 3}
    alike = [0.2] * 6
    assert {own for own in range(6) if goes_on(gains, own, 3, alike)} == continuing(gains, 3)


def test_a_constraint_is_judged_at_a_rung_unless_its_metric_is_compared() -> None:
    bounds = [Bound("size", 10.0, False), Bound("accuracy", 0.5, True)]
    asha = Asha(pruner_of(), OBJECTIVES, (), bounds)

    def stops(number: int, accuracy: float, size: float | None) -> bool:
        scores = {"accuracy": accuracy, "speed": 1.0} | ({} if size is None else {"size": size})
        rung = asha.decide(number, 1, {"scores": scores})
        assert rung is not None
        return rung.stop

    assert [stops(0, 0.4, 9.0), stops(1, 0.3, 9.0)] == [False, True]
    assert stops(2, 0.9, 20.0)  # too large, whatever its accuracy
    assert not stops(3, 0.45, 8.0)  # accuracy is compared, so 0.5 is not asked for here
    assert not stops(4, 0.95, None)  # not known, not judged
    assert stops(5, 0.1, 1.0)


def test_a_constraint_with_two_sides_is_not_judged_at_a_rung() -> None:
    bounds = [Bound("size", 5.0, True), Bound("size", 8.0, False)]
    asha = Asha(pruner_of(), OBJECTIVES, (), bounds)
    for number, size in enumerate((4.5, 4.0)):  # on their way from below; the second is farther
        scores = {"accuracy": 0.9, "speed": 1.0, "size": size}
        rung = asha.decide(number, 1, {"scores": scores})
        assert rung is not None
        assert not rung.stop


def test_above_the_limit_of_a_cost_that_only_grows_a_trial_is_stopped_at_its_rung() -> None:
    bounds = [Bound("train_seconds", 60.0, False)]

    def first(seconds: float, growing: Sequence[str]) -> bool:
        scores = {"accuracy": 0.9, "speed": 1.0, "train_seconds": seconds}
        rung = Asha(pruner_of(), OBJECTIVES, (), bounds, growing).decide(0, 1, {"scores": scores})
        assert rung is not None
        return rung.stop

    assert first(61.0, ["train_seconds"])
    assert not first(60.0, ["train_seconds"])
    assert not first(61.0, [])  # a loop's metric of this name may fall again
