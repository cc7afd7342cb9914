"""What an equation, a value and a derivation are: the work shown is the work done.

An :class:`Equation` is declared once, on a function that returns one expression. Called with
:class:`Value` objects it does not compute; it gives an :class:`Applied`, which a
:class:`Derivation` turns into a step. Values have no arithmetic and no truth, so nothing can be
computed beside the steps. A derivation that does not record runs the same code on arrays of any
size; one that records keeps (name, equation, arguments) and prints only when asked
(:mod:`mlwalls.solvers.rendering`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NoReturn

from mlwalls.solvers.expressions import Template
from mlwalls.solvers.functions import maximum, minimum, where
from mlwalls.solvers.units import reduce_unit


class DerivationError(TypeError):
    """A solver breaks a rule of the derivation: a programming error, never the caller's."""


class NonFiniteError(ArithmeticError):
    """A step came out infinite or undefined.

    Attributes:
        name: the step.
        inputs: (name, value) of what went into it.
    """

    def __init__(self, name: str, inputs: Sequence[tuple[str, Any]]) -> None:
        self.name, self.inputs = name, inputs
        super().__init__(f"{name} is not a finite number")


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a number comes from: the head of an origin line, or a step."""

    kind: Literal["zoo", "you", "defined", "calibrated", "assumed", "step"]
    entry: str = ""
    source: str = ""
    checked: bool = True
    low: float | None = None
    high: float | None = None


STEP = Origin("step")
YOU = Origin("you")


class Value:
    """A number with a name, a unit and an origin; it cannot be computed with outside a step."""

    __slots__ = ("name", "origin", "unit", "value")

    def __init__(self, name: str, value: Any, unit: str = "", origin: Origin = STEP) -> None:
        self.name, self.value, self.unit, self.origin = name, value, unit, origin

    def __bool__(self) -> NoReturn:
        raise DerivationError(f"{self.name}: a value has no truth; decide in resolve or with a step")

    def __repr__(self) -> str:
        return f"Value({self.name}={self.value!r} {self.unit})"


class Column(Value):
    """A column of a table, to be used in reductions and column steps."""

    __slots__ = ("key", "table")

    def __init__(self, table: Table, key: str) -> None:
        super().__init__(f"{table.name}.{key}", None, table.units.get(key, ""))
        self.table, self.key = table, key


class Constant(float):
    """A named number that equations may use: a definition (2 FLOP a multiply-add) with its unit."""

    symbol: str
    unit: str
    source: str

    def __new__(cls, symbol: str, number: float, unit: str = "", source: str = "") -> Constant:
        self = super().__new__(cls, number)
        self.symbol, self.unit, self.source = symbol, unit, source
        return self


class Equation:
    """A cited formula: call it with values to apply it, `function` is the bare Python function.

    Attributes:
        unit: unit of the result. A single capital letter stands for the unit of the parameter that
            was declared with the same letter.
        units: unit of each parameter (``""`` for counts and ratios).
        cite: ids in the bibliography.
        wall: slug of the wall that the equation states, or ``""``.
    """

    __slots__ = (
        *("_checked", "_places", "_template", "_texts", "cite", "function", "name", "parameters", "unit", "units"),
        "wall",
    )

    def __init__(
        self, function: Callable[..., Any], unit: str, cite: tuple[str, ...], wall: str, units: dict[str, str]
    ) -> None:
        code = function.__code__
        self.function, self.name = function, function.__name__
        self.parameters = code.co_varnames[: code.co_argcount]
        self.unit, self.cite, self.wall = unit, cite, wall
        if unknown := units.keys() - set(self.parameters):
            raise DerivationError(f"{self.name}: unit given for unknown parameter {sorted(unknown)}")
        self.units = {p: units.get(p, "") for p in self.parameters}
        self._places = {p: i for i, p in enumerate(self.parameters)}
        self._template: Template | None = None
        # What a unit check and a printed expression came to, by the arguments' units and names.
        self._checked: dict[tuple[str | None, ...], str] = {}
        self._texts: dict[tuple[str, ...], str] = {}

    def __call__(self, *values: Value, **named: Value) -> Applied:
        arguments = list(values)
        if named:
            arguments += [None] * (len(self.parameters) - len(values))  # type: ignore[list-item]
            for name, value in named.items():
                arguments[self._places[name]] = value
        if len(arguments) != len(self.parameters) or any(not isinstance(a, Value) for a in arguments):
            raise DerivationError(f"{self.name} takes values for ({', '.join(self.parameters)})")
        return Applied(self, arguments)

    @property
    def template(self) -> Template:
        """The printed form, read from the source on first use."""
        if self._template is None:
            self._template = Template(self.function, self.parameters)
        return self._template


def equation(
    unit: str = "", /, *, cite: str | tuple[str, ...] = (), wall: str = "", **units: str
) -> Callable[[Callable[..., Any]], Equation]:
    """Declare the decorated function an equation whose result has `unit`; parameters' units by name."""
    cited = (cite,) if isinstance(cite, str) else tuple(cite)
    return lambda function: Equation(function, unit, cited, wall, units)


