"""An answer for people at a terminal."""

from __future__ import annotations

import json
import shlex
import textwrap
from typing import Any

from mlwalls.solvers.walls import WALLS

WIDTH = 100


def answer_text(tool: str, arguments: dict[str, Any], answer: dict[str, Any], fallback: str) -> str:
    """Return the verdict, the wall, the work, the sources with links, and the calls that repeat it."""
    if "verdict" not in answer:
        return fallback
    wall = answer["binding_wall"]
    largest = "largest loss " if tool == "fleet_efficiency" else ""
    whole = "delivered time" if largest else "total" if WALLS[wall["slug"]].domain == "operations" else "expected time"
    share = f", {largest}{100 * wall['share']:.0f} % of the {whole}" if "share" in wall else ""
    lines = [textwrap.fill(answer["verdict"], WIDTH), ""]
    lines.append(f"Binding wall: {wall['name']} (wall {wall['number']} of 22{share})")
    if "work" in answer:
        lines += [
            "",
            "Work",
            *(textwrap.fill(w, WIDTH, initial_indent="  ", subsequent_indent="      ") for w in answer["work"]),
        ]
    lines += ["", "Sources", *(f"  {source}" for source in answer["sources"])]
    if answer["warnings"]:
        lines += ["", "Warnings", *(f"  {warning}" for warning in answer["warnings"])]
    repeat = " ".join(shlex.quote(item) for item in answer["scenario"])
    lines += ["", "Repeat", f"  mlwalls call {tool} {repeat}", f"  {tool} {json.dumps(arguments)}"]
    return "\n".join(lines)
