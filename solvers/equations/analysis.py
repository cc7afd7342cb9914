"""Formulas of the analysis walls: how a figure answers to one of its numbers."""

from __future__ import annotations

from mlwalls.solvers.derivation import equation
from mlwalls.solvers.functions import absolute, log


@equation("T", value="T")
def scaled(value, factor):
    """A quantity times a factor."""
    return value * factor


@equation("T", value="T")
def taken_as(value):
    """A quantity as it is."""
    return value


@equation("", up="T", down="T", wall="sensitivity")
def elasticity(up, down, h_up, h_down):
    """Relative change of a figure a relative change of a number, by the central difference of logarithms."""
    return log(up / down) / log(h_up / h_down)


@equation("", figure="T", edge="T", number="U", base="U")
def secant(figure, edge, number, base, factor):
    """The same between two values of the number, `number` and `base` times `factor`, with their figures."""
    return log(figure / edge) / log(number / (base * factor))


@equation("", after="T", before="T")
def change(after, before):
    """Relative change."""
    return after / before - 1


@equation("")
def weighted(elasticity, weight):
    """An elasticity where its weight is one."""
    return elasticity * weight


@equation("")
def strength_ratio(a, b):
    """Ratio of two elasticities without their signs."""
    return absolute(a) / absolute(b)
