"""Formulas of the analysis walls: how a figure answers to one of its numbers."""

from __future__ import annotations

from mlwalls.solvers.derivation import equation
from mlwalls.solvers.equations.cost import HOUR
from mlwalls.solvers.functions import absolute, ceil, log, minimum


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


@equation("", goal="T", each="T")
def copies(goal, each):
    """Copies of something that together reach a goal, where each adds as much."""
    return ceil(goal / each)


@equation("FLOP", peak="FLOP/s", time="s", cite="kaplan2020")
def training_budget(accelerators, peak, time, share):
    """FLOPs that a run delivers at a sustained share of the peak."""
    return accelerators * peak * time * share


@equation("USD", time="s", price="USD/h")
def rent(accelerators, time, price):
    """Price of so many accelerators for a time."""
    return accelerators * time * price / HOUR


@equation("1/s", rate="1/s")
def fed(rate, accelerators, tokens):
    """Sequences of so many tokens that each accelerator takes a second."""
    return rate / (accelerators * tokens)


@equation("1/s", rate="1/s")
def at_share(rate, share, known):
    """A rate at another utilization than the one at which it is known."""
    return rate * share / known


@equation("", rate="1/s", time="s", cite="daly2006")
def trained_on(rate, goodput, time):
    """Tokens that a fleet trains on in a time: its rate, less what failures take."""
    return rate * goodput * time


@equation("", rate="1/s", time="s")
def trained_on_at(rate, share, known, time):
    """The same at another utilization than the one at which the rate is known."""
    return rate * share / known * time


@equation("")
def whole_groups(accelerators, group):
    """Whole groups of so many accelerators."""
    return accelerators // group


@equation("1/s", rate="1/s")
def load_of_each(rate, replicas):
    """The share of a load that each replica takes."""
    return rate / replicas


@equation("", load="1/s", rate="1/s")
def busy_share(load, rate, replicas, group, accelerators):
    """Share of all accelerators' full load, where each replica answers up to its rate."""
    return minimum(1, load / rate) * replicas * group / accelerators
