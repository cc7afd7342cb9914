"""What does a complete analysis of this training run or deployment look like, wall by wall?

One call asks the other solvers with one set of numbers, each answer feeding the next, and puts one row a wall beside the others:
what is used of the wall's bound, and by whose calculation. Then the wall that binds, what it adds up to (tokens, energy, carbon,
money), and the three numbers to improve first.

A figure of another answer stands in the work as `answer TOOL`; `calls` are the calls that give those answers, each with its own
work. What the budget buys: C = accelerators · peak · time · model FLOPs utilization, D = C / 6N [Kaplan 2020].
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pydantic import Field

from mlwalls.solvers.audit_parts import Audit, Row, serving, training
from mlwalls.solvers.audit_words import Audited, AuditResult, present
from mlwalls.solvers.derivation import Derivation, Value
from mlwalls.solvers.equations import analysis as eq
from mlwalls.solvers.equations import common, scaling
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
    """The rows to step out."""

    training: bool
    rows: tuple[Row, ...]
    levers: tuple[str, ...]
    given_mfu: bool
    priced: bool


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
    )
    return Problem(structure, n, audit.warnings, scenario, (request, audit))


def compute(s: Structure, n: Numbers, d: Derivation) -> Audited:
    """Step out the table of walls and what the whole adds up to; keys are the results' symbols."""
    out = Audited()
    if s.training:
        _budget(s, n, d, out)
    table = d.table("wall")
    for row in s.rows:
        value = _total(d, n, out, f"{row.slug}_value", row.value)
        bound = _total(d, n, out, f"{row.slug}_bound", row.bound)
        out.ends[row.slug] = (value, bound)
        table.row(row.slug, used=common.ratio(value, bound))
    d.column(table, "headroom", eq.left(table["used"]))
    out.table = table
    if s.levers:
        levers = d.table("lever")
        for symbol in s.levers:
            levers.row(symbol, elasticity=n[f"elasticity_{symbol}"])
        out.levers = levers
    out |= {name: n[name] for name in ("total_energy", "total_carbon", "query_cost") if name in n}
    if s.priced and s.training:
        out["cost"] = d.step("cost", eq.rent(n.accelerators, n.run, n.price))
    return out


def _budget(s: Structure, n: Numbers, d: Derivation, out: Audited) -> None:
    share = n.given_mfu if s.given_mfu else d.step("sustained", common.product(n.mfu, n.goodput))
    out["budget"] = d.step("budget", eq.training_budget(n.accelerators, n.peak, n.run, share))
    out["tokens"] = d.step("tokens", scaling.affordable(out["budget"], n.parameters))
    out["tokens_per_parameter"] = d.step("tokens_per_parameter", common.ratio(out["tokens"], n.parameters))


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
