"""Shapley values: weights, known games, sampled orders, and what is planned and shown of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from itertools import combinations, permutations
from typing import Any

import numpy as np
import pytest
from example_results import (
    ROBUST,
    images_right,
    make_example,
    make_scored,
)
from plans import cells_of, design_of, weights_of
from recompute import Model, holm, simultaneous

from ablate.ablation.cell import Design
from ablate.ablation.designs.shapley import (
    Subset,
    draw_orders,
    index_weights,
    sampled_weights,
    subset_name,
)
from ablate.ledger.record import RowRecord

PARTS = ["fma", "st", "combined_augmentations"]
ABLATION: dict[str, Any] = {"reference": {"loss.terms": "clean+da+st+fma"}, "components": PARTS}
FOUR = {name: {name: False} for name in "abcd"}
OWN: dict[str, Any] = {"reference": dict.fromkeys("abcd", True), "components": FOUR}

Game = Callable[[Subset], float]


def index(game: Game, weights: Mapping[Subset, float]) -> float:
    return sum(weight * game(subset) for subset, weight in weights.items())


def random_game(seed: int) -> Game:
    random = np.random.default_rng(seed)
    values: dict[Subset, float] = {}
    return lambda subset: values.setdefault(subset, float(random.normal()))


def gains(game: Game, name: str, orders: list[tuple[str, ...]]) -> list[float]:
    """Of a component, added in each order."""
    found = []
    for order in orders:
        before = order[: order.index(name)]
        found.append(game(frozenset([*before, name])) - game(frozenset(before)))
    return found


# weights


@pytest.mark.parametrize("names", ["ab", "abcde"])
def test_a_value_is_the_mean_gain_over_all_orders(names: str) -> None:
    game, orders = random_game(len(names)), list(permutations(names))
    for name in names:
        expected = np.mean(gains(game, name, orders))
        assert index(game, index_weights(names, name)) == pytest.approx(expected)


@pytest.mark.parametrize("names", ["ab", "abcde"])
def test_an_interaction_is_the_value_of_one_with_the_other_less_its_value_without(
    names: str,
) -> None:
    """Grabisch and Roubens' recursion: both games are of all components but the other."""
    game = random_game(len(names))
    for first, second in combinations(names, 2):
        rest = [name for name in names if name != second]
        with_it = index(lambda some, j=second: game(some | {j}), index_weights(rest, [first]))
        without = index(game, index_weights(rest, [first]))
        both = index(game, index_weights(names, [first, second]))
        assert both == pytest.approx(with_it - without)


@pytest.mark.parametrize("names", ["ab", "abcdefgh"])
def test_values_sum_to_the_total(names: str) -> None:
    game = random_game(7)
    values = [index(game, index_weights(names, [name])) for name in names]
    assert math.fsum(values) == pytest.approx(game(frozenset(names)) - game(frozenset()), abs=1e-12)


# orders that are drawn


def test_over_all_orders_the_weights_are_exact() -> None:
    orders = list(permutations("abcd"))
    for name in "abcd":
        assert sampled_weights(orders, name) == pytest.approx(index_weights("abcd", name))


def test_orders_are_those_of_the_seed() -> None:
    first = draw_orders("abcdef", 20, seed=0)
    assert draw_orders("abcdef", 20, seed=0) == first
    assert draw_orders("abcdef", 30, seed=0)[:20] == first
    assert draw_orders("abcdef", 20, seed=1) != first
    assert {frozenset(order) for order in first} == {frozenset("abcdef")}
    assert len(set(first)) == 20
    assert set(draw_orders("abc", 100, seed=0)) == set(permutations("abc"))
    assert len(draw_orders("ab", 5, seed=0)) == 2


@pytest.mark.parametrize("count", [1, 2, 7, 20])
def test_each_order_comes_with_its_reverse(count: int) -> None:
    """Of an odd number the last is alone; a game of single components and pairs is then exact."""
    orders = draw_orders("abcde", count, seed=4)
    assert len({*orders}) == count
    for at in range(0, count - 1, 2):
        assert orders[at + 1] == orders[at][::-1]
    alone, together = np.random.default_rng(count).normal(size=(2, 5, 5))

    def game(some: Subset) -> float:
        places = ["abcde".index(name) for name in some]
        return float(alone[0, places].sum() + together[np.ix_(places, places)].sum())

    for name in "abcde":
        found = index(game, sampled_weights(orders, name))
        exact = index(game, index_weights("abcde", name))
        assert (found == pytest.approx(exact)) == (count % 2 == 0)


# the design


def test_every_subset_is_a_cell() -> None:
    design = design_of("shapley", ABLATION)
    single = {"augment.types": ["gaussian_noise"], "augment.mix": None}
    assert cells_of(design) == {
        "nothing": {"loss.terms": "clean+da"} | single,
        "fma": {"loss.terms": "clean+da+fma"} | single,
        "st": {"loss.terms": "clean+da+st"} | single,
        "combined_augmentations": {"loss.terms": "clean+da"},
        "fma+st": {"loss.terms": "clean+da+st+fma"} | single,
        "fma+combined_augmentations": {"loss.terms": "clean+da+fma"},
        "st+combined_augmentations": {"loss.terms": "clean+da+st"},
        "all": {"loss.terms": "clean+da+st+fma"},
    }
    assert [arm.name for arm in design.arms] == ["baseline", *cells_of(design)]
    assert [(one.name, one.kind) for one in design.contrasts] == [
        ("fma", "Shapley value"),
        ("st", "Shapley value"),
        ("combined_augmentations", "Shapley value"),
        ("fma * st", "interaction"),
        ("fma * combined_augmentations", "interaction"),
        ("st * combined_augmentations", "interaction"),
        ("all - nothing", "difference"),
    ]
    assert design.reference == ""
    assert design.orders == ()


