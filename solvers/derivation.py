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
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from mlwalls.solvers.bisection import bisect_integer
from mlwalls.solvers.functions import maximum, minimum
from mlwalls.solvers.units import reduce_unit
from mlwalls.solvers.values import (
    STEP,
    YOU,
    Applied,
    Column,
    Constant,
    DerivationError,
    Equation,
    NonFiniteError,
    Origin,
    Value,
    equation,
)

__all__ = [
    "STEP",
    "YOU",
    "Applied",
    "Choice",
    "Column",
    "Constant",
    "Derivation",
    "DerivationError",
    "Equation",
    "NonFiniteError",
    "Origin",
    "Row",
    "Step",
    "Table",
    "Value",
    "bisect_integer",
    "equation",
]


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

    kind: Literal["step", "sum", "choice", "search", "check", "column", "rerun"]
    name: str
    value: Value | None
    applied: Applied | None = None
    rule: str = ""
    options: Sequence[Value] = ()
    chosen: Any = None
    detail: str = ""
    cite: tuple[str, ...] = ()


class Derivation:
    """The steps of one answer; with ``record=False`` the same computation on bare arrays.

    `prefix` goes before every name that it gives. `held` are results of searches that a run does not search again, by name.
    `taken` gathers the options of every choice of a run that does not record.
    """

    def __init__(self, record: bool = True, held: Mapping[str, float | None] | None = None) -> None:
        self.record = record
        self.prefix = ""
        self.held = held or {}
        self.failed: list[str] = []
        self.taken: dict[str, tuple[str, Sequence[Value]]] = {}
        self.tables: list[Table] = []
        self.steps: list[Step | Row] = []
        self._names: dict[str, Value] = {}

    def scope(self, prefix: str) -> Derivation:
        """Return this derivation with another prefix before its names, for a second model or device in one answer."""
        inner = Derivation(self.record, self.held)
        inner.prefix = self.prefix + prefix
        inner.tables, inner.steps, inner._names, inner.taken = self.tables, self.steps, self._names, self.taken
        inner.failed = self.failed
        return inner

    def _finish(
        self, kind: Literal["step", "sum"], name: str, number: Any, applied: Applied, cite: tuple[str, ...]
    ) -> Value:
        name = self.prefix + name
        if not self.record:
            return Value(name, number, applied.equation.unit)
        value = Value(name, number, applied.unit())
        self._check_finite(name, number, applied.arguments)
        self._add(Step(kind, name, value, applied, cite=cite or applied.equation.cite))
        return value

    def _add(self, step: Step) -> None:
        if step.value is not None:
            if step.name in self._names:
                raise DerivationError(f"{step.name} is assigned twice")
            self._names[step.name] = step.value
        self.steps.append(step)

    @staticmethod
    def _check_finite(name: str, number: Any, inputs: Sequence[Value]) -> None:
        finite = (
            math.isfinite(number)
            if isinstance(number, (int, float))
            else all(math.isfinite(x) for x in number.ravel().tolist())
        )
        if not finite:
            raise NonFiniteError(name, [(v.name, v.value) for v in inputs])

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
            # Term by term: from Python 3.12 on, `sum` adds numbers otherwise than arrays.
            number: Any = 0
            for row in table.rows.values():
                number = number + applied.evaluate_row(row)
        except (OverflowError, ZeroDivisionError, ValueError) as error:
            raise NonFiniteError(name, [(a.name, a.value) for a in applied.arguments]) from error
        return self._finish("sum", name, number, applied, cite)

    def least(self, name: str, table: Table, applied: Applied) -> Value:
        """Take the smallest of `applied` over the rows of a table."""
        number = min(applied.evaluate_row(row) for row in table.rows.values())
        value = Value(self.prefix + name, number, applied.unit())
        self._add(Step("sum", value.name, value, applied, rule="min"))
        return value

    def choose(
        self, name: str, rule: Literal["max", "min"], options: Sequence[Value], cite: tuple[str, ...] = ()
    ) -> Choice:
        """Take the largest or smallest of `options`; the choice names the first that attains it."""
        name = self.prefix + name
        function = maximum if rule == "max" else minimum
        number = function(*[o.value for o in options])
        value = Value(name, number, options[0].unit)
        if not self.record:
            self.taken[name] = (rule, options)
            return Choice(value, None)
        if len({reduce_unit(o.unit) for o in options}) > 1:
            raise DerivationError(f"{name}: options in different units")
        self._check_finite(name, number, options)
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
        table = Table(self.prefix + name, self.steps.append if self.record else None)
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
        variable = self.prefix + name if variable == name else variable
        name = self.prefix + name
        if not self.record and name in self.held:
            kept = self.held[name]
            return None if kept is None else Value(name, kept, unit)
        bottom, top = _bare(low), _bare(high)
        number = bisect_integer(rule, bottom, top, holds)
        if isinstance(number, float) and math.isnan(number):
            self.failed.append(name)
            return None
        value = Value(name, number, unit)
        if self.record:
            printed = f"{rule} {variable} in {_range(low)}..{_range(high)} with {condition.text()}"
            self._add(Step("search", name, value, condition, rule=printed))
        return value

    def tried(
        self,
        name: str,
        tried: int,
        rule: Literal["lowest", "highest"],
        metric: Value,
        second: dict[str, int],
        at_second: float,
    ) -> Value:
        """Record that this program's inputs are the best of `tried`: `metric` at the second best is `at_second`."""
        value = Value(self.prefix + name, float(tried), "")
        overrides = ",".join(f'"{symbol}":{number}' for symbol, number in second.items())
        printed = f"{rule} {metric.name} of {tried} tried; next {{{overrides}}} {at_second:.6g}"
        if self.record:
            self._add(Step("search", value.name, value, None, rule=printed))
        return value

    def found(
        self,
        name: str,
        number: float,
        unit: str,
        rule: Literal["smallest", "largest"],
        variable: str,
        candidates: str,
        condition: Applied,
        names: Sequence[Value] = (),
        where: str = "",
    ) -> Value:
        """Record what a search outside found, with its witness.

        Args:
            candidates: as the grammar prints them: ``LOW..HIGH``, ``LOW..HIGH within SHARE`` or ``[n,n,…]``.
            names: inputs that `candidates` or `where` mention.
            where: the names that each candidate sets, as the grammar prints them; `variable` itself when empty.
        """
        value = Value(name, number, unit)
        text = f"{rule} {variable} in {candidates} with {condition.text()}" + (f" where {where}" if where else "")
        self._add(Step("search", name, value, condition, rule=text, options=names))
        return value

    def rerun(self, name: str, metric: Value, number: float, changes: Sequence[tuple[str, Applied]]) -> Value:
        """Record `metric` of the program run again with some names set: (name, what to set it to)."""
        value = Value(name, number, metric.unit)
        self._check_finite(name, number, [metric])
        self._add(Step("rerun", name, value, rule=_rerun_rule(metric, changes), options=_inputs_of(changes)))
        return value

    def rerun_column(
        self,
        table: Table,
        key: str,
        metric: Value,
        numbers: Mapping[str, float],
        changes: Sequence[tuple[str, Applied]],
    ) -> Column:
        """Record such a figure for every row of a table; ``row`` among the names is the one that the row is called."""
        for row, number in numbers.items():
            self._check_finite(f"{table.name}.{key}", number, [metric])
            table.rows[row][key] = number
        table.units[key] = metric.unit
        rule = _rerun_rule(metric, changes)
        self.steps.append(Step("rerun", f"{table.name}.{key}", None, rule=rule, options=_inputs_of(changes)))
        return Column(table, key)

    def values(self) -> Mapping[str, Value]:
        """Return every named step's value."""
        return self._names

    def adopt(self, steps: Sequence[Step | Row]) -> None:
        """Take over steps of another derivation."""
        for step in steps:
            if isinstance(step, Row):
                self.steps.append(step)
            else:
                self._add(step)


def _rerun_rule(metric: Value, changes: Sequence[tuple[str, Applied]]) -> str:
    return f"{metric.name} with {', '.join(f'{name}={applied.text()}' for name, applied in changes)}"


def _inputs_of(changes: Sequence[tuple[str, Applied]]) -> list[Value]:
    return [a for _, applied in changes for a in applied.arguments if a.name != "row" and not isinstance(a, Column)]


def _bare(bound: Value | int) -> Any:
    return bound.value if isinstance(bound, Value) else bound


def _range(bound: Value | int) -> str:
    return bound.name if isinstance(bound, Value) else str(bound)


def _at(number: Any, index: int) -> Any:
    return number if isinstance(number, (int, float)) or number.ndim == 0 else number[index]
