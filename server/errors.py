"""What a wrong call gets back: one paragraph with the corrected call."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from mlwalls.solvers.errors import CallError
from mlwalls.solvers.measures import read_measure

# Arguments that are lists of "name=value".
ASSIGNED = ("scenario", "over", "set")
LISTED = 8


def error_text(
    tool: str, problems: list[str], given: Mapping[str, Any], offered: Mapping[str, Any], example: Mapping[str, Any]
) -> str:
    """Return the one paragraph that a model needs to make the call right.

    What the offered call has otherwise than the call given, and the problems do not speak of, is said: numbers and names of the
    tool's example as such, and what is left out.
    """
    said = " ".join(problem if problem.endswith((".", "?", "!")) else f"{problem}." for problem in problems)
    call = json.dumps(offered, ensure_ascii=False, allow_nan=False)
    return f"{tool}: {said}{_unsaid(said, given, offered, example)} Call again with: {tool} {call}"


def _unsaid(said: str, given: Mapping[str, Any], offered: Mapping[str, Any], example: Mapping[str, Any]) -> str:
    examples: list[str] = []
    changed: list[str] = []
    before, after = _lines(given), _lines(offered)
    gone = {name: value for name, value in before.items() if name not in after and value not in (None, "", [])}
    new = {name: value for name, value in after.items() if name not in before}
    taken = [(old, name) for name, value in new.items() for old in gone if _same(value, gone[old])]
    for name, value in after.items():
        if name in new:
            if not any(name == other for _, other in taken) and not (
                _spoken(name, said) and _spoken(_short(value), said)
            ):
                examples.append(f"{name}={_short(value)}")
        elif (
            before[name] != value
            and _is_example(value, example.get(name))
            and not _told(name, before[name], value, said)
        ):
            examples.append(f"{name}={_short(value)}")
        elif before[name] != value and not _spoken(name, said):
            changed.append(f"{name}={_short(value)}")
    changed += [f"{name} for {old}" for old, name in taken if not (_spoken(name, said) and _spoken(old, said))]
    left_out = [name for name in gone if not any(name == old for old, _ in taken) and not _spoken(name, said)]
    notes = [
        f"{words}: {', '.join(_one_line(name) for name in names[:LISTED])}{' …' if len(names) > LISTED else ''}"
        for words, names in (
            ("only an example, put in your own", examples),
            ("changed with it", changed),
            ("left out", left_out),
        )
        if names
    ]
    return f" In the call below, {'; '.join(notes)}." if notes else ""


def _lines(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return arguments by name, the lines of lists of assignments by their own."""
    found: dict[str, Any] = {}
    for name, value in arguments.items():
        if name in ASSIGNED and isinstance(value, list):
            for line in value:
                key, equals, rest = str(line).partition("=")
                found[f"{name} {key}" if equals else f"{name} {line}"] = rest
        else:
            found[str(name)] = value
    return found


def _same(value: Any, other: Any) -> bool:
    return not isinstance(value, (bool, list, dict)) and str(value) == str(other)


def _is_example(value: Any, example: Any) -> bool:
    if isinstance(value, list):
        return bool(value) and isinstance(example, list) and all(item in example for item in value)
    return value == example and not isinstance(value, bool)


def _told(name: str, given: Any, value: Any, said: str) -> bool:
    """Whether a value is what was given, read in the argument's unit or without its sign, or one of the nearest named."""
    read = None if isinstance(given, bool) else read_measure(name, str(given))
    if read is not None and isinstance(value, (int, float)) and value in (read, -read):
        return True
    nearest = said.partition("earest valid: ")[2]
    return any(str(item) in nearest for item in (value if isinstance(value, list) else [value]))


def _spoken(name: str, said: str) -> bool:
    """Whether the problems name an argument, the name of a line, or a value."""
    return re.search(rf"(?<![\w.]){re.escape(name.rpartition(' ')[2])}(?!\w)", said) is not None


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 40 else text[:39] + "…"


def _one_line(text: str) -> str:
    return text if text.isprintable() else ascii(text)[1:-1]


def said(error: CallError) -> str:
    """Return what a solver's error says of an argument, with the nearest valid values."""
    nearest = f" Nearest valid: {', '.join(error.choices)}." if error.choices else ""
    return f"{error.argument}: {error.problem}{nearest}"


def repaired(arguments: Mapping[str, Any], error: CallError, example: Mapping[str, Any]) -> dict[str, Any]:
    """Return the corrected arguments; where the error knows no repair, the tool's example lends a value."""
    corrected = {k: v for k, v in {**arguments, **error.repair}.items() if v not in ("", None)}
    if corrected == arguments:
        usual = {error.argument: example[error.argument]} if error.argument in example else {}
        corrected = {k: v for k, v in arguments.items() if k != error.argument} | usual
    return dict(example) if corrected == arguments else corrected
