"""What a wrong call gets back: one paragraph with the corrected call."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from mlwalls.solvers.errors import CallError


def error_text(tool: str, problems: list[str], repaired: Mapping[str, Any]) -> str:
    """Return the one paragraph that a model needs to make the call right."""
    call = json.dumps(repaired, ensure_ascii=False, allow_nan=False)
    return f"{tool}: {' '.join(problems)} Call again with: {tool} {call}"


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
