"""Check values of the lowering and the roofline: hand arithmetic on published architectures and datasheets."""

import pytest

from mlwalls.server.verification import verify
from mlwalls.solvers.errors import CallError

H100 = "nvidia-h100-sxm-80gb"
A100 = "nvidia-a100-sxm-80gb"

# Llama-3.1-8B: 32 layers, d 4096, 32/8 heads of 128, ffn 14336, vocabulary 128256.
EMBEDDING = 128256 * 4096
MATMUL = 32 * (4096 * (32 + 2 * 8) * 128 + 4096 * 4096 + 3 * 4096 * 14336)
NORMS = (2 * 32 + 1) * 4096


def by_name(data, name):
    line = next(line for line in data["work"] if line.startswith(f"{name} = "))
    return float(line.split(" = ")[-1].split()[0])


def test_parameters_of_the_8b_add_up():
    assert MATMUL + 2 * EMBEDDING + NORMS == 8_030_261_248


def test_decode_streams_everything_but_the_untied_embedding(ask):
    answer = ask("roofline", model="llama-3.1-8b", hardware=H100, batch_sizes=[1], seq_len=2048)
    streamed = 2 * (MATMUL + EMBEDDING + NORMS)
    cache = 2048 * 2 * 32 * 8 * 128 * 2
    assert by_name(answer, "bytes_total") == pytest.approx(streamed + cache, rel=1e-5)
    assert answer["result"]["floor_ms"] == pytest.approx((streamed + cache) / 3.35e12 * 1e3, rel=1e-5)
    assert answer["result"]["floor_ms"] == pytest.approx(4.561, abs=5e-4)
    assert answer["binding_wall"]["slug"] == "memory_bandwidth"


def test_a100_to_h100_is_the_bandwidth_ratio_at_the_floor(ask):
    answer = ask("roofline", model="llama-3.1-8b", hardware=H100, baseline_hardware=A100)
    assert answer["result"]["base_floor_ms"] == pytest.approx(7.493, abs=5e-4)
    assert answer["result"]["floor_speedup"] == pytest.approx(3.35 / 2.039, rel=1e-5)
    assert answer["result"]["floor_speedup"] == pytest.approx(1.643, abs=5e-4)
    assert answer["result"]["flops_ratio"] == pytest.approx(989.4 / 312, rel=1e-5)
    assert 1 < answer["result"]["speedup"] < answer["result"]["flops_ratio"]


def test_prefill_does_become_the_flops_ratio(ask):
    answer = ask("roofline", model="llama-3.1-8b", hardware=H100, baseline_hardware=A100, phase="prefill")
    assert answer["result"]["floor_speedup"] == pytest.approx(989.4 / 312, rel=1e-5)
    assert answer["binding_wall"]["slug"] == "compute_throughput"


def test_prefill_flops_of_the_8b(ask):
    answer = ask("roofline", model="llama-3.1-8b", hardware=H100, phase="prefill", seq_len=2048)
    attention = 32 * 2 * (128 + 128) * 32 * (2048 * 2049 / 2)
    flops = 2 * 2048 * MATMUL + 2 * EMBEDDING + attention
    assert flops == pytest.approx(29.69e12, rel=2e-4)
    assert by_name(answer, "flops_total") == pytest.approx(flops, rel=1e-5)
    assert answer["result"]["floor_ms"] == pytest.approx(30.0, abs=0.05)


def test_70b_on_one_h100_says_infeasible_first(ask):
    answer = ask("roofline", model="llama-3.1-70b", hardware=H100)
    assert answer["feasible"] is False
    assert answer["verdict"].startswith("Does not fit")
    assert answer["binding_wall"]["slug"] == "memory_capacity"
    weights, cache, capacity = 2 * 70_553_706_496, 2048 * 327_680, 80 * 2**30
    assert answer["result"]["weights_gb"] == pytest.approx(141.107, abs=1e-3)
    assert answer["result"]["headroom_gb"] == pytest.approx((capacity - weights - cache) / 1e9, rel=1e-5)
    assert answer["result"]["floor_ms"] == pytest.approx(41.69, abs=5e-3)
    assert "n_accelerators=2" in answer["verdict"]


def test_what_is_said_to_fit_does(ask):
    assert ask("roofline", model="llama-3.1-70b", hardware=H100, n_accelerators=2)["feasible"]
    assert ask("roofline", model="llama-3.1-70b", hardware=H100, weight_dtype="fp8")["feasible"]


