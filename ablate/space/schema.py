"""The grammar of a space as JSON Schema, for editors."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ablate.study.keys import OPEN, searchable

_PAIR = {"type": "array", "minItems": 2, "maxItems": 2}
_NAMES = {"type": "array", "items": {"type": "string"}, "uniqueItems": True}


def space_definitions(descriptions: Mapping[str, str]) -> dict[str, Any]:
    """Definitions for a schema's `$defs`.

    Args:
        descriptions: of the study's keys, by dotted key.

    Returns:
        `Space` of a robustness finetuning, `OwnSpace` of a trainable, and what they refer to.
    """
    real, whole = {"type": "number"}, {"type": "integer"}
    domains = {
        "Float": _domain(
            "float",
            _PAIR | {"items": real, "description": "[low, high], both included."},
            log={"type": "boolean", "description": "Uniform in the logarithm; low above 0."},
            step=real | {"exclusiveMinimum": 0, "description": "Only low + k * step."},
        ),
        "Int": _domain(
            "int",
            _PAIR | {"items": whole, "description": "[low, high], both included."},
            log={"type": "boolean", "description": "Uniform in the logarithm; low above 0."},
            step=whole | {"minimum": 1, "description": "Only low + k * step."},
        ),
        "Choice": _domain(
            "choice",
            {
                "type": "array",
                "minItems": 1,
                "uniqueItems": True,
                "description": "One of these values.",
            },
        ),
        "Subset": _domain(
            "subset",
            {
                "description": "At least one of these; `taps`: of the model's taps.",
                "anyOf": [_NAMES | {"minItems": 1}, {"const": "taps"}],
            },
        ),
        "Simplex": _domain(
            "simplex",
            {
                "description": "Ratios of these that sum to 1; or the key of a subset in the space "
                "or of a list in the study, for ratios of its items.",
                "anyOf": [_NAMES | {"minItems": 2}, {"type": "string"}],
            },
        ),
    }
    return {
        **domains,
        "Domain": {"anyOf": [{"$ref": f"#/$defs/{name}"} for name in domains]},
        "When": {
            "type": "object",
            "minProperties": 1,
            "description": "Searched only if all of these hold.",
            "additionalProperties": {"$ref": "#/$defs/Condition"},
        },
        "Condition": {
            "description": "A value, `in` a list of values, or what the value `contains`.",
            "anyOf": [
                {"type": ["string", "number", "boolean", "null", "array"]},
                _object({"in": {"type": "array", "minItems": 1}}, "in"),
                _object({"contains": {"type": ["string", "number"]}}, "contains"),
            ],
        },
        "Block": _object(
            {"when": {"$ref": "#/$defs/When"}, "parameters": {"$ref": "#/$defs/Space"}},
            "when",
            "parameters",
        )
        | {"description": "Several parameters with one condition."},
        "Space": {
            "type": "object",
            "description": "The searched parameters: a domain by dotted key, or blocks of them.",
            "properties": {
                key: {"$ref": "#/$defs/Domain", "description": descriptions.get(key, "")}
                for key in searchable()
            },
            "patternProperties": {
                rf"^{re.escape(key)}\.": {"$ref": "#/$defs/Domain"} for key in OPEN
            },
            "additionalProperties": {"$ref": "#/$defs/Block"},
        },
        "OwnSpace": {
            "type": "object",
            "description": "The searched parameters of a trainable: domains by names that you "
            "choose.",
            "additionalProperties": {
                "anyOf": [
                    {"$ref": "#/$defs/Domain"},
                    {"type": "object", "required": ["when", "parameters"]},
                ]
            },
        },
    }


def _domain(word: str, values: dict[str, Any], **options: Any) -> dict[str, Any]:
    return _object({word: values, **options, "when": {"$ref": "#/$defs/When"}}, word)


def _object(properties: dict[str, Any], *required: str) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(required),
        "additionalProperties": False,
    }
