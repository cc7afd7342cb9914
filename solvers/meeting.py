"""Which accelerators of the zoo meet a goal in an inner request that names `hardware`, cheapest first."""

from __future__ import annotations

import contextlib
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlwalls.solvers.derivation import Derivation, NonFiniteError, Row, Step, Value
from mlwalls.solvers.equations import analysis as eq
from mlwalls.solvers.equations import common
from mlwalls.solvers.errors import CallError
from mlwalls.solvers.inner import Inner, schema_of
from mlwalls.solvers.searching import Goal
from mlwalls.solvers.slicing import inputs_of
from mlwalls.zoo import Entry

if TYPE_CHECKING:
    from mlwalls.solvers.inverse_words import Inverse

SHOWN = 3


@dataclass(frozen=True, slots=True)
class Meets:
    """An accelerator that meets the goal and holds the work; `differs` are its numbers where they are not the scenario's,
    `apart` whether other equations apply to it."""

    entry: Entry
    figure: float
    price: float
    differs: dict[str, Value]
    apart: bool = False


@dataclass(frozen=True, slots=True)
class Candidate:
    """An accelerator, the program with its numbers, which of them differ, the figure it gives and whether that meets the goal."""

    entry: Entry
    made: Inner
    differs: dict[str, Value]
    figure: float
    met: bool


def hardware_rows(
    inner: Inner,
    held: Mapping[str, float | None],
    goal: Goal,
    d: Derivation,
    out: Inverse,
    figure: Value,
    behind: Sequence[Row | Step],
    apart: bool = False,
) -> None:
    """Record the cheapest accelerators that meet the goal: the program run again with their numbers.

    Args:
        apart: find those too to which other equations apply, a plan of their own for instance.
    """
    if "hardware" not in schema_of(inner.solver) or not isinstance(inner.arguments.get("hardware"), str):
        return
    inputs, own = inputs_of(behind), inner.problem.numbers
    found = [
        m
        for candidate in _candidates(inner, held, goal, inputs)
        if (candidate.met or apart) and (m := _meets(goal, candidate, apart)) is not None
    ]
    ranked = sorted(found, key=lambda m: (m.price, m.figure if goal.sense == "at_most" else -m.figure))
    out.meeting = [m for m in ranked if not m.apart]
    out.apart = [m for m in ranked if m.apart]
    shown = out.meeting[:SHOWN]
    columns = list(dict.fromkeys(symbol for m in shown for symbol in m.differs))
    if not shown or not columns:
        return
    table = d.table("hardware")
    for m in shown:
        stem = re.sub(r"\W", "_", m.entry.id)
        cells = {
            symbol: renamed(m.differs[symbol], f"{stem}_{symbol}") if symbol in m.differs else own[symbol]
            for symbol in columns
        }
        table.row(stem, **cells)
    rows = dict(zip(table.rows, shown, strict=True))
    changes = [(symbol, eq.taken_as(table[symbol])) for symbol in columns]
    d.rerun_column(table, "figure", figure, {row: m.figure for row, m in rows.items()}, changes)
    goal_value, reached = out["goal"], table["figure"]
    margin = common.saved(reached, goal_value) if goal.sense == "at_most" else eq.change(reached, goal_value)
    d.column(table, "margin", margin)
    out.hardware = table


def renamed(value: Value, name: str) -> Value:
    """Return the same number under another name."""
    return Value(name, value.value, value.unit, value.origin)


def _candidates(
    inner: Inner, held: Mapping[str, float | None], goal: Goal, inputs: Mapping[str, Value]
) -> list[Candidate]:
    """Return the accelerators, run through the program in one array."""
    import numpy

    resolved = []
    for entry in inner.zoo.entries("hardware"):
        if entry.flag("announced_only"):
            continue
        with contextlib.suppress(CallError, NonFiniteError, ValueError, KeyError):
            made = inner.at(hardware=entry.id)
            numbers = made.problem.numbers
            differs = {s: numbers[s] for s, v in inputs.items() if s in numbers and numbers[s].value != v.value}
            resolved.append((entry, made, differs))
    if not resolved:
        return []
    symbols = dict.fromkeys(symbol for _, _, differs in resolved for symbol in differs)
    vary = {
        symbol: numpy.array([float(differs.get(symbol, inputs[symbol]).value) for _, _, differs in resolved])
        for symbol in symbols
    }
    out, _ = inner.evaluated(vary, held)
    reached = numpy.broadcast_to(numpy.asarray(out[goal.symbol].value, dtype=float), (len(resolved),))
    return [
        Candidate(*candidate, figure, met)
        for candidate, figure, met in zip(resolved, reached.tolist(), goal.met(reached).tolist(), strict=True)
    ]


def _meets(goal: Goal, candidate: Candidate, apart: bool) -> Meets | None:
    """Return how an accelerator meets the goal, or None: it does not hold the work, or follows other equations (but `apart`)."""
    entry, made = candidate.entry, candidate.made
    try:
        if apart and not (goal.symbol in (own := made.silent()) and bool(goal.met(own[goal.symbol].value))):
            return None
        outcome, derivation = made.recorded()
        if goal.symbol not in outcome:
            return None
        figure = float(outcome[goal.symbol].value)
        same = candidate.met and math.isclose(figure, candidate.figure, rel_tol=1e-9)
        if not (same or apart) or not made.solver.present(made.problem, outcome, derivation).feasible:
            return None
    except (CallError, NonFiniteError, ValueError, KeyError):
        return None
    if not bool(goal.met(figure)):
        return None
    price = entry.number("price.purchase").value if entry.has("price.purchase") else math.inf
    return Meets(entry, figure, price, candidate.differs, not same)
