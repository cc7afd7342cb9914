"""Numbers in sentences and in typed results: never more digits than they carry."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, TypeVar

from mlwalls.solvers.derivation import Value
from mlwalls.solvers.solver import SolverResult

R = TypeVar("R", bound=SolverResult)

# Suffixes of result fields and the factor to SI; docs/grammar.md publishes the same list.
SUFFIXES: dict[str, float] = {
    "s": 1,
    "ms": 1e-3,
    "us": 1e-6,
    "ns": 1e-9,
    "h": 3600,
    "days": 86400,
    "years": 31536000,
    "bytes": 1,
    "kb": 1e3,
    "mb": 1e6,
    "gb": 1e9,
    "tb": 1e12,
    "pb": 1e15,
    "kib": 2**10,
    "mib": 2**20,
    "gib": 2**30,
    "flop": 1,
    "gflop": 1e9,
    "tflop": 1e12,
    "pflop": 1e15,
    "eflop": 1e18,
    "zflop": 1e21,
    "bytes_per_s": 1,
    "gb_per_s": 1e9,
    "tb_per_s": 1e12,
    "flop_per_s": 1,
    "gflop_per_s": 1e9,
    "tflop_per_s": 1e12,
    "pflop_per_s": 1e15,
    "flop_per_byte": 1,
    "bytes_per_token": 1,
    "tokens": 1,
    "tokens_per_s": 1,
    "samples": 1,
    "samples_per_s": 1,
    "sequences": 1,
    "per_s": 1,
    "steps": 1,
    "percent": 0.01,
    "w": 1,
    "kw": 1e3,
    "mw": 1e6,
    "j": 1,
    "wh": 3600,
    "kwh": 3.6e6,
    "mwh": 3.6e9,
    "gwh": 3.6e12,
    "usd": 1,
    "usd_per_h": 1 / 3600,
    "usd_per_s": 1,
    "usd_per_year": 1 / 31536000,
    "usd_per_million_tokens": 1e-6,
    "kg": 1,
    "g": 1e-3,
    "t": 1e3,
    "g_per_kwh": 1e-3 / 3.6e6,
    "l": 1,
    "ml": 1e-3,
    "m3": 1e3,
}


def counted(number: float, noun: str) -> str:
    """Return a count with its noun, ``1 sequence``, ``2,000 sequences``."""
    count = f"{number:,.0f}"
    return f"{count} {noun}" if count == "1" else f"{count} {noun}s"


def first(value: Value) -> float:
    """Return a value's number, the first where it has several."""
    number = value.value
    return float(number if isinstance(number, (int, float)) else number.ravel()[0])


def plural(value: Value, factor: float) -> list[float]:
    """Return all of a value's numbers over `factor`, six significant digits."""
    numbers = value.value
    listed = [numbers] if isinstance(numbers, (int, float)) else numbers.ravel().tolist()
    return [float(f"{x / factor:.6g}") for x in listed]


def figure(number: float, digits: int = 3) -> str:
    """Print for a sentence: three significant digits, whole numbers with separators."""
    if number == 0:
        return "0"
    if abs(number) >= 1e6:
        return f"{number:.{digits}g}"
    text = f"{number:.{digits}g}"
    value = float(text)
    if abs(value) >= 10 ** (digits - 1):
        return f"{value:,.0f}"
    return text if "e" not in text or abs(number) < 1e-4 else f"{value:g}"


def count(number: float) -> str:
    """Print a count of parameters or tokens with the letter people use: 7.03B, 1.4T."""
    for factor, letter in ((1e15, "Q"), (1e12, "T"), (1e9, "B"), (1e6, "M")):
        if number >= factor * 0.9995:
            return f"{figure(number / factor)}{letter}"
    return figure(number)


def seconds(time: float) -> str:
    """Print a time with the unit that suits it."""
    for factor, unit in ((86400, "days"), (3600, "h"), (1, "s"), (1e-3, "ms"), (1e-6, "us")):
        if time >= factor * (2 if factor >= 3600 else 1):
            return f"{figure(time / factor)} {unit}"
    return f"{figure(time / 1e-9)} ns"


def symbol_of(field: str, symbols: Mapping[str, Any]) -> tuple[str, float] | None:
    """Return the symbol and factor that a result field stands for: itself, or itself less a unit suffix."""
    if field in symbols:
        return field, 1.0
    for at, letter in enumerate(field):
        if letter == "_" and field[:at] in symbols and field[at + 1 :] in SUFFIXES:
            return field[:at], SUFFIXES[field[at + 1 :]]
    return None


@lru_cache(maxsize=256)
def _places(kind: type[SolverResult], symbols: frozenset[str]) -> tuple[tuple[str, str, float], ...]:
    """Return (field, symbol, factor) for every field that one of the symbols stands behind."""
    known = dict.fromkeys(symbols)
    found = ((field, symbol_of(field, known)) for field in kind.model_fields)
    return tuple((field, *place) for field, place in found if place is not None)


def fit_result(kind: type[R], out: Mapping[str, Value], extra: Mapping[str, Any], skip: set[str]) -> R:
    """Fill a result from computed values by name and unit suffix, six significant digits; `extra` as given."""
    fields: dict[str, Any] = dict(extra)
    for field, symbol, factor in _places(kind, frozenset(out)):
        if field not in fields and field not in skip:
            fields[field] = float(f"{first(out[symbol]) / factor:.6g}")
    return kind(**fields)
