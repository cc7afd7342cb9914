"""The audit tool's typed result and its wording."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field

from mlwalls.solvers.audit_parts import Row
from mlwalls.solvers.derivation import Derivation, Table, Value
from mlwalls.solvers.solver import Binding, Presentation, Problem, SolverResult
from mlwalls.solvers.walls import WALLS
from mlwalls.solvers.words import count, figure, first, fit_result

TIGHT = 0.9
_UNITS = {"byte": ("GB", 1e9), "J": ("MWh", 3.6e9), "kg": ("t", 1e3)}


class AuditResult(SolverResult):
    """Typed outputs; the `wall_` lists are one entry a wall."""

    BRIEF_LEAVES: ClassVar = frozenset({"budget_flop", "tokens_per_parameter"})

    wall_rows: list[str] = Field(description="Value of bound, status, which of calls.")
    wall_used: list[float] | None = None
    wall_headroom: list[float] | None = None
    tokens: float | None = None
    tokens_per_parameter: float | None = None
    budget_flop: float | None = None
    total_energy_mwh: float | None = None
    total_carbon_t: float | None = None
    cost_usd: float | None = None
    query_cost_usd: float | None = None
    lever_rows: list[str] | None = None
    lever_elasticity: list[float] | None = None
    calls: list[str] | None = None


class Audited(dict[str, Value]):
    """The outcome, with its tables."""

    def __init__(self) -> None:
        super().__init__()
        self.table: Table
        self.levers: Table | None = None
        self.ends: dict[str, tuple[Value, Value]] = {}


def _row_text(row: Row, out: Audited, calls: list[str]) -> str:
    value, bound = out.ends[row.slug]
    unit, factor = _UNITS.get(value.unit, (value.unit, 1.0))
    shown = f"{figure(value.value / factor)} of {figure(bound.value / factor)} {unit}".rstrip()
    status = _status(row.slug, out.table.rows[row.slug]["used"])
    asked = next((str(at) for at, call in enumerate(calls, 1) if call.startswith(f"{row.tool} ")), row.tool)
    return f"{row.slug}: {shown} ({row.what}), {status} [{asked}]"


def _status(slug: str, used: float) -> str:
    if slug == "scaling_laws":
        return "over-trained" if used > 1.2 else "under-trained" if used < 0.8 else "near the optimum"
    return "past" if used > 1 else "tight" if used >= TIGHT else "slack"


def present(problem: Problem, out: Any, d: Derivation) -> Presentation:
    """Word the answer: what the whole comes to, the wall that binds, those past or near their bound, the levers."""
    assert isinstance(out, Audited)
    request, audit = problem.context
    structure = problem.structure
    rows = {slug: cells["used"] for slug, cells in out.table.rows.items()}
    head = f"{audit.model.name} on {request.n_accelerators:,} x {audit.hardware.name}"
    parts = []
    if structure.training:
        parts.append(
            f"{figure(first(out['budget']))} FLOP in {figure(request.days)} days, {count(first(out['tokens']))} tokens, "
            f"{figure(first(out['tokens_per_parameter']))} a parameter"
        )
    if "query_cost" in out:
        parts.append(f"{figure(1e3 * first(out['query_cost']))} USD a thousand queries")
    if "total_energy" in out:
        parts.append(
            f"{figure(first(out['total_energy']) / 3.6e9)} MWh, {figure(first(out['total_carbon']) / 1e3)} t CO2e"
        )
    if "cost" in out:
        parts.append(f"{figure(first(out['cost']))} USD")
    status = {slug: _status(slug, used) for slug, used in rows.items()}
    past = [slug for slug in rows if status[slug] == "past"]
    tight = [slug for slug in rows if status[slug] == "tight"]
    bound_by = audit.binding or _nearest(rows)
    binding = WALLS[bound_by.slug].name.lower()
    sentence = f"{head}: {'; '.join(parts)}. {len(rows)} walls: {binding} binds"
    sentence += f"; past its bound: {_named(past)}" if past else ""
    sentence += f"; near it: {_named(tight)}" if tight else ""
    if structure.levers and out.levers is not None:
        levers = ", ".join(f"{x} ({out.levers.rows[x]['elasticity']:+.3g})" for x in structure.levers)
        sentence += f". {audit.lever_of} answers most to {levers} % a percent"
    if not audit.feasible:
        sentence = f"{audit.verdict.split('. ')[0].rstrip('.')}. If that were met: {sentence}"
    extra: dict[str, Any] = {
        "wall_rows": [_row_text(row, out, audit.calls) for row in structure.rows],
        "wall_used": [float(f"{used:.6g}") for used in rows.values()],
        "calls": audit.calls,
    }
    if request.detail == "full":
        extra["wall_headroom"] = [float(f"{cells['headroom']:.6g}") for cells in out.table.rows.values()]
    if structure.levers and out.levers is not None:
        extra["lever_rows"] = list(structure.levers)
        extra["lever_elasticity"] = [float(f"{row['elasticity']:.6g}") for row in out.levers.rows.values()]
    if request.detail == "brief":
        shown = {bound_by.slug, *past, *tight}
        rows_shown = [row for row in extra["wall_rows"] if row.partition(":")[0] in shown]
        extra = {"wall_rows": [row.partition(" (")[0] for row in rows_shown]}
    result = fit_result(AuditResult, out, extra, set())
    bound_by = Binding(bound_by.slug, bound_by.runner_up)
    return Presentation(f"{sentence}.", audit.feasible, bound_by, result, audit.notes)


def _nearest(rows: dict[str, float]) -> Binding:
    """Return the wall of the node that is nearest to its bound, or farthest past it."""
    node = sorted((slug for slug in rows if WALLS[slug].domain == "node"), key=lambda slug: -rows[slug])
    return Binding(node[0], WALLS[node[1]].name if len(node) > 1 else "")


def _named(slugs: list[str]) -> str:
    return ", ".join(WALLS[slug].name.lower() for slug in slugs)
