"""The published expression grammar, read and evaluated on its own: no code shared with the solvers.

A tokenizer and a precedence parser make a postfix program; evaluation is over floats and lists of one length.
Everything is bounded, so that hostile text costs little and raises only :class:`ProgramError`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from functools import lru_cache

MAX_EXPRESSION = 500
MAX_TOKENS = 300
MAX_LIST = 64
Number = float | list[float]
Postfix = tuple[tuple[str, str, int], ...]


class ProgramError(ValueError):
    """The text is not of the grammar, or what it says cannot be computed."""


_TOKEN = re.compile(
    r"(?P<number>[0-9]+(?:\.[0-9]*)?(?:[eE][-+]?[0-9]{1,3})?|\.[0-9]+(?:[eE][-+]?[0-9]{1,3})?)"
    r"|(?P<name>[A-Za-z_][A-Za-z_0-9]*(?:\.[A-Za-z_][A-Za-z_0-9]*)?)"
    r"|(?P<op>\*\*|//|<=|>=|==|!=|[-+*/%<>(),])"
)
_BINARY = {
    "or": 1,
    "and": 2,
    "<": 4,
    "<=": 4,
    ">": 4,
    ">=": 4,
    "==": 4,
    "!=": 4,
    "+": 5,
    "-": 5,
    "*": 6,
    "/": 6,
    "//": 6,
    "%": 6,
    "**": 8,
}
_UNARY = {"not": 3, "-": 7}
_ARITY: dict[str, tuple[int, int]] = {
    "max": (1, 32),
    "min": (1, 32),
    "sum": (1, 1),
    "abs": (1, 1),
    "ceil": (1, 1),
    "floor": (1, 1),
    "sqrt": (1, 1),
    "log": (1, 1),
    "exp": (1, 1),
    "where": (3, 3),
    "erlang_c": (2, 2),
    "norm_ppf": (1, 1),
    "norm_cdf": (1, 1),
}


def _tokens(text: str) -> list[tuple[str, str]]:
    if len(text) > MAX_EXPRESSION:
        raise ProgramError(f"expression longer than {MAX_EXPRESSION} characters")
    found, at = [], 0
    while at < len(text):
        if text[at] == " ":
            at += 1
            continue
        match = _TOKEN.match(text, at)
        if match is None:
            raise ProgramError(f"unexpected {text[at]!r}")
        kind = str(match.lastgroup)
        word = match.group()
        found.append(("op" if word in ("and", "or", "not") else kind, word))
        at = match.end()
        if len(found) > MAX_TOKENS:
            raise ProgramError("expression has too many parts")
    return found


@lru_cache(maxsize=1024)
def parse(text: str) -> Postfix:
    """Turn an expression into postfix, by the shunting-yard method (no recursion, so no depth to exhaust)."""
    out: list[tuple[str, str, int]] = []
    stack: list[list[object]] = []  # [kind, symbol, level or argument count]
    operand_next = True

    def release(level: int, right: bool) -> None:
        while stack and stack[-1][0] in ("binary", "unary"):
            above = int(str(stack[-1][2]))
            if above < level or (above == level and right):
                break
            kind, symbol, _ = stack.pop()
            out.append((str(kind), str(symbol), 0))

    tokens = _tokens(text)
    for i, (kind, word) in enumerate(tokens):
        if operand_next:
            if kind == "number":
                out.append(("number", word, 0))
                operand_next = False
            elif kind == "name":
                if i + 1 < len(tokens) and tokens[i + 1][1] == "(":
                    if word not in _ARITY:
                        raise ProgramError(f"unknown function {word!r}")
                    stack.append(["call", word, 1])
                else:
                    out.append(("name", word, 0))
                    operand_next = False
            elif word == "(":
                stack.append(["(", "", 0])
            elif word in _UNARY:
                stack.append(["unary", word, _UNARY[word]])
            else:
                raise ProgramError(f"unexpected {word!r}")
        elif word in _BINARY:
            release(_BINARY[word], word == "**")
            stack.append(["binary", word, _BINARY[word]])
            operand_next = True
        elif word == ",":
            release(0, False)
            if len(stack) < 2 or stack[-1][0] != "(" or stack[-2][0] != "call":
                raise ProgramError("unexpected ','")
            stack[-2][2] = int(str(stack[-2][2])) + 1
            operand_next = True
        elif word == ")":
            release(0, False)
            if not stack or stack.pop()[0] != "(":
                raise ProgramError("unexpected ')'")
            if stack and str(stack[-1][0]) == "call":
                _, name, count = stack.pop()
                low, high = _ARITY[str(name)]
                if not low <= int(str(count)) <= high:
                    raise ProgramError(f"{name} takes {low} to {high} arguments")
                out.append(("call", str(name), int(str(count))))
        else:
            raise ProgramError(f"unexpected {word!r}")
        if len(stack) > 80:
            raise ProgramError("expression nested too deeply")
    if operand_next:
        raise ProgramError("expression ends early")
    release(0, False)
    if stack:
        raise ProgramError("missing ')'")
    return tuple(out)


def names_in(text: str) -> tuple[str, ...]:
    """Return the names and columns that an expression mentions."""
    return tuple(word for kind, word, _ in parse(text) if kind == "name")


def evaluate(text: str, values: Mapping[str, Number]) -> Number:
    """Evaluate an expression without reductions.

    Raises:
        ProgramError: an unknown name, or a result that is not finite.
    """
    stack: list[Number] = []
    for kind, word, count in parse(text):
        if kind == "number":
            stack.append(float(word))
        elif kind == "name":
            if word not in values:
                raise ProgramError(f"{word} is not defined")
            stack.append(values[word])
        else:
            take = 2 if kind == "binary" else 1 if kind == "unary" else count
            arguments, stack[-take:] = stack[-take:], []
            name = f"u{word}" if kind == "unary" else word
            stack.append(_apply(name, arguments))
    return stack[0]


def _apply(name: str, arguments: list[Number]) -> Number:
    lengths = {len(a) for a in arguments if isinstance(a, list)}
    if len(lengths) > 1:
        raise ProgramError("lists of different lengths")
    if not lengths:
        return _scalar(name, [a for a in arguments if not isinstance(a, list)])
    size = lengths.pop()
    return [_scalar(name, [a[i] if isinstance(a, list) else a for a in arguments]) for i in range(size)]


def _scalar(name: str, a: list[float]) -> float:
    try:
        result = float(_FUNCTIONS[name](*a))
    except (ArithmeticError, ValueError, TypeError) as error:
        raise ProgramError(f"{name.lstrip('u')}: {error}") from None
    if not math.isfinite(result):
        raise ProgramError(f"{name.lstrip('u')}: not finite")
    return result


def _power(a: float, b: float) -> float:
    result: float | complex = a**b
    if isinstance(result, complex):
        raise ProgramError("root of a negative number")
    return result


def _erlang_c(servers: float, offered: float) -> float:
    """Erlang's delay formula as a ratio of series, in logarithms (not the recursion that the solvers use)."""
    c = int(servers)
    if c < 1 or c > 100_000 or not 0 < offered < servers:
        raise ProgramError("erlang_c needs 0 < a < c <= 100000")
    terms = [k * math.log(offered) - math.lgamma(k + 1) for k in range(c)]
    last = c * math.log(offered) - math.lgamma(c + 1) + math.log(c / (c - offered))
    top = max(*terms, last)
    return math.exp(last - top) / (sum(math.exp(t - top) for t in terms) + math.exp(last - top))


