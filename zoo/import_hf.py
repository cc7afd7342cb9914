"""A Hugging Face ``config.json`` as a zoo entry: `mlwalls zoo import-hf config.json`.

Knows the configurations of Llama, Mistral, Mixtral, Qwen2 and Qwen3 (and their MoE), DeepSeek V2 and V3, Gemma 2 and 3,
Phi, gpt-oss, GLM, Falcon, GPT-2, BERT, Mamba, Jamba and Whisper. Parameters are counted from the configuration.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from mlwalls.zoo.hf_config import SOURCE, Config, ConfigError, derived
from mlwalls.zoo.import_families import jamba, mamba, whisper

_PLAIN_MLP = frozenset({"gpt2", "bert", "falcon", "opt", "phi", "gpt_neox", "bloom"})
_FAMILIES = {"mamba": mamba, "jamba": jamba, "whisper": whisper}
_BIASED = ("gpt2", "bert", "phi", "qwen2", "qwen2_moe")
_KNOWN = frozenset(
    {"llama", "mistral", "mixtral", "qwen2", "qwen2_moe", "qwen3", "qwen3_moe", "deepseek_v2", "deepseek_v3", "gemma2"}
    | {"gemma3_text", "gemma3", "phi", "phi3", "gpt_oss", "glm", "glm4", "glm4_moe", "falcon", "gpt2", "bert"}
    | _FAMILIES.keys()
)


def import_hf(config: Mapping[str, Any], id: str, name: str = "") -> dict[str, Any]:
    """Return the zoo entry of a parsed ``config.json``.

    Args:
        id: zoo id to give it, e.g. ``"my-model"``.
        name: name to show; the id by default.

    Raises:
        ConfigError: a field is missing or the architecture is not known; says which.
    """
    if not isinstance(config, Mapping):
        raise ConfigError("config.json: expected an object")
    text = config.get("text_config")
    inner = {**config, **text} if isinstance(text, Mapping) else dict(config)
    type = str(inner.get("model_type", ""))
    if type not in _KNOWN:
        raise ConfigError(f"config.json: model_type {type!r} is not known; known are {', '.join(sorted(_KNOWN))}")
    if not re.fullmatch(r"[a-z0-9][a-z0-9.\-]*", id):
        raise ConfigError(f"id {id!r}: expected lower-case letters, digits, dots and dashes")
    c = Config(inner, type)
    entry: dict[str, Any] = {
        "kind": "models",
        "id": id,
        "name": name or id,
        "type": {"bert": "encoder", "whisper": "speech"}.get(type, "language"),
    }
    if type in _FAMILIES:
        return entry | _FAMILIES[type](c)
    shape = _shape(c, type)
    experts = _experts(c, type, shape["layers"])
    latent = _latent(c)
    if latent:
        shape |= {"attention": "mla", "kv_heads": None, "head_dim": None}
    if experts and not experts.get("dense_layers"):
        shape["ffn"] = None
    shape["norm_parameters"] = _small(c, type, shape, latent)
    total, active = _parameters(shape, experts, latent)
    entry["parameters"] = derived(total)
    if experts:
        entry["active_parameters"] = derived(active)
    for block, values in (("config", shape), ("moe", experts), ("mla", latent)):
        if values:
            entry[block] = {"source": SOURCE} | {k: v for k, v in values.items() if v is not None and v is not False}
    dtype = _stored(c)
    if dtype:
        entry["checkpoint"] = {"dtype": dtype}
    return entry


def _shape(c: Config, type: str) -> dict[str, Any]:
    layers = c.count("num_hidden_layers", "n_layer")
    d_model = c.count("hidden_size", "n_embd")
    heads = c.count("num_attention_heads", "n_head")
    kv_heads = c.count("num_key_value_heads", "num_kv_heads", default=heads)
    if type == "falcon" and c.first("multi_query") and not c.first("new_decoder_architecture"):
        kv_heads = 1
    shape: dict[str, Any] = {
        "layers": layers,
        "d_model": d_model,
        "heads": heads,
        "kv_heads": kv_heads,
        "head_dim": c.count("head_dim", default=d_model // heads),
        "ffn": c.count("intermediate_size", "n_inner", "ffn_hidden_size", default=4 * d_model),
        "vocab": c.count("vocab_size"),
        "max_context": c.first("max_position_embeddings", "n_positions"),
        "gated_ffn": type not in _PLAIN_MLP,
        "tied_embeddings": bool(
            c.first(
                "tie_word_embeddings", default=type in ("gpt2", "bert", "gemma2", "gemma3", "gemma3_text", "falcon")
            )
        ),
        "attention_bias": bool(c.first("attention_bias", default=type in _BIASED)),
        "qk_norm": type in ("qwen3", "qwen3_moe", "gemma3", "gemma3_text") or bool(c.first("use_qk_norm")),
    }
    window = c.first("sliding_window")
    windowed = _windowed_layers(c, type, layers)
    if window and windowed:
        shape |= {"window": window, "window_layers": windowed, "full_layers": layers - windowed}
    return shape


def _windowed_layers(c: Config, type: str, layers: int) -> int:
    kinds = c.first("layer_types")
    if isinstance(kinds, list):
        return sum(kind == "sliding_attention" for kind in kinds)
    if type in ("qwen2", "qwen3", "qwen2_moe", "qwen3_moe") and not c.first("use_sliding_window"):
        return 0
    if type in ("mistral", "mixtral"):
        return layers
    if type in ("gemma2", "gpt_oss"):
        return layers - layers // 2
    if type in ("gemma3", "gemma3_text"):
        return layers - layers // c.count("sliding_window_pattern", default=6)
    return 0


def _experts(c: Config, type: str, layers: int) -> dict[str, int]:
    number = c.first("num_local_experts", "n_routed_experts", "num_experts")
    if not number:
        return {}
    ffn = c.count("moe_intermediate_size", "intermediate_size")
    dense = c.count("first_k_dense_replace", default=0)
    found = {
        "experts": c.count("num_local_experts", "n_routed_experts", "num_experts"),
        "experts_per_token": c.count("num_experts_per_tok", "experts_per_token"),
        "ffn": ffn,
        "layers": layers - dense,
    }
    shared = c.first("n_shared_experts")
    if shared:
        found |= {"shared_experts": shared, "shared_ffn": shared * ffn}
    elif c.first("shared_expert_intermediate_size"):
        found |= {"shared_experts": 1, "shared_ffn": c.count("shared_expert_intermediate_size")}
    if dense:
        found["dense_layers"] = dense
    return found


def _latent(c: Config) -> dict[str, int]:
    if not c.first("kv_lora_rank"):
        return {}
    found = {
        "kv_rank": c.count("kv_lora_rank"),
        "qk_nope": c.count("qk_nope_head_dim"),
        "qk_rope": c.count("qk_rope_head_dim"),
        "v_head": c.count("v_head_dim"),
    }
    return found | ({"q_rank": c.count("q_lora_rank")} if c.first("q_lora_rank") else {})


def _small(c: Config, type: str, s: Mapping[str, Any], latent: Mapping[str, int]) -> int:
    """Norms, and biases and positions where the architecture has them."""
    layers, d = s["layers"], s["d_model"]
    per_layer = 4 if type.startswith(("gemma2", "gemma3")) or type == "glm4" else 2
    small: int = (per_layer * layers + 1) * d
    if latent:
        latent_norms: int = layers * (latent.get("q_rank", 0) + latent["kv_rank"])
        return small + latent_norms
    if s["qk_norm"]:
        small += layers * 2 * s["head_dim"]
    qkv: int = (s["heads"] + 2 * s["kv_heads"]) * s["head_dim"]
    if s["attention_bias"] and type in ("qwen2", "qwen2_moe", "glm", "glm4", "glm4_moe"):
        small += layers * qkv
    elif s["attention_bias"] and type in ("llama", "mistral", "qwen3"):
        small += layers * (qkv + d)
    if type == "qwen2_moe":
        small += layers * d  # the gate of the shared expert
    if type == "phi":
        # One layer norm a layer, biases everywhere, the head's too.
        small = 2 * (layers + 1) * d + layers * (qkv + d + s["ffn"] + d) + s["vocab"]
    if type == "gpt2":
        small += (2 * layers + 1) * d + layers * (qkv + d + s["ffn"] + d) + c.count("n_positions", default=1024) * d
    if type == "gpt_oss":
        experts = c.count("num_local_experts")
        ffn = c.count("intermediate_size")
        small += layers * (qkv + d + s["heads"] + experts + experts * (2 * ffn + d))
    if type == "falcon":
        # Layer norms with biases: two a layer in the new architecture, one in the old.
        small = 2 * d * ((2 if c.first("new_decoder_architecture") else 1) * layers + 1)
    if type == "bert":
        small = (2 * (2 * layers + 1)) * d + layers * (qkv + d + s["ffn"] + d)
        small += (c.count("max_position_embeddings", default=512) + c.count("type_vocab_size", default=2)) * d
        small += d * d + d
    return small


def _parameters(s: Mapping[str, Any], experts: Mapping[str, int], latent: Mapping[str, int]) -> tuple[int, int]:
    layers, d = s["layers"], s["d_model"]
    matrices = 3 if s["gated_ffn"] else 2
    if latent:
        q_in = latent.get("q_rank", d)
        attention = d * (latent.get("q_rank", 0) + latent["kv_rank"] + latent["qk_rope"]) + s["heads"] * (
            q_in * (latent["qk_nope"] + latent["qk_rope"])
            + latent["kv_rank"] * (latent["qk_nope"] + latent["v_head"])
            + latent["v_head"] * d
        )
    else:
        attention = d * (2 * s["heads"] + 2 * s["kv_heads"]) * s["head_dim"]
    total = layers * attention + s["vocab"] * d * (1 if s["tied_embeddings"] else 2) + s["norm_parameters"]
    if not experts:
        total += layers * matrices * d * s["ffn"]
        return total, total
    one = matrices * d * experts["ffn"]
    total += experts["layers"] * (experts["experts"] * (one + d) + matrices * d * experts.get("shared_ffn", 0))
    total += experts.get("dense_layers", 0) * matrices * d * (s["ffn"] or 0)
    return total, total - experts["layers"] * (experts["experts"] - experts["experts_per_token"]) * one


def _stored(c: Config) -> str:
    quantization = c.first("quantization_config")
    if not isinstance(quantization, Mapping):
        return ""
    method = str(quantization.get("quant_method", ""))
    if method in ("fp8", "mxfp4"):
        return method
    bits = quantization.get("bits")
    return "int4" if bits == 4 else "int8" if bits == 8 else ""


def entry_yaml(entry: Mapping[str, Any]) -> str:
    """Return an entry as YAML for a user zoo."""
    import yaml

    return str(yaml.safe_dump(dict(entry), sort_keys=False, allow_unicode=True))
