"""A request to another solver inside a request: `tool`, `metric` and `scenario` lines, read as `mlwalls call` reads them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from functools import lru_cache, partial
from typing import Any, Literal

from mlwalls.solvers.arguments import ArgumentsError, checked
from mlwalls.solvers.assignments import AssignmentError, assigned, read_assignments, write_assignments
from mlwalls.solvers.derivation import STEP, Derivation, NonFiniteError, Value
from mlwalls.solvers.errors import CallError
from mlwalls.solvers.lookup import parameters_of
from mlwalls.solvers.numbers import Numbers
from mlwalls.solvers.registry import solvers
from mlwalls.solvers.schemas import client_schema
from mlwalls.solvers.solver import Outcome, Presentation, Problem, Solver, SolverRequest
from mlwalls.solvers.units import reduce_unit
from mlwalls.solvers.words import SUFFIXES, symbol_of
from mlwalls.zoo import Zoo

_TIMES = ("_h", "_days", "_s", "_ms", "_us")
# Words for what a figure measures, and how the names of such figures end.
_MEANT: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("hours", "hour", "h", "days", "day", "duration", "runtime"), ("_h", "_hours", "_days")),
    **dict.fromkeys(("time", "latency", "seconds", "ms", "s", "delay"), _TIMES),
    **dict.fromkeys(("cost", "price", "usd", "dollars", "money"), ("_usd", "_usd_per_h", "_usd_per_million_tokens")),
    **dict.fromkeys(("throughput", "rate", "qps", "speed"), ("_per_s",)),
    **dict.fromkeys(("memory", "size", "gb", "bytes"), ("_gb", "_gib", "_bytes")),
    **dict.fromkeys(("energy", "kwh"), ("_kwh", "_mwh", "_j", "_wh")),
    **dict.fromkeys(("carbon", "co2", "co2e", "emissions"), ("_kg", "_t", "_g")),
}
_UNITS = {**dict.fromkeys(("hours", "hour", "h"), "h"), **dict.fromkeys(("days", "day"), "days"), "ms": "ms"}
_UNITS |= dict.fromkeys(("seconds", "s"), "s")
# What a word for a time or a cost means last: ends of ranges, times between failures and of checkpoints.
_UNUSUAL = ("low", "high", "mtbf", "young", "interval", "save", "campaign")


@dataclass(frozen=True, slots=True)
class Metric:
    """A figure of a solver: its symbol, the unit in which it was asked for (its factor to SI), and the name that asks for it."""

    symbol: str
    unit: str
    factor: float
    name: str

    def shown(self, number: float) -> float:
        """Return an SI number in the unit asked for."""
        return number / self.factor


@dataclass(frozen=True, slots=True)
class Inner:
    """A resolved inner request; `runs` keeps recorded runs by the problem that they answer."""

    solver: Solver
    arguments: dict[str, Any]
    problem: Problem
    zoo: Zoo
    runs: dict[int, tuple[Problem, Outcome, Derivation]] = field(default_factory=dict, compare=False, repr=False)

    def at(self, **changes: Any) -> Inner:
        """Return the request resolved again with other arguments, and with assumed numbers that the solver pins as they are here.

        Raises:
            CallError: these arguments have no answer.
        """
        own = self.problem.numbers
        kept = {
            name: own[name]
            for name in self.solver.pinned
            if name not in changes and own[name].origin.kind == "assumed" and isinstance(own[name].value, float)
        }
        arguments = {**self.arguments, **{name: int(value.value) for name, value in kept.items()}, **changes}
        problem = _resolved(self.solver, arguments, self.zoo)
        if kept:
            problem = replace(problem, numbers=Numbers({**problem.numbers, **kept}))
        return Inner(self.solver, arguments, problem, self.zoo)

    def recorded(self, problem: Problem | None = None) -> tuple[Outcome, Derivation]:
        """Run the solver with its work recorded, once for every problem.

        Raises:
            NonFiniteError: a step has no finite value.
        """
        p = problem or self.problem
        if id(p) not in self.runs:
            derivation = Derivation()
            self.runs[id(p)] = p, self.solver.compute(p.structure, p.numbers, derivation), derivation
        return self.runs[id(p)][1:]

    def silent(self) -> Outcome:
        """Run it unrecorded as it is: every number that a recorded run has, but for searches that only such runs make.

        Raises:
            NonFiniteError: a step has no value.
        """
        return self.solver.compute(self.problem.structure, self.problem.numbers, Derivation(record=False))

    def evaluated(
        self, vary: Mapping[str, Any], held: Mapping[str, float | None] | None = None
    ) -> tuple[Outcome, Mapping[str, tuple[str, Sequence[Value]]]]:
        """Run it unrecorded with arrays in place of some numbers; returns the outcome and every choice's options."""
        silent = Derivation(record=False, held=held)
        with quiet():
            out = self.solver.compute(self.problem.structure, self.problem.numbers.replaced(vary), silent)
        return out, silent.taken

    def presented(self) -> Presentation:
        """Return the inner answer in words."""
        out, derivation = self.recorded()
        return self.solver.present(self.problem, out, derivation)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Let arrays overflow and divide by zero in silence: what is not finite is looked for afterwards."""
    import numpy

    with numpy.errstate(all="ignore"):
        yield


@lru_cache(maxsize=64)
def _schema(solver: type[SolverRequest]) -> dict[str, Any]:
    return client_schema(solver)


def schema_of(solver: Solver) -> Mapping[str, Any]:
    """Return the arguments' schemas of a solver by name."""
    properties: Mapping[str, Any] = _schema(solver.request)["properties"]
    return properties


