"""A page a tool: question, arguments, result, equations with sources, assumptions, a worked example."""

from __future__ import annotations

import inspect
import json
import sys
from typing import Any

from mlwalls.prompts import Call
from mlwalls.server.documentation.equations import equations_of, first_line, formula
from mlwalls.server.finding import FIND_IN_ZOO
from mlwalls.server.teaching.pages import command
from mlwalls.server.tools import call, zoo_tool
from mlwalls.solvers.answers import answer_data
from mlwalls.solvers.schemas import client_schema
from mlwalls.solvers.solver import Solver
from mlwalls.solvers.walls import WALLS
from mlwalls.zoo import Zoo


def tool_page(solver: Solver, zoo: Zoo) -> str:
    """Return the page of one tool; its example is run."""
    request = solver.request.model_validate(dict(solver.example))
    answer = solver.run(request, zoo)
    data = answer_data(answer, zoo)
    walls = ", ".join(f"[{WALLS[w].name}](../walls/{w}.md)" for w in solver.walls)
    about = inspect.getdoc(sys.modules[f"mlwalls.solvers.{solver.name}"]) or ""
    example = Call("example", solver.name, solver.example)
    parts = [
        f"# {solver.name}",
        f"**{solver.question}**",
        solver.guidance,
        f"Walls: {walls}.",
        "## What it computes",
        about,
        "## Arguments",
        _arguments(client_schema(solver.request)),
        "## Result",
        _result(client_schema(solver.result)),
        "## Equations",
        "Every number of an answer is a step through one of these; the answer's `work` shows which, with its numbers.",
        _equations(solver, answer, zoo),
        "## Worked example",
        f"```\n{command(example)}\n```",
        f"> {data['verdict']}",
        "Its work, which `mlwalls verify` recomputes:",
        "```\n" + "\n".join(data["work"]) + "\n```",
        "Sources: " + "; ".join(data["sources"]) + ".",
    ]
    if data["warnings"]:
        parts.append("Warnings: " + "; ".join(data["warnings"]) + ".")
    return "\n\n".join(parts) + "\n"


def zoo_page(zoo: Zoo) -> str:
    """Return the page of find_in_zoo."""
    example = Call("example", "find_in_zoo", FIND_IN_ZOO.example)
    result = call(zoo_tool(zoo), FIND_IN_ZOO.example)
    rows = "\n".join((result.structured_content or {}).get("rows", ()))
    return (
        f"# find_in_zoo\n\n{FIND_IN_ZOO.description}\n\n## Arguments\n\n{_arguments(client_schema(FIND_IN_ZOO.request))}\n\n"
        f"## Result\n\n{_result(client_schema(FIND_IN_ZOO.result))}\n\n## Worked example\n\n```\n{command(example)}\n```\n\n"
        f"```\n{rows}\n```\n"
    )


def _arguments(schema: dict[str, Any]) -> str:
    lines = ["| argument | type | default | meaning |", "|---|---|---|---|"]
    for name, field in schema["properties"].items():
        default = "required" if name in schema["required"] else _cell(field.get("default", ""))
        lines.append(f"| `{name}` | {_kind(field)} | {default} | {_text(field.get('description', ''))} |")
    return "\n".join(lines)


def _kind(field: dict[str, Any]) -> str:
    if field.get("type") == "array":
        return f"list of {_kind(field['items'])}"
    if "enum" in field:
        return ", ".join(f"`{choice}`" for choice in field["enum"])
    low, high = field.get("minimum", field.get("exclusiveMinimum")), field.get("maximum")
    kind: str = {"string": "text", "boolean": "true or false"}.get(field["type"], field["type"])
    if low is None and high is None:
        return kind
    above = "above " if "exclusiveMinimum" in field else ""
    return f"{kind}, {above}{'' if low is None else f'{low:g}'} to {'any' if high is None else f'{high:g}'}"


def _cell(value: Any) -> str:
    return "" if value in ("", None, []) else f"`{json.dumps(value, ensure_ascii=False)}`".replace('"', "")


def _result(schema: dict[str, Any]) -> str:
    lines = ["| field | meaning |", "|---|---|"]
    lines += [f"| `{name}` | {_text(f.get('description', ''))} |" for name, f in schema["properties"].items()]
    return "\n".join([*lines, "", "Units stand in the names; [the grammar](../grammar.md) lists them."])


def _equations(solver: Solver, answer: Any, zoo: Zoo) -> str:
    lines = ["| equation | unit | what it says | source |", "|---|---|---|---|"]
    for equation in equations_of(solver.name, answer):
        cited = ", ".join(f"[{c}]({zoo.source(c).url})" for c in equation.cite)
        meaning = _text(first_line(equation.function.__doc__))
        lines.append(f"| `{_bar(formula(equation))}` | {equation.unit or '1'} | {meaning} | {cited} |")
    return "\n".join(lines)


def _text(text: str) -> str:
    return _bar(" ".join(text.split()))


def _bar(text: str) -> str:
    return text.replace("|", "\\|")
