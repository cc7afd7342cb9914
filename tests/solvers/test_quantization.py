"""Quantization: bytes by hand, the regimes, where gains end, published findings, chips without the unit."""

import json

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mlwalls.server.verification import verify
from mlwalls.solvers.errors import CallError

EIGHT_B = {"model": "llama-3.1-8b", "hardware": "a100-sxm-80gb"}


def test_floors_by_hand(ask):
    # Llama-3.1-8B: 8,030,261,248 parameters less the 128,256 x 4,096 embedding; head and norms at 2 byte, the rest at
    # 4.25 bit = 0.53125 byte; KV 131,072 byte a token; A100 2.039 TB/s.
    head, norms = 128256 * 4096, 266240
    layers = 8_030_261_248 - 2 * head - norms
    cache = 2048 * 131072
    result = ask("quantization", **EIGHT_B, scheme="w4a16")["result"]
    quantized = layers * 0.53125 + 2 * (head + norms) + cache
    assert result["floor_ms"] == pytest.approx(quantized / 2.039e12 * 1e3, rel=1e-5)
    assert result["base_floor_ms"] == pytest.approx((2 * (layers + head + norms) + cache) / 2.039e12 * 1e3, rel=1e-5)
    assert result["floor_speedup"] == pytest.approx((2 * (layers + head + norms) + cache) / quantized, rel=1e-5)
    assert result["bits_per_weight"] == 4.25
    # Resident: the embedding too.
    assert result["weights_gb"] == pytest.approx((layers * 0.53125 + norms * 0.53125 + 4 * head) / 1e9, rel=1e-4)
    assert result["base_weights_gb"] == pytest.approx(16.0605, rel=1e-4)


def test_the_bit_ratio_is_not_the_speedup(ask):
    answer = ask("quantization", **EIGHT_B, scheme="w4a16")
    assert answer["result"]["speedup"] < 16 / 4.25
    assert answer["binding_wall"]["slug"] == "memory_bandwidth"


def test_eight_bit_cache_halves_the_cache_alone(ask):
    long = {**EIGHT_B, "seq_len": 131072, "batch_size": 4}
    result = ask("quantization", **long, scheme="kv_only", kv_dtype="fp8")["result"]
    weights = 2 * (8_030_261_248 - 128256 * 4096)
    cache = 4 * 131072 * 131072
    assert result["floor_speedup"] == pytest.approx((weights + cache) / (weights + cache / 2), rel=1e-5)


@pytest.mark.parametrize("scheme", ["w4a16", "w8a16"])
def test_weight_only_ends_at_one_where_compute_binds(ask, scheme):
    result = ask("quantization", model="llama-3.1-8b", hardware="h100", scheme=scheme, batch_size=65536, seq_len=1)[
        "result"
    ]
    assert result["floor_speedup"] == pytest.approx(1, abs=1e-6)
    assert result["speedup"] == pytest.approx(1, abs=0.02)


def test_quantized_activations_keep_a_gain_where_compute_binds(ask):
    result = ask("quantization", model="llama-3.1-8b", hardware="h100", scheme="w8a8_fp8", batch_size=8192, seq_len=1)[
        "result"
    ]
    # Twice the peak for all but the 16-bit head (7 % of the parameters used) and attention.
    assert 1.8 < result["floor_speedup"] < 2


def test_four_bit_weights_win_alone_and_eight_bit_everything_wins_in_batches(ask):
    # Kurtic et al. 2024: W4A16 is best for one request at a time, W8A8 for large continuous batches.
    def gain(scheme, batch):
        case = {"model": "llama-3.1-8b", "hardware": "h100", "seq_len": 256, "batch_size": batch}
        return ask("quantization", **case, scheme=scheme)["result"]["speedup"]

    assert gain("w4a16", 1) > gain("w8a8_fp8", 1)
    assert gain("w4a16", 512) < gain("w8a8_fp8", 512)


@pytest.mark.parametrize(
    "case",
    [
        {"model": "llama-3.1-70b", "hardware": "h100", "n_accelerators": 4, "scheme": "w4a16", "seq_len": 512},
        {"model": "mixtral-8x7b", "hardware": "h100", "n_accelerators": 2, "scheme": "w4a16"},
        {"model": "llama-3.1-8b", "hardware": "a100", "scheme": "w4a4_int4"},
    ],
)
def test_the_gain_ends_where_it_says(ask, case):
    result = ask("quantization", **case)["result"]
    for name, factor in (("last_batch_2x", 2), ("last_batch_1_1x", 1.1)):
        if name not in result or result[name] >= 65536:
            continue
        at, after = (ask("quantization", **case, batch_size=result[name] + i)["result"]["speedup"] for i in (0, 1))
        assert at >= factor * (1 - 1e-6) and after <= factor * (1 + 1e-6)


