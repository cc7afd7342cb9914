"""Predictions of published rows on energy, carbon, water and cost."""

from __future__ import annotations

from mlwalls.server.accuracy.published import Scorer

SCORERS: dict[str, Scorer] = {}