def test_values_and_interactions_of_two_components() -> None:
    design = design_of("shapley", {**ABLATION, "components": ["fma", "st"]})
    assert weights_of(design) == {
        "fma": {"nothing": -0.5, "fma": 0.5, "st": -0.5, "all": 0.5},
        "st": {"nothing": -0.5, "fma": -0.5, "st": 0.5, "all": 0.5},
        "fma * st": {"nothing": 1.0, "fma": -1.0, "st": -1.0, "all": 1.0},
        "all - nothing": {"nothing": -1.0, "all": 1.0},
    }
    assert design.notes == (
        "a component's effect is its Shapley value: its gain averaged over all orders of adding "
        "the components; the values sum to all - nothing over the same seeds; an interaction "
        "(Shapley interaction index) is the gain from both less the gains from each alone, "
        "averaged over the subsets of the others",
    )


def test_orders_that_are_drawn_make_cells_of_the_subsets_that_they_visit() -> None:
    ablation = {**OWN, "permutations": 2, "max_runs": 500}
    design = design_of("shapley", ablation, trainable="own:train", finetune={"seed": 3})
    assert design.orders == draw_orders("abcd", 2, seed=3)
    visited = {
        subset_name("abcd", order[:size]) for order in design.orders for size in range(len(order))
    }
    assert set(cells_of(design)) == visited | {"all"}
    assert cells_of(design)["nothing"] == dict.fromkeys("abcd", False)
    assert [one.name for one in design.contrasts] == [*"abcd", "all - nothing"]
    for name in "abcd":
        assert weights_of(design)[name] == {
            subset_name("abcd", subset): weight
            for subset, weight in sampled_weights(design.orders, name).items()
        }
    (note,) = design.notes
    assert note == (
        "a component's effect is its Shapley value, estimated: its gain averaged over 2 random "
        f"orders (each with its reverse) of adding the components, {len(design.cells)} of 16 "
        "subsets; the values sum to all - nothing over the same seeds; their intervals do not "
        "cover other orders; interactions need all subsets"
    )
    assert Design.from_json(design.to_json()) == design


# what runs give


@pytest.mark.slow
def test_every_number_follows_from_the_bits_and_the_orders() -> None:
    claims = [{"compare": name} for name in (*PARTS, "st * fma")]
    design = design_of("shapley", {**ABLATION, "primary": claims})
    random = np.random.default_rng(5)
    rates = {
        cell.name: 0.9 if cell.name == "all" or PARTS[2] in cell.name else 0.3
        for cell in design.cells
    }
    made = {name: [make_scored(random, rate) for _ in range(4)] for name, rate in rates.items()}
    runs = make_example(made, design=design)
    names = [one.contrast for one in design.claims]
    assert names == [*PARTS, "fma * st"]

    def table(subset: frozenset[str]) -> np.ndarray:
        """`[seeds, n]`, what the network with these components got of each image."""
        cell = subset_name(PARTS, subset)
        rows = sorted((row for row in runs.record.rows if row.cell == cell), key=pair)
        texts = [(runs.outcomes[row.number]["val"], row.scores) for row in rows]
        return np.array([images_right(text, scores, ROBUST) for text, scores in texts])

    def value(name: str) -> np.ndarray:
        before = [frozenset(one[: one.index(name)]) for one in permutations(PARTS)]
        return np.mean([table(some | {name}) - table(some) for some in before], axis=0)

    def interaction(first: str, second: str) -> np.ndarray:
        others = [some - {first, second} for some in map(frozenset, combinations(PARTS, 3))]
        rests = [frozenset[str](), *others]
        gains = [
            table(rest | {first, second})
            - table(rest | {first})
            - table(rest | {second})
            + table(rest)
            for rest in rests
        ]
        return np.mean(gains, axis=0)

    models = {name: Model(value(name)) for name in PARTS}
    models |= {f"{a} * {b}": Model(interaction(a, b)) for a, b in combinations(PARTS, 2)}
    models["all - nothing"] = Model(table(frozenset(PARTS)) - table(frozenset()))
    adjusted = dict(zip(names, holm([models[name].p() for name in names]), strict=True))
    effects = runs.effects(design.contrasts, claims=design.claims)
    assert {one.contrast for one in effects} == set(models)
    assert {one.verdict for one in effects} == {"better", "not shown", "exploratory"}
    for one in effects:
        model = models[one.contrast]
        assert (one.estimate.mean, one.estimate.sd) == pytest.approx((model.mean, model.sd))
        assert one.p == pytest.approx(model.p(), rel=1e-5)
        low, high = model.bounds()
        if one.primary:
            p = adjusted[one.contrast]
            assert one.p_adjusted == pytest.approx(p, rel=1e-5)
            low, high = simultaneous(model, len(names), p)
            is_better = "better" if model.mean > 0 else "worse"
            assert one.verdict == (is_better if p < 0.05 else "not shown")
        assert (one.estimate.low, one.estimate.high) == pytest.approx((low, high))


def pair(row: RowRecord) -> int:
    assert row.pair is not None
    return row.pair