def test_accuracy_is_the_nearest_published_one(ask):
    # The model card of Llama-3.1-70B-Instruct with INT4 weights: 99.4 % of the OpenLLM v1 score.
    answer = ask("quantization", model="llama-3.1-70b", hardware="h200", scheme="w4a16")
    assert answer["result"]["accuracy_lost_percent"] == pytest.approx(0.6)
    assert "Llama-3.1-70B-Instruct" in answer["verdict"]
    unknown = ask("quantization", model="llama-3.1-8b", hardware="b200", scheme="w4a4_nvfp4")
    assert "accuracy_lost_percent" not in unknown["result"]
    assert any("no published score" in warning for warning in unknown["warnings"])


def test_what_does_not_fit_even_quantized_is_infeasible(ask):
    answer = ask("quantization", model="llama-3.1-405b", hardware="h100", scheme="w4a16")
    assert answer["feasible"] is False
    assert answer["verdict"].startswith("Does not fit even so")


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"scheme": "w4a4_int4"}, "scheme"),
        ({"scheme": "w8a8_fp8", "hardware": "a100"}, "scheme"),
        ({"scheme": "kv_only"}, "kv_dtype"),
        ({"scheme": "w4a16", "model": "resnet-50"}, "model"),
        ({"scheme": "w4a16", "model": "mamba-2.8b", "kv_dtype": "fp8"}, "kv_dtype"),
        ({"scheme": "w4a16", "n_accelerators": 5}, "n_accelerators"),
    ],
)
def test_what_cannot_run_says_what_can(ask, arguments, named):
    call = {"model": "llama-3.1-8b", "hardware": "h100", **arguments}
    with pytest.raises(CallError) as error:
        ask("quantization", **call)
    assert error.value.argument == named
    assert ask("quantization", **{**call, **error.value.repair})["result"]["speedup"] > 0


def test_a_range_is_what_two_formats_do_not_share_up_to_what_bytes_allow(ask):
    # Pairs of measured rows a halving apart: 0.161. 8 bit is one halving from 16, 4 bit two: exp(0.161), exp(0.161 sqrt 2).
    eight = ask("quantization", model="llama-3.1-8b", hardware="h100", scheme="w8a16")["result"]
    assert eight["speedup_low"] == pytest.approx(eight["speedup"] / 1.1747, rel=1e-3)
    four = ask("quantization", model="llama-3.1-8b", hardware="h100", scheme="w4a16")["result"]
    assert four["speedup_low"] == pytest.approx(four["speedup"] / 1.2557, rel=1e-3)
    assert four["speedup_high"] == pytest.approx(four["speedup"] * 1.2557, rel=1e-3)
    # On chips beyond the calibration the range is twice as wide, but fewer bytes gain no more than there are fewer.
    for model, chip in (("mixtral-8x7b", "l40s"), ("qwen3-32b", "rtx-4090")):
        wide = ask("quantization", model=model, hardware=chip, n_accelerators=2, scheme="w4a16")["result"]
        assert (
            wide["speedup_high"] == pytest.approx(wide["floor_speedup"], rel=1e-5) and wide["speedup_high"] < 16 / 4.25
        )


def test_a_checkpoint_that_ships_quantized_is_the_baseline(ask):
    # gpt-oss-120b: 116,829,156,672 parameters, of which 36 layers x 128 experts x 3 matrices of 2,880 x 2,880 in MXFP4 at
    # 4.25 bit = 0.53125 byte, the rest at 2.
    routed = 36 * 128 * 3 * 2880 * 2880
    ships = (2 * (116_829_156_672 - routed) + 0.53125 * routed) / 1e9
    answer = ask("quantization", model="gpt-oss-120b", hardware="h100", scheme="w4a16")
    assert answer["result"]["base_weights_gb"] == pytest.approx(ships, rel=1e-5)
    assert "as it ships in MXFP4" in answer["verdict"] and "OpenLLM" not in answer["verdict"]
    # DeepSeek-V3 in FP8, embedding and head at 2 byte, over 8 ranks; INT4 for all but those two.
    tables = 2 * 129280 * 7168
    answer = ask("quantization", model="deepseek-v3", hardware="h200", n_accelerators=8, scheme="w4a16")
    before, after = (width * (671_026_404_352 - tables) + 2 * tables for width in (1, 0.53125))
    assert answer["result"]["base_weights_gb"] == pytest.approx(before / 8e9, rel=1e-5)
    assert answer["result"]["weights_gb"] == pytest.approx(after / 8e9, rel=1e-5)
    assert verify(json.loads(json.dumps(answer))).ok


