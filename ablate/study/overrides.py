"""`--set KEY=VALUE`: values of the command line in place of those of a study file."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from ablate.errors import did_you_mean
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
        if key.startswith("space.") and sign:
            include_space()
        place = Place(f"`overrides={key}`" if sign else "`overrides`")
        path = _path_of(key, document) if sign else None
        rule = None
        if not sign:
            # Text that is not a key is not repeated, because it may contain a password.
            is_key = re.fullmatch(r"[\w.]+", key) is not None
            got, name = (repr(override), key) if is_key else ("text without =", "KEY")
            rule = f"must be key=value, got {got}. Write `overrides={name}=VALUE`."
        elif path is None:
            rule = f"unknown key. {did_you_mean(key, all_keys())}"
        else:
            rule = _below_a_value(path, document)
        if rule is not None or path is None:
            document.problems.append(place.problem(str(rule)))
            continue
        value = parse_yaml(text, place.file)
        document.problems += [place.problem(problem.message) for problem in value.problems]
        if value.problems and value.data is None:
            continue
        for end in range(1, len(path)):
            if document.get(path[:end]) is None:
                document.put(path[:end], {}, place)
        is_parameter = key.startswith("space.")  # which a message names without `space.`
        document.put(path, value.data, place._replace(names_key=not is_parameter))
        document.refused |= {path + at for at in value.refused}


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


def _below_a_value(path: Path, document: Document) -> str | None:
    """Why a key cannot be set, because a value stands above it; as `rule, got X. Fix.`"""
    for end in range(1, len(path)):
        value, name = document.get(path[:end], {}), dotted(path[:end])
        if isinstance(value, dict | None):
            continue
        document.refused.add(path[:end])
        if isinstance(value, list) and name in leaves():
            fix = f"Write `overrides={name}=[...]` with all items."
            return f"{name} is a list, got one key of it. {fix}"
        fix = f"Write `overrides={name}={{...}}` with all keys."
        return f"{name} is {show(value)}, got one key of it. {fix}"
    return None
