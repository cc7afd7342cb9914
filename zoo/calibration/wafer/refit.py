"""Fit the time a layer of decoding on wafer-scale systems from published rates; prints constants and errors.

Run: ``python refit.py``. One constant a software generation: the geometric mean over models of 1 / (rate · layers). A model
with several rows counts once. The log-spread is the 80th percentile of the errors on models left out of the fit, either sign;
with two models it is the distance between them.
"""

from __future__ import annotations

import math
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import yaml

ROWS = Path(__file__).parent / "rows.yaml"


def by_model(software: str) -> dict[str, float]:
    """Return the mean log of the seconds a layer of every model."""
    logs: dict[str, list[float]] = defaultdict(list)
    for row in yaml.safe_load(ROWS.read_text(encoding="utf-8"))["rows"]:
        if row["software"] == software:
            logs[_family(row)].append(-math.log(row["rate"] * row["layers"]))
    return {model: sum(values) / len(values) for model, values in logs.items()}


def _family(row: dict[str, Any]) -> str:
    name: str = row["model"]
    return name.replace("llama-3.3-70b", "llama-3.1-70b")


def fit(software: str) -> dict[str, float]:
    """Return the constant, its log-spread, and the mean error of models left out of the fit."""
    logs = by_model(software)
    mean = sum(logs.values()) / len(logs)
    left_out = sorted(v - (sum(logs.values()) - v) / (len(logs) - 1) for v in logs.values())
    absolute = sorted(abs(v) for v in left_out)
    at = 0.8 * (len(absolute) - 1)
    low = absolute[int(at)]
    spread = low + (absolute[min(int(at) + 1, len(absolute) - 1)] - low) * (at - int(at))
    error = sum(abs(math.expm1(-v)) for v in left_out) / len(left_out)
    return {
        "value": math.exp(mean),
        "low": math.exp(min(logs.values())),
        "high": math.exp(max(logs.values())),
        "spread": spread,
        "models": len(logs),
        "rate_error": error,
    }


def main() -> None:
    """Print both fits."""
    for software in ("plain", "drafted"):
        f = fit(software)
        sys.stdout.write(f"{software}: " + ", ".join(f"{k} {v:.4g}" for k, v in f.items()) + "\n")
        for model, log in by_model(software).items():
            sys.stdout.write(f"  {model:18s} {1e6 * math.exp(log):6.2f} us a layer\n")


if __name__ == "__main__":
    main()
