"""Looks between replicates: nominal levels by simulation, the graph by hand, records that stay."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from pydantic import ValidationError
from scipy import stats

from ablate.ablation.effects import Verdict
from ablate.ablation.intervals import over_seeds, over_seeds_and_images
from ablate.ablation.looks import Graph, Look, Measured, nominal_levels, repeated_model, take_look
from ablate.ablation.significance import holm
from ablate.study.settings import StopSettings

STOP = StopSettings(looks=(4, 5, 6, 8), spending="cubic")
ONE_LOOK = StopSettings(looks=(8,))


def measured(name: str, differences: np.ndarray, verdict: Verdict = "better") -> Measured:
    """A contrast "A - B" of which these are the differences, `[K]` or `[K, n_images]`."""
    is_own = differences.ndim == 1
    model = over_seeds(differences) if is_own else over_seeds_and_images(differences)
    one, to = name.split(" - ")
    return Measured(name, "val_robust_accuracy", (one, to), model, verdict)


@pytest.mark.parametrize(
    ("looks", "power"), [((4, 5, 6, 8), 2), ((4, 5, 6, 8), 3), ((3, 12), 2), ((3, 4), 4)]
)
def test_a_true_null_hypothesis_is_rejected_until_a_look_as_often_as_is_spent(
    looks: tuple[int, ...], power: int
) -> None:
    draws, random = 400_000, np.random.default_rng(0)
    table = random.standard_normal((draws, looks[-1]))
    rejected = np.zeros(draws, bool)
    for look, nominal in zip(looks, nominal_levels(0.05, looks, power), strict=True):
        rejected |= stats.ttest_1samp(table[:, :look], 0.0, axis=1).pvalue <= nominal
        spent = 0.05 * (look / looks[-1]) ** power
        error = math.sqrt(spent / draws)
        assert rejected.mean() == pytest.approx(spent, abs=4 * error + 0.003 * spent)


def half_width(table: np.ndarray, alpha: float) -> float:
    """Written out: all mean squares of replicates at t of K - 1, the images' own part at theirs."""
    k, n = table.shape
    of_k, of_n = n * table.mean(axis=1).var(ddof=1), k * table.mean(axis=0).var(ddof=1)
    whole = np.square(table - table.mean()).sum()
    rest = (whole - (k - 1) * of_k - (n - 1) * of_n) / ((k - 1) * (n - 1))
    added = (table**4).sum() / (table**2).sum()
    of_n = ((n - 1) * of_n + 2.5 * k * added) / (n + 1.5)
    replicates, images = (stats.t.ppf(1 - alpha / 2, one - 1) ** 2 for one in (k, n))
    return math.sqrt((replicates * of_k + images * max(of_n - rest, 0)) / (k * n))


def test_the_interval_of_a_look_counts_noise_with_the_replicates() -> None:
    random = np.random.default_rng(3)
    for images, noise in ((0.1, 1.0), (1.0, 0.1), (0.0, 3.0)):
        table = 0.2 * random.standard_normal((5, 1)) + images * random.standard_normal((1, 40))
        table = table + noise * random.standard_normal((5, 40))
        model = repeated_model(over_seeds_and_images(table))
        for alpha in (0.05, 0.004, 1e-6):
            found = model.estimate(1 - alpha)
            assert found.high - found.mean == pytest.approx(half_width(table, alpha), rel=1e-6)
    alone = over_seeds(np.arange(5.0))
    assert repeated_model(alone) == alone


def test_levels_of_no_looks_before_the_last_and_of_nothing() -> None:
    assert nominal_levels(0.05, (8,), 2) == (0.05,)
    assert nominal_levels(0.0, (4, 8), 2) == (0.0, 0.0)
    assert nominal_levels(0.05, (4, 8), 2)[0] == pytest.approx(0.0125)


def test_more_level_is_more_at_every_look() -> None:
    # Else a contrast could be lost by getting weight, and a graph would not be enough.
    levels = np.linspace(0.005, 0.05, 6)
    nominal = np.array([nominal_levels(level, STOP.looks, 3) for level in levels.tolist()])
    assert (np.diff(nominal, axis=0) > 0).all()
    assert (nominal < levels[:, None]).all()