class Applied:
    """An equation with its arguments, not yet computed."""

    __slots__ = ("arguments", "equation")

    def __init__(self, equation: Equation, arguments: Sequence[Value]) -> None:
        self.equation, self.arguments = equation, arguments

    def evaluate(self) -> Any:
        """Compute on the arguments' bare numbers."""
        return self.equation.function(*[a.value for a in self.arguments])

    def evaluate_row(self, row: dict[str, Any]) -> Any:
        """Compute for one table row: columns take that row's cells, 0 where there is none."""
        return self.equation.function(
            *[row.get(a.key, 0.0) if isinstance(a, Column) else a.value for a in self.arguments]
        )

    def unit(self) -> str:
        """Return the unit of the result, after checking every argument's unit.

        Raises:
            DerivationError: an argument has another unit than its parameter declares.
        """
        key = tuple(None if isinstance(a, Column) and a.key not in a.table.units else a.unit for a in self.arguments)
        checked = self.equation._checked
        if key not in checked:
            checked[key] = self._check_units()
        return checked[key]

    def _check_units(self) -> str:
        letters: dict[str, str] = {}
        for argument, declared in zip(self.arguments, self.equation.units.values(), strict=True):
            if isinstance(argument, Column) and argument.key not in argument.table.units:
                continue  # no row has this column: it is 0 in any unit
            given = reduce_unit(argument.unit)
            expected = letters.setdefault(declared, given) if declared in _LETTERS else reduce_unit(declared)
            if given != expected:
                raise DerivationError(
                    f"{self.equation.name}: {argument.name} is in {argument.unit or 'counts'}, not {expected or 'counts'}"
                )
        result = self.equation.unit
        return letters.get(result, result) if result in _LETTERS else result

    def text(self) -> str:
        """Return the expression over the arguments' names."""
        equation = self.equation
        names = tuple(argument.name for argument in self.arguments)
        text = equation._texts.get(names)
        if text is None:
            text = equation.template.fill(dict(zip(equation.parameters, names, strict=True)))
            if len(equation._texts) < MAX_TEXTS:
                equation._texts[names] = text
        return text


_LETTERS = frozenset("TUV")
MAX_TEXTS = 256


class Table:
    """Rows of cells; every cell is a value or an applied equation. Rows are looped, never an array axis."""

    __slots__ = ("_record", "defaults", "name", "rows", "units")

    def __init__(self, name: str, record: Callable[[Row], None] | None = None) -> None:
        self.name = name
        self._record = record
        self.rows: dict[str, dict[str, Any]] = {}
        self.units: dict[str, str] = {}
        self.defaults: dict[str, Any] = {}

    def row(self, name: str, /, **cells: Applied | Value) -> None:
        """Add a row; the name ``*`` sets what rows have that do not say otherwise (before any row)."""
        row = self.defaults if name == "*" else self.rows.setdefault(name, dict(self.defaults))
        for key, cell in cells.items():
            if isinstance(cell, Applied):
                row[key] = cell.evaluate()
                unit = cell.unit() if self._record is not None else cell.equation.unit
            else:
                row[key], unit = cell.value, cell.unit
            known = self.units.setdefault(key, unit)
            if self._record is not None and reduce_unit(known) != reduce_unit(unit):
                raise DerivationError(f"{self.name}.{key} is in {known}, not {unit}")
        if self._record is not None:
            self._record(Row(self.name, name, cells))

    def column(self, key: str, applied: Applied) -> Column:
        """Compute a new column for all rows from earlier columns."""
        for row in self.rows.values():
            row[key] = applied.evaluate_row(row)
        self.units[key] = applied.unit() if self._record is not None else applied.equation.unit
        return Column(self, key)

    def __getitem__(self, key: str) -> Column:
        return Column(self, key)

    def cells(self, key: str) -> Iterator[tuple[str, Any]]:
        """Yield (row name, bare number) of one column."""
        for name, row in self.rows.items():
            yield name, row.get(key, 0.0)


