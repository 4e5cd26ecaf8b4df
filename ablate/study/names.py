"""Names that a study uses and other packages own: models, losses, layers, metrics and so on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from ablate.errors import did_you_mean
from ablate.study.document import Document, Path, show

# By dotted key, the names that exist; a key without any is not checked.
KnownNames = Mapping[str, Sequence[str]]

# The names for a study of this model: its layers are its own.
NamesFor = Callable[[str], KnownNames]

_NOUNS = {"dataset.name": "data set", "model.name": "model", "augment.families": "family"}
# A mapping by name: its keys are names of another key's kind.
_NAMED_BY = {"augment.mix": "augment.families", "loss.fma.layer_weights": "loss.fma.layers"}


def name_rules(key: str, value: Any, names: KnownNames) -> Iterator[tuple[Path, str]]:
    """What is wrong with the names in a value.

    Args:
        key: dotted key of the study.
        value: of that key; a value of another type than the key's is passed over.
        names: the names that exist, by dotted key.

    Yields:
        The path below the value, and `rule, got X. Fix.`
    """
    if key == "loss.terms" and isinstance(value, str):
        yield from (((), rule) for rule in _term_rules(value, names.get(key)))
        return
    known = names.get(_NAMED_BY.get(key, key))
    if not known or (key == "loss.fma.layers" and value == "taps"):
        return
    noun = _NOUNS.get(_NAMED_BY.get(key, key), _last(_NAMED_BY.get(key, key)).removesuffix("s"))
    for path, name in _named(value):
        if name not in known:
            yield path, f"unknown {noun}, got {show(name)}. {did_you_mean(name, known)}"


def check_names(document: Document, names: KnownNames, refused: set[Path]) -> set[Path]:
    """Note every name in a study's data that does not exist.

    Args:
        refused: paths that the schema refused, which are passed over.

    Returns:
        The paths of the unknown names.
    """
    unknown: set[Path] = set()
    for key in dict.fromkeys([*names, *_NAMED_BY, "loss.terms"]):
        path = tuple(key.split("."))
        if key == "objectives.metric":
            objectives = document.get(("objectives",))
            count = len(objectives) if isinstance(objectives, list) else 0
            paths: list[Path] = [("objectives", i, "metric") for i in range(count)]
        else:
            paths = [path]
        for at in paths:
            for below, rule in name_rules(key, document.get(at), names):
                where = at + below
                if not any(where[: len(path)] == path for path in refused):
                    document.refuse(where, rule)
                    unknown.add(where)
    return unknown


def _term_rules(terms: str, known: Sequence[str] | None) -> Iterator[str]:
    parts = terms.split("+")
    if "" in parts:
        yield f"empty term, got {show(terms)}. Join terms with one +, as clean+fma."
    for term in dict.fromkeys(part for part in parts if part):
        if known is not None and term not in known:
            yield f"unknown term, got {show(term)}. {did_you_mean(term, known)}"
        elif parts.count(term) > 1:
            yield f"term given twice, got {show(terms)}. Name {term} once."


def _named(value: Any) -> Iterator[tuple[Path, str]]:
    if isinstance(value, str):
        yield (), value
    elif isinstance(value, list | tuple):
        yield from (((i,), item) for i, item in enumerate(value) if isinstance(item, str))
    elif isinstance(value, dict):
        yield from (((name,), name) for name in value)


def _last(key: str) -> str:
    return key.rpartition(".")[2]
