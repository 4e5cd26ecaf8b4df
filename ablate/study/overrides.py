"""`--set key=value`: a key of the study is overridden on the command line."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from ablate.errors import Problem, did_you_mean
from ablate.errors.masking import keep_secret
from ablate.study.document import Document, Path, Place
from ablate.study.keys import BY_NAME, NAMED, all_keys
from ablate.study.yaml_source import parse_yaml


def apply_overrides(
    document: Document, overrides: Sequence[str], include_space: Callable[[], None]
) -> None:
    """Put values from the command line into a study's data; later ones win.

    Args:
        document: of the study; its data is a mapping.
        overrides: `key=value` each; the value is YAML, `space.KEY` names a parameter of the space.
        include_space: puts the space's file inline; called before one of its keys is set.
    """
    for override in overrides:
        key, sign, text = override.partition("=")
        key = key.strip()
        keep_secret(override)
        if not sign:
            # Of what is no key nothing is repeated: a password may stand in it.
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
            path = _find_parameter(document, ("space",), parameter) or ("space", parameter)
        elif named is not None:
            path = (*named.split("."), key.removeprefix(f"{named}."))
        elif key in all_keys() or key.rpartition(".")[0] in BY_NAME:
            path = tuple(key.split("."))
        else:
            rule = f"unknown key. {did_you_mean(key, all_keys())}"
            document.problems.append(Problem(place.file, 0, 0, rule))
            continue
        for end in range(1, len(path)):
            if document.get(path[:end]) is None:
                document.replace(path[:end], Document(place.file, {}), key=place)
        if value.problems and value.data is None:
            document.problems += value.problems
            continue
        parent = document.get(path[:-1])
        if isinstance(parent, list):
            above = ".".join(map(str, path[:-1]))
            rule = f"{above} is a list, got one key of it. Write --set {above}=[...] whole."
            document.problems.append(Problem(place.file, 0, 0, rule))
        elif isinstance(parent, dict):
            document.replace(path, value, key=place)
        # Any other parent is refused by the schema, at its own place.


def _find_parameter(document: Document, block: Path, key: str) -> Path | None:
    """Where a space has a parameter, in its blocks too."""
    entries = document.get(block)
    if not isinstance(entries, dict):
        return None
    if key in entries:
        return (*block, key)
    inner = (_find_parameter(document, (*block, name, "parameters"), key) for name in entries)
    return next(filter(None, inner), None)
