"""Formulas of work that is known by FLOPs and bytes alone: vision models a sample, custom kernels."""

from __future__ import annotations

from mlwalls.solvers.derivation import equation
from mlwalls.solvers.functions import maximum, minimum


@equation("FLOP", flops="FLOP")
def kernel_flops(batch, flops, shards):
    """FLOPs of `batch` kernels, split."""
    return batch * flops / shards


@equation("byte", traffic="byte")
def kernel_bytes(batch, traffic, shards):
    """Bytes of `batch` kernels, split."""
    return batch * traffic / shards


@equation("FLOP", flops="FLOP")
def sample_flops(passes, batch, flops, shards):
    """FLOPs of a batch of samples; training is three forward passes' worth."""
    return passes * batch * flops / shards


@equation("byte", width="byte", act_width="byte")
def sample_traffic(passes, parameters, width, batch, elements, act_width, shards):
    """Weights once, and each activation written and read once, a pass."""
    return passes * (parameters * width + 2 * batch * elements * act_width) / shards


@equation("byte", width="byte")
def parameter_traffic(passes, parameters, width, shards):
    """Weights once a pass."""
    return passes * parameters * width / shards


@equation("byte", width="byte", act_width="byte")
def gathered_traffic(passes, dense, width, batch, gathered, elements, act_width, shards):
    """The same where a sample reads a few rows of large tables beside the dense weights."""
    return passes * (dense * width + batch * (gathered * width + 2 * elements * act_width)) / shards


@equation("s", compute="s", memory="s")
def at_shares(compute, memory, share_c, share_m, other_c, other_m):
    """A time of compute and memory parts, restated for other sustained shares of the peaks."""
    return compute * share_c / other_c + memory * share_m / other_m


@equation("s", expected="s", compute="s", memory="s")
def overlapped(expected, compute, memory, kept):
    """What is left of both floors' sum where the parts overlap: no less than either, no more than expected."""
    return minimum(expected, maximum(compute, memory, kept * (compute + memory)))


@equation("s", expected="s", compute="s", memory="s", matmul="FLOP/s", peak="FLOP/s")
def best_matmul(expected, compute, memory, matmul, peak, share_m):
    """The slower part, arithmetic at the best measured matmul's share of the peak and memory at the best share of its own."""
    return minimum(expected, maximum(compute * peak / matmul, memory / share_m))


@equation("s", expected="s", compute="s", memory="s")
def best_kernel(expected, compute, memory, share_c, share_m):
    """The slower part, each at the best share of its peak."""
    return minimum(expected, maximum(compute / share_c, memory / share_m))
