"""Reads a written space into a Space, and finds all that is wrong with it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from ablate.errors import ParameterError, Problem, StudyFileError, did_you_mean
from ablate.space.condition import Condition, parse_when
from ablate.space.domain import DOMAINS, Domain, DomainError, Spec, SubsetDomain
from ablate.space.fit import condition_rules, related_rules, value_rules
from ablate.space.space import Parameter, Space
from ablate.study.document import Finding, Path, dotted, name_of, show
from ablate.study.keys import (
    FIXED_KEYS,
    LONGEST_OWN_KEY,
    SEARCHABLE,
    all_keys,
    is_own_key,
    is_searchable,
    plain_values,
    searchable,
)
from ablate.study.names import KnownNames, failures
from ablate.study.settings import Study


def parse_space(study: Study, names: KnownNames) -> Space:
    """The search space of a study.

    Args:
        study: with its space inline, as `read_study` gives it.
        names: names that exist, by dotted key; `taps` is `names["loss.fma.layers"]`.

    Raises:
        StudyFileError: with every problem of the space.
        ParameterError: if the study's space is a file's name.
    """
    if isinstance(study.space, str):
        rule = f"must be a mapping here, got {show(study.space)}"
        raise ParameterError(f"space: {rule}. Read the study with read_study.")
    space, findings = read_space(study, names)
    findings += failures(names)
    if findings:
        raise StudyFileError(
            Problem("space", 0, 0, f"{name_of(finding.path)}: {finding.rule}")
            for finding in findings
        )
    return space


def read_space(study: Study, names: KnownNames) -> tuple[Space, list[Finding]]:
    """The space of a study's valid parameters, and what is wrong with the others."""
    findings: list[Finding] = []
    reader = _Reader(findings, own_keys=study.trainable is not None)
    reader.read(study.space if isinstance(study.space, dict) else {}, ("space",), {})
    entries, fixed = reader.entries, plain_values(study)
    domains = dict(_domains(entries, fixed, names, findings))
    conditions = {path: each for entry in entries.values() for path, each in entry.when.items()}
    findings += condition_rules(conditions, entries.keys(), domains, study, names)
    if study.trainable is None:
        paths = {key: (*entries[key].path, domain.word) for key, domain in domains.items()}
        findings += value_rules(domains, paths, study, names)
        findings += related_rules(domains, paths, study, names)
    parameters = [
        Parameter(key, domains[key], tuple(entry.when.values()))
        for key, entry in entries.items()
        if key in domains
    ]
    ordered = in_order(parameters)
    if circle := _circle({each.key: each for each in parameters if each not in ordered}):
        rule = f"conditions must not form a cycle, got {' -> '.join([*circle, circle[0]])}."
        path = entries[circle[0]].path
        findings.append(Finding(path, f"{rule} Remove one of them.", at_key=True))
    asked = dict.fromkeys(condition.key for condition in conditions.values())
    used = {key: fixed[key] for key in asked if key in fixed and key not in entries}
    return Space(tuple(ordered), used), findings


class _Entry(NamedTuple):
    """A parameter as written, with the conditions of itself and its blocks, by their paths."""

    path: Path
    data: Any
    when: Mapping[Path, Condition]


class _Reader:
    """Collects the parameters of a space by key, blocks opened."""

    def __init__(self, findings: list[Finding], *, own_keys: bool) -> None:
        self.entries: dict[str, _Entry] = {}
        self._findings = findings
        self._own_keys = own_keys

    def read(
        self, space: Mapping[str, Any], path: Path, when_of_blocks: Mapping[Path, Condition]
    ) -> None:
        for name, value in space.items():
            at, when = (*path, name), when_of_blocks
            if isinstance(value, dict) and "when" in value:
                conditions, findings = parse_when(value["when"], (*at, "when"))
                self._findings += findings
                when = {
                    **when,
                    **{(*at, "when", condition.key): condition for condition in conditions},
                }
            if isinstance(value, dict) and "parameters" in value:
                if self._is_block(value, at):
                    self.read(value["parameters"], (*at, "parameters"), when)
            elif rule := self._key_rule(name, value):
                self._findings.append(Finding(at, rule, at_key=True))
            else:
                self.entries[name] = _Entry(at, value, when)

    def _is_block(self, value: Mapping[str, Any], at: Path) -> bool:
        for option in value:
            if option not in ("when", "parameters"):
                fix = did_you_mean(option, ("when", "parameters"))
                rule = f"unknown option of a block, got {show(option)}. {fix}"
                self._findings.append(Finding((*at, option), rule, at_key=True))
        if "when" not in value:
            rule = "a block needs a condition, got none. Add when: {KEY: VALUE}."
            self._findings.append(Finding(at, rule, at_key=True))
        inner = value["parameters"]
        if isinstance(inner, dict) and inner:
            return True
        rule = f"parameters must be a mapping of keys to domains, got {show(inner)}."
        rule += " Write KEY: {float: [LOW, HIGH]}."
        self._findings.append(Finding((*at, "parameters"), rule))
        return False

    def _key_rule(self, key: str, value: Any) -> str | None:
        """Why this is no parameter, as `rule, got X. Fix.`"""
        if key in self.entries:
            first = dotted(self.entries[key].path)
            return f"searched twice, got it here and at {first}. Keep one."
        if is_own_key(key) if self._own_keys else is_searchable(key):
            return None
        if isinstance(value, dict) and "when" in value and not value.keys() & DOMAINS.keys():
            rule = f"needs a domain or, as a block, parameters, got {', '.join(value)}."
            return f"{rule} Add parameters: {{KEY: DOMAIN}}."
        return _not_own(key) if self._own_keys else _not_searchable(key)


