"""An answer as plain data: the fields that every tool returns, standing alone and re-derivable."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mlwalls.solvers.assignments import write_assignments
from mlwalls.solvers.derivation import Applied, Row, Step
from mlwalls.solvers.rendering import rendered, rounded
from mlwalls.solvers.solver import Answer
from mlwalls.solvers.walls import WALLS
from mlwalls.zoo import Source, Zoo

# From so many on, sources are listed by address alone unless all detail is asked for.
MANY_SOURCES = 7
# From so many steps on, ranges of calibrated constants are left to the answer in all detail.
MANY_STEPS = 36


def answer_data(answer: Answer, zoo: Zoo, detail: str = "default") -> dict[str, Any]:
    """Return the answer contract: verdict, feasible, binding_wall, result, work, sources, warnings, scenario.

    Args:
        detail: ``brief`` leaves out `work`; ``full`` adds `steps`, the work as typed objects.
    """
    shown, derivation = answer.presentation, answer.derivation
    binding = shown.binding
    wall = WALLS[binding.slug]
    data: dict[str, Any] = {
        "verdict": shown.verdict,
        "feasible": shown.feasible,
        "binding_wall": {"slug": wall.slug, "number": wall.number, "name": wall.name},
        "result": shown.result.model_dump(mode="json", exclude_none=True),
    }
    if binding.share is not None:
        data["binding_wall"]["share"] = float(f"{binding.share:.6g}")
    if binding.runner_up:
        data["binding_wall"]["runner_up"] = binding.runner_up
    text = rendered(derivation, spreads=detail == "full" or len(derivation.steps) <= MANY_STEPS)
    if detail != "brief":
        data["work"] = text.work
    brief = detail == "brief" or (detail == "default" and len(text.citations) > MANY_SOURCES)
    own = answer.solver.sources
    data["sources"] = [_source(zoo, source, checked, brief, own) for source, checked in text.citations]
    warnings = [*answer.problem.warnings, *shown.warnings]
    if doubtful := text.unverified:
        names = ", ".join(f"{v.origin.entry} {v.name}" for v in doubtful[:6])
        more = f" and {len(doubtful) - 6} more" if len(doubtful) > 6 else ""
        warnings.append(f"unverified: {names}{more} not checked against the source named")
    data["warnings"] = warnings
    data["scenario"] = write_assignments(answer.problem.scenario)
    if detail == "full":
        data["steps"] = [_typed(step) for step in derivation.steps if isinstance(step, Step)]
    return data


def _source(zoo: Zoo, source: str, checked: bool, brief: bool, own: Mapping[str, Mapping[str, Any]]) -> str:
    """Return one line of the bibliography; a solver's own works stand in for what the zoo's does not have."""
    entry = Source(source, **own[source]) if source in own and source not in zoo.sources else zoo.source(source)
    parts = (entry.url,) if brief else (entry.title, entry.year, entry.url)
    return f"{source}{'' if checked else '?'}: {', '.join(str(p) for p in parts if p)}"


def _typed(step: Step | Row) -> dict[str, Any]:
    assert isinstance(step, Step)
    typed: dict[str, Any] = {"kind": step.kind, "name": step.name}
    if step.value is not None:
        typed |= {"value": rounded(step.value.value), "unit": step.value.unit}
    if isinstance(step.applied, Applied):
        typed |= {"expression": step.applied.text(), "equation": step.applied.equation.name}
        if step.applied.equation.wall:
            typed["wall"] = step.applied.equation.wall
    if step.cite:
        typed["sources"] = list(step.cite)
    return typed