def test_a_tied_table_is_streamed_once_as_the_head(ask):
    answer = ask("roofline", model="llama-3.2-1b", hardware=H100, seq_len=1)
    # 1,235,814,400 parameters, embedding tied; one cached token: 16 layers x 2 x 8 heads x 64 x 2 bytes.
    assert by_name(answer, "bytes_total") == pytest.approx(2 * 1_235_814_400 + 16 * 2 * 8 * 64 * 2, rel=1e-5)


@pytest.mark.parametrize(("hardware", "ridge"), [(A100, 153.0), (H100, 295.3)])
def test_ridge_points(ask, hardware, ridge):
    answer = ask("roofline", model="llama-3.1-8b", hardware=hardware)
    assert answer["result"]["ridge_point_flop_per_byte"] == pytest.approx(ridge, abs=0.05)


def test_resnet_crosses_the_a100_ridge_at_batch_6_and_the_h100s_never(ask):
    # 8.178 GFLOP against 2 bytes x (25.557 M parameters + batch x 2 x 11.114 M activations).
    def intensity(batch):
        return batch * 8.178368512e9 / (2 * 25_557_032 + batch * 2 * 11_113_984 * 2)

    assert intensity(5) < 312e12 / 2.039e12 < intensity(6)
    assert intensity(1e9) < 989.4e12 / 3.35e12
    assert ask("roofline", model="resnet-50", hardware=A100)["result"]["crossover_batch"] == 6
    assert "crossover_batch" not in ask("roofline", model="resnet-50", hardware=H100)["result"]


def test_latent_attention_intensity_is_242_at_tp1_and_30_at_tp8():
    heads, rank, rope = 128, 512, 64
    flops, traffic = 2 * heads * (2 * rank + rope), (rank + rope) * 2
    assert flops / traffic == pytest.approx(242, abs=0.5)
    assert flops / 8 / traffic == pytest.approx(30, abs=0.5)


def test_latent_cache_is_whole_on_every_rank(ask):
    one = ask("roofline", model="deepseek-v3", hardware="nvidia-h200-sxm-141gb", seq_len=4096)
    eight = ask("roofline", model="deepseek-v3", hardware="nvidia-h200-sxm-141gb", seq_len=4096, n_accelerators=8)
    assert one["result"]["kv_cache_gb"] == pytest.approx(4096 * 70_272 / 1e9, rel=1e-5)
    assert eight["result"]["kv_cache_gb"] == pytest.approx(one["result"]["kv_cache_gb"])


def test_grouped_kv_heads_shard_up_to_their_number(ask):
    def cache(ranks):
        return ask("roofline", model="llama-3.1-8b", hardware=H100, n_accelerators=ranks)["result"]["kv_cache_gb"]

    # Result figures carry six digits.
    assert cache(8) == pytest.approx(cache(1) / 8, rel=1e-5)
    assert cache(32) == pytest.approx(cache(8), rel=1e-5)


def test_experts_read_are_those_touched(ask):
    answer = ask("roofline", model="mixtral-8x7b", hardware="nvidia-h200-sxm-141gb", batch_sizes=[3])
    assert by_name(answer, "hit") == pytest.approx(8 * (1 - (1 - 2 / 8) ** 3))


def test_native_gpt_oss_is_the_published_checkpoint(ask):
    # The model card prints a checkpoint of 60.8 GiB; engines that pad the experts hold 64 to 66.
    answer = ask("roofline", model="gpt-oss-120b", hardware=H100)
    assert answer["result"]["weights_gb"] * 1e9 / 2**30 == pytest.approx(60.8, abs=0.1)


def test_windowed_layers_read_no_more_than_their_window(ask):
    short = ask("roofline", model="gpt-oss-120b", hardware=H100, seq_len=4096)
    longer = ask("roofline", model="gpt-oss-120b", hardware=H100, seq_len=8192)
    per_token = 2 * 8 * 64 * 2
    grown = (longer["result"]["kv_cache_gb"] - short["result"]["kv_cache_gb"]) * 1e9
    assert grown == pytest.approx(4096 * per_token * 18, rel=1e-4)


def test_a_custom_kernel_by_flops_and_bytes(ask):
    answer = ask("roofline", hardware=H100, flops=1e12, bytes=4e9)
    assert answer["result"]["floor_ms"] == pytest.approx(max(1e12 / 989.4e12, 4e9 / 3.35e12) * 1e3, rel=1e-5)


def test_batch_lists_give_a_figure_each(ask):
    answer = ask("roofline", model="llama-3.1-8b", hardware=H100, batch_sizes=[1, 8, 64])
    single = [
        ask("roofline", model="llama-3.1-8b", hardware=H100, batch_sizes=[b])["result"]["expected_ms"]
        for b in (1, 8, 64)
    ]
    assert answer["result"]["expected_ms_list"] == pytest.approx(single, rel=1e-6)
    assert answer["result"]["expected_ms"] == pytest.approx(single[0])


