"""A recorded derivation as the lines of the published grammar (docs/grammar.md)."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from mlwalls.solvers.compacting import compacted
from mlwalls.solvers.derivation import STEP, Applied, Constant, Derivation, Origin, Row, Step, Value


def exact(number: Any) -> str:
    """Print an input exactly, as short as that can be."""
    if isinstance(number, bool):
        raise TypeError("a truth value is not a number")
    if isinstance(number, (int, float)):
        return _shortest(number)
    return f"[{','.join(exact(n) for n in number.tolist())}]"


@lru_cache(maxsize=4096)
def _shortest(number: float) -> str:
    plain = str(int(number)) if float(number).is_integer() and abs(number) < 1e18 else repr(float(number))
    power = next(c for d in range(17) if float(c := f"{number:.{d}e}") == float(number))
    return min(plain, _power(power), key=len)


def _power(text: str) -> str:
    """Leave out of a power of ten what says nothing: 3.35e+09 is 3.35e9."""
    digits, mark, power = text.partition("e")
    return f"{digits}e{int(power)}" if mark else digits


def rounded(number: Any) -> str:
    """Print a computed number with six significant digits."""
    if isinstance(number, (int, float)):
        return _power(f"{number:.6g}")
    return f"[{','.join(rounded(n) for n in number.tolist())}]"


@dataclass(frozen=True, slots=True)
class Rendered:
    """A derivation as text, with what it rests on.

    Attributes:
        work: the program, line by line.
        citations: (source id, checked) in order of use.
        unverified: inputs that nobody checked against their source.
        of_numbers: the sources of the inputs themselves, other tools' answers apart.
    """

    work: list[str]
    citations: list[tuple[str, bool]]
    unverified: list[Value]
    of_numbers: frozenset[str]


def rendered(
    derivation: Derivation,
    spreads: bool = True,
    kept: Callable[[str], bool] | None = None,
    unsaid: Collection[str] = (),
) -> Rendered:
    """Print a recorded derivation.

    Args:
        spreads: whether calibrated constants come with their ranges.
        kept: which names the program must have; without it every step gets its line.
        unsaid: steps that need no line where nothing rests on them.
    """
    inputs = _inputs(derivation)
    doubtful = [value for value in inputs if not value.origin.checked]
    program = _work(derivation, inputs, spreads, kept, unsaid)
    sources = (v.origin.source.split(", ") for v in inputs if v.origin.source and v.origin.kind != "answer")
    return Rendered(program, _citations(derivation, inputs), doubtful, frozenset(s for some in sources for s in some))


def work(derivation: Derivation) -> list[str]:
    """Return the program: origin lines for every input that a step used, then the steps in order."""
    return _work(derivation, _inputs(derivation))


def _work(
    derivation: Derivation,
    inputs: list[Value],
    spreads: bool = True,
    kept: Callable[[str], bool] | None = None,
    unsaid: Collection[str] = (),
) -> list[str]:
    if kept is None:
        return [*_origins(inputs, spreads), *_Lines(str, set(), lambda cite, _: cite).of(derivation.steps)]
    compact = compacted(derivation.steps, inputs, kept, unsaid)
    shown = [value for value in inputs if value.name not in compact.literal]
    lines = _Lines(compact.text, compact.within, compact.cites, short=True)
    return [*_origins(shown, spreads), *lines.of(derivation.steps)]


def _citations(derivation: Derivation, inputs: list[Value]) -> list[tuple[str, bool]]:
    found: dict[str, bool] = {}
    for value in inputs:
        for source in value.origin.source.split(", ") if value.origin.source else ():
            found[source] = found.get(source, True) and value.origin.checked
    for step in derivation.steps:
        for cited in step.cite if isinstance(step, Step) else ():
            found.setdefault(cited, True)
    return list(found.items())


class _Lines:
    """The steps as lines: `text` prints an expression, the steps `within` others have none of their own, `cites` are a line's."""

    def __init__(
        self,
        text: Callable[[str], str],
        within: Collection[str],
        cites: Callable[[tuple[str, ...], str], tuple[str, ...]],
        short: bool = False,
    ) -> None:
        self.text, self.within, self.cites, self.short = text, within, cites, short
        self.seen: set[str] = set()
        self.defaults: dict[tuple[str, str], str] = {}

    def of(self, steps: Sequence[Step | Row]) -> Iterator[str]:
        """Print steps; a source is named at the first that rests on it."""
        for step in steps:
            if isinstance(step, Row):
                yield self._row(step)
            elif step.kind != "step" or step.name not in self.within:
                yield self._step(step)

    def _row(self, row: Row) -> str:
        cells = {k: self.text(c.text() if isinstance(c, Applied) else c.name) for k, c in row.cells.items()}
        if row.name == "*":
            self.defaults |= {(row.table, key): text for key, text in cells.items()}
        elif self.short:
            other = {key: text for key, text in cells.items() if self.defaults.get((row.table, key)) != text}
            cells = other or cells
        return f"{row.table} {row.name}: {'; '.join(f'{key} = {text}' for key, text in cells.items())}"

    def _step(self, step: Step) -> str:
        own = step.applied.text() if step.applied is not None and step.kind != "search" else ""
        fresh = [source for source in self.cites(step.cite, own) if source not in self.seen]
        self.seen.update(fresh)
        tail = f" [{', '.join(fresh)}]" if fresh else ""
        text = self.text(own) if own else ""
        if step.kind == "column":
            return f"{step.name} = {text}"
        if step.kind == "check":
            return f"check: {text}"
        if step.kind == "rerun" and step.value is None:
            return f"{step.name} = rerun: {step.rule}"
        assert step.value is not None
        # A search is proved at its very number and the next.
        printed = exact if step.kind == "search" else rounded
        number = printed(step.value.value) + (f" {step.value.unit}" if step.value.unit else "")
        if step.kind == "search":
            return f"{step.name} = {number} = search: {step.rule}" + (f"; {step.detail}" if step.detail else "")
        if step.kind == "rerun":
            return f"{step.name} = {number} = rerun: {step.rule}"
        if step.kind == "choice":
            arrow = step.chosen if isinstance(step.chosen, str) else f"[{','.join(step.chosen)}]"
            names = ",".join(option.name for option in step.options)
            return f"{step.name} = {step.rule}({names}) = {number}{tail} -> {arrow}"
        expression = f"{step.rule or 'sum'}({text})" if step.kind == "sum" else text
        return f"{step.name} = {expression} = {number}{tail}"


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
    groups: dict[str, dict[str, list[str]]] = {}
    for value in inputs:
        origin = value.origin
        unit = f" {value.unit}" if value.unit else ""
        told = origin.low is not None and origin.high is not None and (spreads or origin.kind != "calibrated")
        spread = f" ({_bound(origin.low)}..{_bound(origin.high)})" if told else ""
        head = f"{origin.kind} {origin.entry}" if origin.entry else origin.kind
        source = f" [{origin.source}{'' if origin.checked else '?'}]" if origin.source else ""
        groups.setdefault(head, {}).setdefault(source, []).append(f"{value.name}={exact(value.value)}{unit}{spread}")
    order = ("zoo", "you", "answer", "defined", "calibrated", "assumed")
    heads = sorted(groups, key=lambda head: order.index(head.split()[0]))
    return [line for head in heads for line in _grouped(head, groups[head])]


def _grouped(head: str, by_source: Mapping[str, list[str]]) -> Iterator[str]:
    """Yield one line for the source of most numbers, with the others' at each number or, where that is longer, in lines."""
    unsourced = by_source.get("")
    if unsourced is not None:
        yield f"{head}: {', '.join(unsourced)}"
    sourced = sorted(((s, n) for s, n in by_source.items() if s), key=lambda item: -len(item[1]))
    if not sourced:
        return
    (main, numbers), *others = sourced
    line, apart = [*numbers], []
    for source, those in others:
        if len(those) * len(source) < len(head) + len(source) + 4:
            line += [f"{number}{source}" for number in those]
        else:
            apart.append(f"{head}{source}: {', '.join(those)}")
    yield f"{head}{main}: {', '.join(line)}"
    yield from apart


def _bound(number: float | None) -> str:
    """Print the end of a range: to three significant digits, or exactly where that is shorter."""
    assert number is not None
    return min(exact(number), _power(f"{number:.3g}"), key=len)
