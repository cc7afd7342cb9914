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


def call_error_text(tool: str, arguments: Mapping[str, Any], error: CallError, example: Mapping[str, Any]) -> str:
    """Return the same for an error that a solver raised; where it knows no repair, the tool's example lends a value."""
    nearest = f" Nearest valid: {', '.join(error.choices)}." if error.choices else ""
    repaired = {k: v for k, v in {**arguments, **error.repair}.items() if v not in ("", None)}
    if repaired == arguments:
        usual = {error.argument: example[error.argument]} if error.argument in example else {}
        repaired = {k: v for k, v in arguments.items() if k != error.argument} | usual
    if repaired == arguments:
        repaired = dict(example)
    return error_text(tool, [f"{error.argument}: {error.problem}{nearest}"], repaired)
