"""Formulas of the KV-cache pool of a paged serving engine, one accelerator's view.

The form and constants were calibrated on start-up logs; see the calibration's model card.
"""

from __future__ import annotations

from mlwalls.solvers.derivation import Constant, equation
from mlwalls.solvers.functions import ceil, floor, maximum, minimum

BYTES_16 = Constant("bytes_16", 2, "byte")


@equation("")
def key_value_parameters(layers, d_model, kv_heads, head_dim):
    """Parameters of the key and value projections."""
    return 2 * layers * d_model * kv_heads * head_dim


@equation("")
def copies_of_keys(ranks, kv_heads):
    """How often key-value heads are held once tensor parallelism exceeds their number."""
    return maximum(1, ranks / kv_heads)


@equation("byte", width="byte", wide="byte", wall="memory_capacity")
def dense_share(parameters, tables, keys, copies, width, wide, ranks):
    """One rank's share of a dense model's weights, replicated key-value heads included."""
    return (tables * wide + (parameters - tables + keys * (copies - 1)) * width) / ranks


@equation("byte", width="byte", expert_width="byte", wide="byte", wall="memory_capacity")
def moe_share(parameters, tables, routed, whole, keys, copies, width, expert_width, wide, ranks):
    """The same for a mixture of experts; `whole` parameters are held by every rank and counted apart."""
    return (
        tables * wide + routed * expert_width + (parameters - tables - routed - whole + keys * (copies - 1)) * width
    ) / ranks


@equation("byte", width="byte", wide="byte")
def held_whole(router, down, width, wide):
    """Router weights (16 bit) and latent down-projections, whole on every rank."""
    return router * wide + down * width


@equation("byte")
def absorbed_copies(layers, heads, kv_rank, nope, v_dim, ranks):
    """16-bit copies of the up-projections that absorbed latent attention keeps."""
    return BYTES_16 * layers * heads / ranks * kv_rank * (nope + v_dim)


@equation("byte")
def rotary_table(max_context, head_dim):
    """One table of rotary positions, not split."""
    return BYTES_16 * max_context * head_dim


@equation("byte")
def forward_peak(tokens, copies, d_model, matrices, ffn, ranks):
    """Activations alive at the peak of the profiled forward pass."""
    return BYTES_16 * tokens * (copies * d_model + matrices * ffn / ranks)


@equation("byte", logit="byte")
def sampler_peak(logit, sequences, vocab, copies, tokens, d_model):
    """Memory alive while the sampler runs over the profiled sequences."""
    return logit * minimum(sequences, tokens) * vocab + copies * BYTES_16 * tokens * d_model


@equation("byte")
def expert_workspace(tokens, top_k, expert_ffn, d_model, ranks):
    """Workspace of the fused expert kernels."""
    return (
        BYTES_16
        * tokens
        * top_k
        * (maximum(ceil(expert_ffn / ranks), d_model) + maximum(2 * ceil(expert_ffn / ranks), d_model))
    )


@equation("byte", driver="byte", weights="byte", activation="byte", outside="byte", cite="kwon2023", wall="batching")
def cache_pool(utilization, driver, weights, activation, outside):
    """What the engine has left for keys and values."""
    return utilization * driver - weights - activation - outside


@equation("byte", width="byte")
def cache_token_bytes(layers, kv_heads, head_dim, width, ranks):
    """Keys and values of one token on one rank [Kwon 2023]: heads are split until each rank has one."""
    return 2 * layers * maximum(1, kv_heads / ranks) * head_dim * width


@equation("byte", width="byte")
def latent_token_bytes(layers, kv_rank, rope, width):
    """The latent of one token [DeepSeek-V2], whole on every rank."""
    return layers * (kv_rank + rope) * width


@equation("byte", width="byte", index_width="byte")
def sparse_token_bytes(layers, kv_rank, rope, width, index_dim, index_width):
    """The same where an indexer [DeepSeek-V3.2] keeps a key of its own for every token."""
    return layers * ((kv_rank + rope) * width + index_dim * index_width)


@equation("")
def group_size(windowed, full):
    """Layers in one group of the hybrid allocator."""
    return minimum(windowed, full)


@equation("")
def groups(layers, size):
    """Groups that some layers fill, the last one padded."""
    return ceil(layers / size)


@equation("", pool="byte", slot="byte", wall="batching")
def tokens_of(pool, slot, block):
    """Tokens that the cache holds: a block of them takes a slot, a block in every group."""
    return floor(pool / slot) * block


@equation("", pool="byte", slot="byte", wall="batching", cite="kwon2023")
def sequences_of(pool, slot, each):
    """Whole sequences that fit, `each` slots."""
    return floor(floor(pool / slot) / each)


@equation("")
def sequence_blocks(length, block, full_groups):
    """Blocks that one sequence takes."""
    return ceil(length / block) * full_groups


@equation("")
def hybrid_sequence_blocks(length, window, block, full_groups, window_groups):
    """The same where windowed groups keep no more than their window."""
    return ceil(length / block) * full_groups + ceil(minimum(length, window) / block) * window_groups


@equation("byte", token="byte")
def sequence_cache(length, token):
    """Cache of one sequence on one rank, every layer keeping every token."""
    return length * token


@equation("byte", state="byte", cite="gu2023")
def recurrent_state(layers, state, ranks):
    """State that recurrent layers keep of one sequence, on one rank."""
    return layers * state / ranks


@equation("")
def whole_blocks(length, block):
    """Tokens that a sequence takes in whole blocks."""
    return ceil(length / block) * block


@equation("byte", token="byte", state="byte")
def sequence_with_state(length, token, state):
    """Cache of one sequence and its recurrent state."""
    return length * token + state


@equation("byte", token="byte")
def bytes_of_blocks(blocks, block, token):
    """Bytes of so many blocks."""
    return blocks * block * token


@equation("", pool="byte", sequence="byte", wall="batching", cite="kwon2023")
def sequences_in(pool, sequence):
    """Whole sequences that fit."""
    return floor(pool / sequence)


@equation("byte", capacity="byte")
def driver_share(capacity, share):
    """What the driver shows of the nominal capacity, where no log prints it."""
    return capacity * share


@equation("byte", width="byte")
def padded(width, padding):
    """Bytes an expert weight takes once its kernel's shapes are padded."""
    return width * padding


@equation("")
def enough_sequences(sequences, concurrency):
    """Whether so many sequences fit at once."""
    return sequences >= concurrency
