"""Reads a written space into a Space, and finds all that is wrong with it.

What samplers could not draw, or databases not keep, is refused here.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from ablate.errors import ParameterError, Problem, StudyFileError, did_you_mean
from ablate.space.domain import (
    DOMAINS,
    ChoiceDomain,
    Condition,
    Domain,
    FloatDomain,
    IntDomain,
    SimplexDomain,
    SubsetDomain,
    is_on_step,
    stored,
)
from ablate.space.fit import condition_rules, related_rules, value_rules
from ablate.space.space import Parameter, Space
from ablate.study.document import Finding, Path, dotted, name_of, show
from ablate.study.keys import (
    FIXED_KEYS,
    LONGEST_OWN_KEY,
    SEARCHABLE,
    WrittenParameter,
    all_keys,
    is_block,
    is_own_key,
    is_searchable,
    plain_values,
    searchable,
    written_parameters,
)
from ablate.study.names import KnownNames, OpenNames, failures
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
    findings = list(_block_rules(study.space, ("space",)))
    entries: dict[str, WrittenParameter] = {}
    is_own = study.trainable is not None
    for parameter in written_parameters(study.space, ("space",)):
        if isinstance(parameter.entry, dict) and "parameters" in parameter.entry:
            continue  # a block that is reported
        if rule := _key_rule(parameter, entries, is_own=is_own):
            findings.append(Finding(parameter.path, rule))
        else:
            entries[parameter.key] = parameter
    when = {key: _conditions(entry.when, findings) for key, entry in entries.items()}
    findings = list(dict.fromkeys(findings))  # one of a block once, not for each parameter
    fixed = plain_values(study)
    domains = dict(_domains(entries, fixed, names, findings))
    conditions = {path: each for own in when.values() for path, each in own.items()}
    findings += condition_rules(conditions, entries.keys(), domains, study, names)
    if not is_own:
        paths = {key: (*entries[key].path, domain.word) for key, domain in domains.items()}
        findings += value_rules(domains, paths, study, names)
        findings += related_rules(domains, paths, study)
    parameters = [
        Parameter(key, domains[key], tuple(when[key].values())) for key in entries if key in domains
    ]
    ordered = in_order(parameters)
    if circle := [each.key for each in parameters if each not in ordered]:
        rule = f"conditions must not form a cycle, got {', '.join(circle)}"
        findings.append(Finding(entries[circle[0]].path, f"{rule}. Remove one of them."))
    asked = dict.fromkeys(condition.key for condition in conditions.values())
    used = {key: fixed[key] for key in asked if key in fixed and key not in entries}
    return Space(tuple(ordered), used), findings


# -- Blocks, conditions and keys -----------------------------------------------------------


_OPERATORS = ("in", "contains")


def _block_rules(space: Any, path: Path) -> Iterator[Finding]:
    """What is wrong with the blocks of a space, beside the parameters in them."""
    if not isinstance(space, dict):
        return
    for key, entry in space.items():
        if not isinstance(entry, dict) or "parameters" not in entry:
            continue
        at, inner = (*path, key), entry["parameters"]
        for option in [name for name in entry if name not in ("when", "parameters")]:
            fix = did_you_mean(option, ("when", "parameters"))
            rule = f"unknown option of a block, got {show(option)}. {fix}"
            yield Finding((*at, option), rule)
        if "when" not in entry:
            yield Finding(at, "a block needs a condition, got none. Add when: {KEY: VALUE}.")
        if not is_block(entry):
            rule = f"parameters must be a mapping of keys to domains, got {show(inner)}"
            yield Finding((*at, "parameters"), f"{rule}. Write KEY: {{float: [LOW, HIGH]}}.")
        yield from _block_rules(inner, (*at, "parameters"))


def _conditions(when: Mapping[Path, Any], findings: list[Finding]) -> dict[Path, Condition]:
    """The conditions of a parameter and its blocks, by their paths."""
    conditions: dict[Path, Condition] = {}
    for path, written in when.items():
        if not isinstance(written, dict) or not written:
            rule = f"when must be a mapping of keys to values, got {show(written)}."
            findings.append(Finding(path, f"{rule} Write when: {{loss.terms: {{contains: fma}}}}."))
            continue
        for key, value in written.items():
            at = (*path, key)
            if not isinstance(value, dict):
                conditions[at] = Condition(key, "is", value)
                continue
            unknown = next((name for name in value if name not in _OPERATORS), None)
            operator, operand = next(iter(value.items()), ("", None))
            if unknown is not None:
                fix = did_you_mean(unknown, _OPERATORS)
                rule = f"unknown condition, got {show(unknown)}. {fix}"
                findings.append(Finding((*at, unknown), rule))
            elif len(value) != 1:
                rule = f"when needs one condition per key, got {show(value)}. Write in or contains."
                findings.append(Finding(at, rule))
            elif operator == "in" and not (isinstance(operand, list) and operand):
                rule = f"in needs a list of values, got {show(operand)}. Write in: [a, b]."
                findings.append(Finding((*at, operator), rule))
            else:
                conditions[at] = Condition(key, operator, operand)
    return conditions


def _key_rule(
    parameter: WrittenParameter, before: Mapping[str, WrittenParameter], *, is_own: bool
) -> str | None:
    """Why a key is no parameter, as `rule, got X. Fix.`"""
    key, entry = parameter.key, parameter.entry
    if key in before:
        return f"searched twice, got it here and at {dotted(before[key].path)}. Keep one."
    if is_own_key(key) if is_own else is_searchable(key):
        return None
    if isinstance(entry, dict) and "when" in entry and not {*entry} & {*DOMAINS}:
        rule = f"needs a domain or, as a block, parameters, got {', '.join(entry)}."
        return f"{rule} Add parameters: {{KEY: DOMAIN}}."
    return _not_own(key) if is_own else _not_searchable(key)


def _not_own(key: str) -> str:
    if len(key) > LONGEST_OWN_KEY:
        rule = f"must have at most {LONGEST_OWN_KEY} characters, got {len(key)}"
        return f"{rule}. Shorten it."
    return "must be words joined by dots, such as net.width, got another name. Rename it."


def _not_searchable(key: str) -> str:
    allowed = ", ".join(SEARCHABLE)
    if inside := [name for name in searchable() if name.startswith(f"{key}.")]:
        return f"a section cannot be searched, got {key}. Search one of {', '.join(inside)}."
    if key not in all_keys():
        fix = did_you_mean(key, searchable())
        return f"unknown key. {fix if 'Did you' in fix else f'Search a key of {allowed}.'}"
    if key.startswith(("dataset.", "objectives.", "robustness.")) or key in FIXED_KEYS:
        rule = "cannot be searched, because trials would be compared by different measures"
        return f"{rule}, got {key}. Create one study for each value."
    rule = "cannot be searched, because it is not part of a trial"
    return f"{rule}, got {key}. Search a key of {allowed}."


# -- Domains as written --------------------------------------------------------------------


MOST_CHOICES = 1_000
"""Largest number of choices; each row stores all of them."""

MOST_ITEMS = 256
"""Largest number of items of a subset or simplex; each is a separate parameter in every row."""

_LONGEST_NAME = 200
"""Characters of an item: a database keeps 512 of `key[item]`."""

_LEAST_WIDTH = 1e-12
"""Of a range of floats, as a share of its ends: some 4,000 floats lie in it then."""
_SIZES: Mapping[type[float], tuple[float, float]] = {int: (1, 2**52), float: (1e-300, 1e300)}
"""Least and largest size of a number other than 0: samplers compute in floats, with differences."""


class _WrongDomainError(Exception):
    """A rule, `rule, got X. Fix.`, that a domain breaks at a path below it; an empty one is
    reported elsewhere."""

    def __init__(self, rule: str, *at: str | int) -> None:
        super().__init__(rule)
        self.rule, self.at = rule, at


def _domains(
    entries: Mapping[str, WrittenParameter],
    fixed: Mapping[str, Any],
    names: KnownNames,
    findings: list[Finding],
) -> Iterator[tuple[str, Domain]]:
    spec = _Spec(fixed, names.get("loss.fma.layers", ()), {})

    def is_no_subset(key: str) -> bool:
        return not (isinstance(entries[key].entry, dict) and "subset" in entries[key].entry)

    # Subsets first, because a simplex may refer to a later one.
    for key in sorted(entries, key=is_no_subset):
        entry = entries[key]
        try:
            domain = spec.domain(entry.entry)
        except _WrongDomainError as error:
            if error.rule:
                findings.append(Finding((*entry.path, *error.at), error.rule))
            continue
        if isinstance(domain, SubsetDomain):
            spec.subsets[key] = domain.names
        yield key, domain


class _Spec(NamedTuple):
    """What a written domain may refer to.

    Attributes:
        fixed: the study's values by dotted key.
        taps: of the study's network.
        subsets: items of each subset of the space by its key.
    """

    fixed: Mapping[str, Any]
    taps: Sequence[str]
    subsets: dict[str, tuple[str, ...]]

    def domain(self, data: Any) -> Domain:
        """A domain as written; raises `_WrongDomainError`."""
        word = _word(data)
        options = ("log", "step", "when") if word in ("float", "int") else ("when",)
        for name in data:
            if name not in (word, *options):
                fix = did_you_mean(name, options)
                raise _WrongDomainError(f"unknown option of {word}, got {show(name)}. {fix}", name)
        match word:
            case "float":
                low, high, log, step = _interval(data, word, float)
                return FloatDomain(low, high, log, step)
            case "int":
                low, high, log, step = _interval(data, word, int)
                return IntDomain(low, high, log, step or 1)
            case "subset":
                return SubsetDomain(self._names(data[word], word))
            case "simplex":
                return self._simplex(data[word])
        return ChoiceDomain(_items(data[word], word, MOST_CHOICES))

    def _names(self, written: Any, word: str) -> tuple[str, ...]:
        """A list of text; `taps`: every tap of the study's network."""
        if written == "taps":
            if not self.taps:
                is_reported = isinstance(self.taps, OpenNames) and self.taps.failure
                rule = "taps needs a model whose taps are known, got 'taps'. List the layers."
                raise _WrongDomainError("" if is_reported else rule, word)
            return tuple(self.taps)
        items = _items(written, word, MOST_ITEMS)
        for i, item in enumerate(items):
            if not isinstance(item, str):
                rule = f"items must be text, got {show(item)}. Put it in quotes."
                raise _WrongDomainError(rule, word, i)
            if len(item) > _LONGEST_NAME:
                rule = f"items must have at most {_LONGEST_NAME} characters, got {len(item)}"
                raise _WrongDomainError(f"{rule}. Shorten it.", word, i)
        return items

    def _simplex(self, source: Any) -> SimplexDomain:
        """Of a list, `taps`, the key of a subset in the space, or the key of a list in the
        study."""
        if isinstance(source, str) and source in self.subsets:
            names, of = self.subsets[source], source
        else:
            value, of = self.fixed.get(str(source)), None
            if source == "loss.fma.layers" and value == "taps":
                source = "taps"
            if not isinstance(source, str) or source == "taps":
                names = self._names(source, "simplex")
            elif isinstance(value, list) and all(isinstance(item, str) for item in value):
                names = tuple(value)
            else:
                lists = [key for key in self.fixed if isinstance(self.fixed[key], list)]
                rule = "simplex must name a subset of the space or a list of the study"
                fix = did_you_mean(source, [*self.subsets, *lists])
                raise _WrongDomainError(f"{rule}, got {show(source)}. {fix}", "simplex")
        if len(names) < 2:
            rule = f"simplex needs two items or more, got {show(list(names))}"
            raise _WrongDomainError(f"{rule}. Add one, or do not search it.", "simplex")
        return SimplexDomain(names, of)


