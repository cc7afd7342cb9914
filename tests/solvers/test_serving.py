"""The serving-latency model: hand arithmetic, published constants of its first fit, and properties."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlwalls.server.program_reader import Program, Report
from mlwalls.solvers.derivation import Derivation
from mlwalls.solvers.errors import CallError
from mlwalls.solvers.numbers import Numbers
from mlwalls.solvers.rendering import rendered
from mlwalls.solvers.serving import default_kv_format, resolve_serving, serve

H100, H200, B200 = "nvidia-h100-sxm-80gb", "nvidia-h200-sxm-141gb", "nvidia-b200-sxm-180gb"

# The constants of the model's first fit, on H100 and B200; with them its vectors are known.
FIRST = {"eta16": 0.75, "rho": 0.675, "tau": 60e-6, "x_mla": 1.2, "eta_link": 0.45}
FIRST |= {"eta_attention": 0.6, "eta_memory": 1, "chunk": 8192, "memory_share": 0.92, "memory_reserve": 2.5e9}
FIRST |= {"held_output": 0.9, "collide": 1.4, "queued": 0.07}
# What it did not have: work for every sequence and copy of a token. (Its launch floor binds in none of the vectors: 0.58 ms a
# layer, at most 46 ms of a 68 ms prefill.)
FIRST |= {"t_sequence": 0, "x_routed": 0, "route_bytes": 0}


@pytest.fixture(scope="module")
def replica(zoo):
    """Resolve a replica; returns its structure and numbers."""

    def resolve(model, hardware, ranks, prompt, output, concurrency, set_=(), warnings=None, **options):
        n = Numbers()
        n.you("prompt", prompt, "token")
        n.you("output", output, "token")
        n.you("concurrency", concurrency)
        if options.get("cached") is not None:
            n.you("cached", options.pop("cached"), "token")
            options["cached"] = True
        found = [] if warnings is None else warnings
        entries = (zoo.get("models", model), zoo.get("hardware", hardware))
        s = resolve_serving(n, *entries, ranks, found, **options)
        n.override(set_)
        return s, n

    return resolve


@pytest.fixture(scope="module")
def served(replica):
    """Serve on plain arguments; returns bare numbers."""

    def run(*arguments, record=False, **options):
        out = serve(*replica(*arguments, **options), Derivation(record))
        return {name: value.value for name, value in out.items()}

    return run


def first_fit(n, **special):
    """The same numbers with the first fit's constants, those that this replica has."""
    return n.replaced({name: float(value) for name, value in (FIRST | special).items() if name in n})


# (model, hardware, ranks, I, O, C, options, constants of engine and generation, step, prefill, slots, tpot, ttft in ms)
VECTORS = [
    (
        ("llama-3.1-70b", H100, 4, 1024, 1024, 16),
        {"weight_format": "fp8", "engine": "vllm", "kv_format": "bf16"},
        {"r_engine": 1.25, "x_gen": 1.15, "t_start": 0.02},
        (13.662, 67.612, 366.19, 14.474, 185.65),
    ),
    (
        ("deepseek-v3", B200, 8, 8192, 1024, 64),
        {"weight_format": "nvfp4", "engine": "trtllm", "kv_format": "fp8"},
        {"r_engine": 1, "x_gen": 1, "t_start": 0.08},
        (17.786, 124.01, 394.03, 24.578, 800.53),
    ),
    (
        ("gpt-oss-120b", H200, 1, 1024, 1024, 32),
        {"engine": "vllm", "kv_format": "bf16"},
        {"r_engine": 1.25, "x_gen": 1.15, "t_start": 0.02},
        (12.717, 29.288, 937.27, 13.245, 124.56),
    ),
]


@pytest.mark.parametrize(("arguments", "options", "engine", "expected"), VECTORS, ids=[v[0][0] for v in VECTORS])
def test_vectors_of_the_first_fit(replica, arguments, options, engine, expected):
    s, n = replica(*arguments, **options)
    n = first_fit(n, **engine)
    out = serve(s, n, Derivation())
    got = [out[k].value * (1 if k == "slots" else 1e3) for k in ("step", "prefill", "slots", "tpot", "ttft")]
    # The vectors leave the routers, the norms and the prompt's cache writes out; together below 0.6 %.
    assert got == pytest.approx(expected, rel=6e-3)
    assert all(g >= e * (1 - 3e-3) for g, e in zip(got, expected, strict=True))


