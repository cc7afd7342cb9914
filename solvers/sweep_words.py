"""The sweep tool's typed result and its wording."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from mlwalls.solvers.assignments import written
from mlwalls.solvers.derivation import Derivation, Table, Value
from mlwalls.solvers.inner import Inner
from mlwalls.solvers.solver import Binding, Presentation, Problem, SolverResult
from mlwalls.solvers.sweeping import Swept
from mlwalls.solvers.words import figure, first, fit_result

# So many points are named in a sentence, each with its figure.
NAMED = 6


class SweepResult(SolverResult):
    """Typed outputs; the `point_` lists are one entry a point shown."""

    metric: str
    unit: str
    swept: str
    best_point: str = Field(description="Best feasible.")
    best_value: float
    against: str | None = None
    against_unit: str | None = None
    best_against: float | None = None
    point_rows: list[str] | None = None
    point_value: list[float] | None = None
    point_against: list[float] | None = None
    other_rows: list[str] | None = None
    other_value: list[float] | None = None
    other_against: list[float] | None = None
    calls: list[str] | None = Field(default=None, description="Of others.")


class SweepOutcome(dict[str, Value]):
    """The outcome, with what the wording needs besides."""

    def __init__(self, inner: Inner, swept: Swept, best: int, presented: Presentation) -> None:
        super().__init__()
        self.inner, self.swept, self.best, self.presented = inner, swept, best, presented
        self.table: Table | None = None
        self.shown: list[int] = []
        self.front: list[int] = []
        self.other: Table | None = None
        self.apart: list[int] = []
        self.calls: list[str] = []
        self.infeasible: dict[int, str] = {}


def point_text(swept: Swept, index: int) -> str:
    """Return a point as ``name=value, …``."""
    return ", ".join(f"{name}={written(_short(value))}" for name, value in swept.point(index).items())


def _short(value: Any) -> Any:
    return float(f"{value:.6g}") if isinstance(value, float) else value


def present(problem: Problem, out: Any, d: Derivation) -> Presentation:
    """Word the answer: the best point first, how it compares, what has no answer."""
    assert isinstance(out, SweepOutcome)
    s = problem.structure
    metric, direction = s.metrics[0], s.best[0]
    swept = out.swept
    feasible = out.presented.feasible
    values = swept.figures[metric.symbol]
    import numpy

    usable = numpy.isfinite(values)
    missing = swept.size - int(usable.sum())
    if feasible:
        usable[list(out.infeasible)] = False
    finite = values[usable]
    other = metric.shown(float(finite.max() if direction == "lowest" else finite.min()))
    unit = f" {metric.unit}" if metric.unit else ""
    best = f"{figure(first(out['best_value']))}{unit}"
    sentence = (
        f"{direction.capitalize()} {metric.symbol} of {out.inner.solver.name} over {swept.size:,} points: {best} at "
        f"{point_text(swept, out.best)}"
    )
    if 1 < finite.size <= NAMED and not out.front:
        sentence += "; " + ", ".join(
            f"{figure(metric.shown(float(values[i])))} at {point_text(swept, i)}"
            for i in sorted(numpy.flatnonzero(usable).tolist(), key=lambda i: values[i], reverse=direction == "highest")
            if i != out.best
        )
    elif finite.size > 1:
        sentence += f"; {'at most' if direction == 'lowest' else 'at least'} {figure(other)}{unit} elsewhere"
    if feasible and out.infeasible:
        sentence += f"; {len(out.infeasible)} of them infeasible"
    if missing:
        sentence += f"; {missing:,} without an answer"
    sentence += "."
    if out.front:
        second = s.metrics[1]
        sentence += (
            f" {len(out.front):,} of them are best in {metric.symbol} and {second.symbol}: none is better in both."
        )
    if not feasible:
        sentence = (
            f"No feasible point found ({out.presented.verdict.split('. ')[0].rstrip('.')}). If it were: {sentence}"
        )
    extra: dict[str, Any] = {
        "metric": metric.symbol,
        "unit": metric.unit or "1",
        "swept": f"{swept.size:,} points" + (f", {missing:,} without an answer" if missing else ""),
        "best_point": point_text(swept, out.best),
    }
    if len(s.metrics) > 1:
        extra |= {"against": s.metrics[1].symbol, "against_unit": s.metrics[1].unit or "1"}
    if out.table is not None:
        rows = out.table.rows.values()
        extra["point_rows"] = [point_text(swept, index) for index in out.shown]
        extra["point_value"] = [float(f"{row['value']:.6g}") for row in rows]
        if len(s.metrics) > 1:
            extra["point_against"] = [float(f"{row['against']:.6g}") for row in rows]
    if out.other is not None:
        rows = out.other.rows.values()
        extra |= {"other_rows": [point_text(swept, index) for index in out.apart], "calls": out.calls}
        extra["other_value"] = [float(f"{row['value']:.6g}") for row in rows]
        if len(s.metrics) > 1:
            extra["other_against"] = [float(f"{row['against']:.6g}") for row in rows]
    warnings = [w for w in out.inner.problem.warnings if w not in problem.warnings]
    warnings += [f"{count:,} points: {why}" for why, count in list(swept.reasons.items())[:3]]
    warnings += [f"{point_text(swept, i)}: {verdict.split('. ')[0]}" for i, verdict in list(out.infeasible.items())[:3]]
    binding = Binding(out.presented.binding.slug, out.presented.binding.runner_up)
    result = fit_result(SweepResult, out, extra, set())
    return Presentation(sentence, feasible, binding, result, warnings)
