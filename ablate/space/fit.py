"""Whether a space fits the study: its values are allowed, its conditions can hold, its parameters
can be reached."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from itertools import combinations, islice
from typing import Any

from pydantic import ValidationError

from ablate.errors import did_you_mean
from ablate.space.domain import ChoiceDomain, Condition, Domain, SimplexDomain, SubsetDomain
from ablate.space.space import Parameter, Space
from ablate.study.checks import rules_of
from ablate.study.document import Finding, Path, show
from ablate.study.keys import OPEN, plain_values, searched_paths, value_at
from ablate.study.names import KnownNames, name_rules
from ablate.study.settings import Study
from ablate.study.translate import findings


def value_rules(
    domains: Mapping[str, Domain], paths: Mapping[str, Path], study: Study, names: KnownNames
) -> Iterator[Finding]:
    """Domains with values that their key refuses.

    Args:
        paths: of what is written for each domain, such as `("space", KEY, "choice")`.
    """
    for key, domain in domains.items():
        is_list_of_values = not isinstance(domain, SubsetDomain | SimplexDomain)
        for i, value in enumerate(domain.examples()):
            at = (*paths[key], i) if is_list_of_values else paths[key]
            for below, rule in _rules_of_value(study, key, value, names):
                yield Finding((*at, *below), rule)


def _rules_of_value(study: Study, key: str, value: Any, names: KnownNames) -> Iterator[Finding]:
    """Why a key of the study may not have a value; paths are below the value."""
    above, _, name = key.rpartition(".")
    depth = key.count(".") + 1
    try:
        changed = study.with_values({key: value})
    except ValidationError as error:
        data = study.model_dump(mode="json")
        value_at(data, above)[name] = value
        yield from (Finding(at[depth:], rule) for at, rule in findings(error, data))
        return
    unknown = list(name_rules(key, value, names))
    if above in OPEN:
        unknown += [Finding((), rule) for _, rule in name_rules(above, {name: value}, names)]
    yield from unknown
    wrong = {finding.path for finding in unknown}
    rules = (Finding(at[depth:], rule) for at, rule in rules_of(key, changed))
    yield from (finding for finding in rules if finding.path not in wrong)


def condition_rules(
    conditions: Mapping[Path, Condition],
    searched: Collection[str],
    domains: Mapping[str, Domain],
    study: Study,
    names: KnownNames,
) -> Iterator[Finding]:
    """Conditions on keys that do not exist, or with values that these cannot have."""
    known = [*searched, *plain_values(study)]
    for path, condition in conditions.items():
        key = condition.key
        if key in domains:
            if rule := _never(condition, domains[key]):
                yield Finding(path, rule)
        elif key not in known:
            rule = f"when names an unknown parameter, got {show(key)}. {did_you_mean(key, known)}"
            yield Finding(path, rule)
        elif key not in searched:
            wrong = (
                finding
                for value in condition.wanted
                for finding in (
                    name_rules(key, value, names)
                    if condition.operator == "contains"
                    else _rules_of_value(study, key, value, names)
                )
            )
            for _, rule in islice(wrong, 1):
                yield Finding(path, f"when on {key}: {rule}")


def _never(condition: Condition, domain: Domain) -> str | None:
    """Why no value of a domain satisfies a condition."""
    if condition.operator == "contains":
        impossible = [value for value in condition.wanted if value not in domain.items()]
        known = domain.items()
    else:
        impossible = [value for value in condition.wanted if not domain.holds(value)]
        known = domain.choices if isinstance(domain, ChoiceDomain) else ()
    if not impossible:
        return None
    fix = did_you_mean(str(impossible[0]), list(map(str, known))) if known else ""
    fix = fix or f"Use a value that {condition.key} can have."
    return f"when can never hold, got {condition}. {fix}"


def related_rules(
    domains: Mapping[str, Domain], paths: Mapping[str, Path], study: Study
) -> Iterator[Finding]:
    """Ratios of items that are searched too, which are not by them; arguments as for
    `value_rules`."""
    fixed = plain_values(study)
    by_type = "augment.types" in domains or fixed["augment.types"] is not None
    for key, items_key in (
        ("augment.mix", "augment.types" if by_type else "augment.families"),
        ("loss.fma.layer_weights", "loss.fma.layers"),
    ):
        ratios, items = domains.get(key), domains.get(items_key)
        if items is not None and ratios is None and isinstance(fixed[key], dict):
            rule = f"{key} must not be fixed while {items_key} is searched, got {show(fixed[key])}"
            fix = f"Search {key}: {{simplex: {items_key}}} or remove it from the study."
            yield Finding(paths[items_key][:-1], f"{rule}. {fix}")
        if ratios is None or (isinstance(ratios, SimplexDomain) and ratios.of == items_key):
            continue
        mappings = [example for example in ratios.examples() if isinstance(example, dict)]
        if items is not None and mappings:
            rule = f"must use the items of {items_key}, which is searched too, got"
            fix = f"Write {{simplex: {items_key}}}"
            fix += "." if isinstance(items, SubsetDomain) else f" and make {items_key} a subset."
            yield Finding(paths[key], f"{rule} {show(mappings[0])}. {fix}")


# -- Which points are reachable ------------------------------------------------------------
#
# A domain has few values that conditions can distinguish: each choice, the ends of a range, the
# items of a subset.  So all of them are enumerated to decide whether a condition can hold, without
# sampling.

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
    if isinstance(domain, SubsetDomain):
        count = len(domain.names)
        sizes = range(1, count + 1) if count <= _WHOLE_SUBSETS else (1, count - 1, count)
        return [list(some) for size in sizes for some in combinations(domain.names, size)]
    if isinstance(domain, SimplexDomain):
        kept = [name for name in domain.names if chosen is None or name in chosen]
        even = {name: 1 / len(kept) * (name in kept) for name in domain.names}
        corners = [{name: float(name == corner) for name in domain.names} for corner in kept]
        return [even, *corners] if len(kept) > 1 else [even]
    values = domain.examples()
    return [*values, *(value for value in others if domain.holds(value) and value not in values)]


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
    for condition in (each for parameter in space.parameters for each in parameter.when):
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

    yield from go_on([each for each in space.parameters if each.key in wanted], {})


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
        reached = list(islice(points(space, parameter.requires), MOST_POINTS))
        is_reached = any(space.is_active(parameter, values) for values in reached)
        if is_reached or not parameter.requires or len(reached) == MOST_POINTS:
            continue
        if not never & {*parameter.requires}:  # else it is reported for the other one
            yield Finding(paths[parameter.key], _never_reached(space, parameter))
        never.add(parameter.key)


def _never_reached(space: Space, parameter: Parameter) -> str:
    for condition in parameter.when:
        value = space.fixed.get(condition.key)
        if condition.key in space.fixed and not condition.holds(value):
            fix = f"Change {condition.key}, or remove the parameter."
            got = f"got {condition.key}: {show(value)}"
            return f"when can never hold: {condition}, {got}. {fix}"
    when = " and ".join(map(str, parameter.when))
    return f"when can never hold: {when} exclude each other, got no sample with both. Change one."
