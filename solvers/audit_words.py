"""The audit tool's typed result and its wording."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field

from mlwalls.solvers.audit_parts import Row
from mlwalls.solvers.derivation import Derivation, Table, Value
from mlwalls.solvers.solver import Binding, Presentation, Problem, SolverResult
from mlwalls.solvers.walls import WALLS
from mlwalls.solvers.words import count, figure, first, fit_result

# From so much on a limit is tight; a step must be so much shorter to be called a saving.
TIGHT, SAVING = 0.9, 0.995
# Walls that a plan can run into; the others' rows say what something takes or how it compares.
LIMITS = frozenset(
    {
        "compute_throughput",
        "memory_capacity",
        "memory_bandwidth",
        "serving_phases",
        "batching",
        "tail_latency",
        "storage_bandwidth",
        "ingestion",
    }
)
_UNITS = {"byte": ("GB", 1e9), "J": ("MWh", 3.6e9), "kg": ("t", 1e3)}


class AuditResult(SolverResult):
    """Typed outputs; the `wall_` lists are one entry a wall."""

    BRIEF_LEAVES: ClassVar = frozenset({"budget_flop", "tokens_per_parameter"})

    wall_rows: list[str] = Field(description="Value of bound, status, call.")
    wall_used: list[float] | None = None
    tokens: float | None = None
    tokens_per_parameter: float | None = None
    budget_flop: float | None = None
    total_energy_mwh: float | None = None
    total_carbon_t: float | None = None
    cost_usd: float | None = None
    query_cost_usd: float | None = None
    replicas: int | None = None
    group: int | None = None
    busy_percent: float | None = None
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
    """Say what to make of a row: a limit is slack, tight or past; a share or a comparison is how much of its bound."""
    if slug == "scaling_laws":
        return "over-trained" if used > 1.2 else "under-trained" if used < 0.8 else "near the optimum"
    if slug == "compression":
        return f"saves {figure(100 * (1 - used))} %" if used < SAVING else "saves nothing"
    if slug not in LIMITS:
        return f"{figure(100 * used)} %" if used < 2 else f"{figure(used)} times"
    return "past" if used > 1 else "tight" if used >= TIGHT else "slack"


def present(problem: Problem, out: Any, d: Derivation) -> Presentation:
    """Word the answer: what the whole comes to, the wall that binds, those past or near their bound, the levers."""
    assert isinstance(out, Audited)
    request, audit = problem.context
    structure = problem.structure
    rows = {slug: cells["used"] for slug, cells in out.table.rows.items()}
    feasible = audit.feasible and (structure.training or structure.kept)
    bound_by = audit.binding or _nearest(rows)
    status = {slug: _status(slug, used) for slug, used in rows.items()}
    past, tight = ([slug for slug in rows if status[slug] == what] for what in ("past", "tight"))
    sentence = f"{_head(problem, out)}: {'; '.join(_totals(problem, out))}. {len(rows)} walls"
    binding = WALLS[bound_by.slug].name.lower()
    if audit.binding or status[bound_by.slug] != "slack":
        sentence += f": {binding} binds"
    else:
        sentence += f", none binds: {binding} is nearest, at {figure(100 * rows[bound_by.slug])} %"
    for words, slugs in (("past its bound", past), ("near it", tight)):
        others = ", ".join(WALLS[slug].name.lower() for slug in slugs if slug != bound_by.slug)
        sentence += f"; {words}: {others}" if others else ""
    if structure.levers and out.levers is not None:
        levers = ", ".join(f"{x} ({out.levers.rows[x]['elasticity']:+.3g})" for x in structure.levers)
        sentence += f". {audit.lever_of} answers most to {levers} % a percent"
    if not audit.feasible:
        sentence = f"{audit.verdict} If that were met: {sentence}"
    elif not feasible:
        sentence = f"{_overloaded(request, out)} {sentence}"
    extra: dict[str, Any] = {
        "wall_rows": [_row_text(row, out, audit.calls) for row in structure.rows],
        "wall_used": [float(f"{used:.6g}") for used in rows.values()],
        "calls": audit.calls,
    }
    if structure.levers and out.levers is not None:
        extra["lever_rows"] = list(structure.levers)
        extra["lever_elasticity"] = [float(f"{row['elasticity']:.6g}") for row in out.levers.rows.values()]
    if request.detail == "brief":
        shown = {bound_by.slug, *past, *tight}
        rows_shown = [row for row in extra["wall_rows"] if row.partition(":")[0] in shown]
        extra = {"wall_rows": [row.partition(" (")[0] for row in rows_shown]}
    result = fit_result(AuditResult, out, extra, set())
    bound_by = Binding(bound_by.slug, bound_by.runner_up)
    return Presentation(f"{sentence}.", feasible, bound_by, result, audit.notes)


def _totals(problem: Problem, out: Audited) -> list[str]:
    """Word what the whole comes to: tokens or the price of a query, energy, carbon, money."""
    request, _ = problem.context
    training = problem.structure.training
    parts = [_bought(problem, out)] if training else []
    if "query_cost" in out:
        times = out.table.rows.get("economic_cost", {}).get("used", 0.0)
        beside = f", {figure(times)} times the API's" if times > 1 else ""
        parts.append(f"{figure(1e3 * first(out['query_cost']))} USD a thousand queries{beside}")
    if "total_energy" in out:
        energy, carbon = first(out["total_energy"]) / 3.6e9, first(out["total_carbon"]) / 1e3
        span = "" if training else f" in {figure(request.days)} days"
        parts.append(f"{figure(energy)} MWh, {figure(carbon)} t CO2e{span}")
    if "cost" in out:
        parts.append(f"{figure(first(out['cost']))} USD")
    return parts


def _bought(problem: Problem, out: Audited) -> str:
    """Word what the time buys; with a utilization given, also how many tokens are left where attention is counted."""
    request, audit = problem.context
    counted = ""
    if problem.structure.given_mfu:
        counted = f" by C/6N ({count(first(out['counted']))} with attention)"
    kind = "an active parameter" if audit.model.has("active_parameters") else "a parameter"
    return (
        f"{figure(first(out['budget']))} FLOP in {figure(request.days)} days, {count(first(out['tokens']))} tokens"
        f"{counted}, {figure(first(out['tokens_per_parameter']))} {kind}"
    )


def _head(problem: Problem, out: Audited) -> str:
    """Name what is audited; of a service its replicas, and how busy the load keeps them."""
    request, audit = problem.context
    head = f"{audit.model.name} on {request.n_accelerators:,} x {audit.hardware.name}"
    if problem.structure.training:
        return head
    replicas = first(out["replicas"])
    head += f", {replicas:,.0f} replica{'s' if replicas > 1 else ''} of {first(out['group']):.0f}"
    if not problem.structure.kept:
        return head
    load, most = figure(request.queries_per_s), figure(first(out["most"]))
    return f"{head}, {figure(100 * first(out['busy']))} % busy at {load} queries/s of {most}"


def _overloaded(request: Any, out: Audited) -> str:
    return (
        f"Infeasible: {figure(request.queries_per_s)} queries/s are {figure(first(out['busy']))} times what these give at "
        f"{figure(request.tpot_ms)} ms a token, {figure(first(out['most']))}/s; {first(out['enough']):,.0f} such replicas "
        f"(n_accelerators={first(out['accelerators_needed']):.0f}) would take them."
    )


def _nearest(rows: dict[str, float]) -> Binding:
    """Return the wall of the node that is nearest to its bound, or farthest past it."""
    node = sorted((slug for slug in rows if WALLS[slug].domain == "node"), key=lambda slug: -rows[slug])
    return Binding(node[0], WALLS[node[1]].name if len(node) > 1 else "")
