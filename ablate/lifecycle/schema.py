"""The JSON Schema of a study file, with which an editor completes keys and names."""

from __future__ import annotations

import ast
import inspect
from itertools import pairwise
from typing import Any

from ablate.study import settings
from ablate.study.keys import BY_NAME, searchable
from ablate.study.metrics import METRIC_KEYS
from ablate.study.names import LISTED, KnownNames, OpenNames

_PAIR = {"type": "array", "minItems": 2, "maxItems": 2, "items": {"type": "number"}}
_ITEMS = {"anyOf": [{"type": "array", "minItems": 1}, {"type": "string"}]}
_DOMAIN = {
    "type": "object",
    "properties": {"float": _PAIR, "int": _PAIR, "choice": _ITEMS["anyOf"][0], "subset": _ITEMS}
    | {"simplex": _ITEMS, "log": {"type": "boolean"}, "step": {"type": "number"}, "when": True},
    "additionalProperties": False,
}


def json_schema(names: KnownNames) -> dict[str, Any]:
    """The schema of a study file, draft 2020-12; `#/$defs/Space` is that of a space file.

    Args:
        names: by dotted key, which become enumerations, or examples where others exist too.
    """
    schema = settings.Study.model_json_schema()
    schema |= {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "ablate study"}
    schema["required"] = ["version", "name"]
    schema["anyOf"] = [{"required": ["dataset", "model"]}, {"required": ["trainable"]}]
    texts: dict[tuple[str, str], str] = {}  # below a key in the source of its section
    body = ast.parse(inspect.getsource(settings)).body
    for section in [node for node in body if isinstance(node, ast.ClassDef)]:
        for pair in pairwise(section.body):
            match pair:
                case ast.AnnAssign(target=ast.Name(id=key)), ast.Expr(ast.Constant(str(text))):
                    texts[section.name, key] = " ".join(text.split())
    for name, node in ("Study", schema), *schema["$defs"].items():
        bases = [base.__name__ for base in getattr(settings, name).__mro__]
        for key, entry in node["properties"].items():
            known_texts = (texts[base, key] for base in bases if (base, key) in texts)
            if text := next(known_texts, ""):
                entry["description"] = text
    for key, known in names.items():
        if not known:
            continue
        node = _property(schema, key) if key not in LISTED.values() else {}
        is_open = isinstance(known, OpenNames) or key in (*METRIC_KEYS, "loss.terms")
        for branch in node.get("anyOf", [node]):
            is_list = branch.get("type") == "array"
            text = branch["items"] if is_list else branch
            if text.get("type") == "string" and "enum" not in text:
                listed = names.get(LISTED.get(key, key), known) if is_list else known
                text["examples" if is_open else "enum"] = list(listed)
    for key, kinds in BY_NAME.items():
        closed = [name for kind in kinds for name in names.get(kind, ())]
        if closed and not any(isinstance(names[kind], OpenNames) for kind in kinds):
            node = _property(schema, key)
            node.get("anyOf", [node])[0]["propertyNames"] = {"enum": closed}
    domain = {"$ref": "#/$defs/Domain"}
    other = {"anyOf": [domain, {"required": ["when", "parameters"]}]}
    texts_of = {key: _property(schema, key).get("description", "") for key in searchable()}
    searched = {key: domain | {"description": text} for key, text in texts_of.items()}
    space = {"type": "object", "properties": searched, "additionalProperties": other}
    schema["$defs"] |= {"Domain": _DOMAIN, "Space": space}
    schema["properties"]["space"]["anyOf"][0] = {"$ref": "#/$defs/Space"}
    return schema


def _property(schema: dict[str, Any], key: str) -> dict[str, Any]:
    """The schema of a dotted key, through references to sections and to items of a list."""
    node = schema
    for part in key.split("."):
        node = node.get("items", node)
        node = next((branch for branch in node.get("anyOf", ()) if "$ref" in branch), node)
        name = node.get("$ref", "").rpartition("/")[2]
        node = (schema["$defs"][name] if name else node)["properties"][part]
    return node
