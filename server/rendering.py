"""An answer as compact Markdown: the same facts as the structured one, for clients that show only text."""

from __future__ import annotations

from typing import Any


def markdown(tool: str, answer: dict[str, Any]) -> str:
    """Return verdict, wall, work, sources, warnings and the call to repeat, in that order."""
    wall = answer["binding_wall"]
    share = f", {100 * wall['share']:.0f} %" if "share" in wall else ""
    runner = f"; next: {wall['runner_up']}" if "runner_up" in wall else ""
    lines = [answer["verdict"], "", f"Binding wall: {wall['number']} {wall['name']}{share}{runner}"]
    if "work" in answer:
        lines += ["", "```", *_steps(answer), "```"]
    else:
        lines += ["", *(f"- {name}: {_shown(value)}" for name, value in answer["result"].items())]
    lines += ["", "Sources: " + "; ".join(map(_address, answer["sources"]))]
    if answer["warnings"]:
        lines.append("Warnings: " + "; ".join(answer["warnings"]))
    lines.append(f"Call: {tool} {' '.join(answer['scenario'])}")
    return "\n".join(lines)


def _address(source: str) -> str:
    names, _, rest = source.partition(": ")
    return f"{names} {rest.rpartition(', ')[2]}"


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return str(value)


def _steps(answer: dict[str, Any]) -> list[str]:
    """The steps with their figures; inputs and operator rows too where the answer is asked for in full."""
    work: list[str] = answer["work"]
    return work if "steps" in answer else [line for line in work if line.count(" = ") == 2 and ": " not in line]
