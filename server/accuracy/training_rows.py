"""Predictions of published rows on training runs."""

from __future__ import annotations

from mlwalls.server.accuracy.published import Scorer

SCORERS: dict[str, Scorer] = {}