@dataclass(frozen=True, slots=True)
class Row:
    """One recorded row of a table."""

    table: str
    name: str
    cells: dict[str, Applied | Value]


@dataclass(slots=True)
class Choice:
    """A ``max`` or ``min`` over named values and which of them it took."""

    value: Value
    chosen: Any


@dataclass(slots=True)
class Step:
    """One recorded line of work. `kind` says which of the optional parts are there."""

    kind: Literal["step", "sum", "choice", "search", "check", "column"]
    name: str
    value: Value | None
    applied: Applied | None = None
    rule: str = ""
    options: Sequence[Value] = ()
    chosen: Any = None
    detail: str = ""
    cite: tuple[str, ...] = ()


class Derivation:
    """The steps of one answer; with ``record=False`` the same computation on bare arrays."""

    def __init__(self, record: bool = True) -> None:
        self.record = record
        self.tables: list[Table] = []
        self.steps: list[Step | Row] = []
        self._names: dict[str, Value] = {}

    def _finish(
        self, kind: Literal["step", "sum"], name: str, number: Any, applied: Applied, cite: tuple[str, ...]
    ) -> Value:
        if not self.record:
            return Value(name, number, applied.equation.unit)
        value = Value(name, number, applied.unit())
        self._check_finite(name, number, [(a.name, a.value) for a in applied.arguments])
        self._add(Step(kind, name, value, applied, cite=cite or applied.equation.cite))
        return value

    def _add(self, step: Step) -> None:
        if step.value is not None:
            if step.name in self._names:
                raise DerivationError(f"{step.name} is assigned twice")
            self._names[step.name] = step.value
        self.steps.append(step)

    @staticmethod
    def _check_finite(name: str, number: Any, inputs: Sequence[tuple[str, Any]]) -> None:
        finite = (
            math.isfinite(number)
            if isinstance(number, (int, float))
            else all(math.isfinite(x) for x in number.ravel().tolist())
        )
        if not finite:
            raise NonFiniteError(name, inputs)

    def step(self, name: str, applied: Applied, cite: tuple[str, ...] = ()) -> Value:
        """Compute `applied` and name the result."""
        try:
            number = applied.evaluate()
        except (OverflowError, ZeroDivisionError, ValueError) as error:
            raise NonFiniteError(name, [(a.name, a.value) for a in applied.arguments]) from error
        return self._finish("step", name, number, applied, cite)

    def sum(self, name: str, applied: Applied, cite: tuple[str, ...] = ()) -> Value:
        """Add `applied` over the rows of the one table whose columns it uses."""
        table = next((a.table for a in applied.arguments if isinstance(a, Column)), None)
        if table is None:
            raise DerivationError(f"{name}: a sum needs a column")
        try:
            number = sum(applied.evaluate_row(row) for row in table.rows.values())
        except (OverflowError, ZeroDivisionError, ValueError) as error:
            raise NonFiniteError(name, [(a.name, a.value) for a in applied.arguments]) from error
        return self._finish("sum", name, number, applied, cite)

    def choose(
        self, name: str, rule: Literal["max", "min"], options: Sequence[Value], cite: tuple[str, ...] = ()
    ) -> Choice:
        """Take the largest or smallest of `options`; the choice names the first that attains it."""
        function = maximum if rule == "max" else minimum
        number = function(*[o.value for o in options])
        value = Value(name, number, options[0].unit)
        if not self.record:
            return Choice(value, None)
        if len({reduce_unit(o.unit) for o in options}) > 1:
            raise DerivationError(f"{name}: options in different units")
        self._check_finite(name, number, [(o.name, o.value) for o in options])
        chosen: Any
        if isinstance(number, (int, float)):
            chosen = next(o.name for o in options if o.value == number)
        else:
            chosen = [
                next(o.name for o in options if float(_at(o.value, i)) == float(n))
                for i, n in enumerate(number.tolist())
            ]
            chosen = chosen[0] if len(set(chosen)) == 1 else chosen
        self._add(Step("choice", name, value, rule=rule, options=options, chosen=chosen, cite=cite))
        return Choice(value, chosen)

    def table(self, name: str) -> Table:
        """Start a table; its rows are recorded in the order in which they and the steps between them are taken."""
        table = Table(name, self.steps.append if self.record else None)
        if self.record:
            self.tables.append(table)
        return table

    def column(self, table: Table, key: str, applied: Applied) -> Column:
        """Add a computed column to `table` and record it."""
        column = table.column(key, applied)
        if self.record:
            self.steps.append(Step("column", f"{table.name}.{key}", None, applied))
        return column

    def check(self, applied: Applied) -> None:
        """Record a relation that must hold (a residual, an inequality).

        Raises:
            DerivationError: it does not hold.
        """
        if not self.record:
            return
        if not applied.evaluate():
            raise DerivationError(f"check failed: {applied.text()}")
        self.steps.append(Step("check", "", None, applied))

    def search(
        self,
        name: str,
        rule: Literal["smallest", "largest"],
        variable: str,
        low: Value | int,
        high: Value | int,
        condition: Applied,
        holds: Callable[[Any], Any],
        unit: str = "",
    ) -> Value | None:
        """Find the smallest or largest whole number in a range for which a monotone condition holds.

        Args:
            variable: the symbol that is varied (may be `name` itself).
            condition: printed; an applied comparison over names of this derivation.
            holds: runs the unrecorded compute at one candidate (a number, or an array of candidates where the
                inputs are arrays) and tells whether the condition holds.

        Returns:
            The found number, or None (scalar runs) where no candidate in the range holds.
        """
        bottom, top = _bare(low), _bare(high)
        number = bisect_integer(rule, bottom, top, holds)
        if isinstance(number, float) and math.isnan(number):
            return None
        value = Value(name, number, unit)
        if self.record:
            printed = f"{rule} {variable} in {_range(low)}..{_range(high)} with {condition.text()}"
            self._add(Step("search", name, value, condition, rule=printed))
        return value


