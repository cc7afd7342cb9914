"""Refit the training model's constants on the published rows beside this file, with fleet_efficiency's own computation.

Run: ``python refit.py``; prints constants, errors by kind and paper, and what leaving out one paper at a time gives.

Constants of mixtures of experts are fitted apart, on ``rows_experts.yaml``, with the others as they ship.

Every throughput, MFU and step-time row is put as a call (:mod:`mlwalls.server.accuracy.training_calls`), resolved once and
evaluated with other constants. Fitted: ``s_gemm``, ``kappa``, ``eta_fa`` and ``sigma``, in log, by least squares on log errors
with a soft-L1 loss and weak priors; a row weighs 1 where the figure was read in its source, else 0.6, over the fourth root of
the rows of its paper.
"""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from mlwalls.server.accuracy.training_calls import Unanswerable
from mlwalls.server.accuracy.training_rows import prepared
from mlwalls.solvers.registry import solvers
from mlwalls.zoo import Zoo

HERE = Path(__file__).resolve().parent
KINDS = ("training_throughput", "training_mfu", "training_step_time")
# Throughput is tokens over step time: one interval, set and judged on the rows of both kinds.
INTERVALS = {"step_time": ("training_throughput", "training_step_time"), "mfu": ("training_mfu",)}
# Starting values and the width of their priors, in log.
PRIORS = {"s_gemm": (0.92, 0.05), "kappa": (2.45, 0.3), "eta_fa": (0.2, 0.4), "sigma": (0.008, 0.5)}
HELD = {"s_fp8": (0.8, 0.1), "w_dp": (0.7, 0.2), "eta_net": (0.8, 0.15), "align": (0.58, 0.3), "imb": (0.7, 0.4)}
# Three times (forward, and backward twice that) what the serving calibration finds for its forward pass.
EXPERTS = {"route_bytes": (57.0, 0.7)}
SOFT = 0.1
"""Log error from which a row counts linearly."""


@dataclass(frozen=True)
class Case:
    """One row, resolved; ``predict`` takes constants by name and returns the figure in the row's unit."""

    id: str
    kind: str
    paper: str
    weight: float
    measured: float
    predict: Callable[[dict[str, Any]], Any]


def paper(source: str) -> str:
    """Return the name by which a source's rows are left out together."""
    for name in (
        "MoE Parallel Folding",
        "MegaScale-MoE",
        "Megatron Bridge",
        "Model Zoo",
        "AutoModel",
        "BigScience",
        "torchtitan",
        "llm-foundry",
        "MaxText",
        "MegaScale",
        "PaLM",
        "OPT",
        "Megatron-LM README",
    ):
        if name in source:
            return name
    return re.split(r" et al|,| 20\d\d", source)[0].strip()


def cases(file: str = "rows.yaml") -> list[Case]:
    """Return every row of a file that can be put as a call."""
    rows = [r for r in yaml.safe_load((HERE / file).read_text(encoding="utf-8"))["rows"] if r["kind"] in KINDS]
    zoo, solver, found = Zoo.builtin(), solvers()["fleet_efficiency"], []
    counts: dict[str, int] = {}
    for row in rows:
        try:
            problem, reading = prepared(row, zoo)
        except Unanswerable:
            continue
        name = paper(row["source"])
        counts[name] = counts.get(name, 0) + 1

        def predict(constants: dict[str, Any], problem: Any = problem, reading: Any = reading) -> Any:
            known = {k: v for k, v in constants.items() if k in problem.numbers}
            return reading(problem, solver.evaluate(problem, known))

        found.append(Case(row["id"], row["kind"], name, 1.0 if row["checked"] else 0.6, float(row["value"]), predict))
    return [Case(c.id, c.kind, c.paper, c.weight / counts[c.paper] ** 0.25, c.measured, c.predict) for c in found]


def log_errors(of: Sequence[Case], constants: dict[str, float]) -> Any:
    """Return log predicted over measured, one a row."""
    return np.array([math.log(float(c.predict(constants)) / c.measured) for c in of])


def fit(of: Sequence[Case], priors: dict[str, tuple[float, float]], rounds: int = 12) -> dict[str, float]:
    """Return the constants that fit best: Gauss-Newton in log with numerical derivatives, soft-L1 by reweighting."""
    names = list(priors)
    x = np.zeros(len(names))
    centre = np.array([math.log(priors[n][0]) for n in names])
    width = np.array([priors[n][1] for n in names])
    weight = np.array([c.weight for c in of])
    nudges = np.vstack([np.zeros(len(names)), 1e-4 * np.eye(len(names))])
    for _ in range(rounds):
        tried = dict(zip(names, np.exp(centre + x + nudges).T, strict=True))
        logs = np.array([np.broadcast_to(np.log(c.predict(tried) / c.measured), len(nudges)) for c in of])
        error, slope = logs[:, 0], (logs[:, 1:] - logs[:, :1]) / 1e-4
        robust = np.sqrt(weight / np.sqrt(1 + (error / SOFT) ** 2))
        left = np.vstack([slope * robust[:, None] / SOFT, np.diag(1 / width)])
        right = np.concatenate([-error * robust / SOFT, -x / width])
        step = np.linalg.lstsq(left, right, rcond=None)[0]
        x = x + step
        if np.abs(step).max() < 1e-5:
            break
    return dict(zip(names, np.exp(centre + x).tolist(), strict=True))


