"""inverse_spec for a count of accelerators: replicas by hand, one group beside them, hardware in the same number."""

import math

import pytest

from mlwalls.solvers.errors import CallError


def test_hardware_for_a_count_is_counted_too(ask):
    # 100 tokens/s of a 70B take several H100s, so what else meets it does so in that number, at a price for each.
    call = {"tool": "roofline", "scenario": ["model=llama-3.1-70b", "hardware=h100"], "solve_for": ["n_accelerators"]}
    answer = ask("inverse_spec", **call, metric="throughput_tokens_per_s", target=100)
    assert "meet it in the same number, 16 of them" in answer["verdict"]
    assert "USD each" in answer["verdict"]
    one = ask("inverse_spec", **{**call, "solve_for": ["bandwidth"]}, metric="floor_ms", target=60)
    assert "of them" not in one["verdict"]


H100S = ["model=llama-3.1-70b", "hardware=h100", "seq_len=4096"]


def held(ask, size):
    """Sequences that one group holds, by an ordinary call; none where it does not start."""
    try:
        answer = ask("kv_capacity", model="llama-3.1-70b", hardware="h100", seq_len=4096, n_accelerators=size)
    except CallError:
        return 0
    return answer["result"]["max_sequences"] if answer["feasible"] else 0


@pytest.mark.parametrize("target", [500, 1000, 12345])
def test_replicas_where_no_group_holds_so_many(verified, ask, target):
    """k replicas of g accelerators, the fewest of all sizes: by hand over every g that divides 64 heads."""
    answer = verified(
        "inverse_spec",
        tool="kv_capacity",
        scenario=H100S,
        metric="max_sequences",
        target=target,
        solve_for=["n_accelerators"],
    )
    by_hand = {g: math.ceil(target / each) * g for g in (1, 2, 4, 8, 16, 32, 64) if (each := held(ask, g))}
    best = min(by_hand.values())
    result = answer["result"]
    assert answer["feasible"] is True
    assert result["need_accelerators"] == best
    assert dict(zip(result["group_size"], result["group_accelerators"], strict=True)) == by_hand
    replicas, size = (int(x) for x in result["need_plan"].split(" x "))
    assert replicas * size == best
    assert replicas * held(ask, size) >= target > (replicas - 1) * held(ask, size)
    assert f"{replicas} replicas of {size}" in answer["verdict"]
    assert "need" not in result


def test_replicas_stand_beside_one_group_where_they_take_fewer(verified, ask):
    answer = verified(
        "inverse_spec",
        tool="roofline",
        scenario=["model=llama-3.1-70b", "hardware=h100"],
        metric="throughput_tokens_per_s",
        target=100,
        solve_for=["n_accelerators"],
    )
    result = answer["result"]
    each = ask("roofline", model="llama-3.1-70b", hardware="h100", n_accelerators=2)["result"]
    assert result["need"] == 16
    assert result["need_accelerators"] == 2 * math.ceil(100 / each["throughput_tokens_per_s"]) < 16
    assert "at least 16 accelerators" in answer["verdict"]
    assert "Where replicas do, fewer are enough" in answer["verdict"]


def test_one_group_that_is_cheapest_has_no_replicas(verified):
    # 4 hold 109 and 8 hold 324 sequences: three fours would be twelve.
    answer = verified(
        "inverse_spec",
        tool="kv_capacity",
        scenario=H100S,
        metric="max_sequences",
        target=300,
        solve_for=["n_accelerators"],
    )
    assert answer["result"]["need"] == 8
    assert "replica" not in answer["verdict"]


@pytest.mark.parametrize(
    ("metric", "scenario"),
    [
        ("expected_ms", ["model=llama-3.1-70b", "hardware=h100"]),
        ("throughput_tokens_per_s", ["model=llama-3.1-8b", "hardware=h100", "phase=training"]),
    ],
)
def test_what_does_not_add_up_over_replicas_has_none(verified, metric, scenario):
    """A latency is no shorter beside another replica; replicas of a training step exchange gradients."""
    answer = verified(
        "inverse_spec",
        tool="roofline",
        scenario=scenario,
        metric=metric,
        target=1e-6 if metric == "expected_ms" else 1e9,
        solve_for=["n_accelerators"],
    )
    assert answer["feasible"] is False
    assert "need_accelerators" not in answer["result"]
    assert answer["verdict"].startswith("No number of accelerators from 1 to 1,024 meets roofline's")


def test_a_count_says_no_part_of_itself(verified):
    # Of 1e29 sequences no replicas are planned; "of which blocks" would be no part of a count.
    answer = verified(
        "inverse_spec",
        tool="kv_capacity",
        scenario=H100S,
        metric="max_sequences",
        target=1e29,
        solve_for=["n_accelerators"],
    )
    assert answer["feasible"] is False
    assert "of which" not in answer["verdict"]


def test_one_that_is_enough_is_the_fewest(verified):
    # Llama-3.1-8B in 16 bit is 16 GB: one H100 holds it, and 32 would meet the target too.
    scenario = ["model=llama-3.1-8b", "hardware=h100", "seq_len=4096"]
    answer = verified(
        "inverse_spec",
        tool="kv_capacity",
        scenario=scenario,
        metric="max_sequences",
        target=50,
        solve_for=["n_accelerators"],
    )
    assert answer["result"]["need"] == 1
    assert "1 accelerator is enough" in answer["verdict"]
