"""A space as it is written -> a Space: every problem noted, none raised before the end."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from pydantic import ValidationError

from ablate.errors import ParameterError, StudyFileError, did_you_mean
from ablate.space.choice import ChoiceDomain
from ablate.space.condition import Condition, parse_when
from ablate.space.domain import Domain
from ablate.space.interval import FloatDomain, IntDomain
from ablate.space.simplex import SimplexDomain
from ablate.space.space import DOMAINS, Parameter, Space
from ablate.space.spec import Spec
from ablate.space.subset import SubsetDomain
from ablate.study.document import Document, Path, show
from ablate.study.keys import (
    BY_NAME,
    LONGEST_OWN_KEY,
    OPEN,
    SEARCHABLE,
    all_keys,
    is_own_key,
    is_searchable,
    plain_values,
    searchable,
    value_at,
)
from ablate.study.names import KnownNames, name_rules, refuse_failures
from ablate.study.settings import Study
from ablate.study.translate import findings


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
    document = Document("space", study.space)
    space = check_space(document, (), study, names)
    refuse_failures(document, names)
    if document.problems:
        raise StudyFileError(document.problems)
    return space


def check_space(document: Document, path: Path, study: Study, names: KnownNames) -> Space:
    """Read the space at a path of a document; what is wrong is noted there.

    Returns:
        The space of the parameters that are right.
    """
    entries = _Entries(document, own_keys=study.trainable is not None)
    found = entries.read(path, ())
    fixed = plain_values(study)
    parsed = dict(_domains(document, found, fixed, names))
    parameters = [Parameter(e.key, parsed[e.key], e.when) for e in found if e.key in parsed]
    places = {entry.key: entry.path for entry in found}
    conditions = {condition.key: None for entry in found for condition in entry.when}
    used = {key: fixed[key] for key in conditions if key in fixed and key not in places}
    check_conditions(document, found, parsed, study, names)
    check_sampler(document, parameters, places, study)
    if study.trainable is None:
        check_values(document, parameters, places, study, names)
        check_related(document, parameters, places, study, names)
    return Space(tuple(in_order(document, parameters, places)), used)


def parameter_paths(written: Mapping[str, Any], path: Path) -> dict[str, Path]:
    """Where each parameter of a space stands, by its key; blocks are opened.

    Args:
        written: the space; path: of it in its document.
    """
    found: dict[str, Path] = {}
    for name, entry in written.items():
        inner = entry.get("parameters") if isinstance(entry, dict) else None
        if isinstance(inner, dict):
            found |= parameter_paths(inner, (*path, name, "parameters"))
        else:
            found[name] = (*path, name)
    return found


@dataclass(frozen=True)
class Entry:
    """A parameter as it is written: its key, where, and its own and its blocks' conditions."""

    key: str
    path: Path
    when: tuple[Condition, ...]
    when_paths: tuple[Path, ...]


class _Entries:
    """Collects the parameters of a space, blocks opened."""

    def __init__(self, document: Document, *, own_keys: bool) -> None:
        self._document = document
        self._own_keys = own_keys
        self._seen: dict[str, Path] = {}

    def read(
        self, path: Path, when: tuple[Condition, ...], when_paths: tuple[Path, ...] = ()
    ) -> list[Entry]:
        found: list[Entry] = []
        for name, value in self._document.get(path).items():
            at = (*path, name)
            own: tuple[Condition, ...] = ()
            if isinstance(value, dict) and "when" in value:
                own = parse_when(self._document, (*at, "when"), name)
            conditions = (*when, *own)
            paths = (*when_paths, *((*at, "when", condition.key) for condition in own))
            if isinstance(value, dict) and "parameters" in value:
                if self._is_block(value, name, at):
                    found += self.read((*at, "parameters"), conditions, paths)
            elif self._is_parameter(name, at):
                found.append(Entry(name, at, conditions, paths))
        return found

    def _is_block(self, value: dict[str, Any], name: str, at: Path) -> bool:
        for option in value:
            if option not in ("when", "parameters"):
                rule = f"unknown option of a block, got {show(option)}. "
                fix = did_you_mean(option, ("when", "parameters"))
                self._document.refuse((*at, option), rule + fix, name=name, key=True)
        if "when" not in value:
            rule = "a block needs a condition, got none. Add when: {KEY: VALUE}."
            self._document.refuse(at, rule, name=name, key=True)
        inner = value["parameters"]
        if not isinstance(inner, dict) or not inner:
            rule = f"parameters must be a mapping of keys to domains, got {show(inner)}."
            fix = "Write KEY: {float: [LOW, HIGH]}."
            self._document.refuse((*at, "parameters"), f"{rule} {fix}", name=name)
            return False
        return True

    def _is_parameter(self, key: str, at: Path) -> bool:
        document = self._document
        if not (is_own_key(key) if self._own_keys else is_searchable(key)):
            value = document.get(at)
            if isinstance(value, dict) and "when" in value and not value.keys() & DOMAINS.keys():
                rule = f"needs a domain or, as a block, parameters, got {', '.join(value)}."
                fix = "Add parameters: {KEY: DOMAIN}."
                document.refuse(at, f"{rule} {fix}", name=key, key=True)
            else:
                rule = _not_own(key) if self._own_keys else _not_searchable(key)
                document.refuse(at, rule, name=key, key=True)
            return False
        if key in self._seen:
            first = document.place(self._seen[key], key=True)
            rule = f"searched twice, got it here and on line {first.line}. Keep one."
            document.refuse(at, rule, name=key, key=True)
            return False
        self._seen[key] = at
        return True