def _resolved(solver: Solver, arguments: Mapping[str, Any], zoo: Zoo) -> Problem:
    request = solver.request.model_validate(arguments)
    problem = solver.resolve(request, zoo)
    problem.numbers.override(request.set_)
    return problem


def askable() -> dict[str, Solver]:
    """Return the solvers that an analysis may ask."""
    return {name: solver for name, solver in solvers().items() if not solver.analysis}


def resolve_inner(tool: str, scenario: Sequence[str], zoo: Zoo) -> Inner:
    """Read, check and resolve an inner request.

    Raises:
        CallError: the tool or an argument is wrong; the repair is of the outer `tool` or `scenario`.
    """
    known = askable()
    if tool not in known:
        near = get_close_matches(tool, known, 3, 0.5) or list(known)
        raise CallError("tool", f"{tool!r} is no solver that can be asked.", choices=near)
    solver = known[tool]
    try:
        given = read_assignments(_apart(scenario, schema_of(solver)), schema_of(solver))
    except AssignmentError as error:
        kept = [line for line in scenario if "=" in line] or write_assignments(solver.example)
        raise CallError("scenario", f"{tool}: {error}", repair={"scenario": kept}) from error
    try:
        arguments = checked(_schema(solver.request), given, solver.example, partial(parameters_of, zoo))
    except ArgumentsError as error:
        text = f"{tool}: {' '.join(error.problems)}"
        raise CallError("scenario", text, repair={"scenario": write_assignments(error.repaired)}) from error
    arguments.pop("detail", None)
    if arguments.pop("define", None):
        text = f"{tool}: define stands beside scenario, not in it."
        raise CallError("scenario", text, repair={"scenario": write_assignments(arguments)})
    try:
        return Inner(solver, arguments, _resolved(solver, arguments, zoo), zoo)
    except CallError as error:
        raise outer_error(tool, arguments, by_argument(solver, arguments, zoo, error)) from error


def _apart(scenario: Sequence[str], properties: Mapping[str, Any]) -> list[str]:
    """Return the lines with those taken apart that hold several assignments to arguments: ``model=a hardware=b``."""
    apart: list[str] = []
    for line in scenario:
        pieces = assigned(line)
        apart += pieces if all(piece.partition("=")[0] in properties for piece in pieces) else [line]
    return apart


