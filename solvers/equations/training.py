"""Formulas of the training step of one accelerator: forward, backward, optimizer.

The additive roofline over each matmul's own operands makes small shapes lose efficiency by themselves.
16-bit weights and activations, fp32 main gradients.
"""

from __future__ import annotations

from mlwalls.solvers.derivation import Constant, equation
from mlwalls.solvers.equations.operators import FLOP_PER_MAC

BYTES_16 = Constant("bytes_16", 2, "byte")
BYTES_32 = Constant("bytes_32", 4, "byte")


@equation("FLOP")
def train_matmul_flops(m, k, n):
    """Forward and two backward products of a [m, k] × [k, n] layer."""
    return 3 * FLOP_PER_MAC * m * k * n


@equation("byte")
def train_matmul_traffic(m, k, n):
    """Operands of those three products in 16 bit, and a read and write of the fp32 gradient."""
    return BYTES_16 * (3 * m * k + 2 * k * n + 3 * m * n) + 2 * BYTES_32 * k * n


@equation("byte")
def train_weight_bytes(k, n):
    """Compulsory traffic: the weight is read once."""
    return BYTES_16 * k * n


@equation("FLOP")
def train_attention_flops(batch, heads, head_dim, pairs, shards):
    """Scores and weighted sums, forward and backward (backward twice the forward), without recomputation."""
    return 3 * FLOP_PER_MAC * batch * heads * 2 * head_dim * pairs / shards


@equation("")
def flash_share(eta_fa, flash_gain):
    """Sustained share of the peak of flash attention, counted without its backward recomputation.

    Backward takes 2.5 times the forward where 2 times are counted.
    """
    return eta_fa * flash_gain * 3 / 3.5


@equation("")
def sustained_matmul(s_gemm, eta_dev):
    """Sustained matmul share of the peak: what remains of the best shape's share over a whole run."""
    return s_gemm * eta_dev


@equation("", matmul="FLOP/s", peak="FLOP/s")
def sustained_measured(s_gemm, matmul, peak):
    """The same from a published best-shape rate."""
    return s_gemm * matmul / peak


@equation("byte")
def elementwise_traffic(m, kappa, d_model, wide, shards):
    """Memory traffic of norms, activations and residuals, forward and backward.

    `kappa` bytes move for each byte of a stored activation; four of width d_model and `wide` elements a token are stored.
    """
    return 3 * kappa * m * BYTES_16 * (4 * d_model + wide) / shards


@equation("")
def active_ffn(moe_layers, top_k, expert_ffn, shared_ffn, dense_layers, ffn, layers):
    """Mean MLP width that a token passes through a layer, over expert and dense layers."""
    return (moe_layers * (top_k * expert_ffn + shared_ffn) + dense_layers * ffn) / layers


@equation("")
def latent_core(nope, rope, v_dim):
    """Mean of query-key and value sizes of a latent-attention head."""
    return (nope + rope + v_dim) / 2


@equation("")
def latent_columns(latent_in, latent_out, heads, v_dim, d_model):
    """Columns of one [d_model, ·] product with as many weights as latent attention's projections but the last."""
    return (latent_in + latent_out) / d_model - heads * v_dim


@equation("")
def stored_gated(heads, kv_heads, head_dim, ffn):
    """Stored elements a token inside a layer: query, key, value, attention output, gated MLP."""
    return (heads + 2 * kv_heads) * head_dim + heads * head_dim + 3 * ffn


@equation("")
def stored_plain(heads, kv_heads, head_dim, ffn):
    """The same for an MLP without a gate."""
    return (heads + 2 * kv_heads) * head_dim + heads * head_dim + 2 * ffn


@equation("FLOP")
def train_head_flops(m, d_model, vocab, shards):
    """Forward and two backward products of the output head, on all tokens."""
    return 3 * FLOP_PER_MAC * m * d_model * vocab / shards


@equation("byte")
def train_head_bytes(d_model, vocab, shards):
    """Compulsory traffic of the head: its weights are read once."""
    return BYTES_16 * d_model * vocab / shards


@equation("byte")
def train_head_traffic(m, d_model, vocab, shards):
    """Memory traffic of the head and its loss: logits six times in 32 bit, weights and gradients."""
    return BYTES_32 * (6 * m * vocab + 4 * d_model * vocab) / shards


@equation("byte", update="byte")
def optimizer_traffic(parameters, update, shards):
    """Bytes that the optimizer moves a step."""
    return parameters * update / shards


@equation("")
def split(a, shards):
    """A width split over tensor-parallel ranks."""
    return a / shards
