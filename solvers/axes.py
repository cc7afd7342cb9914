"""What a sweep goes over: ``name=1,2,4``, ``name=LOW..HIGH:COUNT``, ``hardware=zoo where memory_capacity_gb>=80``."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Any

from mlwalls.solvers.assignments import split_list
from mlwalls.solvers.errors import CallError
from mlwalls.solvers.inner import Inner, schema_of
from mlwalls.zoo import UnknownName, Zoo, ZooError

MAX_AXES = 3
MAX_VALUES = 1_000_000
_RANGE = re.compile(r"([-+0-9.eE]+?)\.\.([-+0-9.eE]+?)(?::(log)?([0-9]+))?")
_KINDS = {
    **dict.fromkeys(("hardware", "baseline_hardware", "compare_with"), "hardware"),
    **dict.fromkeys(("model", "models", "draft_model", "guard"), "models"),
    **dict.fromkeys(("region", "regions"), "grids"),
}
EXAMPLE = "batch_sizes=1,8,64"


@dataclass(frozen=True, slots=True)
class Axis:
    """One thing that is varied: an argument of the tool (`listed` when it takes a list), or a number of its work."""

    name: str
    values: tuple[Any, ...]
    symbol: bool
    listed: bool
    numeric: bool

    def argument(self, value: Any) -> Any:
        """Return a value as the tool's argument."""
        return [value] if self.listed else value

    def part(self, values: Sequence[Any]) -> Axis:
        """Return the same axis over some of its values."""
        return replace(self, values=tuple(values))


def read_axes(over: Sequence[str], inner: Inner) -> list[Axis]:
    """Read what to vary.

    Raises:
        CallError: not NAME=VALUES, a name that is neither an argument nor a number of the work, or no value.
    """
    if not 1 <= len(over) <= MAX_AXES:
        raise CallError(
            "over", f"{len(over)} given; one to {MAX_AXES} are swept at once.", repair={"over": list(over[:MAX_AXES])}
        )
    axes = [_axis(text, inner, over) for text in over]
    if len({axis.name for axis in axes}) < len(axes):
        raise CallError("over", "one name is given twice.", repair={"over": list(over[:1])})
    return axes


def _axis(text: str, inner: Inner, over: Sequence[str]) -> Axis:
    name, equals, values = (part.strip() for part in text.partition("="))
    properties = schema_of(inner.solver)
    numbers = inner.problem.numbers
    if not equals or not values:
        raise CallError("over", f"{text!r} is not NAME=VALUES.", repair={"over": _fixed(over, text, _example(inner))})
    if name not in properties and name not in numbers:
        near = get_close_matches(name, [*properties, *numbers], 3, 0.4)
        better = [_fixed(over, text, f"{n}={values}") for n in near] or [[_example(inner)]]
        what = f"{name!r} is neither an argument of {inner.solver.name} nor a number of its work."
        raise CallError("over", what, choices=near, repair={"over": better[0]})
    if name in properties:
        schema = properties[name]
        listed = schema.get("type") == "array"
        kind = (schema["items"] if listed else schema).get("type")
    else:
        listed, kind = False, "number"
    if kind in ("number", "integer"):
        read: list[Any] = _numbers(values, kind == "integer", text, over)
    elif values.split()[0] == "zoo":
        read = _selected(name, values, inner.zoo, over, text)
    else:
        inside = values[1:-1] if values.startswith("[") and values.endswith("]") else values
        read = [v.strip().strip("\"'") for v in split_list(inside) if v.strip()]
        if kind == "boolean":
            read = [v.lower() in ("true", "yes") for v in read]
    if not read:
        raise CallError("over", f"{text!r} selects nothing.", repair={"over": _fixed(over, text, _example(inner))})
    return Axis(name, tuple(dict.fromkeys(read)), name not in properties, listed, kind in ("number", "integer"))


def _example(inner: Inner) -> str:
    for name, schema in schema_of(inner.solver).items():
        kind = (schema["items"] if schema.get("type") == "array" else schema).get("type")
        value = inner.solver.example.get(name)
        value = value[0] if isinstance(value, list) and value else value
        if kind in ("number", "integer") and isinstance(value, (int, float)):
            return f"{name}={value},{2 * value}"
    return EXAMPLE


def _fixed(over: Sequence[str], wrong: str, right: str) -> list[str]:
    return [right if text == wrong else text for text in over]


def _numbers(values: str, whole: bool, text: str, over: Sequence[str]) -> list[Any]:
    def bad(why: str) -> CallError:
        right = f"{text.partition('=')[0]}=1,2,4"
        return CallError(
            "over",
            f"{text!r}: {why}; write 1,2,4 or 1..64:7 or 1..64:log7.",
            repair={"over": _fixed(over, text, right)},
        )

    if match := _RANGE.fullmatch(values):
        low, high = _number(match[1]), _number(match[2])
        if low is None or high is None or not low <= high:
            raise bad("not a range")
        count = int(match[4]) if match[4] else (int(high - low) + 1 if whole else 9)
        if not 1 <= count <= MAX_VALUES:
            raise bad(f"more than {MAX_VALUES:,} values")
        if match[3] and low <= 0:
            raise bad("a logarithmic range starts above 0")
        steps = [i / (count - 1) if count > 1 else 0.0 for i in range(count)]
        if match[3] or (not match[4] and not whole and low > 0):
            read = [low * (high / low) ** t for t in steps]
        else:
            read = [low + (high - low) * t for t in steps]
        read[-1] = high if count > 1 else low
    else:
        inside = values[1:-1] if values.startswith("[") and values.endswith("]") else values
        parsed = [_number(part) for part in inside.split(",") if part.strip()]
        if any(x is None for x in parsed):
            raise bad("not numbers")
        read = [x for x in parsed if x is not None]
    if whole:
        return [round(x) for x in read]
    return read


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _selected(name: str, values: str, zoo: Zoo, over: Sequence[str], text: str) -> list[Any]:
    """Return the ids of a zoo selection: ``zoo``, ``zoo nvidia``, ``zoo where power_tdp_w<=700 and memory_capacity_gb>=80``."""
    kind = _KINDS.get(name, name)
    if kind not in zoo.kinds:
        text = f"{name} takes no entries of the zoo: list its values."
        raise CallError(
            "over", text, repair={"over": [kept for kept in over if not kept.startswith(f"{name}=")] or [EXAMPLE]}
        )
    query, _, filters = values[3:].partition("where")
    where = [part.strip() for part in re.split(r"\band\b|,", filters) if part.strip()]
    try:
        found = zoo.search(query.strip(), kind, where, limit=10_000)
    except UnknownName as error:
        near = error.nearest[0] if error.nearest else ""
        right = _fixed(over, text, text.replace(error.given, near, 1)) if near else []
        what = f"{error.given!r} is no number of the zoo's {kind}."
        raise CallError("over", what, choices=error.nearest, repair={"over": right} if right else {}) from error
    except ZooError as error:
        raise CallError("over", str(error), repair={"over": _fixed(over, text, f"{name}=zoo")}) from error
    return [row["id"] for row in found.rows]


def blocks(axes: Sequence[Axis], size: int) -> list[list[Axis]]:
    """Cut a product of axes into parts of at most `size` points (one value of each axis at least), in the product's order."""
    inner = math.prod(len(axis.values) for axis in axes[1:])
    head = axes[0]
    if inner > size and len(axes) > 1:
        return [[head.part([value]), *rest] for value in head.values for rest in blocks(axes[1:], size)]
    step = max(1, size // max(inner, 1))
    return [[head.part(head.values[at : at + step]), *axes[1:]] for at in range(0, len(head.values), step)]