def by_argument(solver: Solver, arguments: Mapping[str, Any], zoo: Zoo, error: CallError) -> CallError:
    """Return an error on a `set` that an argument decides as one that names the argument, where it can be told."""
    if error.follows is None:
        return error
    symbol, number = error.follows
    kept = error.repair.get("set", [])
    try:
        left = {name: value for name, value in arguments.items() if name not in ("set", "detail", "define")}
        lever = levers(Inner(solver, left, _resolved(solver, left, zoo), zoo)).get(symbol)
    except (CallError, ValueError):
        return error
    if lever is None or not number > 0:
        return error
    value = lever.argument_value(number)
    text = f"{error.problem.rstrip('.')}: {lever.argument}."
    return CallError(error.argument, text, repair={"set": kept or None, lever.argument: value})


def outer_error(tool: str, arguments: Mapping[str, Any], error: CallError) -> CallError:
    """Return an inner solver's error as one of the outer `scenario`."""
    nearest = f" Nearest valid: {', '.join(error.choices)}." if error.choices else ""
    repaired = {k: v for k, v in {**arguments, **error.repair}.items() if v not in ("", None)}
    example = solvers()[tool].example
    if repaired == arguments:
        usual = {error.argument: example[error.argument]} if error.argument in example else {}
        repaired = {k: v for k, v in arguments.items() if k != error.argument} | usual
    if repaired == arguments:
        repaired = dict(example)
    text = f"{tool}: {error.argument}: {error.problem}{nearest}"
    return CallError("scenario", text, repair={"scenario": write_assignments(repaired)})


def figures(inner: Inner) -> Outcome:
    """Return every computed figure of an inner request, but for searches that only recorded runs make.

    Raises:
        CallError: a step is not finite, or a list of cases was asked where one is meant.
    """
    try:
        silent, _ = inner.evaluated({})
        recorded, _ = inner.recorded()
        out = {symbol: value for symbol, value in recorded.items() if symbol in silent and value.origin is STEP}
    except (NonFiniteError, ArithmeticError) as error:
        raise CallError("scenario", f"{inner.solver.name}: {error}", repair={"scenario": _example(inner)}) from error
    if any(not isinstance(v.value, (int, float)) for v in out.values()):
        single = {
            k: v[:1] if isinstance(v, list) and v and not isinstance(v[0], str) else v
            for k, v in inner.arguments.items()
        }
        text = f"{inner.solver.name}: several cases at once; give one, or use sweep for several."
        raise CallError("scenario", text, repair={"scenario": write_assignments(single)})
    return out


def _example(inner: Inner) -> list[str]:
    return write_assignments(inner.solver.example)


def find_metric(inner: Inner, out: Outcome, metric: str, argument: str = "metric") -> Metric:
    """Return the figure that `metric` names: a symbol of the outcome, or a result field with its unit.

    Raises:
        CallError: it names none; carries the nearest.
    """
    named = {f: place for f in inner.solver.result.model_fields if (place := symbol_of(f, out)) is not None}
    if not metric:
        main = inner.solver.result.MAIN
        metric = main if main in named else next(iter(named), next(iter(out)))
    place = named.get(metric) or symbol_of(metric, out)
    if place is None:
        choices = [*named, *(symbol for symbol in out if symbol not in named)]
        near, lacking = _meant(inner, out, named, choices, metric)
        text = f"{metric!r} is no figure of {inner.solver.name} here.{lacking}"
        raise CallError(argument, text, choices=near or get_close_matches(metric, choices, 4, 0.6) or choices[:8])
    symbol, factor = place
    suffix = metric[len(symbol) + 1 :]
    return Metric(symbol, suffix.replace("_per_", "/") if suffix in SUFFIXES else out[symbol].unit, factor, metric)


def _meant(
    inner: Inner, out: Outcome, named: Mapping[str, Any], choices: Sequence[str], metric: str
) -> tuple[list[str], str]:
    """Return the figures that a word such as "hours" may mean, in its unit, and what is said of those that are not computed."""
    word = metric.lower().rsplit("_", 1)[-1]
    ends = _MEANT.get(word, ())
    if not ends:
        return [], ""
    near = [choice for choice in choices if choice.endswith(ends)]
    lacking = [field for field in inner.solver.result.model_fields if field.endswith(ends) and field not in near]
    lacking = [field for field in lacking if not any(x in field for x in _UNUSUAL) and "list" not in field]
    unit = _UNITS.get(word, "")
    for at, choice in enumerate(near):
        place = named.get(choice)
        if unit and place and out[place[0]].unit == "s":
            near[at] = f"{place[0]}_{unit}"
    ranked = sorted(dict.fromkeys(near), key=lambda name: any(part in name for part in _UNUSUAL))[:6]
    text = f" Not with these arguments: {', '.join(lacking[:4])}." if lacking else ""
    return ranked, text


