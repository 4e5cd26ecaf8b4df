"""The dotted keys of a study: what exists, what a space may search, and `--set key=value`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple, get_args

from pydantic import BaseModel

from ablate.errors import ParameterError, Problem, did_you_mean
from ablate.errors.masking import keep_secret
from ablate.study.document import Document, Path, Place, show
from ablate.study.settings import Study
from ablate.study.yaml_source import parse_yaml

SEARCHABLE = ("model", "baseline", "finetune", "loss", "augment")
"""Sections whose keys may all be searched."""

SEARCHABLE_KEYS = ("dataset.train_fraction",)
"""Further keys that affect a trial, but not how trials are compared."""

FIXED_KEYS = ("finetune.interpolation", "baseline.expected_accuracy")
"""Keys of those sections that are the same for all trials, whose curves are compared."""

BY_NAME = {
    "augment.mix": ("augment.families", "augment.types"),
    "augment.strengths": ("augment.types",),
    "loss.fma.layer_weights": ("loss.fma.layers",),
}
"""Mappings by name, and the keys whose names they take."""

OPEN = ("augment.strengths",)
"""Mappings whose entries are separate keys, such as `augment.strengths.gaussian_blur`."""

NAMED = ("ablation.reference", "ablation.components", "ablation.factors", "ablation.arms")
"""Mappings whose keys are names or dotted keys, as `ablation.reference.loss.fma.weight`."""


LONGEST_OWN_KEY = 200
"""Characters of a key of a trainable: a database keeps 512 of it with an item, `key[item]`."""


@cache
def all_keys() -> tuple[str, ...]:
    """All keys, including sections and keys of list items, such as `loss`, `loss.fma.weight`."""
    return tuple(key for key, _ in _walk(Study, ""))


@cache
def leaves() -> tuple[str, ...]:
    """Keys with a value, such as `loss.fma.weight` and `objectives`."""
    return tuple(key for key, is_leaf in _walk(Study, "") if is_leaf)


@cache
def searchable() -> tuple[str, ...]:
    """Keys that may be searched: those that affect a trial, but not how trials are compared."""
    return tuple(
        key
        for key in leaves()
        if (key.partition(".")[0] in SEARCHABLE and key not in FIXED_KEYS) or key in SEARCHABLE_KEYS
    )


def is_searchable(key: str) -> bool:
    """Whether a space may search a key: one of `searchable`, or an entry of an open mapping."""
    return key in searchable() or key.rpartition(".")[0] in OPEN


def is_own_key(key: str) -> bool:
    """Whether a space of a trainable may search a key: dotted, of letters, digits and _."""
    return len(key) <= LONGEST_OWN_KEY and all(part.isidentifier() for part in key.split("."))


def meant_keys(name: str, keys: Sequence[str]) -> list[str]:
    """The keys that a person may mean: the one of that name, else all that end so.

    Args:
        name: a dotted key, or its last parts, as tables show it: `st.weight`.
        keys: there are.
    """
    if name in keys:
        return [name]
    return [key for key in keys if name and key.endswith(f".{name}")]


def find_key(name: str, keys: Sequence[str], *, where: str, what: str) -> str:
    """Find the key that a user means (`meant_keys`); used by all commands.

    Args:
        where, what: for the message: the option, and what the key must be.

    Raises:
        ParameterError: if there is none, or several match.
    """
    meant = meant_keys(name, keys)
    if len(meant) > 1:
        raise ParameterError(
            f"{where}: must be one parameter, got {name}, which is short for {', '.join(meant)}. "
            "Write more of the key."
        )
    if not meant:
        raise ParameterError(
            f"{where}: must be {what}, got {name or 'nothing'}. {did_you_mean(name, keys)}"
        )
    return meant[0]


def plain_values(study: Study) -> dict[str, Any]:
    """A study's values by dotted key, as plain data, for references of a space.

    List items are not keys here; a trainable has only its searched keys.
    """
    if study.trainable is not None:
        return {}
    data = study.model_dump(mode="json")
    others = ("objectives.", "constraints.", "space", "ablation")
    keys = (key for key in leaves() if not key.startswith(others))
    return {key: value_at(data, key) for key in keys}


def value_at(data: Mapping[str, Any], key: str) -> Any:
    """The value of a dotted key in a study's plain data."""
    node: Any = data
    for part in key.split("."):
        node = node[part]
    return node


def _walk(model: type[BaseModel], prefix: str) -> Iterator[tuple[str, bool]]:
    for name, field in model.model_fields.items():
        section = _model(field.annotation)
        yield prefix + name, section is None
        inner = section or next(filter(None, map(_model, get_args(field.annotation))), None)
        if inner is not None:
            for key, is_leaf in _walk(inner, f"{prefix}{name}."):
                yield key, is_leaf and section is not None


