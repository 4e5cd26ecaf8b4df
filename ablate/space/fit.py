"""Whether a space fits the study: its values are allowed, its conditions can hold."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from pydantic import ValidationError

from ablate.errors import did_you_mean
from ablate.space.choices import ChoiceDomain, SubsetDomain
from ablate.space.condition import Condition
from ablate.space.domain import Domain
from ablate.space.ratios import SimplexDomain
from ablate.study.checks import rules_of
from ablate.study.document import Finding, Path, show
from ablate.study.keys import BY_NAME, OPEN, plain_values, value_at
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
        listed = not isinstance(domain, SubsetDomain | SimplexDomain)
        for i, value in enumerate(domain.examples()):
            at = (*paths[key], i) if listed else paths[key]
            for below, rule, _ in _rules_of_value(study, key, value, names):
                yield Finding((*at, *below), rule)


def _rules_of_value(study: Study, key: str, value: Any, names: KnownNames) -> Iterator[Finding]:
    """Why a key of the study may not have a value; paths are below the value."""
    path = tuple(key.split("."))
    try:
        changed = study.with_values({key: value})
    except ValidationError as error:
        data = study.model_dump(mode="json")
        value_at(data, ".".join(path[:-1]))[path[-1]] = value
        for at, rule, _ in findings(error, data):
            yield Finding(at[len(path) :], rule)
        return
    for at, rule, _ in rules_of(key, changed):
        yield Finding(at[len(path) :], rule)
    mapping, _, name = key.rpartition(".")
    if mapping in OPEN:
        yield from (Finding((), one.rule) for one in name_rules(mapping, {name: value}, names))
    yield from name_rules(key, value, names)


def condition_rules(
    conditions: Mapping[Path, Condition],
    searched: Collection[str],
    domains: Mapping[str, Domain],
    study: Study,
    names: KnownNames,
) -> Iterator[Finding]:
    """Conditions on keys that do not exist, or that no value can satisfy."""
    known = [*searched, *plain_values(study)]
    for path, condition in conditions.items():
        key, rule = condition.key, None
        if key in domains:
            rule = _never(condition, domains[key])
        elif key not in known:
            rule = f"when names an unknown parameter, got {show(key)}. {did_you_mean(key, known)}"
        elif key not in searched:
            rule = _unknown_operand(condition, study, names)
        if rule:
            yield Finding(path, rule, at_key=key not in known)


def _never(condition: Condition, domain: Domain) -> str | None:
    """Why no value of a domain satisfies a condition."""
    fix = f"Use a value that {condition.key} can have."
    if condition.operator == "contains":
        impossible = [] if condition.operand in domain.items() else [condition.operand]
        fix = did_you_mean(str(condition.operand), list(map(str, domain.items())))
    else:
        impossible = [value for value in condition.wanted if not domain.holds(value)]
        if impossible and isinstance(domain, ChoiceDomain):
            fix = did_you_mean(str(impossible[0]), list(map(str, domain.choices)))
    return f"when can never hold, got {condition}. {fix}" if impossible else None


def _unknown_operand(condition: Condition, study: Study, names: KnownNames) -> str | None:
    """Why a fixed key of the study can never satisfy a condition."""
    key = condition.key
    if condition.operator == "contains":
        rules = name_rules(key, condition.operand, names)
    else:
        rules = (
            one for value in condition.wanted for one in _rules_of_value(study, key, value, names)
        )
    first = next(rules, None)
    return None if first is None else f"when on {key}: {first.rule}"


def related_rules(
    domains: Mapping[str, Domain], paths: Mapping[str, Path], study: Study, names: KnownNames
) -> Iterator[Finding]:
    """Ratios whose items are not those that they are ratios of; arguments as for `value_rules`."""
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
            yield Finding(paths[items_key][:-1], f"{rule}. {fix}", at_key=True)
        if ratios is None or (isinstance(ratios, SimplexDomain) and ratios.of == items_key):
            continue
        mappings = [example for example in ratios.examples() if isinstance(example, dict)]
        if items is not None and mappings:
            rule = f"must use the items of {items_key}, which is searched too, got"
            fix = f"Write {{simplex: {items_key}}}"
            fix += "." if isinstance(items, SubsetDomain) else f" and make {items_key} a subset."
            yield Finding(paths[key], f"{rule} {show(mappings[0])}. {fix}")
        elif items is None and isinstance(fixed[items_key], list):
            for name in dict.fromkeys(name for mapping in mappings for name in mapping):
                # An unknown one has already been reported.
                exists = any(name in names.get(kind, (name,)) for kind in BY_NAME[key])
                if name not in fixed[items_key] and exists:
                    rule = f"must be one of {items_key} {show(fixed[items_key])}, got {show(name)}"
                    fix = did_you_mean(name, fixed[items_key])
                    yield Finding(paths[key], f"{rule}. {fix}")
