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

    found: list[Turn] = []
    for value in symbols:
        for end in (FAR, 1 / FAR):
            top = 1 / value.value if _is_share(value) and end > 1 else end
            if top == 1:
                continue
            factors = numpy.geomspace(1.0, top, POINTS)
            for _ in range(3):
                at, turn = _first(inner, held, choices, value, factors)
                if turn is None:
                    break
                factors = numpy.geomspace(factors[max(at - 1, 0)], factors[at], POINTS)
            else:
                assert turn is not None
                found.append(turn)
    return sorted(found, key=lambda t: abs(math.log(t.factor)))


def _is_share(value: Value) -> bool:
    return value.name.startswith("eta") and not value.unit


def _first(
    inner: Inner, held: Mapping[str, float | None], choices: Sequence[str], value: Value, factors: Any
) -> tuple[int, Turn | None]:
    import numpy

    numbers = numpy.concatenate(([value.value], value.value * factors))
    _, taken = inner.evaluated({value.name: numbers}, held)
    best: tuple[int, str] | None = None
    for name in choices:
        if name not in taken:
            continue
        rule, options = taken[name]
        table = numpy.array(numpy.broadcast_arrays(*[o.value for o in options], numbers)[:-1], dtype=float)
        picked = table.argmax(0) if rule == "max" else table.argmin(0)
        other = numpy.flatnonzero(picked != picked[0])
        if other.size and (best is None or other[0] < best[0]):
            best = (int(other[0]), name)
            before, after = options[picked[0]].name, options[picked[other[0]]].name
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
