"""Arguments of a call, checked strictly against the tool's own schema; what is wrong is said so that it can be repaired."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from typing import Any

from mlwalls.solvers.assignments import assigned
from mlwalls.solvers.measures import read_measure

_MISSING = object()
# Names and assignments are short; a text argument that may be longer says so in its schema.
LONGEST_TEXT = 400
# No quantity above zero is smaller; denormals only lose their digits on the way.
SMALLEST = 1e-30
_EDGES = (("minimum", -math.inf), ("maximum", math.inf), ("exclusiveMinimum", -math.inf))
_SIZE = re.compile(r"(?<![\w.])(\d+(?:\.\d+)?)([bm])(?![a-z0-9])", re.IGNORECASE)
_SIZES = {"b": 1e9, "m": 1e6}
_SCALES = (1e-2, 1e2, 1e-3, 1e3, 1e-6, 1e6, 1e-9, 1e9, 1e-12, 1e12)


class ArgumentsError(ValueError):
    """A call's arguments are wrong: `problems` in words, and `repaired` arguments that are right where that is known."""

    def __init__(self, problems: list[str], repaired: dict[str, Any]) -> None:
        self.problems, self.repaired = problems, repaired
        super().__init__(" ".join(problems))


def checked(
    schema: Mapping[str, Any],
    given: Mapping[str, Any],
    example: Mapping[str, Any],
    size_of: Callable[[str], float | None] = lambda _: None,
) -> dict[str, Any]:
    """Return the arguments as the schema wants them (whole floats as integers, nulls left out).

    Args:
        size_of: a named model's parameters, which stand in for it where a tool takes no names.

    Raises:
        ArgumentsError: anything unknown, missing, of the wrong type, out of range or not finite.
    """
    properties: Mapping[str, Any] = schema["properties"]
    problems: list[str] = []
    good: dict[str, Any] = {}
    for name, value in given.items():
        if value is None:
            continue
        if name not in properties:
            sized = name == "model" and "parameters" in properties and "parameters" not in given
            if sized and (size := size_of(str(value))) is not None:
                good["parameters"] = size
                problems.append(f"model: unknown argument; give its parameters, {size:.12g} in the zoo.")
                continue
            _unknown(name, value, properties, given, good, problems, example)
            continue
        kept = _value(name, value, properties[name], problems, example.get(name, _MISSING))
        if kept is not _MISSING:
            good[name] = kept
    for name in schema.get("required", ()):
        if name in good:
            continue
        if given.get(name) is None:
            problems.append(f"{name}: missing; {properties[name].get('description', 'it is required')}")
        good = {**good, name: example.get(name)} if good else dict(example)
    if problems:
        raise ArgumentsError(problems, good)
    return good


def _unknown(
    name: str,
    value: Any,
    properties: Mapping[str, Any],
    given: Mapping[str, Any],
    good: dict[str, Any],
    problems: list[str],
    example: Mapping[str, Any],
) -> None:
    free = [p for p in properties if p not in given]
    if name == "model" and "parameters" in free and (size := _SIZE.search(str(value))):
        good["parameters"] = float(size[1]) * _SIZES[size[2].lower()]
        problems.append(f"model: unknown argument; give its parameters, by its name about {good['parameters']:g}.")
        return
    near = get_close_matches(name, free, 3, 0.6)
    valid = f"valid: {', '.join(properties)}"
    hint = f"nearest valid: {', '.join(near)}" if near else valid
    listed = any(valid in problem for problem in problems)
    problems.append(f"{_one_line(name)}: unknown argument{'' if listed and not near else f'; {hint}'}.")
    if near:
        ignored: list[str] = []
        kept = _value(near[0], value, properties[near[0]], ignored, example.get(near[0], _MISSING))
        if kept is not _MISSING:
            good[near[0]] = kept


def _value(name: str, value: Any, schema: Mapping[str, Any], problems: list[str], example: Any) -> Any:
    kind = schema.get("type")
    if kind == "array":
        return _array(name, value, schema, problems, example)
    if kind in ("number", "integer"):
        return _number(name, value, schema, problems, example)
    if kind == "boolean":
        if isinstance(value, bool):
            return value
        problems.append(f"{name}: {_shown(value)} is not true or false.")
        return example
    if not isinstance(value, str):
        problems.append(f"{name}: {_shown(value)} is not text.")
        return example if example is not _MISSING else schema.get("default", _MISSING)
    if "enum" in schema and value not in schema["enum"]:
        problems.append(f"{name}: {_shown(value)} is not one of {', '.join(schema['enum'])}.")
        return _text(value, schema, example)
    limit = schema.get("maxLength", LONGEST_TEXT)
    if len(value) > limit:
        problems.append(f"{name}: longer than {limit} characters.")
        return example
    if not _is_unicode(value):
        problems.append(f"{name}: {_shown(value)} is not Unicode text.")
        return example
    return value


