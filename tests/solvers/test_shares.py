"""What takes most of the expected time is named first: link time, arithmetic, overhead, in passes, requests and sensitivities."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlwalls.solvers.shares import bound, largest, runner_up

H100 = "nvidia-h100-sxm-80gb"


def test_words_name_the_largest_part_first():
    parts = {"memory_bandwidth": 2.0, "compute_throughput": 1.0, "communication": 5.0, "overhead": 2.0}
    said = bound("memory_bandwidth", None, parts)
    assert said == "link time takes 50 % of it, and memory bandwidth, the floor's wall, 20 %"
    assert bound("communication", None, parts) == "communication binds (50 % of it)"
    little = {**parts, "memory_bandwidth": 0.4}
    assert bound("memory_bandwidth", None, little).endswith("4.76 % (more gains next to nothing)")


@given(st.lists(st.floats(1e-9, 1e3), min_size=4, max_size=4))
@settings(deadline=None)
def test_nothing_larger_is_left_unsaid(times):
    parts = dict(zip(("compute_throughput", "memory_bandwidth", "communication", "overhead"), times, strict=True))
    for wall in ("compute_throughput", "memory_bandwidth", "communication"):
        more, share = largest(parts, wall)
        assert bool(more) == (max(times) > parts[wall] * (1 + 1e-9))
        assert not more or share == pytest.approx(max(times) / sum(times))


def test_link_time_outside_the_floors_wall(ask):
    # Batch 192 of an 8B model over a slow link: at the floor 17.6 GB take 5.25 ms and the link less; a link reaches 0.447 of its
    # rate, the memory all of it.
    arguments = {"model": "llama-3.1-8b", "hardware": H100, "n_accelerators": 2, "batch_sizes": [192], "seq_len": 512}
    # Sent: 32 layers x 2 all-reduces x 2 x 1/2 x 192 x 4096 x 2 byte.
    sent = 32 * 2 * 192 * 4096 * 2
    moved = ask("roofline", **arguments)["result"]["memory_floor_ms"] * 1e-3
    link = sent / (0.8 * moved)  # the link's floor is 0.8 of the memory's
    answer = ask("roofline", **arguments, set=[f"link={link:.6g}"])
    time = 0.8 * moved / 0.447
    assert answer["binding_wall"]["slug"] == "memory_bandwidth"
    share = 100 * time / (answer["result"]["expected_ms"] * 1e-3)
    assert f"link time takes {share:.3g} % of it, and memory bandwidth, the floor's wall" in answer["verdict"]


def test_arithmetic_outside_the_floors_wall(ask):
    # A kernel of 1e12 FLOP and 4e9 byte: 1.011 ms at the peak, 1.194 ms at the bandwidth; the assumed shares turn that round.
    answer = ask("roofline", hardware=H100, flops=1e12, bytes=4e9)
    assert answer["binding_wall"]["slug"] == "memory_bandwidth"
    assert "arithmetic takes" in answer["verdict"]
    share = answer["result"]["compute_time_ms"] / answer["result"]["expected_ms"]
    assert f"arithmetic takes {100 * share:.3g} % of it" in answer["verdict"]


def test_a_kernels_wall_in_expectation(ask):
    # At the assumed 50 % and 85 % of the peaks arithmetic takes 2.021 of 3.426 ms, memory 1.405 ms: 59 and 41 %.
    answer = ask("roofline", hardware=H100, flops=1e12, bytes=4e9)
    assert (
        "so compute throughput binds in expectation; at the floor memory bandwidth does (41 % of it)"
        in answer["verdict"]
    )
    assert answer["binding_wall"]["slug"] == "memory_bandwidth"
    assert answer["binding_wall"]["share"] == pytest.approx(1.40474 / 3.42617, rel=1e-5)
    assert answer["binding_wall"]["runner_up"] == "compute_throughput"
    # The levers say the same: elasticities to the two rates are the two shares.
    levers = ask("sensitivity", tool="roofline", scenario=[f"hardware={H100}", "flops=1e12", "bytes=4e9"])["result"]
    told = dict(zip(levers["vary_rows"], levers["vary_elasticity"], strict=True))
    assert levers["vary_rows"][0] == "peak"
    assert told["bandwidth"] == pytest.approx(-answer["binding_wall"]["share"], rel=1e-4)
    # Where the floor's wall takes most, it alone is named.
    alone = ask("roofline", hardware=H100, flops=1e12, bytes=1e12)["verdict"]
    assert "memory bandwidth binds (" in alone and "in expectation" not in alone


def test_overhead_first_in_words_and_levers(ask):
    # 61 layers and their routing take most of a step of one sequence: no wall takes more than the floor's.
    arguments = {"model": "deepseek-v3", "hardware": "nvidia-h200-sxm-141gb", "n_accelerators": 8}
    answer = ask("roofline", **arguments)
    result = answer["result"]
    share = 100 * result["overhead_ms"] / result["expected_ms"]
    assert (
        f"per-layer overhead takes {share:.3g} % of it, and memory bandwidth, the floor's wall, " in answer["verdict"]
    )
    assert answer["binding_wall"]["share"] < 0.15
    scenario = [f"{key}={value}" for key, value in arguments.items()]
    levers = ask("sensitivity", tool="roofline", scenario=scenario)
    assert levers["result"]["vary_rows"][0] == "tau"
    assert levers["result"]["vary_elasticity"][0] == pytest.approx(share / 100, rel=1e-3)


def test_a_wall_that_takes_more_is_the_runner_up():
    walls = ["memory_bandwidth", "compute_throughput", "communication"]
    parts = {"memory_bandwidth": 2.0, "compute_throughput": 1.0, "communication": 5.0, "overhead": 9.0}
    assert runner_up(walls, parts) == "communication"
    assert runner_up(walls, {**parts, "communication": 1.5}) == "compute_throughput"


def test_whole_requests(ask):
    call = {"model": "llama-3.1-8b", "hardware": H100, "phase": "inference"}
    assert "; memory bandwidth binds (" in ask("roofline", **call)["verdict"]
    group = ask("roofline", **call, n_accelerators=8)
    assert "; per-layer overhead takes " in group["verdict"]
    # 32 layers x 59.5 us x 1.07 x 1.16, once for the prompt and for each of 256 tokens.
    share = 257 * 32 * 59.5e-6 * 1.07 * 1.16 / (group["result"]["expected_ms"] * 1e-3)
    assert f"per-layer overhead takes {100 * share:.3g} % of it" in group["verdict"]
    # A long prompt and a short answer: the prompt's arithmetic.
    long = ask("roofline", **call, seq_len=100_000, output_tokens=2)
    assert long["binding_wall"]["slug"] == "serving_phases"
    assert "; compute throughput binds (" in long["verdict"]


def test_little_left_for_the_floors_wall(ask):
    little = ask("roofline", model="llama-3.1-8b", hardware=H100, n_accelerators=32)["verdict"]
    assert "(more gains next to nothing)" in little
    half = ask("roofline", model="llama-3.1-8b", hardware=H100, n_accelerators=4)["verdict"]
    assert "more gains" not in half


def test_a_sensitivity_names_the_fixed_time_that_outweighs_the_rates(ask):
    scenario = ["model=llama-3.1-8b", f"hardware={H100}", "n_accelerators=32"]
    call = {"tool": "roofline", "scenario": scenario, "metric": "expected_ms"}
    answer = ask("sensitivity", **call)
    expected = answer["result"]["base_value"] * 1e-3
    # The elasticity of a sum of times to one of them is its share.
    share = 32 * 59.5e-6 * 1.07 * 1.16 / expected
    assert answer["result"]["vary_rows"][0] == "tau"
    assert answer["result"]["vary_elasticity"][0] == pytest.approx(share, rel=1e-3)
    assert (
        f"is {100 * share:.3g} % per-layer overhead (tau), so that the rates gain next to nothing" in answer["verdict"]
    )
    named = ask("sensitivity", **call, vary=["peak", "bandwidth"])
    assert set(named["result"]["vary_rows"]) == {"peak", "bandwidth"}
    assert "per-layer overhead (tau)" in named["verdict"]
    assert "of these answers most to bandwidth" in named["verdict"]
    plain = ask("sensitivity", **{**call, "scenario": scenario[:2]})
    assert "overhead" not in plain["verdict"]
