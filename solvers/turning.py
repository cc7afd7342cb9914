"""Where a choice that a figure rests on would be taken otherwise: the next regime, as one number changes alone."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mlwalls.solvers.derivation import Derivation, Row, Step, Value
from mlwalls.solvers.inner import Inner

FAR = 100.0
POINTS = 241


@dataclass(frozen=True, slots=True)
class Turn:
    """A regime change: at `symbol` = `number` (its base times `factor`) the choice takes `after` instead of `before`."""

    symbol: str
    number: float
    factor: float
    choice: str
    rule: str
    before: str
    after: str

    @property
    def up(self) -> bool:
        """Whether the number grows to get there."""
        return self.factor > 1


def choices_of(steps: Sequence[Step | Row]) -> list[str]:
    """Return the names of the choices among steps."""
    return [step.name for step in steps if isinstance(step, Step) and step.kind == "choice"]


def held_searches(derivation: Derivation) -> dict[str, float | None]:
    """Return what the searches of a derivation found, None where one found nothing: reruns keep it."""
    found = {
        step.name: step.value.value
        for step in derivation.steps
        if isinstance(step, Step) and step.kind == "search" and step.value is not None
    }
    return {**dict.fromkeys(derivation.failed), **found}


def searched_in(steps: Sequence[Step | Row]) -> list[str]:
    """Return the names of the searches among steps."""
    return [step.name for step in steps if isinstance(step, Step) and step.kind == "search"]


def kept_as_found(searched: Sequence[str]) -> list[str]:
    """Return the word on searches that reruns do not make again."""
    return [f"{', '.join(searched)}: kept as the scenario's own search found it"] if searched else []


def turns(
    inner: Inner, held: Mapping[str, float | None], choices: Sequence[str], symbols: Sequence[Value]
) -> list[Turn]:
    """Return the nearest regime change of each symbol in either direction within a factor of 100, nearest first."""
    if not choices:
        return []
    import numpy

    lines = [(value, numpy.geomspace(1.0, end, POINTS)) for value in symbols for end in _ends(value)]
    found: list[Turn] = []
    for (value, factors), (at, turn) in zip(lines, _firsts(inner, held, choices, lines), strict=True):
        for _ in range(2):
            if turn is None:
                break
            factors = numpy.geomspace(factors[max(at - 1, 0)], factors[at], POINTS)
            ((at, turn),) = _firsts(inner, held, choices, [(value, factors)])
        if turn is not None:
            found.append(turn)
    return sorted(found, key=lambda t: abs(math.log(t.factor)))


def _ends(value: Value) -> list[float]:
    share = value.name.startswith("eta") and not value.unit
    top = 1 / value.value if share else FAR
    return [end for end in (top, 1 / FAR) if end != 1]


def _firsts(
    inner: Inner, held: Mapping[str, float | None], choices: Sequence[str], lines: Sequence[tuple[Value, Any]]
) -> list[tuple[int, Turn | None]]:
    """Return where along each line of factors of one number a choice is first taken otherwise, all in one array run."""
    import numpy

    length = 1 + POINTS
    own = {value.name: float(value.value) for value, _ in lines}
    vary = {name: numpy.full(len(lines) * length, base) for name, base in own.items()}
    for line, (value, factors) in enumerate(lines):
        vary[value.name][line * length + 1 : (line + 1) * length] *= factors
    _, taken = inner.evaluated(vary, held)
    picked = {}
    for name in choices:
        if name in taken:
            rule, options = taken[name]
            table = numpy.array([numpy.broadcast_to(o.value, len(lines) * length) for o in options], dtype=float)
            picked[name] = (table.argmax(0) if rule == "max" else table.argmin(0)).reshape(len(lines), length)
    return [_first(taken, {k: v[line] for k, v in picked.items()}, *lines[line]) for line in range(len(lines))]


def _first(
    taken: Mapping[str, tuple[str, Sequence[Value]]], picked: Mapping[str, Any], value: Value, factors: Any
) -> tuple[int, Turn | None]:
    best: tuple[int, str] | None = None
    for name, chosen in picked.items():
        other = (chosen != chosen[0]).nonzero()[0]
        if other.size and (best is None or other[0] < best[0]):
            best = (int(other[0]), name)
            before, after = (taken[name][1][chosen[at]].name for at in (0, other[0]))
    if best is None:
        return 0, None
    at, name = best[0] - 1, best[1]
    factor = float(factors[at])
    number = outward(value.value * factor, factor > 1)
    return at, Turn(value.name, number, number / value.value, name, taken[name][0], before, after)


def outward(number: float, up: bool) -> float:
    """Return a number at six significant digits, not before it in the direction of search."""
    if number == 0:
        return 0.0
    near = float(f"{number:.6g}")
    if (near < number) if up else (near > number):
        ulp = 10.0 ** (math.floor(math.log10(abs(number))) - 5)
        near = float(f"{near + (ulp if up else -ulp):.6g}")
    return near
