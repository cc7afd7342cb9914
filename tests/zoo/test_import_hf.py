"""Hugging Face configurations become entries whose counts are the published ones."""

import json

import pytest

from mlwalls.zoo import Zoo, ZooError
from mlwalls.zoo.import_hf import ConfigError, entry_yaml, import_hf

LLAMA = {
    "model_type": "llama",
    "num_hidden_layers": 32,
    "hidden_size": 4096,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "intermediate_size": 14336,
    "vocab_size": 128256,
    "max_position_embeddings": 131072,
    "tie_word_embeddings": False,
}
DEEPSEEK = {
    "model_type": "deepseek_v3",
    "num_hidden_layers": 61,
    "hidden_size": 7168,
    "num_attention_heads": 128,
    "num_key_value_heads": 128,
    "intermediate_size": 18432,
    "moe_intermediate_size": 2048,
    "vocab_size": 129280,
    "n_routed_experts": 256,
    "num_experts_per_tok": 8,
    "n_shared_experts": 1,
    "first_k_dense_replace": 3,
    "q_lora_rank": 1536,
    "kv_lora_rank": 512,
    "qk_nope_head_dim": 128,
    "qk_rope_head_dim": 64,
    "v_head_dim": 128,
    "tie_word_embeddings": False,
    "quantization_config": {"quant_method": "fp8"},
}
# (configuration, parameters as Transformers sums them over the model)
PUBLISHED = {
    "llama-3.1-8b": (LLAMA, 8_030_261_248),
    "llama-3.2-1b": (
        {**LLAMA, "num_hidden_layers": 16, "hidden_size": 2048, "intermediate_size": 8192, "tie_word_embeddings": True},
        1_235_814_400,
    ),
    "mistral-7b": ({**LLAMA, "model_type": "mistral", "vocab_size": 32000, "sliding_window": 4096}, 7_241_732_096),
    "mixtral-8x7b": (
        {**LLAMA, "model_type": "mixtral", "vocab_size": 32000, "num_local_experts": 8, "num_experts_per_tok": 2},
        46_702_792_704,
    ),
    "qwen2.5-7b": (
        {
            **LLAMA,
            "model_type": "qwen2",
            "num_hidden_layers": 28,
            "hidden_size": 3584,
            "num_attention_heads": 28,
            "num_key_value_heads": 4,
            "intermediate_size": 18944,
            "vocab_size": 152064,
        },
        7_615_616_512,
    ),
    "qwen3-30b-a3b": (
        {
            **LLAMA,
            "model_type": "qwen3_moe",
            "num_hidden_layers": 48,
            "hidden_size": 2048,
            "num_key_value_heads": 4,
            "head_dim": 128,
            "intermediate_size": 6144,
            "moe_intermediate_size": 768,
            "vocab_size": 151936,
            "num_experts": 128,
            "num_experts_per_tok": 8,
        },
        30_532_122_624,
    ),
    "deepseek-v3": (DEEPSEEK, 671_026_404_352),
    "gpt-oss-120b": (
        {
            "model_type": "gpt_oss",
            "num_hidden_layers": 36,
            "hidden_size": 2880,
            "num_attention_heads": 64,
            "num_key_value_heads": 8,
            "head_dim": 64,
            "intermediate_size": 2880,
            "vocab_size": 201088,
            "num_local_experts": 128,
            "num_experts_per_tok": 4,
            "sliding_window": 128,
            "tie_word_embeddings": False,
            "quantization_config": {"quant_method": "mxfp4"},
        },
        116_829_156_672,
    ),
    "gpt2": (
        {"model_type": "gpt2", "n_layer": 12, "n_embd": 768, "n_head": 12, "vocab_size": 50257, "n_positions": 1024},
        124_439_808,
    ),
    "gemma-2-2b": (
        {
            "model_type": "gemma2",
            "num_hidden_layers": 26,
            "hidden_size": 2304,
            "num_attention_heads": 8,
            "num_key_value_heads": 4,
            "head_dim": 256,
            "intermediate_size": 9216,
            "vocab_size": 256000,
            "sliding_window": 4096,
        },
        2_614_341_888,
    ),
    "falcon-7b": (
        {
            "model_type": "falcon",
            "num_hidden_layers": 32,
            "hidden_size": 4544,
            "num_attention_heads": 71,
            "multi_query": True,
            "vocab_size": 65024,
        },
        6_921_720_704,
    ),
    "mamba-130m": (
        {"model_type": "mamba", "num_hidden_layers": 24, "hidden_size": 768, "vocab_size": 50280},
        129_135_360,
    ),
}


@pytest.mark.parametrize("id", PUBLISHED)
def test_counts_are_the_published_ones(id):
    config, parameters = PUBLISHED[id]
    assert import_hf(config, id)["parameters"]["value"] == parameters


@pytest.mark.parametrize(
    "id", ["llama-3.1-8b", "mixtral-8x7b", "deepseek-v3", "gpt-oss-120b", "gemma-2-2b", "mistral-7b"]
)
def test_an_imported_entry_gives_the_built_in_answer(ask, id):
    from mlwalls.solvers.answers import answer_data
    from mlwalls.solvers.registry import solvers

    zoo = Zoo.builtin().with_inline(entry_yaml(import_hf(PUBLISHED[id][0], "mine")))
    solver = solvers()["roofline"]
    request = {"hardware": "b200", "batch_sizes": [4], "seq_len": 4096}
    mine = answer_data(solver.run(solver.request(model="mine", **request), zoo), zoo)
    built_in = ask("roofline", model=id, **request)
    for figure in ("floor_ms", "expected_ms", "weights_gb", "kv_cache_gb"):
        assert mine["result"][figure] == pytest.approx(built_in["result"][figure], rel=1e-5), figure


@pytest.mark.parametrize("field", ["num_hidden_layers", "hidden_size", "num_attention_heads", "vocab_size"])
def test_a_missing_field_is_named(field):
    with pytest.raises(ConfigError, match=f"{field} is missing"):
        import_hf({k: v for k, v in LLAMA.items() if k != field}, "mine")


@pytest.mark.parametrize(
    "config", [{}, {"model_type": "nonsense"}, {"model_type": "jamba"}, {"model_type": "whisper"}, []]
)
def test_other_architectures_are_refused_with_a_reason(config):
    with pytest.raises(ConfigError):
        import_hf(config, "mine")


def test_a_wrong_type_is_named():
    with pytest.raises(ConfigError, match="hidden_size is '4096'"):
        import_hf({**LLAMA, "hidden_size": "4096"}, "mine")


def test_the_command(tmp_path):
    from mlwalls.zoo.commands import import_text

    path = tmp_path / "config.json"
    path.write_text(json.dumps(LLAMA), encoding="utf-8")
    folder = tmp_path / "zoo"
    folder.mkdir()
    (folder / "mine.yaml").write_text(import_text(path, "mine"), encoding="utf-8")
    assert Zoo.layered([folder]).get("models", "mine").number("parameters").value == 8_030_261_248
    path.write_text("{", encoding="utf-8")
    with pytest.raises(ZooError, match="cannot be read"):
        import_text(path, "mine")
