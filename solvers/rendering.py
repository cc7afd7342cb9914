"""A recorded derivation as the lines of the published grammar (docs/grammar.md)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from mlwalls.solvers.derivation import STEP, Applied, Constant, Derivation, Origin, Row, Step, Value


def exact(number: Any) -> str:
    """Print an input exactly, as short as that can be."""
    if isinstance(number, bool):
        raise TypeError("a truth value is not a number")
    if isinstance(number, int):
        return str(number) if abs(number) < 10**12 or number % 1000 else _shorter(number)
    if isinstance(number, float):
        return str(int(number)) if number.is_integer() and abs(number) < 1e12 else _shorter(number)
    return f"[{','.join(exact(n) for n in number.tolist())}]"


@lru_cache(maxsize=4096)
def _shorter(number: float) -> str:
    text = repr(float(number))
    for digits in range(1, 17):
        candidate = f"{number:.{digits}g}"
        if float(candidate) == float(number):
            return candidate if len(candidate) <= len(text) else text
    return text


def rounded(number: Any) -> str:
    """Print a computed number with six significant digits."""
    if isinstance(number, (int, float)):
        return f"{number:.6g}"
    return f"[{','.join(rounded(n) for n in number.tolist())}]"


@dataclass(frozen=True, slots=True)
class Rendered:
    """A derivation as text, with what it rests on.

    Attributes:
        work: the program, line by line.
        citations: (source id, checked) in order of use.
        unverified: inputs that nobody checked against their source.
    """

    work: list[str]
    citations: list[tuple[str, bool]]
    unverified: list[Value]


def rendered(derivation: Derivation, spreads: bool = True) -> Rendered:
    """Print a recorded derivation; without `spreads` calibrated constants come without their ranges."""
    inputs = _inputs(derivation)
    doubtful = [value for value in inputs if not value.origin.checked]
    return Rendered(_work(derivation, inputs, spreads), _citations(derivation, inputs), doubtful)


def work(derivation: Derivation) -> list[str]:
    """Return the program: origin lines for every input that a step used, then the steps in order."""
    return _work(derivation, _inputs(derivation))


def _work(derivation: Derivation, inputs: list[Value], spreads: bool = True) -> list[str]:
    seen: set[str] = set()
    steps = [line for step in derivation.steps for line in _lines(step, seen)]
    return [*_origins(inputs, spreads), *steps]


def _citations(derivation: Derivation, inputs: list[Value]) -> list[tuple[str, bool]]:
    found: dict[str, bool] = {}
    for value in inputs:
        for source in value.origin.source.split(", ") if value.origin.source else ():
            found[source] = found.get(source, True) and value.origin.checked
    for step in derivation.steps:
        for cited in step.cite if isinstance(step, Step) else ():
            found.setdefault(cited, True)
    return list(found.items())


def _lines(step: Step | Row, seen: set[str]) -> Iterator[str]:
    """Print one step; a source is named at the first step that rests on it."""
    if isinstance(step, Row):
        body = "; ".join(f"{k} = {c.text() if isinstance(c, Applied) else c.name}" for k, c in step.cells.items())
        yield f"{step.table} {step.name}: {body}"
        return
    fresh = [source for source in step.cite if source not in seen]
    seen.update(fresh)
    tail = f" [{', '.join(fresh)}]" if fresh else ""
    if step.kind == "column":
        assert step.applied is not None
        yield f"{step.name} = {step.applied.text()}"
        return
    if step.kind == "check":
        assert step.applied is not None
        yield f"check: {step.applied.text()}"
        return
    if step.kind == "rerun" and step.value is None:
        yield f"{step.name} = rerun: {step.rule}"
        return
    assert step.value is not None
    # A search is proved at its very number and the next.
    printed = exact if step.kind == "search" else rounded
    number = printed(step.value.value) + (f" {step.value.unit}" if step.value.unit else "")
    if step.kind == "search":
        yield f"{step.name} = {number} = search: {step.rule}" + (f"; {step.detail}" if step.detail else "")
    elif step.kind == "rerun":
        yield f"{step.name} = {number} = rerun: {step.rule}"
    elif step.kind == "choice":
        arrow = step.chosen if isinstance(step.chosen, str) else f"[{','.join(step.chosen)}]"
        names = ",".join(o.name for o in step.options)
        yield f"{step.name} = {step.rule}({names}) = {number}{tail} -> {arrow}"
    else:
        assert step.applied is not None
        text = step.applied.text()
        yield f"{step.name} = {f'sum({text})' if step.kind == 'sum' else text} = {number}{tail}"


def _applications(derivation: Derivation) -> Iterator[Applied | Value]:
    for step in derivation.steps:
        if isinstance(step, Row):
            yield from step.cells.values()
        else:
            yield from step.options
            if step.applied is not None:
                yield step.applied


def _inputs(derivation: Derivation) -> list[Value]:
    found: dict[str, Value] = {}
    for item in _applications(derivation):
        if isinstance(item, Applied):
            for value in item.arguments:
                _note(value, found)
            for symbol, constant in item.equation.template.constants.items():
                if symbol not in found:
                    found[symbol] = _constant(constant)
        else:
            _note(item, found)
    return list(found.values())


def _note(value: Value, found: dict[str, Value]) -> None:
    if value.origin is STEP:
        return
    other = found.setdefault(value.name, value)
    if other is not value and other.value is not value.value and other.value != value.value:
        raise TypeError(f"{value.name} names two numbers")


def _constant(constant: Constant) -> Value:
    return Value(constant.symbol, float(constant), constant.unit, Origin("defined", source=constant.source))


def _origins(inputs: list[Value], spreads: bool = True) -> list[str]:
    groups: dict[str, list[str]] = {}
    for value in inputs:
        origin = value.origin
        unit = f" {value.unit}" if value.unit else ""
        told = origin.low is not None and origin.high is not None and (spreads or origin.kind != "calibrated")
        spread = f" ({origin.low:g}..{origin.high:g})" if told else ""
        groups.setdefault(_head(origin), []).append(f"{value.name}={exact(value.value)}{unit}{spread}")
    order = ("zoo", "you", "answer", "defined", "calibrated", "assumed")
    heads = sorted(groups, key=lambda head: order.index(head.split()[0]))
    return [f"{head}: {', '.join(groups[head])}" for head in heads]


def _head(origin: Origin) -> str:
    entry = f" {origin.entry}" if origin.entry else ""
    source = f" [{origin.source}{'' if origin.checked else '?'}]" if origin.source else ""
    return f"{origin.kind}{entry}{source}"
