"""``argument=value`` as typed in a shell or a scenario, read by a tool's schema."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any


class AssignmentError(ValueError):
    """A text that is not argument=value."""


def read_assignments(texts: Iterable[str], properties: Mapping[str, Any]) -> dict[str, Any]:
    """Return arguments for a tool whose schema has these `properties`.

    Lists may be written ``[1,8]`` or ``1,8``; ``set`` may be given several times. A value that does not fit its type is
    passed on as text, so that the tool's own error says what it wants.

    Raises:
        AssignmentError: a text has no ``=`` or its name stands twice.
    """
    found: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        name = name.strip().lstrip("-")
        if not equals:
            near = get_close_matches(text, properties, 1)
            raise AssignmentError(f"{text!r} is not argument=value" + (f"; e.g. {near[0]}=…" if near else ""))
        schema = properties.get(name, {})
        if name in found and schema.get("type") != "array":
            raise AssignmentError(f"{name} is given twice")
        read = _read(value.strip(), schema)
        found[name] = [*found[name], *read] if name in found and isinstance(read, list) else read
    return found


def _read(value: str, schema: Mapping[str, Any]) -> Any:
    kind = schema.get("type")
    if kind == "array":
        inner = value[1:-1] if value.startswith("[") and value.endswith("]") else value
        items = [item.strip().strip("\"'") for item in inner.split(",") if item.strip()]
        return [_read(item, schema["items"]) for item in items]
    if kind in ("number", "integer"):
        return _number(value)
    if kind == "boolean" and value.lower() in ("true", "false", "yes", "no"):
        return value.lower() in ("true", "yes")
    return value


def _number(text: str) -> Any:
    try:
        number = float(text)
    except ValueError:
        return text
    if not math.isfinite(number):
        return text
    return int(number) if number.is_integer() and abs(number) < 2**53 else number
