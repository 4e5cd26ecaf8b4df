"""The dotted keys of a study: what exists, what a space may search, what a space as written has."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from types import MappingProxyType
from typing import Any, NamedTuple, get_args

from pydantic import BaseModel

from ablate.errors import ParameterError, did_you_mean
from ablate.study.document import Path
from ablate.study.settings import Study

SEARCHABLE = ("model", "baseline", "finetune", "loss", "augment")
"""Sections whose keys may all be searched."""

SEARCHABLE_KEYS = ("dataset.train_fraction",)
"""Further keys that affect a trial, but not how trials are compared."""

FIXED_KEYS = ("finetune.interpolation", "baseline.expected_accuracy", "baseline.backbone")
"""Keys of those sections that are the same for all trials."""

BY_NAME = {
    "augment.mix": ("augment.families", "augment.types"),
    "augment.strengths": ("augment.types",),
    "loss.fma.layer_weights": ("loss.fma.layers",),
}
"""Mappings by name, and the keys whose names they take."""

OPEN = ("augment.strengths",)
"""Mappings whose entries are separate keys, such as `augment.strengths.gaussian_blur`."""

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
    of_trials = [key for key in leaves() if key.partition(".")[0] in SEARCHABLE]
    return (*SEARCHABLE_KEYS, *(key for key in of_trials if key not in FIXED_KEYS))


def is_searchable(key: str) -> bool:
    """Whether a space may search a key: one of `searchable`, or an entry of an open mapping."""
    return key in searchable() or key.rpartition(".")[0] in OPEN


def is_own_key(key: str) -> bool:
    """Whether a space of a trainable may search a key: dotted, of letters, digits and _."""
    return len(key) <= LONGEST_OWN_KEY and all(part.isidentifier() for part in key.split("."))


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


def meant_keys(name: str, keys: Sequence[str]) -> list[str]:
    """The keys that a person may mean: the one of that name, else all that end so.

    Args:
        name: a dotted key, or its last parts, as tables show it: `st.weight`.
        keys: those that exist.
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
    if len(meant) == 1:
        return meant[0]
    rule = f"must be {what}, got {name or 'nothing'}. {did_you_mean(name, keys)}"
    if meant:
        rule = f"must be one parameter, got {name}, which is short for {', '.join(meant)}"
        rule += ". Write more of the key."
    raise ParameterError(f"{where}: {rule}")


def plain_values(study: Study) -> dict[str, Any]:
    """A study's values by dotted key, as plain data, for references of a space.

    List items are not keys here; a trainable has only its searched keys.
    """
    if study.trainable is not None:
        return {}
    data = study.model_dump(mode="json")
    others = ("objectives.", "constraints.", "space", "ablation")
    return {key: value_at(data, key) for key in leaves() if not key.startswith(others)}


def value_at(data: Mapping[str, Any], key: str) -> Any:
    """The value of a dotted key in a study's plain data."""
    node: Any = data
    for part in key.split("."):
        node = node[part]
    return node


# -- A space as written --------------------------------------------------------------------


class WrittenParameter(NamedTuple):
    """A parameter of a space as written.

    Attributes:
        path: in the space, through its blocks.
        entry: its domain, which may be invalid.
        when: the conditions of its blocks and its own, as written, by path.
    """

    path: Path
    entry: Any
    when: Mapping[Path, Any]

    @property
    def key(self) -> str:
        return str(self.path[-1])


def written_parameters(
    space: Any, path: Path = (), when: Mapping[Path, Any] = MappingProxyType({})
) -> Iterator[WrittenParameter]:
    """The parameters of a space as written, those of a block in its place.

    Args:
        path: of the space; when: conditions of all its parameters.
    """
    if not isinstance(space, Mapping):
        return
    for key, entry in space.items():
        at, own = (*path, key), dict(when)
        if isinstance(entry, Mapping) and "when" in entry:
            own[*at, "when"] = entry["when"]
        if is_block(entry):
            yield from written_parameters(entry["parameters"], (*at, "parameters"), own)
        else:
            yield WrittenParameter(at, entry, own)


def is_block(entry: Any) -> bool:
    """Whether an entry of a space is a block of parameters with one condition."""
    inner = entry.get("parameters") if isinstance(entry, Mapping) else None
    return isinstance(inner, Mapping) and bool(inner)


def written_domains(space: Any) -> dict[str, Mapping[str, Any]]:
    """The domains of a written space by key, without entries that are none."""
    entries = {parameter.key: parameter.entry for parameter in written_parameters(space)}
    return {key: entry for key, entry in entries.items() if isinstance(entry, Mapping)}


def searched(space: Any) -> set[str]:
    """The keys in a space as written, including those in blocks."""
    return {parameter.key for parameter in written_parameters(space)}


def searched_paths(space: Any) -> dict[str, Path]:
    """The same, each with its path in the study."""
    return {parameter.key: parameter.path for parameter in written_parameters(space, ("space",))}


def candidates(space: Any, key: str, fixed: Sequence[str]) -> list[str]:
    """The possible names of a key: of its choice or subset in a space, else its value.

    Args:
        space: as written, inline.
        key: whose values are names, or lists of names.
        fixed: its value in the study.
    """
    domain = written_domains(space).get(key, {})
    written = domain.get("subset", domain.get("choice", list(fixed)))
    names: list[str] = []
    for value in written if isinstance(written, list) else [written]:
        names += [name for name in (value if isinstance(value, list) else [value]) if name]
    return [name for name in names if isinstance(name, str)]
