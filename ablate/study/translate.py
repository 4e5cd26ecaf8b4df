"""Pydantic's errors in the words of a study file: `rule, got X. Fix.`"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from ablate.errors import also_called, did_you_mean
from ablate.study.document import Path, dotted, has, show
from ablate.study.keys import all_keys, leaves

_KINDS = {
    "int_type": "a whole number",
    "float_type": "a number",
    "string_type": "text",
    "bool_type": "true or false",
    "tuple_type": "a list",
    "list_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
}
_BOUNDS = {
    "greater_than": ("gt", "above", "Raise it."),
    "greater_than_equal": ("ge", "at least", "Raise it."),
    "less_than": ("lt", "below", "Lower it."),
    "less_than_equal": ("le", "at most", "Lower it."),
}
_FIXES = {
    "int_type": "Write a whole number, such as 4.",
    "float_type": "Write a number, such as 0.5.",
    "string_type": "Put it in quotes.",
    "bool_type": "Write true or false.",
    "tuple_type": "Write it in brackets, such as [a, b].",
    "list_type": "Write it in brackets, such as [a, b].",
    "dict_type": "Write keys below it, or {key: value}.",
    "model_type": "Write keys below it, or {key: value}.",
}

_OTHER = {
    "finite_number": ("must be finite", "Write a number, such as 0.5."),
    "string_pattern_mismatch": (
        "must be the name of a folder, without / \\ # or a leading dot",
        "Write letters, digits, - and _.",
    ),
}


@dataclass(frozen=True)
class Finding:
    """A problem found by the schema: path, `rule, got X. Fix.`, and whether it concerns the key."""

    path: Path
    rule: str
    at_key: bool = False


@dataclass(frozen=True)
class _Error:
    path: Path
    kind: str
    value: Any
    context: Mapping[str, Any]
    message: str


def findings(error: ValidationError, data: Any) -> list[Finding]:
    """Translate what pydantic found in `data`, the plain data that it was given."""
    single: list[Finding] = []
    unions: dict[Path, list[_Error]] = {}
    for item in error.errors(include_url=False):
        path, union = _locate(item["loc"], data, is_missing=item["type"] == "missing")
        found = _Error(path, item["type"], item["input"], item.get("ctx", {}), item["msg"])
        if found.kind == "too_short" and len(found.value) >= found.context["min_length"]:
            continue  # its items were refused and are reported
        if union is not None:
            unions.setdefault(union, []).append(found)
        else:
            single.append(_finding(found))
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


def _union(path: Path, errors: list[_Error]) -> Iterator[Finding]:
    # If the value has the type of one branch, only the errors of that branch are useful.
    fitting = [e for e in errors if e.path != path or e.kind not in (*_KINDS, "literal_error")]
    if fitting:
        yield from (_finding(found) for found in fitting)
        return
    kinds = dict.fromkeys(_expected(found) for found in errors)
    value = errors[0].value
    choices = [choice for found in errors for choice in _choices(found)]
    fix = "Write one of these."
    if isinstance(value, str) and choices:
        fix = did_you_mean(value, choices)
    yield Finding(path, f"must be {' or '.join(kinds)}, got {show(value)}. {fix}")


def _expected(found: _Error) -> str:
    return _KINDS.get(found.kind) or ", ".join(_choices(found))


def _choices(found: _Error) -> list[str]:
    expected = str(found.context.get("expected", ""))
    return re.findall(r"'([^']*)'", expected) or [expected] * bool(expected)


def _finding(found: _Error) -> Finding:
    if found.kind == "extra_forbidden":
        return Finding(found.path, unknown_key(found.path), at_key=True)
    if found.kind == "missing":
        return Finding(found.path, "is required, got nothing. Add it.")
    if found.kind == "value_error":
        return Finding(found.path, found.message.removeprefix("Value error, "))
    if found.path[:1] == ("storage",):  # it may contain a password
        return Finding(
            found.path,
            f"must be text, got {_kind(found.value)}. Write storage: URL, a password as "
            "${VARIABLE}.",
        )
    rule, fix = _rule(found)
    return Finding(found.path, f"{rule}, got {show(found.value)}. {fix}")


def _kind(value: Any) -> str:
    """What a value is, without the value."""
    if isinstance(value, dict):
        return "a mapping"
    return "a list" if isinstance(value, list) else "something else"


def _rule(found: _Error) -> tuple[str, str]:
    """The rule that was broken, and the fix."""
    kind, context = found.kind, found.context
    if kind in _KINDS:
        rule, fix = f"must be {_KINDS[kind]}", _type_fix(found)
    elif kind in _BOUNDS:
        name, words, fix = _BOUNDS[kind]
        rule = f"must be {words} {show(context[name])}"
    elif kind == "literal_error":
        choices = _choices(found)
        words = choices[0] if len(choices) == 1 else f"one of {', '.join(choices)}"
        fix = did_you_mean(str(found.value), choices) if len(choices) > 1 else f"Write {words}."
        rule = f"must be {words}"
    elif kind == "too_short":
        least = context["min_length"]
        rule, fix = f"must have at least {least} item{'s' * (least > 1)}", "Add one."
    elif kind == "string_too_long":
        rule, fix = f"must have at most {context['max_length']} characters", "Shorten it."
    else:
        rule, fix = _OTHER.get(kind, (found.message.lower(), "Write another value."))
    return rule, fix


def _type_fix(found: _Error) -> str:
    if found.kind in ("int_type", "float_type") and isinstance(found.value, str):
        try:
            float(found.value)
        except ValueError:
            return _FIXES[found.kind]
        return "Write it without quotes."
    if found.value is None:
        return "Write a value after it or remove the key."
    if found.kind == "string_type" and isinstance(found.value, list | dict):
        return "Write text."
    return _FIXES[found.kind]


def unknown_key(path: Path) -> str:
    """The rule for a key that is not in the schema, with the nearest key as its fix."""
    key = dotted(path)
    if key in leaves():
        first, *rest = key.split(".")
        return f"keys are nested here, got a dotted one. Write it as {'.'.join(rest)} in {first}."
    parent, _, last = re.sub(r"\[\d+\]", "", key).rpartition(".")
    prefix = f"{parent}." if parent else ""
    beside = [name.removeprefix(prefix) for name in all_keys() if name.startswith(prefix)]
    beside = [name for name in beside if "." not in name]
    fix = did_you_mean(last, beside)
    if any(isinstance(part, int) for part in path):  # an item has keys of its own
        return f"unknown key. {fix}"
    # The right key in the wrong section; first those below this one.
    elsewhere = [name for name in leaves() if name.endswith(f".{last}")]
    elsewhere.sort(key=lambda name: not (prefix and name.startswith(prefix)))
    elsewhere += also_called(last, leaves())
    if elsewhere and not fix.startswith("Did you mean"):
        fix = f"Did you mean {elsewhere[0]}?"
    return f"unknown key. {fix}"
