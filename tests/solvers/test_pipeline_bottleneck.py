"""The input pipeline: published rates, stages by hand, what 95 % takes, overlap, properties, calls that lack something."""

import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlwalls.server.verification import verify
from mlwalls.solvers.errors import CallError

# 2,133 images a second from 16 workers.
LOADER = {"cpu_workers": 16, "cpu_samples_per_s": 2133 / 16}


def test_a_fast_accelerator_starves_on_a_slow_loader(ask):
    # ResNet-50 training is 3 x 8.178 GFLOP an image; an A100 at 42 % of 312 TFLOP/s takes 256 of them in 47.9 ms, a CPU path of
    # 2,133 images/s in 120 ms: busy 40 %.
    answer = ask("pipeline_bottleneck", model="resnet-50", hardware="a100", mfu_percent=42, **LOADER)
    result = answer["result"]
    assert result["step_ms"] == pytest.approx(256 / 2133 * 1e3, rel=1e-5)
    by_hand = 24_535_105_540 * 256 / (312e12 * 0.42)
    assert 256 / result["accelerator_rate_samples_per_s"] == pytest.approx(by_hand, rel=1e-4)
    assert result["utilization_percent"] == pytest.approx(100 * by_hand / (256 / 2133), rel=1e-4)
    assert answer["binding_wall"]["slug"] == "transformation"


def test_at_nvidias_own_measured_rate_it_does_not(ask):
    # NVIDIA DeepLearningExamples: 2,470 images/s on one A100, so the same loader keeps it 86 % busy.
    result = ask("pipeline_bottleneck", accelerator_samples_per_s=2470, **LOADER)["result"]
    assert result["utilization_percent"] == pytest.approx(86.4, abs=0.05)


def test_cores_for_an_eight_gpu_host(ask):
    # 16,621 images/s for 8 A100 (NVIDIA) at FFCV's measured 326 images/s and core: 51 cores for all of it, 49 for 95 %.
    call = {"accelerator_samples_per_s": 16621 / 8, "n_accelerators": 8, "cpu_samples_per_s": 326}
    result = ask("pipeline_bottleneck", **call, cpu_workers=51)["result"]
    assert result["utilization_percent"] == pytest.approx(100)
    assert result["workers_needed"] == math.ceil(0.95 * 16621 / 326) == 49


def test_shared_storage_cache_and_amplification_by_hand(ask):
    result = ask(
        "pipeline_bottleneck",
        accelerator_samples_per_s=2000,
        n_accelerators=8,
        sample_kb=100,
        storage_gb_per_s=20,
        hosts=16,
        cache_hit_percent=50,
        read_amplification=2,
    )["result"]
    # 20e9 / 16 hosts / (100e3 x 2 x 0.5) = 12,500 of 16,000 wanted; 95 % are 15,200.
    assert result["storage_rate_samples_per_s"] == 12500
    assert result["utilization_percent"] == pytest.approx(78.125)
    assert result["storage_needed_gb_per_s"] == pytest.approx(15200 * 16 * 100e3 / 1e9)
    assert result["cache_needed_percent"] == pytest.approx(100 * (1 - 0.5 * 12500 / 15200), rel=1e-5)


def test_needs_are_enough_and_no_more(ask):
    call = {"accelerator_samples_per_s": 5000, "n_accelerators": 4, "storage_gb_per_s": 0.5, "cpu_workers": 10}
    result = ask("pipeline_bottleneck", **call)["result"]
    enough = {
        **call,
        "storage_gb_per_s": result["storage_needed_gb_per_s"],
        "cpu_workers": result["workers_needed"],
    }
    assert ask("pipeline_bottleneck", **enough)["result"]["utilization_percent"] == pytest.approx(95, abs=1e-3)
    fewer = {**enough, "cpu_workers": result["workers_needed"] - 1}
    assert ask("pipeline_bottleneck", **fewer)["result"]["utilization_percent"] < 95
    cached = {**enough, "storage_gb_per_s": 0.5, "cache_hit_percent": result["cache_needed_percent"]}
    assert ask("pipeline_bottleneck", **cached)["result"]["utilization_percent"] == pytest.approx(95, abs=1e-3)


def test_the_next_bottleneck_is_what_binds_once_the_first_is_fixed(ask):
    call = {"accelerator_samples_per_s": 5000, "storage_gb_per_s": 0.2, "cpu_workers": 10}
    first = ask("pipeline_bottleneck", **call)["result"]
    fixed = ask("pipeline_bottleneck", **{**call, "storage_gb_per_s": 100})["result"]
    assert first["next_rate_samples_per_s"] == fixed["rate_samples_per_s"] == 2000