def _not_own(key: str) -> str:
    if len(key) > LONGEST_OWN_KEY:
        rule = f"must have at most {LONGEST_OWN_KEY} characters, got {len(key)}"
        return f"{rule}. Shorten it."
    return "must be words joined by dots, such as net.width, got another name. Rename it."


def _not_searchable(key: str) -> str:
    first, allowed = key.partition(".")[0], ", ".join(SEARCHABLE)
    inside = [name for name in searchable() if name.startswith(f"{key}.")]
    if inside:
        return f"a section cannot be searched, got {key}. Search one of {', '.join(inside)}."
    if key not in all_keys():
        fix = did_you_mean(key, searchable())
        fix = fix if fix.startswith("Did you mean") else f"Search a key of {allowed}."
        return f"unknown key. {fix}"
    if first in ("dataset", "objectives", "robustness") or key in FIXED_KEYS:
        rule = "cannot be searched, because trials would be compared by different measures"
        return f"{rule}, got {key}. Create one study for each value."
    rule = "cannot be searched, because it is not part of a trial"
    return f"{rule}, got {key}. Search a key of {allowed}."


def _domains(
    entries: Mapping[str, _Entry],
    fixed: Mapping[str, Any],
    names: KnownNames,
    findings: list[Finding],
) -> Iterator[tuple[str, Domain]]:
    subsets: dict[str, tuple[str, ...]] = {}
    taps = names.get("loss.fma.layers", ())
    # Subsets first, because a simplex may refer to a later one.
    for key, entry in sorted(entries.items(), key=lambda item: not _is_subset(item[1].data)):
        try:
            word = _word(entry.data)
            domain = DOMAINS[word].parse(Spec(entry.data, fixed, subsets, taps))
        except DomainError as error:
            if error.rule:
                findings.append(Finding((*entry.path, *error.at), error.rule, error.at_key))
            continue
        if isinstance(domain, SubsetDomain):
            subsets[key] = domain.names
        yield key, domain


def _is_subset(data: Any) -> bool:
    return isinstance(data, dict) and SubsetDomain.word in data


def _word(data: Any) -> str:
    """The type of the domain: the key of the mapping that names one."""
    if not isinstance(data, dict):
        rule = f"must be a domain, got {show(data)}. Write for example {{float: [LOW, HIGH]}}."
        raise DomainError(rule)
    words = [word for word in data if word in DOMAINS]
    if len(words) == 1:
        return str(words[0])
    if words:
        rule = f"needs one domain, got {' and '.join(words)}. Keep one."
        raise DomainError(rule, words[1], at_key=True)
    others = [word for word in data if word not in ("log", "step", "when")]
    if others:
        rule = f"unknown domain, got {show(others[0])}. {did_you_mean(others[0], tuple(DOMAINS))}"
        raise DomainError(rule, others[0], at_key=True)
    raise DomainError(f"needs a domain, got {show(data)}. Add one of {', '.join(DOMAINS)}.")


# -- The order in which parameters are drawn: as written, but what one reads before it -----


def in_order(parameters: Sequence[Parameter]) -> list[Parameter]:
    """The parameters in order, without those that read each other in a circle."""
    waiting = {parameter.key: parameter for parameter in parameters}
    ordered: list[Parameter] = []
    while ready := next((each for each in waiting.values() if not _reads(each, waiting)), None):
        ordered.append(waiting.pop(ready.key))
    return ordered


def _reads(parameter: Parameter, waiting: Mapping[str, Parameter]) -> list[str]:
    return [key for key in parameter.requires if key in waiting]


def _circle(waiting: Mapping[str, Parameter]) -> list[str]:
    """Keys of which each reads the next and the last the first; the first as written first."""
    path = list(waiting)[:1]
    while path:
        following = _reads(waiting[path[-1]], waiting)[0]
        if following in path:
            circle = path[path.index(following) :]
            at = circle.index(min(circle, key=list(waiting).index))
            return circle[at:] + circle[:at]
        path.append(following)
    return path
