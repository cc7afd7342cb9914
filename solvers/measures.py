"""Numbers typed with their units, read in the unit that an argument's name says: ``tpot_ms`` of "0.04 s" is 40."""

from __future__ import annotations

import math
import re

from mlwalls.solvers.words import SUFFIXES

_TYPED = re.compile(r"\s*\$?\s*([-+]?(?:\d[\d,_]*\.?\d*|\.\d+)(?:e[-+]?\d+)?)\s*([a-z%/]*)", re.IGNORECASE | re.ASCII)
_TIMES = {**dict.fromkeys(("s", "sec", "second", "seconds"), "s"), **dict.fromkeys(("h", "hr", "hour", "hours"), "h")}
_UNITS = {**_TIMES, "day": "days", "%": "percent", "gbyte": "gb", "gbytes": "gb"}
# Units of which one measures as another does: only then is a number converted.
_KINDS = tuple(
    tuple(units.split())
    for units in (
        "s ms us ns h days years",
        "bytes kb mb gb tb pb kib mib gib",
        "bytes_per_s mb_per_s gb_per_s tb_per_s",
        "w kw mw",
        "j wh kwh mwh gwh",
    )
)
_FACTORS = {**SUFFIXES, "mb_per_s": 1e6}
_LETTERS = {"k": 1e3, "m": 1e6, "b": 1e9, "t": 1e12, "bn": 1e9, "million": 1e6, "billion": 1e9, "trillion": 1e12}


def read_measure(argument: str, text: str) -> float | int | None:
    """Return the number that a text gives for an argument: in its unit where the text has one of the kind, else as it stands."""
    match = _TYPED.match(text)
    if match is None:
        return None
    number = float(match[1].replace(",", "").replace("_", ""))
    said = match[2].lower().replace("/", "_per_")
    said, own = _UNITS.get(said, said), _unit_of(argument)
    kind = next((kind for kind in _KINDS if own in kind and said in kind), None)
    if kind is not None:
        number *= _FACTORS[said] / _FACTORS[own]
    elif not own or own not in SUFFIXES or own in ("tokens", "flop"):
        number *= _LETTERS.get(said, 1.0)
    if not math.isfinite(number):
        return None
    number = float(f"{number:.12g}")
    return int(number) if number.is_integer() and abs(number) < 2**53 else number


def _unit_of(argument: str) -> str:
    parts = argument.split("_")
    tails = ("_".join(parts[at:]) for at in range(len(parts)))
    return next((_UNITS.get(tail, tail) for tail in tails if _UNITS.get(tail, tail) in SUFFIXES), "")