def _word(data: Any) -> str:
    """The type of the domain: the key of the mapping that names one."""
    if not isinstance(data, dict):
        rule = f"must be a domain, got {show(data)}. Write for example {{float: [LOW, HIGH]}}."
        raise _WrongDomainError(rule)
    words = [word for word in data if word in DOMAINS]
    if len(words) == 1:
        return str(words[0])
    if words:
        rule = f"needs one domain, got {' and '.join(words)}. Keep one."
        raise _WrongDomainError(rule, words[1])
    if others := [word for word in data if word not in ("log", "step", "when")]:
        rule = f"unknown domain, got {show(others[0])}. {did_you_mean(others[0], tuple(DOMAINS))}"
        raise _WrongDomainError(rule, others[0])
    raise _WrongDomainError(f"needs a domain, got {show(data)}. Add one of {', '.join(DOMAINS)}.")


def _items(items: Any, word: str, most: int) -> tuple[Any, ...]:
    """A list: not empty, nothing twice, all of it to be stored."""
    if not isinstance(items, list):
        rule = f"{word} needs a list, got {show(items)}. Write {word}: [a, b]."
        raise _WrongDomainError(rule, word)
    if not items:
        raise _WrongDomainError(f"{word} of nothing, got []. Name at least one.", word)
    if len(items) > most:
        rule = f"{word} must have at most {most} items, got {len(items)}"
        raise _WrongDomainError(f"{rule}. Name fewer, or search an int or float.", word)
    for i, item in enumerate(items):
        try:
            json.dumps(item, allow_nan=False)
        except ValueError:
            rule = f"must be finite, got {show(item)}. Write a number, or text in quotes."
            raise _WrongDomainError(rule, word, i) from None
        if stored(item) in map(stored, items[:i]):
            raise _WrongDomainError(f"given twice, got {show(item)}. Remove one.", word, i)
    return tuple(items)


