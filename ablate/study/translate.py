"""Pydantic's errors in the words of a study file: `rule, got X. Fix.`"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from ablate.errors import also_called, did_you_mean
from ablate.study.document import Finding, Path, dotted, has, show
from ablate.study.keys import all_keys, leaves

_LIST = ("must be a list", "Write it in brackets, such as [a, b].")
_MAPPING = ("must be a mapping", "Write keys below it, or {key: value}.")
_TYPES = {
    "int_type": ("must be a whole number", "Write a whole number, such as 4."),
    "float_type": ("must be a number", "Write a number, such as 0.5."),
    "string_type": ("must be text", "Put it in quotes."),
    "bool_type": ("must be true or false", "Write true or false."),
    "tuple_type": _LIST,
    "list_type": _LIST,
    "dict_type": _MAPPING,
    "model_type": _MAPPING,
}
_RULES = {
    **_TYPES,
    "greater_than": ("must be above {gt}", "Raise it."),
    "greater_than_equal": ("must be at least {ge}", "Raise it."),
    "less_than": ("must be below {lt}", "Lower it."),
    "less_than_equal": ("must be at most {le}", "Lower it."),
    "too_short": ("must have at least 1 item", "Add one."),
    "string_too_long": ("must have at most {max_length} characters", "Shorten it."),
    "finite_number": ("must be finite", "Write a number, such as 0.5."),
    "string_pattern_mismatch": (
        "must be the name of a folder, without / \\ # or a leading dot or dash",
        "Write letters, digits, - and _.",
    ),
}


def findings(error: ValidationError, data: Any) -> list[Finding]:
    """Translate what pydantic found in `data`, the plain data that it was given."""
    single: list[Finding] = []
    unions: dict[Path, list[tuple[Path, ErrorDetails]]] = {}
    for item in error.errors(include_url=False):
        path, union = _locate(item["loc"], data, is_missing=item["type"] == "missing")
        if item["type"] == "too_short" and len(item["input"]) >= item["ctx"]["min_length"]:
            continue  # its items were refused and are reported
        if union is not None:
            unions.setdefault(union, []).append((path, item))
        else:
            single.append(_finding(path, item))
    for path, errors in unions.items():
        single += _union(path, errors)
    return single


def _locate(loc: Iterable[str | int], data: Any, *, is_missing: bool) -> tuple[Path, Path | None]:
    """The path in the data, and the path of the union that contains the error, if any."""
    path, union, node = list[str | int](), None, data
    parts = tuple(loc)
    for i, part in enumerate(parts):
        if has(node, part):
            path.append(part)
            node = node[part]
        elif is_missing and i == len(parts) - 1:
            path.append(part)
        else:
            union = tuple(path)  # pydantic names the branch here
    return tuple(path), union


def _union(path: Path, errors: list[tuple[Path, ErrorDetails]]) -> Iterator[Finding]:
    # If the value has the type of one branch, only the errors of that branch are useful.
    others = (*_TYPES, "literal_error")
    fitting = [(at, item) for at, item in errors if at != path or item["type"] not in others]
    if fitting:
        yield from (_finding(*each) for each in fitting)
        return
    value = errors[0][1]["input"]
    types = (_TYPES[item["type"]][0] for _, item in errors if item["type"] in _TYPES)
    kinds = [rule.removeprefix("must be ") for rule in types]
    choices = [choice for _, item in errors for choice in _choices(item)]
    expected = " or ".join([*dict.fromkeys(kinds), *([", ".join(choices)] if choices else [])])
    is_name = isinstance(value, str) and choices
    fix = did_you_mean(value, choices) if is_name else "Write one of these."
    yield Finding(path, f"must be {expected}, got {show(value)}. {fix}")


def _choices(item: ErrorDetails) -> list[str]:
    expected = str(item.get("ctx", {}).get("expected", ""))
    return re.findall(r"'([^']*)'", expected) or ([expected] if expected else [])


def _finding(path: Path, item: ErrorDetails) -> Finding:
    kind, value, context = item["type"], item["input"], item.get("ctx", {})
    if kind == "extra_forbidden":
        return Finding(path, unknown_key(path))
    if kind == "missing":
        return Finding(path, "is required, got nothing. Add it.")
    if kind == "value_error":
        return Finding(path, item["msg"].removeprefix("Value error, "))
    rule, fix = _RULES.get(kind, (item["msg"].lower(), "Write another value."))
    got = repr(value) if kind == "int_type" and isinstance(value, float) else show(value)
    if path[:1] == ("storage",):  # it may contain a password
        got = "a mapping" if isinstance(value, dict) else "something else"
        got = "a list" if isinstance(value, list) else got
        fix = "Write storage: URL, a password as ${VARIABLE}."
    elif kind == "literal_error":
        choices = _choices(item)
        rule = f"must be {'one of ' if choices[1:] else ''}{', '.join(choices)}"
        fix = did_you_mean(str(value), choices) if choices[1:] else f"Write {choices[0]}."
    elif kind in ("int_type", "float_type") and isinstance(value, str):
        fix = "Write it without quotes." if _is_number(value) else fix
    elif kind in _TYPES and value is None:
        fix = "Write a value after it or remove the key."
    elif kind == "string_type" and isinstance(value, list | dict):
        fix = "Write text."
    if kind in _RULES:
        rule = rule.format(**{name: show(bound) for name, bound in context.items()})
    return Finding(path, f"{rule}, got {got}. {fix}")


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def unknown_key(path: Path) -> str:
    """The rule for a key that is not in the schema, with the nearest key as its fix."""
    key = dotted(path)
    if key in leaves():
        first, *rest = key.split(".")
        return f"keys are nested here, got a dotted one. Write it as {'.'.join(rest)} in {first}."
    parent, _, last = re.sub(r"\[\d+\]", "", key).rpartition(".")
    prefix = f"{parent}." if parent else ""
    beside = [name.removeprefix(prefix) for name in all_keys() if name.startswith(prefix)]
    fix = did_you_mean(last, [name for name in beside if "." not in name])
    if any(isinstance(part, int) for part in path):  # an item has keys of its own
        return f"unknown key. {fix}"
    # The right key in the wrong section; first those below this one.
    elsewhere = [name for name in leaves() if name.endswith(f".{last}")]
    elsewhere.sort(key=lambda name: not (prefix and name.startswith(prefix)))
    elsewhere += also_called(last, leaves())
    if elsewhere and not fix.startswith("Did you mean"):
        fix = f"Did you mean {elsewhere[0]}?"
    return f"unknown key. {fix}"
