"""The dotted keys of a study: what exists, and what a space may search."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any, get_args

from pydantic import BaseModel

from ablate.errors import ParameterError, did_you_mean
from ablate.study.settings import Study

SEARCHABLE = ("model", "baseline", "finetune", "loss", "augment")
"""Sections that a space may search whole."""

SEARCHABLE_KEYS = ("dataset.train_fraction",)
"""Keys outside them that change a trial and not what it is compared by."""

BY_NAME = {
    "augment.mix": ("augment.families", "augment.types"),
    "augment.strengths": ("augment.types",),
    "loss.fma.layer_weights": ("loss.fma.layers",),
}
"""Mappings by name, and the keys whose names they take."""

OPEN = ("augment.strengths",)
"""Mappings by name whose entries are keys of their own, as `augment.strengths.gaussian_blur`."""

NAMED = ("ablation.reference", "ablation.components", "ablation.factors", "ablation.arms")
"""Mappings whose keys are names or dotted keys, as `ablation.reference.loss.fma.weight`."""


LONGEST_OWN_KEY = 200
"""Characters of a key of a trainable: a database keeps 512 of it with an item, `key[item]`."""


@cache
def all_keys() -> tuple[str, ...]:
    """Every key, sections and what stands in a list too, as `loss`, `loss.fma.weight`."""
    return tuple(key for key, _ in _walk(Study, ""))


@cache
def leaves() -> tuple[str, ...]:
    """Keys that hold a value, as `loss.fma.weight` and `objectives`."""
    return tuple(key for key, is_leaf in _walk(Study, "") if is_leaf)


@cache
def searchable() -> tuple[str, ...]:
    """Keys that a space may search: those that change a trial and not what it is compared by."""
    return tuple(
        key for key in leaves() if key.partition(".")[0] in SEARCHABLE or key in SEARCHABLE_KEYS
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
    """The one key that a person means (`meant_keys`): how every command finds it.

    Args:
        where, what: for the message: who asks, and what the key must be one of.

    Raises:
        ParameterError: if there is none, or several end so.
    """
    meant = meant_keys(name, keys)
    if len(meant) > 1:
        raise ParameterError(
            f"{where}: must be one parameter, got {name}, which is the end of {', '.join(meant)}. "
            "Write more of it."
        )
    if not meant:
        raise ParameterError(
            f"{where}: must be {what}, got {name or 'nothing'}. {did_you_mean(name, keys)}"
        )
    return meant[0]


def plain_values(study: Study) -> dict[str, Any]:
    """A study's values by dotted key, as plain data, for a space to refer to.

    What stands in a list is not a key here; a trainable has none beside what it searches.
    """
    if study.trainable is not None:
        return {}
    data = study.model_dump(mode="json")
    keys = (key for key in leaves() if not key.startswith(("objectives.", "space", "ablation")))
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
