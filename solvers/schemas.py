"""JSON Schemas that every client accepts: no references, no unions, optional means absent."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

_BANNED = frozenset(
    {"$ref", "$defs", "anyOf", "oneOf", "allOf", "const", "prefixItems", "format", "pattern", "patternProperties"}
)
_DROPPED = frozenset({"title", "$defs"})


class SchemaError(TypeError):
    """A model cannot be written in the subset of JSON Schema that all clients read."""


def client_schema(model: type[BaseModel]) -> dict[str, Any]:
    """Return the schema of `model` in that subset.

    Raises:
        SchemaError: something in the model has no such form.
    """
    raw = model.model_json_schema(by_alias=True)
    schema: dict[str, Any] = _plain(raw, raw.get("$defs", {}), model.__name__)
    schema.setdefault("required", [])
    return schema


def _plain(node: Any, definitions: dict[str, Any], path: str) -> Any:
    if isinstance(node, list):
        return [_plain(item, definitions, path) for item in node]
    if not isinstance(node, dict):
        return node
    if "$ref" in node:
        node = {**definitions[node["$ref"].rsplit("/", 1)[-1]], **{k: v for k, v in node.items() if k != "$ref"}}
    if "anyOf" in node:
        options = [option for option in node["anyOf"] if option.get("type") != "null"]
        if len(options) != 1:
            raise SchemaError(f"{path}: a union has no client-safe form")
        node = {**options[0], **{k: v for k, v in node.items() if k != "anyOf"}}
        return _plain(node, definitions, path)
    if "const" in node:
        node = {**{k: v for k, v in node.items() if k != "const"}, "enum": [node["const"]]}
    out: dict[str, Any] = {}
    for key, value in node.items():
        if key in _DROPPED or (key == "default" and value is None):
            continue
        if key == "properties":
            out[key] = {name: _plain(sub, definitions, f"{path}.{name}") for name, sub in value.items()}
        else:
            out[key] = _plain(value, definitions, f"{path}.{key}")
    if out.get("type") == "object":
        out["additionalProperties"] = False
    if banned := _BANNED & out.keys():
        raise SchemaError(f"{path}: {sorted(banned)[0]} is not client-safe")
    if isinstance(out.get("type"), list):
        raise SchemaError(f"{path}: several types are not client-safe")
    return out
