"""A target met by copies: how many accelerators a replica, and how many replicas, where a figure adds up over them.

Every size of group that holds the work is resolved and computed as a call of its own; the plan is the one with the fewest
accelerators in all, of equals the one that gives more. Its program is run again at every size that follows the same equations.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlwalls.solvers.derivation import Derivation, NonFiniteError, Origin, Row, Step, Value
from mlwalls.solvers.equations import analysis as eq
from mlwalls.solvers.equations import common
from mlwalls.solvers.errors import CallError
from mlwalls.solvers.inner import Inner, Lever
from mlwalls.solvers.meeting import renamed
from mlwalls.solvers.searching import Goal
from mlwalls.solvers.slicing import inputs_of, steps_behind
from mlwalls.solvers.turning import held_searches

if TYPE_CHECKING:
    from mlwalls.solvers.inverse_words import Inverse

LARGEST_GROUP = 64
SHOWN = 6
# More than were ever made.
MOST = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Group:
    """One size of replica: its request, what it gives, and what so many as the target takes come to."""

    size: int
    inner: Inner
    figure: float
    replicas: int

    @property
    def accelerators(self) -> int:
        """All of them."""
        return self.size * self.replicas


@dataclass(frozen=True, slots=True)
class Plan:
    """The cheapest way to meet a target with replicas, among all sizes that hold the work."""

    best: Group
    groups: tuple[Group, ...]


def adds_up(inner: Inner, goal: Goal, lever: Lever) -> bool:
    """Return whether a figure adds up over replicas; training steps do not: their replicas exchange gradients."""
    return (
        lever.argument == "n_accelerators"
        and lever.scale == 1
        and goal.sense == "at_least"
        and goal.symbol in inner.solver.per_replica
        and inner.arguments.get("phase") != "training"
    )


def planned(inner: Inner, goal: Goal, lever: Lever) -> Plan | None:
    """Return the plan with the fewest accelerators, or None: no group holds the work, or it takes more than there are."""
    groups = []
    for size in range(max(1, lever.limits[0]), min(lever.limits[1], LARGEST_GROUP) + 1):
        try:
            made = inner.at(n_accelerators=size)
            out, derivation = made.recorded()
            if goal.symbol not in out or not made.solver.present(made.problem, out, derivation).feasible:
                continue
        except (CallError, NonFiniteError, ValueError):
            continue
        figure = float(out[goal.symbol].value)
        if figure > 0 and math.isfinite(figure):
            groups.append(Group(size, made, figure, math.ceil(goal.number / figure)))
    if not groups:
        return None
    ranked = sorted(groups, key=lambda g: (g.accelerators, -g.replicas * g.figure))
    return Plan(ranked[0], tuple(groups)) if ranked[0].accelerators <= MOST else None


def program_of(plan: Plan, goal: Goal) -> Inner:
    """Return the request whose program gives the best group's figure, and those of most others."""

    def worth(made: Inner) -> tuple[bool, int, bool]:
        outcome, base = made.recorded()
        again = _again(
            made, plan, goal, held_searches(base), inputs_of(steps_behind(base, [outcome[goal.symbol].name]))
        )
        return plan.best.size in again, len(again), made is plan.best.inner

    return max((group.inner for group in plan.groups), key=worth)


def _again(
    shown: Inner, plan: Plan, goal: Goal, held: Mapping[str, float | None], inputs: Mapping[str, Value]
) -> dict[int, dict[str, Value]]:
    """Return, for each group that the program gives the figure of, the numbers that it has to be run with."""
    found = {}
    for group in plan.groups:
        numbers = group.inner.problem.numbers
        differs = {s: numbers[s] for s, v in inputs.items() if s in numbers and numbers[s].value != v.value}
        out, _ = shown.evaluated({symbol: value.value for symbol, value in differs.items()}, held)
        if math.isclose(float(out[goal.symbol].value), group.figure, rel_tol=1e-9):
            found[group.size] = differs
    return found


def replica_rows(
    plan: Plan,
    symbol: str,
    held: Mapping[str, float | None],
    d: Derivation,
    out: Inverse,
    figure: Value,
    behind: Sequence[Row | Step],
) -> None:
    """Record the groups as the program run again in each size, and the fewest accelerators; nothing where it shows no best."""
    own = out.inner.problem.numbers
    again = _again(out.inner, plan, out.goal, held, inputs_of(behind))
    if plan.best.size not in again:
        return
    cheapest = sorted((g for g in plan.groups if g.size in again), key=lambda g: (g is not plan.best, g.accelerators))
    groups = sorted(cheapest[:SHOWN], key=lambda g: g.size)
    others = list(dict.fromkeys(s for g in groups for s in again[g.size] if s != own[symbol].name))
    table = d.table("group")
    for group in groups:
        stem = f"group_of_{group.size}"
        cells = {"size": Value(stem, float(group.size), "", Origin("defined"))}
        for name in others:
            value = again[group.size].get(name)
            cells[name] = own[name] if value is None else renamed(value, f"{stem}_{name}")
        table.row(f"of_{group.size}", **cells)
    changes = [(own[symbol].name, eq.taken_as(table["size"])), *((s, eq.taken_as(table[s])) for s in others)]
    d.rerun_column(table, "figure", figure, {f"of_{g.size}": g.figure for g in groups}, changes)
    d.column(table, "replicas", eq.copies(out["goal"], table["figure"]))
    d.column(table, "accelerators", common.product(table["replicas"], table["size"]))
    out["need_accelerators"] = d.least("need_accelerators", table, eq.taken_as(table["accelerators"]))
    out.plan, out.groups = plan, table
