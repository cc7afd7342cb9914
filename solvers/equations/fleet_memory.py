"""Formulas of training memory, by class: states (ZeRO), activations (Korthikanti et al., counted for the layer at hand), logits.

`tp` tensor-parallel and `pp` pipeline ranks, `shards` data-parallel ranks over which a class is split.
"""

from __future__ import annotations

from mlwalls.solvers.derivation import Constant, equation
from mlwalls.solvers.equations.training import BYTES_16, BYTES_32
from mlwalls.solvers.functions import minimum, where

ADAM = Constant("adam_state", 12, "byte")
LOGITS = Constant("logit_state", 13, "byte")
ZERO = "rajbhandari2020"
KORTHIKANTI = "korthikanti2022"


@equation("", cite=ZERO)
def stage_parameters(parameters, matrices, pp, vocab, d_model, tp):
    """Parameters of one rank of the fullest stage: an even share of the layers and one vocabulary table."""
    return where(pp > 1, (parameters - matrices * vocab * d_model) / pp + vocab * d_model, parameters) / tp


@equation("", cite=ZERO)
def stage_of_pipeline(parameters, matrices, pp, vocab, d_model, tp):
    """The same of a pipeline of several stages."""
    return ((parameters - matrices * vocab * d_model) / pp + vocab * d_model) / tp


@equation("byte", cite=ZERO, wall="memory_capacity")
def weight_state(own):
    """16-bit weights."""
    return BYTES_16 * own


@equation("byte", cite=ZERO, wall="memory_capacity")
def weight_shard(own, shards):
    """Sharded fp32 weights, of which 16-bit copies are gathered."""
    return BYTES_32 * own / shards


@equation("byte", width="byte", cite=ZERO, wall="memory_capacity")
def gradient_state(own, width):
    """Gradients."""
    return width * own


@equation("byte", width="byte", cite=ZERO, wall="memory_capacity")
def gradient_shard(own, width, shards):
    """Sharded gradients."""
    return width * own / shards


@equation("byte", cite=ZERO, wall="memory_capacity")
def optimizer_state(own):
    """fp32 weights and both Adam moments."""
    return ADAM * own


@equation("byte", cite=ZERO, wall="memory_capacity")
def optimizer_shard(own, shards):
    """The same, sharded."""
    return ADAM * own / shards


@equation("byte", cite=ZERO, wall="memory_capacity")
def moments_shard(own, shards):
    """Sharded Adam moments."""
    return 2 * BYTES_32 * own / shards


@equation("byte")
def gathered(own, layers, vocab, d_model, tp, pp):
    """What a rank with sharded weights holds whole: two layers, a table and a gradient; on a pipeline stage everything."""
    return where(
        pp > 1,
        3 * BYTES_16 * own,
        (2 * BYTES_16 + BYTES_32) * (own - vocab * d_model / tp) / layers + BYTES_16 * vocab * d_model / tp,
    )


@equation("byte", cite=KORTHIKANTI)
def kept_full(d_model, t_sp):
    """Stored activations a token and layer when whole layers are recomputed from their input."""
    return BYTES_16 * d_model / t_sp


@equation("byte", cite=KORTHIKANTI)
def kept_products(d_model, heads, kv_heads, head_dim, matrices, ffn, tp):
    """The same when norms and activation functions are recomputed: both block inputs and what products and attention give."""
    return BYTES_16 * (2 * d_model + 2 * (heads + kv_heads) * head_dim + (matrices - 1) * ffn) / tp


@equation("byte", cite=KORTHIKANTI)
def kept_half(d_model, heads, kv_heads, head_dim, matrices, ffn, tp):
    """The same when every other matrix product is recomputed."""
    return BYTES_16 * (2 * d_model + 1.5 * heads * head_dim + kv_heads * head_dim + (matrices - 1) * ffn / 2) / tp


@equation("byte", stored="byte", cite=KORTHIKANTI, wall="memory_capacity")
def activations(m, stored, layers):
    """Stored activations of all layers."""
    return m * stored * layers


@equation("byte", stored="byte", cite=KORTHIKANTI, wall="memory_capacity")
def activations_first(m, stored, layers, steps, pp):
    """Stored activations of the first stage of a 1F1B pipeline: a micro-batch for each stage, if there are so many."""
    return m * stored * minimum(layers, steps * layers / pp)


@equation("byte", stored="byte", cite=(KORTHIKANTI, "narayanan2021"), wall="memory_capacity")
def activations_interleaved(m, stored, layers, pp, interleave, steps):
    """The same of an interleaved pipeline."""
    return (
        m
        * stored
        * minimum(where(interleave > 1, layers * (1 + (pp - 1) / (pp * interleave)), layers), steps * layers / pp)
    )


@equation("byte", stored="byte", cite=KORTHIKANTI, wall="memory_capacity")
def activations_uneven(m, stored, longest, pp, steps):
    """The same of a 1F1B pipeline whose first stage has as many layers as the longest."""
    return m * stored * longest * minimum(pp, steps)


@equation("byte", stored="byte", cite=KORTHIKANTI, wall="memory_capacity")
def activations_uneven_parts(m, stored, longest, pp, interleave, steps):
    """The same of an interleaved pipeline."""
    return m * stored * longest * minimum(where(interleave > 1, pp + (pp - 1) / interleave, pp), steps)


@equation("byte", stored="byte", cite=KORTHIKANTI, wall="memory_capacity")
def activations_of_parts(m, stored, longest, pp, interleave, steps):
    """The same where every stage has parts."""
    return m * stored * longest * minimum(pp + (pp - 1) / interleave, steps)


@equation("byte", stored="byte", wall="memory_capacity")
def last_stage(m, stored, layers, pp, vocab, tp):
    """Activations and logits of the last stage: one micro-batch, logits in 16 bit and fp32, softmax and gradient."""
    return m * stored * layers / pp + LOGITS * m * vocab / tp


@equation("byte", stored="byte", wall="memory_capacity")
def last_stage_outputs(m, stored, layers, pp, vocab, tp, steps):
    """The same where the schedule keeps the outputs of all micro-batches in 16 bit, as sharded pipelines do."""
    return m * stored * layers / pp + (LOGITS + where(pp > 1, BYTES_16 * steps, 0 * BYTES_16)) * m * vocab / tp


@equation("byte", wall="memory_capacity")
def logits(m, vocab, tp):
    """Logits in 16 bit and fp32, softmax and gradient."""
    return LOGITS * m * vocab / tp


@equation("byte")
def input_masks(pp, m, d_model, dropout, t_sp):
    """Dropout masks of the embedding, for every micro-batch in flight."""
    return where(pp > 1, pp, 1) * m * d_model * dropout * BYTES_16 / 2 / t_sp


@equation("byte", stored="byte")
def workspace(m, stored, d_model, t_sp):
    """One layer's activations that recomputation brings back, with their gradients and gathered inputs."""
    return 2 * m * stored + 4 * BYTES_16 * m * d_model * (1 - 1 / t_sp)


@equation("byte", weights="byte", gradients="byte", adam="byte", dynamic="byte", context="byte", wall="memory_capacity")
def needed(weights, gradients, adam, frag, dynamic, context):
    """What one accelerator must hold: states, dynamic memory with its fragmentation, driver and communication buffers."""
    return weights + gradients + adam + frag * dynamic + context
