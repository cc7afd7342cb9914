"""Errors of predictions, by kind and by group; rows without a prediction are counted with their reasons."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Scored:
    """A row with a prediction.

    Attributes:
        id, kind: of the row.
        groups: what it is counted by besides its kind, e.g. paper, model, chip, engine.
        measured, predicted: in the row's own unit.
        low, high: the prediction's 80 % interval, where the solver gives one.
    """

    id: str
    kind: str
    measured: float
    predicted: float
    low: float | None = None
    high: float | None = None
    groups: Mapping[str, str] = field(default_factory=dict)

    @property
    def error(self) -> float:
        """Relative error of the prediction, with its sign."""
        return self.predicted / self.measured - 1

    @property
    def covered(self) -> bool | None:
        """Whether the interval holds the measured value; None where there is no interval."""
        if self.low is None or self.high is None:
            return None
        return self.low <= self.measured <= self.high


@dataclass(frozen=True, slots=True)
class Skipped:
    """A row without a prediction: `excluded` where it should not be scored, else no solver can answer it."""

    id: str
    kind: str
    reason: str
    excluded: bool = False


Outcome = Scored | Skipped


def statistics(rows: Sequence[Scored]) -> dict[str, Any]:
    """Return n, mean, median and P90 of the absolute error, bias (mean signed error) and coverage, all in percent."""
    import numpy

    errors = numpy.array([row.error for row in rows])
    size = numpy.abs(errors)
    judged = [row.covered for row in rows if row.covered is not None]
    found: dict[str, Any] = {
        "rows": len(rows),
        "mean": _percent(size.mean()),
        "median": _percent(numpy.median(size)),
        "bias": _percent(errors.mean()),
        "p90": _percent(numpy.percentile(size, 90)),
    }
    if judged:
        found["coverage"] = _percent(sum(judged) / len(judged))
    return found


def summary(outcomes: Iterable[Outcome]) -> dict[str, Any]:
    """Return the report as plain data: all rows, by kind, by every group, and the reasons of the rows without a prediction."""
    outcomes = list(outcomes)
    scored = [o for o in outcomes if isinstance(o, Scored)]
    skipped = [o for o in outcomes if isinstance(o, Skipped)]
    report: dict[str, Any] = {"rows": len(outcomes), "scored": len(scored)}
    if scored:
        report["all"] = statistics(scored)
        report["by"] = {"kind": _by(scored, lambda row: row.kind)}
        for name in dict.fromkeys(name for row in scored for name in row.groups):
            report["by"][name] = _by([r for r in scored if name in r.groups], lambda row, name=name: row.groups[name])
    for name, excluded in (("unanswerable", False), ("excluded", True)):
        reasons = Counter(f"{o.kind}: {o.reason}" for o in skipped if o.excluded is excluded)
        report[name] = dict(sorted(reasons.items(), key=lambda item: (-item[1], item[0])))
    return report


def report_text(report: Mapping[str, Any]) -> str:
    """Print a report: one table, errors in percent, then the rows without a prediction."""
    lines = [f"{report['scored']} of {report['rows']} rows predicted"]
    if "all" in report:
        lines += ["", f"{'':34}{'rows':>6}{'mean':>8}{'median':>8}{'bias':>8}{'P90':>8}{'coverage':>10}  (%)"]
        lines.append(_line("all", report["all"]))
        for group, parts in report["by"].items():
            lines += ["", f"by {group}", *(_line(name, part) for name, part in parts.items())]
    for name in ("unanswerable", "excluded"):
        if report[name]:
            lines += ["", f"{sum(report[name].values())} rows {name}"]
            lines += [f"{count:6}  {reason}" for reason, count in report[name].items()]
    return "\n".join(lines)


def _by(rows: Sequence[Scored], key: Any) -> dict[str, Any]:
    parts: dict[str, list[Scored]] = {}
    for row in rows:
        parts.setdefault(key(row), []).append(row)
    return {name: statistics(part) for name, part in sorted(parts.items())}


def _line(name: str, part: Mapping[str, Any]) -> str:
    numbers = "".join(f"{part[key]:>8.1f}" for key in ("mean", "median", "bias", "p90"))
    coverage = f"{part['coverage']:>10.0f}" if "coverage" in part else f"{'-':>10}"
    return f"  {name[:31]:32}{part['rows']:>6}{numbers}{coverage}"


def _percent(share: Any) -> float:
    return round(100 * float(share), 2)
