"""Shapley: all subsets of the components, and what each component has earned of the total gain.

The subsets are the coalitions of a game whose value v is the metric.  A component's Shapley value
is its gain averaged over all orders in which the components can be added, so that the values sum
to v(all) - v(nothing).  The interaction of two components is what both gain together beyond what
each gains alone, averaged over the subsets of the others.

Source: Shapley 1953; Grabisch and Roubens 1999, International Journal of Game Theory 28, 547
(interaction index); Castro, Gomez and Tejada 2009, Computers and Operations Research 36, 1726
(sampled permutations); Mitchell et al. 2022, JMLR 23(43), arXiv:2104.12199 (each with its reverse,
so that of any two components either comes first equally often).  HyperSHAP (arXiv:2502.01276) plays
the same ablation game on a surrogate; here each subset is retrained over paired seeds.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations

import numpy as np

from ablate.ablation.cell import Contrast, ContrastKind, Design
from ablate.ablation.components import Change, add_changed, read_components
from ablate.ablation.designs.factorial import TIMES
from ablate.ablation.draft import Draft
from ablate.ablation.results import BASELINE
from ablate.files.shown import shown_if
from ablate.study.document import show
from ablate.study.seeds import derive_seed

NOTHING, ALL = "nothing", "all"

Subset = frozenset[str]
Order = tuple[str, ...]
"""The components in the order in which they are added."""

_GAIN = "a component's effect is its Shapley value"
_TOTAL = f"the values sum to {ALL} - {NOTHING} over the same seeds"
EXACT = (
    f"{_GAIN}: its gain averaged over all orders of adding the components; {_TOTAL}; an "
    "interaction (Shapley interaction index) is the gain from both less the gains from each "
    "alone, averaged over the subsets of the others"
)
ESTIMATED = (
    f"{_GAIN}, estimated: its gain averaged over {{orders}} of adding the components, {{run}} of "
    f"{{subsets}} subsets; {_TOTAL}; their intervals do not cover other orders; interactions need "
    "all subsets"
)


def plan(draft: Draft) -> Design:
    """A cell a subset of the components; the one with all of them is the reference.

    Contrasts are the Shapley values, the interactions of two components, and the total gain. With
    `permutations` only the subsets that the drawn orders visit are cells, and there are no
    interactions.
    """
    components = _checked_components(draft)
    names = [component.name for component in components]
    every, count, orders = 2 ** len(names), draft.settings.permutations, tuple[Order, ...]()
    if count is None:
        draft.check_runs(every, "components, or add permutations: M")
        draft.stop_if_refused()  # before subsets are made: there may be millions
        subsets, note = _subsets(names), EXACT
    else:
        orders = draw_orders(names, count, draft.study.finetune.seed)
        subsets = _visited(names, orders)
        if len(subsets) == every:
            rule = f"must leave subsets out, got {count}, which visit all {every}"
            draft.stop(("permutations",), f"{rule}. Remove it: exact values need no more runs.")
        draft.check_runs(len(subsets), "permutations")
        draft.stop_if_refused()
        drawn = "one random order"
        if len(orders) > 1:
            last = shown_if(len(orders) % 2, ", but the last")
            drawn = f"{len(orders)} random orders (each with its reverse{last})"
        note = ESTIMATED.format(orders=drawn, run=len(subsets), subsets=every)
    for subset in subsets:
        left = [component for component in components if component.name not in subset]
        fix = "Remove a component that has no effect, or has none without another."
        add_changed(draft, subset_name(names, subset), left, fix=fix)
        draft.stop_if_refused()

    def contrast(name: str, kind: ContrastKind, weights: Mapping[Subset, float]) -> Contrast:
        named = {subset_name(names, subset): weight for subset, weight in weights.items()}
        return Contrast(name, named, kind)

    contrasts = []
    for name in names:
        weights = sampled_weights(orders, name) if orders else index_weights(names, [name])
        contrasts.append(contrast(name, "Shapley value", weights))
    if not orders:
        for pair in combinations(names, 2):
            weights = index_weights(names, pair)
            contrasts.append(contrast(TIMES.join(pair), "interaction", weights))
    contrasts.append(Contrast(f"{ALL} - {NOTHING}", {ALL: 1.0, NOTHING: -1.0}))
    return draft.design(contrasts, notes=(note,), orders=orders)


def _checked_components(draft: Draft) -> list[Change]:
    """The components, two at least; stops where a name would be read as something else."""
    components = read_components(draft)
    for component in components:
        if component.name == BASELINE and draft.has_baseline:
            rule = "is always an arm, the network before finetuning, got a component of this name"
            draft.refuse(component.path, f"{rule}. Rename it.")
        elif TIMES.strip() in component.name:
            rule = f"must not contain *, which joins two components, got {show(component.name)}"
            draft.refuse(component.path, f"{rule}. Rename it.")
    draft.stop_if_refused()
    if len(components) < 2:
        rule = f"a Shapley value needs two components, got {components[0].name} alone"
        draft.stop(("components",), f"{rule}. Add one, or write design: leave_one_out.")
    return components


# -- Subsets and orders, and the weights that make effects of them -------------------------


def subset_name(components: Sequence[str], subset: Iterable[str]) -> str:
    """ "fma+st", in the order of the components; "nothing" without any, "all" with all."""
    there = [name for name in components if name in set(subset)]
    return ALL if len(there) == len(components) else "+".join(there) or NOTHING


def _subsets(components: Sequence[str]) -> list[Subset]:
    """All of them, the smallest first, then in the order of the components."""
    sizes = range(len(components) + 1)
    return [frozenset(some) for size in sizes for some in combinations(components, size)]


def index_weights(components: Sequence[str], some: Sequence[str]) -> dict[Subset, float]:
    """Subset -> its weight in the Shapley interaction index of some components.

    Of c components and t of them, the sum over the subsets S of the others of
    |S|! (c - |S| - t)! / (c - t + 1)! times the alternating sum of v(S + L) over the subsets L of
    the t. The index of one component is its Shapley value, that of two their interaction:
    v(S + ij) - v(S + i) - v(S + j) + v(S), averaged.

    Args:
        components: all of them, each once; some: one or more of them.

    Source: Grabisch and Roubens 1999, International Journal of Game Theory 28, 547.
    """
    others = [name for name in components if name not in some]
    every = math.factorial(len(others) + 1)
    weights = {}
    for rest in _subsets(others):
        weight = math.factorial(len(rest)) * math.factorial(len(others) - len(rest)) / every
        for part in _subsets(some):
            weights[rest | part] = -weight if (len(some) - len(part)) % 2 else weight
    return weights


def draw_orders(components: Sequence[str], count: int, seed: int) -> tuple[Order, ...]:
    """So many different random orders of the components, or all of them where there are no more:
    each drawn one, then its reverse, so of an odd number the last is alone.  Of a larger number,
    the first are the same."""
    generator = np.random.default_rng(derive_seed(seed, "permutations"))
    drawn: dict[Order, None] = {}
    count = min(count, math.factorial(len(components)))
    while len(drawn) < count:
        places = generator.permutation(len(components))
        order = tuple(components[place] for place in places)
        drawn |= {order: None, order[::-1]: None}
    return tuple(drawn)[:count]


def _visited(components: Sequence[str], orders: Sequence[Order]) -> list[Subset]:
    """The subsets that the orders go through from nothing to all, in the order of `_subsets`."""
    found = {frozenset(order[:size]) for order in orders for size in range(len(order) + 1)}
    return sorted(found, key=lambda some: (len(some), sorted(map(components.index, some))))


def sampled_weights(orders: Sequence[Order], component: str) -> dict[Subset, float]:
    """Subset -> its weight in the mean gain of a component over some orders.

    Over all c! orders it is the Shapley value.

    Args:
        orders: at least one; each has all components.
    """
    counts: Counter[Subset] = Counter()
    for order in orders:
        before = frozenset(order[: order.index(component)])
        counts[before | {component}] += 1
        counts[before] -= 1
    return {subset: count / len(orders) for subset, count in counts.items()}