def _interval(data: Mapping[str, Any], word: str, kind: type[float]) -> tuple[Any, Any, bool, Any]:
    """Low, high, whether it is logarithmic, and the step, or None."""
    ends, log, step = data[word], data.get("log", False), data.get("step")
    if not isinstance(log, bool):
        rule = f"log must be true or false, got {show(log)}. Write true or false."
        raise _WrongDomainError(rule, "log")
    if step is not None:
        step = _number(step, "step", kind, "step")
    if not isinstance(ends, list) or len(ends) != 2:
        rule = f"{word} needs [low, high], got {show(ends)}. Write two numbers."
        raise _WrongDomainError(rule, word)
    low, high = (
        _number(end, name, kind, word, i)
        for i, (end, name) in enumerate(zip(ends, ("low", "high"), strict=True))
    )
    if wrong := _range_rule(low, high, show(ends), log=log):
        raise _WrongDomainError(wrong, word)
    if step is not None and (wrong := _step_rule(low, high, step, log=log)):
        raise _WrongDomainError(wrong, "step")
    return low, high, log, step


def _number(value: Any, name: str, kind: type[float], *at: str | int) -> float:
    """A number of this kind; `name` is its own in the message."""
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if type(value) is not kind or not math.isfinite(value):
        words = "a whole number" if kind is int else "a number"
        raise _WrongDomainError(f"{name} must be {words}, got {show(value)}. Write {words}.", *at)
    least, most = _SIZES[kind]
    if value != 0 and not least <= abs(value) <= most:
        rule = f"{name} must be 0, or from {least:g} to {most:g} in size, got {show(value)}"
        raise _WrongDomainError(f"{rule}. Take another one.", *at)
    return value


