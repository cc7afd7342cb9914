"""Formulas of a training step over many accelerators: one layer's parts and the pipeline.

Shapes are those of one accelerator: `m` tokens a micro-batch, `tp` tensor-parallel and `cp` context-parallel ranks. 16-bit
weights and activations, fp32 gradients; one multiply-add is 2 FLOP.
"""

from __future__ import annotations

from mlwalls.solvers.derivation import Constant, equation
from mlwalls.solvers.equations.operators import FLOP_PER_MAC
from mlwalls.solvers.equations.training import BYTES_16
from mlwalls.solvers.functions import ceil, maximum, minimum, where

GRADIENT = Constant("grad_bytes", 8, "byte")
STAGE_HOP = Constant("stage_hop", 1e-5, "s")
LOGIT = Constant("logit_traffic", 24, "byte")
HEAD_STATE = Constant("head_traffic", 16, "byte")
MEGATRON = "narayanan2021"
KORTHIKANTI = "korthikanti2022"


@equation("")
def replicas(n, tp, pp):
    """Data-parallel replicas."""
    return n / (tp * pp)


@equation("")
def replicas_of_context(n, tp, pp, cp):
    """Data-parallel replicas when each also splits its sequences."""
    return n / (tp * pp * cp)


@equation("")
def microbatches(global_batch, dp, microbatch):
    """Micro-batches of a replica and step."""
    return global_batch / (dp * microbatch)


@equation("token")
def tokens_of(microbatch, context):
    """Tokens of one accelerator and micro-batch."""
    return microbatch * context


@equation("token")
def tokens_of_context(microbatch, context, cp):
    """Tokens of one accelerator and micro-batch when ranks split the sequences."""
    return microbatch * context / cp


@equation("")
def alignment(d_model, tp, align):
    """Rate of matrix products whose split width is no multiple of 64, relative to aligned ones."""
    return where((d_model / tp) % 64 == 0, 1, align)


@equation("T", rate="T")
def slowed(rate, aligned):
    """A rate with misaligned products."""
    return rate * aligned


@equation("FLOP/s", matmul="FLOP/s", wall="compute_throughput")
def sustained_of_measured(s_gemm, matmul):
    """Sustained rate of matrix products from the best shape's measured rate."""
    return s_gemm * matmul


@equation("FLOP/s", peak="FLOP/s", wall="compute_throughput")
def sustained_of_peak(s_gemm, eta, peak):
    """Sustained rate of matrix products from the peak."""
    return s_gemm * eta * peak


@equation("FLOP/s", rate="FLOP/s", peak8="FLOP/s", peak="FLOP/s")
def rate_of_fp8(rate, s_fp8, peak8, peak):
    """The same of 8-bit linear layers."""
    return rate * s_fp8 * peak8 / peak


@equation("byte/s", bandwidth="byte/s", wall="memory_bandwidth")
def sustained_bandwidth(bandwidth, eta):
    """Sustained memory bandwidth."""
    return bandwidth * eta


@equation("")
def block_width(heads, kv_heads, head_dim, matrices, ffn):
    """Columns of a layer's products over its width: query, key, value, attention output, MLP; as many values are stored."""
    return 2 * (heads + kv_heads) * head_dim + matrices * ffn


@equation("")
def latent_width(columns, heads, v_dim, matrices, ffn):
    """The same where queries, keys and values pass through latent projections."""
    return columns + heads * v_dim + matrices * ffn


@equation("")
def without_routed(block, matrices, ffn, rest):
    """The same without routed experts, of whose mean width `ffn` the MLP that is not routed has `rest`."""
    return block - matrices * (ffn - rest)


@equation("")
def matmul_parameters(block, d_model):
    """Parameters of a layer's four matrix products that a token uses, all tensor-parallel ranks."""
    return block * d_model


@equation("s", rate="FLOP/s", memory="byte/s", cite=MEGATRON, wall="compute_throughput")
def gemm_step(m, d_model, block, tp, rate, memory):
    """Four products, forward and two backward each: arithmetic and operands' traffic, fp32 gradients read and written, added."""
    return (
        3 * FLOP_PER_MAC * m * block * d_model / (tp * rate)
        + (3 * BYTES_16 * m * (4 * d_model + block / tp) + (2 * BYTES_16 + GRADIENT) * block * d_model / tp) / memory
    )


@equation("s", rate="FLOP/s", memory="byte/s")
def gemm_forward(m, d_model, block, tp, rate, memory):
    """Their forward pass."""
    return (
        FLOP_PER_MAC * m * block * d_model / (tp * rate)
        + BYTES_16 * (m * (4 * d_model + block / tp) + block * d_model / tp) / memory
    )


@equation("token")
def mean_span(context, full_layers, window_layers, window_pairs, layers):
    """Positions that a token's attention spans (full square), on average over full and windowed layers."""
    return (full_layers * context + window_layers * 2 * window_pairs / context) / layers


@equation("s", peak="FLOP/s", wall="compute_throughput")
def flash_forward(m, span, heads, head_dim, tp, eta_fa, peak):
    """Causal flash attention of one layer, forward: scores and weighted sums of half the square."""
    return FLOP_PER_MAC * m * span * heads * head_dim / tp / (eta_fa * peak)


@equation("s", peak="FLOP/s", wall="compute_throughput")
def flash_forward_gain(m, span, heads, head_dim, tp, eta_fa, gain, peak):
    """The same on a chip where the kernel reaches a larger share of the peak."""
    return FLOP_PER_MAC * m * span * heads * head_dim / tp / (eta_fa * gain * peak)


