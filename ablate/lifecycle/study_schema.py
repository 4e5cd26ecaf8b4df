"""The JSON Schema of a study file, with which an editor completes and checks it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ablate.space.schema import space_definitions
from ablate.study.keys import BY_NAME, all_keys
from ablate.study.names import LISTED, KnownNames, OpenNames
from ablate.study.settings import Study

_METRICS = ("objectives.metric", "search.pruner.metric")
"""Keys that name metrics: the suite's, or whatever a trainable reports."""


def json_schema(names: KnownNames) -> dict[str, Any]:
    """The schema of a study file, draft 2020-12; `#/$defs/Space` is that of a space file.

    Args:
        names: names that exist, by dotted key; they become enumerations.
            A key without any takes all text.
    """
    schema = Study.model_json_schema()
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["title"] = "ablate study"
    for key, listed in LISTED.items():
        _branch(_property(schema, key), "array")["items"]["enum"] = list(names.get(listed, ()))
    for key, known in names.items():
        if key in LISTED.values():
            continue
        if key in LISTED:
            _branch(_property(schema, key), "string")["enum"] = list(known)
        elif isinstance(known, OpenNames) or key in _METRICS:
            _suggest(_property(schema, key), list(known))
        elif known:
            _enumerate(_property(schema, key), key, list(known))
    for key, kinds in BY_NAME.items():
        known = [name for kind in kinds for name in names.get(kind, ())]
        # Names that can only be looked up are no enumeration.
        if known and not any(isinstance(names[kind], OpenNames) for kind in kinds):
            _branch(_property(schema, key), "object")["propertyNames"] = {"enum": known}
    descriptions = {key: _property(schema, key).get("description", "") for key in all_keys()}
    schema["$defs"] |= space_definitions(descriptions)
    _by_kind(schema, names, descriptions["space"])
    return schema


def _by_kind(schema: dict[str, Any], names: KnownNames, about_space: str) -> None:
    """Let a study with a trainable search keys and name metrics of its own."""
    schema["required"] = ["version", "name"]
    schema["properties"]["space"] = {"description": about_space}
    metric = {"properties": {"metric": {"enum": list(names.get("objectives.metric", ()))}}}
    if not metric["properties"]["metric"]["enum"]:
        metric = {}
    schema["if"] = {"required": ["trainable"]}
    schema["then"] = {"required": ["objectives"], "properties": {"space": _space("OwnSpace")}}
    schema["else"] = {
        "required": ["dataset", "model"],
        "properties": {
            "space": _space("Space"),
            "objectives": {"items": metric},
            "search": {"properties": {"pruner": metric}},
        },
    }


def _space(definition: str) -> dict[str, Any]:
    return {"anyOf": [{"$ref": f"#/$defs/{definition}"}, {"type": "string"}]}


def _property(schema: Mapping[str, Any], key: str) -> dict[str, Any]:
    """The schema of a dotted key."""
    node: Any = schema
    for part in key.split("."):
        node = _resolve(schema, node)["properties"][part]
    found: dict[str, Any] = node
    return found


def _resolve(schema: Mapping[str, Any], node: Mapping[str, Any]) -> Mapping[str, Any]:
    """Follow a reference, that of a list's items and of what may be none too."""
    node = node.get("items", node)
    node = next((branch for branch in node.get("anyOf", ()) if "$ref" in branch), node)
    reference = node.get("$ref")
    if reference is None:
        return node
    target: Mapping[str, Any] = schema["$defs"][reference.rpartition("/")[2]]
    return target


def _branch(node: dict[str, Any], kind: str) -> dict[str, Any]:
    """The alternative of a type, or the schema itself where it has none."""
    branches: list[dict[str, Any]] = node.get("anyOf", [node])
    return next(branch for branch in branches if branch.get("type") == kind)


def _suggest(node: dict[str, Any], known: list[str]) -> None:
    if known and "anyOf" not in node:
        node["examples"] = known


def _enumerate(node: dict[str, Any], key: str, known: list[str]) -> None:
    if key == "loss.terms":
        term = f"({'|'.join(map(re.escape, known))})"
        node["pattern"] = rf"^{term}(\+{term})*$"
        node["examples"] = known
    elif any(branch.get("type") == "array" for branch in node.get("anyOf", [node])):
        _branch(node, "array")["items"] = {"type": "string", "enum": known}
    else:
        node["enum"] = known
