"""Formulas of the operators of a language model: weights, FLOPs and bytes of one layer.

Shapes are per call; widths are bytes an element; `shards` counts the accelerators that split an operator, so results are
per accelerator. One multiply-add is 2 FLOP.
"""

from __future__ import annotations

from mlwalls.solvers.derivation import Constant, equation
from mlwalls.solvers.functions import minimum

FLOP_PER_MAC = Constant("mac", 2, "FLOP")


@equation("")
def matrix(rows, columns, shards):
    """Weights of a [rows, columns] matrix on one of `shards` accelerators."""
    return rows * columns / shards


@equation("")
def matrices_of(matrices, d_model, ffn, shards):
    """Weights of an MLP of `matrices` [d_model, ffn] matrices (3 gated, 2 plain), on one of `shards`."""
    return matrices * d_model * ffn / shards


@equation("")
def matrix_and_norms(rows, columns, shards, norms):
    """Weights of the head on one of `shards` accelerators, and of all norms, which every one holds whole."""
    return rows * columns / shards + norms


@equation("")
def latent_shard(every, by_head, shards):
    """Weights of latent attention's projections on one rank: some whole, some split by heads."""
    return every + by_head / shards


@equation("")
def router_and_shared(d_model, experts, matrices, shared_ffn, shards):
    """Weights of one layer's router, whole on every rank, and of its shared experts."""
    return d_model * experts + matrices * d_model * shared_ffn / shards


@equation("")
def besides(elements, shards):
    """Weights that a rank reads beyond its share where it holds them whole and works on its share of the tokens."""
    return elements * (1 - 1 / shards)


@equation("")
def matrix_besides(rows, columns, shards):
    """The same of a [rows, columns] matrix."""
    return rows * columns * (1 - 1 / shards)


@equation("")
def experts_used(top_k, expert):
    """Weights of the routed experts of one layer that one token uses."""
    return top_k * expert


@equation("")
def experts_besides(hit, top_k, expert):
    """Weights read beyond those of one token's experts where a pass touches `hit` experts of a layer."""
    return (hit - top_k) * expert


@equation("FLOP")
def matmul_flops(tokens, rows, columns, shards):
    """FLOPs of a [tokens, rows] × [rows, columns] product, split over `shards` accelerators."""
    return FLOP_PER_MAC * tokens * rows * columns / shards


@equation("byte", state="byte")
def state_bytes(batch, state, shards):
    """Fixed state of linear-attention or state-space layers, read (`kv`) and written (`write`) each step."""
    return batch * state / shards


@equation("FLOP")
def attention_flops(batch, heads, head_dim, pairs, shards):
    """FLOPs of scores and weighted sums of one layer, `pairs` query-key pairs a head and sequence."""
    return FLOP_PER_MAC * batch * heads * 2 * head_dim * pairs / shards


@equation("FLOP", cite="deepseekv2")
def latent_attention_flops(batch, heads, nope, rope, v_dim, pairs, shards):
    """The same for latent attention in its expanded form (prefill)."""
    return FLOP_PER_MAC * batch * heads * (nope + rope + v_dim) * pairs / shards


@equation("FLOP", cite="deepseekv2")
def absorbed_attention_flops(batch, heads, kv_rank, rope, pairs, shards):
    """The same for latent attention in its absorbed form (decode)."""
    return FLOP_PER_MAC * batch * heads * (2 * kv_rank + rope) * pairs / shards


@equation("byte", width="byte")
def cache_entry(kv_heads, head_dim, width, shards):
    """Bytes of the keys and values of one token, one layer."""
    return 2 * kv_heads * head_dim * width / shards


@equation("byte", width="byte", cite="deepseekv2")
def latent_entry(kv_rank, rope, width):
    """The same for latent attention: one latent a token, whole on every tensor-parallel rank."""
    return (kv_rank + rope) * width


@equation("byte", width="byte", cite="deepseekv2")
def latent_entry_split(kv_rank, rope, width, shards):
    """The same where attention is data parallel: every rank holds its own sequences."""
    return (kv_rank + rope) * width / shards


@equation("byte", entry="byte")
def cache_bytes(batch, positions, entry):
    """Bytes of keys and values of `positions` tokens of `batch` sequences, one layer."""
    return batch * positions * entry


@equation("", cite="deepseekv32")
def indexer_elements(q_rank, heads, dim, d_model):
    """Weights of sparse attention's indexer, one layer: queries, keys and the heads' weights."""
    return q_rank * heads * dim + d_model * (dim + heads)


@equation("FLOP", cite="deepseekv32")
def index_flops(batch, heads, dim, pairs):
    """FLOPs of scoring every position, one layer."""
    return FLOP_PER_MAC * batch * heads * dim * pairs


@equation("byte", width="byte", cite="deepseekv32")
def index_bytes(batch, positions, dim, width):
    """The indexer's keys of `positions` tokens of `batch` sequences, one layer."""
    return batch * positions * dim * width


@equation("")
def qkv_width(heads, kv_heads, head_dim):
    """Columns of the fused query, key and value projection."""
    return (heads + 2 * kv_heads) * head_dim


@equation("")
def gated_qkv_width(heads, kv_heads, head_dim):
    """Columns of the fused projection where the query carries an output gate of its own size."""
    return (2 * heads + 2 * kv_heads) * head_dim


@equation("")
def qkv_shard(heads, kv_heads, head_dim, shards):
    """Columns of the fused query, key and value projection on one tensor-parallel rank."""
    return (heads + 2 * kv_heads) * head_dim / shards


@equation("")
def product_shard(a, b, shards):
    """Product of two counts on one tensor-parallel rank."""
    return a * b / shards


@equation("")
def up_shard(matrices, ffn, shards):
    """Columns of the first MLP product on one rank (gate and up together)."""
    return (matrices - 1) * ffn / shards


@equation("")
def causal_pairs(n):
    """Query-key pairs of a causal prefill of n tokens: each token sees itself and what came before."""
    return n * (n + 1) / 2


@equation("")
def square_pairs(n):
    """Query-key pairs of bidirectional attention over n tokens."""
    return n**2


@equation("")
def windowed_pairs(n, w):
    """Query-key pairs of a causal prefill of n tokens with a window of w (w ≤ n is enforced)."""
    return minimum(w, n) * n - minimum(w, n) * (minimum(w, n) - 1) / 2


@equation("")
def latent_in_elements(d_model, q_rank, kv_rank, rope):
    """Weights of multi-head latent attention that every tensor-parallel rank holds whole."""
    return d_model * (q_rank + kv_rank + rope)


@equation("")
def latent_out_elements(q_inner, heads, nope, rope, kv_rank, v_dim, d_model):
    """Weights of multi-head latent attention that tensor parallelism splits by heads."""
    return heads * (q_inner * (nope + rope) + kv_rank * (nope + v_dim) + v_dim * d_model)


@equation("", cite="fedus2022")
def experts_hit(experts, top_k, tokens):
    """Expected distinct experts that `tokens` tokens touch under uniform routing."""
    return experts * (1 - (1 - top_k / experts) ** tokens)