def _norm_cdf(x: float) -> float:
    return 0.5 * math.erfc(-x / math.sqrt(2))


def _norm_ppf(p: float) -> float:
    """The normal quantile by bisection and Newton steps on the error function."""
    if not 0 < p < 1:
        raise ProgramError("norm_ppf needs a probability between 0 and 1")
    low, high = -40.0, 40.0
    for _ in range(80):
        middle = (low + high) / 2
        if _norm_cdf(middle) < p:
            low = middle
        else:
            high = middle
    return (low + high) / 2


_FUNCTIONS: dict[str, Callable[..., float]] = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "/": lambda a, b: a / b,
    "//": lambda a, b: a // b,
    "%": lambda a, b: a % b,
    "**": _power,
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
    "==": lambda a, b: a == b,
    "!=": lambda a, b: a != b,
    "and": lambda a, b: bool(a) and bool(b),
    "or": lambda a, b: bool(a) or bool(b),
    "unot": lambda a: not a,
    "u-": lambda a: -a,
    "max": lambda *a: max(a),
    "min": lambda *a: min(a),
    "abs": abs,
    "ceil": math.ceil,
    "floor": math.floor,
    "sqrt": math.sqrt,
    "log": math.log,
    "exp": math.exp,
    "where": lambda c, a, b: a if c else b,
    "erlang_c": _erlang_c,
    "norm_ppf": _norm_ppf,
    "norm_cdf": _norm_cdf,
}
