"""Which value of a number makes a figure meet a target: on arrays for numbers of the work, by resolving again for arguments."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from mlwalls.solvers.derivation import NonFiniteError, Value
from mlwalls.solvers.errors import CallError
from mlwalls.solvers.inner import Inner, Lever, quiet, same_structure
from mlwalls.solvers.turning import outward

MILLION = 1e6
GRID, COARSE = 241, 61
LISTED = 33
SHARE = 1e-4
MOST_WHOLE = 1 << 20
NEAR = 64
# Arguments of which fewer are cheaper: one that does is the answer, however many would do too.
BOUGHT = frozenset({"n_accelerators", "n_systems", "servers", "hosts", "cpu_workers"})


@dataclass(frozen=True, slots=True)
class Goal:
    """A figure of an inner request and what it must not pass, in SI."""

    symbol: str
    sense: Literal["at_most", "at_least"]
    number: float

    def met(self, figure: Any) -> Any:
        """Return whether a figure (or each of an array) is finite and meets the target."""
        import numpy

        with quiet():
            good = figure <= self.number if self.sense == "at_most" else figure >= self.number
        return numpy.isfinite(figure) & good


@dataclass(frozen=True, slots=True)
class Found:
    """What a search found: `rule` and `candidates` as the grammar prints them; no `number` where none or any value does."""

    rule: Literal["smallest", "largest"]
    number: float | None
    candidates: str = ""
    any_does: bool = False
    best: float = 1.0


def search_factor(
    inner: Inner, held: Mapping[str, float | None], goal: Goal, symbols: Sequence[Value], levers: Mapping[str, Lever]
) -> Found:
    """Find the factor on `symbols` together at which the goal begins to be met; for one symbol, its value.

    `levers` are the arguments that some of them stand for: other equations may apply at other values of these, and such are
    no candidates.
    """
    import numpy

    one = symbols[0].value if len(symbols) == 1 else 1.0
    top = min(MILLION, 1 / max(v.value for v in symbols if _is_share(v))) if any(map(_is_share, symbols)) else MILLION

    def met(factors: Any) -> tuple[Any, Any, Any]:
        out, _ = inner.evaluated({v.name: v.value * factors for v in symbols}, held)
        figures = numpy.broadcast_to(numpy.asarray(out[goal.symbol].value, dtype=float), factors.shape)
        usable = numpy.isfinite(figures)
        if levers:
            ends = [[(levers[v.name], v.value * f) for v in symbols if v.name in levers] for f in factors.tolist()]
            usable = usable & numpy.array([same_structure(inner, given) for given in ends])
        return goal.met(figures), figures, usable

    points = COARSE if levers else GRID
    near = [f for f in (0.5, 0.8, 0.95, 0.99, 1.0, 1.01, 1.05, 1.25, 2.0) if f <= top]
    factors = numpy.unique(numpy.concatenate((numpy.geomspace(1 / MILLION, top, points), near)))
    good, figures, usable = met(factors)
    # Candidates are those around the scenario's own number, up to where the figure ends or other equations begin.
    here = int(numpy.searchsorted(factors, 1.0))
    stops = numpy.flatnonzero(~usable)
    first, last = int(stops[stops < here].max(initial=-1)) + 1, int(stops[stops > here].min(initial=factors.size)) - 1
    ends = [
        _edge(met, float(factors[end]), float(factors[end + step]))
        for end, step in ((first, -1), (last, 1))
        if 0 <= end + step < factors.size
    ]
    if ends:
        factors = numpy.unique(numpy.concatenate((factors[first : last + 1], ends)))
        good, figures, _ = met(factors)
    if not good.any():
        best = figures.argmin() if goal.sense == "at_most" else figures.argmax()
        return Found("smallest", None, best=float(factors[best]))
    turns = numpy.flatnonzero(good[1:] != good[:-1])
    if not turns.size:
        return Found("smallest", None, any_does=True)
    if turns.size > 1:
        listed = [
            float(f"{one * f:.6g}") for f in numpy.geomspace(1 / 32, 32, LISTED) if factors[0] <= f <= factors[-1]
        ]
        fits = [x for x, ok in zip(listed, met(numpy.array(listed) / one)[0].tolist(), strict=True) if ok]
        text = f"[{','.join(f'{x:g}' for x in listed)}]"
        return Found("smallest", fits[0], text) if fits else Found("smallest", None)
    rule: Literal["smallest", "largest"] = "smallest" if good[-1] else "largest"
    at = int(turns[0])
    low, high = (f"{one * f:.6g}" for f in (factors[0], factors[-1]))
    for _ in range(4):
        inside = numpy.geomspace(factors[at], factors[at + 1], COARSE)
        good, _, _ = met(inside)
        factors, at = inside, int(numpy.flatnonzero(good[1:] != good[:-1])[0])
    edge = float(factors[at + 1] if rule == "smallest" else factors[at])
    # Six digits, on the side that meets the target: what is printed is what is checked.
    number = outward(one * edge, rule == "smallest")
    span = f"{min(float(low), number):.6g}..{max(float(high), number):.6g}"
    return Found(rule, number, f"{span} within {SHARE:g}")


def _edge(met: Callable[[Any], tuple[Any, Any, Any]], usable: float, other: float) -> float:
    """Return the last usable factor before one that is not."""
    import numpy

    for _ in range(24):
        middle = (usable * other) ** 0.5
        usable, other = (middle, other) if met(numpy.array([middle]))[2].all() else (usable, middle)
    return usable


def _is_share(value: Value) -> bool:
    return value.name.startswith("eta") and not value.unit


@dataclass(frozen=True, slots=True)
class Whole:
    """What a search over whole numbers found: the request resolved there, and why the next candidate does not do."""

    rule: Literal["smallest", "largest"]
    number: int | None
    at: Inner | None = None
    next_is: str = ""
    best: Inner | None = None


def search_whole(inner: Inner, goal: Goal, lever: Lever, limits: tuple[int, int]) -> Whole:
    """Find the fewest (or most) of an argument with which the goal is met and the answer is feasible, resolving each again."""
    known: dict[int, tuple[bool, Inner | None, str]] = {}

    def at(number: int) -> tuple[bool, Inner | None, str]:
        if number not in known:
            known[number] = _tried(inner, goal, lever, number)
        return known[number]

    low, high = limits[0], min(limits[1], MOST_WHOLE)
    grid = [low]
    while grid[-1] < high:
        grid.append(min(max(2 * grid[-1], grid[-1] + 1), high))
    good = [at(number)[0] for number in grid]
    if not any(good):
        reached = [made for made in (at(number)[1] for number in grid) if made is not None]
        return Whole("smallest", None, best=min(reached, key=lambda i: _distance(i, goal), default=None))
    if good[0] and not all(good) and lever.argument not in BOUGHT:
        first_bad = good.index(False)
        found = _between(grid[first_bad - 1], grid[first_bad], lambda k: at(k)[0], lambda k: at(k)[1] is not None)
        return Whole("largest", found, at(found)[1], at(found + 1)[2])
    first_good = good.index(True)
    if first_good == 0:
        return Whole("smallest", low, at(low)[1], "")
    found = _between(grid[first_good], grid[first_good - 1], lambda k: at(k)[0], lambda k: at(k)[1] is not None)
    return Whole("smallest", found, at(found)[1], at(found - 1)[2])


def _between(good: int, bad: int, holds: Callable[[int], bool], answered: Callable[[int], bool]) -> int:
    """Return the good number next to a bad one: tries all of up to `NEAR`, bisects more, over numbers that have an answer."""
    step = 1 if good > bad else -1
    if abs(good - bad) <= NEAR:
        return next(k for k in range(bad + step, good + step, step) if holds(k))
    while abs(good - bad) > 1:
        middle = (good + bad) // 2
        around = (*range(middle, good, step)[:NEAR], *range(middle - step, bad, -step)[:NEAR])
        k = next((k for k in around if answered(k)), middle)
        good, bad = (k, bad) if holds(k) else (good, k)
    return good


def _tried(inner: Inner, goal: Goal, lever: Lever, number: int) -> tuple[bool, Inner | None, str]:
    try:
        made = inner.at(**{lever.argument: [number] if lever.listed else number})
        out = made.silent()
        if goal.symbol not in out:
            return False, made, "the figure is not there"
        if not bool(goal.met(out[goal.symbol].value)):
            return False, made, ""
        out, derivation = made.recorded()
        shown = made.solver.present(made.problem, out, derivation)
        return shown.feasible, made, "" if shown.feasible else "infeasible"
    except (CallError, NonFiniteError, ValueError) as error:
        return False, None, str(error).split(". ")[0]


def _distance(inner: Inner, goal: Goal) -> float:
    out, _ = inner.evaluated({})
    figure = out[goal.symbol].value if goal.symbol in out else math.inf
    return abs(math.log(figure / goal.number)) if math.isfinite(figure) and figure > 0 else math.inf
