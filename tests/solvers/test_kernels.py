"""Custom kernels against the best measured matmul, image models against MLPerf's ResNet-50."""

import pytest

from mlwalls.server.verification import verify

H100, A100 = "nvidia-h100-sxm-80gb", "nvidia-a100-sxm-80gb"

# MLPerf Inference, closed division, NVIDIA, ResNet-50 (int8), offline: samples a second of one accelerator
# (closed/NVIDIA/results/*/resnet50/Offline/performance/run_1/mlperf_log_summary.txt); the H200 is an eighth of eight.
OFFLINE = [
    ("v4.1", "nvidia-h200-sxm-141gb", 756_960 / 8),
    ("v4.0", H100, 88_714.3),
    ("v3.1", "nvidia-h100-pcie-80gb", 54_851.4),
    ("v3.0", A100, 42_379.3),
    ("v3.0", "nvidia-a100-pcie-80gb", 39_152.4),
    ("v3.1", "nvidia-l4", 12_881.7),
    ("v2.0", "nvidia-a30", 18_072.9),
    ("v1.1", "nvidia-a10", 13_805.2),
    ("v0.7", "nvidia-t4", 6_035.57),
]
# ResNet-50 training, images a second of one accelerator: MLPerf Training v3.0 (DGX H100, 56,080 of eight in the last epochs),
# v2.0 (DGX A100, 25,255 to 27,198 of eight), NVIDIA DeepLearningExamples (PyTorch, mixed precision: one A100, and eight).
TRAINED = [(H100, 56_080 / 8), (A100, 26_200 / 8), (A100, 2_470), (A100, 16_621 / 8)]


def rates(ask, **arguments):
    """Return the images a second at the high, the expected and the low time."""
    answer = ask("roofline", model="resnet-50", batch_sizes=[256], **arguments)
    assert verify(answer).ok
    result = answer["result"]
    return [256e3 / result[key] for key in ("high_ms", "expected_ms", "low_ms")]


def test_the_best_measured_matmul_lies_in_a_kernels_range(ask):
    # 8192^3 in bf16: 2 x 8192^3 FLOP at 794.5 TFLOP/s, the best shape measured on the chip, take 1.384 ms.
    flops, traffic = 2 * 8192**3, 3 * 8192**2 * 2
    answer = ask("roofline", hardware=H100, flops=flops, bytes=traffic)
    result = answer["result"]
    assert verify(answer).ok
    assert result["low_ms"] == pytest.approx(flops / 794.5e12 * 1e3, rel=1e-5)
    assert result["floor_ms"] < result["low_ms"] < result["expected_ms"] < result["high_ms"]
    assert "(1.38 ms, the best measured matmul's, to " in answer["verdict"]


def test_other_formats_take_the_matmuls_share_of_their_own_peak(ask):
    # 794.5 of 989.4 in bf16, so at best 1.246 times the floor of the fp8 peak as well.
    result = ask("roofline", hardware=H100, flops=1e15, bytes=1e6, compute_dtype="fp8")["result"]
    assert result["low_ms"] == pytest.approx(result["floor_ms"] * 989.4 / 794.5, rel=1e-5)


def test_a_kernel_of_bytes_is_bounded_by_the_memory(ask):
    # No arithmetic to speak of: 4 GB at 95 % of 3.35 TB/s.
    answer = ask("roofline", hardware=H100, flops=1e6, bytes=4e9)
    assert answer["result"]["low_ms"] == pytest.approx(4e9 / (0.95 * 3.35e12) * 1e3, rel=1e-5)
    assert "matmul" not in answer["verdict"]


def test_a_chip_without_a_measured_matmul(ask):
    # The L4's 121 TFLOP/s at the assumed 80 %.
    answer = ask("roofline", hardware="nvidia-l4", flops=1e12, bytes=1e6)
    assert answer["result"]["low_ms"] == pytest.approx(1e12 / (0.8 * 121e12) * 1e3, rel=1e-5)


def test_compared_kernels_range_over_both_chips(ask):
    # Both bound by arithmetic: at best 794.5 against 20 % of 312 TFLOP/s, at worst 20 % of 989.4 against 271.2.
    result = ask("roofline", hardware=H100, baseline_hardware=A100, flops=1e15, bytes=1e3)["result"]
    assert result["speedup_high"] == pytest.approx(794.5 / (0.2 * 312), rel=1e-3)
    assert result["speedup_low"] == pytest.approx(0.2 * 989.4 / 271.2, rel=1e-3)


@pytest.mark.parametrize(("release", "chip", "measured"), OFFLINE)
def test_offline_inference_lies_in_range(ask, release, chip, measured):
    low, expected, high = rates(ask, hardware=chip, weight_dtype="int8")
    assert low < measured < high
    # Best tuned software on a batch of thousands: as fast as expected or faster, within a factor of two.
    assert 0.95 < measured / expected < 2


@pytest.mark.parametrize(("chip", "measured"), TRAINED)
def test_training_lies_in_range(ask, chip, measured):
    low, expected, high = rates(ask, hardware=chip, phase="training")
    assert low < measured < high
    assert abs(measured / expected - 1) < 0.3


def test_groups_are_compared_with_groups(ask):
    call = {"model": "llama-3.1-70b", "hardware": "amd-mi300x", "baseline_hardware": H100}
    assert "on 2 x AMD Instinct MI300X instead of" in (pair := ask("roofline", **call, n_accelerators=2)["verdict"])
    assert "on 2 x NVIDIA H100 SXM5 80GB" in pair
    single = ask("roofline", **{**call, "model": "llama-3.1-8b"})["verdict"]
    assert " x NVIDIA" not in single and "on NVIDIA H100 SXM5 80GB" in single