def test_training_floor_is_three_forward_passes(ask):
    answer = ask("roofline", model="llama-3.1-8b", hardware=H100, phase="training", batch_sizes=[1], seq_len=4096)
    flops = 3 * (2 * 4096 * (MATMUL + EMBEDDING) + 32 * 2 * 256 * 32 * (4096 * 4097 / 2))
    assert answer["result"]["floor_ms"] == pytest.approx(flops / 989.4e12 * 1e3, rel=1e-5)
    assert answer["feasible"] is False


def test_a_request_is_its_prefill_and_its_steps(ask):
    whole = ask("roofline", model="llama-3.1-8b", hardware=H100, phase="inference", seq_len=1000, output_tokens=100)
    prefill = ask("roofline", model="llama-3.1-8b", hardware=H100, phase="prefill", seq_len=1000)
    step = ask("roofline", model="llama-3.1-8b", hardware=H100, seq_len=1050)
    together = prefill["result"]["expected_ms"] + 100 * step["result"]["expected_ms"]
    assert whole["result"]["expected_ms"] == pytest.approx(together, rel=1e-5)


def test_set_replaces_a_number_and_says_so(ask):
    answer = ask("roofline", model="llama-3.1-8b", hardware=H100, set=["bandwidth=1.675e12"])
    assert answer["result"]["floor_ms"] == pytest.approx(2 * 4.56068, rel=1e-5)
    assert any(line.startswith("you:") and "bandwidth=1.675e12" in line for line in answer["work"])


def test_a_format_without_a_unit_stores_but_does_not_compute(ask):
    answer = ask("roofline", model="llama-3.1-8b", hardware=A100, weight_dtype="fp8")
    assert any("no fp8 unit" in w for w in answer["warnings"])
    with pytest.raises(CallError, match="no fp8 unit"):
        ask("roofline", model="llama-3.1-8b", hardware=A100, compute_dtype="fp8")


@pytest.mark.parametrize(
    ("change", "argument"),
    [
        ({"hardware": "H10O"}, "hardware"),
        ({"model": "llama-3.1-80b"}, "model"),
        ({"n_accelerators": 3}, "n_accelerators"),
        ({"set": ["bandwith=1e12"]}, "set"),
        ({"set": ["bandwidth=-1"]}, "set"),
        ({"set": ["bandwidth=nan"]}, "set"),
        ({"set": ["bandwidth=1e-320"]}, "set"),
        ({"set": ["eta16=1.5"]}, "set"),
        ({"model": "resnet-50", "phase": "decode"}, "phase"),
    ],
)
def test_errors_carry_a_repair_that_works(ask, change, argument):
    arguments = {"model": "llama-3.1-8b", "hardware": H100, **change}
    with pytest.raises(CallError) as caught:
        ask("roofline", **arguments)
    assert caught.value.argument == argument
    assert caught.value.repair
    assert ask("roofline", **{**arguments, **caught.value.repair})["result"]["expected_ms"] > 0


def test_a_recommendation_model_reads_rows_not_tables(ask):
    # MLPerf's DLRM-v2: 16,044,545 dense weights once; a sample gathers 214 rows of 128 and writes and reads 18,945 elements.
    result = ask("roofline", model="dlrm-v2", hardware="h100", batch_sizes=[1024])["result"]
    traffic = 2 * 16_044_545 + 1024 * (2 * 214 * 128 + 2 * 2 * 18_945)
    assert result["memory_floor_ms"] == pytest.approx(traffic / 3.35e12 * 1e3, rel=1e-5)
    assert result["compute_floor_ms"] == pytest.approx(1024 * 2 * 16_030_464 / 989.4e12 * 1e3, rel=1e-5)


def test_a_hybrid_of_attention_state_space_and_experts_by_hand(ask):
    # Jamba v0.1: 4 attention and 28 state-space layers; 16 layers of a dense MLP, 16 of two experts out of 16.
    d, ffn, inner, rank, state = 4096, 14336, 8192, 256, 16
    attention = d * (32 + 8 + 8) * 128 + 32 * 128 * d
    mixer = (
        2 * d * inner + 5 * inner + inner * (rank + 2 * state) + (rank + 1) * inner + inner * (state + 1) + inner * d
    )
    mixer += rank + 2 * state
    mlp = 3 * d * ffn
    weights = 4 * attention + 28 * mixer + 16 * mlp + 16 * (2 * mlp + 16 * d) + 65536 * d + 65 * d
    cache = 4 * 2 * 2048 * 8 * 128 * 2 + 28 * 2 * inner * (state + 4) * 2
    result = ask("roofline", model="jamba-v0.1", hardware="h200", seq_len=2048)["result"]
    assert result["floor_ms"] == pytest.approx((2 * weights + cache) / 4.8e12 * 1e3, rel=1e-5)


