"""Bisection over whole numbers, on scalars and element by element on arrays."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal

from mlwalls.solvers.functions import where


def bisect_integer(rule: Literal["smallest", "largest"], low: Any, high: Any, holds: Callable[[Any], Any]) -> Any:
    """Bisect a monotone condition over whole numbers, element by element; NaN where none holds.

    `smallest` expects a condition that stays true once true, `largest` one that stays false once false.
    """
    up = rule == "smallest"
    best, other = (high, low) if up else (low, high)
    found = holds(best)
    if found is False:
        return math.nan
    good, bad = best + 0.0 * other, other + 0.0 * best
    at_other = holds(other)
    good = where(at_other, bad, good)
    gap = float(absolute_gap(good, bad))
    while gap > 1:
        middle = (good + bad) // 2
        good_here = holds(middle)
        good, bad = where(good_here, middle, good), where(good_here, bad, middle)
        gap = float(absolute_gap(good, bad))
    return where(found, good, math.nan)


def absolute_gap(a: Any, b: Any) -> float:
    """Return the largest distance between two numbers or arrays."""
    gap = abs(a - b)
    return float(gap if isinstance(gap, (int, float)) else gap.max())
