"""Search over the zoo: words, numeric filters, sorting; compact rows with units in the names."""

from __future__ import annotations

import re
from collections.abc import Sequence
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from mlwalls.zoo.entry import Entry, Number, UnknownName, ZooError
from mlwalls.zoo.names import words

if TYPE_CHECKING:
    from mlwalls.zoo.loader import Zoo

_UNITS = {
    "byte": ("gb", 1e9),
    "byte/s": ("gb_per_s", 1e9),
    "FLOP/s": ("tflop_per_s", 1e12),
    "FLOP": ("gflop", 1e9),
    "W": ("w", 1.0),
    "USD": ("usd", 1.0),
}
_HEADLINES = {
    "hardware": ("peak.bf16", "peak.fp16", "memory.capacity", "memory.bandwidth", "power.tdp"),
    "models": ("parameters", "active_parameters", "config.layers", "config.max_context", "sample.flops"),
}
_FILTER = re.compile(r"\s*([a-z_0-9.]+)\s*(>=|<=|==|=|>|<)\s*([-+0-9.eE]+)\s*$")
_COMPARE = {
    ">=": lambda a, b: a >= b,
    "<=": lambda a, b: a <= b,
    "==": lambda a, b: a == b,
    "=": lambda a, b: a == b,
    ">": lambda a, b: a > b,
    "<": lambda a, b: a < b,
}


def shown_name(path: str, number: Number) -> tuple[str, float]:
    """Return the name of a number in a row, with its unit, and the value in that unit."""
    suffix, factor = _UNITS.get(number.unit, ("", 1.0))
    name = path.replace(".", "_")
    return (f"{name}_{suffix}" if suffix else name), number.value / factor


def search(
    zoo: Zoo, query: str, kind: str, where: Sequence[str], sort: str, descending: bool, limit: int
) -> list[dict[str, Any]]:
    """Return rows of the entries whose words contain the query's and whose numbers pass every filter.

    Raises:
        ZooError: a filter is not of the form ``name >= number``.
        UnknownName: a filter or the sort key names no number of these entries.
    """
    kinds = (kind,) if kind else zoo.kinds
    entries = [entry for k in kinds for entry in zoo.entries(k)]
    filters = [_parsed(text) for text in where]
    known = {shown_name(path, number)[0] for entry in entries for path, number in entry.numbers()}
    for name in [*(f[0] for f in filters), *([sort] if sort else [])]:
        if name not in known:
            raise UnknownName("numbers", name, tuple(get_close_matches(name, sorted(known), 4, 0.4)))
    wanted = words(query)
    found = [entry for entry in entries if not wanted or _matches(wanted, entry)]
    rows = [(entry, {n: v for n, v in (shown_name(p, x) for p, x in entry.numbers())}) for entry in found]
    rows = [(e, r) for e, r in rows if all(n in r and _COMPARE[op](r[n], value) for n, op, value in filters)]
    if sort:
        rows = [(e, r) for e, r in rows if sort in r]
        rows.sort(key=lambda row: row[1][sort], reverse=descending)
    else:
        rows.sort(key=lambda row: (_distance(wanted, row[0]), row[0].kind, row[0].id))
    extra = {f[0] for f in filters} | ({sort} if sort else set())
    return [_row(entry, numbers, extra) for entry, numbers in rows[:limit]]


def _parsed(text: str) -> tuple[str, str, float]:
    match = _FILTER.match(text)
    try:
        if match is None:
            raise ValueError
        return match[1], match[2], float(match[3])
    except ValueError:
        raise ZooError(f"{text!r} is not a filter; write e.g. 'memory_capacity_gb >= 80'") from None


def _matches(wanted: Sequence[str], entry: Entry) -> bool:
    own = set(words(" ".join((entry.id, entry.name, *entry.aliases, entry.text("vendor"), entry.text("developer")))))
    own |= set(words(entry.text("family"))) | set(words(entry.text("type")))
    return all(any(w == o or (w.isalpha() and len(w) > 2 and o.startswith(w)) for o in own) for w in wanted)


def _distance(wanted: Sequence[str], entry: Entry) -> int:
    return len(set(words(entry.id)) - set(wanted)) if wanted else 0


def _row(entry: Entry, numbers: dict[str, float], extra: set[str]) -> dict[str, Any]:
    row: dict[str, Any] = {"kind": entry.kind, "id": entry.id, "name": entry.name}
    headlines = _HEADLINES.get(entry.kind)
    chosen = [p for p, _ in entry.numbers()][:4] if headlines is None else headlines
    for path in chosen:
        if entry.has(path):
            name, value = shown_name(path, entry.number(path))
            row[name] = float(f"{value:.6g}")
    row |= {name: float(f"{numbers[name]:.6g}") for name in sorted(extra) if name not in row}
    return row