def test_what_takes_most_of_the_time_is_said_before_what_binds_the_floor(ask):
    # Weights of 8.03e9 * 2 / 32 bytes at 3.35e12 byte/s are 0.15 ms; the layers' overhead is the rest of 2.5 ms.
    answer = ask("roofline", model="llama-3.1-8b", hardware=H100, n_accelerators=32)
    over = answer["result"]["overhead_ms"] if "overhead_ms" in answer["result"] else by_name(answer, "overhead") * 1e3
    share = over / answer["result"]["expected_ms"]
    assert share > 0.8
    assert f"per-layer overhead takes {100 * share:.3g} % of it, and memory bandwidth" in answer["verdict"]
    plain = ask("roofline", model="llama-3.1-8b", hardware=H100)
    assert "overhead" not in plain["verdict"]
    assert verify(answer).ok


def test_a_baseline_that_does_not_hold_the_model_is_said(ask):
    # 70.55e9 parameters * 2 bytes and 0.67 GB of cache against 85.9 GB: 55.9 GB short.
    answer = ask("roofline", model="llama-3.1-70b", hardware="mi300x", baseline_hardware=H100)
    assert answer["feasible"]
    assert "NVIDIA H100 SXM5 80GB does not hold it (55.9 GB an accelerator short)" in answer["verdict"]
    assert verify(answer).ok
    small = ask("roofline", model="llama-3.1-8b", hardware="mi300x", baseline_hardware=H100)
    assert "does not hold" not in small["verdict"]


@pytest.mark.parametrize("call", [{"model": "resnet-50"}, {"flops": 1e12, "bytes": 4e9}])
def test_work_without_a_calibration_says_so(ask, call):
    assert any(w.startswith("not calibrated") for w in ask("roofline", hardware=A100, **call)["warnings"])


def test_half_a_head_is_none(ask):
    with pytest.raises(CallError, match="heads must be a number finite and above 0, from 1 to 1e"):
        ask("roofline", model="llama-3.1-8b", hardware=H100, set=["heads=0.5"])
    with pytest.raises(CallError, match=r"bandwidth must be a number finite and above 0, from 1e-30 to 1e\+40"):
        ask("roofline", model="llama-3.1-8b", hardware=H100, set=["bandwidth=1e308"])


def test_a_model_with_a_kernels_flops_keeps_the_model(ask):
    call = {"model": "llama-3.1-8b", "hardware": H100, "flops": 1e12}
    with pytest.raises(CallError) as caught:
        ask("roofline", **call)
    assert "Llama-3.1-8B" in ask("roofline", **{**call, **caught.value.repair})["verdict"]


def test_a_comparison_of_mostly_overhead_says_so(ask):
    answer = ask("roofline", model="llama-3.1-8b", hardware="h200", baseline_hardware=A100, n_accelerators=8)
    share = by_name(answer, "overhead_share")
    assert share > 0.5
    assert f"per-layer overhead takes {100 * share:.3g} % of the time" in answer["verdict"]
    assert verify(answer).ok


def test_the_speedups_range_is_what_two_chips_do_not_share(ask):
    # Measured pairs of calibrated chips: 0.26. A chip beyond them (twice the spread 0.175) adds sqrt(2^2 - 1) of it:
    # sqrt(0.26^2 + 3 * 0.175^2) = 0.3993. exp: 1.2969 and 1.4908.
    call = {"model": "llama-3.1-8b", "hardware": "h200"}
    for baseline, factor in (("h100", 1.2969), ("a100", 1.4908)):
        result = ask("roofline", **call, baseline_hardware=baseline)["result"]
        assert result["speedup_high"] == pytest.approx(result["speedup"] * factor, rel=1e-3)
        assert result["speedup_low"] == pytest.approx(result["speedup"] / factor, rel=1e-3)
    # Mixtures: independent errors of 0.325 would give exp(0.46) = 1.58.
    mixture = {"model": "mixtral-8x7b", "hardware": "h200", "n_accelerators": 2, "baseline_hardware": "h100"}
    result = ask("roofline", **mixture)["result"]
    assert result["speedup_high"] == pytest.approx(result["speedup"] * 1.2969, rel=1e-3)
