"""Shapley: all subsets of the components, and what each component has earned of the total gain.

The subsets are the coalitions of a game whose value v is the metric.  A component's Shapley value
is its gain averaged over all orders in which the components can be added, so that the values sum
to v(all) - v(nothing).  The interaction of two components is what both gain together beyond what
each gains alone, averaged over the subsets of the others.

Source: Shapley 1953; Grabisch and Roubens 1999, International Journal of Game Theory 28, 547
(interaction index); Castro, Gomez and Tejada 2009, Computers and Operations Research 36, 1726
(sampled permutations).  HyperSHAP (arXiv:2502.01276) plays the same ablation game on a surrogate;
here each subset is retrained over paired seeds.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations

import numpy as np

from ablate.ablation.cell import Arm, Contrast, ContrastKind, Design, difference
from ablate.ablation.components import Component, LeftOutError, read_components
from ablate.ablation.configuration import Cells, Ground, Refuse, Values, runs_rule
from ablate.ablation.designs.factorial import TIMES
from ablate.ablation.designs.leave_one_out import unchanged
from ablate.ablation.results import BASELINE, Results
from ablate.analysis.objectives import is_accuracy, short_metric
from ablate.study.document import show
from ablate.study.seeds import derive_seed

NOTHING, ALL = "nothing", "all"
_VALUE: ContrastKind = "Shapley value"
_ROUNDING = 1e-12
"""Of the sizes that are compared."""

Subset = frozenset[str]
Order = tuple[str, ...]
"""The components in the order in which they are added."""


def plan(ground: Ground, reference: Values, refuse: Refuse) -> Design:
    """A cell a subset of the components; the one with all of them is the reference.

    Contrasts are the Shapley values, the interactions of two components, and the total gain. With
    `permutations` only the subsets that the drawn orders visit are cells, and there are no
    interactions.
    """
    settings = ground.study.ablation
    assert settings is not None
    empty = Design("shapley", (), (), ())
    components = _components(ground, reference, refuse)
    if components is None:
        return empty
    names = [component.name for component in components]
    every = 2 ** len(names)
    orders: tuple[Order, ...] = ()
    if settings.permutations is not None:
        orders = draw_orders(names, settings.permutations, ground.study.finetune.seed)
    visited = _visited(names, orders)
    if len(visited) == every:
        rule = f"must leave subsets out, got {settings.permutations}, which visit all {every}"
        refuse(("permutations",), f"{rule}. Remove it: exact values need no more runs.")
        return empty
    fewer = "permutations" if orders else "components, or add permutations: M"
    too_many = runs_rule(len(visited) if orders else every, settings, fewer)
    if too_many is not None:  # before they are made: there may be millions
        refuse(("max_runs",), too_many)
        return empty
    subsets = visited if orders else _subsets(names)
    cells = _make_cells(ground, reference, components, subsets, refuse)
    if len(cells.made) < len(subsets):
        return empty
    arms = tuple(Arm(cell.name, (cell.name,)) for cell in cells.made)
    contrasts = []
    for name in names:
        weights = sampled_weights(orders, name) if orders else index_weights(names, [name])
        contrasts.append(_contrast(names, name, _VALUE, weights))
    if not orders:
        for pair in combinations(names, 2):
            weights = index_weights(names, pair)
            contrasts.append(_contrast(names, TIMES.join(pair), "interaction", weights))
    contrasts.append(difference(arms[-1], arms[0]))
    note = _note(len(subsets), every, len(orders))
    return Design(
        "shapley", tuple(cells.made), arms, tuple(contrasts), notes=(note,), orders=orders
    )


def _components(ground: Ground, reference: Values, refuse: Refuse) -> list[Component] | None:
    """The components, if there are two at least and each changes the reference; else what is wrong
    is noted."""
    settings = ground.study.ablation
    assert settings is not None
    found = read_components(ground, refuse)
    is_right = len(found) == len(settings.components or ())
    for component in found:
        rule = _component_rule(ground, reference, component)
        if rule is not None:
            refuse(component.path, rule)
            is_right = False
    if is_right and len(found) < 2:
        rule = f"a Shapley value needs two components, got {found[0].name} alone"
        refuse(("components",), f"{rule}. Add one, or write design: leave_one_out.")
        is_right = False
    return found if is_right else None


def _component_rule(ground: Ground, reference: Values, component: Component) -> str | None:
    """Why a component cannot be one of several, as `rule, got X. Fix.`; none where it can."""
    if component.name == BASELINE and ground.study.trainable is None:
        rule = "is always an arm, the network before finetuning, got a component of this name"
        return f"{rule}. Rename it."
    if TIMES.strip() in component.name:
        rule = f"must not contain *, which joins two components, got {show(component.name)}"
        return f"{rule}. Rename it."
    try:
        values = component.without(ground, reference)
    except LeftOutError as error:
        return str(error)
    if ground.same(values, reference):
        return unchanged(ground, component.name, reference)
    return None


def _make_cells(
    ground: Ground,
    reference: Values,
    components: Sequence[Component],
    subsets: Iterable[Subset],
    refuse: Refuse,
) -> Cells:
    """A cell a subset; fewer where one cannot be made, which is noted."""
    cells = Cells(ground, refuse)
    names = [component.name for component in components]
    for subset in subsets:
        name = subset_name(names, subset)
        values = dict(reference)
        try:
            for component in components:
                if component.name not in subset:
                    values = component.without(ground, values)
        except LeftOutError as error:
            refuse((), f"cell {name}: {error}")
            break
        if not cells.add(
            name, values, (), "Remove a component that has no effect without another."
        ):
            break
    return cells


def _contrast(
    names: Sequence[str], name: str, kind: ContrastKind, weights: Mapping[Subset, float]
) -> Contrast:
    return Contrast(
        name, {subset_name(names, subset): weight for subset, weight in weights.items()}, kind
    )


def _note(run: int, subsets: int, orders: int) -> str:
    """What a reader has to know of the effects."""
    value = "a component's effect is its Shapley value"
    total = f"the values sum to {ALL} - {NOTHING} over the same seeds"
    if orders:
        drawn = "one random order" if orders == 1 else f"{orders} random orders"
        return (
            f"{value}, estimated: its gain averaged over {drawn} of adding the components, "
            f"{run} of {subsets} subsets; {total}; their intervals do not cover other orders; "
            "interactions need all subsets"
        )
    return (
        f"{value}: its gain averaged over all orders of adding the components; {total}; an "
        "interaction (Shapley interaction index) is the gain from both less the gains from each "
        "alone, averaged over the subsets of the others"
    )


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
    """So many different random orders of the components, or all of them where there are no more;
    of a larger number, the first are the same."""
    generator = np.random.default_rng(derive_seed(seed, "permutations"))
    drawn: dict[Order, None] = {}
    count = min(count, math.factorial(len(components)))
    while len(drawn) < count:
        places = generator.permutation(len(components))
        drawn[tuple(components[place] for place in places)] = None
    return tuple(drawn)


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


# -- What drawing orders costs in precision -------------------------------------------------


def sampling_errors(design: Design, results: Results, metric: str) -> dict[str, float]:
    """Standard error that drawing orders adds to each Shapley value, beside that of its interval.

    It is the standard deviation s over the M orders of the component's gain, as that of a mean of
    M that are drawn from all c! without replacement: s sqrt((1 - M / c!) / M). The noise of the
    runs is in the gains too, which makes it rather too large.

    Args:
        metric: in whose unit it is (accuracies: fractions).

    Returns:
        By component; NaN before all subsets have ended well at a seed. Empty of exact values, and
        of a single order, which says nothing of others.
    """
    if len(design.orders) < 2:
        return {}
    components = [one.name for one in design.contrasts if one.kind == _VALUE]
    visited = _visited(components, design.orders)
    table = np.stack([results.values(subset_name(components, one), metric) for one in visited])
    complete = table[:, np.isfinite(table).all(axis=0)]
    if not complete.size:
        return dict.fromkeys(components, math.nan)
    means = dict(zip(visited, complete.mean(axis=1), strict=True))
    drawn = len(design.orders)
    left = 1 - drawn / math.factorial(len(components))
    errors = {}
    for name in components:
        gains = []
        for order in design.orders:
            before = frozenset(order[: order.index(name)])
            gains.append(means[before | {name}] - means[before])
        spread = float(np.std(gains, ddof=1)) * (np.ptp(gains) > _ROUNDING * np.abs(gains).max())
        errors[name] = spread * math.sqrt(left / drawn)
    return errors


def sampling_notes(design: Design, results: Results, metric: str) -> tuple[str, ...]:
    """What `sampling_errors` says, as a line under a table; none of exact values."""
    if len(design.orders) == 1:
        return ("one order was drawn: how much other orders would change is not known",)
    errors = sampling_errors(design, results, metric)
    if not any(map(math.isfinite, errors.values())):
        return ()
    unit = " points" if is_accuracy(metric) else ""
    scale = 100 if is_accuracy(metric) else 1
    said = ", ".join(f"{name} {scale * error:.2g}" for name, error in errors.items())
    drawn = f"drawing {len(design.orders)} orders adds a standard error"
    return (f"{drawn} to each Shapley value of {short_metric(metric)}: {said}{unit}",)
