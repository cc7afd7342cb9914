"""Tutorials and paths as Markdown pages, every figure of them computed when the page is made."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from mlwalls import prompts
from mlwalls.prompts import Call, LearningPath, Tutorial
from mlwalls.server.teaching.figures import Figures, shown
from mlwalls.solvers.walls import WALLS
from mlwalls.zoo import Zoo


def tutorial_page(tutorial: Tutorial, zoo: Zoo, own: Mapping[str, str] | None = None) -> str:
    """Return one tutorial: predict, compute, reflect, claims, exercises with answers, takeaway, sources.

    Raises:
        FigureError: a call is refused (with `own` names that do not suit the tutorial).
    """
    figures = Figures(tutorial, zoo, own)
    data = tutorial.data
    walls = ", ".join(f"{WALLS[slug].name} ({WALLS[slug].number})" for slug in data["walls"])
    before = ", ".join(f"tutorial {number}" for number in data["prerequisites"]) or "nothing"
    parts = [
        f"# Tutorial {tutorial.number}: {tutorial.title}",
        f"**{tutorial.question}**",
        f"Level: {data['level']}. About {data['minutes']} minutes. Before it: {before}. Walls: {walls}.",
        "## Predict",
        "\n".join(f"- {p['ask']}" for p in data["predictions"]),
        "## Compute",
        *(_computed(number, *pair, figures) for number, pair in enumerate(figures.scenario_answers(), 1)),
    ]
    if "tables" in data:
        parts += [_table(table, figures) for table in data["tables"]]
    parts += ["## Reflect", "\n".join(_reflection(p, figures) for p in data["predictions"])]
    parts += ["## What is often said", *(_claim(claim, figures) for claim in data["claims"])]
    parts += ["## Exercises", *(_exercise(number, e, figures) for number, e in enumerate(data["exercises"], 1))]
    parts += ["## Takeaway", figures.fill(data["takeaway"]), f"Fallacy to watch for: {figures.fill(data['fallacy'])}"]
    sources = [zoo.source(source) for source in data["sources"]]
    parts += ["## Sources", "\n".join(f"- `{s.id}`: {s.title}, {s.year}, <{s.url}>" for s in sources)]
    return "\n\n".join(parts) + "\n"


def command(call: Call) -> str:
    """Return the call as typed in a shell."""
    return shlex.join(["mlwalls", "call", call.tool, *(f"{k}={_typed(v)}" for k, v in call.arguments.items())])


def _typed(value: Any) -> str:
    if isinstance(value, list):
        return "[" + ",".join(_bracketed(_typed(item)) for item in value) + "]"
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _bracketed(text: str) -> str:
    """Return ``name=1,8`` as ``name=[1,8]``, which is one item of a list."""
    name, equals, values = text.partition("=")
    return f"{name}=[{values}]" if equals and "," in values and "[" not in values else text


def _computed(number: int, call: Call, answer: dict[str, Any], figures: Figures) -> str:
    wall = answer.get("binding_wall")
    binds = ""
    if wall:
        share = f", {100 * wall['share']:.0f} %" if "share" in wall else ""
        binds = f" Binding wall: {wall['name']} ({wall['number']}{share})."
    verdict = answer.get("verdict") or "\n> ".join(answer.get("rows", ()))
    return f"{number}. {sentence(figures.fill(call.why))}.\n\n```\n{command(call)}\n```\n\n> {verdict}{binds}"


def sentence(text: str) -> str:
    """Return the text with a capital first letter, the rest as it is."""
    return text[:1].upper() + text[1:]


def _table(table: Mapping[str, Any], figures: Figures) -> str:
    """Return a table: of columns (lists of answers side by side), or of rows (a label, then one expression a cell)."""
    if "columns" in table:
        head = list(table["columns"])
        columns = [figures.value(expression) for expression in table["columns"].values()]
        rows = [[shown(cell) for cell in row] for row in zip(*columns, strict=True)]
    else:
        head = table["head"]
        rows = [[label, *(shown(figures.value(cell)) for cell in cells)] for label, *cells in table["rows"]]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join([f"{table['title']}:", "", *lines, *("| " + " | ".join(row) + " |" for row in rows)])


def _reflection(prediction: Mapping[str, Any], figures: Figures) -> str:
    value = figures.value(prediction["figure"])
    unit = f" {prediction['unit']}" if prediction.get("unit") else ""
    lines = [f"- {prediction['ask']} **{shown(value)}{unit}.**"]
    for guess in prediction["guesses"]:
        said = guess.get("choice") or f"{shown(figures.value(guess['figure']))}{unit}"
        lines.append(f"  - {said} would be right {figures.fill(guess['assumption'])}.")
    return "\n".join(lines)


def _claim(claim: Mapping[str, Any], figures: Figures) -> str:
    tutorial = figures.tutorial
    lines = [f"- “{claim['text']}” **{claim['verdict'].capitalize()}**: {figures.fill(claim['because'])}."]
    if "inputs" in claim:
        lines.append(f"  - With these inputs: {'; '.join(figures.fill(text) for text in claim['inputs'])}.")
    lines.append(f"  - `{claim['figure']}` = {shown(figures.value(claim['figure']), 4)}")
    for name in tutorial.behind(" ".join([claim["figure"], claim["because"], claim.get("own", "")])):
        if name not in tutorial.data["scenario"]:
            lines.append(f"  - `{name}`: `{command(tutorial.call(name))}`")
    return "\n".join(lines)


def _exercise(number: int, exercise: Mapping[str, Any], figures: Figures) -> str:
    call = figures.tutorial.call(exercise["call"])
    answer = figures.value(f"{call.name}.{exercise['answer']}")
    unit = f" {exercise['unit']}" if exercise.get("unit") else ""
    return (
        f"{number}. {exercise['prompt']}\n\n<details><summary>Answer</summary>\n\n**{shown(answer)}{unit}** "
        f"(`{exercise['answer']}` of `{command(call)}`). Often answered {figures.fill(exercise['wrong'])}: "
        f"{figures.fill(exercise['why'])}.\n\n</details>"
    )


def path_page(path: LearningPath) -> str:
    """Return one learning path as a section of Markdown."""
    known = {t.number: t for t in prompts.load()}
    total = path.minutes(known)
    said = path.data.get("said_minutes")
    times = f"{total} minutes" + (
        f" by the pages' own times; often announced as {said}" if said not in (None, total) else ""
    )
    lines = [f"## Path {path.name.replace('_plus', '+').upper()}: {path.title}", path.description, f"Time: {times}."]
    return "\n\n".join([*lines, "\n".join(f"- {line}" for line in path.lines(known))])


def paths_page() -> str:
    """Return all learning paths."""
    head = "# Learning paths\n\nEach is also a prompt of the server (`path_a` … `path_d_plus`) and `mlwalls path NAME`."
    return "\n\n".join([head, *(path_page(path) for path in prompts.paths())]) + "\n"
