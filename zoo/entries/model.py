"""Models. A transformer's configuration is one block from one source; counts follow from it."""

from __future__ import annotations

from typing import Literal

from mlwalls.zoo.entries.base import Block, Cited, CitedBlock, Count, EntryModel, quantity


class Config(CitedBlock):
    """The configuration of a language model's text stack."""

    layers: Count = None
    d_model: Count = None
    heads: Count = None
    kv_heads: Count = None
    head_dim: Count = None
    ffn: Count = None
    vocab: Count = None
    max_context: Count = None
    window: Count = None
    window_layers: Count = None
    full_layers: Count = None
    linear_layers: Count = None
    norm_parameters: Count = None
    gated_ffn: bool = False
    tied_embeddings: bool = False
    attention_bias: bool = False
    qk_norm: bool = False
    gated_query: bool = False
    attention: Literal["gqa", "mla", "none"] = "gqa"


class Moe(CitedBlock):
    """Routed and shared experts."""

    experts: Count = None
    experts_per_token: Count = None
    ffn: Count = None
    shared_experts: Count = None
    shared_ffn: Count = None
    layers: Count = None
    dense_layers: Count = None


class Mla(CitedBlock):
    """Multi-head latent attention."""

    q_rank: Count = None
    kv_rank: Count = None
    qk_nope: Count = None
    qk_rope: Count = None
    v_head: Count = None


class Indexer(CitedBlock):
    """Sparse attention: the indexer that picks the positions."""

    heads: Count = None
    head_dim: Count = None
    top_k: Count = None


class Linear(CitedBlock):
    """Linear-attention and state-space layers."""

    state_bytes: Count = None
    projection_parameters: Count = None
    state_size: Count = None
    expand: Count = None


class Checkpoint(Block):
    """What the published checkpoint stores."""

    dtype: str | None = None
    bytes: Cited = quantity("byte", 1e3, 1e14)
    experts_bytes_per_parameter: Cited = quantity("byte", 0.1, 8)


class Published(Block):
    """Counts as the publisher prints them."""

    parameters: Cited = quantity("", 1e3, 1e14)
    active_parameters: Cited = quantity("", 1e3, 1e14)


class Sample(Block):
    """One sample through a model that is not lowered by layers."""

    flops: Cited = quantity("FLOP", 1e3, 1e18)
    training_flops: Cited = quantity("FLOP", 1e3, 1e18)
    activation_elements: Cited = quantity("", 1, 1e13)
    dense_parameters: Cited = quantity("", 1, 1e13)
    gathered_elements: Cited = quantity("", 1, 1e12)
    resolution: Cited = quantity("pixel", 1, 1e5)


class Model(EntryModel):
    """One model."""

    kind: Literal["models"]
    type: Literal["language", "encoder", "encoder-decoder", "speech", "vision", "generative", "recommendation"]
    developer: str | None = None
    year: Cited = quantity("year", 1990, 2035)
    parameters: Cited = quantity("", 1e3, 1e14)
    active_parameters: Cited = quantity("", 1e3, 1e14)
    published: Published | None = None
    config: Config | None = None
    moe: Moe | None = None
    mla: Mla | None = None
    indexer: Indexer | None = None
    linear: Linear | None = None
    checkpoint: Checkpoint | None = None
    sample: Sample | None = None