def _model(kind: Any) -> type[BaseModel] | None:
    return kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None


def apply_overrides(
    document: Document, overrides: Sequence[str], include_space: Callable[[], None]
) -> None:
    """Apply values of the command line to a study's data; later ones override earlier ones.

    Args:
        document: of the study; its data is a mapping.
        overrides: `key=value` each; the value is YAML, `space.KEY` names a parameter of the space.
        include_space: inserts the space's file; called before one of its keys is set.
    """
    for override in overrides:
        key, sign, text = override.partition("=")
        key = key.strip()
        keep_secret(override)
        keep_secret(key)  # a URL with a = in its password, without the key
        if not sign:
            # Text that is not a key is not repeated, because it may contain a password.
            is_key = re.fullmatch(r"[\w.]+", key) is not None
            got, key = (repr(override), key) if is_key else ("text without =", "KEY")
            rule = f"must be key=value, got {got}. Write --set {key}=VALUE."
            document.problems.append(Problem("--set", 0, 0, rule))
            continue
        named = next((above for above in NAMED if key.startswith(f"{above}.")), None)
        value = parse_yaml(text, f"--set {key}")
        place = Place(f"--set {key}")
        value.values = dict.fromkeys([(), *value.values], place)
        value.keys = dict.fromkeys(value.keys, place)
        value.problems = [Problem(place.file, 0, 0, p.message) for p in value.problems]
        if key.startswith("space."):
            include_space()
            parameter = key.removeprefix("space.")
            found = written_parameters(document.get(("space",)), ("space",))
            paths = (one.path for one in found if parameter in one.path)  # or a block of that name
            path = next((at[: at.index(parameter) + 1] for at in paths), ("space", parameter))
        elif named is not None:
            path = (*named.split("."), key.removeprefix(f"{named}."))
        elif key in all_keys() or key.rpartition(".")[0] in BY_NAME:
            path = tuple(key.split("."))
        else:
            rule = f"unknown key. {did_you_mean(key, all_keys())}"
            document.problems.append(Problem(place.file, 0, 0, rule))
            continue
        above = _value_above(document, path)
        if above is not None:
            document.problems.append(Problem(place.file, 0, 0, _below_a_value(document, above)))
            document.refused.append(above)
            continue
        for end in range(1, len(path)):
            if document.get(path[:end]) is None:
                document.replace(path[:end], Document(place.file, {}), key=place)
        if value.problems and value.data is None:
            document.problems += value.problems
            continue
        document.replace(path, value, key=place)


def _value_above(document: Document, path: Path) -> Path | None:
    """The first part of a path that is written, and is no mapping; None if there is none."""
    parts = (path[:end] for end in range(1, len(path)))
    values = (part for part in parts if not isinstance(document.get(part, {}), dict | None))
    return next(values, None)


def _below_a_value(document: Document, above: Path) -> str:
    """What is wrong with setting a key below a value, as `rule, got X. Fix.`"""
    name, value = ".".join(map(str, above)), document.get(above)
    if isinstance(value, list) and name in leaves():
        return f"{name} is a list, got one key of it. Write --set {name}=[...] with all items."
    rule = f"{name} is {show(value)}, got one key of it"
    return f"{rule}. Write --set {name}={{...}} with all keys."


class WrittenParameter(NamedTuple):
    """A parameter of a space as written.

    Attributes:
        path: in the space, through its blocks; entry: its domain, which may be invalid.
        when: the conditions of its blocks and its own.
    """

    path: Path
    key: str
    entry: Any
    when: tuple[Any, ...]


def written_parameters(
    space: Any, path: Path = (), when: tuple[Any, ...] = ()
) -> Iterator[WrittenParameter]:
    """The parameters of a space as written, those of a block in its place.

    Args:
        path: of the space; when: conditions of all its parameters.
    """
    for key, entry in space.items() if isinstance(space, Mapping) else ():
        is_mapping = isinstance(entry, Mapping)
        inner = entry.get("parameters") if is_mapping else None
        own = (*when, entry["when"]) if is_mapping and "when" in entry else when
        if isinstance(inner, Mapping):
            yield from written_parameters(inner, (*path, key, "parameters"), own)
        else:
            yield WrittenParameter((*path, key), str(key), entry, own)


def written_domains(space: Any) -> dict[str, Mapping[str, Any]]:
    """The domains of a written space by key, without entries that are none."""
    found = written_parameters(space)
    return {one.key: one.entry for one in found if isinstance(one.entry, Mapping)}
