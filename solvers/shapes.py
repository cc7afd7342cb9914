"""The shape of a model: every branch that its lowering takes, and its numbers with their sources."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from mlwalls.solvers.errors import CallError
from mlwalls.solvers.formats import KV_BYTES, STORED_BYTES
from mlwalls.solvers.numbers import Numbers
from mlwalls.zoo import Entry

Attention = Literal["gqa", "mla", "none"]


@dataclass(frozen=True, slots=True)
class ModelShape:
    """Every branch of a transformer's lowering, taken once.

    `layer_format`, `expert_format` and `wide_format` are the stored formats of the layers' matrices, the routed experts, and the
    embedding and head; `projection_format` is that of latent attention's projections where it differs from the layers'.
    `sparse`: an indexer picks the positions that latent attention attends to.
    `data_parallel`: every rank holds the whole attention and its own sequences, only experts and MLP are split.
    """

    attention: Attention
    gated_query: bool
    gated_mlp: bool
    full: bool
    windowed: bool
    linear: bool
    dense: bool
    moe: bool
    shared: bool
    compressed_query: bool
    bidirectional: bool
    has_head: bool
    tied: bool
    sharded: bool
    layer_format: str
    expert_format: str
    wide_format: str
    projection_format: str = ""
    data_parallel: bool = False
    sparse: bool = False

    @property
    def split_experts(self) -> bool:
        """Whether the routed experts are stored in another format than the layers."""
        return self.moe and self.expert_format != self.layer_format


def resolve_model(n: Numbers, model: Entry, weight_format: str, kv_format: str, ranks: int) -> ModelShape:
    """Read a language model's shape into `n` and return its structure.

    Raises:
        CallError: the entry has no configuration to lower.
    """
    if not model.has("config.layers") or not model.has("config.d_model"):
        raise CallError(
            "model",
            f"{model.name} has no layer configuration in the zoo, so its operators cannot be counted; "
            "name a language model with one.",
            repair={"model": "llama-3.1-8b"},
        )
    layer, expert, wide = stored_formats(model, weight_format)
    attention: Attention = "mla" if model.text("config.attention") == "mla" else "gqa"
    if not model.has("config.heads") or model.text("config.attention") == "none":
        attention = "none"
    for name in ("layers", "d_model", "vocab"):
        n.zoo(name, model, f"config.{name}", "")
    n.zoo("parameters", model, "parameters", "")
    if model.has("config.norm_parameters"):
        n.zoo("norm_params", model, "config.norm_parameters", "")
    moe = model.has("moe.experts")
    dense = _resolve_mlp(n, model, moe)
    windowed, linear = _resolve_attention(n, model, attention)
    if "full_layers" not in n:
        n.alias("full_layers", "layers")
    n.alias("attention_layers", "layers") if not linear else n.zoo("attention_layers", model, "config.full_layers", "")
    full = float(n.full_layers.value) > 0
    n.defined("w_bytes", STORED_BYTES[layer], "byte")
    n.defined("kv_width", KV_BYTES[kv_format], "byte")
    n.defined("wide_bytes", STORED_BYTES[wide], "byte")
    if moe:
        n.defined("e_bytes", STORED_BYTES[expert], "byte")
    projections = _projection_format(n, attention, layer)
    tied = model.flag("config.tied_embeddings")
    n.defined("wide_matrices", 1 if tied else 2)
    return ModelShape(
        attention=attention,
        gated_query=model.flag("config.gated_query"),
        gated_mlp=model.flag("config.gated_ffn"),
        full=full,
        windowed=windowed,
        linear=linear,
        dense=dense,
        moe=moe,
        shared=moe and model.has("moe.shared_ffn"),
        compressed_query=attention == "mla" and model.has("mla.q_rank"),
        bidirectional=model.text("type") == "encoder",
        has_head=model.text("type") != "encoder",
        tied=tied,
        sharded=ranks > 1,
        layer_format=layer,
        expert_format=expert,
        wide_format=wide,
        projection_format=projections,
        sparse=attention == "mla" and model.has("indexer.top_k"),
    )


def _projection_format(n: Numbers, attention: Attention, layer: str) -> str:
    """Return the format that latent attention's projections compute in; 4-bit checkpoints keep most of them wider."""
    if attention != "mla" or layer not in ("nvfp4", "mxfp4"):
        return ""
    n.assumed("a_bytes", 1.1, 1, 2, "byte", source="cal_serving")
    return "fp8"


