"""What does it take to meet a target: how much bandwidth, FLOP/s, capacity, link rate, how many accelerators?

The inverse of any solver: its own computation is run again with one of its numbers changed until a figure meets the target, one
number at a time or several scaled together. Numbers of the work are bisected on arrays to 0.01 %; whole arguments (accelerators,
servers, workers, batch) are resolved again, and the answer is the fewest that meets while one less does not. Where a figure adds
up over replicas (sequences, tokens a second) and they take fewer accelerators than one tensor-parallel group, or no group does,
the answer is so many replicas of so many. A condition that is not monotone is searched in a printed list. When nothing meets the
target, the answer says how near it gets and what remains.

Where the inner request has `hardware`, the accelerators of the zoo that meet the target follow, cheapest first.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from pydantic import Field

from mlwalls.solvers.derivation import Applied, Derivation, Row, Step, Table, Value
from mlwalls.solvers.equations import analysis as eq
from mlwalls.solvers.equations import common
from mlwalls.solvers.equations.node import at_least
from mlwalls.solvers.errors import CallError
from mlwalls.solvers.inner import (
    Inner,
    Lever,
    Metric,
    default_sense,
    figures,
    find_metric,
    levers,
    number_named,
    resolve_inner,
    with_outer,
)
from mlwalls.solvers.inverse_words import Inverse, InverseResult, present
from mlwalls.solvers.meeting import hardware_rows
from mlwalls.solvers.numbers import Numbers
from mlwalls.solvers.replicas import adds_up, planned, program_of, replica_rows
from mlwalls.solvers.searching import MILLION, Found, Goal, Whole, search_factor, search_whole
from mlwalls.solvers.slicing import inputs_of, steps_behind
from mlwalls.solvers.solver import Problem, Solver, SolverRequest
from mlwalls.solvers.turning import held_searches, searched_in
from mlwalls.solvers.units import reduce_unit
from mlwalls.zoo import Zoo

Sense = Literal["at_most", "at_least"]


class InverseSpecRequest(SolverRequest):
    """Arguments of the inverse_spec tool."""

    tool: str = Field(description='"roofline".')
    scenario: list[str] = Field(description='Its arguments: ["model=llama-3.1-70b", "hardware=h100"].')
    metric: str = Field(default="", description='Its figure, "floor_ms".')
    target: float = Field(gt=0, le=1e30, description="In its unit, 50.")
    sense: Sense | None = Field(default=None, description="Default: by its unit.")
    solve_for: list[str] = Field(
        default_factory=list,
        max_length=4,
        description='Numbers of its work or one argument, ["bandwidth"]; else rates.',
    )
    jointly: bool = Field(default=False, description="Scale them together.")


@dataclass(frozen=True, slots=True)
class Structure:
    """The inner request, the goal, and what to solve for; `whole` is the one argument that is resolved again."""

    inner: Inner
    metric: Metric
    goal: Goal
    symbols: tuple[str, ...]
    given: tuple[tuple[str, Lever], ...]
    jointly: bool

    @property
    def whole(self) -> Lever | None:
        """The argument solved for, where it is a whole number."""
        lever = dict(self.given).get(self.symbols[0])
        return lever if lever is not None and lever.whole else None


def resolve(request: InverseSpecRequest, zoo: Zoo) -> Problem:
    """Resolve the inner request, the target and what to solve for.

    Raises:
        CallError: the inner request is wrong, the figure is not there, or a name to solve for is none.
    """
    inner = resolve_inner(request.tool, request.scenario, zoo)
    if request.set_:
        inner = inner.at(set=[*inner.arguments.get("set", []), *request.set_])
    out = figures(inner)
    metric = find_metric(inner, out, request.metric)
    value = out[metric.symbol]
    target = request.target * metric.factor
    goal = Goal(metric.symbol, request.sense or _sense(inner, value, target), target)
    known, given = inner.problem.numbers, levers(inner)
    behind = inputs_of(steps_behind(inner.recorded()[1], [value.name]))
    by_argument = {lever.argument: symbol for symbol, lever in given.items()}
    symbols = (
        tuple(
            dict.fromkeys(
                by_argument[name]
                if name in by_argument
                else number_named("solve_for", name, known, behind, request.solve_for)
                for name in request.solve_for
            )
        )
        or tuple(
            n for n, v in behind.items() if v.unit.endswith("/s") and v.origin.kind != "defined" and n not in given
        )[:4]
    )
    if not symbols:
        raise CallError("solve_for", "say what to solve for.", choices=[*by_argument, *behind][:6])
    whole = [s for s in symbols if s in given and given[s].whole]
    if whole and len(symbols) > 1:
        text = f"{given[whole[0]].argument} is a whole number: solve for it alone."
        raise CallError("solve_for", text, repair={"solve_for": [given[whole[0]].argument], "jointly": False})
    n = Numbers(known)
    n.you("target_figure", request.target)
    n.defined("metric_unit", metric.factor, value.unit)
    n.defined("million", MILLION)
    n.defined("unity", 1)
    for symbol in symbols:
        n.defined(_one(known[symbol].unit), 1, known[symbol].unit)
    scenario = request.model_dump(by_alias=True, exclude_none=True, exclude_defaults=True)
    scenario.pop("detail", None)
    scenario |= {"metric": metric.name, "sense": goal.sense}
    structure = Structure(
        inner, metric, goal, symbols, tuple((s, given[s]) for s in symbols if s in given), request.jointly
    )
    return Problem(structure, n, list(inner.problem.warnings), scenario, structure)


def _sense(inner: Inner, value: Value, target: float) -> Sense:
    if value.name in inner.solver.per_replica:
        return "at_least"
    if reduce_unit(value.unit) in ("", "byte"):
        return "at_most" if value.value > target else "at_least"
    return default_sense(value)


def _one(unit: str) -> str:
    return "one_" + (unit.replace("/", "_per_").replace("*", "_").replace("^", "") or "whole")


def compute(s: Structure, n: Numbers, d: Derivation) -> Inverse:
    """Search, then step out the program with the witness of each search; keys are the results' symbols."""
    inner = replace(s.inner, problem=with_outer(s.inner.problem, n))
    goal = replace(s.goal, number=n.target_figure.value * n.metric_unit.value)
    out = Inverse(inner, s.metric, goal)
    if s.whole is not None:
        return _whole(s, n, d, out, s.whole, goal)
    figure, held, behind = _body(inner, s, n, d, out)
    given = dict(s.given)
    if s.jointly and len(s.symbols) > 1:
        _joint(s, n, d, out, figure, held)
        return out
    searched = {x: search_factor(inner, held, goal, [n[x]], {x: given[x]} if x in given else {}) for x in s.symbols}
    met = {x: f for x, f in searched.items() if f.number is not None}
    out.slack = [x for x, f in searched.items() if f.any_does]
    out.searched = searched
    if met:
        table = _needs(n, d, out, figure, met)
        hardware_rows(inner, held, goal, d, out, figure, behind)
        _reached(d, out, table, figure, held)
    else:
        hardware_rows(inner, held, goal, d, out, figure, behind)
        best = next((x for x, f in searched.items() if not f.any_does), "")
        if best:
            _limit(inner, n, d, out, figure, best, searched[best].best)
    return out


