"""Frozen dataclasses as JSON, and back from it, by the types of their fields; any data as JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from datetime import datetime
from functools import cache
from typing import Any, ClassVar, Self

from pydantic import ConfigDict, TypeAdapter, ValidationError

from ablate.study.document import dotted, show

STORED = "stored"
"""Pydantic's context of what was checked before it was stored: rules are not applied again."""


class JsonData:
    """A frozen dataclass that is stored as JSON by its fields, which may be such classes, tuples
    and mappings.

    The ledger and files use this format: a field may be added with a default, but not renamed.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    def to_json(self) -> dict[str, Any]:
        """JSON's own types alone, in the order of the fields."""
        plain: dict[str, Any] = self._adapter().dump_python(self, mode="json")
        return plain

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Read the output of `to_json`; missing fields get their defaults.

        Raises:
            ValueError: if a field is unknown, missing, or of another type; a one-line message.
        """
        try:
            read: Self = cls._adapter().validate_python(data, context=STORED)
            return read
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            name = dotted((cls.__name__, *first["loc"]))
            raise ValueError(f"{name}: {first['msg']}, got {show(first['input'])}") from error

    def to_text(self) -> str:
        """`to_json` as one line of JSON."""
        return json.dumps(self.to_json())

    @classmethod
    def from_text(cls, text: str) -> Self:
        """What `to_text` wrote; raises as `from_json`."""
        return cls.from_json(json.loads(text))

    @classmethod
    @cache
    def _adapter(cls) -> TypeAdapter[Any]:
        return TypeAdapter(cls)


def json_value(value: Any) -> Any:
    """The same in JSON's own types: None for NaN and infinity, ISO 8601 for a moment."""
    if isinstance(value, Mapping):
        return {str(key): json_value(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [json_value(part) for part in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value.isoformat() if isinstance(value, datetime) else value
