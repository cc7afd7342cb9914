"""An answer as plain data: the fields that every tool returns, standing alone and re-derivable."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any

from mlwalls.solvers.assignments import write_assignments
from mlwalls.solvers.compacting import names_of
from mlwalls.solvers.derivation import Applied, Row, Step
from mlwalls.solvers.rendering import rendered, rounded
from mlwalls.solvers.solver import Answer
from mlwalls.solvers.walls import WALLS
from mlwalls.zoo import Source, Zoo

# Identifiers as papers print them; both resolve at their registries.
_SHORT = re.compile(r"^https://(arxiv\.org/abs|doi\.org)/")
# From so many on, sources are listed by address alone unless all detail is asked for.
MANY_SOURCES = 7
# An answer of more bytes gives the works that only formulas rest on by id.
LARGE = 6000
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
    kind = answer.solver.result
    left = set(kind.FULL_ALONE) if detail != "full" and shown.feasible else set()
    left |= kind.BRIEF_LEAVES if detail == "brief" else set()
    data: dict[str, Any] = {
        "verdict": shown.verdict,
        "feasible": shown.feasible,
        "binding_wall": {"slug": wall.slug, "number": wall.number, "name": wall.name},
        "result": shown.result.model_dump(mode="json", exclude_none=True, exclude=left),
    }
    if binding.share is not None:
        data["binding_wall"]["share"] = float(f"{binding.share:.6g}")
    if binding.runner_up:
        data["binding_wall"]["runner_up"] = binding.runner_up
    kept = None if detail == "full" else names_of(data["result"])
    text = rendered(derivation, detail == "full" or len(derivation.steps) <= MANY_STEPS, kept, shown.unsaid)
    if detail != "brief":
        data["work"] = text.work
    own = answer.solver.sources
    cited = [(f"{id}{'' if checked else '?'}", _entry(zoo, id, own)) for id, checked in text.citations]
    many = detail != "full" and len(cited) > MANY_SOURCES
    data["sources"] = (
        _addresses(cited) if detail == "brief" or many else [_titled(name, entry) for name, entry in cited]
    )
    warnings = [*answer.problem.warnings, *shown.warnings]
    if doubtful := text.unverified:
        names = ", ".join(f"{v.origin.entry} {v.name}" for v in doubtful[:6])
        more = f" and {len(doubtful) - 6} more" if len(doubtful) > 6 else ""
        warnings.append(f"unverified: {names}{more} not checked against the source named")
    data["warnings"] = warnings
    data["scenario"] = write_assignments(answer.problem.scenario)
    if detail == "full":
        data["steps"] = [_typed(step) for step in derivation.steps if isinstance(step, Step)]
    if many and (detail == "brief" or size(data) > LARGE):
        data["sources"] = _brief(cited, text.of_numbers)
    return data


def size(data: Any) -> int:
    """Return about how many bytes plain data takes as compact JSON: quotes, commas and colons counted, escapes not."""
    if isinstance(data, Mapping):
        return 2 + sum(len(key) + 4 + size(value) for key, value in data.items())
    if isinstance(data, list):
        return 2 + sum(1 + size(value) for value in data)
    return len(data.encode()) + 2 if isinstance(data, str) else len(repr(data))


def _entry(zoo: Zoo, source: str, own: Mapping[str, Mapping[str, Any]]) -> Source:
    """Return a source; a solver's own works stand in for what the zoo's bibliography does not have."""
    return Source(source, **own[source]) if source in own and source not in zoo.sources else zoo.source(source)


def _titled(name: str, entry: Source) -> str:
    return f"{name}: {', '.join(str(p) for p in (entry.title, entry.year, entry.url) if p)}"


def _addresses(cited: list[tuple[str, Source]]) -> list[str]:
    """Return one line an address, with all that is found there before it."""
    found: dict[str, list[str]] = {}
    for name, entry in cited:
        found.setdefault(entry.url or entry.title, []).append(name)
    return [f"{', '.join(names)}: {_SHORT.sub(_scheme, address)}" for address, names in found.items()]


def _brief(cited: list[tuple[str, Source]], of_numbers: Collection[str]) -> list[str]:
    """Return the addresses of what numbers come from, and in one line the works that only formulas rest on."""
    numbers = [(name, entry) for name, entry in cited if entry.id in of_numbers]
    works = [name for name, entry in cited if entry.id not in of_numbers]
    lines = [line.replace(": https://", ": ", 1) for line in _addresses(numbers)]
    return lines + ([f"{', '.join(works)}: zoo://sources/{{id}}"] if works else [])


def _scheme(match: re.Match[str]) -> str:
    return "arXiv:" if match[1] == "arxiv.org/abs" else "doi:"


def _typed(step: Step | Row) -> dict[str, Any]:
    assert isinstance(step, Step)
    typed: dict[str, Any] = {"kind": step.kind, "name": step.name}
    if step.value is not None:
        typed |= {"value": rounded(step.value.value), "unit": step.value.unit}
    if isinstance(step.applied, Applied):
        typed["expression"] = step.applied.text()
        if step.applied.equation.wall:
            typed["wall"] = step.applied.equation.wall
    if step.cite:
        typed["sources"] = list(step.cite)
    return typed
