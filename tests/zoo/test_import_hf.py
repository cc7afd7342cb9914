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


GLM = {**LLAMA, "num_hidden_layers": 40, "num_key_value_heads": 2, "intermediate_size": 13696, "vocab_size": 151552}
GLM |= {"attention_bias": True, "head_dim": 128}
PUBLISHED |= {
    "qwen3-8b": (
        {
            **LLAMA,
            "model_type": "qwen3",
            "num_hidden_layers": 36,
            "head_dim": 128,
            "intermediate_size": 12288,
            "vocab_size": 151936,
        },
        8_190_735_360,
    ),
    "qwen1.5-moe-a2.7b": (
        {
            "model_type": "qwen2_moe",
            "num_hidden_layers": 24,
            "hidden_size": 2048,
            "num_attention_heads": 16,
            "num_key_value_heads": 16,
            "intermediate_size": 5632,
            "moe_intermediate_size": 1408,
            "shared_expert_intermediate_size": 5632,
            "num_experts": 60,
            "num_experts_per_tok": 4,
            "vocab_size": 151936,
        },
        14_315_784_192,
    ),
    "deepseek-v2": (
        {
            **DEEPSEEK,
            "model_type": "deepseek_v2",
            "num_hidden_layers": 60,
            "hidden_size": 5120,
            "intermediate_size": 12288,
            "moe_intermediate_size": 1536,
            "vocab_size": 102400,
            "n_routed_experts": 160,
            "num_experts_per_tok": 6,
            "n_shared_experts": 2,
            "first_k_dense_replace": 1,
        },
        235_741_434_880,
    ),
    "gemma-3-27b": (
        {
            "model_type": "gemma3",
            "text_config": {
                "model_type": "gemma3_text",
                "num_hidden_layers": 62,
                "hidden_size": 5376,
                "num_attention_heads": 32,
                "num_key_value_heads": 16,
                "head_dim": 128,
                "intermediate_size": 21504,
                "vocab_size": 262208,
                "sliding_window": 1024,
                "sliding_window_pattern": 6,
            },
        },
        27_009_346_304,
    ),
    "phi-2": (
        {
            "model_type": "phi",
            "num_hidden_layers": 32,
            "hidden_size": 2560,
            "num_attention_heads": 32,
            "intermediate_size": 10240,
            "vocab_size": 51200,
        },
        2_779_683_840,
    ),
    "phi-4": (
        {
            **LLAMA,
            "model_type": "phi3",
            "num_hidden_layers": 40,
            "hidden_size": 5120,
            "num_attention_heads": 40,
            "num_key_value_heads": 10,
            "intermediate_size": 17920,
            "vocab_size": 100352,
        },
        14_659_507_200,
    ),
    "glm-4-9b": ({**GLM, "model_type": "glm"}, 9_399_951_360),
    "glm-4-9b-0414": ({**GLM, "model_type": "glm4"}, 9_400_279_040),
    "glm-4.5": (
        {
            **GLM,
            "model_type": "glm4_moe",
            "num_hidden_layers": 92,
            "hidden_size": 5120,
            "num_attention_heads": 96,
            "num_key_value_heads": 8,
            "intermediate_size": 12288,
            "moe_intermediate_size": 1536,
            "n_routed_experts": 160,
            "n_shared_experts": 1,
            "num_experts_per_tok": 8,
            "first_k_dense_replace": 3,
            "use_qk_norm": True,
        },
        352_797_814_784,
    ),
    "bert-base": (
        {"model_type": "bert", "num_hidden_layers": 12, "hidden_size": 768, "num_attention_heads": 12}
        | {"intermediate_size": 3072, "vocab_size": 30522, "max_position_embeddings": 512, "type_vocab_size": 2},
        109_482_240,
    ),
    "jamba-v0.1": (
        {
            "model_type": "jamba",
            "num_hidden_layers": 32,
            "hidden_size": 4096,
            "intermediate_size": 14336,
            "num_attention_heads": 32,
            "vocab_size": 65536,
        },
        51_570_323_328,
    ),
    "jamba-1.5-large": (
        {
            "model_type": "jamba",
            "num_hidden_layers": 72,
            "hidden_size": 8192,
            "intermediate_size": 24576,
            "num_attention_heads": 64,
            "vocab_size": 65536,
            "mamba_dt_rank": 512,
        },
        398_555_145_696,
    ),
}
WHISPER = {"tiny": (384, 4), "base": (512, 6), "small": (768, 12), "medium": (1024, 24), "large-v3": (1280, 32)}
PUBLISHED |= {
    f"whisper-{name}": (
        {
            "model_type": "whisper",
            "d_model": d,
            "encoder_layers": layers,
            "decoder_layers": layers,
            "encoder_ffn_dim": 4 * d,
            "decoder_ffn_dim": 4 * d,
            "num_mel_bins": 128 if name == "large-v3" else 80,
            "vocab_size": 51866 if name == "large-v3" else 51865,
        },
        None,
    )
    for name, (d, layers) in WHISPER.items()
}


@pytest.mark.parametrize("id", PUBLISHED)
def test_counts_are_the_published_ones(id):
    config, parameters = PUBLISHED[id]
    known = Zoo.builtin().get("models", id).number("parameters").value if parameters is None else parameters
    assert import_hf(config, id)["parameters"]["value"] == known


def test_whispers_sample_is_the_built_in_one(zoo):
    entry = import_hf(PUBLISHED["whisper-small"][0], "mine")
    for name in ("flops", "activation_elements"):
        assert entry["sample"][name]["value"] == zoo.get("models", "whisper-small").number(f"sample.{name}").value
    # Its encoder alone, by hand: 12 layers of 12 d² over 1,500 frames, their attention, two convolutions.
    d, frames = 768, 1500
    encoder = 12 * (12 * d * d * frames + 2 * frames * frames * d) + frames * (2 * 3 * 80 * d + 3 * d * d)
    assert 2 * encoder < entry["sample"]["flops"]["value"] < 2 * 2 * encoder


def test_a_distilled_whisper_is_refused_with_a_reason():
    with pytest.raises(ConfigError, match="differ in depth"):
        import_hf({**PUBLISHED["whisper-tiny"][0], "decoder_layers": 2}, "mine")


SAME = "llama-3.1-8b mixtral-8x7b deepseek-v3 gpt-oss-120b gemma-2-2b mistral-7b jamba-v0.1 glm-4.5 qwen3-8b gemma-3-27b phi-4"


@pytest.mark.parametrize("id", [*SAME.split(), "mamba-130m"])
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
    "config",
    [{}, {"model_type": "nonsense"}, {"model_type": "jamba"}, {"model_type": "whisper"}, {"model_type": "t5"}, []],
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
