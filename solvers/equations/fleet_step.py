"""Formulas of a step of many accelerators: the slowest, rates, FLOPs and utilization, the waterfall of losses, ranges."""

from __future__ import annotations

from mlwalls.solvers.derivation import Constant, equation
from mlwalls.solvers.equations.operators import FLOP_PER_MAC
from mlwalls.solvers.functions import exp, norm_ppf

UPDATE = Constant("update", 30, "byte")


@equation("s", memory="byte/s")
def optimizer_time(parameters, shards, memory):
    """Traffic of the Adam update."""
    return UPDATE * parameters / shards / memory


@equation("", cite="blom1958", wall="synchronization")
def straggling(sigma, n):
    """How much the slowest of `n` is behind the mean, for normally distributed step times."""
    return sigma * norm_ppf((n - 0.375) / (n + 0.25))


@equation("s", mean="s")
def step_time(mean, straggle):
    """One step: all wait for the slowest."""
    return mean * (1 + straggle)


@equation("token")
def step_tokens(global_batch, context):
    """Tokens of a step."""
    return global_batch * context


@equation("1/s", step="s")
def token_rate(tokens, step):
    """Tokens a second of the whole job."""
    return tokens / step


@equation("FLOP", cite="chowdhery2022")
def model_flops(tokens, layers, matmuls, heads, head_dim, span, d_model, vocab):
    """FLOPs of a step that training needs, attention over the full square, recomputation left out."""
    return 3 * FLOP_PER_MAC * tokens * (layers * (matmuls + 2 * heads * head_dim * span) + d_model * vocab)


@equation("FLOP", cite="narayanan2021")
def hardware_flops(tokens, layers, matmuls, heads, head_dim, span, d_model, vocab):
    """The same with every layer's forward pass done twice, as full recomputation does."""
    return FLOP_PER_MAC * tokens * (4 * layers * (matmuls + 2 * heads * head_dim * span) + 3 * d_model * vocab)


@equation("FLOP")
def linear_flops(tokens, layers, matmuls):
    """Those of the layers' matrix products."""
    return 3 * FLOP_PER_MAC * tokens * layers * matmuls


@equation("s", flops="FLOP", peak="FLOP/s")
def ideal_time(flops, n, peak):
    """The model's FLOPs at the peak of all accelerators."""
    return flops / (n * peak)


@equation("s", flops="FLOP", linear="FLOP", peak="FLOP/s", peak8="FLOP/s")
def ideal_time_fp8(flops, linear, n, peak, peak8):
    """The same with the layers' matrix products at the 8-bit peak."""
    return ((flops - linear) / peak + linear / peak8) / n


@equation("", useful="s", step="s")
def useful_share(useful, step):
    """Model FLOPs utilization, where `useful` is at the 16-bit peak."""
    return useful / step


@equation("", flops="FLOP", step="s", peak="FLOP/s")
def utilization(flops, step, n, peak):
    """Model FLOPs utilization, of the 16-bit peak."""
    return flops / (step * n * peak)


@equation("s", once="s")
def per_step(steps, layers, pp, once):
    """A layer's time over the layers of a stage and the micro-batches of a step."""
    return steps * layers / pp * once


@equation("s", idle="s", transfers="s")
def pipeline_loss(idle, steps, transfers):
    """Bubble and transfers between stages."""
    return idle + steps * transfers


@equation("s", idle="s", transfers="s", layer="s")
def uneven_loss(idle, steps, transfers, longest, layers, pp, layer):
    """The same, and what the mean stage waits for the longest."""
    return idle + steps * (transfers + (longest - layers / pp) * layer)


@equation("s", mean="s", useful="s", lost="s")
def kernel_loss(mean, useful, lost):
    """What a step takes beyond the ideal time, less the losses that have another name."""
    return mean - useful - lost


@equation("s", step="s", mean="s", wall="synchronization")
def straggler_loss(step, mean):
    """What the slowest accelerator costs, a step."""
    return step - mean


@equation("s", step="s")
def stretched(step, spread):
    """A time at the far end of its spread (log)."""
    return step * exp(spread)


@equation("s", step="s")
def shrunk(step, spread):
    """A time at the near end of its spread (log)."""
    return step * exp(-spread)
