"""Hugging Face configurations that are not one kind of layer repeated: Mamba, Jamba, Whisper."""

from __future__ import annotations

from typing import Any

from mlwalls.zoo.activations import whisper as tally_whisper
from mlwalls.zoo.hf_config import SOURCE, Config, ConfigError, derived


def _mixer(
    d: int, state: int, conv: int, expand: int, rank: int, inner: int | None = None
) -> tuple[int, dict[str, Any]]:
    """Return the parameters of a selective state-space layer, and the entry's block for it."""
    inner = expand * d if inner is None else inner
    # in, convolution with bias, x, dt with bias, A, D, out
    per_layer = 2 * d * inner + inner * (conv + 1) + inner * (rank + 2 * state) + (rank + 1) * inner
    per_layer += inner * state + inner + inner * d
    block = {"source": SOURCE, "state_bytes": inner * (state + conv) * 2, "state_size": state, "expand": expand}
    return per_layer, block


def mamba(c: Config) -> dict[str, Any]:
    """Return what the entry of a Mamba says beside its name."""
    layers, d = c.count("num_hidden_layers", "n_layer"), c.count("hidden_size", "d_model")
    per_layer, block = _mixer(
        d,
        c.count("state_size", default=16),
        c.count("conv_kernel", default=4),
        c.count("expand", default=2),
        c.count("time_step_rank", default=-(-d // 16)),
        c.first("intermediate_size"),
    )
    vocab, small = c.count("vocab_size"), (layers + 1) * d
    return {
        "parameters": derived(layers * per_layer + vocab * d + small),
        "config": {
            "source": SOURCE,
            "layers": layers,
            "d_model": d,
            "vocab": vocab,
            "attention": "none",
            "linear_layers": layers,
            "full_layers": 0,
            "norm_parameters": small,
            "tied_embeddings": True,
        },
        "linear": {**block, "projection_parameters": per_layer},
    }


def jamba(c: Config) -> dict[str, Any]:
    """Return what the entry of a Jamba says beside its name: one layer in some attends, one in some is a mixture."""
    layers, d, ffn = c.count("num_hidden_layers"), c.count("hidden_size"), c.count("intermediate_size")
    heads, vocab, tied = c.count("num_attention_heads"), c.count("vocab_size"), bool(c.first("tie_word_embeddings"))
    kv_heads, experts, used = (
        c.count("num_key_value_heads", default=8),
        c.count("num_experts", default=16),
        c.count("num_experts_per_tok", default=2),
    )
    attending = _one_in(layers, c.count("attn_layer_period", default=8), c.count("attn_layer_offset", default=4))
    mixed = _one_in(layers, c.count("expert_layer_period", default=2), c.count("expert_layer_offset", default=1))
    rank = c.first("mamba_dt_rank", default="auto")
    rank = -(-d // 16) if rank == "auto" else c.count("mamba_dt_rank")
    state = c.count("mamba_d_state", default=16)
    mixer, block = _mixer(d, state, c.count("mamba_d_conv", default=4), c.count("mamba_expand", default=2), rank)
    mixer += rank + 2 * state  # norms of dt, B and C
    head_dim, mlp, small = d // heads, 3 * d * ffn, (2 * layers + 1) * d
    attention = 2 * d * (heads + kv_heads) * head_dim
    total = attending * attention + (layers - attending) * mixer + mixed * (experts * mlp + d * experts)
    total += (layers - mixed) * mlp + vocab * d * (1 if tied else 2) + small
    return {
        "parameters": derived(total),
        "active_parameters": derived(total - mixed * (experts - used) * mlp),
        "config": {
            "source": SOURCE,
            "layers": layers,
            "d_model": d,
            "heads": heads,
            "kv_heads": kv_heads,
            "head_dim": head_dim,
            "ffn": ffn,
            "vocab": vocab,
            "max_context": c.count("max_position_embeddings", default=262144),
            "gated_ffn": True,
            "tied_embeddings": tied,
            "linear_layers": layers - attending,
            "full_layers": attending,
            "norm_parameters": small,
        },
        "moe": {
            "source": SOURCE,
            "experts": experts,
            "experts_per_token": used,
            "ffn": ffn,
            "layers": mixed,
            "dense_layers": layers - mixed,
        },
        "linear": {**block, "projection_parameters": mixer},
    }


def _one_in(layers: int, period: int, offset: int) -> int:
    if period < 1:
        raise ConfigError("config.json (jamba): a layer period is 0; expected a whole number above it")
    return sum(i % period == offset for i in range(layers))


def whisper(c: Config) -> dict[str, Any]:
    """Return what the entry of a Whisper says beside its name: parameters, and a sample of 30 s.

    Encoder and decoder are not layers of one kind, so there is no configuration to lower: the sample is one window encoded and
    the decoder run once over all of its positions.
    """
    d, layers, ffn = c.count("d_model"), c.count("encoder_layers"), c.count("encoder_ffn_dim")
    mels, vocab = c.count("num_mel_bins", default=80), c.count("vocab_size")
    frames, words = c.count("max_source_positions", default=1500), c.count("max_target_positions", default=448)
    if c.count("decoder_layers") != layers or c.count("decoder_ffn_dim") != ffn or ffn != 4 * d:
        raise ConfigError(
            "config.json (whisper): encoder and decoder differ in depth or width, as in distilled models; expected the same"
        )
    encoder = 3 * mels * d + d + 3 * d * d + d + frames * d + layers * (4 * d * d + 3 * d + 2 * d * ffn + ffn + 5 * d)
    decoder = (vocab + words) * d + layers * (8 * d * d + 6 * d + 2 * d * ffn + ffn + 7 * d)
    once = f"30 s encoded and the decoder once over {words} tokens; generation repeats the decoder"
    tally = tally_whisper(layers, d, mels, vocab, words, frames)
    return {
        "parameters": derived(encoder + decoder + 4 * d),
        "sample": {"flops": derived(2 * tally.macs, once), "activation_elements": derived(tally.elements)},
    }
