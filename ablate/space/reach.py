"""Determines which points of a space are reachable.

A domain has few values that conditions can distinguish: each choice, the ends of a range, the items
of a subset.  So all of them are enumerated to decide whether a condition can hold, without
sampling.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import combinations, islice
from typing import Any

from ablate.space.choices import ChoiceDomain, SubsetDomain
from ablate.space.condition import Condition
from ablate.space.domain import Domain
from ablate.space.parse import parameter_paths
from ablate.space.ratios import SimplexDomain
from ablate.space.space import Parameter, Space
from ablate.study.document import Document, Path, show
from ablate.study.settings import Study

Values = Mapping[str, Any]

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
    wanted = _with_required(space, keys)
    parameters = [parameter for parameter in space.parameters if parameter.key in wanted]
    asked = {key: list(_operands(space, key)) for key in wanted}

    def go_on(place: int, values: dict[str, Any]) -> Iterator[dict[str, Any]]:
        if place == len(parameters):
            yield values
            return
        parameter = parameters[place]
        if not space.is_active(parameter, values):
            yield from go_on(place + 1, values)
            return
        domain = parameter.domain
        of = domain.of if isinstance(domain, SimplexDomain) else None
        chosen = None if of is None else values[of]
        for value in telling_values(domain, asked[parameter.key], chosen):
            yield from go_on(place + 1, {**values, parameter.key: value})

    yield from go_on(0, {})


class Doubts:
    """Refused keys; problems that depend on them are not reported.

    Args:
        path: of the space in the document.
    """

    def __init__(self, document: Document, path: Path, space: Space) -> None:
        self._space = space
        self._refused = tuple(document.refused)
        self._places = parameter_paths(document.get(path, {}), path)

    def about(self, keys: Iterable[str]) -> bool:
        """Whether one of these keys, or what decides on whether it is active, is in doubt."""
        wanted = set(keys)
        for key in _with_required(self._space, wanted):
            parameter = next(one for one in self._space.parameters if one.key == key)
            wanted |= {key, *parameter.requires}
        return any(map(self._is_doubtful, wanted))

    def about_all(self) -> bool:
        """Whether anything in the space is."""
        return any(map(self._is_doubtful, self._places))

    def _is_doubtful(self, key: str) -> bool:
        path = self._places.get(key, tuple(key.split(".")))
        return any(_concerns(refused, path) for refused in self._refused)


def _concerns(refused: Path, path: Path) -> bool:
    """Whether the refused path is a parameter, a part of it, or contains it, such as its block's
    condition."""
    pairs = zip(refused, path, strict=False)
    common = next((at for at, (one, other) in enumerate(pairs) if one != other), None)
    return common is None or path[common] == "parameters"


def nothing_searched(study: Study, space: Space) -> str | None:
    """Why a search would have only one point, as `rule, got X.

    Fix.`, or None.  Ablations are not checked, because their arms are explicit.
    """
    if study.ablation is not None or study.search.trials == 1:
        return None
    if any(len(telling_values(parameter.domain)) > 1 for parameter in space.parameters):
        return None
    rule = f"a search of {study.search.trials} trials needs a parameter with two values or more"
    got = ", ".join(space.keys) or "none"
    fix = "Add one, such as finetune.learning_rate: {float: [0.001, 0.1], log: true}, or write"
    return f"{rule}, got {got}. {fix} search: {{trials: 1}}."


def check_reach(document: Document, path: Path, space: Space, doubts: Doubts) -> set[str]:
    """Report conditions of a search that no sample can satisfy.

    Args:
        path: of the space in the document.
        doubts: parameters that depend on one of them are skipped.

    Returns:
        The parameters that can never be active.
    """
    never: set[str] = set()
    places = parameter_paths(document.get(path, {}), path)
    for parameter in space.parameters:
        if not parameter.requires or doubts.about([parameter.key]):
            continue
        if _can_be_active(space, parameter):
            continue
        never.add(parameter.key)
        if any(key in never for key in parameter.requires):
            continue  # reported for the other one
        rule = _never_rule(space, parameter)
        document.refuse(places[parameter.key], rule, name=parameter.key, key=True)
    return never


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


def _with_required(space: Space, keys: Collection[str]) -> set[str]:
    """The searched ones of these keys, and what decides whether they are active."""
    by_key = {parameter.key: parameter for parameter in space.parameters}
    found, waiting = set[str](), [key for key in keys if key in by_key]
    while waiting:
        key = waiting.pop()
        if key not in found:
            found.add(key)
            waiting += [other for other in by_key[key].requires if other in by_key]
    return found


def _operands(space: Space, key: str) -> Iterator[Any]:
    conditions: Iterator[Condition] = (one for each in space.parameters for one in each.when)
    for condition in conditions:
        if condition.key == key:
            yield from condition.operand if condition.operator == "in" else [condition.operand]
