"""Properties over random requests: order of the range, monotony, homogeneity, arrays equal scalars."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlwalls.solvers.derivation import Derivation
from mlwalls.solvers.errors import CallError
from mlwalls.solvers.registry import solvers
from mlwalls.zoo import Zoo

ZOO = Zoo.builtin()
SOLVER = solvers()["roofline"]
HARDWARE = [e.id for e in ZOO.entries("hardware") if e.has("memory.bandwidth") and e.has("memory.capacity")]
MODELS = [e.id for e in ZOO.entries("models") if e.has("config.d_model") or e.has("sample.flops")]

REQUESTS = st.fixed_dictionaries(
    {
        "model": st.sampled_from(MODELS),
        "hardware": st.sampled_from(HARDWARE),
        "phase": st.sampled_from(["decode", "prefill", "training", "inference"]),
        "batch_sizes": st.lists(st.integers(1, 4096), min_size=1, max_size=3),
        "seq_len": st.integers(1, 131072),
        "n_accelerators": st.sampled_from([1, 1, 2, 4, 8]),
        "weight_dtype": st.sampled_from(["native", "bf16", "fp8", "int8", "int4", "nvfp4"]),
        "kv_dtype": st.sampled_from(["bf16", "fp8"]),
    }
)


def outcome(request, vary=None):
    problem = SOLVER.resolve(SOLVER.request.model_validate(request), ZOO)
    return problem, SOLVER.compute(problem.structure, problem.numbers.replaced(vary or {}), Derivation(record=False))


def answered(request):
    try:
        return outcome(request)
    except CallError:
        return None


@settings(max_examples=2000, deadline=None)
@given(REQUESTS)
def test_floor_low_expected_high_are_in_order(request_):
    result = answered(request_)
    if result is None:
        return
    _, out = result
    floor, low, expected, high = (np.asarray(out[k].value) for k in ("floor", "low", "expected", "high"))
    slack = 1 + 1e-12
    assert (floor > 0).all()
    assert (floor <= low * slack).all() and (low <= expected * slack).all() and (expected <= high * slack).all()
    assert np.isfinite(high).all()


@settings(max_examples=200, deadline=None)
@given(REQUESTS, st.floats(1.05, 4))
def test_more_of_anything_is_never_slower(request_, factor):
    result = answered(request_)
    if result is None:
        return
    problem, out = result
    # A measured matmul rate goes with the peak: alone, a higher peak would mean a lower share of it, in all formats.
    for symbols in (("bandwidth",), ("peak", "matmul"), ("link",)):
        more = {s: problem.numbers[s].value * factor for s in symbols if s in problem.numbers}
        if symbols[0] in more:
            faster = outcome(request_, more)[1]
            for key in ("floor", "expected"):
                assert np.all(np.asarray(faster[key].value) <= np.asarray(out[key].value) * (1 + 1e-12))


@settings(max_examples=100, deadline=None)
@given(REQUESTS, st.floats(0.25, 4))
def test_floor_scales_inversely_with_all_rates(request_, factor):
    result = answered(request_)
    if result is None:
        return
    problem, out = result
    rates = [s for s, v in problem.numbers.items() if v.unit in ("FLOP/s", "byte/s")]
    vary = {s: problem.numbers[s].value * factor for s in rates}
    scaled = outcome(request_, vary)[1]
    assert np.asarray(scaled["floor"].value) * factor == pytest.approx(np.asarray(out["floor"].value), rel=1e-9)


@settings(max_examples=60, deadline=None)
@given(REQUESTS)
def test_arrays_give_what_scalars_give(request_):
    request_ = {**request_, "batch_sizes": [request_["batch_sizes"][0]]}
    result = answered(request_)
    if result is None:
        return
    problem, out = result
    factors = np.array([0.5, 1.0, 2.0])
    swept = outcome(request_, {"bandwidth": problem.numbers["bandwidth"].value * factors})[1]
    assert np.broadcast_to(swept["expected"].value, 3)[1] == pytest.approx(out["expected"].value, rel=1e-12)
    half = outcome(request_, {"bandwidth": problem.numbers["bandwidth"].value * 0.5})[1]
    assert np.broadcast_to(swept["expected"].value, 3)[0] == pytest.approx(half["expected"].value, rel=1e-12)


@pytest.mark.parametrize("context", [512, 4096, 32768])
def test_decode_traffic_is_linear_in_context_without_windows(context):
    base = {"model": "llama-3.1-8b", "hardware": HARDWARE[0], "phase": "decode", "n_accelerators": 1}
    kv = [outcome({**base, "seq_len": s})[1]["kv_cache"].value for s in (context, 2 * context)]
    assert kv[1] == pytest.approx(2 * kv[0])


def test_two_chips_on_a_vision_model_are_compared_with_a_range(ask):
    result = ask("roofline", model="resnet-50", hardware="h100", baseline_hardware="a100", phase="inference")["result"]
    assert result["speedup_low"] <= result["speedup"] <= result["speedup_high"]
    # Peak ratio 989.4 / 312 and bandwidth ratio 3.35 / 2.039 bound the textbook's speedup.
    assert 3.35 / 2.039 - 1e-4 <= result["floor_speedup"] <= 989.4 / 312 + 1e-4


def test_an_argument_of_the_call_is_not_replaced_behind_its_range(ask):
    with pytest.raises(CallError, match="follows from an argument"):
        ask("tail_latency", arrivals_per_s=8, service_time_s=0.4, servers=4, set=["servers=1e9"])
