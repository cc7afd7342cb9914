"""Values and equations: what a derivation is made of.

A :class:`Value` has a name, a unit and an origin and cannot be computed with. An :class:`Equation` called with values does not
compute; it gives an :class:`Applied`, which a derivation turns into a step.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NoReturn

from mlwalls.solvers.expressions import Template
from mlwalls.solvers.units import reduce_unit

if TYPE_CHECKING:
    from mlwalls.solvers.derivation import Table


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

    kind: Literal["zoo", "you", "answer", "defined", "calibrated", "assumed", "step"]
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
        arguments: list[Any] = list(values)
        if named:
            arguments += [None] * (len(self.parameters) - len(values))
            for name, value in named.items():
                arguments[self._places[name]] = value
        for argument in arguments:
            if not isinstance(argument, Value):
                break
        else:
            if len(arguments) == len(self.parameters):
                return Applied(self, arguments)
        raise DerivationError(f"{self.name} takes values for ({', '.join(self.parameters)})")

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
        checked = self.equation._checked
        key = tuple([None if isinstance(a, Column) and a.key not in a.table.units else a.unit for a in self.arguments])
        unit = checked.get(key)
        if unit is None:
            unit = checked[key] = self._check_units()
        return unit

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
        names = tuple([argument.name for argument in self.arguments])
        text = equation._texts.get(names)
        if text is None:
            text = equation.template.fill(dict(zip(equation.parameters, names, strict=True)))
            if len(equation._texts) < MAX_TEXTS:
                equation._texts[names] = text
        return text


_LETTERS = frozenset("TUV")
MAX_TEXTS = 256