def _not_own(key: str) -> str:
    if len(key) > LONGEST_OWN_KEY:
        rule = f"must have at most {LONGEST_OWN_KEY} characters, got {len(key)}"
        return f"{rule}. Shorten it."
    return "must be words with dots between them, got another name. Write it as net.width."


def _not_searchable(key: str) -> str:
    first, _, _ = key.partition(".")
    allowed = ", ".join(SEARCHABLE)
    inside = [name for name in searchable() if name.startswith(f"{key}.")]
    if inside:
        return f"a section cannot be searched, got {key}. Search one of {', '.join(inside)}."
    if key not in all_keys():
        fix = did_you_mean(key, searchable())
        fix = fix if fix.startswith("Did you mean") else f"Search a key of {allowed}."
        return f"unknown key. {fix}"
    if first in ("dataset", "objectives", "robustness"):
        rule = "cannot be searched, as trials would be compared by different measures"
        return f"{rule}, got {key}. Make one study for each value."
    rule = "cannot be searched, as it is not part of a trial"
    return f"{rule}, got {key}. Search a key of {allowed}."


def _domains(
    document: Document, found: list[Entry], fixed: Mapping[str, Any], names: KnownNames
) -> Iterator[tuple[str, Domain]]:
    subsets: dict[str, tuple[str, ...]] = {}
    # Subsets first: a simplex may name one that is written below it.
    for entry in sorted(found, key=lambda entry: not _is_subset(document.get(entry.path))):
        data = document.get(entry.path)
        word = _word(document, entry, data)
        if word is None:
            continue
        spec = Spec(entry.key, entry.path, data, document, fixed, subsets, names)
        domain = DOMAINS[word].parse(spec)
        if isinstance(domain, SubsetDomain):
            subsets[entry.key] = domain.names
        if domain is not None:
            yield entry.key, domain


def _is_subset(data: Any) -> bool:
    return isinstance(data, dict) and SubsetDomain.word in data


def _word(document: Document, entry: Entry, data: Any) -> str | None:
    """The word of the domain: the one key of the mapping that is one."""
    if not isinstance(data, dict):
        rule = f"must be a domain, got {show(data)}. Write {{float: [LOW, HIGH]}} or the like."
        document.refuse(entry.path, rule, name=entry.key)
        return None
    words = [word for word in data if word in DOMAINS]
    if len(words) == 1:
        return str(words[0])
    if words:
        rule = f"needs one domain, got {' and '.join(words)}. Keep one."
        document.refuse((*entry.path, words[1]), rule, name=entry.key, key=True)
        return None
    others = [word for word in data if word not in ("log", "step", "when")]
    if others:
        rule = f"unknown domain, got {show(others[0])}. {did_you_mean(others[0], tuple(DOMAINS))}"
        document.refuse((*entry.path, others[0]), rule, name=entry.key, key=True)
    else:
        rule = f"needs a domain, got {show(data)}. Add one of {', '.join(DOMAINS)}."
        document.refuse(entry.path, rule, name=entry.key)
    return None


# -- The order in which parameters are drawn: as written, but what one reads before it -----


