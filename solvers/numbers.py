"""The numbers of one request: every input of a computation with its symbol, unit and origin."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any

from mlwalls.solvers.derivation import YOU, Origin, Value
from mlwalls.solvers.errors import CallError
from mlwalls.zoo import Entry

# Shares of a traffic or a time that hides, or that cannot: none of it is a number too.
PARTS = ("w_dp", "w_tp", "w_ep", "imb")
# What a caller's own number stays within, so that no product of a few leaves the floating-point numbers.
SMALLEST, LARGEST = 1e-30, 1e40


class Numbers(Mapping[str, Value]):
    """Symbol → value. Filled in `resolve`; read as attributes in `compute`.

    A scope writes its symbols with a prefix, and reads them so; what it does not have it reads without.
    """

    def __init__(self, values: Mapping[str, Value] | None = None) -> None:
        self._values: dict[str, Value] = dict(values or {})
        self._settled: frozenset[str] = frozenset()
        self.prefix = ""

    def scope(self, prefix: str) -> Numbers:
        """Return these numbers with a prefix before every symbol, for a second model or device in one answer."""
        inner = Numbers()
        inner._values, inner.prefix = self._values, self.prefix + prefix
        return inner

    def __getitem__(self, symbol: str) -> Value:
        own = self._values.get(self.prefix + symbol)
        return self._values[symbol] if own is None else own

    def __contains__(self, symbol: object) -> bool:
        return isinstance(symbol, str) and self.prefix + symbol in self._values

    def __getattr__(self, symbol: str) -> Value:
        values = self.__dict__["_values"]
        own = values.get(self.__dict__["prefix"] + symbol)
        if own is None and (own := values.get(symbol)) is None:
            raise AttributeError(f"no number {symbol!r} was resolved")
        return own  # type: ignore[no-any-return]

    def __iter__(self) -> Any:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def _put(self, symbol: str, number: Any, unit: str, origin: Origin) -> Value:
        value = Value(self.prefix + symbol, _plain(number), unit, origin)
        self._values[value.name] = value
        return value

    def you(self, symbol: str, number: Any, unit: str = "") -> Value:
        """Add what the caller gave (a number, or a list for several cases)."""
        return self._put(symbol, number, unit, YOU)

    def zoo(self, symbol: str, entry: Entry, path: str, unit: str | None = None) -> Value:
        """Add a zoo number; raises ZooError where the entry does not have it."""
        number = entry.number(path)
        origin = Origin("zoo", entry.id, number.source, number.checked)
        return self._put(symbol, number.value, number.unit if unit is None else unit, origin)

    def alias(self, symbol: str, existing: str) -> None:
        """Let `symbol` be read where `existing` is meant; it prints under its own name, `existing`."""
        self._values[self.prefix + symbol] = self[existing]

    def zoo_flag(self, symbol: str, entry: Entry, path: str, if_true: float, if_false: float) -> Value:
        """Add a number that follows from a yes or no in the entry's configuration."""
        number = entry.number("config.layers")
        origin = Origin("zoo", entry.id, number.source, number.checked)
        return self._put(symbol, if_true if entry.flag(path) else if_false, "", origin)

    def defined(self, symbol: str, number: float, unit: str = "", source: str = "") -> Value:
        """Add a number that is true by definition or by the format named."""
        return self._put(symbol, number, unit, Origin("defined", source=source))

    def assumed(self, symbol: str, number: float, low: float, high: float, unit: str = "", source: str = "") -> Value:
        """Add an assumption with its plausible range."""
        return self._put(symbol, number, unit, Origin("assumed", source=source, low=low, high=high))

    def chosen(self, symbol: str, number: float | list[int], unit: str = "") -> Value:
        """Add what a search found: assumed, with the search's own line for the rest."""
        return self._put(symbol, number, unit, Origin("assumed"))

    def calibrated(self, constants: Mapping[str, Any], name: str, symbol: str = "") -> Value:
        """Add a constant of a calibration file: {value, low, high, unit, source}."""
        c = constants[name]
        origin = Origin("calibrated", source=c["source"], low=float(c["low"]), high=float(c["high"]))
        return self._put(symbol or name, float(c["value"]), c.get("unit", ""), origin)

    def answered(self, symbol: str, value: Value, tool: str, sources: Iterable[str]) -> Value:
        """Add a figure of another tool's answer, to the six digits that its result prints, with what its formulas cite."""
        origin = Origin("answer", entry=tool, source=", ".join(sources))
        return self._put(symbol, float(f"{float(value.value):.6g}"), value.unit, origin)

    def bound(self, symbol: str, value: Value) -> Numbers:
        """Return a copy in which `symbol` is read as a computed value."""
        copy = Numbers(self._values)
        copy.prefix = self.prefix
        copy._values[self.prefix + symbol] = value
        return copy

    def drop(self, symbol: str) -> None:
        """Leave out a number that was read for a check and that no step rests on."""
        self._values.pop(self.prefix + symbol, None)

    def share(self) -> None:
        """Drop this scope's symbols that say what the unprefixed ones say, so that those are read and printed once."""
        for symbol in [s for s in self._values if self.prefix and s.startswith(self.prefix)]:
            own, other = self._values[symbol], self._values.get(symbol.removeprefix(self.prefix))
            if other is not None and (own.value, own.unit, own.origin) == (other.value, other.unit, other.origin):
                del self._values[symbol]

    def replaced(self, numbers: Mapping[str, Any]) -> Numbers:
        """Return a copy with other numbers (arrays too) for some symbols and all that print under their names."""
        values = dict(self._values)
        for symbol, number in numbers.items():
            old = values[symbol]
            new = Value(old.name, number, old.unit, old.origin)
            values.update({s: new for s, v in self._values.items() if v.name == old.name})
        return Numbers(values)

    def _nearest(self, assignment: str) -> list[str]:
        """Return an assignment itself where it names a number, else the same to the nearest names."""
        symbol, _, given = assignment.partition("=")
        if symbol.strip() in self._values:
            return [assignment]
        return [
            f"{name}={given.strip() or '1'}" for name in get_close_matches(symbol.strip(), list(self._values), 3, 0.7)
        ]

    def settle(self, symbols: Iterable[str]) -> None:
        """Let `override` pass over these symbols: what the caller asked for them has been dealt with."""
        self._settled |= frozenset(symbols)

    def override(self, assignments: Iterable[str]) -> None:
        """Apply the caller's ``set`` list (``"name=value"``).

        Raises:
            CallError: no such symbol, or not a finite number that makes sense for it.
        """
        before = dict(self._values)
        for text in assignments:
            symbol, _, given = text.partition("=")
            symbol, given = symbol.strip(), given.strip()
            if symbol in self._settled:
                continue
            old = before.get(symbol)
            if old is None:
                fixed = self._nearest(text)
                raise CallError(
                    "set",
                    f"{text!r} names no number of this calculation; the names are those printed in work before the steps.",
                    choices=fixed,
                    repair={"set": [known for a in assignments for known in self._nearest(a)[:1]]},
                )
            try:
                number = float(given)
            except ValueError:
                number = math.nan
            if old.origin.kind == "you":
                if isinstance(old.value, float) and number == old.value:
                    continue  # an inner request has taken it already
                raise CallError(
                    "set",
                    f"{text!r}: {symbol} follows from an argument of this call; give that argument instead.",
                    repair={"set": _swap(assignments, text)},
                    follows=(old.name, number) if math.isfinite(number) else None,
                )
            part = symbol in PARTS
            share = part or symbol.startswith("eta")
            whole = old.origin.kind == "zoo" and not old.unit and _count(old.value)
            if (
                not math.isfinite(number)
                or number < 0
                or (number < SMALLEST and not (number == 0 and (part or _plain(old.value) == 0)))
                or number > LARGEST
                or (share and number > 1)
                or (whole and number < 1)
            ):
                least = "1" if whole else f"{SMALLEST:g}"
                limit = (
                    "in 0..1"
                    if part
                    else "in 0..1, above 0"
                    if share
                    else f"finite and above 0, from {least} to {LARGEST:g}"
                )
                fixed_text = f"{symbol}={_shown(old.value)}"
                raise CallError(
                    "set",
                    f"{text!r}: {symbol} must be a number {limit} (in {old.unit or 'counts'}); "
                    f"it is {_shown(old.value)} unless set.",
                    repair={"set": _swap(assignments, text, fixed_text)},
                )
            new = Value(old.name, number, old.unit, YOU)
            self._values.update({s: new for s, v in self._values.items() if v.name == old.name})


def _swap(assignments: Iterable[str], old: str, *new: str) -> list[str]:
    return [kept for a in assignments for kept in (new if a == old else (a,))]


def _count(number: Any) -> bool:
    return isinstance(number, (int, float)) and number > 1 and float(number).is_integer()


def _shown(number: Any) -> str:
    return f"{number:g}" if isinstance(number, float) else str(number)


def _plain(number: Any) -> Any:
    if isinstance(number, (list, tuple)):
        if len(number) == 1:
            return float(number[0])
        import numpy

        return numpy.array(number, dtype=float)
    return float(number) if isinstance(number, (int, float)) else number
