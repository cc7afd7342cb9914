"""One rule for what a cache holds: the tools that quote kv_capacity's pool agree with it, and its pool with hand arithmetic."""

import math

import pytest

from mlwalls.server.verification import verify
from mlwalls.solvers.assignments import read_assignments
from mlwalls.solvers.errors import CallError
from mlwalls.solvers.inner import schema_of
from mlwalls.solvers.registry import solvers

CASES = [
    ("llama-3.1-8b", "a100", 1),
    ("llama-3.1-70b", "h100", 4),
    ("llama-3.1-70b", "h100", 16),  # more ranks than key-value heads
    ("gemma-3-27b", "h100", 1),  # windows, groups of layers
    ("gpt-oss-120b", "h100", 2),
    ("mixtral-8x7b", "h100", 2),
    ("deepseek-v3", "h200", 8),
    ("jamba-v0.1", "h200", 2),  # recurrent layers
    ("mamba-2.8b", "h100", 2),
]


def printed(answer, name):
    for line in answer["work"]:
        if line.startswith("answer kv_capacity") and f" {name}=" in line:
            return float(line.split(f" {name}=")[1].split()[0])
    raise KeyError(name)


def again(ask, call):
    """Make a call that stands in an answer."""
    tool, _, lines = call.partition(" ")
    return ask(tool, **read_assignments(lines.split(" "), schema_of(solvers()[tool])))


@pytest.mark.parametrize(("model", "hardware", "ranks"), CASES)
def test_serving_cost_runs_what_kv_capacity_holds(ask, model, hardware, ranks):
    call = {"model": model, "hardware": hardware, "n_accelerators": ranks}
    prompt, output = 3000, 100
    served = ask("serving_cost", **call, prompt_tokens=prompt, output_tokens=output, concurrency=100_000)
    # Admission weighs the prompt and 0.7 of the output.
    length = prompt + 0.7 * output
    sized = ask("kv_capacity", **call, seq_len=round(length), kv_dtype="bf16")
    if not sized["feasible"]:
        assert not served["feasible"]
        return
    assert sized["result"]["max_sequences"] == math.floor(served["result"]["decoding"])
    assert printed(served, "pool") == pytest.approx(sized["result"]["pool_gib"] * 2**30, rel=1e-5)
    assert verify(served).ok


@pytest.mark.parametrize(("model", "hardware", "ranks"), CASES)
@pytest.mark.parametrize("scheme", ["w8a8_fp8", "w4a16", "kv_only"])
def test_quantization_fits_what_kv_capacity_holds(ask, model, hardware, ranks, scheme):
    call = {"model": model, "hardware": hardware if scheme != "w8a8_fp8" else "h200", "n_accelerators": ranks}
    stored = {"w8a8_fp8": "fp8", "w4a16": "int4", "kv_only": "native"}[scheme]
    keys = "fp8" if scheme == "kv_only" else "bf16"
    try:
        answer = ask("quantization", **call, scheme=scheme, kv_dtype=keys, seq_len=3001)
    except CallError:
        assert model in ("jamba-v0.1", "mamba-2.8b")  # a recurrent state has no other format
        return
    for field, weights, cache in (("batch_fitting", stored, keys), ("base_batch_fitting", "native", "bf16")):
        sized = ask("kv_capacity", **call, weight_dtype=weights, kv_dtype=cache, seq_len=3001)["result"]
        assert answer["result"][field] == max(0, sized.get("max_sequences", 0)), field
    assert verify(answer).ok


@pytest.mark.parametrize(
    ("tool", "arguments"),
    [
        ("serving_cost", {"model": "llama-3.1-70b", "hardware": "h100", "n_accelerators": 4, "weight_dtype": "fp8"}),
        ("safety_overhead", {"model": "llama-3.1-70b", "hardware": "h100", "n_accelerators": 4}),
        ("quantization", {"model": "llama-3.1-8b", "hardware": "h100", "scheme": "w8a8_fp8"}),
        ("serving_cost", {"model": "llama-3.1-8b", "hardware": "h100", "set": ["driver=4e10", "w_bytes=1"]}),
    ],
)
def test_the_call_in_an_answer_gives_its_pool(ask, tool, arguments):
    answer = ask(tool, **arguments)
    quoted = [line for line in answer["work"] if line.startswith("answer kv_capacity")]
    assert len(quoted) == 1
    pool = again(ask, answer["result"]["calls"][0])["result"]["pool_gib"] * 2**30
    assert printed(answer, "pool") == pytest.approx(pool, rel=1e-5)


def test_a_number_of_the_pool_can_be_replaced(ask):
    call = {"model": "llama-3.1-8b", "hardware": "h100", "concurrency": 1000}
    plain = ask("serving_cost", **call)
    # vLLM takes 0.9 of what the driver shows: 10 GB more are 9 GB more for the cache.
    more = ask("serving_cost", **call, set=[f"driver={85_017_493_504 + 10_000_000_000}"])
    driver = ask("kv_capacity", model="llama-3.1-8b", hardware="h100", seq_len=4096)["result"]["driver_gib"] * 2**30
    grown = printed(more, "pool") - printed(plain, "pool")
    assert grown == pytest.approx(0.9 * (85_017_493_504 + 1e10 - driver), rel=2e-3)
    given = ask("serving_cost", **call, set=["pool=1e10"])
    assert given["result"]["decoding"] < plain["result"]["decoding"]
    # A 16-bit weight halved leaves half the weights more, not less arithmetic only.
    halved = ask("serving_cost", **call, set=["w_bytes=1"])
    wide = 2 * 2 * 128256 * 4096
    assert printed(halved, "pool") - printed(plain, "pool") == pytest.approx(8_030_261_248 - wide / 2, rel=2e-3)
    with pytest.raises(CallError) as refused:
        ask("serving_cost", **call, set=["capacity=1e12"])
    assert refused.value.argument == "set"


def test_a_replica_beyond_what_kv_capacity_sizes_says_so(ask):
    # Data-parallel attention over four domains of eight.
    answer = ask("serving_cost", model="deepseek-v3", hardware="h200", n_accelerators=32)
    assert "calls" not in answer["result"]
    assert any("kv_capacity" in w for w in answer["warnings"])