@equation("s", rate="FLOP/s")
def plain_attention(m, span, heads, head_dim, tp, rate):
    """Attention as matrix products over the full square."""
    return 2 * FLOP_PER_MAC * m * span * heads * head_dim / tp / rate


@equation("byte", cite=KORTHIKANTI)
def kept(d_model, block, tp):
    """Stored activation bytes a token and layer: norms and residual; query, key, value, attention output, MLP."""
    return BYTES_16 * (4 * d_model + block) / tp


@equation("byte", cite=KORTHIKANTI)
def kept_masks(d_model, dropout, t_sp, block, tp):
    """The same with dropout masks, and norms and residual split over `t_sp` ranks."""
    return BYTES_16 * ((4 + dropout) * d_model / t_sp + block / tp)


@equation("byte", cite=KORTHIKANTI)
def kept_scores(heads, context, dropout, tp, cp):
    """Stored bytes a token and layer of attention scores, where they are stored at all."""
    return BYTES_16 * heads * context * (1 + 1.5 * dropout) / (tp * cp)


@equation("s", stored="byte", memory="byte/s", wall="memory_bandwidth")
def elementwise(kappa, m, stored, memory):
    """Forward traffic of norms, activations, residuals, softmax: `kappa` bytes for each stored byte."""
    return kappa * m * stored / memory


@equation("")
def fused_traffic(kappa, fused):
    """Bytes moved for each stored byte by compiled kernels."""
    return kappa * fused


@equation("", cite=KORTHIKANTI)
def misaligned_traffic(kappa, aligned):
    """Bytes moved for each stored byte by kernels over misaligned widths."""
    return kappa / aligned


@equation("s", forward="s", elements="s", attend="s", cite=KORTHIKANTI)
def redone(forward, elements, attend):
    """A whole layer's forward pass, done again in the backward pass."""
    return forward + elements + attend


@equation("s", forward="s", elements="s")
def redone_half(forward, elements):
    """Every other matrix product and the elementwise work between, done again."""
    return (forward + elements) / 2


@equation("s", gemms="s", attend="s", elements="s", extra="s")
def layer_time(gemms, attend, elements, extra):
    """One layer and micro-batch, forward and backward, with flash attention (backward 2.5 times forward)."""
    return gemms + 3.5 * attend + 3 * elements + extra


@equation("s", gemms="s", attend="s", elements="s")
def layer_alone(gemms, attend, elements):
    """The same with nothing sent or redone."""
    return gemms + 3.5 * attend + 3 * elements


@equation("s", gemms="s", attend="s", elements="s", extra="s")
def plain_layer_time(gemms, attend, elements, extra):
    """The same with attention as matrix products (backward twice forward)."""
    return gemms + 3 * attend + 3 * elements + extra


@equation("s", gemms="s", attend="s", elements="s")
def plain_layer_alone(gemms, attend, elements):
    """That with nothing sent or redone."""
    return gemms + 3 * (attend + elements)


@equation("byte")
def hidden_bytes(m, d_model):
    """A micro-batch's activations between blocks."""
    return BYTES_16 * m * d_model


@equation("s", rate="FLOP/s", memory="byte/s")
def head_time(m, d_model, vocab, tp, rate, memory):
    """Output head and loss, forward and backward, logits in fp32."""
    return 3 * FLOP_PER_MAC * m * d_model * vocab / (tp * rate) + (LOGIT * m + HEAD_STATE * d_model) * vocab / (
        tp * memory
    )


@equation("s", hidden="byte", nic="byte/s", wall="communication")
def stage_transfers(pp, interleave, hidden, tp, eta_net, nic):
    """Activations and gradients between pipeline stages, a micro-batch."""
    return where(pp > 1, 2 * interleave * (STAGE_HOP + hidden / (tp * eta_net * nic)), 0 * STAGE_HOP)


@equation("s", hidden="byte", nic="byte/s", wall="communication")
def transfers_of_pipeline(interleave, hidden, tp, eta_net, nic):
    """The same where there are several stages."""
    return 2 * interleave * (STAGE_HOP + hidden / (tp * eta_net * nic))


@equation("s", layer="s", head="s")
def pass_time(layers, layer, head):
    """A micro-batch, forward and backward, on one stage with all layers."""
    return layers * layer + head


@equation("s", layer="s", head="s", transfers="s")
def stage_time(layers, pp, layer, imbalance, head, transfers):
    """A micro-batch on the slowest stage of a pipeline."""
    return layers / pp * layer + imbalance * head + transfers


@equation("")
def longest_stage(layers, pp):
    """Layers of the longest stage of an uneven pipeline."""
    return ceil(layers / pp)


@equation("")
def longest_interleaved(layers, pp, interleave):
    """The same of an interleaved one, whose stages have several parts."""
    return ceil(layers / (pp * interleave)) * interleave


@equation("")
def unhidden_share(pp, imbalance):
    """Share of the head's time that other stages wait for."""
    return where(pp > 1, imbalance, 1)


@equation("s", layer="s", head="s", transfers="s")
def longest_time(longest, layers, pp, layer, imbalance, head, transfers):
    """A micro-batch on the slowest stage of an uneven pipeline, whose output head takes the place of a layer."""
    return longest * layer + imbalance * maximum(0 * head, head - minimum(longest * pp - layers, 1) * layer) + transfers


@equation("s", once="s", cite=MEGATRON, wall="synchronization")
def bubble(pp, interleave, once):
    """Idle time of a stage while the pipeline fills and drains."""
    return (pp - 1) / interleave * once