def in_order(
    document: Document, parameters: Sequence[Parameter], places: Mapping[str, Path]
) -> list[Parameter]:
    """The parameters in order; a circle is noted as a problem, and who is in it left out."""
    waiting = {parameter.key: parameter for parameter in parameters}
    ordered: list[Parameter] = []
    while waiting:
        ready = next((p for p in waiting.values() if not _reads(p, waiting)), None)
        if ready is None:
            break
        ordered.append(waiting.pop(ready.key))
    if waiting:
        circle = _circle(waiting)
        rule = f"conditions must not go in a circle, got {' -> '.join([*circle, circle[0]])}."
        key = circle[0]
        document.refuse(places[key], f"{rule} Remove one of them.", name=key, key=True)
    return ordered


def _reads(parameter: Parameter, waiting: Mapping[str, Parameter]) -> list[str]:
    return [key for key in parameter.requires if key in waiting]


def _circle(waiting: Mapping[str, Parameter]) -> list[str]:
    """Keys of which each reads the next and the last the first; the first as written first."""
    path = [next(iter(waiting))]
    while True:
        following = _reads(waiting[path[-1]], waiting)[0]
        if following in path:
            circle = path[path.index(following) :]
            first = min(circle, key=list(waiting).index)
            at = circle.index(first)
            return circle[at:] + circle[:at]
        path.append(following)


# -- Whether a space fits the study: values that its keys allow, conditions that can hold --


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
    """Note domains with values that their key refuses."""
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
    try:
        study.with_values({key: value})
    except ValidationError as error:
        path = tuple(key.split("."))
        data = study.model_dump(mode="json")
        node = value_at(data, ".".join(path[:-1])) if path[:-1] else data
        node[path[-1]] = value
        for finding in findings(error, data):
            yield finding.path[len(path) :], finding.rule
    else:
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
        fix = f"Take a value that {condition.key} can have."
    return f"when can never hold, got {condition}. {fix}"


def _unknown_operand(condition: Condition, study: Study, names: KnownNames) -> str | None:
    """Why a fixed key of the study could never have what a condition asks of it."""
    operand, key = condition.operand, condition.key
    if condition.operator == "contains":
        rules = name_rules(key, operand, names)
    else:
        wanted = operand if condition.operator == "in" else [operand]
        rules = (rule for value in wanted for rule in value_rules(study, key, value, names))
    first = next(rules, None)
    return None if first is None else f"when on {key}: {first[1]}"


MOST_GP_VALUES = 1_000_000
"""Of a stepped parameter: the sampler `gp` makes a list of all of them for each draw."""


def check_sampler(
    document: Document, parameters: Sequence[Parameter], places: Mapping[str, Path], study: Study
) -> None:
    """Note ranges that the study's sampler cannot draw from."""
    for parameter in parameters if study.search.sampler == "gp" else ():
        domain = parameter.domain
        if isinstance(domain, FloatDomain | IntDomain) and domain.step is not None:
            values = int((domain.high - domain.low) / domain.step) + 1
            if values > MOST_GP_VALUES:
                rule = f"sampler gp takes at most {MOST_GP_VALUES:,} values, got {values:,}"
                fix = "Raise step, search a float without one, or take another sampler."
                document.refuse(places[parameter.key], f"{rule}. {fix}", name=parameter.key)


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
            rule = f"must follow {items_key}, which is searched too, got {show(mappings[0])}"
            fix = f"Write {{simplex: {items_key}}}"
            fix += "." if isinstance(items, SubsetDomain) else f" and make {items_key} a subset."
            document.refuse(at, f"{rule}. {fix}", name=key)
        elif items is None and isinstance(fixed[items_key], list):
            for name in dict.fromkeys(name for mapping in mappings for name in mapping):
                # One that does not exist at all is said already.
                exists = any(name in names.get(kind, (name,)) for kind in BY_NAME[key])
                if name not in fixed[items_key] and exists:
                    rule = f"must be one of {items_key} {show(fixed[items_key])}, got {show(name)}"
                    fix = did_you_mean(name, fixed[items_key])
                    document.refuse(at, f"{rule}. {fix}", name=key)


def _related(domains: Mapping[str, Domain], fixed: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Keys that hold ratios, and the key whose items they are ratios of."""
    by_type = "augment.types" in domains or fixed["augment.types"] is not None
    yield "augment.mix", "augment.types" if by_type else "augment.families"
    yield "loss.fma.layer_weights", "loss.fma.layers"