def test_without_prefetch_times_add(ask):
    call = {
        "accelerator_samples_per_s": 1000,
        "cpu_workers": 10,
        "cpu_samples_per_s": 100,
        "storage_gb_per_s": 0.1,
        "sample_kb": 100,
    }
    result = ask("pipeline_bottleneck", **call, prefetch=False)["result"]
    assert result["rate_samples_per_s"] == pytest.approx(1 / (3 / 1000), rel=1e-5)


def test_everything_cached_leaves_storage_out(ask):
    result = ask("pipeline_bottleneck", accelerator_samples_per_s=10, storage_gb_per_s=1e-3, cache_hit_percent=100)[
        "result"
    ]
    assert "storage_rate_samples_per_s" not in result
    assert result["utilization_percent"] == 100


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({}, "model"),
        ({"model": "resnet-50"}, "hardware"),
        ({"model": "llama-3.1-8b", "hardware": "a100"}, "accelerator_samples_per_s"),
        ({"accelerator_samples_per_s": 1, "storage": "nvme-read-latency"}, "storage"),
        ({"accelerator_samples_per_s": 1, "storage": "hdd-seq", "storage_gb_per_s": 1}, "storage"),
        ({"model": "resnet-5", "hardware": "a100"}, "model"),
    ],
)
def test_what_is_missing_is_named_and_repaired(ask, arguments, named):
    with pytest.raises(CallError) as error:
        ask("pipeline_bottleneck", **arguments)
    assert error.value.argument == named
    assert ask("pipeline_bottleneck", **{**arguments, **error.value.repair})["result"]["utilization_percent"] > 0


@settings(max_examples=60, deadline=None)
@given(
    st.floats(1, 1e5),
    st.integers(1, 16),
    st.integers(1, 128),
    st.floats(0.01, 100),
    st.floats(0, 99),
    st.floats(1, 50),
    st.booleans(),
)
def test_properties(ask, rate, count, workers, bandwidth, hit, amplification, prefetch):
    call = {
        "accelerator_samples_per_s": rate,
        "n_accelerators": count,
        "cpu_workers": workers,
        "storage_gb_per_s": bandwidth,
        "cache_hit_percent": hit,
        "read_amplification": amplification,
        "prefetch": prefetch,
    }
    answer = ask("pipeline_bottleneck", **call)
    report = verify(json.loads(json.dumps(answer)))
    assert report.ok, report.text()
    busy = answer["result"]["utilization_percent"]
    assert 0 < busy <= 100 + 1e-6
    for better in ({"cpu_workers": workers + 1}, {"storage_gb_per_s": 2 * bandwidth}, {"prefetch": True}):
        more = ask("pipeline_bottleneck", **{**call, **better})["result"]["utilization_percent"]
        assert more >= busy * (1 - 1e-6)


# ResNet-50 training, images a second of one accelerator: MLPerf Training v3.0 (DGX H100, 56,080 of eight) and v2.0 (DGX A100,
# 26,200 of eight), NVIDIA DeepLearningExamples (PyTorch, mixed precision: one A100, and 16,621 of eight).
@pytest.mark.parametrize(
    ("chip", "measured"), [("h100", 56_080 / 8), ("a100", 26_200 / 8), ("a100", 2_470), ("a100", 16_621 / 8)]
)
def test_an_assumed_rate_covers_published_training(ask, chip, measured):
    answer = ask("pipeline_bottleneck", model="resnet-50", hardware=chip)
    rate = answer["result"]["accelerator_rate_samples_per_s"]
    # Assumed: 19 % (15 to 27) of the peak.
    assert 15 / 19 < measured / rate < 27 / 19
    assert any("19 % (15 to 27)" in w for w in answer["warnings"])
    # roofline's own rate lies in the same range.
    told = ask("roofline", model="resnet-50", hardware=chip, phase="training", batch_sizes=[256])["result"]
    assert 15 / 19 < told["throughput_samples_per_s"] / rate < 27 / 19


@pytest.mark.parametrize(
    ("model", "phase", "percent"),
    [
        ("mobilenet-v2", "training", 6),
        ("efficientnet-b0", "training", 6),
        ("resnet-152", "training", 19),
        ("vit-b-16", "training", 35),
        ("resnet-50", "inference", 35),
    ],
)
def test_the_assumed_utilization_follows_the_kind_of_network(ask, model, phase, percent):
    answer = ask("pipeline_bottleneck", model=model, hardware="a100", phase=phase)
    assert any(w.startswith(f"mfu_percent not given: {percent} %") for w in answer["warnings"])
    if phase == "training" and percent < 35:
        told = ask("roofline", model=model, hardware="a100", phase=phase, batch_sizes=[256])["result"]
        assert told["mfu_percent"] == pytest.approx(percent, rel=0.5)