def with_outer(problem: Problem, numbers: Numbers) -> Problem:
    """Return a problem with the numbers that an outer request holds for it (what its `set` replaced): itself where none is."""
    if all(numbers[symbol] is value for symbol, value in problem.numbers.items()):
        return problem
    return replace(problem, numbers=Numbers({symbol: numbers[symbol] for symbol in problem.numbers}))


@dataclass(frozen=True, slots=True)
class Lever:
    """An argument of the inner request that one of its numbers stands for: number = argument · scale."""

    argument: str
    scale: float
    whole: bool
    listed: bool
    limits: tuple[int, int]

    def argument_value(self, number: float) -> Any:
        """Return the argument that gives this number."""
        value: Any = round(number / self.scale) if self.whole else number / self.scale
        return [value] if self.listed else value


def levers(inner: Inner) -> dict[str, Lever]:
    """Return the numeric arguments by the symbol of the number that each alone decides, found by changing it a little."""
    base = inner.problem.numbers
    found: dict[str, Lever] = {}
    for argument, schema in schema_of(inner.solver).items():
        listed = schema.get("type") == "array"
        kind = (schema["items"] if listed else schema).get("type")
        value = inner.arguments.get(argument, schema.get("default"))
        if listed:
            value = value[0] if isinstance(value, list) and len(value) == 1 else None
        if kind not in ("number", "integer") or not isinstance(value, (int, float)) or value == 0:
            continue
        whole = kind == "integer"
        bounds = schema["items"] if listed else schema
        limits = (int(bounds.get("minimum", 1)), int(bounds.get("maximum", 1 << 20)))
        for other in (value + 1, 2 * value, value - 1) if whole else (value * 1.01, value * 0.99):
            with contextlib.suppress(CallError, ValueError):
                numbers = inner.at(**{argument: [other] if listed else other}).problem.numbers
                for symbol in base:
                    old, new = base[symbol].value, numbers[symbol].value if symbol in numbers else None
                    if old == new or not isinstance(old, (int, float)) or not isinstance(new, (int, float)) or not old:
                        continue
                    if base[symbol].origin.kind == "you" and abs(new / old * value / other - 1) < 1e-9:
                        found[base[symbol].name] = Lever(argument, old / value, whole, listed, limits)
                break
    return found


def same_structure(inner: Inner, changes: Sequence[tuple[Lever, float]]) -> bool:
    """Return whether the same equations apply when arguments are changed so that their symbols are these numbers."""
    arguments = {lever.argument: lever.argument_value(number) for lever, number in changes}
    try:
        return bool(inner.at(**arguments).problem.structure == inner.problem.structure)
    except (CallError, ValueError):
        return False


def number_named(argument: str, name: str, known: Numbers, behind: Mapping[str, Value], given: Sequence[str]) -> str:
    """Return the printed symbol of a number that the caller named in a list argument.

    Raises:
        CallError: no such number, or one that is 0 and so cannot be scaled.
    """

    def usable(symbol: str) -> bool:
        return symbol in known and isinstance(known[symbol].value, (int, float)) and known[symbol].value != 0

    if usable(name):
        return known[name].name
    near = get_close_matches(name, list(behind), 3, 0.4) or list(behind)[:6]
    fixed = [v if usable(v) else (get_close_matches(v, list(behind), 1, 0.4) or near)[0] for v in given] if near else []
    what = "is 0 here" if name in known else "names no number of this calculation"
    raise CallError(argument, f"{name!r} {what}.", choices=near, repair={argument: fixed})


def default_sense(value: Value) -> Literal["at_most", "at_least"]:
    """Return whether less or more of a figure is better, by its unit: rates and counts more; times, bytes and costs less."""
    unit = reduce_unit(value.unit)
    return "at_most" if unit in ("s", "byte", "USD", "J", "g", "kg") or unit.startswith("USD/") else "at_least"
