"""Arithmetic that every wall needs: sums, products and ratios of quantities of one kind."""

from __future__ import annotations

from mlwalls.solvers.derivation import equation
from mlwalls.solvers.functions import minimum


@equation("T", a="T", b="T")
def sum_of_two(a, b):
    """Sum of two quantities of one kind."""
    return a + b


@equation("T", a="T", b="T", c="T")
def sum_of_three(a, b, c):
    """Sum of three quantities of one kind."""
    return a + b + c


@equation("T", a="T", b="T", c="T", d="T")
def sum_of_four(a, b, c, d):
    """Sum of four quantities of one kind."""
    return a + b + c + d


@equation("T", first="T", again="T")
def first_and_repeats(first, repeats, again):
    """One quantity once and another `repeats` times."""
    return first + repeats * again


@equation("T", once="T")
def times(steps, once):
    """A quantity, several times."""
    return steps * once


@equation("", a="T", b="T")
def ratio(a, b):
    """Ratio of two quantities of one kind."""
    return a / b


@equation("")
def product(a, b):
    """Product of two counts."""
    return a * b


@equation("")
def total(a, b):
    """Sum of two counts."""
    return a + b


@equation("")
def smaller(a, b):
    """The smaller of two counts."""
    return minimum(a, b)


@equation("T", a="T", b="T")
def difference(a, b):
    """Difference of two quantities of one kind."""
    return a - b


@equation("", less="T", plain="T")
def saved(less, plain):
    """Share that is saved by spending `less` instead of `plain`."""
    return 1 - less / plain
