"""The equations of a tool: those that its module uses, and those that its example steps through."""

from __future__ import annotations

import ast
import inspect
import pkgutil
from collections.abc import Iterator
from importlib import import_module

import mlwalls.solvers
from mlwalls.solvers.derivation import Applied, Equation, Row, Step
from mlwalls.solvers.solver import Answer

_ROOM = "mlwalls.solvers"


def equations_of(tool: str, answer: Answer) -> list[Equation]:
    """Return a tool's equations in the order of its work, then those of its own modules that the example did not need."""
    found: dict[str, Equation] = {}
    for step in answer.derivation.steps:
        for equation in _of_step(step):
            found.setdefault(equation.name, equation)
    for equation in _of_modules(tool):
        found.setdefault(equation.name, equation)
    return list(found.values())


def _of_step(step: Step | Row) -> Iterator[Equation]:
    if isinstance(step, Step):
        if isinstance(step.applied, Applied):
            yield step.applied.equation
        return
    for cell in step.cells.values():
        if isinstance(cell, Applied):
            yield cell.equation


def _of_modules(tool: str) -> Iterator[Equation]:
    """Yield what the tool's own modules (``fleet_compute`` beside ``fleet_efficiency``) name of the equations' modules."""
    stem = tool.split("_")[0]
    for info in pkgutil.iter_modules(mlwalls.solvers.__path__):
        if info.ispkg or not (info.name == tool or info.name.startswith(f"{stem}_")):
            continue
        module = import_module(f"{_ROOM}.{info.name}")
        for node in ast.walk(ast.parse(inspect.getsource(module))):
            if not isinstance(node, ast.Attribute) or not isinstance(node.value, ast.Name):
                continue
            home = getattr(module, node.value.id, None)
            equation = getattr(home, node.attr, None) if inspect.ismodule(home) else None
            if isinstance(equation, Equation):
                yield equation


def formula(equation: Equation) -> str:
    """Return an equation as it prints, over its parameters' names."""
    return equation.template.fill({p: p for p in equation.parameters})


def first_line(text: str | None) -> str:
    """Return a docstring's first sentence."""
    return " ".join((text or "").strip().split("\n\n")[0].split())
