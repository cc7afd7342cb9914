"""What a client sees of each tool built in, as written down beside this module; the tests hold it to what the solvers say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

DEFINITIONS = Path(__file__).parent / "definitions"


def written(tool: str) -> dict[str, Any]:
    """Return a tool's definition in the form of the protocol."""
    found: dict[str, Any] = json.loads((DEFINITIONS / f"{tool}.json").read_text(encoding="utf-8"))
    return found
