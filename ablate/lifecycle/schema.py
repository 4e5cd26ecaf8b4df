"""The JSON Schema of a study file, with which an editor completes and checks it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ablate.space.parse import space_definitions
from ablate.study.keys import BY_NAME, all_keys
from ablate.study.metrics import METRIC_KEYS
from ablate.study.names import LISTED, KnownNames, OpenNames
from ablate.study.settings import Study


def json_schema(names: KnownNames) -> dict[str, Any]:
    """The schema of a study file, draft 2020-12; `#/$defs/Space` is that of a space file.

    Args:
        names: allowed names by dotted key, which become enumerations.  Keys without names accept
            any text.
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
        elif isinstance(known, OpenNames) or key in METRIC_KEYS:
            _suggest(_property(schema, key), list(known))
        elif known:
            _enumerate(_property(schema, key), key, list(known))
    for key, kinds in BY_NAME.items():
        known = [name for kind in kinds for name in names.get(kind, ())]
        # Names that can only be looked up are not enumerated.
        if known and not any(isinstance(names[kind], OpenNames) for kind in kinds):
            _branch(_property(schema, key), "object")["propertyNames"] = {"enum": known}
    descriptions = {key: _property(schema, key).get("description", "") for key in all_keys()}
    schema["$defs"] |= space_definitions(descriptions)
    _by_kind(schema, names, descriptions["space"])
    return schema


def _by_kind(schema: dict[str, Any], names: KnownNames, about_space: str) -> None:
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
    """Follow a reference, also of list items and of optional values."""
    node = node.get("items", node)
    node = next((branch for branch in node.get("anyOf", ()) if "$ref" in branch), node)
    reference = node.get("$ref")
    if reference is None:
        return node
    target: Mapping[str, Any] = schema["$defs"][reference.rpartition("/")[2]]
    return target


def _branch(node: dict[str, Any], kind: str) -> dict[str, Any]:
    """The alternative of a type, or the schema itself if it has none."""
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
