"""What should I improve first: by how much does a figure change when one of its numbers does?

The elasticity ∂ln(figure)/∂ln(number) of any figure of any solver, by the central difference of logarithms at ±0.01 %, on the
solver's own computation run again with that number changed; the effect of ±10 %; the nearest value at which another wall binds,
and the elasticities on both sides of it where it lies within 10 %. A time that is built of rates and fixed latencies is
homogeneous: its elasticities to all rates less those to all latencies add to −1.

Numbers of the work are varied as `set` varies them: one at a time, others fixed; what a search found is kept. Whole numbers
(batch, ranks) are treated as continuous.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pydantic import Field

from mlwalls.solvers.derivation import Derivation, Row, Step, Table, Value
from mlwalls.solvers.equations import analysis as eq
from mlwalls.solvers.equations import common
from mlwalls.solvers.equations.node import at_least
from mlwalls.solvers.errors import CallError
from mlwalls.solvers.inner import (
    Inner,
    Lever,
    Metric,
    figures,
    find_metric,
    levers,
    number_named,
    resolve_inner,
    same_structure,
    with_outer,
)
from mlwalls.solvers.numbers import Numbers
from mlwalls.solvers.sensitivity_words import Findings, SensitivityResult, present
from mlwalls.solvers.slicing import inputs_of, steps_behind
from mlwalls.solvers.solver import Problem, Solver, SolverRequest
from mlwalls.solvers.turning import choices_of, held_searches, searched_in, turns
from mlwalls.solvers.units import reduce_unit
from mlwalls.zoo import Zoo

MOST = 8
_STEPPED = re.compile(r"\b(floor|ceil)\(|//")
_FACTORS = ("h_up", "h_down", "step_up", "step_down")
STEPS = (0.1, 0.05, 0.02, 0.01, 0.001)


class SensitivityRequest(SolverRequest):
    """Arguments of the sensitivity tool."""

    tool: str = Field(description='"roofline".')
    scenario: list[str] = Field(description='Its arguments: ["model=llama-3.1-70b", "hardware=h100"].')
    metric: str = Field(default="", description='Its figure, "floor_ms".')
    vary: list[str] = Field(
        default_factory=list,
        max_length=MOST,
        description='Numbers of its work, ["peak", "bandwidth"]; else rates.',
    )


@dataclass(frozen=True, slots=True)
class Structure:
    """The inner request, the figure asked for and the symbols varied (none: chosen by their effect)."""

    inner: Inner
    metric: Metric
    vary: tuple[str, ...]
    candidates: tuple[str, ...]
    step: float


def resolve(request: SensitivityRequest, zoo: Zoo) -> Problem:
    """Resolve the inner request, its figure and the numbers to vary.

    Raises:
        CallError: the inner request is wrong, the figure is not there or is 0, a symbol names nothing.
    """
    inner = resolve_inner(request.tool, request.scenario, zoo)
    out = figures(inner)
    metric = find_metric(inner, out, request.metric)
    base = out[metric.symbol].value
    if base == 0 or not math.isfinite(base):
        others = [k for k, v in out.items() if v.value and math.isfinite(v.value)]
        raise CallError(
            "metric", f"{metric.symbol} is {base:g} here, and so has no relative change.", choices=others[:5]
        )
    known = inner.problem.numbers
    behind_steps = steps_behind(inner.recorded()[1], [out[metric.symbol].name])
    behind = inputs_of(behind_steps)
    varied = tuple(dict.fromkeys(number_named("vary", name, known, behind, request.vary) for name in request.vary))
    candidates = varied or _default(behind)
    # Only what the caller gave stands for an argument.
    given = levers(inner) if any(known[symbol].origin.kind == "you" for symbol in candidates) else {}
    _check_whole(varied, given, behind_steps)
    if not candidates:
        raise CallError("metric", f"{metric.symbol} rests on definitions only.", choices=list(out)[:5])
    numbers = Numbers(known)
    step, warnings = _step(inner, candidates, given)
    h = 1e-4
    if any(isinstance(item, Step) and item.applied and _STEPPED.search(item.applied.text()) for item in behind_steps):
        h = 0.01
        warnings.append(f"{metric.symbol} moves in whole steps: elasticities are over 1 %")
    for symbol, factor in (("h_up", 1 + h), ("h_down", 1 - h), ("step_up", 1 + step), ("step_down", 1 - step)):
        numbers.defined(symbol, factor)
    numbers.defined("unity", 1)
    numbers.defined("metric_unit", metric.factor, out[metric.symbol].unit)
    scenario: dict[str, Any] = {
        "tool": request.tool,
        "scenario": request.scenario,
        "metric": metric.name,
        "vary": list(varied),
        "set": request.set_,
    }
    scenario = {k: v for k, v in scenario.items() if v}
    structure = Structure(inner, metric, varied, candidates, step)
    return Problem(structure, numbers, [*inner.problem.warnings, *warnings], scenario, structure)


def _step(inner: Inner, symbols: tuple[str, ...], by_symbol: Mapping[str, Lever]) -> tuple[float, list[str]]:
    """Return the finite step, 10 % unless other equations apply within that (an unstable queue), and a word on it."""
    given = {s: lever for s, lever in by_symbol.items() if s in symbols and not lever.whole}
    near = ""
    for step in STEPS:
        beyond = [
            symbol
            for symbol, lever in given.items()
            for factor in (1 + step, 1 - step)
            if not same_structure(inner, [(lever, inner.problem.numbers[symbol].value * factor)])
        ]
        if not beyond:
            break
        near = f"other equations apply when {beyond[0]} changes by {100 * step:g} %"
    return step, [f"{near}; effects are at {100 * step:g} %"] if near else []


def _check_whole(varied: tuple[str, ...], given: Mapping[str, Lever], steps: Sequence[Step | Row]) -> None:
    """Refuse what has no derivative: the servers of a queue, whose formula is one of whole numbers."""
    queue = any(isinstance(step, Step) and step.applied and "erlang_c(" in step.applied.text() for step in steps)
    whole = [symbol for symbol in varied if queue and symbol in given and given[symbol].whole]
    if whole:
        text = f"{whole[0]} counts whole servers, and so has no elasticity; use sweep over {given[whole[0]].argument}."
        raise CallError("vary", text, repair={"vary": [symbol for symbol in varied if symbol not in whole]})


def _latencies(behind: Mapping[str, Value]) -> tuple[str, ...]:
    """Return the fixed times that a figure rests on: overheads of layers, sequences, requests."""
    return tuple(n for n, v in behind.items() if v.unit == "s" and v.origin.kind == "calibrated" and v.value > 0)


def _default(behind: dict[str, Value]) -> tuple[str, ...]:
    """All rates; where there are none, everything that is neither true by definition nor a whole number asked for."""
    usable = {n: v for n, v in behind.items() if isinstance(v.value, (int, float)) and v.value != 0}
    usable = {
        n: v
        for n, v in usable.items()
        if not (v.origin.kind == "you" and not reduce_unit(v.unit) and v.value == int(v.value))
    }
    rates = [n for n, v in usable.items() if v.unit.endswith("/s") and v.origin.kind != "defined"]
    return tuple(rates or [n for n, v in usable.items() if v.origin.kind != "defined"])


def compute(s: Structure, n: Numbers, d: Derivation) -> Findings:
    """Step out the figure, then the same figure with each number changed; keys are the results' symbols."""
    inner = replace(s.inner, problem=with_outer(s.inner.problem, n))
    outcome, base = inner.recorded()
    figure = outcome[s.metric.symbol]
    held = held_searches(base)
    behind = steps_behind(base, [figure.name])
    results, fixed = _ranked(s, inner, held, n, behind)
    order = sorted(results, key=lambda c: -abs(results[c][0]))[:MOST]
    own = choices_of(behind)
    out = Findings(inner, s.metric)
    out.fixed = fixed
    out.order, out.kept = order, searched_in(behind)
    found = turns(inner, held, own or choices_of(base.steps), [n[symbol] for symbol in order])
    out.turns = [turn for turn in found if abs(math.log(turn.factor)) > 1e-9][:2]
    d.adopt(steps_behind(base, [figure.name, *(name for t in out.turns for name in (t.before, t.after))]))
    out["base_value"] = d.step("base_value", common.ratio(figure, n.metric_unit))
    table = d.table("vary")
    units: list[str] = []
    for place, symbol in enumerate(order):
        if n[symbol].unit not in units:
            units.append(n[symbol].unit)
        cells: dict[str, Any] = {f"base{units.index(n[symbol].unit) or ''}": n[symbol]}
        if place < 2:
            cells["first" if place == 0 else "second"] = n.unity
        table.row(symbol, **cells)
    row = Value("row", None)
    for at, (key, factor) in enumerate(zip(("up", "down", "higher", "lower"), _FACTORS, strict=True), 1):
        changes = [("row", eq.scaled(row, n[factor]))]
        d.rerun_column(table, key, figure, {symbol: results[symbol][at] for symbol in order}, changes)
    _effects(n, d, out, table, figure, len(order))
    _regimes(inner, held, bool(own), n, d, out, figure, {**base.values(), **outcome})
    return out