def bisect_integer(rule: Literal["smallest", "largest"], low: Any, high: Any, holds: Callable[[Any], Any]) -> Any:
    """Bisect a monotone condition over whole numbers, element by element; NaN where none holds.

    `smallest` expects a condition that stays true once true, `largest` one that stays false once false.
    """
    up = rule == "smallest"
    best, other = (high, low) if up else (low, high)
    found = holds(best)
    if found is False:
        return math.nan
    good, bad = best + 0.0 * other, other + 0.0 * best
    at_other = holds(other)
    good = where(at_other, bad, good)
    gap = float(absolute_gap(good, bad))
    while gap > 1:
        middle = (good + bad) // 2
        good_here = holds(middle)
        good, bad = where(good_here, middle, good), where(good_here, bad, middle)
        gap = float(absolute_gap(good, bad))
    return where(found, good, math.nan)


def absolute_gap(a: Any, b: Any) -> float:
    """Return the largest distance between two numbers or arrays."""
    gap = abs(a - b)
    return float(gap if isinstance(gap, (int, float)) else gap.max())


def _bare(bound: Value | int) -> Any:
    return bound.value if isinstance(bound, Value) else bound


def _range(bound: Value | int) -> str:
    return bound.name if isinstance(bound, Value) else str(bound)


def _at(number: Any, index: int) -> Any:
    return number if isinstance(number, (int, float)) or number.ndim == 0 else number[index]