def stored_formats(model: Entry, weight_format: str) -> tuple[str, str, str]:
    """Return the stored formats of layers, experts, and embedding and head.

    Quantized checkpoints keep the embedding and head at 16 bit. `native` is what the checkpoint ships.
    """
    if weight_format == "native":
        shipped = model.text("checkpoint.dtype", "bf16")
        if shipped == "mxfp4":
            return "bf16", "mxfp4", "bf16"
        weight_format = shipped if shipped in STORED_BYTES else "bf16"
    wide = weight_format if STORED_BYTES[weight_format] >= 2 else "bf16"
    return weight_format, weight_format, wide


def _resolve_mlp(n: Numbers, model: Entry, moe: bool) -> bool:
    n.zoo_flag("matrices", model, "config.gated_ffn", 3, 2)
    if not moe and not model.has("config.ffn"):
        return False
    if not moe:
        n.zoo("ffn", model, "config.ffn", "")
        n.alias("dense_layers", "layers")
        return True
    for symbol, path in (
        ("experts", "moe.experts"),
        ("top_k", "moe.experts_per_token"),
        ("expert_ffn", "moe.ffn"),
        ("moe_layers", "moe.layers"),
    ):
        n.zoo(symbol, model, path, "")
    if model.has("moe.shared_ffn"):
        n.zoo("shared_ffn", model, "moe.shared_ffn", "")
    else:
        n.alias("shared_ffn", "zero")
    if model.has("moe.dense_layers") and model.number("moe.dense_layers").value > 0:
        n.zoo("dense_layers", model, "moe.dense_layers", "")
        n.zoo("ffn", model, "config.ffn", "")
        return True
    n.alias("dense_layers", "zero")
    n.alias("ffn", "zero")
    return False


def _resolve_attention(n: Numbers, model: Entry, attention: Attention) -> tuple[bool, bool]:
    windowed = False
    linear = _resolve_linear(n, model)
    if attention == "none":
        return False, linear
    n.zoo("heads", model, "config.heads", "")
    if attention == "mla":
        for symbol, path in (
            ("kv_rank", "mla.kv_rank"),
            ("nope", "mla.qk_nope"),
            ("rope", "mla.qk_rope"),
            ("v_dim", "mla.v_head"),
        ):
            n.zoo(symbol, model, path, "")
        n.alias("kv_heads", "heads")
        if model.has("mla.q_rank"):
            n.zoo("q_rank", model, "mla.q_rank", "")
        if model.has("indexer.top_k"):
            n.zoo("index_heads", model, "indexer.heads", "")
            n.zoo("index_dim", model, "indexer.head_dim", "")
            n.zoo("index_top_k", model, "indexer.top_k", "token")
            n.defined("index_width", 1, "byte")
    else:
        n.zoo("kv_heads", model, "config.kv_heads", "")
        n.zoo("head_dim", model, "config.head_dim", "")
    if model.has("config.window") and model.has("config.window_layers"):
        windowed = model.number("config.window_layers").value > 0
        if windowed:
            n.zoo("window", model, "config.window", "token")
            n.zoo("window_layers", model, "config.window_layers", "")
            n.zoo("full_layers", model, "config.full_layers", "")
    return windowed, linear


def _resolve_linear(n: Numbers, model: Entry) -> bool:
    if not model.has("config.linear_layers") or model.number("config.linear_layers").value == 0:
        return False
    n.zoo("linear_layers", model, "config.linear_layers", "")
    n.zoo("state_bytes", model, "linear.state_bytes", "byte")
    n.zoo("linear_params", model, "linear.projection_parameters", "")
    n.zoo("full_layers", model, "config.full_layers", "")
    return True


def check_ranks(ranks: int, n: Numbers) -> None:
    """Refuse tensor parallelism that cannot split the attention heads evenly.

    Raises:
        CallError: with the nearest numbers of ranks that can.
    """
    if ranks == 1 or "heads" not in n:
        return
    heads = int(n.heads.value)
    if heads % ranks:
        divisors = [k for k in range(1, heads + 1) if heads % k == 0]
        nearest = sorted(divisors, key=lambda k: abs(k - ranks))[:4]
        raise CallError(
            "n_accelerators",
            f"{ranks} does not divide the {heads} attention heads, so tensor parallelism cannot split them.",
            choices=[str(k) for k in nearest],
            repair={"n_accelerators": nearest[0]},
        )