def _ranked(
    s: Structure, inner: Inner, held: dict[str, float | None], n: Numbers, behind: Sequence[Row | Step]
) -> tuple[dict[str, list[float]], tuple[str, float] | None]:
    """Return each varied number's effects, and the fixed time that outweighs all of them with its elasticity, if one does.

    Where the caller named none to vary, that fixed time is one of them.
    """
    latencies = tuple(symbol for symbol in _latencies(inputs_of(behind)) if symbol not in s.candidates)
    factors = [n[f].value for f in _FACTORS]
    results = _perturbed(inner, held, s.metric.symbol, [n[c] for c in (*s.candidates, *latencies)], factors)
    strongest = max((abs(results[c][0]) for c in s.candidates), default=0.0)
    over = max(latencies, key=lambda c: abs(results[c][0]), default="")
    if not over or abs(results[over][0]) <= strongest:
        return {c: results[c] for c in s.candidates}, None
    shown = s.candidates if s.vary else (*s.candidates, over)
    return {c: results[c] for c in shown}, (over, results[over][0] / math.log(factors[0] / factors[1]))


def _perturbed(
    inner: Inner, held: dict[str, float | None], symbol: str, values: list[Value], factors: list[float]
) -> dict[str, list[float]]:
    """Return, for each varied number, its elasticity (to rank by) and the figure at the four factors, in one array run."""
    import numpy

    size = len(factors) * len(values)
    vary = {}
    for i, value in enumerate(values):
        numbers = numpy.full(size, float(value.value))
        numbers[i * len(factors) : (i + 1) * len(factors)] *= factors
        vary[value.name] = numbers
    out, _ = inner.evaluated(vary, held)
    found = numpy.broadcast_to(numpy.asarray(out[symbol].value, dtype=float), (size,)).reshape(len(values), -1)
    result = {}
    for value, line in zip(values, found.tolist(), strict=True):
        up, down = line[:2]
        if not all(math.isfinite(x) for x in line) or up * down <= 0:
            raise CallError("vary", f"{symbol} is not finite when {value.name} changes by 10 %.", repair={"vary": []})
        result[value.name] = [math.log(up / down), *line]
    return result


