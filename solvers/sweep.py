"""How does a figure vary over several inputs, and which combination is best?

Any figure of any solver over the product of up to three lists, ranges or zoo selections, computed in arrays by the solver's own
computation; the best feasible point by one figure, or the points that are best in two (none is better in both). The work shows
the best point's program, and the points shown as reruns of it; of a point to which other equations apply the figure of its own
answer is quoted, with the call that gives it. A short sweep's points are all asked whether they are feasible.

The whole table, as CSV or JSON and past what one machine computes at once: `mlwalls sweep`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import Field

from mlwalls.solvers.assignments import assigned, write_assignments, written
from mlwalls.solvers.axes import Axis, read_axes
from mlwalls.solvers.derivation import Derivation, NonFiniteError, Step, Value
from mlwalls.solvers.equations import analysis as eq
from mlwalls.solvers.equations import common
from mlwalls.solvers.errors import CallError
from mlwalls.solvers.inner import (
    Inner,
    Metric,
    askable,
    default_sense,
    figures,
    find_metric,
    resolve_inner,
    schema_of,
)
from mlwalls.solvers.numbers import Numbers
from mlwalls.solvers.slicing import inputs_of, steps_behind
from mlwalls.solvers.solver import Outcome, Presentation, Problem, Solver, SolverRequest
from mlwalls.solvers.sweep_words import SweepOutcome, SweepResult, present
from mlwalls.solvers.sweeping import Swept, at_point, sweep_figures
from mlwalls.solvers.turning import held_searches
from mlwalls.zoo import Zoo

MAX_POINTS = 2_000_000
CHECKED = 300
# Sweeps of so few points have each asked whether it is feasible.
FEW = 64
MAX_CELLS = 28
SECONDS = 15.0
Best = Literal["lowest", "highest"]


class SweepRequest(SolverRequest):
    """Arguments of the sweep tool."""

    tool: str = Field(description='"roofline".')
    scenario: list[str] = Field(description='Its arguments: ["model=llama-3.1-8b", "hardware=h100"].')
    over: list[str] = Field(
        description="One to three of NAME=1,2,4, NAME=1..64:7 (:log7), hardware=zoo where memory_capacity_gb>=80."
    )
    metric: str = Field(default="", description='Its figure, "expected_ms".')
    against: str = Field(default="", description="A second figure, to trade off.")
    best: Best | None = Field(default=None, description="Default: by its unit.")
    rows: int = Field(default=8, ge=1, le=16, description="Points shown.")


@dataclass(frozen=True, slots=True)
class Structure:
    """The inner request, the axes and the figures."""

    inner: Inner
    axes: tuple[Axis, ...]
    metrics: tuple[Metric, ...]
    best: tuple[Best, ...]
    rows: int


def resolve(request: SweepRequest, zoo: Zoo) -> Problem:
    """Resolve the inner request, the axes and the figures.

    Raises:
        CallError: the inner request, an axis or a figure is wrong; too many points.
    """
    inner = _inner(request, zoo)
    axes = read_axes(request.over, inner)
    size = math.prod(len(axis.values) for axis in axes)
    if size > MAX_POINTS:
        text = f"{size:,} points; at most {MAX_POINTS:,} here, any number with the command `mlwalls sweep`."
        raise CallError(
            "over", text, repair={"over": [f"{request.over[0].partition('..')[0]}"]} if len(axes) == 1 else {}
        )
    first = first_answer(inner, axes)
    out = figures(first)
    names = [request.metric, *([request.against] if request.against else [])]
    metrics = tuple(
        find_metric(first, out, name, argument) for name, argument in zip(names, ("metric", "against"), strict=False)
    )
    directions: list[Best] = ["lowest" if default_sense(out[m.symbol]) == "at_most" else "highest" for m in metrics]
    if request.best is not None:
        directions[0] = request.best
    n = Numbers(inner.problem.numbers)
    for name, metric in zip(("metric_unit", "against_unit"), metrics, strict=False):
        n.defined(name, metric.factor, out[metric.symbol].unit)
    scenario = request.model_dump(by_alias=True, exclude_none=True, exclude_defaults=True)
    scenario.pop("detail", None)
    scenario["metric"] = metrics[0].name
    if request.set_:
        inner = inner.at(set=[*inner.arguments.get("set", []), *request.set_])
    structure = Structure(inner, tuple(axes), metrics, tuple(directions), request.rows)
    return Problem(structure, n, list(inner.problem.warnings), scenario, structure)


def _inner(request: SweepRequest, zoo: Zoo) -> Inner:
    """Resolve the scenario, where it needs it with what is swept at its beginning."""
    try:
        return resolve_inner(request.tool, request.scenario, zoo)
    except CallError as error:
        begun = _begun(request)
        if not begun:
            raise
        try:
            return resolve_inner(request.tool, [*request.scenario, *begun], zoo)
        except CallError:
            raise error from None


def _begun(request: SweepRequest) -> list[str]:
    """Return where axes begin that the scenario does not name: it need not give what is swept."""
    solver = askable().get(request.tool)
    if solver is None:
        return []
    given = {line.partition("=")[0].strip() for text in request.scenario for line in assigned(text)}
    begun = {}
    for text in request.over:
        name, _, values = (part.strip() for part in text.partition("="))
        if name in schema_of(solver) and name not in given and values:
            first = values.strip("[]").partition(",")[0].partition("..")[0].strip()
            begun[name] = solver.example.get(name, "") if first.startswith("zoo") else first
    return [f"{name}={written(value)}" for name, value in begun.items()]


def first_answer(inner: Inner, axes: Sequence[Axis]) -> Inner:
    """Return the request at the first point that has an answer, along each axis in turn."""
    point = {axis.name: axis.values[0] for axis in axes}
    error: Exception | None = None
    for axis in axes:
        for value in axis.values[:64]:
            try:
                return at_point(inner, axes, {**point, axis.name: value})
            except (CallError, ValueError) as problem:
                error = error or problem
    text = error.problem if isinstance(error, CallError) else str(error).splitlines()[0]
    raise CallError("over", f"no point has an answer: {text}") from error


def compute(s: Structure, n: Numbers, d: Derivation) -> SweepOutcome:
    """Sweep, choose, and step out the best point's program with the others as reruns of it."""
    swept = sweep_figures(s.inner, s.axes, [m.symbol for m in s.metrics], SECONDS)
    chosen = Chosen(s, swept)
    best, others = chosen.best_and_shown()
    inner = chosen.resolved(best)
    outcome, base = inner.recorded()
    values = [outcome[m.symbol] for m in s.metrics]
    behind = steps_behind(base, [v.name for v in values])
    d.adopt(behind)
    units = [n.metric_unit, n.against_unit] if len(s.metrics) > 1 else [n.metric_unit]
    out = SweepOutcome(inner, swept, best, inner.solver.present(inner.problem, outcome, base))
    out.front = chosen.front
    for name, value, unit in zip(("best_value", "best_against"), values, units, strict=False):
        out[name] = d.step(name, common.ratio(value, unit))
    held = held_searches(base)
    inputs = inputs_of(behind)
    rows: dict[int, dict[str, Value]] = {}
    apart: list[int] = []
    for index in others:
        if swept.size <= FEW and not chosen.answer(index).presented.feasible:
            continue
        if (differs := _differs(chosen, index, inner, inputs, held)) is None:
            apart.append(index)
        elif sum(map(len, [*rows.values(), differs])) <= MAX_CELLS:
            rows[index] = differs
    if swept.size <= FEW:
        out.infeasible = {i: p.verdict for i in chosen.order.tolist() if not (p := chosen.answer(i).presented).feasible}
    columns = list(dict.fromkeys(symbol for cells in rows.values() for symbol in cells))
    if columns:
        _table(s, d, out, inner, rows, columns, list(zip(values, units, strict=True)))
    if apart:
        _quoted(s, n, d, out, chosen, apart, units)
    return out


