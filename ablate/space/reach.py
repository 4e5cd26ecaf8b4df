"""Which points of a space are reachable.

A domain has few values that conditions can distinguish: each choice, the ends of a range, the items
of a subset.  So all of them are enumerated to decide whether a condition can hold, without
sampling.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import combinations, islice
from typing import Any

from ablate.space.choices import ChoiceDomain, SubsetDomain
from ablate.space.domain import Domain
from ablate.space.ratios import SimplexDomain
from ablate.space.space import Parameter, Space
from ablate.study.document import Finding, show
from ablate.study.keys import searched_paths
from ablate.study.settings import Study

MOST_POINTS = 20_000
"""If there are more combinations, a condition is assumed to be satisfiable."""

_WHOLE_SUBSETS = 6
"""Up to this many items all subsets are enumerated; for more, those with one item or without
one."""


def telling_values(
    domain: Domain, others: Collection[Any] = (), chosen: Collection[str] | None = None
) -> list[Any]:
    """Representative values of a domain.

    Args:
        others: explicitly named values; those in the domain are included.
        chosen: for ratios over a subset: its items.
    """
    if isinstance(domain, ChoiceDomain):
        return list(domain.choices)
    if isinstance(domain, SubsetDomain):
        names = domain.names
        sizes: Iterable[int] = range(1, len(names) + 1)
        if len(names) > _WHOLE_SUBSETS:
            sizes = (1, len(names) - 1, len(names))
        return [list(some) for size in sizes for some in combinations(names, size)]
    if isinstance(domain, SimplexDomain):
        kept = [name for name in domain.names if chosen is None or name in chosen]
        even = {name: 1 / len(kept) * (name in kept) for name in domain.names}
        corners = [{name: float(name == one) for name in domain.names} for one in kept]
        return [even, *(corners if len(kept) > 1 else ())]
    ends = domain.examples()
    return [*ends, *(value for value in others if domain.holds(value) and value not in ends)]


def points(space: Space, keys: Collection[str]) -> Iterator[dict[str, Any]]:
    """Every combination of telling values of some parameters and of what decides on them.

    Yields:
        Values by dotted key, of those that are active in it.
    """
    by_key = {parameter.key: parameter for parameter in space.parameters}
    wanted, waiting = set[str](), [key for key in keys if key in by_key]
    while waiting:
        key = waiting.pop()
        if key not in wanted:
            wanted.add(key)
            waiting += [other for other in by_key[key].requires if other in by_key]
    operands: dict[str, list[Any]] = {key: [] for key in wanted}
    for condition in (one for parameter in space.parameters for one in parameter.when):
        operands.setdefault(condition.key, []).extend(condition.wanted)

    def go_on(parameters: list[Parameter], values: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        if not parameters:
            yield dict(values)
            return
        parameter, *others = parameters
        if not space.is_active(parameter, values):
            yield from go_on(others, values)
            return
        domain = parameter.domain
        of = domain.of if isinstance(domain, SimplexDomain) else None
        chosen = None if of is None else values[of]
        for value in telling_values(domain, operands[parameter.key], chosen):
            yield from go_on(others, {**values, parameter.key: value})

    yield from go_on([one for one in space.parameters if one.key in wanted], {})


def nothing_searched(study: Study, space: Space) -> str | None:
    """Why a search would have only one point, as `rule, got X. Fix.`, or None.

    Ablations are not checked, because their arms are explicit.
    """
    if study.ablation is not None or study.search.trials == 1:
        return None
    if any(len(telling_values(parameter.domain)) > 1 for parameter in space.parameters):
        return None
    rule = f"a search of {study.search.trials} trials needs a parameter with two values or more"
    got = ", ".join(space.keys) or "none"
    fix = "Add one, such as finetune.learning_rate: {float: [0.001, 0.1], log: true}, or write"
    return f"{rule}, got {got}. {fix} search: {{trials: 1}}."


def reach_rules(study: Study, space: Space) -> Iterator[Finding]:
    """Conditions of a search that no sample can satisfy."""
    never: set[str] = set()
    paths = searched_paths(study.space)
    for parameter in space.parameters:
        if parameter.requires and not _can_be_active(space, parameter):
            if not never & {*parameter.requires}:  # else it is reported for the other one
                rule = _never_rule(space, parameter)
                yield Finding(paths[parameter.key], rule, at_key=True)
            never.add(parameter.key)


def _can_be_active(space: Space, parameter: Parameter) -> bool:
    reached = list(islice(points(space, parameter.requires), MOST_POINTS))
    return len(reached) == MOST_POINTS or any(
        space.is_active(parameter, values) for values in reached
    )


def _never_rule(space: Space, parameter: Parameter) -> str:
    fixed = [one for one in parameter.when if one.key in space.fixed]
    wrong = next((one for one in fixed if not one.holds(space.fixed[one.key])), None)
    if wrong is not None:
        got = f"got {wrong.key}: {show(space.fixed[wrong.key])}"
        return f"when can never hold: {wrong}, {got}. Change {wrong.key}, or remove the parameter."
    when = " and ".join(map(str, parameter.when))
    return f"when can never hold: {when} exclude each other, got no sample with both. Change one."