def _effects(n: Numbers, d: Derivation, out: Findings, table: Table, figure: Value, rows: int) -> None:
    d.column(table, "elasticity", eq.elasticity(table["up"], table["down"], n.h_up, n.h_down))
    d.column(table, "plus", eq.change(table["higher"], figure))
    d.column(table, "minus", eq.change(table["lower"], figure))
    out.table = table
    out["finite_step"] = d.step("finite_step", common.difference(n.step_up, n.unity))
    strongest = out["strongest"] = d.sum("strongest", eq.weighted(table["elasticity"], table["first"]))
    if rows > 1:
        second = d.sum("second_strongest", eq.weighted(table["elasticity"], table["second"]))
        if second.value != 0:
            out["second_strongest"] = second
            out["elasticity_ratio"] = d.step("elasticity_ratio", eq.strength_ratio(strongest, second))


def _regimes(
    inner: Inner,
    held: dict[str, float | None],
    kinks: bool,
    n: Numbers,
    d: Derivation,
    out: Findings,
    figure: Value,
    names: Any,
) -> None:
    """Record where the nearest other regimes begin, and the elasticities on both sides of one that is near."""
    for place, turn in enumerate(out.turns):
        base = n[turn.symbol]
        larger, smaller = (turn.after, turn.before) if turn.rule == "max" else (turn.before, turn.after)
        end = base.value * (100 if turn.up else 0.01)
        span = f"{base.name}..{end:.6g}" if turn.up else f"{end:.6g}..{base.name}"
        at = d.found(
            f"turn_{turn.symbol}" + ("" if place == 0 or out.turns[0].symbol != turn.symbol else "_other"),
            turn.number,
            base.unit,
            "smallest" if turn.up else "largest",
            base.name,
            f"{span} within 0.0001",
            at_least(names[larger], names[smaller]),
            names=[base],
        )
        if place:
            continue
        out["next_change"] = d.step("next_change", common.ratio(at, base))
        if not kinks or not n.step_down.value <= turn.factor <= n.step_up.value:
            continue
        again = [turn.number, base.value * n.step_down.value, base.value * n.step_up.value]
        import numpy

        evaluated, _ = inner.evaluated({base.name: numpy.array(again)}, held)
        here, below, above = numpy.broadcast_to(evaluated[out.metric.symbol].value, (3,)).tolist()
        there = d.rerun("at_turn", figure, here, [(base.name, eq.taken_as(at))])
        low = d.rerun("below_turn", figure, below, [(base.name, eq.scaled(base, n.step_down))])
        high = d.rerun("above_turn", figure, above, [(base.name, eq.scaled(base, n.step_up))])
        out["elasticity_below"] = d.step("elasticity_below", eq.secant(there, low, at, base, n.step_down))
        out["elasticity_above"] = d.step("elasticity_above", eq.secant(there, high, at, base, n.step_up))


SOLVER = Solver(
    name="sensitivity",
    question="What should I improve first, FLOPS or bandwidth: how does a figure change when one of its numbers does?",
    guidance=(
        "Elasticities of any figure of another tool to any number of its work, ±10 %, and where another wall takes over."
    ),
    walls=("sensitivity",),
    request=SensitivityRequest,
    result=SensitivityResult,
    resolve=resolve,
    compute=compute,
    present=present,
    example={
        "tool": "roofline",
        "scenario": ["model=llama-3.1-8b", "hardware=h100"],
        "metric": "expected_ms",
        "vary": ["peak", "bandwidth"],
    },
    analysis=True,
)