def _quoted(
    s: Structure, n: Numbers, d: Derivation, out: SweepOutcome, chosen: Chosen, apart: list[int], units: list[Value]
) -> None:
    """Quote the figures of points to which other equations apply from their own answers."""
    table = d.table("other")
    for place, index in enumerate(apart, 1):
        answer = chosen.answer(index)
        values = [answer.outcome[m.symbol] for m in s.metrics]
        behind = steps_behind(answer.derivation, [v.name for v in values])
        sources = tuple(dict.fromkeys(c for step in behind if isinstance(step, Step) for c in step.cite))
        tool = answer.inner.solver.name
        cells = {
            key: common.ratio(n.answered(f"o{place}_{metric.symbol}", value, tool, sources), unit)
            for key, metric, value, unit in zip(("value", "against"), s.metrics, values, units, strict=False)
        }
        table.row(f"o{place}", **cells)
        out.calls.append(f"{tool} {' '.join(write_assignments(answer.inner.arguments))}")
    out.other, out.apart = table, apart


def _table(
    s: Structure,
    d: Derivation,
    out: SweepOutcome,
    inner: Inner,
    rows: dict[int, dict[str, Value]],
    columns: list[str],
    figures: list[tuple[Value, Value]],
) -> None:
    table = d.table("point")
    own = inner.problem.numbers
    known: dict[Any, Value] = {}
    for place, cells in enumerate(rows.values(), 1):
        named = {}
        for symbol in columns:
            if symbol not in cells:
                named[symbol] = own[symbol]
                continue
            v = cells[symbol]
            # The same number of the same entry is printed once, under the first point that has it.
            same = (symbol, v.value, v.origin)
            named[symbol] = known.setdefault(same, Value(f"p{place}_{symbol}", v.value, v.unit, v.origin))
        table.row(f"p{place}", **named)
    changes = [(symbol, eq.taken_as(table[symbol])) for symbol in columns]
    for key, metric, (value, unit) in zip(("figure", "second"), s.metrics, figures, strict=False):
        numbers = {
            row: float(out.swept.figures[metric.symbol][index]) for row, index in zip(table.rows, rows, strict=True)
        }
        d.rerun_column(table, key, value, numbers, changes)
        d.column(table, "value" if key == "figure" else "against", common.ratio(table[key], unit))
    out.table, out.shown = table, list(rows)


