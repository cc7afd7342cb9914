"""Predictions of published rows on serving throughput and latency."""

from __future__ import annotations

from mlwalls.server.accuracy.published import Scorer

SCORERS: dict[str, Scorer] = {}
