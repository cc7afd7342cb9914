"""A shorter program for the same numbers: what is used once, or is short, stands where it is used; factors of one go.

Every number comes out bit for bit as in the whole program, which an answer in all detail prints.
"""

from __future__ import annotations

import ast
import keyword
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import lru_cache

from mlwalls.solvers.derivation import Applied, Row, Step, Value
from mlwalls.solvers.expressions import OPERATORS, Printer

# What an expression may grow to; longer ones are hard to read.
LONGEST = 240
# What a line of its own takes beside a step's name and expression: signs, number, unit, and the figure to be seen.
A_LINE = 20
# A step or row: its name, kind, works and expressions.
Line = tuple[str, str, tuple[str, ...], tuple[str, ...]]
_NAME = re.compile(r"[A-Za-z_]\w*")
_MARK = "\N{GREEK SMALL LETTER PI}"
# As tightly as a name or a number binds.
_TIGHT = 9
_WORDS = re.compile(rf"\b(?:{'|'.join(set(keyword.kwlist) - {'and', 'or', 'not'})})\b")


@lru_cache(maxsize=8192)
def _parsed(text: str) -> ast.expr:
    # A name of the grammar may be a word of Python's, such as pass: it is parsed with a mark that no name has.
    tree = ast.parse(_WORDS.sub(rf"{_MARK}\g<0>", text), mode="eval").body
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            node.id = node.id.removeprefix(_MARK)
    return tree


@lru_cache(maxsize=8192)
def _names(text: str) -> tuple[str, ...]:
    return tuple(_walked(_parsed(text)))


def _walked(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Name):
        yield node.id
    elif isinstance(node, ast.Call):
        for argument in node.args:
            yield from _walked(argument)
    elif not isinstance(node, ast.Attribute):
        for child in ast.iter_child_nodes(node):
            yield from _walked(child)


def _folded(node: ast.expr, known: Mapping[str, int]) -> ast.expr:
    """Return an expression with some names as 0 or 1, and without what that makes idle: factors of 1, terms of 0."""
    match node:
        case ast.Name(id=name):
            return ast.Constant(known[name]) if name in known else node
        case ast.BinOp(left=left, op=op, right=right):
            return _operation(_folded(left, known), op, _folded(right, known))
        case ast.UnaryOp(op=op, operand=operand):
            return ast.UnaryOp(op, _folded(operand, known))
        case ast.BoolOp(op=op, values=values):
            return ast.BoolOp(op, [_folded(value, known) for value in values])
        case ast.Compare(left=left, ops=ops, comparators=[right]):
            return ast.Compare(_folded(left, known), ops, [_folded(right, known)])
        case ast.Call(func=ast.Name(id="where") as where, args=[condition, yes, no]):
            match _folded(condition, known):
                case ast.Compare(left=ast.Constant(value=a), ops=[ast.Gt()], comparators=[ast.Constant(value=b)]):
                    return _folded(yes if a > b else no, known)  # type: ignore[operator]
                case either:
                    return ast.Call(where, [either, _folded(yes, known), _folded(no, known)], [])
        case ast.Call(func=function, args=args):
            return ast.Call(function, [_folded(arg, known) for arg in args], [])
    return node


def _operation(left: ast.expr, op: ast.operator, right: ast.expr) -> ast.expr:
    ends = tuple(side.value if isinstance(side, ast.Constant) else None for side in (left, right))
    match op, ends:
        case (ast.Mult(), (0, _) | (_, 0)) | (ast.Div(), (0, _)) | (ast.Sub(), (0, 0) | (1, 1)):
            return ast.Constant(0)
        case (ast.Mult() | ast.Pow(), (1, _)):
            return right if isinstance(op, ast.Mult) else ast.Constant(1)
        case (ast.Mult() | ast.Div() | ast.Pow(), (_, 1)) | (ast.Add() | ast.Sub(), (_, 0)):
            return left
        case (ast.Add(), (0, _)):
            return right
    return ast.BinOp(left, op, right)


class _Shape(Printer):
    """An expression as text with gaps for its names.

    Attributes:
        parts: alternating text and names (text at even places).
        outers: how tightly what stands around each name binds: what binds less is put in parentheses there.
        level: how tightly the expression itself binds; a lone name binds as what is put in its place.
    """

    __slots__ = ("_outers", "level", "outers", "parts")

    def __init__(self, node: ast.expr) -> None:
        self._outers: list[int] = []
        self.parts = tuple(self._print(node, 0).split(_MARK))
        self.outers = tuple(self._outers)
        match node:
            case ast.BinOp(op=op) | ast.UnaryOp(op=op) | ast.BoolOp(op=op) | ast.Compare(ops=[op]):
                self.level = OPERATORS[type(op)][1]
            case _:
                self.level = _TIGHT

    def _name(self, name: str, outer: int) -> str:
        self._outers.append(outer)
        return f"{_MARK}{name}{_MARK}"

    def _column(self, table: str, column: str) -> str:
        return f"{table}.{column}"

    def _called(self, name: str) -> str:
        return name


@lru_cache(maxsize=8192)
def _shape(text: str, known: frozenset[tuple[str, int]]) -> _Shape:
    return _Shape(_folded(_parsed(text), dict(known)))


# Programs whose short form is kept for the next of the same steps, whatever their numbers.
_MOST = 256
_KNOWN: dict[tuple[object, ...], Compact] = {}


