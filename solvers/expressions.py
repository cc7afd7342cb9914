"""How an equation is read back from its own source text and printed.

A module is parsed once, when the first of its equations is printed. An equation's body is one
``return`` of an expression over its parameters, module constants and the functions of
:mod:`mlwalls.solvers.functions`; the printed formula is that expression with the caller's names in
place of the parameters.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from mlwalls.solvers.functions import PRINTED

MAX_EXPRESSION = 200

OPERATORS: dict[type[ast.AST], tuple[str, int]] = {
    ast.Or: (" or ", 1),
    ast.And: (" and ", 2),
    ast.Not: ("not ", 3),
    ast.Lt: ("<", 4),
    ast.LtE: ("<=", 4),
    ast.Gt: (">", 4),
    ast.GtE: (">=", 4),
    ast.Eq: ("==", 4),
    ast.NotEq: ("!=", 4),
    ast.Add: ("+", 5),
    ast.Sub: ("-", 5),
    ast.Mult: ("*", 6),
    ast.Div: ("/", 6),
    ast.FloorDiv: ("//", 6),
    ast.Mod: ("%", 6),
    ast.USub: ("-", 7),
    ast.Pow: ("**", 8),
}


class EquationError(TypeError):
    """An equation is written in a way that the grammar cannot print."""


@cache
def _module_functions(path: str) -> dict[tuple[str, int], ast.FunctionDef]:
    tree = ast.parse(Path(path).read_text(encoding="utf-8"))
    found: dict[tuple[str, int], ast.FunctionDef] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            first = min([node.lineno, *(d.lineno for d in node.decorator_list)])
            found[node.name, first] = node
    return found


def _body(function: Callable[..., Any]) -> ast.expr:
    code = function.__code__
    node = _module_functions(code.co_filename).get((function.__name__, code.co_firstlineno))
    if node is None:
        raise EquationError(f"{function.__name__}: its source could not be read")
    body = [s for s in node.body if not (isinstance(s, ast.Expr) and isinstance(s.value, ast.Constant))]
    if len(body) != 1 or not isinstance(body[0], ast.Return) or body[0].value is None:
        raise EquationError(f"{function.__name__}: an equation is exactly one return of an expression")
    return body[0].value


class Printer:
    """Prints an expression in the grammar's form; how names and functions are called is the subclass's."""

    __slots__ = ()

    def _print(self, node: ast.expr, outer: int) -> str:
        match node:
            case ast.Constant(value=bool()) | ast.Constant(value=str()):
                raise EquationError(f"{self}: only numbers may be literals")
            case ast.Constant(value=number):
                return repr(number)
            case ast.Name(id=name):
                return self._name(name, outer)
            case ast.Attribute(value=ast.Name(id=table), attr=column):
                return self._column(table, column)
            case ast.BinOp(left=left, op=op, right=right):
                text, level = OPERATORS[type(op)]
                if isinstance(op, ast.Pow):
                    printed = self._print(left, level + 1) + text + self._print(right, level)
                else:
                    printed = self._print(left, level) + text + self._print(right, level + 1)
            case ast.UnaryOp(op=op, operand=operand):
                text, level = OPERATORS[type(op)]
                printed = text + self._print(operand, level)
            case ast.BoolOp(op=op, values=values):
                text, level = OPERATORS[type(op)]
                printed = text.join(self._print(value, level + 1) for value in values)
            case ast.Compare(left=left, ops=[op], comparators=[right]):
                text, level = OPERATORS[type(op)]
                printed = self._print(left, level + 1) + text + self._print(right, level + 1)
            case ast.Call(func=ast.Name(id=name), args=args, keywords=[]):
                return f"{self._called(name)}({','.join(self._print(arg, 0) for arg in args)})"
            case _:
                raise EquationError(f"{self}: {ast.unparse(node)} is outside the grammar")
        return f"({printed})" if level < outer else printed

    def _name(self, name: str, outer: int) -> str:
        raise NotImplementedError

    def _column(self, table: str, column: str) -> str:
        raise EquationError(f"{self}: {table}.{column} is outside the grammar")

    def _called(self, name: str) -> str:
        raise NotImplementedError


class Template(Printer):
    """The expression of one equation, ready to be filled with names.

    Attributes:
        constants: the names of the module constants that the expression uses, with their objects.
        parts: alternating text and parameter names (text at even places).
    """

    __slots__ = ("_function", "_parameters", "constants", "parts")

    def __init__(self, function: Callable[..., Any], parameters: Sequence[str]) -> None:
        self.constants: dict[str, Any] = {}
        self._function, self._parameters = function, frozenset(parameters)
        text = self._print(_body(function), 0)
        if len(text.replace("\0", "")) > MAX_EXPRESSION:
            raise EquationError(f"{function.__name__}: expression longer than {MAX_EXPRESSION} characters")
        self.parts = text.split("\0")

    def __str__(self) -> str:
        return self._function.__name__

    def fill(self, names: Mapping[str, str]) -> str:
        """Return the expression with `names` in place of the parameters."""
        return "".join(part if i % 2 == 0 else names[part] for i, part in enumerate(self.parts))

    def _name(self, name: str, outer: int) -> str:
        if name in self._parameters:
            return f"\0{name}\0"
        constant: Any = self._function.__globals__.get(name)
        if not hasattr(constant, "symbol"):
            raise EquationError(f"{self}: {name} is neither a parameter nor a Constant")
        self.constants[constant.symbol] = constant
        return str(constant.symbol)

    def _called(self, name: str) -> str:
        function: Any = self._function.__globals__.get(name)
        try:
            return PRINTED[function]
        except (KeyError, TypeError):
            raise EquationError(f"{self}: {name} is not a function of the grammar") from None
