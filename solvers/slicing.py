"""The part of a derivation that one of its figures rests on."""

from __future__ import annotations

import re
from collections.abc import Iterable

from mlwalls.solvers.derivation import Applied, Column, Derivation, Row, Step, Value
from mlwalls.solvers.values import STEP

_NAME = re.compile(r"[A-Za-z_][A-Za-z_0-9]*")


def steps_behind(derivation: Derivation, names: Iterable[str]) -> list[Step | Row]:
    """Return the recorded steps, rows and cells that the named steps rest on, in their order."""
    wanted, columns = set(names), set[tuple[str, str]]()
    known = -1
    # A search may ask for names that are stepped out after it, from what it found: once through is then not enough.
    while known != len(wanted) + len(columns):
        known = len(wanted) + len(columns)
        kept = _kept(derivation, wanted, columns)
    return kept


def _kept(derivation: Derivation, wanted: set[str], columns: set[tuple[str, str]]) -> list[Step | Row]:
    kept: list[Step | Row] = []

    def note(item: Applied | Value) -> None:
        for value in item.arguments if isinstance(item, Applied) else (item,):
            if isinstance(value, Column):
                columns.add((value.table.name, value.key))
            elif value.origin is STEP:
                wanted.add(value.name)

    for step in reversed(derivation.steps):
        if isinstance(step, Row):
            if row := _cells(step, columns):
                kept.append(row)
                for cell in row.cells.values():
                    note(cell)
            continue
        table, _, key = step.name.partition(".")
        if step.name in wanted or (table, key) in columns:
            kept.append(step)
            if step.applied is not None:
                note(step.applied)
            for option in step.options:
                note(option)
            if step.kind == "search":
                wanted.update(_NAME.findall(step.rule.partition(" with ")[0]))
    return kept[::-1]


def _cells(row: Row, columns: set[tuple[str, str]]) -> Row | None:
    """Return a row with the cells that are used; a row without any still counts in a reduction over its table."""
    if not any(table == row.table for table, _ in columns):
        return None
    used = {key: cell for key, cell in row.cells.items() if (row.table, key) in columns}
    if not used and row.name != "*":
        used = dict(list(row.cells.items())[:1])
    return Row(row.table, row.name, used) if used else None


def inputs_of(steps: Iterable[Step | Row]) -> dict[str, Value]:
    """Return the numbers that steps take from outside, by name."""
    found: dict[str, Value] = {}

    def note(item: Applied | Value) -> None:
        for value in item.arguments if isinstance(item, Applied) else (item,):
            if value.origin is not STEP:
                found.setdefault(value.name, value)

    for step in steps:
        if isinstance(step, Row):
            for cell in step.cells.values():
                note(cell)
        else:
            for option in step.options:
                note(option)
            if step.applied is not None:
                note(step.applied)
    return found
