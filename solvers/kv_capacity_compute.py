"""What the kv_capacity tool steps out: the pool, tokens and sequences in it, and how fast they decode."""

from __future__ import annotations

from dataclasses import dataclass, replace

from mlwalls.solvers.derivation import Derivation, Value
from mlwalls.solvers.equations import capacity as eq
from mlwalls.solvers.equations import common
from mlwalls.solvers.numbers import Numbers
from mlwalls.solvers.pool import Pool, grouped, pool_of, token_bytes
from mlwalls.solvers.speed import Speed, decode_speed


@dataclass(frozen=True, slots=True)
class Structure:
    """Which rows and equations apply."""

    pool: Pool
    concurrency: bool
    longest_context: int
    speed: Speed | None


def compute(s: Structure, n: Numbers, d: Derivation) -> dict[str, Value]:
    """Step out weights, reserves, pool, tokens and sequences; keys are the results' symbols."""
    out = pool_of(s.pool, n, d)
    out["kv_token"] = token_bytes(s.pool.shape, n, d, cited=True)
    if s.pool.shape.linear:
        _states(n, d, out)
    else:
        _tokens(s, n, d, out)
    if s.speed is not None:
        out |= decode_speed(s.speed, s.pool.shape, n.bound("batch", out["max_sequences"]), d)
    if s.concurrency and d.record and (longest := _longest(s, n, d, out)) is not None:
        out["longest"] = longest
    return out


def _tokens(s: Structure, n: Numbers, d: Derivation, out: dict[str, Value]) -> None:
    low = out["pool_low"] = d.step("pool_low", common.difference(out["pool"], n.pool_below))
    high = out["pool_high"] = d.step("pool_high", common.sum_of_two(out["pool"], n.pool_above))
    unit, every = out["kv_token"], n.one
    if s.pool.hybrid:
        g = grouped(n, d)
        unit, every = g.token, d.step("groups", common.total(g.full, g.windowed))
        each = eq.hybrid_sequence_blocks(n.context, n.window, n.block, g.full, g.windowed)
    else:
        each = eq.sequence_blocks(n.context, n.block, n.one)
    slot = d.step("slot", eq.bytes_of_blocks(every, n.block, unit))
    for name, pool in (("cache", out["pool"]), ("cache_low", low), ("cache_high", high)):
        out[name] = d.step(name, eq.tokens_of(pool, slot, n.block))
    held = d.step("sequence_blocks", each)
    if s.pool.hybrid:
        out["sequence"] = d.step("sequence", eq.bytes_of_blocks(held, n.block, unit))
        law = eq.sequences_in(out["pool"], out["sequence"])
    else:
        out["sequence"] = d.step("sequence", eq.sequence_cache(n.context, unit))
        law = eq.sequences_of(out["pool"], slot, held)
    out["max_sequences"] = d.step("max_sequences", law)


def _states(n: Numbers, d: Derivation, out: dict[str, Value]) -> None:
    """Sequences where some layers keep a state of one size: tokens are those of full sequences."""
    state = out["state"] = d.step("state", eq.recurrent_state(n.linear_layers, n.state_bytes, n.tp))
    length = d.step("rounded", eq.whole_blocks(n.context, n.block))
    out["sequence"] = d.step("sequence", eq.sequence_with_state(length, out["kv_token"], state))
    low = out["pool_low"] = d.step("pool_low", common.difference(out["pool"], n.pool_below))
    high = out["pool_high"] = d.step("pool_high", common.sum_of_two(out["pool"], n.pool_above))
    for name, pool in (("max_sequences", out["pool"]), ("sequences_low", low), ("sequences_high", high)):
        out[name] = d.step(name, eq.sequences_in(pool, out["sequence"]))
    for name, held in (("cache", "max_sequences"), ("cache_low", "sequences_low"), ("cache_high", "sequences_high")):
        out[name] = d.step(name, common.product(out[held], n.context))


def _longest(s: Structure, n: Numbers, d: Derivation, out: dict[str, Value]) -> Value | None:
    """The longest sequence of which `concurrency` fit, up to the model's context."""
    silent = replace(s, concurrency=False, speed=None)

    def holds(context: float) -> bool:
        again = compute(silent, n.replaced({"context": context}), Derivation(record=False))
        return bool(again["max_sequences"].value >= n.concurrency.value)

    condition = eq.enough_sequences(out["max_sequences"], n.concurrency)
    return d.search("longest", "largest", "context", 1, s.longest_context, condition, holds)
