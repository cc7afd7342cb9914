"""A program of the published grammar, read line by line and recomputed; nothing of the solvers is used."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from mlwalls.server.expression_reader import MAX_LIST, Number, ProgramError, evaluate, names_in

MAX_ROWS = 64
MAX_SEARCHES = 32
MAX_RERUNS = 1500
MAX_PROBLEMS = 50
TOLERANCE = 6e-6
COVERS = (
    "covers the work, the figures of result, the binding share and the sources; "
    "not the sentence, feasible, the names of walls and the warnings: --again TOOL asks again and compares those"
)

_NAME = r"[A-Za-z_][A-Za-z_0-9]*"
_NUMBER = r"-?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]{1,3})?"
_LITERAL = rf"(?:{_NUMBER}|\[{_NUMBER}(?:,{_NUMBER})*\])"
_ORIGIN = re.compile(r"(zoo|you|answer|defined|calibrated|assumed)\b([^:\[]*)(?:\[([^\]]*)\])?: (.*)", re.ASCII)
_ASSIGNMENT = re.compile(
    rf"({_NAME})=({_LITERAL})(?: ([^\s,()=\[]+))?(?: \(({_NUMBER})\.\.({_NUMBER})\))?(?: \[([^\]]*)\])?", re.ASCII
)
_ROW = re.compile(rf"({_NAME}) ({_NAME}|\*): (.*)", re.ASCII)
_COLUMN = re.compile(rf"({_NAME})\.({_NAME}) = (.*)", re.ASCII)
_SEARCH = re.compile(rf"({_NAME}) = ({_LITERAL})(?: ([^\s=]+))? = search: (.*)", re.ASCII)
_STEP = re.compile(rf"({_NAME}) = (.+) = ({_LITERAL})(?: ([^\s\[\]=>]+))?(?: \[([^\]]*)\])?(?: -> (\S+))?", re.ASCII)
_RERUN = re.compile(rf"({_NAME})(?:\.({_NAME})| = ({_LITERAL})(?: ([^\s=]+))?) = rerun: (.+?) with (.+)", re.ASCII)
_SETTING = re.compile(rf"({_NAME})=(?!=)(.+)", re.ASCII)
_REDUCTION = re.compile(r"(sum|max|min)\((.*)\)", re.ASCII)


@dataclass(slots=True)
class Report:
    """What a verification found."""

    lines: int = 0
    steps: int = 0
    searches: int = 0
    result_numbers: int = 0
    problems: list[str] = field(default_factory=list)
    rests_on: dict[str, int] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """Whether everything agreed."""
        return not self.problems

    def add(self, problem: str) -> None:
        """Note a problem; past a limit they are not gathered any more."""
        if len(self.problems) < MAX_PROBLEMS:
            self.problems.append(problem)

    def text(self) -> str:
        """Say it in a few lines."""
        head = (
            f"{self.lines} lines read, {self.steps} steps and {self.searches} searches recomputed, "
            f"{self.result_numbers} result numbers matched"
        )
        others = ", ".join(f"{count} of {tool}" for tool, count in self.rests_on.items())
        rest = [f"figures of other answers, to be verified with theirs: {others}"] if others else []
        return "\n".join([f"{'verified' if self.ok else 'NOT verified'}: {head}", COVERS, *self.problems, *rest])


@dataclass(slots=True)
class _Table:
    rows: dict[str, dict[str, Number]] = field(default_factory=dict)
    defaults: dict[str, Number] = field(default_factory=dict)
    columns: dict[str, dict[str, Number]] = field(default_factory=dict)

    def cells(self, row: str) -> dict[str, Number]:
        return {**self.defaults, **self.rows[row], **{c: v[row] for c, v in self.columns.items() if row in v}}


class Program:
    """A program of the grammar; `run` compares printed numbers, `rerun` evaluates with some names set."""

    def __init__(self, work: list[str], report: Report) -> None:
        self.work, self.report = work, report
        self.values: dict[str, Number] = {}
        self.tables: dict[str, _Table] = {}
        self.searches: list[tuple[int, str, Number, str]] = []
        self.cited: list[tuple[int, str]] = []
        self.complete = False
        self.reruns = 0
        self._compare = True
        self._set: Mapping[str, Number] = {}

    def run(self) -> None:
        """Evaluate every line, comparing what is printed."""
        self.complete = True
        for number, line in enumerate(self.work, 1):
            self.report.lines += 1
            try:
                self._line(number, line)
            except ProgramError as error:
                self.report.add(f"work[{number}]: {error}")
                self.complete = False
                if not line.strip():
                    continue

    def rerun(self, chosen: Mapping[str, Number]) -> Program:
        """Return the program evaluated again, up to its first line that is a rerun, with some names set and nothing compared.

        Raises:
            ProgramError: a line cannot be evaluated with them, or the program asks for too many reruns.
        """
        self.reruns += 1
        if self.reruns > MAX_RERUNS:
            raise ProgramError(f"more than {MAX_RERUNS} reruns")
        again = Program(self.work, Report())
        again._compare, again._set = False, chosen
        for number, line in enumerate(self.work, 1):
            if _RERUN.fullmatch(line):
                break
            again._line(number, line)
        return again

    def _line(self, number: int, line: str) -> None:
        if match := _ORIGIN.fullmatch(line):
            self._origin(number, match)
        elif match := _SEARCH.fullmatch(line):
            name, value = match[1], literal(match[2])
            self._assign(name, value)
            self.searches.append((number, name, value, match[4]))
            if len(self.searches) > MAX_SEARCHES:
                raise ProgramError(f"more than {MAX_SEARCHES} searches")
        elif match := _RERUN.fullmatch(line):
            self._rerun_line(number, match)
        elif line.startswith("check: "):
            if not all_true(evaluate(line[7:], self.values)) and self._compare:
                self.report.add(f"work[{number}]: check does not hold")
            self.report.steps += 1
        elif match := _STEP.fullmatch(line):
            self._step(number, match)
        elif match := _COLUMN.fullmatch(line):
            self._column(match)
        elif match := _ROW.fullmatch(line):
            self._row(match)
        else:
            raise ProgramError("not a line of the grammar")

    def _assign(self, name: str, value: Number) -> None:
        if name in self.values:
            raise ProgramError(f"{name} is assigned twice")
        self.values[name] = self._set.get(name, value)

    def _origin(self, number: int, match: re.Match[str]) -> None:
        if match[3]:
            self._cite(number, match[3])
        rest, at = match[4], 0
        while at < len(rest):
            found = _ASSIGNMENT.match(rest, at)
            if found is None:
                raise ProgramError(f"cannot read {rest[at : at + 30]!r}")
            self._assign(found[1], literal(found[2]))
            if match[1] == "answer" and self._compare:
                tool = match[2].strip()
                self.report.rests_on[tool] = self.report.rests_on.get(tool, 0) + 1
            if found[6]:
                self._cite(number, found[6])
            at = found.end()
            if at < len(rest):
                if not rest.startswith(", ", at):
                    raise ProgramError(f"cannot read {rest[at : at + 30]!r}")
                at += 2

    def _cite(self, number: int, text: str) -> None:
        self.cited += [(number, source.strip()) for source in text.split(",")]

    def _row(self, match: re.Match[str]) -> None:
        table = self.tables.setdefault(match[1], _Table())
        if len(table.rows) >= MAX_ROWS:
            raise ProgramError(f"more than {MAX_ROWS} rows")
        cells: dict[str, Number] = {}
        for cell in match[3].split("; "):
            column, found, expression = cell.partition(" = ")
            if not found or not re.fullmatch(_NAME, column, re.ASCII) or column in cells:
                raise ProgramError(f"cannot read the cell {cell[:40]!r}")
            cells[column] = evaluate(expression, self.values)
        if match[2] == "*":
            table.defaults |= cells
        elif match[2] in table.rows:
            raise ProgramError(f"row {match[2]} stands twice")
        else:
            table.rows[match[2]] = cells

    def _column(self, match: re.Match[str]) -> None:
        table = self.tables.get(match[1])
        if table is None:
            raise ProgramError(f"{match[1]} is not a table")
        table.columns[match[2]] = {row: self._in_row(match[1], match[3], table.cells(row)) for row in table.rows}

    def _in_row(self, table: str, expression: str, cells: Mapping[str, Number]) -> Number:
        scope = dict(self.values)
        for name in names_in(expression):
            if "." in name:
                owner, column = name.split(".")
                if owner != table:
                    raise ProgramError("columns of two tables in one expression")
                scope[name] = cells.get(column, 0.0)
        return evaluate(expression, scope)

    def _step(self, number: int, match: re.Match[str]) -> None:
        name, expression, printed, _, cited, arrow = match.groups()
        value = self._expression(expression)
        if self._compare:
            self.report.steps += 1
            if not agree(value, literal(printed)):
                self.report.add(f"work[{number}]: {name}: recomputed {shown(value)}, printed {printed}")
            if arrow:
                self._check_choice(number, expression, value, arrow)
        if cited:
            self._cite(number, cited)
        self._assign(name, value)

    def _rerun_line(self, number: int, match: re.Match[str]) -> None:
        name, column, printed, _, expression, changes = match.groups()
        self.report.steps += 1
        if column is None:
            value = evaluate(expression, self.rerun(self.settings(changes)).values)
            if not agree(value, literal(printed)):
                self.report.add(f"work[{number}]: {name}: recomputed {shown(value)}, printed {printed}")
            self._assign(name, value)
            return
        table = self.tables.get(name)
        if table is None:
            raise ProgramError(f"{name} is not a table")
        table.columns[column] = {
            row: evaluate(expression, self.rerun(self.settings(changes, name, row)).values) for row in table.rows
        }

    def settings(
        self, text: str, table: str = "", row: str = "", more: Mapping[str, Number] | None = None
    ) -> dict[str, Number]:
        """Return the names that ``NAME=EXPR, …`` sets; in a row ``row`` is the name that the row bears.

        Raises:
            ProgramError: not of that form, or a name that the program does not have.
        """
        scope = {**self.values, **(more or {})}
        if row:
            scope |= {f"{table}.{column}": cell for column, cell in self.tables[table].cells(row).items()}
            if row in self.values:
                scope["row"] = self.values[row]
        found: dict[str, Number] = {}
        for part in text.split(", "):
            match = _SETTING.fullmatch(part)
            if match is None:
                raise ProgramError(f"cannot read the setting {part[:40]!r}")
            name = row if row and match[1] == "row" else match[1]
            if name not in self.values:
                raise ProgramError(f"{name} is not a name of the program")
            found[name] = evaluate(match[2], scope)
        return found

    def _expression(self, expression: str) -> Number:
        match = _REDUCTION.fullmatch(expression)
        tables = {n.split(".")[0] for n in names_in(expression) if "." in n}
        if not tables:
            return evaluate(expression, self.values)
        if match is None or len(tables) > 1:
            raise ProgramError("columns stand in a reduction over one table only")
        name = tables.pop()
        if name not in self.tables:
            raise ProgramError(f"{name} is not a table")
        table = self.tables[name]
        terms = [self._in_row(name, match[2], table.cells(row)) for row in table.rows]
        if not terms:
            raise ProgramError(f"{name} has no rows")
        scope = {f"t{i}": term for i, term in enumerate(terms)}
        if match[1] != "sum":
            return evaluate(f"{match[1]}({','.join(scope)})", scope)
        total: Number = terms[0]
        for term in terms[1:]:
            total = evaluate("a+b", {"a": total, "b": term})
        return total

    def _check_choice(self, number: int, expression: str, value: Number, arrow: str) -> None:
        options = set(names_in(expression))
        chosen = arrow[1:-1].split(",") if arrow.startswith("[") else [arrow]
        wanted = value if isinstance(value, list) else [value]
        if len(chosen) == 1:
            chosen = chosen * len(wanted)
        for i, (name, best) in enumerate(zip(chosen, wanted, strict=False)):
            taken = self.values.get(name)
            taken = taken[i] if isinstance(taken, list) else taken
            if name not in options or taken is None or not agree(taken, best):
                self.report.add(f"work[{number}]: {name} is not what was chosen")
        if len(chosen) != len(wanted):
            self.report.add(f"work[{number}]: {len(chosen)} choices for {len(wanted)} values")


def literal(text: str) -> Number:
    """Read a number or a list of them."""
    if re.fullmatch(_LITERAL, text, re.ASCII) is None:
        raise ProgramError(f"{text[:30]!r} is not a number")
    if text.startswith("["):
        numbers = [float(item) for item in text[1:-1].split(",")]
        if len(numbers) > MAX_LIST:
            raise ProgramError(f"a list of more than {MAX_LIST}")
        if not all(math.isfinite(x) for x in numbers):
            raise ProgramError("not finite")
        return numbers
    number = float(text)
    if not math.isfinite(number):
        raise ProgramError("not finite")
    return number


def agree(a: Number, b: Number) -> bool:
    """Whether two numbers (or lists) agree to six significant digits."""
    if isinstance(a, list) or isinstance(b, list):
        if not isinstance(b, list):
            return isinstance(a, list) and all(agree(x, b) for x in a)
        spread = a if isinstance(a, list) else [a] * len(b)
        return len(spread) == len(b) and all(agree(x, y) for x, y in zip(spread, b, strict=True))
    return abs(a - b) <= TOLERANCE * max(abs(a), abs(b)) or abs(a - b) < 1e-300


def all_true(value: Number) -> bool:
    """Whether a condition holds, for every element."""
    return all(value) if isinstance(value, list) else bool(value)


def shown(value: Number) -> str:
    """Print with six significant digits."""
    return f"[{','.join(f'{x:.6g}' for x in value)}]" if isinstance(value, list) else f"{value:.6g}"


def is_number(value: object) -> bool:
    """Whether a value is a finite number and no truth value."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
