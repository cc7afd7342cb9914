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


def call_error_text(tool: str, arguments: Mapping[str, Any], error: CallError) -> str:
    """Return the same for an error that a solver raised."""
    nearest = f" Nearest valid: {', '.join(error.choices)}." if error.choices else ""
    repaired = {k: v for k, v in {**arguments, **error.repair}.items() if v not in ("", None)}
    return error_text(tool, [f"{error.argument}: {error.problem}{nearest}"], repaired)
