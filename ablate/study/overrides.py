"""`--set KEY=VALUE`: values of the command line in place of those of a study file."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from ablate.errors import Problem, did_you_mean
from ablate.errors.masking import keep_secret
from ablate.study.document import Document, Path, Place, dotted, show
from ablate.study.keys import BY_NAME, all_keys, leaves, searched_paths
from ablate.study.yaml_source import parse_yaml

_NAMED = ("ablation.reference", "ablation.components", "ablation.factors", "ablation.arms")
"""Mappings whose keys are names or dotted keys, as `ablation.reference.loss.fma.weight`."""


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
            rule = f"must be key=value, got {got}. Write `overrides={key}=VALUE`."
            document.problems.append(Problem("`overrides`", 0, 0, rule))
            continue
        if key.startswith("space."):
            include_space()
        place = Place(f"`overrides={key}`")
        path = _path_of(key, document)
        if path is None:
            rule = f"unknown key. {did_you_mean(key, all_keys())}"
            document.problems.append(Problem(*place, rule))
            continue
        parts = (path[:end] for end in range(1, len(path)))
        values = (at for at in parts if not isinstance(document.get(at, {}), dict | None))
        if (above := next(values, None)) is not None:
            document.refused.add(above)
            rule = _below_a_value(dotted(above), document.get(above))
            document.problems.append(Problem(*place, rule))
            continue
        value = parse_yaml(text, place.file)
        value.values = dict.fromkeys([(), *value.values], place)
        value.keys = dict.fromkeys(value.keys, place)
        value.problems = [Problem(*place, one.message) for one in value.problems]
        if value.problems and value.data is None:
            document.problems += value.problems
            continue
        for end in range(1, len(path)):
            if document.get(path[:end]) is None:
                document.put(path[:end], Document(place.file, {}), key=place)
        document.put(path, value, key=place)


def _path_of(key: str, document: Document) -> Path | None:
    """Where a key is in the data; None if there is no such key."""
    if key.startswith("space."):
        parameter = key.removeprefix("space.")
        paths = searched_paths(document.get(("space",))).values()
        through = (path for path in paths if parameter in path)  # or a block of that name
        return next((at[: at.index(parameter) + 1] for at in through), ("space", parameter))
    for mapping in _NAMED:
        if key.startswith(f"{mapping}."):
            return (*mapping.split("."), key.removeprefix(f"{mapping}."))
    is_known = key in all_keys() or key.rpartition(".")[0] in BY_NAME
    return tuple(key.split(".")) if is_known else None


def _below_a_value(name: str, value: object) -> str:
    """What is wrong with setting a key below a value, as `rule, got X. Fix.`"""
    if isinstance(value, list) and name in leaves():
        return (
            f"{name} is a list, got one key of it. Write `overrides={name}=[...]` with all items."
        )
    rule = f"{name} is {show(value)}, got one key of it"
    return f"{rule}. Write `overrides={name}={{...}}` with all keys."
