"""Arguments of a call, checked strictly against the tool's own schema; what is wrong is said so that it can be repaired."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

_MISSING = object()


class ArgumentsError(ValueError):
    """A call's arguments are wrong: `problems` in words, and `repaired` arguments that are right where that is known."""

    def __init__(self, problems: list[str], repaired: dict[str, Any]) -> None:
        self.problems, self.repaired = problems, repaired
        super().__init__(" ".join(problems))


def checked(schema: Mapping[str, Any], given: Mapping[str, Any], example: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments as the schema wants them (whole floats as integers, nulls left out).

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
            _unknown(name, value, properties, given, good, problems, example)
            continue
        kept = _value(name, value, properties[name], problems, example.get(name, _MISSING))
        if kept is not _MISSING:
            good[name] = kept
    for name in schema.get("required", ()):
        if name not in good and name not in given:
            problems.append(f"{name}: missing; {properties[name].get('description', 'it is required')}")
            good = {**example, **good} if not good else {**good, name: example.get(name)}
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
    near = get_close_matches(name, [p for p in properties if p not in given], 3, 0.5)
    hint = f"nearest valid: {', '.join(near)}" if near else f"valid: {', '.join(properties)}"
    problems.append(f"{name}: unknown argument; {hint}.")
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
    if len(value) > schema.get("maxLength", 10_000):
        problems.append(f"{name}: longer than {schema.get('maxLength', 10_000)} characters.")
        return example
    return value


def _text(value: str, schema: Mapping[str, Any], example: Any) -> Any:
    if "enum" not in schema:
        return value
    near = get_close_matches(value.lower(), schema["enum"], 1, 0.3)
    return near[0] if near else schema.get("default", example if example in schema["enum"] else schema["enum"][0])


def _array(name: str, value: Any, schema: Mapping[str, Any], problems: list[str], example: Any) -> Any:
    if not isinstance(value, list):
        before = len(problems)
        item = _value(name, value, schema["items"], problems, _first(example))
        del problems[before:]
        problems.append(f"{name}: {_shown(value)} is not a list; write [{_shown(item)}].")
        return [item]
    if not schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", 64):
        problems.append(
            f"{name}: {len(value)} items; expected {schema.get('minItems', 0)} to {schema.get('maxItems', 64)}."
        )
        value = value[: schema.get("maxItems", 64)] or ([] if example is _MISSING else list(example))
    kept = [_value(f"{name}[{i}]", item, schema["items"], problems, _first(example)) for i, item in enumerate(value)]
    return [item for item in kept if item is not _MISSING]


def _first(example: Any) -> Any:
    return example[0] if isinstance(example, list) and example else _MISSING


def _number(name: str, value: Any, schema: Mapping[str, Any], problems: list[str], example: Any) -> Any:
    whole = schema["type"] == "integer"
    wanted = "a whole number" if whole else "a number"
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        problems.append(f"{name}: {_shown(value)} is not {wanted}{_range(schema)}.")
        parsed = _parsed(value)
        if parsed is None:
            return _fallback(schema, example)
        return _number(name, parsed, schema, [], example)
    if isinstance(value, float) and not math.isfinite(value):
        problems.append(f"{name}: {value} is not finite; expected {wanted}{_range(schema)}.")
        return _fallback(schema, example)
    low, high = schema.get("minimum"), schema.get("maximum")
    above = schema.get("exclusiveMinimum")
    if (
        (low is not None and value < low)
        or (high is not None and value > high)
        or (above is not None and value <= above)
    ):
        shown = f"{value:g}" if abs(value) < 1e300 else f"{float(value):g}"
        problems.append(f"{name}: {shown} is out of range; expected {wanted}{_range(schema)}.")
        return _fallback(schema, example)
    if whole and isinstance(value, float):
        if not value.is_integer():
            problems.append(f"{name}: {value:g} is not a whole number.")
            return max(round(value), low or 0)
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


def _fallback(schema: Mapping[str, Any], example: Any) -> Any:
    for candidate in (schema.get("default"), None if example is _MISSING else example, schema.get("minimum")):
        if isinstance(candidate, (int, float)):
            return candidate
    return 1


def _range(schema: Mapping[str, Any]) -> str:
    low, high = schema.get("minimum", schema.get("exclusiveMinimum")), schema.get("maximum")
    if low is None and high is None:
        return ""
    if high is None:
        return f" of at least {low:g}"
    edge = "above " if "exclusiveMinimum" in schema else "from "
    return f" {edge}{low:g} to {high:g}" if low is not None else f" up to {high:g}"


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str) if not isinstance(value, float) else repr(value)
    return text if len(text) <= 60 else text[:57] + "…"