def test_what_the_vectors_leave_out_is_the_router_and_the_norms(replica):
    arguments, options, engine, expected = VECTORS[2]
    s, n = replica(*arguments, **options)
    n = first_fit(n, **engine)
    step = serve(s, n, Derivation())["step"].value
    # 36 routers of 2880 x 128 and 40,318,272 norm and bias weights, 2 bytes each at 4.8 TB/s, and 32 tokens' arithmetic.
    router = 36 * 2880 * 128
    besides = 2 * (router + 40_318_272) / 4.8e12 + 2 * 32 * router / (0.75 * 989.4e12)
    assert step * 1e3 == pytest.approx(expected[0] + besides * 1e3, abs=0.002)


def test_llama_by_hand(replica):
    # Llama-3.1-70B, fp8, 4 H100: the terms of one step of 16 sequences at a mean context of 1536, in ms.
    s, n = replica(*VECTORS[0][0], **VECTORS[0][1])
    n = first_fit(n, **VECTORS[0][2])
    step = serve(s, n, Derivation())["step"].value * 1e3
    rate, peak8, peak16 = 3.35e12, 1978.9e12 * 0.75 * 0.675, 989.4e12
    layer = 8192 * 128 * (64 + 16) + 64 * 128 * 8192 + 3 * 8192 * 28672
    weights = 80 * layer / 4
    layers = 2 * weights * 16 / peak8 + weights / rate
    head = 128256 * 8192 / 4
    top = 2 * head * 16 / (peak16 * 0.75) + 2 * head / rate
    links = 2 * 80 * 2 * 3 / 4 * 16 * 8192 * 2 / (450e9 * 0.45)
    overhead = 80 * 60e-6 * 1.25 * 1.15
    read = 16 * 80 * 2 * 8 * 128 * 2 * 1536 / 4 / rate
    core = 2 * 16 * 80 * 2 * 64 * 128 * 1536 / 4 / (peak16 * 0.6)
    norms = (2 * 80 + 1) * 8192 * 2 / rate
    assert step == pytest.approx(1e3 * (layers + top + links + overhead + read + core + norms), rel=1e-6)


def test_a_step_is_rooflines_decode(ask, replica):
    # The same pass by two routes: coefficients here, rows there.
    s, n = replica("minimax-m2.5", H200, 4, 2000, 96, 24)
    step = serve(s, n, Derivation())["step"].value
    arguments = {"model": "minimax-m2.5", "hardware": H200, "n_accelerators": 4, "kv_dtype": "bf16"}
    answer = ask("roofline", **arguments, batch_sizes=[24], seq_len=2048)
    assert answer["result"]["expected_ms"] == pytest.approx(step * 1e3, rel=1e-5)


def test_a_prefill_is_rooflines_prefill(ask, replica):
    s, n = replica("deepseek-v3", H200, 8, 4096, 100, 1)
    prefill = serve(s, n, Derivation())["prefill"].value
    answer = ask(
        "roofline", model="deepseek-v3", hardware=H200, n_accelerators=8, phase="prefill", seq_len=4096, kv_dtype="bf16"
    )
    assert answer["result"]["expected_ms"] == pytest.approx(prefill * 1e3, rel=1e-5)


@pytest.mark.parametrize("model", ["llama-3.1-8b", "gpt-oss-120b", "deepseek-v3", "minimax-m2.5", "qwen3-235b-a22b"])
@pytest.mark.parametrize("data_parallel", [False, True])
def test_arrays_are_scalars_side_by_side(replica, model, data_parallel):
    loads = np.array([1.0, 7.0, 64.0, 5000.0])
    prompts = np.array([100.0, 1024.0, 8192.0, 30000.0])
    outputs = np.array([1.0, 128.0, 1000.0, 2000.0])
    s, n = replica(model, B200, 8, 1, 1, 1, data_parallel=data_parallel)
    together = serve(
        s, n.replaced({"concurrency": loads, "prompt": prompts, "output": outputs}), Derivation(record=False)
    )
    for i in range(4):
        alone = {"concurrency": float(loads[i]), "prompt": float(prompts[i]), "output": float(outputs[i])}
        single = serve(s, n.replaced(alone), Derivation())
        for name, value in single.items():
            column = np.broadcast_to(together[name].value, (4,))
            assert column[i] == pytest.approx(value.value, rel=1e-12), name