def compacted(
    steps: Sequence[Step | Row], inputs: Sequence[Value], kept: Callable[[str], bool], unsaid: Collection[str] = ()
) -> Compact:
    """Return the short form of a recorded derivation.

    Args:
        kept: whether a name must stay a name of the program.
        unsaid: steps that the answer does not speak of: without a line where nothing rests on them.
    """
    held = frozenset(_held(steps))
    lines = tuple(
        (step.name, "row" if isinstance(step, Row) else step.kind, _cites(step), tuple(_texts(step))) for step in steps
    )
    plain = tuple((v.name, v.value) for v in inputs if _is_plain(v) and v.name not in held and not kept(v.name))
    stays = frozenset(name for name, *_ in lines if kept(name))
    key = (lines, plain, held, stays, frozenset(unsaid))
    known = _KNOWN.get(key)
    if known is None:
        if len(_KNOWN) >= _MOST:
            _KNOWN.clear()
        known = _KNOWN[key] = Compact(lines, plain, held | stays, unsaid)
    return known


class Compact:
    """Which steps and inputs of a recorded derivation need no line of their own, and the other lines' expressions.

    Attributes:
        within: steps without a line.
        literal: defined counts that are not named: 0 and 1, and those used once.
    """

    __slots__ = ("_cites", "_filled", "_idle", "_instead", "literal", "within")

    def __init__(
        self, lines: Sequence[Line], plain: Sequence[tuple[str, float]], stays: Collection[str], unsaid: Collection[str]
    ) -> None:
        uses = Counter([name for *_, texts in lines for text in texts for name in _names(text)])
        self._idle = {name: int(value) for name, value in plain if value in (0, 1)}
        # Expressions that stand in place of names, and printed expressions with how tightly they bind.
        self._instead: dict[str, str] = {
            name: f"{value:.17g}" for name, value in plain if uses[name] == 1 and _is_count(value)
        }
        self.literal = frozenset((*self._idle, *self._instead))
        self._filled: dict[str, tuple[str, int]] = {}
        self.within: set[str] = set()
        self._cites: dict[str, tuple[str, ...]] = {}
        # Rows, columns and checks name no works: what rests on one keeps its line there.
        bare = {
            name
            for _, kind, _, texts in lines
            if kind in ("row", "column", "check")
            for text in texts
            for name in _names(text)
        }
        idle = {name for name in unsaid if not uses[name] and name not in stays}
        for name, kind, cite, texts in lines:
            if name in idle and kind != "row":
                continue
            for text in texts:
                # Where it would get too long, the longest of what it takes in gets its line back.
                while len(self.text(text)) > LONGEST and (taken := self.within.intersection(_names(text))):
                    self._give_back(max(taken, key=lambda name: len(self.text(name))))
            if kind == "step" and texts and uses[name] in (1, 2) and name not in stays:
                cites = self.cites(cite, texts[0])
                if self._shortens(name, texts[0], uses[name]) and not (cites and name in bare):
                    self._instead[name] = texts[0]
                    self.within.add(name)
                    if cites:
                        self._cites[name] = cites
        self.within |= idle

    def _shortens(self, name: str, text: str, uses: int) -> bool:
        size = len(self.text(text))
        return uses * (size + 2 - len(name)) < len(name) + size + A_LINE

    def _give_back(self, name: str) -> None:
        self.within.discard(name)
        self._cites.pop(name, None)
        del self._instead[name]
        self._filled.clear()

    def cites(self, cite: tuple[str, ...], text: str) -> tuple[str, ...]:
        """Return the works that a step rests on, with those of the steps that its expression takes in."""
        taken = [self._cites[name] for name in _names(text) if name in self._cites] if text and self._cites else []
        return tuple(dict.fromkeys(work for works in (cite, *taken) for work in works)) if taken else cite

    def text(self, text: str) -> str:
        """Return an expression with what it takes in."""
        return self._fill(text)[0]

    def _fill(self, text: str) -> tuple[str, int]:
        found = self._filled.get(text)
        if found is not None:
            return found
        known = frozenset((name, self._idle[name]) for name in _names(text) if name in self._idle)
        shape = _shape(text, known)
        parts, level = list(shape.parts), shape.level
        for i, outer in enumerate(shape.outers):
            instead = self._instead.get(parts[2 * i + 1])
            if instead is not None:
                printed, within = self._fill(instead)
                parts[2 * i + 1] = f"({printed})" if within < outer else printed
                if len(parts) == 3 and not parts[0] and not parts[2]:
                    level = within
        self._filled[text] = filled = "".join(parts), level
        return filled


def _is_plain(value: Value) -> bool:
    """Whether a number is true by definition, without a unit or a source of its own."""
    origin = value.origin
    return origin.kind == "defined" and not origin.source and not value.unit and isinstance(value.value, (int, float))


def _is_count(number: float) -> bool:
    return 1 < number < 100 and float(number).is_integer()


def _cites(step: Step | Row) -> tuple[str, ...]:
    return step.cite if isinstance(step, Step) else ()


def _texts(step: Step | Row) -> Iterator[str]:
    """Yield the expressions of a step or of a row's cells."""
    if isinstance(step, Row):
        for cell in step.cells.values():
            yield cell.text() if isinstance(cell, Applied) else cell.name
    elif step.applied is not None and step.kind in ("step", "sum", "column", "check"):
        yield step.applied.text()


def _held(steps: Sequence[Step | Row]) -> Iterator[str]:
    """Yield names that stand elsewhere than in expressions: in choices, searches, reruns, as rows."""
    for step in steps:
        if isinstance(step, Row):
            yield step.name
        else:
            yield from (option.name for option in step.options)
            yield from _NAME.findall(f"{step.rule} {step.detail}")


def names_of(fields: Mapping[str, object]) -> Callable[[str], bool]:
    """Return whether a name stands behind one of these result fields, with a unit or without."""
    stems: set[str] = set()
    for field in (*fields, "binding_share"):
        parts = field.split("_")
        stems.update("_".join(parts[:n]) for n in range(1, len(parts) + 1))
    return stems.__contains__
