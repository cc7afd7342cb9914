"""Training on a fleet: collectives and memory by published figures and by hand; plans; the waterfall; properties."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlwalls.server.verification import verify
from mlwalls.solvers.derivation import Derivation, Value
from mlwalls.solvers.equations import collectives
from mlwalls.solvers.errors import CallError
from mlwalls.solvers.registry import solvers

GIB = 2**30
# Layers of GPT-3's kind (no GQA, plain MLP of 4h, tied vocabulary of 51,200), as in Korthikanti et al., Table 3.
GPT = """
kind: models
id: gpt-like
name: gpt-like
type: language
parameters: {{value: {parameters}, source: korthikanti2022}}
config:
  source: korthikanti2022
  layers: {layers}
  d_model: {h}
  heads: {a}
  kv_heads: {a}
  head_dim: {hd}
  ffn: {f}
  vocab: 51200
  tied_embeddings: true
"""


def value(number, unit=""):
    return Value("x", number, unit)


def gpt(layers, h, a, parameters=None):
    counted = parameters or layers * 12 * h * h + 51200 * h
    return GPT.format(parameters=counted, layers=layers, h=h, a=a, hd=h // a, f=4 * h)


@pytest.fixture
def inline(zoo):
    """Call the tool on a model given as YAML."""

    def call(model, **arguments):
        solver = solvers()["fleet_efficiency"]
        request = solver.request.model_validate({"model": "gpt-like", "hardware": "a100", **arguments})
        answer = solver.run(request, zoo.with_inline(model))
        return answer.presentation.result

    return call


def test_ring_all_reduce_of_17_65_gigabytes():
    # 2 x 127/128 x 17.65e9 / 50e9 + 2 x 127 x 5e-6
    law = collectives.ring_all_reduce(value(128), value(17.65e9, "byte"), value(50e9, "byte/s"), value(5e-6, "s"))
    assert Derivation().step("t", law).value == pytest.approx(0.70175, abs=5e-6)


def test_the_same_ring_as_data_parallel_traffic_of_a_plan(ask):
    # 70B over TP 8: 16-bit gradients of 70,553,706,496 / 8 parameters, on 128 replicas over one 50 GB/s card each.
    answer = ask(
        "fleet_efficiency",
        model="llama-3.1-70b",
        hardware="h100",
        n_accelerators=1024,
        tensor_parallel=8,
        pipeline_parallel=1,
        options=["ring"],
        network="infiniband-ndr",
        set=["eta_net=1", "hop_across=5e-6", "buckets=1"],
    )
    size = 70_553_706_496 / 8 * 2
    expected = 2 * 127 / 128 * size / 50e9 + 2 * 127 * 5e-6
    (line,) = (line for line in answer["work"] if line.startswith("dp_time ="))
    assert float(line.rsplit(" = ", 1)[1].split()[0]) == pytest.approx(expected, rel=1e-5)
    assert expected == pytest.approx(0.70175, rel=1e-3)


KORTHIKANTI = {
    # model, tp, pp, interleave, micro-batch: Figure 1 and Table 4
    "22B": (48, 6144, 64, 8, 1, 1, 4),
    "175B": (96, 12288, 96, 8, 8, 3, 1),
    "1T": (128, 25600, 160, 8, 64, 1, 1),
}


@pytest.mark.parametrize(
    ("name", "parallel_norms", "scores", "gib"),
    [
        ("22B", False, "none", 59.25),
        ("175B", False, "none", 66.84375),
        ("175B", True, "selective", 12.3515625),
        ("1T", True, "selective", 26.5625),
    ],
)
def test_activation_memory_of_korthikanti(inline, name, parallel_norms, scores, gib):
    layers, h, a, tp, pp, v, batch = KORTHIKANTI[name]
    options = ["no_flash"] if parallel_norms else ["no_flash", "no_sequence_parallel"]
    result = inline(
        gpt(layers, h, a),
        n_accelerators=tp * pp,
        global_batch=8 * batch * pp,
        seq_len=2048,
        tensor_parallel=tp,
        pipeline_parallel=pp,
        microbatch=batch,
        recompute=scores,
        zero=0,
        options=options,
        set=["dropout=1", f"interleave={v}"],
    )
    assert result.activations_gb * 1e9 == pytest.approx(gib * GIB, rel=1e-5)


@pytest.mark.parametrize(("zero", "gb"), [(0, 120), (1, 31.4), (2, 16.6)])
def test_states_of_the_zero_paper(inline, zero, gb):
    # 7.5e9 parameters on 64 ranks, gradients in 16 bit: 16 byte a parameter, optimizer then gradients sharded.
    model = gpt(36, 4096, 32, parameters=7_500_000_000)
    r = inline(
        model,
        n_accelerators=64,
        seq_len=1024,
        global_batch=64,
        zero=zero,
        tensor_parallel=1,
        pipeline_parallel=1,
        set=["gradient_width=2"],
    )
    assert r.weights_gb + r.gradients_gb + r.adam_gb == pytest.approx(gb, abs=0.05)


def total(result):
    parts = ("useful", "kernels", "recompute", "communication", "pipeline", "exposed", "stragglers", "failures")
    return sum(result.get(f"{part}_s", 0) for part in parts)


CALLS = [
    {"model": "llama-3.1-70b", "hardware": "h100", "n_accelerators": 1024},
    {"model": "llama-3.1-8b", "hardware": "a100", "n_accelerators": 8, "recompute": "selective"},
    {"model": "llama-3.1-8b", "hardware": "h200", "n_accelerators": 1},
    {"model": "deepseek-v3", "hardware": "h100", "n_accelerators": 2048, "options": ["fp8"]},
    {"model": "gpt-3-175b", "hardware": "a100", "n_accelerators": 1024, "recompute": "full", "options": ["no_flash"]},
    {"model": "gemma-2-27b", "hardware": "b200", "n_accelerators": 64, "zero": 3, "options": ["hierarchical"]},
    {"model": "llama-3.1-8b", "hardware": "h100", "n_accelerators": 512, "seq_len": 131072, "options": ["tree"]},
    {"model": "llama-3.1-70b", "hardware": "v5p", "n_accelerators": 256, "options": ["async_checkpoint"]},
    {"model": "llama-3.1-405b", "hardware": "h100", "n_accelerators": 8192, "options": ["storage_checkpoint"]},
    {"model": "mixtral-8x7b", "hardware": "mi300x", "n_accelerators": 128, "options": ["memory_checkpoint"]},
    {"model": "llama-3.1-8b", "hardware": "h100", "n_accelerators": 16, "options": ["no_sequence_parallel"]},
    {"model": "gpt2-xl", "hardware": "a100", "n_accelerators": 24, "set": ["w_tp=0.65", "fused=0.5", "dropout=1"]},
]


@pytest.mark.parametrize("call", CALLS, ids=lambda c: f"{c['model']}-{c['n_accelerators']}")
def test_the_waterfall_adds_up_and_the_answer_verifies(ask, call):
    answer = ask("fleet_efficiency", **call)
    report = verify(answer)
    assert report.ok, report.text()
    result = answer["result"]
    assert total(result) == pytest.approx(result["delivered_s"], rel=1e-4)
    assert result["kernels_s"] > 0
    assert result["step_low_s"] < result["step_s"] < result["step_high_s"]
    assert 0 < result["mfu_percent"] < 100


@pytest.mark.parametrize("call", CALLS, ids=lambda c: f"{c['model']}-{c['n_accelerators']}")
def test_the_scenario_makes_the_same_call_again(zoo, call):
    solver = solvers()["fleet_efficiency"]
    first = solver.run(solver.request.model_validate(call), zoo)
    again = solver.run(solver.request.model_validate(first.problem.scenario), zoo)
    assert again.presentation.result.step_s == first.presentation.result.step_s
    assert again.presentation.result.plan == first.presentation.result.plan


def test_the_searched_plan_is_no_slower_than_any_given(ask):
    call = {"model": "llama-3.1-70b", "hardware": "h100", "n_accelerators": 256, "global_batch": 512}
    best = ask("fleet_efficiency", **call)["result"]["step_s"]
    for tp, pp, batch in [(8, 1, 1), (8, 2, 1), (4, 4, 1), (2, 8, 1), (8, 4, 2), (1, 1, 1)]:
        plan = {"tensor_parallel": tp, "pipeline_parallel": pp, "microbatch": batch}
        other = ask("fleet_efficiency", **call, **plan)
        assert not other["feasible"] or other["result"]["step_s"] >= best * (1 - 1e-6)


@pytest.mark.parametrize(
    ("plan", "why"),
    [
        ({"tensor_parallel": 7}, "does not divide 64 attention heads"),
        ({"tensor_parallel": 3, "pipeline_parallel": 5}, "does not divide"),
        ({"pipeline_parallel": 96}, "more than 80 layers"),
        ({"microbatch": 5}, "does not divide global_batch"),
        ({"set": ["ep=16"]}, "more than 1 experts"),
        ({"set": ["interleave=64"], "pipeline_parallel": 4}, "more than 80 layers"),
        ({"tensor_parallel": 8, "pipeline_parallel": 4, "microbatch": 512}, "no multiple"),
    ],
)
def test_an_impossible_plan_is_answered_with_the_nearest_possible(ask, plan, why):
    call = {"model": "llama-3.1-70b", "hardware": "h100", "n_accelerators": 256, "global_batch": 512}
    answer = ask("fleet_efficiency", **call, **plan)
    assert answer["feasible"] is False
    assert answer["verdict"].startswith("Impossible: ")
    assert why in answer["verdict"]
    assert answer["result"]["fits"] is True
    assert verify(answer).ok


def test_the_nearest_plan_is_near(ask):
    # 80 layers do not take 96 stages; of the numbers of stages that 256 accelerators and 80 layers share, 16 is the largest.
    call = {"model": "llama-3.1-70b", "hardware": "h100", "n_accelerators": 256, "global_batch": 512}
    answer = ask("fleet_efficiency", **call, pipeline_parallel=96)
    assert "PP 16," in answer["result"]["plan"]


def test_more_expert_ranks_than_experts(ask):
    call = {"model": "mixtral-8x7b", "hardware": "h100", "n_accelerators": 64, "global_batch": 512}
    answer = ask("fleet_efficiency", **call, set=["ep=16"])
    assert "ep=16 expert ranks are more than 8 experts" in answer["verdict"]
    assert answer["feasible"] is False
    assert "EP 8" in answer["result"]["plan"]


def test_a_microbatch_that_does_not_fit_names_one_that_does(ask):
    call = {"model": "llama-3.1-70b", "hardware": "h100", "n_accelerators": 256, "global_batch": 1024}
    plan = {"tensor_parallel": 8, "pipeline_parallel": 2, "microbatch": 16, "recompute": "none", "zero": 1}
    answer = ask("fleet_efficiency", **call, **plan)
    assert answer["feasible"] is False
    assert answer["binding_wall"]["slug"] == "memory_capacity"
    assert answer["result"]["headroom_gb"] < 0
    assert "The nearest plan that fits: TP 8, PP 2, micro-batch" in answer["verdict"]


def test_a_model_that_needs_more_accelerators_says_how_many(ask):
    answer = ask("fleet_efficiency", model="llama-3.1-70b", hardware="h100", n_accelerators=8)
    assert answer["feasible"] is False
    assert "It fits on 16 accelerators." in answer["verdict"]
    assert ask("fleet_efficiency", model="llama-3.1-70b", hardware="h100", n_accelerators=16)["feasible"] is True


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"model": "lama-3.1-70b"}, "model"),
        ({"model": "resnet-50"}, "model"),
        ({"model": "mamba-2.8b"}, "model"),
        ({"hardware": "cerebras-cs-3"}, "hardware"),
        ({"hardware": "a100", "options": ["fp8"]}, "options"),
        ({"network": "infiniband-hdx"}, "network"),
        ({"network": "nvlink-domains-gb200-nvl72"}, "network"),
        ({"failures": ["8x"]}, "failures"),
        ({"failures": ["0"]}, "failures"),
        ({"failures": ["8x50000", "fifty"]}, "failures"),
        ({"failures": ["nic-annual"]}, "failures"),
        ({"set": ["cp=1.5"]}, "set"),
        ({"set": ["kapa=2"]}, "set"),
        ({"n_accelerators": 999_983, "global_batch": 8}, "global_batch"),
    ],
)
def test_what_is_wrong_is_named_and_the_repair_works(ask, arguments, named):
    call = {"model": "llama-3.1-70b", "hardware": "h100", "n_accelerators": 64, **arguments}
    with pytest.raises(CallError) as error:
        ask("fleet_efficiency", **call)
    assert error.value.argument == named
    repair = error.value.repair or {named: error.value.choices[0]}
    if named == "failures" and isinstance(repair[named], str):
        repair = {named: [repair[named]]}
    assert ask("fleet_efficiency", **{**call, **repair})["result"]["step_s"] > 0


def step(zoo, vary):
    solver = solvers()["fleet_efficiency"]
    request = solver.request(
        model="llama-3.1-70b",
        hardware="h100",
        n_accelerators=512,
        global_batch=1024,
        tensor_parallel=8,
        pipeline_parallel=4,
        microbatch=1,
    )
    problem = solver.resolve(request, zoo)
    return solver.evaluate(problem, vary)


@pytest.mark.parametrize("rate", ["nic", "link", "bandwidth", "matmul", "peak", "eta_net", "s_gemm"])
@given(factor=st.floats(1.05, 20))
@settings(max_examples=15, deadline=None)
def test_a_faster_part_never_slows_the_step(zoo, rate, factor):
    now = step(zoo, {})["step"].value
    problem_value = {"nic": 50e9, "link": 450e9, "bandwidth": 3.35e12, "matmul": 7.945e14, "peak": 9.894e14}.get(
        rate, 0.8
    )
    slow = step(zoo, {rate: problem_value / factor})["step"].value
    fast = step(zoo, {rate: problem_value})["step"].value
    assert fast < slow
    assert now <= slow * (1 + 1e-9)


@given(
    model=st.sampled_from(["llama-3.1-8b", "llama-3.1-70b", "gpt-3-175b", "mixtral-8x7b", "deepseek-v3", "gemma-2-9b"]),
    hardware=st.sampled_from(["a100", "h100", "h200", "b200", "mi300x", "v5p", "v100"]),
    count=st.sampled_from([1, 2, 8, 24, 64, 384, 1000, 4096, 16384]),
    seq_len=st.sampled_from([512, 4096, 32768, 131072]),
    recompute=st.sampled_from([None, "none", "selective", "half", "full"]),
    zero=st.sampled_from([None, 0, 1, 2, 3]),
    options=st.lists(
        st.sampled_from(["no_flash", "no_sequence_parallel", "ring", "tree", "async_checkpoint"]), unique=True
    ),
)
@settings(max_examples=60, deadline=None)
def test_random_requests_verify_and_add_up(ask, model, hardware, count, seq_len, recompute, zero, options):
    call = {"model": model, "hardware": hardware, "n_accelerators": count, "seq_len": seq_len, "options": options}
    call |= {k: v for k, v in (("recompute", recompute), ("zero", zero)) if v is not None}
    answer = ask("fleet_efficiency", **call)
    report = verify(answer)
    assert report.ok, report.text()
    result = answer["result"]
    assert total(result) == pytest.approx(result["delivered_s"], rel=1e-4)
    assert answer["feasible"] is (result["headroom_gb"] >= 0)


def test_a_given_plan_is_not_called_tuned(ask):
    call = {"model": "llama-3.1-8b", "hardware": "h100", "n_accelerators": 64, "tensor_parallel": 1}
    call |= {"pipeline_parallel": 1, "microbatch": 1, "zero": 1, "recompute": "none"}
    assert "well-tuned" not in ask("fleet_efficiency", **call)["verdict"]


def test_a_sequence_beyond_the_published_context_is_said(ask):
    call = {"hardware": "h100", "n_accelerators": 512}
    warned = ask("fleet_efficiency", model="gpt-3-175b", **call)["warnings"]  # 2,048 tokens (Brown et al., Table 2.1)
    assert any("seq_len 4096 is beyond GPT-3 175B's published context" in w for w in warned)
    assert not any(
        "context" in w for w in ask("fleet_efficiency", model="gpt-3-175b", seq_len=2048, **call)["warnings"]
    )