def test_equal_weights_and_transitions_are_holms() -> None:
    graph = Graph.of(3, STOP)
    for order in itertools.permutations(range(3)):
        assert graph.weights_without(order[:1]) == pytest.approx(
            [0.0 if at == order[0] else 1 / 2 for at in range(3)]
        )
        assert graph.weights_without(order[:2])[order[2]] == pytest.approx(1.0)
        assert graph.weights_without(order) == pytest.approx([0, 0, 0])
    assert Graph.of(1, STOP) == Graph((1.0,), ((0.0,),))


def test_a_graph_of_ones_own_in_whatever_order() -> None:
    # Bretz et al. 2009, algorithm 1, by hand: 0 gives half to 1 and half to 2; 1 gives all to 0.
    asked = StopSettings(
        looks=(4, 8), weights=(0.6, 0.4, 0), transitions=((0, 0.5, 0.5), (1, 0, 0), (0.5, 0.5, 0))
    )
    graph = Graph.of(3, asked)
    assert graph.weights_without([0]) == pytest.approx([0, 0.7, 0.3])
    # 1 without 0: what it gave to 0 goes on to 2, (1 * .5) / (1 - .5 * 1)
    assert graph.weights_without([0, 1]) == pytest.approx([0, 0, 1.0])
    assert graph.weights_without([1, 0]) == pytest.approx([0, 0, 1.0])
    assert graph.weights_without([2, 1]) == pytest.approx(graph.weights_without([1, 2]))


def test_one_look_is_holms_test() -> None:
    random = np.random.default_rng(1)
    for _ in range(50):
        shifts = random.choice([0.0, 0.8, 1.2], 3)
        table = random.standard_normal((3, 8)) + shifts[:, None]
        look = take_look(
            ONE_LOOK,
            8,
            [measured(f"{at} - x", differences) for at, differences in enumerate(table)],
        )
        p_values = stats.ttest_1samp(table, 0.0, axis=1).pvalue
        assert [one.p for one in look.decisions] == pytest.approx(p_values, rel=1e-6)
        shown = [one.verdict == "better" for one in look.decisions]
        assert shown == [p <= 0.05 for p in holm(p_values.tolist())]
        assert (look.number, look.cells) == (1, ())


def test_interval_p_and_verdict_agree_at_every_look() -> None:
    random = np.random.default_rng(2)
    verdicts = set()
    for number in range(40):
        table = random.standard_normal((2, 8, 30)) * 0.5 + random.standard_normal((2, 8, 1))
        table += 2.0 * (number % 2)
        look: Look | None = None
        for replicates in STOP.looks:
            contrasts = [
                measured(name, one[:replicates])
                for name, one in zip(("A - C", "B - C"), table, strict=True)
            ]
            look = take_look(STOP, replicates, contrasts, look)
            for one in look.decisions:
                assert one.low is not None
                assert one.high is not None
                assert one.p is not None
                shown = one.verdict == "better"
                assert shown == (one.p <= one.nominal)
                assert shown == (not one.low < 0 < one.high)
                verdicts.add((replicates, one.verdict))
    assert len(verdicts) > len(STOP.looks)


def steady(mean: float, replicates: int) -> np.ndarray:
    """Differences of this mean and a deviation near 1."""
    return mean + np.resize([1.0, -1.0], replicates) - (replicates % 2) / replicates


def test_what_is_decided_stays_and_its_arms_stop() -> None:
    first = take_look(
        STOP, 4, [measured("A - C", steady(40, 4)), measured("B - C", steady(0.1, 4))]
    )
    assert [one.verdict for one in first.decisions] == ["better", "not shown"]
    assert [one.is_open for one in first.decisions] == [False, True]
    assert [one.level for one in first.decisions] == pytest.approx([0.025, 0.05])
    assert first.cells == ("B", "C")
    # What A - C would be now is not asked.
    later = [measured("A - C", steady(-40, 5), "worse"), measured("B - C", steady(0.1, 5))]
    second = take_look(STOP, 5, later, first)
    assert (second.number, second.replicates) == (2, 5)
    assert second.decisions[0] == first.decisions[0]
    assert (second.decisions[1].replicates, second.decisions[1].is_open) == (5, True)
    last = take_look(STOP, 8, [later[0], measured("B - C", steady(0.1, 8))], second)
    assert [one.verdict for one in last.decisions] == ["better", "not shown"]
    assert last.cells == ()
    assert not any(one.is_open for one in last.decisions)
    assert Look.from_text(last.to_text()) == last


