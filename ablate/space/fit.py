"""Checks that a space fits the study: its values are allowed, its conditions can hold."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

from pydantic import ValidationError

from ablate.errors import did_you_mean
from ablate.space.choices import ChoiceDomain, SubsetDomain
from ablate.space.condition import Condition
from ablate.space.domain import Domain
from ablate.space.ratios import SimplexDomain
from ablate.space.space import Parameter
from ablate.study.checks import rules_of
from ablate.study.document import Document, Path, show
from ablate.study.keys import (
    BY_NAME,
    OPEN,
    plain_values,
    value_at,
)
from ablate.study.names import KnownNames, name_rules
from ablate.study.settings import Study
from ablate.study.translate import findings


class Conditional(Protocol):
    """A key, with conditions and the place of each."""

    @property
    def key(self) -> str: ...
    @property
    def when(self) -> tuple[Condition, ...]: ...
    @property
    def when_paths(self) -> tuple[Path, ...]: ...


def check_values(
    document: Document,
    parameters: Sequence[Parameter],
    places: Mapping[str, Path],
    study: Study,
    names: KnownNames,
) -> None:
    """Report domains with values that their key refuses."""
    for parameter in parameters:
        key, domain = parameter.key, parameter.domain
        listed = not isinstance(domain, SubsetDomain | SimplexDomain)
        for i, value in enumerate(domain.examples()):
            at = (*places[key], domain.word, *((i,) if listed else ()))
            for below, rule in value_rules(study, key, value, names):
                document.refuse((*at, *below), rule, name=key)


def value_rules(
    study: Study, key: str, value: Any, names: KnownNames
) -> Iterator[tuple[Path, str]]:
    """Why a key of the study may not have a value: path below it, and `rule, got X. Fix.`"""
    path = tuple(key.split("."))
    try:
        changed = study.with_values({key: value})
    except ValidationError as error:
        data = study.model_dump(mode="json")
        node = value_at(data, ".".join(path[:-1])) if path[:-1] else data
        node[path[-1]] = value
        for finding in findings(error, data):
            yield finding.path[len(path) :], finding.rule
    else:
        yield from ((at[len(path) :], rule) for at, rule in rules_of(key, changed))
        mapping, _, name = key.rpartition(".")
        if mapping in OPEN:
            yield from (((), rule) for _, rule in name_rules(mapping, {name: value}, names))
        yield from name_rules(key, value, names)


def check_conditions(
    document: Document,
    found: Sequence[Conditional],
    domains: Mapping[str, Domain],
    study: Study,
    names: KnownNames,
) -> None:
    """Note conditions on keys that do not exist, or that no value can satisfy."""
    searched = [entry.key for entry in found]
    known = [*searched, *plain_values(study)]
    said: set[Path] = set()
    for entry in found:
        for condition, path in zip(entry.when, entry.when_paths, strict=True):
            # A block's condition belongs to each parameter in it; it is checked once.
            if path in said:
                continue
            said.add(path)
            if condition.key in domains:
                rule = _never(condition, domains[condition.key])
            elif condition.key in searched:
                continue
            elif condition.key in known:
                rule = _unknown_operand(condition, study, names)
            else:
                fix = did_you_mean(condition.key, known)
                rule = f"when names an unknown parameter, got {show(condition.key)}. {fix}"
            if rule:
                document.refuse(path, rule, name=entry.key, key=condition.key not in known)


def _never(condition: Condition, domain: Domain) -> str | None:
    """Why no value of a domain satisfies a condition."""
    operand = condition.operand
    if condition.operator == "contains":
        if operand in domain.items():
            return None
        fix = did_you_mean(str(operand), [str(item) for item in domain.items()])
        return f"when can never hold, got {condition}. {fix}"
    wanted = operand if condition.operator == "in" else [operand]
    impossible = [value for value in wanted if not domain.holds(value)]
    if not impossible:
        return None
    if isinstance(domain, ChoiceDomain):
        fix = did_you_mean(str(impossible[0]), [str(choice) for choice in domain.choices])
    else:
        fix = f"Use a value that {condition.key} can have."
    return f"when can never hold, got {condition}. {fix}"


def _unknown_operand(condition: Condition, study: Study, names: KnownNames) -> str | None:
    """Why a fixed key of the study can never satisfy a condition."""
    operand, key = condition.operand, condition.key
    if condition.operator == "contains":
        rules = name_rules(key, operand, names)
    else:
        wanted = operand if condition.operator == "in" else [operand]
        rules = (rule for value in wanted for rule in value_rules(study, key, value, names))
    first = next(rules, None)
    return None if first is None else f"when on {key}: {first[1]}"


def check_related(
    document: Document,
    parameters: Sequence[Parameter],
    places: Mapping[str, Path],
    study: Study,
    names: KnownNames,
) -> None:
    """Note ratios whose items are not those that they are ratios of."""
    domains = {parameter.key: parameter.domain for parameter in parameters}
    fixed = plain_values(study)
    for key, items_key in _related(domains, fixed):
        ratios, items = domains.get(key), domains.get(items_key)
        if items is not None and ratios is None and isinstance(fixed[key], dict):
            rule = f"must not be fixed while {items_key} is searched, got {show(fixed[key])}"
            fix = f"Search {key}: {{simplex: {items_key}}} or remove it from the study."
            document.refuse(places[items_key], f"{rule}. {fix}", name=key, key=True)
        if ratios is None or (isinstance(ratios, SimplexDomain) and ratios.of == items_key):
            continue
        at = (*places[key], ratios.word)
        mappings = [example for example in ratios.examples() if isinstance(example, dict)]
        if items is not None and mappings:
            rule = (
                f"must use the items of {items_key}, which is searched too, got {show(mappings[0])}"
            )
            fix = f"Write {{simplex: {items_key}}}"
            fix += "." if isinstance(items, SubsetDomain) else f" and make {items_key} a subset."
            document.refuse(at, f"{rule}. {fix}", name=key)
        elif items is None and isinstance(fixed[items_key], list):
            for name in dict.fromkeys(name for mapping in mappings for name in mapping):
                # An unknown one has already been reported.
                exists = any(name in names.get(kind, (name,)) for kind in BY_NAME[key])
                if name not in fixed[items_key] and exists:
                    rule = f"must be one of {items_key} {show(fixed[items_key])}, got {show(name)}"
                    fix = did_you_mean(name, fixed[items_key])
                    document.refuse(at, f"{rule}. {fix}", name=key)


def _related(domains: Mapping[str, Domain], fixed: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Keys with ratios, and the key of their items."""
    by_type = "augment.types" in domains or fixed["augment.types"] is not None
    yield "augment.mix", "augment.types" if by_type else "augment.families"
    yield "loss.fma.layer_weights", "loss.fma.layers"