def _body(
    inner: Inner, s: Structure, n: Numbers, d: Derivation, out: Inverse
) -> tuple[Value, dict[str, float | None], list[Step | Row]]:
    outcome, base = inner.recorded()
    figure = outcome[s.metric.symbol]
    out.shown = inner.solver.present(inner.problem, outcome, base)
    behind = steps_behind(base, [figure.name])
    d.adopt(behind)
    out.kept = searched_in(behind)
    out["base_value"] = d.step("base_value", common.ratio(figure, n.metric_unit))
    out["goal"] = d.step("required_figure", eq.scaled(n.metric_unit, n.target_figure))
    return figure, held_searches(base), behind


def _condition(figure: Value, out: Inverse) -> Applied:
    return at_least(out["goal"], figure) if out.goal.sense == "at_most" else at_least(figure, out["goal"])


def _needs(n: Numbers, d: Derivation, out: Inverse, figure: Value, met: dict[str, Found]) -> Table:
    found = {
        symbol: d.found(
            f"need_{symbol}",
            f.number or 0.0,
            n[symbol].unit,
            f.rule,
            n[symbol].name,
            f.candidates,
            _condition(figure, out),
            names=[n[symbol]],
        )
        for symbol, f in met.items()
    }
    table = d.table("need")
    for symbol, value in found.items():
        one = n[_one(n[symbol].unit)]
        table.row(symbol, value=common.ratio(value, one), times=common.ratio(value, n[symbol]))
    out.table = table
    return table


def _reached(d: Derivation, out: Inverse, table: Table, figure: Value, held: dict[str, float | None]) -> None:
    """Run the program at what was found: the round trip."""
    numbers = {}
    for symbol, cells in table.rows.items():
        again, _ = out.inner.evaluated({symbol: out.inner.problem.numbers[symbol].value * cells["times"]}, held)
        numbers[symbol] = float(again[out.metric.symbol].value)
    d.rerun_column(table, "reached", figure, numbers, [("row", eq.scaled(Value("row", None), table["times"]))])
    d.column(table, "margin", eq.change(table["reached"], out["goal"]))


def _joint(s: Structure, n: Numbers, d: Derivation, out: Inverse, figure: Value, held: dict[str, float | None]) -> None:
    f = search_factor(out.inner, held, out.goal, [n[x] for x in s.symbols], dict(s.given))
    out.searched = {"joint": f}
    out.slack = ["joint"] if f.any_does else []
    if f.number is None:
        return
    where = ", ".join(f"{n[x].name}={n[x].name}*joint" for x in s.symbols)
    names = [n[x] for x in s.symbols]
    joint = d.found("joint", f.number, "", f.rule, "joint", f.candidates, _condition(figure, out), names, where)
    out["joint"] = joint
    table = d.table("need")
    for symbol in s.symbols:
        value = d.step(f"need_{symbol}", eq.scaled(n[symbol], joint))
        one = n[_one(n[symbol].unit)]
        table.row(symbol, value=common.ratio(value, one), times=common.ratio(value, n[symbol]))
    out.table = table


