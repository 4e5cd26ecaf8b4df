"""The JSON Schema of a study file, with which an editor completes and checks it."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from ablate.study import settings
from ablate.study.keys import BY_NAME, OPEN, all_keys, searchable
from ablate.study.metrics import METRIC_KEYS
from ablate.study.names import LISTED, KnownNames, OpenNames
from ablate.study.settings import Study

Schema = dict[str, Any]


def json_schema(names: KnownNames) -> Schema:
    """The schema of a study file, draft 2020-12; `#/$defs/Space` is that of a space file.

    Args:
        names: allowed names by dotted key, which become enumerations.  Keys without names accept
            any text.
    """
    schema = Study.model_json_schema()
    _describe(schema)
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["title"] = "ablate study"
    for key, listed in LISTED.items():
        _branch(_property(schema, key), "array")["items"]["enum"] = list(names.get(listed, ()))
    for key, known in names.items():
        if key not in LISTED.values() and known:
            _allow(_property(schema, key), key, known)
    for key, kinds in BY_NAME.items():
        listed_names = [name for kind in kinds for name in names.get(kind, ())]
        # Names that can only be looked up are not enumerated.
        if listed_names and not any(isinstance(names[kind], OpenNames) for kind in kinds):
            _branch(_property(schema, key), "object")["propertyNames"] = {"enum": listed_names}
    descriptions = {key: _property(schema, key).get("description", "") for key in all_keys()}
    schema["$defs"] |= _space_definitions(descriptions)
    _by_kind(schema, names, descriptions["space"])
    return schema


def _describe(schema: Schema) -> None:
    """Give each key the text below it in the source of its section."""
    texts: dict[str, dict[str, str]] = {}
    tree = ast.parse(inspect.getsource(settings))
    for section in [node for node in tree.body if isinstance(node, ast.ClassDef)]:
        for pair in pairwise(section.body):
            match pair:
                case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(ast.Constant(str(about))):
                    texts.setdefault(section.name, {})[name] = " ".join(about.split())
    for definition, node in ("Study", schema), *schema["$defs"].items():
        for base in reversed(getattr(settings, definition).__mro__):
            for name, about in texts.get(base.__name__, {}).items():
                node["properties"][name]["description"] = about


def _by_kind(schema: Schema, names: KnownNames, about_space: str) -> None:
    """Allow any searched keys and metrics in a study with a trainable."""
    schema["required"] = ["version", "name"]
    schema["properties"]["space"] = {"description": about_space}
    known = {"enum": list(names.get("objectives.metric", ()))}
    metric = {"metric": known} if known["enum"] else {}
    metrics = {"metrics": {"items": known}} if known["enum"] else {}
    schema["if"] = {"required": ["trainable"]}
    schema["then"] = {"required": ["objectives"], "properties": {"space": _space("OwnSpace")}}
    schema["else"] = {
        "required": ["dataset", "model"],
        "properties": {
            "space": _space("Space"),
            "objectives": {"items": {"properties": metric}},
            "constraints": {"items": {"properties": metric}},
            "search": {"properties": {"pruner": {"properties": metric | metrics}}},
        },
    }


def _space(definition: str) -> Schema:
    return {"anyOf": [_ref(definition), {"type": "string"}]}


def _property(schema: Schema, key: str) -> Schema:
    """The schema of a dotted key."""
    node: Any = schema
    for part in key.split("."):
        # Follow a reference, also of list items and of optional values.
        node = node.get("items", node)
        node = next((branch for branch in node.get("anyOf", ()) if "$ref" in branch), node)
        if "$ref" in node:
            node = schema["$defs"][node["$ref"].rpartition("/")[2]]
        node = node["properties"][part]
    named: Schema = node
    return named


def _branch(node: Schema, kind: str) -> Schema:
    """The alternative of a type, or the schema itself if it has none."""
    branches: list[Schema] = node.get("anyOf", [node])
    return next(branch for branch in branches if branch.get("type") == kind)


def _allow(node: Schema, key: str, names: KnownNames | Any) -> None:
    """Enumerate the names of a key; suggest them where others exist too."""
    known = list(names)
    if key in LISTED:
        _branch(node, "string")["enum"] = known
    elif isinstance(names, OpenNames) or key in METRIC_KEYS:
        node |= {} if "anyOf" in node else {"examples": known}
    elif key == "loss.terms":
        term = f"({'|'.join(map(re.escape, known))})"
        node |= {"pattern": rf"^{term}(\+{term})*$", "examples": known}
    elif any(branch.get("type") == "array" for branch in node.get("anyOf", [node])):
        _branch(node, "array")["items"] = {"type": "string", "enum": known}
    else:
        node["enum"] = known


# -- The grammar of a space ----------------------------------------------------------------


def _space_definitions(descriptions: Mapping[str, str]) -> Schema:
    """`Space` of a robustness finetuning, `OwnSpace` of a trainable, and what they refer to.

    Args:
        descriptions: of the study's keys, by dotted key.
    """
    names = {"type": "array", "items": {"type": "string"}, "uniqueItems": True}
    choice = {"type": "array", "minItems": 1, "uniqueItems": True}
    subset = {"anyOf": [names | {"minItems": 1}, {"const": "taps"}]}
    simplex = {"anyOf": [names | {"minItems": 2}, {"type": "string"}]}
    ratios = (
        "Ratios of these that sum to 1; or the key of a subset in the space or of a list in the "
        "study, for ratios of its items."
    )
    subsets = "At least one of these; `taps`: of the model's taps."
    domains = {
        "Float": _numbers("float", {"type": "number"}, {"exclusiveMinimum": 0}),
        "Int": _numbers("int", {"type": "integer"}, {"minimum": 1}),
        "Choice": _domain("choice", choice | {"description": "One of these values."}),
        "Subset": _domain("subset", {"description": subsets} | subset),
        "Simplex": _domain("simplex", {"description": ratios} | simplex),
    }
    block = _object({"when": _ref("When"), "parameters": _ref("Space")}, "when", "parameters")
    return {
        **domains,
        "Domain": {"anyOf": [_ref(name) for name in domains]},
        "When": {
            "type": "object",
            "minProperties": 1,
            "description": "Searched only if all of these hold.",
            "additionalProperties": _ref("Condition"),
        },
        "Condition": {
            "description": "A value, `in` a list of values, or what the value `contains`.",
            "anyOf": [
                {"type": ["string", "number", "boolean", "null", "array"]},
                _object({"in": {"type": "array", "minItems": 1}}, "in"),
                _object({"contains": {"type": ["string", "number"]}}, "contains"),
            ],
        },
        "Block": block | {"description": "Several parameters with one condition."},
        "Space": {
            "type": "object",
            "description": "The searched parameters: a domain by dotted key, or blocks of them.",
            "properties": {
                key: _ref("Domain") | {"description": descriptions.get(key, "")}
                for key in searchable()
            },
            "patternProperties": {rf"^{re.escape(key)}\.": _ref("Domain") for key in OPEN},
            "additionalProperties": _ref("Block"),
        },
        "OwnSpace": {
            "type": "object",
            "description": "The searched parameters of a trainable: domains by names that you "
            "choose.",
            "additionalProperties": {
                "anyOf": [
                    _ref("Domain"),
                    {"type": "object", "required": ["when", "parameters"]},
                ]
            },
        },
    }


def _numbers(word: str, number: Schema, above_0: Schema) -> Schema:
    pair = {"type": "array", "minItems": 2, "maxItems": 2, "items": number}
    return _domain(
        word,
        pair | {"description": "[low, high], both included."},
        log={"type": "boolean", "description": "Uniform in the logarithm; low above 0."},
        step=number | above_0 | {"description": "Only low + k * step."},
    )


def _domain(word: str, values: Schema, **options: Any) -> Schema:
    return _object({word: values, **options, "when": _ref("When")}, word)


def _object(properties: Schema, *required: str) -> Schema:
    return {
        "type": "object",
        "properties": properties,
        "required": list(required),
        "additionalProperties": False,
    }


def _ref(definition: str) -> Schema:
    return {"$ref": f"#/$defs/{definition}"}
