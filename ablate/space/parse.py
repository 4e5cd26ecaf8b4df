"""Reads a written space into a Space, and collects all problems."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ablate.errors import ParameterError, StudyFileError, did_you_mean
from ablate.space.choices import SubsetDomain
from ablate.space.condition import Condition, parse_when
from ablate.space.domain import Domain
from ablate.space.fit import check_conditions, check_related, check_values
from ablate.space.space import DOMAINS, Parameter, Space
from ablate.space.spec import Spec
from ablate.study.document import Document, Path, dotted, show
from ablate.study.keys import (
    FIXED_KEYS,
    LONGEST_OWN_KEY,
    OPEN,
    SEARCHABLE,
    all_keys,
    is_own_key,
    is_searchable,
    plain_values,
    searchable,
    written_parameters,
)
from ablate.study.names import KnownNames, refuse_failures
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
    document = Document("space", study.space)
    space = check_space(document, (), study, names)
    refuse_failures(document, names)
    if document.problems:
        raise StudyFileError(document.problems)
    return space


def check_space(document: Document, path: Path, study: Study, names: KnownNames) -> Space:
    """Read the space at a path of a document; problems are added to the document.

    Returns:
        The space of the valid parameters.
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
    if study.trainable is None:
        check_values(document, parameters, places, study, names)
        check_related(document, parameters, places, study, names)
    return Space(tuple(in_order(document, parameters, places)), used)


def parameter_paths(written: Mapping[str, Any], path: Path) -> dict[str, Path]:
    """Paths of the parameters of a space by key, including those in blocks.

    Args:
        written: the space; path: of it in its document.
    """
    return {one.key: one.path for one in written_parameters(written, path)}


@dataclass(frozen=True)
class Entry:
    """A parameter as written: its key, position, and the conditions of itself and its blocks."""

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
            there = f"on line {first.line}" if first.line else f"at {dotted(self._seen[key])}"
            rule = f"searched twice, got it here and {there}. Keep one."
            document.refuse(at, rule, name=key, key=True)
            return False
        self._seen[key] = at
        return True


def _not_own(key: str) -> str:
    if len(key) > LONGEST_OWN_KEY:
        rule = f"must have at most {LONGEST_OWN_KEY} characters, got {len(key)}"
        return f"{rule}. Shorten it."
    return "must be words joined by dots, such as net.width, got another name. Rename it."


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
    if first in ("dataset", "objectives", "robustness") or key in FIXED_KEYS:
        rule = "cannot be searched, because trials would be compared by different measures"
        return f"{rule}, got {key}. Create one study for each value."
    rule = "cannot be searched, because it is not part of a trial"
    return f"{rule}, got {key}. Search a key of {allowed}."


def _domains(
    document: Document, found: list[Entry], fixed: Mapping[str, Any], names: KnownNames
) -> Iterator[tuple[str, Domain]]:
    subsets: dict[str, tuple[str, ...]] = {}
    # Subsets first, because a simplex may refer to a later one.
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
    """The type of the domain: the key of the mapping that names one."""
    if not isinstance(data, dict):
        rule = f"must be a domain, got {show(data)}. Write for example {{float: [LOW, HIGH]}}."
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
        rule = f"conditions must not form a cycle, got {' -> '.join([*circle, circle[0]])}."
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


# -- The grammar of a space as JSON Schema, for editors ------------------------------------


_PAIR = {"type": "array", "minItems": 2, "maxItems": 2}
_NAMES = {"type": "array", "items": {"type": "string"}, "uniqueItems": True}


def space_definitions(descriptions: Mapping[str, str]) -> dict[str, Any]:
    """Definitions for a schema's `$defs`.

    Args:
        descriptions: of the study's keys, by dotted key.

    Returns:
        `Space` of a robustness finetuning, `OwnSpace` of a trainable, and what they refer to.
    """
    real, whole = {"type": "number"}, {"type": "integer"}
    domains = {
        "Float": _domain(
            "float",
            _PAIR | {"items": real, "description": "[low, high], both included."},
            log={"type": "boolean", "description": "Uniform in the logarithm; low above 0."},
            step=real | {"exclusiveMinimum": 0, "description": "Only low + k * step."},
        ),
        "Int": _domain(
            "int",
            _PAIR | {"items": whole, "description": "[low, high], both included."},
            log={"type": "boolean", "description": "Uniform in the logarithm; low above 0."},
            step=whole | {"minimum": 1, "description": "Only low + k * step."},
        ),
        "Choice": _domain(
            "choice",
            {
                "type": "array",
                "minItems": 1,
                "uniqueItems": True,
                "description": "One of these values.",
            },
        ),
        "Subset": _domain(
            "subset",
            {
                "description": "At least one of these; `taps`: of the model's taps.",
                "anyOf": [_NAMES | {"minItems": 1}, {"const": "taps"}],
            },
        ),
        "Simplex": _domain(
            "simplex",
            {
                "description": "Ratios of these that sum to 1; or the key of a subset in the space "
                "or of a list in the study, for ratios of its items.",
                "anyOf": [_NAMES | {"minItems": 2}, {"type": "string"}],
            },
        ),
    }
    return {
        **domains,
        "Domain": {"anyOf": [{"$ref": f"#/$defs/{name}"} for name in domains]},
        "When": {
            "type": "object",
            "minProperties": 1,
            "description": "Searched only if all of these hold.",
            "additionalProperties": {"$ref": "#/$defs/Condition"},
        },
        "Condition": {
            "description": "A value, `in` a list of values, or what the value `contains`.",
            "anyOf": [
                {"type": ["string", "number", "boolean", "null", "array"]},
                _object({"in": {"type": "array", "minItems": 1}}, "in"),
                _object({"contains": {"type": ["string", "number"]}}, "contains"),
            ],
        },
        "Block": _object(
            {"when": {"$ref": "#/$defs/When"}, "parameters": {"$ref": "#/$defs/Space"}},
            "when",
            "parameters",
        )
        | {"description": "Several parameters with one condition."},
        "Space": {
            "type": "object",
            "description": "The searched parameters: a domain by dotted key, or blocks of them.",
            "properties": {
                key: {"$ref": "#/$defs/Domain", "description": descriptions.get(key, "")}
                for key in searchable()
            },
            "patternProperties": {
                rf"^{re.escape(key)}\.": {"$ref": "#/$defs/Domain"} for key in OPEN
            },
            "additionalProperties": {"$ref": "#/$defs/Block"},
        },
        "OwnSpace": {
            "type": "object",
            "description": "The searched parameters of a trainable: domains by names that you "
            "choose.",
            "additionalProperties": {
                "anyOf": [
                    {"$ref": "#/$defs/Domain"},
                    {"type": "object", "required": ["when", "parameters"]},
                ]
            },
        },
    }


def _domain(word: str, values: dict[str, Any], **options: Any) -> dict[str, Any]:
    return _object({word: values, **options, "when": {"$ref": "#/$defs/When"}}, word)


def _object(properties: dict[str, Any], *required: str) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(required),
        "additionalProperties": False,
    }
