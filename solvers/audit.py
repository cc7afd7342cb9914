"""What does a complete analysis of this training run or deployment look like, wall by wall?

One call asks the other solvers with one set of numbers, each answer feeding the next, and puts one row a wall beside the others:
what is used of the wall's bound, and by whose calculation. Then the wall that binds, what it adds up to (tokens, energy, carbon,
money), and the three numbers to improve first.

A figure of another answer stands in the work as `answer TOOL`; `calls` are the calls that give those answers, each with its own
work. A run trains on what its fleet delivers: throughput · goodput · time. With a utilization given, D = C / 6N with C =
accelerators · peak · time · utilization [Kaplan 2020], without attention's own FLOPs; the verdict has the tokens with them.

A service is replicas, of the size (within a link domain where one holds the model) of which all accelerators together answer
most queries at the target. All of its figures are at the load: a replica's batch, its step, the share that is busy, energy, and
the price of a query, which is that of all accelerators over all queries.

Not modelled: other groups than these replicas (serving_cost has any, and disaggregated ones), queries of other lengths than its
default; power is taken in proportion to the load, where steps that run near empty draw more.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pydantic import Field

from mlwalls.solvers.audit_parts import Audit, Row, bought, training
from mlwalls.solvers.audit_serving import serving
from mlwalls.solvers.audit_words import Audited, AuditResult, present
from mlwalls.solvers.derivation import Derivation, Value
from mlwalls.solvers.equations import analysis as eq
from mlwalls.solvers.equations import common
from mlwalls.solvers.equations.operations import each
from mlwalls.solvers.lookup import find
from mlwalls.solvers.numbers import Numbers
from mlwalls.solvers.solver import Problem, Solver, SolverRequest
from mlwalls.zoo import Zoo

Workload = Literal["training", "serving"]


class AuditRequest(SolverRequest):
    """Arguments of the audit tool."""

    model: str = Field(description="Zoo model.")
    hardware: str = Field(description="Zoo accelerator.")
    n_accelerators: int = Field(ge=1, le=1_000_000, description="In all.")
    workload: Workload = Field(default="training", description="Kind.")
    days: float = Field(default=30, gt=0, le=3650, description="Its length.")
    mfu_percent: float | None = Field(default=None, gt=0, le=100, description="Else computed.")
    region: str = Field(default="us-iowa", description="Grid.")
    queries_per_s: float = Field(default=1, gt=0, le=1e6, description="Serving.")
    tpot_ms: float = Field(default=50, gt=0, le=1e5, description="Serving target.")


@dataclass(frozen=True, slots=True)
class Structure:
    """The rows to step out; `rated` where a replica keeps the target, `kept` where all replicas take the load."""

    training: bool
    rows: tuple[Row, ...]
    levers: tuple[str, ...]
    given_mfu: bool
    priced: bool
    rated: bool
    kept: bool


def resolve(request: AuditRequest, zoo: Zoo) -> Problem:
    """Ask the other solvers and gather their figures.

    Raises:
        CallError: one of them cannot be asked so; says which and why.
    """
    warnings: list[str] = []
    model = find(zoo, "models", "model", request.model, warnings)
    hardware = find(zoo, "hardware", "hardware", request.hardware, warnings)
    find(zoo, "grids", "region", request.region, warnings)
    n = Numbers()
    audit = Audit(zoo, n, model, hardware, request.n_accelerators, warnings)
    (training if request.workload == "training" else serving)(audit, request)
    scenario = request.model_dump(by_alias=True, exclude_none=True, exclude_defaults=True)
    scenario.pop("detail", None)
    scenario |= {"model": model.id, "hardware": hardware.id, "workload": request.workload}
    structure = Structure(
        request.workload == "training",
        tuple(audit.rows),
        tuple(audit.levers),
        request.mfu_percent is not None,
        "price" in n,
        request.workload == "serving" and "rate" in n,
        audit.kept,
    )
    return Problem(structure, n, audit.warnings, scenario, (request, audit))


def compute(s: Structure, n: Numbers, d: Derivation) -> Audited:
    """Step out the table of walls and what the whole adds up to; keys are the results' symbols."""
    out = Audited()
    if s.training:
        out |= bought(n, d)
        out["tokens_per_parameter"] = d.step("tokens_per_parameter", common.ratio(out["tokens"], n.parameters))
        if s.given_mfu:
            out["counted"] = d.step("counted", eq.trained_on_at(n.rate, n.given_mfu, n.mfu, n.run))
    else:
        _service(s, n, d, out)
    if s.priced and (s.training or s.kept):
        out["cost"] = d.step("cost", eq.rent(n.accelerators, n.run, n.price))
        if s.kept:
            out["query_cost"] = d.step("query_cost", each(out["cost"], n.run, n.queries))
    table = d.table("wall")
    for row in s.rows:
        value = _total(d, n, out, f"{row.slug}_value", row.value)
        bound = _total(d, n, out, f"{row.slug}_bound", row.bound)
        out.ends[row.slug] = (value, bound)
        table.row(row.slug, used=common.ratio(value, bound))
    out.table = table
    if s.levers:
        levers = d.table("lever")
        for symbol in s.levers:
            levers.row(symbol, elasticity=n[f"on_{symbol}"])
        out.levers = levers
    out |= {name: n[name] for name in ("total_energy", "total_carbon") if name in n}
    return out


def _service(s: Structure, n: Numbers, d: Derivation, out: Audited) -> None:
    """Step out replicas, the share of what they can do that is busy, and what a load beyond it would take."""
    out["group"] = n.group
    out["replicas"] = d.step("replicas", eq.whole_groups(n.accelerators, n.group))
    if not s.rated:
        return
    out["most"] = d.step("most", eq.scaled(n.rate, out["replicas"]))
    out["busy"] = d.step("busy", common.ratio(n.queries, out["most"]))
    if not s.kept:
        out["enough"] = d.step("enough", eq.copies(n.queries, n.rate))
        out["accelerators_needed"] = d.step("accelerators_needed", common.product(out["enough"], n.group))


def _total(d: Derivation, n: Numbers, out: Audited, name: str, names: tuple[str, ...]) -> Value:
    values = [out[x] if x in out else n[x] for x in names]
    if len(values) == 1:
        return values[0]
    total = {2: common.sum_of_two, 3: common.sum_of_three, 4: common.sum_of_four}[len(values)]
    return d.step(name, total(*values))


SOLVER = Solver(
    name="audit",
    question="What does a full-stack analysis of this training run or deployment look like?",
    guidance="One row a wall, the wall that binds, three levers.",
    walls=("synthesis",),
    request=AuditRequest,
    result=AuditResult,
    resolve=resolve,
    compute=compute,
    present=present,
    example={"model": "llama-3.1-70b", "hardware": "h100", "n_accelerators": 512, "mfu_percent": 40},
    slow=True,
    analysis=True,
)
