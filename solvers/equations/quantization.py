"""Formulas of quantization: bits a weight, caches at another width, what fits, and whether a gain holds."""

from __future__ import annotations

from mlwalls.solvers.derivation import Constant, equation
from mlwalls.solvers.functions import floor, maximum

BITS = Constant("bits", 8, "1/byte")


@equation("", width="byte", cite="gholami2021", wall="compression")
def bits(width):
    """Bits a weight, scales included."""
    return BITS * width


@equation("byte", cache="byte", wide="byte", narrow="byte")
def at_width(cache, wide, narrow):
    """Cache bytes at another width of its elements."""
    return cache * wide / narrow


@equation("")
def lost(recovery):
    """Share of the 16-bit score that is lost."""
    return 1 - recovery


@equation("", pool="byte", each="byte", wall="batching")
def batch_that_fits(pool, each):
    """Whole sequences that fit in a pool; 0 if none."""
    return maximum(0, floor(pool / each))


@equation("byte", pool="byte", each="byte", wall="memory_capacity")
def left_in_pool(pool, batch, each):
    """What a batch leaves of a pool; negative by how much it does not fit."""
    return pool - batch * each


@equation("", plain="s", time="s")
def gains(plain, factor, time):
    """Whether the quantized pass is at least `factor` times as fast."""
    return plain >= factor * time