@pytest.mark.parametrize(
    ("model", "options"),
    [
        ("llama-3.1-8b", {}),
        ("gpt-oss-120b", {"engine": "trtllm"}),
        ("deepseek-v3", {"weight_format": "nvfp4", "data_parallel": True}),
        ("qwen3-235b-a22b", {"cached": 700}),
        ("mixtral-8x22b", {"engine": "vllm"}),
    ],
)
def test_the_work_recomputes(replica, model, options):
    d = Derivation()
    s, n = replica(model, B200, 8, 1024, 512, 3000, **options)
    out = serve(s, n, d)
    report = Report()
    program = Program(rendered(d).work, report)
    program.run()
    assert program.complete
    assert not report.problems
    for value in out.values():
        assert program.values[value.name] == pytest.approx(value.value, rel=1e-5)


def test_cache_binds_and_the_rest_waits(served):
    options = {"weight_format": "fp8", "kv_format": "bf16", "set_": ["held_output=0.9"]}
    few = served("llama-3.1-70b", H100, 2, 8192, 1024, 8, **options)
    many = served("llama-3.1-70b", H100, 2, 8192, 1024, 512, **options)
    # 2 x (0.92 x 85.9 - 2.5) GB less 71.6 GB of weights, over 327,680 byte x (8192 + 0.9 x 1024).
    parameters, head = 70_553_706_496, 128256 * 8192
    weights = parameters - 2 * head + 2 * 2 * head
    room = 2 * (0.92 * 80 * 2**30 - 2.5e9) - weights
    assert many["slots"] == pytest.approx(room / (327_680 * (8192 + 0.9 * 1024)), rel=1e-6)
    assert few["decoding"] == 8
    assert many["decoding"] == many["slots"] < 512
    # The wait for cache: what does not fit takes whole turns.
    turns = 512 / many["slots"] - 1
    assert many["ttft"] > turns * 1024 * many["tpot"]


def test_a_cached_prefix_saves_its_prefill_only(served):
    plain = served("llama-3.1-8b", H100, 1, 4096, 256, 4)
    cached = served("llama-3.1-8b", H100, 1, 4096, 256, 4, cached=3072)
    assert cached["step"] == plain["step"]
    assert cached["prefill"] < plain["prefill"]
    assert cached["ttft"] < plain["ttft"]
    assert cached["slots"] == plain["slots"]
    assert served("llama-3.1-8b", H100, 1, 4096, 256, 4, cached=0)["tpot"] == pytest.approx(plain["tpot"], rel=1e-12)


def test_data_parallel_attention_splits_the_latent_cache(replica):
    # Tensor parallelism holds every latent on all ranks; data-parallel attention holds each once.
    outs = []
    for parallel in (False, True):
        s, n = replica(
            "deepseek-v3", H200, 8, 4096, 1024, 64, data_parallel=parallel, kv_format="bf16", engine="trtllm"
        )
        outs.append(serve(s, n, Derivation()))
    tensor, data = outs
    assert tensor["each"].value == pytest.approx(8 * data["each"].value)
    assert tensor["each"].value == pytest.approx(70_272 * (4096 + 0.9 * 1024), rel=1e-9)
    # All ranks hold the whole attention: 61 layers x (latent_in + latent_out) of 8 bit, 7/8 of it beyond a share; tensor
    # parallelism repeats latent_in alone.
    latent_out = 128 * (1536 * 192 + 512 * 256 + 128 * 7168)
    assert data["held"].value - tensor["held"].value == pytest.approx(61 * latent_out * 7 / 8)


def test_the_engines_own_cache_format(zoo):
    h100, b200 = zoo.get("hardware", H100), zoo.get("hardware", B200)
    assert default_kv_format(("fp8", "fp8"), h100, "vllm") == "bf16"
    assert default_kv_format(("fp8", "fp8"), h100, "trtllm") == "fp8"
    assert default_kv_format(("bf16", "mxfp4"), b200, "vllm") == "fp8"
    assert default_kv_format(("bf16", "bf16"), b200, "trtllm") == "bf16"


