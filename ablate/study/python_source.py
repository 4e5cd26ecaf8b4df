"""A study as Python writes it: mappings, lists, numbers and functions, as plain data."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from pydantic import BaseModel

from ablate.errors import ParameterError
from ablate.study.callables import name_function
from ablate.study.document import Document, Finding, Path, show, unstorable
from ablate.study.yaml_source import MAX_DEPTH


def read_python(data: Mapping[str, Any]) -> Document:
    """Convert the data of a study from Python.

    Args:
        data: keys as in a study file; `version` may be left out.  Sections may be objects of
            `ablate.study.settings`; a tuple is a list, a path is text, a number of NumPy is a
            number, and a function stands for its name (`ablate.study.callables`).

    Returns:
        The data without positions.  Problems are in `problems`, each with the path of its key.
    """
    findings: list[Finding] = []
    document = Document("", {"version": 1, **_plain(data, (), findings)})
    document.report(findings)
    return document


def _plain(value: Any, path: Path, findings: list[Finding]) -> Any:
    """A value in the types that YAML has."""
    if isinstance(value, BaseModel):
        value = value.model_dump(mode="json", exclude_unset=True)
    if len(path) > MAX_DEPTH:
        findings.append(Finding(path, f"must have at most {MAX_DEPTH} levels. Make it flatter."))
    elif isinstance(value, Mapping):
        mapping = {}
        for key, item in value.items():
            if isinstance(key, str):
                mapping[key] = _plain(item, (*path, key), findings)
            else:
                rule = f"keys must be text, got {show(key)}. Put it in quotes."
                findings.append(Finding((*path, str(key)), rule))
        return mapping
    elif isinstance(value, list | tuple):
        return [_plain(item, (*path, i), findings) for i, item in enumerate(value)]
    else:
        return _scalar(value, path, findings)
    return None


def _scalar(value: Any, path: Path, findings: list[Finding]) -> Any:
    if callable(value):
        try:
            return name_function(value)
        except ParameterError as error:
            findings.append(Finding(path, str(error)))
            return "refused:refused"  # still a name, so that no other rule is broken
    if isinstance(value, PurePath):
        value = str(value)
    elif type(value).__module__ == "numpy" and getattr(value, "shape", None) == ():
        value = value.item()
    if (wrong := _not_plain(value)) is None:
        return value
    findings.append(Finding(path, wrong))
    return None


def _not_plain(value: Any) -> str | None:
    """Why a value cannot be stored, as `rule, got X. Fix.`"""
    if isinstance(value, str):
        return unstorable(value)
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= 2**63:
        return "whole numbers must be below 2**63, got a larger one. Write a smaller one."
    if value is None or isinstance(value, bool | int | float):
        return None
    kind = f"{type(value).__module__}.{type(value).__qualname__}".removeprefix("builtins.")
    rule = f"must be text, a number, a list or a mapping, got an object of {kind}"
    return f"{rule}. Write its value."
