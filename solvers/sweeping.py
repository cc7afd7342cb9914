"""Figures of a solver over a product of axes, in arrays: one resolve an axis value, one run of the compute for all points.

What an axis changes is found by resolving the request at each of its values: the numbers that change belong to that axis. Where
the same equations apply at all corners and no number belongs to two axes, all points are one array run; a sample of them is held
against requests resolved one by one, and where anything differs every point is resolved.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mlwalls.solvers.axes import Axis
from mlwalls.solvers.derivation import Derivation, NonFiniteError
from mlwalls.solvers.errors import CallError
from mlwalls.solvers.inner import Inner, quiet

EACH = 50_000
LONG = 400
SAMPLES = 12
_TOLERANCE = 1e-9
_BROKEN = (CallError, NonFiniteError, ArithmeticError, ValueError, TypeError, KeyError, IndexError, AttributeError)


class _NotSeparable(Exception):
    """The points cannot be one array run."""


class Patience:
    """Gives up on a sweep that takes longer than a time, early where the first points show it."""

    def __init__(self, seconds: float | None) -> None:
        self.seconds, self.start = seconds, time.perf_counter()

    def after(self, done: int, pieces: int) -> None:
        """Look at the clock after so many of some pieces.

        Raises:
            CallError: the time is up, or the pieces left would take too long.
        """
        spent = time.perf_counter() - self.start
        if self.seconds is None or spent < self.seconds / 4:
            return
        whole = spent / max(done, 1) * pieces
        if max(whole, spent) > self.seconds:
            text = f"the points differ in their equations, and resolving each would take about {whole:.0f} s; ask for fewer, "
            raise CallError("over", text + "or use the command `mlwalls sweep`.")


@dataclass(frozen=True, slots=True)
class Swept:
    """Figures by symbol, one a point in the product's order, NaN where a point has no answer; `reasons` say why."""

    axes: tuple[Axis, ...]
    figures: dict[str, Any]
    reasons: dict[str, int]

    @property
    def size(self) -> int:
        """The number of points."""
        return math.prod(len(axis.values) for axis in self.axes)

    def point(self, index: int) -> dict[str, Any]:
        """Return the values of one point by axis name."""
        values = {}
        for axis in reversed(self.axes):
            index, at = divmod(index, len(axis.values))
            values[axis.name] = axis.values[at]
        return {axis.name: values[axis.name] for axis in self.axes}


def at_point(inner: Inner, axes: Sequence[Axis], point: Mapping[str, Any]) -> Inner:
    """Return the request resolved at one point.

    Raises:
        CallError, ValueError: it has no answer there.
    """
    made = inner.at(**{a.name: a.argument(point[a.name]) for a in axes if not a.symbol})
    if symbols := {a.name: float(point[a.name]) for a in axes if a.symbol}:
        from dataclasses import replace

        numbers = made.problem.numbers.replaced(symbols)
        made = Inner(made.solver, made.arguments, replace(made.problem, numbers=numbers), made.zoo)
    return made