def _is_unicode(text: str) -> bool:
    """Whether a text is free of lone surrogates, which JSON can carry and UTF-8 cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _text(value: str, schema: Mapping[str, Any], example: Any) -> Any:
    if "enum" not in schema:
        return value
    near = get_close_matches(value.lower(), schema["enum"], 1, 0.3)
    return near[0] if near else schema.get("default", example if example in schema["enum"] else schema["enum"][0])


def _array(name: str, value: Any, schema: Mapping[str, Any], problems: list[str], example: Any) -> Any:
    if not isinstance(value, list):
        before = len(problems)
        items = assigned(value) if isinstance(value, str) and schema["items"].get("type") == "string" else [value]
        kept = [_value(name, item, schema["items"], problems, _first(example)) for item in items]
        del problems[before:]
        kept = [item for item in kept if item is not _MISSING]
        if len(kept) < schema.get("minItems", 0) and isinstance(example, list):
            kept = example
        problems.append(f"{name}: {_shown(value)} is not a list; write {_shown(kept)}.")
        return kept
    if not schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", 64):
        problems.append(
            f"{name}: {len(value)} items; expected {schema.get('minItems', 0)} to {schema.get('maxItems', 64)}."
        )
        value = value[: schema.get("maxItems", 64)] or ([] if example is _MISSING else list(example))
    kept = [_value(f"{name}[{i}]", item, schema["items"], problems, _first(example)) for i, item in enumerate(value)]
    kept = [item for item in kept if item is not _MISSING]
    return kept if kept or not value or not isinstance(example, list) else list(example)


def _first(example: Any) -> Any:
    return example[0] if isinstance(example, list) and example else _MISSING


def _number(name: str, value: Any, schema: Mapping[str, Any], problems: list[str], example: Any) -> Any:
    whole = schema["type"] == "integer"
    wanted = "a whole number" if whole else "a number"
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        problems.append(f"{name}: {_shown(value)} is not {wanted}{_range(schema)}.")
        parsed = read_measure(name, value) if isinstance(value, str) else None
        if parsed is None:
            return _fallback(schema, example)
        return _number(name, parsed, schema, [], example)
    if isinstance(value, float) and not math.isfinite(value):
        problems.append(f"{name}: {value} is not finite; expected {wanted}{_range(schema)}.")
        return _fallback(schema, example)
    if _outside(value, schema):
        scaled = None if whole else _rescaled(value, schema, example)
        hint = "" if scaled is None else f" A slip of units? Perhaps {scaled:g} is meant."
        problems.append(f"{name}: {_shown(value)} is out of range; expected {wanted}{_range(schema)}.{hint}")
        return _bound(value, schema, example) if scaled is None else scaled
    if whole and isinstance(value, float):
        if not value.is_integer():
            problems.append(f"{name}: {value:g} is not a whole number.")
            return max(round(value), schema.get("minimum", 0))
        return int(value)
    return value


def _parsed(value: Any) -> float | int | None:
    if not isinstance(value, str):
        return None
    try:
        number = float(value.strip())
    except ValueError:
        return None
    if not math.isfinite(number):
        return None
    return int(number) if number.is_integer() else number


def _rescaled(value: float | int, schema: Mapping[str, Any], example: Any) -> float | None:
    """Return the value with its point moved as percent and SI prefixes move it, within range and near what is usual."""
    usual = _usual(schema, example)
    if not 0 < value < 1e60 or usual is None or usual <= 0:
        return None
    moved = [float(f"{value * scale:.12g}") for scale in _SCALES]
    fitting = [number for number in moved if not _outside(number, schema)]
    near = min(fitting, key=lambda number: abs(math.log10(number / usual)), default=None)
    return near if near is not None and abs(math.log10(near / usual)) <= 3 else None


def _outside(value: float | int, schema: Mapping[str, Any]) -> bool:
    low, high, above = (schema.get(key, edge) for key, edge in _EDGES)
    return bool(value < low or value > high or value <= above or (above == 0 and value < SMALLEST))


def _bound(value: float | int, schema: Mapping[str, Any], example: Any) -> Any:
    """Return the bound that a value exceeds, or it without its sign; where that is no value itself (above 0), what is usual."""
    low, high = schema.get("minimum"), schema.get("maximum")
    if high is not None and value > high:
        return high
    if value < 0 and not _outside(-value, schema):
        return -value
    return low if low is not None and value < low else _fallback(schema, example)


def _fallback(schema: Mapping[str, Any], example: Any) -> Any:
    usual = _usual(schema, example)
    return next((n for n in (usual, schema.get("minimum")) if isinstance(n, (int, float))), 1)


def _usual(schema: Mapping[str, Any], example: Any) -> float | int | None:
    """Return the default, the tool's example or the description's "e.g. 7e9", in that order."""
    said = re.search(r"e\.g\. \[?([0-9][0-9.e+]*)", schema.get("description", ""))
    for candidate in (schema.get("default"), example, _parsed(said[1].rstrip(".")) if said else None):
        if isinstance(candidate, (int, float)) and not isinstance(candidate, bool) and not _outside(candidate, schema):
            return candidate
    return None


def _range(schema: Mapping[str, Any]) -> str:
    low, high = schema.get("minimum", schema.get("exclusiveMinimum")), schema.get("maximum")
    if low is None and high is None:
        return ""
    if high is None:
        return f" of at least {low:g}"
    edge = "above " if "exclusiveMinimum" in schema else "from "
    return f" {edge}{low:g} to {high:g}" if low is not None else f" up to {high:g}"


def _shown(value: Any) -> str:
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= 10**18:
        return f"{float(value):g}" if abs(value) < 1e300 else "a number of more than 300 digits"
    if isinstance(value, float):
        return f"{value:g}"
    return _one_line(json.dumps(value, ensure_ascii=False, default=str))


def _one_line(text: str) -> str:
    short = text if len(text) <= 60 else text[:57] + "…"
    return short if short.isprintable() else ascii(short)[1:-1]