def _differs(
    chosen: Chosen, index: int, inner: Inner, inputs: dict[str, Value], held: dict[str, float | None]
) -> dict[str, Value] | None:
    """Return the numbers that another point has otherwise, or None where the best point's program does not give its figures."""
    try:
        numbers = chosen.resolved(index).problem.numbers
        found = {k: numbers[k] for k, v in inputs.items() if k in numbers and numbers[k].value != v.value}
        again, _ = inner.evaluated({k: v.value for k, v in found.items()}, held)
    except (CallError, NonFiniteError, ArithmeticError, ValueError, KeyError):
        return None
    for metric in chosen.s.metrics:
        figure = float(chosen.swept.figures[metric.symbol][index])
        if metric.symbol not in again or not math.isclose(float(again[metric.symbol].value), figure, rel_tol=1e-9):
            return None
    return found


@dataclass(frozen=True, slots=True)
class PointAnswer:
    """One point's own answer."""

    inner: Inner
    outcome: Outcome
    derivation: Derivation
    presented: Presentation


class Chosen:
    """Which points to name: the best feasible one, and those to show beside it."""

    def __init__(self, s: Structure, swept: Swept) -> None:
        import numpy

        self.s, self.swept = s, swept
        self.signed = [
            swept.figures[m.symbol] if direction == "lowest" else -swept.figures[m.symbol]
            for m, direction in zip(s.metrics, s.best, strict=True)
        ]
        usable = numpy.logical_and.reduce([numpy.isfinite(x) for x in self.signed])
        self.order = numpy.flatnonzero(usable)[numpy.argsort(self.signed[0][usable], kind="stable")]
        if not self.order.size:
            why = max(swept.reasons, key=lambda r: swept.reasons[r], default="no figure is finite")
            raise CallError("over", f"no point has an answer: {why}")
        self._answers: dict[int, PointAnswer] = {}
        self.front: list[int] = []

    def resolved(self, index: int) -> Inner:
        """Return the request at a point."""
        return at_point(self.s.inner, self.s.axes, self.swept.point(index))

    def answer(self, index: int) -> PointAnswer:
        """Return a point's own answer."""
        if index not in self._answers:
            made = self.resolved(index)
            out, derivation = made.recorded()
            self._answers[index] = PointAnswer(
                made, out, derivation, made.solver.present(made.problem, out, derivation)
            )
        return self._answers[index]

    def feasible(self, index: int) -> bool:
        """Whether the point's own answer is feasible."""
        return self.answer(index).presented.feasible

    def best_and_shown(self) -> tuple[int, list[int]]:
        """Return the best point and the ones to show: all of a short list, else the front or the best few, spread on one axis."""
        tried = self.order[:CHECKED].tolist()
        best = next((i for i in tried if self.feasible(i)), tried[0])
        rows = self.s.rows
        if len(self.signed) > 1:
            self.front = self._front()
            return best, _spread(self.front, rows)
        if self.order.size <= rows:
            return best, sorted(self.order.tolist())
        if len(self.s.axes) == 1:
            return best, _spread(sorted(self.order.tolist()), rows)
        return best, [i for i in tried if self.feasible(i)][:rows] or tried[:rows]

    def _front(self) -> list[int]:
        """Return the points that no other is better than in both figures, those found infeasible left out."""
        import numpy

        first, second = self.signed
        left = self.order
        for _ in range(20):
            by = left[numpy.lexsort((second[left], first[left]))]
            lowest = numpy.minimum.accumulate(second[by])
            new = numpy.concatenate(([True], second[by][1:] < lowest[:-1]))
            front = by[new].tolist()
            bad = [i for i in front[:CHECKED] if not self.feasible(i)]
            if not bad:
                return [int(i) for i in front]
            left = left[~numpy.isin(left, bad)]
            if not left.size:
                break
        return [int(i) for i in front]


def _spread(items: list[int], count: int) -> list[int]:
    """Return up to `count` items, evenly over the list, its ends among them."""
    if len(items) <= count:
        return items
    return [items[round(i * (len(items) - 1) / max(count - 1, 1))] for i in range(count)]


SOLVER = Solver(
    name="sweep",
    question="How does a figure vary over several inputs, and which combination is best?",
    guidance="Any figure of another tool over lists, ranges or zoo selections.",
    walls=("synthesis",),
    request=SweepRequest,
    result=SweepResult,
    resolve=resolve,
    compute=compute,
    present=present,
    example={
        "tool": "roofline",
        "scenario": ["model=llama-3.1-8b", "hardware=h100"],
        "over": ["batch_sizes=1,8,64"],
        "metric": "expected_ms",
    },
    slow=True,
    analysis=True,
)
