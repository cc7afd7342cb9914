"""`mlwalls verify --again`: an answer's own scenario asked again, and every field compared with what was kept."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

from mlwalls.server.tools import call, solver_tool
from mlwalls.solvers.assignments import AssignmentError, read_assignments
from mlwalls.solvers.registry import solvers
from mlwalls.zoo import Zoo

MOST = 50
_TAKEN = re.compile(r"'.*' taken as (\S+?),? not .*")
_MISSING = re.compile(r"(\w+) not given: ")
LONGEST = 200


class AgainError(ValueError):
    """An answer cannot be asked again: no such tool, no scenario, or the tool refuses it."""


def compared(tool: str, answer: object, zoo: Zoo) -> list[str]:
    """Ask `tool` with the answer's scenario; returns a line a field that differs, none where all agree.

    The answer's own detail is taken from what it holds: all work, or the short form.

    Raises:
        AgainError: it cannot be asked again.
    """
    if isinstance(answer, Mapping) and isinstance(answer.get("structuredContent"), Mapping):
        answer = answer["structuredContent"]
    known = solvers()
    if tool not in known:
        near = ", ".join(get_close_matches(tool, known, 3, 0.3) or known)
        raise AgainError(f"no tool {tool!r}; nearest: {near}")
    scenario = answer.get("scenario") if isinstance(answer, Mapping) else None
    if (
        not isinstance(answer, Mapping)
        or not isinstance(scenario, list)
        or not all(isinstance(x, str) for x in scenario)
    ):
        raise AgainError("the answer has no scenario to ask again")
    made = solver_tool(known[tool], zoo)
    try:
        arguments = read_assignments(scenario, made.arguments["properties"])
    except AssignmentError as error:
        raise AgainError(str(error)) from error
    kept = dict(answer)
    best: list[str] | None = None
    for detail in ("default", "full", "brief"):
        result = call(made, {**arguments, "detail": detail})
        if result.is_error:
            raise AgainError("; ".join(block.text for block in result.content if block.type == "text"))
        found = _differing(_plain(kept), _plain(json.loads(json.dumps(result.structured_content))), "")
        if not found:
            return []
        if best is None or len(found) < len(best):
            best = found
    return (best or [])[:MOST]


def _plain(answer: Mapping[str, Any]) -> dict[str, Any]:
    """Return an answer without what its scenario settles.

    The scenario holds every name that was taken for the caller: the warnings of what was taken are not compared.
    """
    scenario, warnings = answer.get("scenario"), answer.get("warnings")
    plain = dict(answer)
    lines = sorted(map(str, scenario)) if isinstance(scenario, list) else []
    if isinstance(scenario, list):
        plain["scenario"] = lines
    if isinstance(warnings, list):
        plain["warnings"] = [warning for warning in warnings if not _settled(str(warning), lines)]
    return plain


def _settled(warning: str, scenario: list[str]) -> bool:
    if match := _TAKEN.fullmatch(warning):
        return any(match[1] in line for line in scenario)
    match = _MISSING.match(warning)
    return match is not None and any(line.startswith(f"{match[1]}=") for line in scenario)


def _differing(kept: Any, again: Any, path: str) -> list[str]:
    if isinstance(kept, Mapping) and isinstance(again, Mapping):
        names = [*kept, *(name for name in again if name not in kept)]
        return [
            line
            for name in names
            for line in _differing(kept.get(name), again.get(name), f"{path}.{name}" if path else str(name))
        ]
    if isinstance(kept, list) and isinstance(again, list) and len(kept) == len(again):
        return [
            line for i, pair in enumerate(zip(kept, again, strict=True)) for line in _differing(*pair, f"{path}[{i}]")
        ]
    if kept == again and isinstance(kept, bool) == isinstance(again, bool):
        return []
    return [f"differs: {path}: {_shown(kept)}, asked again {_shown(again)}"]


def _shown(value: Any) -> str:
    if value is None:
        return "nothing"
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"
