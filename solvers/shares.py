"""What takes the expected time of a pass or a request, in words: the largest part first, whatever binds the floor.

The rule: the binding wall is the floor's, and `share` its part of the expected time. What takes more than it is said first; where
that is another wall, it is the runner-up, and of a kernel, of which nothing but the two rates is known, it is said to bind in
expectation. Sensitivities are those of the expected time, so the strongest of them agrees with what is said first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mlwalls.solvers.derivation import Derivation
from mlwalls.solvers.equations import common
from mlwalls.solvers.equations import node as eq
from mlwalls.solvers.numbers import Numbers
from mlwalls.solvers.solver import Outcome
from mlwalls.solvers.words import figure, first

# Each floor's wall.
WALLS = {"compute_floor": "compute_throughput", "memory_floor": "memory_bandwidth", "link_floor": "communication"}
# What takes time, by the wall that it falls to or by what it is.
_TAKES = {
    "compute_throughput": "arithmetic",
    "memory_bandwidth": "memory traffic",
    "communication": "link time",
    "overhead": "per-layer overhead",
    "host": "the host's work for each sequence",
}
# Below this share of the time, even a wall that is gone altogether gains next to nothing.
LITTLE = 0.15

Parts = Mapping[str, float]


def parts_of(out: Outcome, n: Numbers, stem: str = "", *, decode: bool = False) -> dict[str, float]:
    """Return a pass's parts in seconds by wall (`overhead` and `host` besides); they add up to its expectation.

    Memory has what the others leave: its bytes, and what routed copies move.

    Args:
        stem: precedes the outcome's symbols of the pass, ``prefill_``.
        decode: the host works for every sequence of it.
    """
    silent = Derivation(record=False)
    parts = {"compute_throughput": first(out[f"{stem}compute_time"])}
    if f"{stem}link_time" in out:
        parts["communication"] = first(out[f"{stem}link_time"])
    elif f"{stem}link_floor" in out:
        parts["communication"] = first(silent.step("link_time", eq.sustained(out[f"{stem}link_floor"], n.eta_link)))
    if f"{stem}overhead" in out:
        parts["overhead"] = first(out[f"{stem}overhead"])
    if decode:
        parts["host"] = first(silent.step("host", common.times(n.batch, n.t_sequence)))
    parts["memory_bandwidth"] = max(0.0, first(out[f"{stem}expected"]) - sum(parts.values()))
    return parts


def added(once: Parts, repeats: float, again: Parts) -> dict[str, float]:
    """Return the parts of one pass and of another `repeats` times."""
    return {part: once.get(part, 0.0) + repeats * again.get(part, 0.0) for part in {**once, **again}}


def floors_of(out: Outcome, stem: str = "") -> list[str]:
    """Return the walls of a pass's floors, the one that binds first."""
    floors = {wall: first(out[f"{stem}{k}"]) for k, wall in WALLS.items() if f"{stem}{k}" in out}
    return sorted(floors, key=lambda wall: floors[wall], reverse=True)


def largest(parts: Parts, wall: str) -> tuple[str, float]:
    """Return what takes more of the time than `wall` does, and its share; empty where nothing does."""
    top = max(parts, key=lambda part: parts[part])
    if parts[top] <= parts[wall] * (1 + 1e-9):
        return "", 0.0
    return _TAKES[top], parts[top] / sum(parts.values())


def runner_up(walls: Sequence[str], parts: Parts) -> str:
    """Return the wall that takes more of the time than the first of `walls` does, else the second."""
    top = max(WALLS.values(), key=lambda wall: parts.get(wall, 0.0))
    return top if parts.get(top, 0.0) > parts[walls[0]] * (1 + 1e-9) else walls[1]


def kernel_bound(wall: str, share: float | None, parts: Parts) -> str:
    """Say which wall of a kernel binds, and where it is another one in expectation than at the floor, both."""
    more, takes = largest(parts, wall)
    if not more:
        return bound(wall, share, parts)
    other = runner_up([wall, wall], parts).replace("_", " ")
    own = figure(100 * (1 - takes))
    return (
        f"{more} takes {figure(100 * takes)} % of it, so {other} binds in expectation; at the floor "
        f"{wall.replace('_', ' ')} does ({own} % of it)"
    )


def bound(wall: str, share: float | None, parts: Parts) -> str:
    """Say which wall binds, and first what takes more of the time than it does.

    Args:
        share: the wall's share of the expected time where a step has it; else that of its part.
    """
    own = parts[wall] / sum(parts.values()) if share is None else share
    name = wall.replace("_", " ")
    more, takes = largest(parts, wall)
    if not more:
        return f"{name} binds ({figure(100 * own)} % of it)"
    gains = " (more gains next to nothing)" if own < LITTLE else ""
    return f"{more} takes {figure(100 * takes)} % of it, and {name}, the floor's wall, {figure(100 * own)} %{gains}"