def test_weights_alone_too_large_leave_negative_room(served):
    out = served("llama-3.1-405b", H100, 2, 1024, 128, 1)
    assert out["room"] < 0
    assert out["slots"] == 1
    assert all(math.isfinite(v) for v in out.values())


def test_ranks_that_do_not_divide_are_refused(replica):
    with pytest.raises(CallError) as refused:
        replica("llama-3.1-8b", H100, 5, 1024, 128, 1)
    assert refused.value.repair["n_accelerators"] in (4, 8)


def test_an_unknown_chip_is_extrapolated(replica):
    warnings = []
    replica("llama-3.1-8b", "amd-mi300x", 1, 1024, 128, 1, warnings=warnings)
    assert any(w.startswith("extrapolated") for w in warnings)


@settings(max_examples=60, deadline=None)
@given(
    load=st.floats(1, 4096),
    more=st.floats(1, 8),
    prompt=st.integers(1, 100_000),
    output=st.integers(1, 10_000),
    model=st.sampled_from(["llama-3.1-8b", "gpt-oss-20b", "minimax-m2.5", "deepseek-v3"]),
)
def test_more_load_is_never_faster(zoo, load, more, prompt, output, model):
    n = Numbers()
    n.you("prompt", prompt, "token")
    n.you("output", output, "token")
    n.you("concurrency", load)
    s = resolve_serving(n, zoo.get("models", model), zoo.get("hardware", B200), 8, [])
    one = serve(s, n, Derivation())
    two = serve(s, n.replaced({"concurrency": load * more}), Derivation())
    for name in ("step", "tpot", "ttft", "decoding"):
        assert two[name].value >= one[name].value * (1 - 1e-12)
    for out in (one, two):
        assert 0 < out["step"].value <= out["tpot"].value * (1 + 1e-12)
        assert out["tpot_low"].value <= out["tpot"].value <= out["tpot_high"].value
        assert out["ttft"].value >= out["prefill"].value


def test_sparse_attention_by_hand(replica):
    # GLM-5: 78 layers, latent of 512 + 64; an indexer of 32 heads of 128 keeps 2048 positions. 8-bit weights, 16-bit cache.
    s, n = replica("glm-5", B200, 8, 10_000, 2, 1, weight_format="fp8", kv_format="bf16")
    d = Derivation()
    out = serve(s, n, d)
    cells = {name: dict(table) for table in d.tables for name, table in table.rows.items()}
    assert cells["attention"]["kv"] == 2048 * 576 * 2
    assert cells["indexer"]["kv"] == 10_001 * 128
    assert cells["indexer"]["flops"] == 2 * 32 * 128 * 10_001
    assert cells["indexer"]["w"] == 2048 * 32 * 128 + 6144 * (128 + 32)
    # What is held grows with all positions: latents and the indexer's keys.
    held = n.held_output.value
    assert out["each"].value == pytest.approx(78 * (576 * 2 + 128) * (10_000 + held * 2))
    # A short context is read whole.
    short = n.replaced({"prompt": 1000.0})
    again = Derivation()
    serve(s, short, again)
    assert again.tables[0].rows["attention"]["kv"] == 1001 * 576 * 2


def test_a_gated_delta_layer_by_hand(zoo):
    # Qwen3.5-397B: 16 key and 64 value heads of 128, hidden size 4096, a convolution of width 4.
    model = zoo.get("models", "qwen3.5-397b-a17b")
    key, value = 16 * 128, 64 * 128
    projections = 4096 * (2 * key + 2 * value) + 4096 * 2 * 64 + (2 * key + value) * 4 + 2 * 64 + 128 + value * 4096
    assert model.number("linear.projection_parameters").value == projections
    # A 32-bit matrix of 128 x 128 a value head, and three 16-bit columns of the convolution.
    assert model.number("linear.state_bytes").value == 64 * 128 * 128 * 4 + (2 * key + value) * 3 * 2
    assert model.number("parameters").value == pytest.approx(397e9, rel=0.005)
    assert model.number("active_parameters").value == pytest.approx(17e9, rel=0.03)