def sweep_figures(inner: Inner, axes: Sequence[Axis], symbols: Sequence[str], seconds: float | None = None) -> Swept:
    """Compute figures at every point of the product of axes, in about so many seconds at most where that is given.

    Raises:
        CallError: too many points that must be resolved one by one, or more than the time allows.
    """
    import numpy

    shape = tuple(len(axis.values) for axis in axes)
    found = {symbol: numpy.full(shape, numpy.nan) for symbol in symbols}
    reasons: dict[str, int] = {}
    named = [i for i, axis in enumerate(axes) if not axis.numeric]
    numeric = [axis for axis in axes if axis.numeric]
    patience, choices = Patience(seconds), math.prod(shape[i] for i in named)
    for done, chosen in enumerate(itertools.product(*(range(shape[i]) for i in named))):
        patience.after(done, choices)
        where: list[Any] = [slice(None)] * len(axes)
        for i, at in zip(named, chosen, strict=True):
            where[i] = at
        words = {axes[i].name: axes[i].argument(axes[i].values[at]) for i, at in zip(named, chosen, strict=True)}
        size = math.prod(len(axis.values) for axis in numeric)
        try:
            here = inner.at(**words) if words else inner
        except (CallError, ValueError) as error:
            # Numeric axes may be what makes this choice possible (more accelerators): then each point is tried.
            if not numeric:
                _count(reasons, error, size)
                continue
            here = Inner(inner.solver, {**inner.arguments, **words}, inner.problem, inner.zoo)
        try:
            part = _in_one_run(here, numeric, symbols)
        except (*_BROKEN, _NotSeparable):
            part = _one_by_one(here, numeric, symbols, reasons, Patience(seconds))
        for symbol in symbols:
            found[symbol][tuple(where)] = part[symbol]
    return Swept(tuple(axes), {symbol: numbers.ravel() for symbol, numbers in found.items()}, reasons)


def _count(reasons: dict[str, int], error: Exception, size: int) -> None:
    text = error.problem if isinstance(error, CallError) else str(error).splitlines()[0]
    reasons[text] = reasons.get(text, 0) + size


def _clean(figure: Any, shape: tuple[int, ...]) -> Any:
    import numpy

    numbers = numpy.broadcast_to(numpy.asarray(figure, dtype=float), shape)
    return numpy.where(numpy.isfinite(numbers), numbers, numpy.nan)


def _in_one_run(inner: Inner, axes: Sequence[Axis], symbols: Sequence[str]) -> dict[str, Any]:

    shape = tuple(len(axis.values) for axis in axes)
    first = {axis.name: axis.values[0] for axis in axes}
    base = at_point(inner, axes, first)
    vary: dict[str, Any] = {}
    for k, axis in enumerate(axes):
        own = _numbers_of(inner, axes, axis, first, base)
        if own.keys() & vary.keys():
            raise _NotSeparable
        place = [1] * len(axes)
        place[k] = len(axis.values)
        vary |= {symbol: numbers.reshape(place) for symbol, numbers in own.items()}
    _check_elsewhere(inner, axes, base, vary)
    with quiet():
        silent = Derivation(record=False)
        out = base.solver.compute(base.problem.structure, base.problem.numbers.replaced(vary), silent)
        part = {symbol: _clean(out[symbol].value, shape) for symbol in symbols}
    _check_sample(inner, axes, symbols, part, shape)
    return part


def _numbers_of(
    inner: Inner, axes: Sequence[Axis], axis: Axis, first: Mapping[str, Any], base: Inner
) -> dict[str, Any]:
    """Return the numbers that an axis decides, as arrays over its values."""
    import numpy

    if axis.symbol:
        return {base.problem.numbers[axis.name].name: numpy.array(axis.values, dtype=float)}
    count = len(axis.values)
    at = range(count) if count <= LONG else sorted({round(i * (count - 1) / 63) for i in range(64)})
    changed: dict[str, dict[int, float]] = {}
    for i in at:
        made = at_point(inner, axes, {**first, axis.name: axis.values[i]}).problem
        if made.structure != base.problem.structure or made.numbers.keys() != base.problem.numbers.keys():
            raise _NotSeparable
        for symbol, value in made.numbers.items():
            old = base.problem.numbers[symbol].value
            if value.value is not old and not _same(value.value, old):
                changed.setdefault(value.name, {})[i] = value.value
    own = {}
    for symbol, numbers in changed.items():
        old = base.problem.numbers[symbol].value
        line = numpy.array([numbers.get(i, old) for i in at], dtype=float)
        if line.ndim != 1:
            raise _NotSeparable
        if count > LONG:
            values = numpy.array(axis.values, dtype=float)
            scale = line[0] / values[0]
            if not numpy.allclose(line, scale * values[list(at)], rtol=1e-12, atol=0):
                raise _NotSeparable
            line = scale * values
        own[symbol] = line
    return own