def left_out(
    of: Sequence[Case], priors: dict[str, tuple[float, float]], rounds: int = 12
) -> tuple[Any, dict[str, dict[str, float]]]:
    """Return every row's log error with constants fitted on the other papers, and those constants by paper."""
    errors = np.zeros(len(of))
    fitted = {}
    for name in sorted({c.paper for c in of}):
        inside = [i for i, c in enumerate(of) if c.paper == name]
        fitted[name] = fit([c for c in of if c.paper != name], priors, rounds)
        errors[inside] = log_errors([of[i] for i in inside], fitted[name])
    return errors, fitted


def half_width(errors: Any, share: float = 0.8) -> float:
    """Return the half-width (log) that holds a new row with probability `share`: the quantile at ``share (n + 1) / n``."""
    return float(np.quantile(np.abs(errors), min(1.0, share * (len(errors) + 1) / len(errors))))


def held(of: Sequence[Case], errors: Any) -> Any:
    """Tell which rows lie inside the half-width that the other papers' errors give; rows are those of one shipped interval.

    A kind with rows of two papers must not be judged alone: each would be judged by the handful of rows of the other.
    """
    inside = []
    for case, error in zip(of, errors, strict=True):
        others = [e for e, other in zip(errors, of, strict=True) if other.paper != case.paper]
        inside.append(abs(error) <= half_width(others))
    return np.array(inside)


def statistics(errors: Any) -> str:
    """Print n, mean, median, bias and P90 of relative errors in percent."""
    relative = 100 * np.expm1(errors)
    size = np.abs(relative)
    return (
        f"{len(size):4} {size.mean():7.1f} {np.median(size):7.1f} {relative.mean():+7.1f} {np.quantile(size, 0.9):7.1f}"
    )


def main() -> None:
    """Fit on all rows, then leaving out one paper at a time; print constants and errors."""
    write = sys.stdout.write
    of = cases()
    best = fit(of, PRIORS)
    write("fitted   " + ", ".join(f"{k} {v:.4g}" for k, v in best.items()) + "\n")
    errors, fitted = left_out(of, PRIORS)
    for name in PRIORS:
        spread = [f[name] for f in fitted.values()]
        write(f"  {name}: {min(spread):.4g} to {max(spread):.4g} with one paper left out\n")
    write(f"{'':32}   n    mean  median    bias     P90  (%)\n")
    write(f"{'in sample':32}{statistics(log_errors(of, best))}\n")
    write(f"{'one paper left out':32}{statistics(errors)}\n")
    wide, _ = left_out(of, PRIORS | HELD)
    write(f"{'the same, nine refitted':32}{statistics(wide)}\n")
    for interval, kinds in INTERVALS.items():
        pool = [i for i, c in enumerate(of) if c.kind in kinds]
        inside = held([of[i] for i in pool], errors[pool])
        share = f"{100 * inside.mean():.0f} %"
        write(f"  {interval}: 80 % within exp({half_width(errors[pool]):.3f}), judged by other papers {share}\n")
        for kind in kinds:
            own = [of[i].kind == kind for i in pool]
            write(f"    {kind:28}{statistics(errors[pool][own])}    {100 * inside[own].mean():.0f} % inside\n")
    for name in sorted({c.paper for c in of}):
        write(f"  {name:30}{statistics(errors[[i for i, c in enumerate(of) if c.paper == name]])}\n")
    _worst(of, errors)
    of = cases("rows_experts.yaml")
    best = fit(of, EXPERTS)
    errors, fitted = left_out(of, EXPERTS)
    inside = held(of, errors)
    spread = [f["route_bytes"] for f in fitted.values()]
    write(
        f"experts: route_bytes {best['route_bytes']:.3g}, {min(spread):.3g} to {max(spread):.3g} with one source left out\n"
    )
    write(f"{'in sample':32}{statistics(log_errors(of, best))}\n")
    write(f"{'one source left out':32}{statistics(errors)}\n")
    write(f"  80 % within exp({half_width(errors):.3f}), judged by other sources {100 * inside.mean():.0f} %\n")
    for name in sorted(fitted):
        own = [c.paper == name for c in of]
        write(f"  {name:30}{statistics(errors[own])}    {100 * inside[own].mean():.0f} % inside\n")
    _worst(of, errors)


def _worst(of: Sequence[Case], errors: Any) -> None:
    for i in np.argsort(-np.abs(errors))[:12]:
        sys.stdout.write(f"    {of[i].id:40} {100 * math.expm1(errors[i]):+6.1f}\n")


if __name__ == "__main__":
    main()