def test_asking_for_what_a_checkpoint_ships_as_gains_nothing(ask):
    answer = ask("quantization", model="deepseek-v3", hardware="h200", n_accelerators=8, scheme="w8a8_fp8")
    assert answer["verdict"].startswith("Nothing to gain: DeepSeek-V3 ships in FP8")
    result = answer["result"]
    assert result["speedup"] == result["speedup_low"] == result["speedup_high"] == 1
    assert result["base_expected_ms"] == result["expected_ms"]


def test_a_cache_alone_leaves_the_weights_that_ship(ask):
    answer = ask(
        "quantization", model="deepseek-v3", hardware="h200", n_accelerators=8, scheme="kv_only", kv_dtype="fp8"
    )
    assert answer["result"]["weights_gb"] == answer["result"]["base_weights_gb"]
    assert "instead of 84" not in answer["verdict"]


def test_published_accuracy_is_of_the_class_asked(ask):
    # 32 billion are half of 70 and four times 8; a mixture is no dense model.
    for model, scheme in (("qwen3-32b", "w4a16"), ("mixtral-8x7b", "w4a16"), ("deepseek-v3", "w4a16")):
        answer = ask("quantization", model=model, hardware="h200", n_accelerators=8, scheme=scheme)
        assert "accuracy_lost_percent" not in answer["result"]
        assert any("no published score" in w for w in answer["warnings"])


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(
        ["llama-3.1-8b", "llama-3.1-70b", "mixtral-8x7b", "deepseek-v3", "gemma-2-9b", "mamba-2.8b", "gpt-oss-20b"]
    ),
    st.sampled_from(["h100", "b200", "a100", "mi300x", "l4"]),
    st.sampled_from(["w4a16", "w8a16", "w8a8_int8"]),
    st.integers(1, 4096),
    st.sampled_from([1, 512, 8192]),
    st.sampled_from(["decode", "prefill"]),
)
@example(
    "mamba-2.8b", "h100", "w8a8_int8", 4096, 8192, "prefill"
)  # compute binds: 1978.9 / 989.4, a little more than 16 / 8
def test_properties(ask, zoo, model, hardware, scheme, batch, seq_len, phase):
    call = {
        "model": model,
        "hardware": hardware,
        "scheme": scheme,
        "batch_size": batch,
        "seq_len": seq_len,
        "phase": phase,
    }
    answer = ask("quantization", **call)
    result = answer["result"]
    bits = result["bits_per_weight"]
    # Bytes shrink by the bits; where compute binds, the units' published peaks say (rounded: 1978.9 over 989.4 on an H100).
    chip = zoo.resolve("hardware", hardware).entry
    units = chip.number("peak.int8").value / chip.number("peak.bf16").value if scheme == "w8a8_int8" else 1
    if model not in ("deepseek-v3", "gpt-oss-20b"):  # those ship at 8 and 4 bit
        assert 1 - 1e-6 <= result["floor_speedup"] <= max(16 / bits, units) * (1 + 1e-6)
        assert result["weights_gb"] < result["base_weights_gb"]
    assert result["speedup_low"] <= result["speedup"] <= result["speedup_high"]
    assert result["speedup_high"] <= max(16 / bits, units, 1) * (1 + 1e-5)
    report = verify(json.loads(json.dumps(answer)))
    assert report.ok, report.text()


def test_a_chip_without_a_16_bit_unit_has_nothing_to_compare_with(ask):
    with pytest.raises(CallError, match="no 16-bit unit") as caught:
        ask("quantization", model="llama-3.1-8b", hardware="nvidia-jetson-thor-t5000", scheme="w4a16")
    assert caught.value.argument == "hardware"


def test_what_is_not_modelled_is_warned_of(ask):
    call = {"model": "llama-3.1-8b", "hardware": "h100"}
    narrow = ask("quantization", **call, scheme="w4a16")["warnings"]
    assert any(w.startswith("dequantization not modelled") for w in narrow)
    # Sequences are those of an engine: nothing to warn of.
    assert not any("kv_capacity" in w for w in narrow)
    assert not any("dequantization" in w for w in ask("quantization", **call, scheme="w8a8_fp8")["warnings"])
