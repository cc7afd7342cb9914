"""Formulas of capacity: what one accelerator must hold."""

from __future__ import annotations

from mlwalls.solvers.derivation import equation


@equation("")
def wide_parameters(matrices, vocab, d_model):
    """Parameters of embedding and head (one matrix where they are tied)."""
    return matrices * vocab * d_model


@equation("")
def routed_parameters(moe_layers, experts, matrices, d_model, expert_ffn):
    """Parameters of all routed experts."""
    return moe_layers * experts * matrices * d_model * expert_ffn


@equation("byte", width="byte", wall="memory_capacity")
def resident_uniform(parameters, width, shards):
    """Weights of one accelerator, all at one width."""
    return parameters * width / shards


@equation("byte", width="byte", wide_width="byte", wall="memory_capacity")
def resident(parameters, width, matrices, vocab, d_model, wide_width, shards):
    """Weights of one accelerator: most at one width, embedding and head (`matrices` of them) at another."""
    return (parameters * width + matrices * vocab * d_model * (wide_width - width)) / shards


@equation("byte", width="byte", wide_width="byte", expert_width="byte", wall="memory_capacity")
def resident_moe(parameters, width, matrices, vocab, d_model, wide_width, routed, expert_width, shards):
    """The same where the routed experts are stored at a width of their own."""
    return (
        parameters * width + matrices * vocab * d_model * (wide_width - width) + routed * (expert_width - width)
    ) / shards


@equation("byte", width="byte")
def replicated(layers, elements, width, shards):
    """Weights that a rank holds beyond its share because every rank holds them whole."""
    return layers * elements * width * (1 - 1 / shards)


@equation("byte", projection_width="byte", width="byte")
def wider(layers, latent_in, latent_out, projection_width, width, shards):
    """What latent attention's projections take beyond the layers' format, on one of `shards` accelerators."""
    return layers * (latent_in + latent_out) * (projection_width - width) / shards


@equation("")
def attention_weights(d_model, qkv, out):
    """Weights of the projections of one layer of grouped-query attention."""
    return d_model * (qkv + out)


@equation("byte", cache="byte", cite="kwon2023", wall="memory_capacity")
def row_cache(count, cache):
    """Keys and values of one operator row."""
    return count * cache


@equation("byte", cache="byte", cite="kwon2023", wall="memory_capacity")
def row_cache_at_end(count, cache, prompt, output):
    """Keys and values of one operator row after the last token, from those at the mean context."""
    return count * cache * (prompt + output) / (prompt + output / 2)


@equation("byte", states="byte", cite="rajbhandari2020", wall="memory_capacity")
def training_states(parameters, states, shards):
    """Weights, gradients and Adam states of mixed-precision training, activations apart."""
    return parameters * states / shards


@equation("byte", needed="byte", capacity="byte", wall="memory_capacity")
def headroom(capacity, needed):
    """What is left of the capacity; negative by how much it does not fit."""
    return capacity - needed


@equation("byte", left="byte", capacity="byte", other="byte", wall="memory_capacity")
def headroom_of(left, capacity, other):
    """What the same would leave of another capacity."""
    return left + other - capacity


@equation("byte", capacity="byte", a="byte", b="byte", wall="memory_capacity")
def left_of_two(capacity, a, b):
    """What two classes leave of the capacity; negative by how much they do not fit."""
    return capacity - a - b


@equation("byte", capacity="byte", a="byte", b="byte", c="byte", wall="memory_capacity")
def left_of_three(capacity, a, b, c):
    """The same of three classes."""
    return capacity - a - b - c


@equation("byte", capacity="byte", a="byte", b="byte", c="byte", e="byte", wall="memory_capacity")
def left_of_four(capacity, a, b, c, e):
    """The same of four classes."""
    return capacity - a - b - c - e
