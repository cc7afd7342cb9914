"""A page a wall: its relation, its sources, the tools that compute it, and a calculation in which it binds."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from mlwalls import prompts
from mlwalls.prompts import Call
from mlwalls.server.teaching.figures import Figures
from mlwalls.server.teaching.pages import command
from mlwalls.solvers.answers import answer_data
from mlwalls.solvers.registry import solvers
from mlwalls.solvers.walls import WALLS, Wall
from mlwalls.zoo import Zoo


def wall_page(wall: Wall, zoo: Zoo) -> str:
    """Return the page of one wall."""
    works = [zoo.source(id) for id in wall.sources]
    tools = ", ".join(f"[{t}](../tools/{t}.md)" if t in solvers() else t for t in wall.tools)
    lessons = [t for t in prompts.load() if wall.slug in t.data["walls"]]
    parts = [
        f"# Wall {wall.number}: {wall.name}",
        f"Domain: {wall.domain}. Tools: {tools}.",
        f"```\n{wall.relation}\n```",
        "Sources:\n\n" + "\n".join(f"- `{s.id}`: {s.title}, {s.year}, <{s.url}>" for s in works),
    ]
    if wall.package:
        parts.append(f"In the public MLSys·im package: {', '.join(wall.package)}.")
    if lessons:
        listed = "\n".join(f"- [Tutorial {t.number}: {t.title}](../tutorials/{page_name(t)})" for t in lessons)
        parts.append(f"Taught in:\n\n{listed}")
    if wall.slug in binding_examples(zoo):
        call, answer = binding_examples(zoo)[wall.slug]
        share = answer["binding_wall"].get("share")
        parts += ["## Where it binds", f"```\n{command(call)}\n```", f"> {answer['verdict']}"]
        if share is not None:
            parts.append(f"{wall.name} accounts for {100 * share:.0f} % there.")
    return "\n\n".join(parts) + "\n"


def page_name(tutorial: prompts.Tutorial) -> str:
    """Return the file name of a tutorial's page."""
    return f"{tutorial.number:02}.md"


@cache
def binding_examples(zoo: Zoo) -> Mapping[str, tuple[Call, dict[str, Any]]]:
    """Return a call for each wall that binds in one: the tools' examples, then the tutorials' calls."""
    found: dict[str, tuple[Call, dict[str, Any]]] = {}
    for name, solver in solvers().items():
        request = solver.request.model_validate(dict(solver.example))
        answer = answer_data(solver.run(request, zoo), zoo, "brief")
        found.setdefault(answer["binding_wall"]["slug"], (Call("example", name, solver.example), answer))
    for tutorial in prompts.load():
        figures = Figures(tutorial, zoo)
        for call in tutorial.calls():
            answer = figures.answer(call.name)
            if "binding_wall" in answer:
                found.setdefault(answer["binding_wall"]["slug"], (call, answer))
    return found


def walls_index() -> str:
    """Return the table of all walls."""
    lines = ["| # | wall | domain | relation | tools |", "|---|---|---|---|---|"]
    for slug, wall in WALLS.items():
        relation = wall.relation.replace("|", "\\|")
        lines.append(
            f"| {wall.number} | [{wall.name}](walls/{slug}.md) | {wall.domain} | `{relation}` | {', '.join(wall.tools)} |"
        )
    return "\n".join(lines)
