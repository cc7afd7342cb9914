"""The inverse_spec tool's typed result and its wording."""

from __future__ import annotations

import math
from typing import Any

from pydantic import Field

from mlwalls.solvers.derivation import Derivation, Table, Value
from mlwalls.solvers.inner import Inner, Lever, Metric
from mlwalls.solvers.meeting import Meets
from mlwalls.solvers.replicas import Group, Plan
from mlwalls.solvers.searching import Found, Goal, Whole
from mlwalls.solvers.solver import Binding, Presentation, Problem, SolverResult
from mlwalls.solvers.turning import kept_as_found
from mlwalls.solvers.units import reduce_unit
from mlwalls.solvers.words import figure, first, fit_result, seconds


class InverseResult(SolverResult):
    """Typed outputs; the `need_` lists are one entry a number solved for, in SI."""

    metric: str
    unit: str = Field(description="Of the figures.")
    sense: str
    target_figure: float
    base_value: float = Field(description="For a whole number, at what was found.")
    need_rows: list[str] | None = None
    need_unit: list[str] | None = None
    need_value: list[float] | None = None
    need_times: list[float] | None = None
    need_margin_percent: list[float] | None = Field(default=None, description="From the target.")
    need: int | None = None
    need_accelerators: int | None = None
    need_plan: str | None = None
    group_size: list[int] | None = Field(default=None, description="Of a replica.")
    group_figure: list[float] | None = None
    group_accelerators: list[int] | None = None
    joint: float | None = None
    limit_value: float | None = Field(default=None, description="Nearest, when it cannot be met.")
    limited_by: str | None = None
    hardware_rows: list[str] | None = Field(default=None, description="Cheapest first.")
    hardware_margin_percent: list[float] | None = None
    hardware_price: list[str] | None = None
    hardware_meeting: str | None = None


class Inverse(dict[str, Value]):
    """The outcome, with what the wording needs besides."""

    def __init__(self, inner: Inner, metric: Metric, goal: Goal) -> None:
        super().__init__()
        self.inner, self.metric, self.goal = inner, metric, goal
        self.shown: Presentation | None = None
        self.searched: dict[str, Found] = {}
        self.slack: list[str] = []
        self.table: Table | None = None
        self.whole: Whole | None = None
        self.lever: Lever | None = None
        self.meeting: list[Meets] | None = None
        self.apart: list[Meets] = []
        self.hardware: Table | None = None
        self.plan: Plan | None = None
        self.groups: Table | None = None
        self.limited = self.part = ""
        self.kept: list[str] = []