def _same(a: Any, b: Any) -> bool:
    return bool(a == b) if isinstance(a, (int, float)) and isinstance(b, (int, float)) else bool((a == b).all())


def _check_elsewhere(inner: Inner, axes: Sequence[Axis], base: Inner, vary: Mapping[str, Any]) -> None:
    """Resolve the corners: the same equations must apply and no number may depend on two axes."""
    ends = [sorted({0, len(axis.values) - 1}, key=lambda i, a=axis: a.values[i]) for axis in axes]  # type: ignore[misc]
    for corner in itertools.product(*ends):
        point = {axis.name: axis.values[i] for axis, i in zip(axes, corner, strict=True)}
        made = at_point(inner, axes, point).problem
        if made.structure != base.problem.structure:
            raise _NotSeparable
        for symbol, value in made.numbers.items():
            if value.name in vary:
                numbers = vary[value.name]
                place = tuple(min(i, size - 1) for i, size in zip(corner, numbers.shape, strict=True))
                expected = numbers[place]
            else:
                expected = base.problem.numbers[symbol].value
            if not _close(value.value, expected):
                raise _NotSeparable


def _close(a: Any, b: Any) -> bool:
    import numpy

    return bool(numpy.allclose(a, b, rtol=1e-12, atol=0))


def _check_sample(
    inner: Inner, axes: Sequence[Axis], symbols: Sequence[str], part: Mapping[str, Any], shape: tuple[int, ...]
) -> None:
    """Hold points spread over the product against requests resolved one by one."""
    import numpy

    size = math.prod(shape)
    for flat in sorted({round(i * (size - 1) / (SAMPLES - 1)) for i in range(SAMPLES)}):
        place = numpy.unravel_index(flat, shape)
        point = {axis.name: axis.values[int(i)] for axis, i in zip(axes, place, strict=True)}
        single = _single(at_point(inner, axes, point), symbols)
        for symbol in symbols:
            a, b = float(part[symbol][place]), single[symbol]
            if not (math.isnan(a) and math.isnan(b)) and not math.isclose(a, b, rel_tol=_TOLERANCE):
                raise _NotSeparable


def _single(made: Inner, symbols: Sequence[str]) -> dict[str, float]:
    """Return figures of one resolved request; what only a recorded run has is taken from one."""
    out, _ = made.evaluated({})
    if any(symbol not in out for symbol in symbols):
        out, _ = made.recorded()
    numbers = {symbol: float(out[symbol].value) if symbol in out else math.nan for symbol in symbols}
    return {symbol: number if math.isfinite(number) else math.nan for symbol, number in numbers.items()}


def _one_by_one(
    inner: Inner, axes: Sequence[Axis], symbols: Sequence[str], reasons: dict[str, int], patience: Patience
) -> dict[str, Any]:
    """Resolve every point; those to which the same equations apply are one array run."""
    import numpy

    shape = tuple(len(axis.values) for axis in axes)
    size = math.prod(shape)
    if size > EACH:
        text = (
            f"{size:,} points to which different equations apply, each to be resolved; at most {EACH:,} of that kind."
        )
        raise CallError("over", text)
    found = {symbol: numpy.full(size, numpy.nan) for symbol in symbols}
    for flat, values in enumerate(itertools.product(*(axis.values for axis in axes))):
        patience.after(flat, size)
        try:
            single = _single(at_point(inner, axes, dict(zip((a.name for a in axes), values, strict=True))), symbols)
        except (CallError, NonFiniteError, ArithmeticError, ValueError) as error:
            _count(reasons, error, 1)
            continue
        if all(math.isnan(x) for x in single.values()):
            _count(reasons, ValueError("the figure is not there"), 1)
        for symbol in symbols:
            found[symbol][flat] = single[symbol]
    return {symbol: numbers.reshape(shape) for symbol, numbers in found.items()}
