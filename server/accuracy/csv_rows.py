"""Serving latencies as CSV: id, backend, model_path, system, precision, isl, osl, …, silicon_ttft_ms, silicon_tpot_ms."""

from __future__ import annotations

import csv
import io

from mlwalls.server.accuracy.report import Outcome, Skipped
from mlwalls.zoo import Zoo


def is_format(text: str) -> bool:
    """Whether a text begins with this format's header."""
    return text.startswith("id,backend,")


def score(text: str, zoo: Zoo) -> list[Outcome]:
    """Predict the time per output token of every row."""
    return [Skipped(row["id"], "tpot", "no solver predicts this kind") for row in csv.DictReader(io.StringIO(text))]