def test_a_look_that_was_missed_spends_less() -> None:
    late = take_look(STOP, 6, [measured("A - B", steady(40, 6))])
    assert (late.number, late.decisions[0].verdict, late.cells) == (3, "better", ())


def test_equivalence_is_decided_where_the_interval_lies_within_the_margin() -> None:
    random, found = np.random.default_rng(4), set()
    for _ in range(30):
        table = 0.01 * random.standard_normal((4, 1)) + 0.05 * random.standard_normal((4, 100))
        one = measured("A - B", table, "equivalent")._replace(margin=0.08)
        (decision,) = take_look(STOP, 4, [one]).decisions
        alpha = nominal_levels(0.05, STOP.looks, 3)[0]
        half, mean = half_width(table, alpha), float(table.mean())
        is_within = abs(mean) + half <= 0.08
        assert (decision.verdict == "equivalent") == is_within
        assert decision.high == pytest.approx(mean + half, rel=1e-6)
        assert decision.p == pytest.approx(one.p)
        found.add(is_within)
    assert found == {True, False}


@pytest.mark.parametrize("verdict", ["at most one image", "too few seeds", "exploratory"])
def test_what_cannot_be_claimed_is_not_decided(verdict: Verdict) -> None:
    look = take_look(STOP, 4, [measured("A - B", steady(40, 4), verdict)])
    assert (look.decisions[0].verdict, look.decisions[0].is_open) == (verdict, True)


def test_nothing_is_decided_without_an_interval() -> None:
    for differences in (np.empty(0), np.ones(1), np.ones(4)):
        look = take_look(STOP, 4, [measured("A - B", differences)])
        (one,) = look.decisions
        assert (one.p, one.low, one.high, one.verdict) == (None, None, None, "not shown")
        assert look.cells == ("A", "B")
        assert Look.from_text(look.to_text()) == look


def test_a_contrast_without_weight_waits_for_another() -> None:
    ordered = StopSettings(looks=(4, 8), weights=(1, 0), transitions=((0, 1), (0, 0)))
    first, second = measured("A - C", steady(0.1, 4)), measured("B - C", steady(40, 4))
    waits = take_look(ordered, 4, [first, second])
    assert [one.verdict for one in waits.decisions] == ["not shown", "not shown"]
    assert (waits.decisions[1].level, waits.decisions[1].nominal) == (0, 0)
    assert waits.decisions[1].low is None
    both = take_look(ordered, 4, [measured("A - C", steady(40, 4)), second])
    assert [one.verdict for one in both.decisions] == ["better", "better"]
    assert both.decisions[1].level == pytest.approx(0.05)


@pytest.mark.parametrize(
    ("given", "rule"),
    [
        ({"looks": [6, 4]}, "looks must ascend, got [6, 4]. Sort them, each once."),
        ({"looks": [4, 4]}, "looks must ascend, got [4, 4]. Sort them, each once."),
        ({"looks": [2, 4]}, "a claim needs three replicates, got a look at 2. Remove it."),
        (
            {"looks": [4], "weights": [0.6, 0.6]},
            "weights may be 1 in sum at most, got 1.2. Lower them.",
        ),
        (
            {"looks": [4], "transitions": [[0, 1], [1, 0.5]]},
            "line 2 of transitions may be 1 in sum at most, got 1.5. Lower them.",
        ),
        (
            {"looks": [4], "transitions": [[0.5, 0.5], [1, 0]]},
            "a contrast gives itself nothing, got 0.5 in line 1 of transitions. Write 0 there.",
        ),
    ],
)
def test_looks_that_cannot_be(given: dict[str, object], rule: str) -> None:
    with pytest.raises(ValidationError, match="Value error") as raised:
        StopSettings.model_validate(given)
    assert rule in str(raised.value)
