"""JSON Schemas that every client accepts: no references, no unions, optional means absent."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

_BANNED = frozenset(
    {"$ref", "$defs", "anyOf", "oneOf", "allOf", "const", "prefixItems", "format", "pattern", "patternProperties"}
)
_DROPPED = frozenset({"title", "$defs"})
# Limits that nobody meets by accident stay out of what a model reads; calls are checked against them all the same.
FAR = 100_000
COMMON = ("set", "define", "detail")


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


def shortened(schema: dict[str, Any]) -> dict[str, Any]:
    """Return an input schema as a model sees it: own arguments first, without far limits and empty defaults."""
    fields: dict[str, Any] = schema["properties"]
    ordered = [name for name in fields if name not in COMMON] + [name for name in COMMON if name in fields]
    properties = {name: {k: v for k, v in fields[name].items() if not _unsaid(k, v)} for name in ordered}
    return {**{k: v for k, v in schema.items() if k != "description"}, "properties": properties}


def _unsaid(keyword: str, value: Any) -> bool:
    return (keyword == "default" and value == "") or (keyword in ("maximum", "maxLength") and value >= FAR)


def answer_schema(result: type[BaseModel]) -> dict[str, Any]:
    """Return the output schema of a tool whose typed result is `result`."""

    def text(description: str) -> dict[str, Any]:
        return {"type": "string", "description": description}

    def texts(description: str) -> dict[str, Any]:
        return {"type": "array", "items": {"type": "string"}, "description": description}

    wall = {
        "type": "object",
        "description": "The wall that binds.",
        "properties": {
            "slug": {"type": "string"},
            "number": {"type": "integer"},
            "name": {"type": "string"},
            "share": {"type": "number", "description": "Share of the expected total."},
            "runner_up": {"type": "string"},
        },
        "required": ["slug", "number", "name"],
        "additionalProperties": False,
    }
    step = {
        "type": "object",
        "properties": {
            "kind": {"type": "string"},
            "name": {"type": "string"},
            "value": {"type": "string"},
            "unit": {"type": "string"},
            "expression": {"type": "string"},
            "equation": {"type": "string"},
            "wall": {"type": "string"},
            "sources": {"type": "array", "items": {"type": "string"}},
        },
        "required": ["kind", "name"],
        "additionalProperties": False,
    }
    return {
        "type": "object",
        "properties": {
            "verdict": text("One sentence with the number, its unit and range."),
            "feasible": {"type": "boolean"},
            "binding_wall": wall,
            "result": client_schema(result),
            "work": texts("The calculation as a program: one line an origin, one line a step."),
            "sources": texts("What the numbers rest on."),
            "warnings": texts("Substitutions, extrapolations, unverified numbers."),
            "scenario": texts("The resolved request: argument=value."),
            "steps": {"type": "array", "items": step, "description": "detail=full: the steps, typed."},
        },
        "required": ["verdict", "feasible", "binding_wall", "result", "sources", "warnings", "scenario"],
        "additionalProperties": False,
    }
