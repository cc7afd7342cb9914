"""Guards and private training: hand arithmetic, published slowdowns, properties, what does not fit, calls that lack something."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlwalls.server.verification import verify
from mlwalls.solvers.errors import CallError

GUARDED = {"model": "llama-3.1-70b", "hardware": "h100", "n_accelerators": 4}


def test_a_guard_reads_policy_and_prompt_and_says_five_tokens(ask):
    # Llama-3.1-8B on one H100, 220 + 1,024 tokens read: what roofline gives for that prefill, and five decode steps of eight.
    result = ask("safety_overhead", **GUARDED, prompt_tokens=1024)["result"]
    chip = {"model": "llama-3.1-8b", "hardware": "h100"}
    prefill = ask("roofline", **chip, phase="prefill", seq_len=1244)["result"]["expected_ms"]
    # The mean context of the verdict is 1,246.5 tokens; half a token of cache is 0.0002 ms.
    step = ask("roofline", **chip, phase="decode", batch_sizes=[8], seq_len=1246)["result"]["expected_ms"]
    assert result["guard_input_ms"] == pytest.approx(prefill + 5 * step, rel=1e-4)
    assert result["guarded_ms"] == pytest.approx(result["plain_ms"] + result["guard_input_ms"], rel=1e-5)


def test_what_is_added_is_lost_in_throughput(ask):
    result = ask("safety_overhead", **GUARDED, checks="both")["result"]
    assert result["throughput_percent"] == pytest.approx(100 / (1 + result["added_percent"] / 100), rel=1e-5)


def test_dollars_are_accelerator_time_at_the_listed_price(ask):
    # Double the price, double the dollars; 2.95 USD/h is the middle on-demand listing of an H100 since 2025.
    answer = ask("safety_overhead", **GUARDED)
    assert any("price=2.95 USD/h" in line for line in answer["work"])
    twice = ask("safety_overhead", **GUARDED, set=["price=5.9"])["result"]
    assert twice["checks_usd"] == pytest.approx(2 * answer["result"]["checks_usd"], rel=1e-5)


def test_without_a_listed_price_there_are_no_dollars(ask):
    answer = ask("safety_overhead", model="llama-3.1-8b", hardware="nvidia-b300-sxm")
    assert "checks_usd" not in answer["result"]
    assert any("no price" in w for w in answer["warnings"])


@pytest.mark.parametrize(
    ("method", "low", "high"),
    # Rodriguez Beltran et al.: 2.6 to 8 times lower throughput, roughly halved by ghost clipping; Bu et al.: 1.03 in complexity,
    # 0.83 of the speed in practice.
    [("per_sample", 2.6, 8), ("ghost", 1.3, 4), ("book_keeping", 1.03, 1 / 0.83)],
)
def test_published_slowdowns_of_private_training(ask, method, low, high):
    result = ask("safety_overhead", dp_method=method, train_hours=1000, hardware="h100")["result"]
    assert (result["slowdown_low"], result["slowdown_high"]) == pytest.approx((low, high), rel=1e-3)
    assert result["private_h"] == pytest.approx(1000 * (low * high) ** 0.5, rel=1e-3)
    assert result["private_cost_usd"] == pytest.approx(2.95 * result["private_h"], rel=1e-5)


def test_gradients_of_every_sample_outgrow_a_chip(ask):
    # 32 samples x 8,030,261,248 parameters x 4 bytes.
    result = ask("safety_overhead", dp_method="per_sample", model="llama-3.1-8b")["result"]
    assert result["gradients_gb"] == pytest.approx(32 * 8.030261248 * 4, rel=1e-5)


@pytest.mark.parametrize(
    ("changed", "named"),
    [({"n_accelerators": 1}, "Llama-3.1-70B"), ({"guard": "llama-3.1-70b"}, "Llama-3.1-70B")],
)
def test_what_does_not_fit_is_said_first(ask, changed, named):
    answer = ask("safety_overhead", **{**GUARDED, **changed})
    assert answer["feasible"] is False
    assert answer["binding_wall"]["slug"] == "memory_capacity"
    assert answer["verdict"].startswith(named) and "GB" in answer["verdict"]


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({}, "model"),
        ({"model": "llama-3.1-70b", "n_accelerators": 4}, "hardware"),
        ({"model": "llama-3.1-8b", "hardware": "h100", "guard": "llama-gaurd"}, "guard"),
        ({"model": "resnet-50", "hardware": "h100"}, "model"),
    ],
)
def test_what_is_missing_is_named_and_repaired(ask, arguments, named):
    with pytest.raises(CallError) as error:
        ask("safety_overhead", **arguments)
    assert error.value.argument == named
    assert ask("safety_overhead", **{**arguments, **error.value.repair})["feasible"]


@settings(max_examples=25, deadline=None)
@given(
    st.sampled_from(["llama-3.1-8b", "qwen3-32b", "gpt-oss-120b"]),
    st.sampled_from(["h100", "h200", "mi300x"]),
    st.sampled_from(["input", "output", "both"]),
    st.integers(1, 20_000),
    st.integers(1, 5000),
    st.integers(1, 256),
)
def test_properties(ask, model, hardware, checks, prompt, output, concurrency):
    call = {
        "model": model,
        "hardware": hardware,
        "n_accelerators": 2,
        "checks": checks,
        "prompt_tokens": prompt,
        "output_tokens": output,
        "set": [f"concurrency={concurrency}"],
    }
    answer = ask("safety_overhead", **call)
    report = verify(json.loads(json.dumps(answer)))
    assert report.ok, report.text()
    result = answer["result"]
    assert result["guarded_ms"] > result["plain_ms"]
    assert 0 < result["throughput_percent"] < 100
    smaller = ask("safety_overhead", **call, guard="llama-3.2-1b")["result"]
    assert smaller["added_percent"] < result["added_percent"]


def test_a_guard_that_cannot_be_lowered_is_named_as_the_guard(ask):
    with pytest.raises(CallError) as caught:
        ask("safety_overhead", model="llama-3.1-70b", hardware="h100", n_accelerators=4, guard="mobilenet-v2")
    assert caught.value.argument == "guard"


def test_a_replaced_number_is_replaced_wherever_its_name_stands(ask):
    arguments = {"model": "llama-3.1-70b", "hardware": "h100", "n_accelerators": 4}
    answer = ask("safety_overhead", **arguments, set=["g_layers=48"])
    assert verify(answer).ok, verify(answer).text()
    assert answer["result"]["guard_input_ms"] > ask("safety_overhead", **arguments)["result"]["guard_input_ms"]


def test_what_does_not_fit_says_how_many_hold_it(ask):
    short = ask("safety_overhead", model="llama-3.1-70b", hardware="h100")
    assert short["feasible"] is False and "n_accelerators=2 holds it" in short["verdict"]
    assert ask("safety_overhead", model="llama-3.1-70b", hardware="h100", n_accelerators=2)["feasible"]
    hopeless = ask("safety_overhead", model="llama-3.1-8b", hardware="h100", guard="llama-3.1-405b")
    assert "smaller guard" in hopeless["verdict"]


@pytest.mark.parametrize("guard", ["llama-3.1-8b", "gemma-2-9b", "gpt-oss-20b", "mamba-2.8b"])
def test_both_checks_are_each_alone(ask, guard):
    # One table for two texts: windows, states and experts too cost what they do for a text alone, at lengths beyond a window.
    call = {**GUARDED, "guard": guard, "prompt_tokens": 6000, "output_tokens": 1000}
    both, before, after = (ask("safety_overhead", **call, checks=c) for c in ("both", "input", "output"))
    result = both["result"]
    assert result["guard_input_ms"] == pytest.approx(before["result"]["guard_input_ms"], rel=1e-6)
    assert result["guard_output_ms"] == pytest.approx(after["result"]["guard_output_ms"], rel=1e-6)
    spent = before["result"]["checks_usd"] + after["result"]["checks_usd"]
    assert result["checks_usd"] == pytest.approx(spent, rel=1e-5)
    assert verify(json.loads(json.dumps(both))).ok


def test_two_checks_are_read_from_one_table(ask):
    rows = [line for line in ask("safety_overhead", **GUARDED, checks="both")["work"] if line.startswith("c_op ")]
    assert len(rows) == len({row.split(":")[0] for row in rows}) == 6