_SCALES = ((1e18, "E"), (1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


def quantity(number: float, unit: str) -> str:
    """Print an SI quantity with the prefix that suits it: 2.78 TB/s."""
    if unit == "s":
        return seconds(number)
    head, _, tail = unit.partition("/")
    if head in ("byte", "FLOP"):
        factor, prefix = next(((f, p) for f, p in _SCALES if number >= f), (1.0, ""))
        return f"{figure(number / factor, 4)} {prefix}{'B' if head == 'byte' else head}{'/' + tail if tail else ''}"
    return f"{figure(number, 4)} {unit}".rstrip()


def present(problem: Problem, out: Any, d: Derivation) -> Presentation:
    """Word the answer: what it takes, beside what it is; what remains where nothing meets the target."""
    assert isinstance(out, Inverse) and out.shown is not None
    unit = out.metric.unit
    target = f"{figure(problem.numbers.target_figure.value, 4)} {unit}".rstrip()
    what = f"{out.inner.solver.name}'s {_spoken(out.metric.symbol)} {_spoken(out.goal.sense)} {target}"
    met = bool(out.plan) or out.whole.number is not None if out.whole else bool(out.table) or bool(out.slack)
    if out.whole is not None:
        sentence = _whole_text(out, what)
    elif not met:
        sentence = _never(out, what)
    else:
        sentence = _needs_text(problem, out, what)
    sentence += _hardware_text(out)
    shown = out.shown
    feasible = met and (shown.feasible or (out.whole is not None))
    if met and not shown.feasible and out.whole is None:
        sentence = f"{sentence} But the scenario itself is infeasible: {shown.verdict.split('. ')[0].rstrip('.')}."
    binding = Binding(shown.binding.slug, shown.binding.runner_up)
    more = [warning for warning in out.inner.problem.warnings if warning not in problem.warnings]
    return Presentation(sentence, feasible, binding, _result(problem, out), [*more, *kept_as_found(out.kept)])


def _needs_text(problem: Problem, out: Inverse, what: str) -> str:
    parts = []
    if out.table is not None:
        for symbol, cells in out.table.rows.items():
            value = problem.numbers[symbol]
            found = out.searched.get(symbol) or out.searched["joint"]
            edge = "at least" if found.rule == "smallest" else "at most"
            parts.append(
                f"{edge} {quantity(value.value * cells['times'], value.unit)} of {symbol} ({figure(cells['times'])}x what it is)"
            )
    join = " and " if "joint" in out else "; or "
    text = f"For {what}: {join.join(parts)}." if parts else f"{what} is met whatever {', '.join(out.slack)} may be."
    never = [x for x, f in out.searched.items() if f.number is None and not f.any_does]
    if never and parts:
        text += f" No {' or '.join(never)} alone does it."
    return text


def _never(out: Inverse, what: str) -> str:
    if "limit_value" not in out:
        return f"Nothing searched meets {what}."
    part = f", of which {out.part} is {quantity(first(out['part']), out['part'].unit)}" if out.part else ""
    still = f"{figure(first(out['limit_value']), 4)} {out.metric.unit}".rstrip()
    return f"{what} cannot be met by {out.limited}: at any amount of it, it is still {still}{part}."


def _spoken(name: str) -> str:
    return name.removeprefix("n_").replace("_", " ")


def _shown(out: Inverse, number: float) -> str:
    """Print an SI number of the figure in the unit asked for."""
    unit = {"per_s": "a second", "1/s": "a second"}.get(out.metric.unit, out.metric.unit)
    return f"{figure(out.metric.shown(number), 4)} {unit}".rstrip()


def _whole_text(out: Inverse, what: str) -> str:
    assert out.whole is not None and out.lever is not None
    found, name = out.whole, _spoken(out.lever.argument)
    counted = name.endswith("s") and not out.lever.listed
    gives = _shown(out, first(out["base_value"]) * out.metric.factor)
    if found.number is None:
        if out.plan is not None:
            return f"For {what}: {_replicas(out, out.plan.best)}{_one_group(out, out.plan)}."
        part = ""
        if out.part and reduce_unit(out["part"].unit):
            part = f", of which {out.part} is {quantity(first(out['part']), out['part'].unit)}"
        span = f"{out.lever.limits[0]} to {out.lever.limits[1]:,}"
        return f"No {'number of ' * counted}{name} from {span} meets {what}; the nearest gives {gives}{part}."
    edge = "at least" if found.rule == "smallest" else "at most"
    other = found.number + (-1 if found.rule == "smallest" else 1)
    why = f" (not {other:,}: {found.next_is.removeprefix(f'{out.lever.argument}: ')})" if found.next_is else ""
    value = f"{edge} {found.number:,} {name}, which give" if counted else f"{name} {edge} {found.number:,}, which gives"
    if counted and found.number == 1 and found.rule == "smallest":
        value = f"1 {name[:-1]} is enough and gives"
    text = f"For {what}: {value} {gives}{why}."
    return f"{text} Where replicas do, fewer are enough: {_replicas(out, out.plan.best)}." if out.plan else text


def _replicas(out: Inverse, best: Group) -> str:
    each = _shown(out, best.figure)
    if best.replicas == 1:
        return f"{best.size:,} accelerators as one group, which gives {each}"
    group = "one" if best.size == 1 else f"{best.size:,}"
    return f"{best.accelerators:,} accelerators, as {best.replicas:,} replicas of {group} with {each} each"


def _one_group(out: Inverse, plan: Plan) -> str:
    """Say among how many sizes that is the fewest, and how far one group goes."""
    most = max(plan.groups, key=lambda g: g.figure)
    if len(plan.groups) == 1:
        return ", the only size of group that holds it"
    alone = f"one group alone gives at most {_shown(out, most.figure)}, with {most.size:,}"
    return f", the fewest of {len(plan.groups)} group sizes that hold it; {alone}"


def _hardware_text(out: Inverse) -> str:
    if out.meeting is None:
        return ""
    every = sorted([*out.meeting, *out.apart], key=lambda m: m.price)
    if not every:
        return " No accelerator of the zoo meets it as it is."
    best = every[0]
    counted = out.lever is not None and out.lever.argument == "n_accelerators" and out.whole is not None
    number = out.whole.number if counted and out.whole is not None else None
    each = "" if number is None else " each"
    price = f" at {figure(best.price)} USD{each}" if math.isfinite(best.price) else ""
    cheapest = f"the cheapest with a known price is {best.entry.name}{price}" if price else f"one is {best.entry.name}"
    verb = "meets it as it is" if len(every) == 1 else "meet it as they are"
    if number is not None:
        verb = f"meet{'s' if len(every) == 1 else ''} it in the same number, {number:,} of them"
    own = f", {len(out.apart)} by plans or equations of their own" if out.apart else ""
    return f" {len(every)} of the zoo's accelerators {verb}{own}; {cheapest}."


def _result(problem: Problem, out: Inverse) -> InverseResult:
    extra: dict[str, Any] = {
        "metric": out.metric.symbol,
        "unit": out.metric.unit or "1",
        "sense": out.goal.sense,
        "target_figure": float(f"{problem.numbers.target_figure.value:.6g}"),
    }
    if out.table is not None:
        rows = out.table.rows
        extra["need_rows"] = list(rows)
        extra["need_unit"] = [problem.numbers[symbol].unit or "1" for symbol in rows]
        extra["need_value"] = [float(f"{cells['value']:.6g}") for cells in rows.values()]
        extra["need_times"] = [float(f"{cells['times']:.6g}") for cells in rows.values()]
        if all("margin" in cells for cells in rows.values()):
            extra["need_margin_percent"] = [float(f"{100 * cells['margin']:.6g}") for cells in rows.values()]
    if out.part:
        extra["limited_by"] = out.part
    if out.plan is not None and out.groups is not None:
        best, groups = out.plan.best, list(out.groups.rows.values())
        extra["need_accelerators"] = best.accelerators
        extra["need_plan"] = f"{best.replicas} x {best.size}"
        extra["group_size"] = [int(cells["size"]) for cells in groups]
        extra["group_figure"] = [float(f"{cells['figure']:.6g}") for cells in groups]
        extra["group_accelerators"] = [int(cells["accelerators"]) for cells in groups]
    if out.meeting is not None:
        extra["hardware_meeting"] = f"{len(out.meeting) + len(out.apart)} of {len(out.inner.zoo.entries('hardware'))}"
    if out.hardware is not None and out.meeting:
        shown = out.meeting[: len(out.hardware.rows)]
        extra["hardware_rows"] = [m.entry.id for m in shown]
        extra["hardware_margin_percent"] = [float(f"{100 * c['margin']:.6g}") for c in out.hardware.rows.values()]
        extra["hardware_price"] = [f"{figure(m.price, 6)} USD" if math.isfinite(m.price) else "unknown" for m in shown]
    return fit_result(InverseResult, {k: v for k, v in out.items() if k != "goal"}, extra, set())