def _limit(inner: Inner, n: Numbers, d: Derivation, out: Inverse, figure: Value, symbol: str, factor: float) -> None:
    """Say how near the figure gets with all of one number, and which part of it remains."""
    far = n.million if factor > 1 else n.unity
    number = inner.problem.numbers[symbol].value * (MILLION if factor > 1 else 1.0)
    changed = replace(inner, problem=replace(inner.problem, numbers=inner.problem.numbers.replaced({symbol: number})))
    outcome, base = changed.recorded()
    changes = [(n[symbol].name, eq.scaled(n[symbol], far))]
    out["limit"] = d.rerun("best_reachable", figure, outcome[out.metric.symbol].value, changes)
    out["limit_value"] = d.step("limit_value", common.ratio(out["limit"], n.metric_unit))
    out.limited = symbol
    part = _largest_part(base, figure.name)
    if part is not None and part.name in d.values():
        out.part = part.name
        out["part"] = d.rerun("part_remaining", d.values()[part.name], part.value, changes)


def _largest_part(base: Derivation, name: str) -> Value | None:
    """Return the largest of the quantities of one kind that a step adds up or takes the largest of, as far down as that goes."""
    steps = {step.name: step for step in base.steps if isinstance(step, Step)}
    part: Value | None = None
    for _ in range(6):
        step = steps.get(name)
        if step is None or step.value is None or step.kind not in ("step", "choice"):
            break
        options = list(step.options) if step.kind == "choice" else list(step.applied.arguments) if step.applied else []
        same = [v for v in options if reduce_unit(v.unit) == reduce_unit(step.value.unit) and v.name in steps]
        if not same:
            break
        part = max(same, key=lambda v: v.value)
        name = part.name
    return part


def _whole(s: Structure, n: Numbers, d: Derivation, out: Inverse, lever: Lever, goal: Goal) -> Inverse:
    """Search a whole argument; the program shown is the one at what was found, or as asked where nothing does."""
    symbol = s.symbols[0]
    found = search_whole(out.inner, goal, lever, lever.limits)
    plan = planned(out.inner, goal, lever) if adds_up(out.inner, goal, lever) else None
    if plan is not None and found.number is not None and plan.best.accelerators >= found.number:
        plan = None
    at = found.at or (program_of(plan, goal) if plan else found.best) or out.inner
    shown = replace(at, problem=replace(at.problem, numbers=_outer_set(at.problem.numbers, n)))
    out.inner = shown
    figure, held, behind = _body(shown, s, n, d, out)
    out.whole, out.lever = found, lever
    if found.number is not None:
        low, high = _span(shown, goal, held, found, lever, symbol)
        condition = _condition(figure, out)
        own = shown.problem.numbers[symbol]
        out["need"] = d.found(
            "need", own.value, own.unit, found.rule, own.name, f"{low}..{high}", condition, names=[own]
        )
        hardware_rows(shown, held, goal, d, out, figure, behind, apart=True)
    if plan is not None:
        replica_rows(plan, symbol, held, d, out, figure, behind)
    elif found.number is None and (part := _largest_part(shown.recorded()[1], figure.name)) is not None:
        out.part, out["part"] = part.name, part
    return out


def _outer_set(own: Numbers, outer: Numbers) -> Numbers:
    """Return the numbers of a request resolved again, with what the outer `set` replaced."""
    changed = {k: v for k, v in outer.items() if k in own and v.origin.kind == "you" and own[k].origin.kind != "you"}
    return Numbers({**{k: own[k] for k in own}, **changed})


def _span(
    inner: Inner, goal: Goal, held: dict[str, float | None], found: Whole, lever: Lever, symbol: str
) -> tuple[int, int]:
    """Return the range to print: the next candidate is in it where the same program says that it misses the target."""
    scale = lever.scale
    number = found.number or 0
    other = number - 1 if found.rule == "smallest" else number + 1
    low, high = (round(x * scale) for x in lever.limits)
    edge = round(number * scale)
    usable = lever.limits[0] <= other <= lever.limits[1] and scale == 1 and not found.next_is
    if usable:
        out, _ = inner.evaluated({symbol: float(other)}, held)
        usable = not bool(goal.met(out[goal.symbol].value))
    if found.rule == "smallest":
        return (low if usable else edge), max(high, edge)
    return low, (high if usable else edge)


SOLVER = Solver(
    name="inverse_spec",
    question="What does it take to meet this target: how much bandwidth or FLOP/s, how many accelerators?",
    guidance=("Inverts any figure of another tool; lists hardware that meets the target, cheapest first."),
    walls=("synthesis",),
    request=InverseSpecRequest,
    result=InverseResult,
    resolve=resolve,
    compute=compute,
    present=present,
    example={
        "tool": "roofline",
        "scenario": ["model=llama-3.1-8b", "hardware=a100"],
        "metric": "floor_ms",
        "target": 5,
        "solve_for": ["bandwidth"],
    },
    slow=True,
    analysis=True,
)
