"""``argument=value`` as typed in a shell or a scenario, read by a tool's schema."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any

from mlwalls.solvers.rendering import exact

_ASSIGNED = re.compile(r"[A-Za-z_][A-Za-z_0-9]*=")
# The escapes of a JSON string.
_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|(.))", re.DOTALL)
_ESCAPED = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f"}
_NEXT = re.compile(r"[,\s]\s*(?=[A-Za-z_][A-Za-z_0-9]*=[^=])(?![^\[]*\])")
_QUOTED = re.compile(r"""\s*("(?:[^"\\]|\\.)*"|'[^']*')\s*(?=,|$)""", re.DOTALL)


class AssignmentError(ValueError):
    """A text that is not argument=value."""


def read_assignments(texts: Iterable[str], properties: Mapping[str, Any]) -> dict[str, Any]:
    """Return arguments for a tool whose schema has these `properties`.

    Lists may be written ``[1,8]``, ``["a","b"]`` or ``1,8``; ``set`` may be given several times. A value that does not fit its
    type is passed on as text, so that the tool's own error says what it wants.

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


def split_list(text: str) -> list[str]:
    """Split at the commas that stand outside brackets and quoted items: a list may hold ``argument=[1,8]``."""
    parts, depth, start, at = [], 0, 0, 0
    while at < len(text):
        if at == start and (quoted := _QUOTED.match(text, at)):
            at = quoted.end()
            continue
        letter = text[at]
        depth += (letter in "[{(") - (letter in "]})")
        if letter == "," and depth <= 0:
            parts.append(text[start:at])
            start = at + 1
        at += 1
    return [*parts, text[start:]]


def list_items(text: str) -> list[str]:
    """Return the items of a list as typed: ``["a=1,2","b=3"]``, ``[a=1,2,b=3]``, or either without the brackets."""
    inner = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    parts = [part.strip() for part in split_list(inner) if part.strip()]
    items = [_unquoted(part) for part in parts]
    return items if any(part[0] in "\"'" for part in parts) else _joined(items)


def assigned(text: str) -> list[str]:
    """Return the items of a list that was typed as one text: ``a=1 b=[2,3]``, ``a=1, b=2`` or any way of `list_items`."""
    return [part.strip().rstrip(",") for item in list_items(text) for part in _NEXT.split(item)]


def _unquoted(item: str) -> str:
    if item.startswith('"') and _QUOTED.fullmatch(item):
        return _ESCAPE.sub(lambda m: chr(int(m[1], 16)) if m[1] else _ESCAPED.get(m[2], m[2]), item[1:-1])
    return item.strip("\"'")


def _joined(items: list[str]) -> list[str]:
    """Put commas back that belong to one ``name=1,2,4`` of a list of such."""
    if not items or not _ASSIGNED.match(items[0]):
        return items
    found: list[str] = []
    for item in items:
        if found and not _ASSIGNED.match(item):
            found[-1] += f",{item}"
        else:
            found.append(item)
    return found


def write_assignments(arguments: Mapping[str, Any]) -> list[str]:
    """Return arguments as ``argument=value``, so that reading them gives the same call."""
    return [f"{name}={written(value)}" for name, value in arguments.items()]


def written(argument: Any) -> str:
    """Return one value as it stands after the ``=``."""
    if isinstance(argument, list):
        plain = "[" + ",".join(written(a) for a in argument) + "]"
        if not any(isinstance(a, str) for a in argument) or list_items(plain) == argument:
            return plain
        return "[" + ",".join(_quoted(str(a)) for a in argument) + "]"
    if isinstance(argument, bool):
        return str(argument).lower()
    return exact(argument) if isinstance(argument, float) else str(argument)


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _read(value: str, schema: Mapping[str, Any]) -> Any:
    kind = schema.get("type")
    if kind == "array":
        return [_read(item, schema["items"]) for item in list_items(value)]
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
