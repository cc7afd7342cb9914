"""Schemas of tools as a client sees them: inputs without far limits, outputs by the answer contract."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from mlwalls.solvers.schemas import client_schema

# Limits that nobody meets by accident (far maxima, counts below 1, long lists) stay out of what a model reads; calls are checked
# against them all the same.
FAR = 1000
COMMON = ("set", "define", "detail")


def shortened(schema: dict[str, Any]) -> dict[str, Any]:
    """Return an input schema as a model sees it: own arguments first, without obvious limits and empty defaults."""
    fields: dict[str, Any] = schema["properties"]
    ordered = [name for name in fields if name not in COMMON] + [name for name in COMMON if name in fields]
    properties = {name: _said(fields[name]) for name in ordered}
    return {**{k: v for k, v in schema.items() if k != "description"}, "properties": properties}


def _said(field: dict[str, Any]) -> dict[str, Any]:
    said = {k: v for k, v in field.items() if not _unsaid(k, v)}
    return {**said, "items": _said(said["items"])} if "items" in said else said


def _unsaid(keyword: str, value: Any) -> bool:
    if keyword in ("maximum", "maxLength"):
        return bool(value >= FAR)
    return (
        (keyword == "default" and value in ("", False, "default"))
        or (keyword == "maxItems" and value > 3)
        or (keyword == "minItems" and value == 1)
        or (keyword == "minimum" and (value in (0, 1) or value >= FAR))
        or (keyword == "exclusiveMinimum" and value == 0)
    )


def answer_schema(result: type[BaseModel]) -> dict[str, Any]:
    """Return the output schema of a tool whose typed result is `result`."""

    texts = {"type": "array", "items": {"type": "string"}}
    wall = {
        "type": "object",
        "properties": {
            "slug": {"type": "string"},
            "number": {"type": "integer"},
            "name": {"type": "string"},
            "share": {"type": "number"},
            "runner_up": {"type": "string"},
        },
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
            "wall": {"type": "string"},
            "sources": {"type": "array", "items": {"type": "string"}},
        },
        "additionalProperties": False,
    }
    return {
        "type": "object",
        "properties": {
            "verdict": {"type": "string"},
            "feasible": {"type": "boolean"},
            "binding_wall": wall,
            "result": {k: v for k, v in client_schema(result).items() if k != "description"},
            "work": texts | {"description": "The calculation."},
            "sources": texts,
            "warnings": texts,
            "scenario": texts,
            "steps": {"type": "array", "items": step},
        },
        "required": ["verdict", "feasible", "binding_wall", "result", "sources", "warnings", "scenario"],
        "additionalProperties": False,
    }
