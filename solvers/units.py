"""Unit words, reduced far enough to tell at a step whether an equation got what it declares.

Counts (tokens, layers, heads) are dimensionless, as in the tests' full check with pint.
"""

from __future__ import annotations

from functools import cache

COUNTS = frozenset(
    {"1", "token", "sequence", "sample", "image", "layer", "head", "request", "accelerator", "expert"}
    | {"element", "parameter", "step", "row", "query", "message", "node", "server", "core", "worker"}
    | {"failure", "event", "word", "system"}
)
_DERIVED = {"W": "J/s", "Hz": "1/s"}


@cache
def reduce_unit(unit: str) -> str:
    """Return `unit` in canonical form: ``"byte*token/s"`` → ``"byte/s"``, a count → ``""``.

    Raises:
        ValueError: the text is not words joined by ``*`` and ``/``.
    """
    powers: dict[str, int] = {}
    sign = 1
    for piece in unit.replace("*", " * ").replace("/", " / ").split():
        if piece == "*":
            sign = 1
        elif piece == "/":
            sign = -1
        else:
            word, _, exponent = piece.partition("^")
            _add(powers, word, sign * int(exponent or 1))
            sign = 1
    up = sorted(f"{w}^{n}" if n > 1 else w for w, n in powers.items() if n > 0)
    down = sorted(f"{w}^{-n}" if n < -1 else w for w, n in powers.items() if n < 0)
    return "*".join(up or (["1"] if down else [])) + "".join("/" + w for w in down)


def _add(powers: dict[str, int], word: str, power: int) -> None:
    if word in COUNTS or not word:
        return
    if word in _DERIVED:
        top, _, bottom = _DERIVED[word].partition("/")
        _add(powers, top, power)
        _add(powers, bottom, -power)
        return
    powers[word] = powers.get(word, 0) + power
