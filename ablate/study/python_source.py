"""A study as Python writes it: mappings, lists, numbers and functions, as plain data."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from pydantic import BaseModel

from ablate.errors import ParameterError
from ablate.study.by_value import name_function
from ablate.study.document import Document, Path, show, unstorable
from ablate.study.yaml_source import MAX_DEPTH


def read_python(data: Mapping[str, Any]) -> Document:
    """Convert the data of a study from Python.

    Args:
        data: keys as in a study file; `version` may be left out.  Sections may be objects of
            `ablate.study.settings`; a tuple is a list, a path is text, a number of NumPy is a
            number, and a function stands for its name (`ablate.study.by_value`).

    Returns:
        The data without positions.  Problems are in `problems`, each with the path of its key.
    """
    document = Document("")
    document.data = {"version": 1, **_Plain(document).mapping(data, ())}
    return document


class _Plain:
    """Converts values to the types that YAML has."""

    def __init__(self, document: Document) -> None:
        self._document = document

    def mapping(self, data: Mapping[Any, Any], path: Path) -> dict[str, Any]:
        made: dict[str, Any] = {}
        for key, value in data.items():
            if isinstance(key, str):
                made[key] = self.value(value, (*path, key))
            else:
                rule = f"keys must be text, got {show(key)}. Put it in quotes."
                self._document.refuse((*path, str(key)), rule)
        return made

    def value(self, value: Any, path: Path) -> Any:
        if len(path) > MAX_DEPTH:
            self._document.refuse(path, f"must have at most {MAX_DEPTH} levels. Make it flatter.")
            return None
        if isinstance(value, BaseModel):
            value = value.model_dump(mode="json", exclude_unset=True)
        if isinstance(value, Mapping):
            return self.mapping(value, path)
        if isinstance(value, list | tuple):
            return [self.value(item, (*path, i)) for i, item in enumerate(value)]
        if callable(value):
            return self._function(value, path)
        return self._scalar(value, path)

    def _function(self, value: Any, path: Path) -> str:
        try:
            return name_function(value)
        except ParameterError as error:
            self._document.refuse(path, str(error))
            return "refused:refused"  # still a name, so that no other rule is broken

    def _scalar(self, value: Any, path: Path) -> Any:
        if type(value).__module__ == "numpy" and getattr(value, "shape", None) == ():
            value = value.item()
        if isinstance(value, PurePath):
            return str(value)
        if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= 2**63:
            rule = "whole numbers must be below 2**63, got a larger one. Write a smaller one."
            self._document.refuse(path, rule)
            return None
        if isinstance(value, str) and (unfit := unstorable(value)) is not None:
            self._document.refuse(path, unfit)
            return None
        if value is None or isinstance(value, bool | int | float | str):
            return value
        kind = f"{type(value).__module__}.{type(value).__qualname__}".removeprefix("builtins.")
        rule = f"must be text, a number, a list or a mapping, got an object of {kind}"
        self._document.refuse(path, f"{rule}. Write its value.")
        return None
