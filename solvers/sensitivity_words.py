"""The sensitivity tool's typed result and its wording."""

from __future__ import annotations

import math
from typing import Any

from pydantic import Field

from mlwalls.solvers.derivation import Derivation, Table, Value
from mlwalls.solvers.inner import Inner, Metric
from mlwalls.solvers.shares import LITTLE
from mlwalls.solvers.solver import Binding, Presentation, Problem, SolverResult
from mlwalls.solvers.turning import Turn, kept_as_found
from mlwalls.solvers.words import figure, first, fit_result, seconds

_TIMES = ("s", "ms", "us", "ns", "h", "days", "years")
# Fixed times in words.
_FIXED = {
    "tau": "per-layer overhead (tau)",
    "t_sequence": "the host's work for each sequence (t_sequence)",
    "t_start": "the constant start of a request (t_start)",
}


class SensitivityResult(SolverResult):
    """Typed outputs; the `vary_` lists are one entry a number, strongest first."""

    metric: str
    unit: str
    base_value: float
    vary_rows: list[str]
    vary_elasticity: list[float] = Field(description="Percent a percent.")
    vary_plus_percent: list[float] = Field(description="Change at +finite_step_percent.")
    vary_minus_percent: list[float]
    finite_step_percent: float = Field(description="10, or less near other equations.")
    elasticity_ratio: float | None = Field(default=None, description="First over second.")
    next_change: float | None = Field(default=None, description="Factor where the next regime begins.")
    next_change_is: str | None = None
    elasticity_below: float | None = Field(default=None, description="Below it, where that is near.")
    elasticity_above: float | None = None


class Findings(dict[str, Value]):
    """The outcome, with what the wording needs besides: order of the rows, their table, regime changes."""

    # `fixed`: the fixed time that outweighs every rate, and its elasticity.

    def __init__(self, inner: Inner, metric: Metric) -> None:
        super().__init__()
        self.inner, self.metric = inner, metric
        self.order: list[str] = []
        self.turns: list[Turn] = []
        self.kept: list[str] = []
        self.table: Table | None = None
        self.fixed: tuple[str, float] | None = None


def quantity(number: float, unit: str) -> str:
    """Print a figure with its unit, times in the unit that suits them."""
    return seconds(number) if unit == "s" and number > 0 else f"{figure(number)} {unit}".rstrip()


def _percent(elasticity: float) -> str:
    return f"{elasticity:.3g}" if abs(elasticity) >= 1e-4 else "0"


def _turn_text(turn: Turn) -> str:
    return f"{turn.symbol} x{figure(turn.factor)}: {turn.after} takes over from {turn.before}"


def _fixed(out: Findings, rows: dict[str, dict[str, Any]]) -> str:
    """Say first which fixed time outweighs what is varied, and that the rates gain little where they do."""
    if out.fixed is None:
        return ""
    symbol, elasticity = out.fixed
    rest = [abs(rows[name]["elasticity"]) for name in out.order if name != symbol]
    little = ", so that the rates gain next to nothing," if rest and max(rest) < LITTLE else ""
    named = "" if symbol in out.order else "of these "
    said = f"{_FIXED.get(symbol, symbol)}{little} and {named}"
    # A time's elasticity to a fixed time is that one's share of it.
    time = out.metric.unit in _TIMES
    return f"is {figure(100 * elasticity)} % {said}" if time else f"rests most on {said}"


def present(problem: Problem, out: Any, d: Derivation) -> Presentation:
    """Word the answer: the strongest number first, its lead, then where that changes."""
    assert isinstance(out, Findings) and out.table is not None
    shown = out.inner.presented()
    rows = {name: out.table.rows[name] for name in out.order}
    strongest = out.order[0]
    fixed = _fixed(out, rows)
    lead = f"{strongest}: {_percent(rows[strongest]['elasticity'])} % a percent"
    if len(out.order) > 1:
        second = out.order[1]
        ratio = f", {figure(first(out['elasticity_ratio']))}x less" if "elasticity_ratio" in out else ""
        lead += f"; {second}: {_percent(rows[second]['elasticity'])}{ratio}"
    effect = (
        f"{100 * problem.structure.step:g} % more {strongest} changes it by {figure(100 * rows[strongest]['plus'])} %"
    )
    regime = ""
    if out.turns:
        turn = out.turns[0]
        regime = f" The regime changes at {_turn_text(turn)}."
        if "elasticity_below" in out:
            sides = (first(out["elasticity_below"]), first(out["elasticity_above"]))
            regime += f" Below that the elasticity is {_percent(sides[0])}, above {_percent(sides[1])}."
    base = first(out["base_value"])
    name = f"{out.inner.solver.name}'s {out.metric.symbol}"
    sentence = (
        f"{name} ({quantity(base, out.metric.unit)}) {fixed}answers most to {lead}. "
        f"{effect[0].upper()}{effect[1:]}.{regime}"
    )
    if not shown.feasible:
        sentence = (
            f"The scenario is infeasible ({shown.verdict.split('. ')[0].rstrip('.')}); if it were not: {sentence}"
        )

    def column(key: str, factor: float = 1.0) -> list[float]:
        return [float(f"{rows[name][key] / factor:.6g}") for name in out.order]

    extra: dict[str, Any] = {
        "metric": out.metric.symbol,
        "unit": out.metric.unit or "1",
        "vary_rows": out.order,
        "vary_elasticity": column("elasticity"),
        "vary_plus_percent": column("plus", 0.01),
        "vary_minus_percent": column("minus", 0.01),
    }
    if out.turns:
        extra["next_change_is"] = _turn_text(out.turns[0])
    result = fit_result(SensitivityResult, out, extra, set())
    binding = Binding(shown.binding.slug, shown.binding.runner_up)
    return Presentation(
        sentence, shown.feasible, binding, result, [*kept_as_found(out.kept), *_warnings(rows, problem.structure.step)]
    )


def _warnings(rows: dict[str, dict[str, Any]], step: float) -> list[str]:
    found = []
    for name, row in rows.items():
        if min(row["plus"], row["minus"]) <= -1:
            found.append(f"{name}: the figure changes its sign within {100 * step:g} %")
            continue
        up, down = (math.log1p(row[k]) / math.log1p(x) for k, x in (("plus", step), ("minus", -step)))
        if abs(up - row["elasticity"]) > 0.1 or abs(down - row["elasticity"]) > 0.1:
            found.append(
                f"{name}: the elasticity is not the same {100 * step:g} % away ({_percent(down)} below, {_percent(up)} above)"
            )
    return found