def _range_rule(low: float, high: float, ends: str, *, log: bool) -> str | None:
    if low >= high:
        fix = "Swap them." if low > high else "Widen it, or fix the value in the study."
        return f"low must be below high, got {ends}. {fix}"
    if log and low <= 0:
        return f"log needs a low above 0, got {ends}. Raise low or drop log."
    if isinstance(low, float) and high - low < _LEAST_WIDTH * max(abs(low), abs(high)):
        rule = f"low and high must differ by a fraction of more than {_LEAST_WIDTH:g}"
        return f"{rule}, got {ends}. Widen it, or fix the value in the study."
    return None


def _step_rule(low: float, high: float, step: float, *, log: bool) -> str | None:
    got, largest = f"got {show(step)}", max(high - low, abs(low), abs(high))
    if log:
        return f"step and log exclude each other, got step {show(step)}. Drop one."
    if step <= 0:
        return f"step must be above 0, {got}. Raise it."
    if step > high - low:
        return f"step must fit into [{low:.12g}, {high:.12g}], {got}. Lower it."
    if largest / step >= 2**52:
        return f"step must be larger than {largest:g} / 2**52, {got}. Raise it."
    # A float as far as steps with nine digits lead to the end.
    off = abs(low + step * round((high - low) / step) - high)
    is_near = off <= min(1e-9 * max(abs(high), step), 0.01 * step) and isinstance(step, float)
    if not (is_near or is_on_step(high, low, step)):
        last = low + step * math.floor((high - low) / step)
        rule = f"step must lead from {low:.12g} to {high:.12g}, {got}"
        return f"{rule}. End the range at {last:.12g} or change the step."
    return None


# -- The order in which parameters are drawn: as written, but what one reads before it -----


def in_order(parameters: Sequence[Parameter]) -> list[Parameter]:
    """The parameters in order, without those that read each other in a circle."""
    waiting = {parameter.key: parameter for parameter in parameters}
    ordered: list[Parameter] = []
    while ready := next(
        (each for each in waiting.values() if not {*each.requires} & waiting.keys()), None
    ):
        ordered.append(waiting.pop(ready.key))
    return ordered
