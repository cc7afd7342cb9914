"""The price of serving: hand arithmetic, published claims and bills, searches, properties, what does not fit, what is missing."""

import json
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlwalls.server.verification import verify
from mlwalls.solvers.errors import CallError
from mlwalls.solvers.registry import solvers

GROUP = {"model": "llama-3.1-70b", "hardware": "h100", "n_accelerators": 4}
SMALL = {"model": "llama-3.1-8b", "hardware": "h100"}
# The roofline's corner: half the matmul peak, all of the bandwidth, no overheads; one chip that holds anything.
CORNER = ["driver=4e11", "eta16=0.5", "eta_attention=0.5", "tau=1e-12", "t_sequence=1e-15", "headroom=1"]


def value(answer, name):
    """The number that a line of work prints for a step or an input."""
    for line in answer["work"]:
        if line.startswith(f"{name} = "):
            return float(line.split(" [")[0].split(" -> ")[0].rsplit(" = ", 1)[1].split()[0])
    raise KeyError(name)


def test_a_query_is_its_prompts_time_and_its_share_of_the_steps(ask):
    # 4 x 2.95 USD/h, 64 in flight, 256 tokens out: the printed step over 64, and what a prompt adds, at a headroom of 0.7.
    answer = ask("serving_cost", **GROUP, concurrency=64, detail="full")
    result = answer["result"]
    seconds = value(answer, "prompt_spent") + 256 * value(answer, "step") / 64
    assert result["rate_per_s"] == pytest.approx(1 / seconds, rel=1e-5)
    assert result["query_usd"] == pytest.approx(4 * 2.95 / 3600 * seconds / 0.7, rel=1e-4)
    tokens = 1024 * result["input_price_usd_per_million_tokens"] + 256 * result["output_price_usd_per_million_tokens"]
    assert tokens / 1e6 == pytest.approx(result["query_usd"], rel=1e-5)


def test_times_are_the_serving_models(ask):
    # Steps and prefill are roofline's: decode of 64 at the mean context 1024 + 128, and a prompt of 1024.
    answer = ask("serving_cost", **GROUP, concurrency=64)
    decode = ask("roofline", **GROUP, phase="decode", batch_sizes=[64], seq_len=1152)["result"]["expected_ms"]
    prefill = ask("roofline", **GROUP, phase="prefill", seq_len=1024)["result"]["expected_ms"]
    assert value(answer, "step") * 1e3 == pytest.approx(decode, rel=1e-4)
    assert answer["result"]["prefill_ms"] == pytest.approx(prefill, rel=1e-4)


def test_eight_reasoning_steps_cost_seven_point_six_times_one(ask):
    # r = prefill / step: 2N * 8o / (0.5 * 989.4e12) over 2N * o / 3.35e12 = 16 * 3.35 / 989.4 = 0.0542; (r + 8)/(r + 1) = 7.64.
    r = 16 * 3.35 / 989.4
    assert (r + 8) / (r + 1) == pytest.approx(7.64, abs=0.001)
    call = {"model": "llama-3.1-70b", "hardware": "h100", "concurrency": 1, "reasoning_steps": 8, "set": CORNER}
    # Short texts: hardly any attention or cache. The model's own matrices (the head once a prompt) give 7.65.
    short = ask("serving_cost", **call, prompt_tokens=80, output_tokens=10)["result"]
    assert short["steps_ratio"] == pytest.approx(7.64, abs=0.01)
    full = ask("serving_cost", **call, prompt_tokens=4096, output_tokens=512)["result"]
    assert full["steps_ratio"] == pytest.approx(7.64, abs=0.01)


def test_the_ratio_is_that_of_two_calls_but_for_the_longer_cache(ask):
    call = {"model": "llama-3.1-70b", "hardware": "h100", "concurrency": 1, "set": CORNER}
    one = ask("serving_cost", **call, prompt_tokens=4096, output_tokens=512)["result"]["query_usd"]
    eight = ask("serving_cost", **call, prompt_tokens=4096, output_tokens=512, reasoning_steps=8)["result"]
    assert eight["query_usd"] / one == pytest.approx(eight["steps_ratio"], rel=0.02)
    assert eight["query_usd"] / one > eight["steps_ratio"]  # later steps read a longer cache


def test_the_nine_million_dollar_question(ask):
    # 70B, 512 in and 512 out a step, batch 8, 1.41 USD an accelerator-hour. By hand at the corner: a step streams 139.0 GB and
    # 8 caches of 768 tokens x 327,680 B (2.0 GB) in 42.1 ms, computes 8 x 2 x 69.5e9 FLOP in 2.25 ms; 512 of them over 8 are
    # 2.84 s, a prompt 512 x 2 x 68.5e9 in 0.142 s: 2.98 s x 1.41/3600 = 0.00117 USD; 1.2 million a year are 32.6 queries/s.
    call = {"model": "llama-3.1-70b", "hardware": "h100", "concurrency": 8, "prompt_tokens": 512, "output_tokens": 512}
    call |= {"usd_per_hour": 1.41, "set": CORNER, "queries_per_s": 32.6}
    one = ask("serving_cost", **call)["result"]
    assert one["rate_per_s"] == pytest.approx(1 / 2.98, rel=0.005)
    assert one["year_usd"] == pytest.approx(1.2e6, rel=0.02)
    eight = ask("serving_cost", **call, reasoning_steps=8)["result"]
    assert eight["steps_ratio"] == pytest.approx(7.68, abs=0.01)  # batched prompts weigh as little as at batch 1
    assert eight["year_usd"] == pytest.approx(9.1e6, rel=0.06)  # 9.5: the cache of eight steps
    assert eight["year_usd"] > 9.1e6


def test_batching_and_a_prefix_cache_change_what_reasoning_costs(ask):
    call = {**GROUP, "prompt_tokens": 4096, "output_tokens": 256, "reasoning_steps": 8}
    alone = ask("serving_cost", **call, concurrency=1)["result"]["steps_ratio"]
    batched = ask("serving_cost", **call, concurrency=128)["result"]["steps_ratio"]
    cached = ask("serving_cost", **call, concurrency=128, cached_percent=90)["result"]["steps_ratio"]
    assert batched < cached < alone <= 8


def test_deepseeks_bill(ask):
    # Day 6: 608e9 tokens in (342e9 from the cache) and 168e9 out a day, at 4,989 tokens of mean context and 20 to 22 tokens/s a
    # user: 226.75 nodes of 8 H800 at 2 USD/h, 87,072 USD. Answers of o tokens and prompts of 608/168 o: o/2 + 3.619 o = 4,989.
    output = 4989 / (608 / 168 + 0.5)
    prompt = 608 / 168 * output
    load = 168e9 / 86400 / output
    assert 226.75 * 8 * 2 * 24 == 87072
    call = {"model": "deepseek-v3", "hardware": "h100", "prompt_tokens": round(prompt), "output_tokens": round(output)}
    call |= {"cached_percent": 100 * 342 / 608, "queries_per_s": load, "tpot_ms": 1000 / 21, "usd_per_hour": 2}

    def pools(ranks):
        # Wide expert parallelism was never calibrated: what the fit charges a group for every token is spread over its ranks, and
        # the exchange of one half of a batch hides behind the computing of the other, as DeepSeek says it does.
        return ask("serving_cost", **call, n_accelerators=ranks, disaggregated=True, set=["headroom=0.95"])

    decode, prefill = pools(144), pools(32)  # 18 nodes a decoding unit, 4 a prefilling one
    assert any("extrapolated" in w for w in decode["warnings"])
    accelerators = 144 * decode["result"]["replicas"] + 32 * prefill["result"]["prefill_replicas"]
    assert accelerators * 2 * 24 == pytest.approx(87072, rel=0.2)
    # Its own node throughputs, 14,800 tokens/s out and 73,700 in, say the same: 131 and 95 nodes.
    assert 144 / 8 * decode["result"]["replicas"] == pytest.approx(168e9 / 86400 / 14800, rel=0.2)
    # Groups of 8, the widest that was measured, would have cost several times as much.
    narrow = ask("serving_cost", **{**call, "hardware": "h200"}, n_accelerators=8)["result"]
    assert narrow["accelerators"] * 2 * 24 > 2 * 87072


def test_the_exchange_between_domains_is_that_of_published_kernels(ask):
    # DeepEP, 128 tokens a rank, 7,168 wide, 8 experts, out in FP8 and back in 16 bit over 50 GB/s: dispatch and combine take
    # 118 + 195, 155 + 273, 173 + 314 and 192 + 369 us on 2, 4, 8 and 16 domains of 8. One layer of ours, at 128 a rank.
    for ranks, published in ((16, 313e-6), (32, 428e-6), (64, 487e-6), (128, 561e-6)):
        call = {"model": "deepseek-v3", "hardware": "h200", "n_accelerators": ranks, "concurrency": 128 * ranks}
        answer = ask("serving_cost", **call)
        layer = value(answer, "exchange_share") * value(answer, "step") / 58
        assert layer == pytest.approx(published, rel=0.08)


def test_the_exchange_counts_where_it_cannot_hide(ask):
    # Copies of one token: 58 layers x 8 x 1/2 elsewhere x 3 byte x 7,168, over 16 accelerators at 0.75 x 50 GB/s: 8.315 us.
    each = 58 * 8 * 0.5 * 3 * 7168 / (0.75 * 50e9 * 16)
    call = {"model": "deepseek-v3", "hardware": "h200", "n_accelerators": 16}
    bare = {at: ask("serving_cost", **call, concurrency=at, set=["exchange_rate=1e-1"]) for at in (8, 512)}
    full = {at: ask("serving_cost", **call, concurrency=at) for at in (8, 512)}
    # Eight sequences on sixteen ranks cannot be halved: all of it counts, 7.5 times as much at a tenth of the network.
    difference = value(bare[8], "step") - value(full[8], "step")
    assert difference == pytest.approx(8 * each * (7.5 - 1), rel=1e-3)
    assert "hides behind nothing" in full[8]["verdict"]
    # 512 can be: it hides until it is longer than all else.
    assert value(bare[512], "step") == pytest.approx(512 * each * 7.5, rel=1e-4)
    assert value(full[512], "step") > 512 * each and "hides behind the other half" in full[512]["verdict"]
    assert verify(json.loads(json.dumps(full[8]))).ok and verify(json.loads(json.dumps(bare[512]))).ok


def test_eight_bit_caches_hold_twice_the_sequences(ask):
    wide, narrow = (ask("serving_cost", **GROUP, tpot_ms=10_000, kv_dtype=kind) for kind in ("bf16", "fp8"))
    assert value(narrow, "limit") == pytest.approx(2 * value(wide, "limit"), abs=1)
    with pytest.raises(CallError) as error:
        ask("serving_cost", model="mamba-2.8b", hardware="h100", kv_dtype="fp8")
    assert error.value.argument == "kv_dtype"


def test_speculation_is_compared_with_the_same_batch_without(ask):
    # One request: no prompts of others, so that the gain is the ratio of two times a token.
    plain = ask("serving_cost", **GROUP, concurrency=1)["result"]
    drafted = ask("serving_cost", **GROUP, concurrency=1, draft_tokens=4)
    gain = drafted["result"]["speculation"]
    assert gain == pytest.approx(plain["tpot_ms"] / drafted["result"]["tpot_ms"], rel=1e-4)
    assert gain > 1 and "Speculation: " in drafted["verdict"]
    # Drafts that are hardly taken cost more than they bring.
    poor = ask("serving_cost", **GROUP, concurrency=256, draft_tokens=64, acceptance_percent=10)
    assert poor["result"]["speculation"] < 1 and "does not pay" in poor["verdict"]


def test_a_load_says_how_busy_replicas_are(ask):
    assert "70 % busy at most" in ask("serving_cost", **GROUP, tpot_ms=40, queries_per_s=20)["verdict"]


def test_the_largest_batch_keeps_its_target_and_the_next_does_not(ask):
    found = ask("serving_cost", **GROUP, tpot_ms=40, ttft_ms=2000)["result"]
    again = ask("serving_cost", **GROUP, concurrency=int(found["concurrency"]))["result"]
    assert again["tpot_ms"] == pytest.approx(found["tpot_ms"], rel=1e-5) and again["tpot_ms"] <= 40
    over = ask("serving_cost", **GROUP, concurrency=int(found["concurrency"]) + 1)["result"]
    assert over["tpot_ms"] > 40 or over["ttft_ms"] > 2000


def test_a_first_token_target_binds_too(ask):
    both = ask("serving_cost", **GROUP, tpot_ms=40, ttft_ms=300)["result"]
    assert both["ttft_ms"] <= 300 < ask("serving_cost", **GROUP, tpot_ms=40)["result"]["ttft_ms"]
    only = ask("serving_cost", **GROUP, ttft_ms=300)["result"]
    assert only["concurrency"] == both["concurrency"]


@pytest.mark.parametrize("model", ["llama-3.1-70b", "deepseek-v3"])
def test_the_operating_point_keeps_in_flight_what_its_load_brings(ask, model):
    # Little's law, by hand from the printed values: batch = load x (prompt + (o - 1) x time per token).
    call = {"model": model, "hardware": "h200", "n_accelerators": 8, "tpot_ms": 60, "queries_per_s": 77}
    answer = ask("serving_cost", **call)
    result = answer["result"]
    load = 77 / result["replicas"]
    in_flight = load * (value(answer, "prompt_spent") + 255 * result["operating_tpot_ms"] / 1e3)
    assert in_flight == pytest.approx(result["operating"], abs=1 if model == "deepseek-v3" else 1e-3)
    assert result["operating"] < result["concurrency"]
    assert result["operating_tpot_ms"] < result["tpot_ms"]


def test_replicas_keep_the_headroom_and_one_fewer_does_not(ask):
    result = ask("serving_cost", **GROUP, tpot_ms=40, queries_per_s=200)["result"]
    assert result["loaded_percent"] <= 70
    assert 200 / ((result["replicas"] - 1) * result["rate_per_s"]) > 0.7
    assert result["accelerators"] == 4 * result["replicas"]
    # A year of those replicas, paid in full.
    assert result["year_usd"] == pytest.approx(result["accelerators"] * 2.95 * 8760, rel=1e-4)


def test_the_wait_for_the_prefill_station_by_hand(ask):
    # Pollaczek-Khinchine with exponential service: load s^2 / (1 - load s).
    answer = ask("serving_cost", **GROUP, tpot_ms=40, queries_per_s=200)
    load, service = 200 / answer["result"]["replicas"], value(answer, "prompt_spent")
    assert answer["result"]["wait_ms"] == pytest.approx(1e3 * load * service**2 / (1 - load * service), rel=1e-4)


def test_speculation_by_hand(ask):
    # Leviathan: (1 - 0.8^5)/(1 - 0.8) = 3.3616 tokens a verification of 4 drafted ones; a draft step is 5 % of a step.
    answer = ask("serving_cost", **GROUP, concurrency=1, draft_tokens=4, acceptance_percent=80, detail="full")
    assert value(answer, "gain") == pytest.approx(3.3616)
    fixed, token, cache = (value(answer, name) for name in ("fixed", "token", "cache"))
    by_hand = (fixed * (1 + 4 * 0.05) + 5 * token + cache + 4 * 0.05 * token) / 3.3616
    assert answer["result"]["tpot_ms"] == pytest.approx(by_hand * 1e3, rel=1e-4)


def test_speculation_pays_alone_and_not_in_a_large_batch(ask):
    def gain(concurrency):
        call = {**GROUP, "concurrency": concurrency, "prompt_tokens": 64}
        plain = ask("serving_cost", **call)["result"]["query_usd"]
        return plain / ask("serving_cost", **call, draft_tokens=4, draft_model="llama-3.2-1b")["result"]["query_usd"]

    assert gain(1) > 1.4
    assert gain(1) > gain(64) > gain(400)


def pool(answer):
    """The cache pool quoted from kv_capacity."""
    (line,) = (line for line in answer["work"] if line.startswith("answer kv_capacity"))
    return float(line.split("pool=")[1].split()[0])


def test_a_draft_model_takes_memory_and_reads_the_prompt_too(ask):
    call = {**GROUP, "concurrency": 8, "detail": "full"}
    plain = ask("serving_cost", **call)
    drafted = ask("serving_cost", **call, draft_tokens=4, draft_model="llama-3.1-8b")
    # Of the pool 8,030,261,248 parameters of 2 byte over 4 ranks; a token 2 x 8 heads x 128 x 2 byte over 4 ranks in 32
    # layers beside 80, in blocks of 16 of the 1024 tokens and what is held of 256.
    assert value(plain, "slots") == pytest.approx(pool(plain) / value(plain, "held"), rel=1e-5)
    assert value(drafted, "room_beside") == pytest.approx(pool(plain) - 8030261248 * 2 / 4, rel=1e-5)
    assert value(drafted, "cache_both") / value(plain, "held") == pytest.approx((80 + 32) / 80, rel=1e-5)
    more = drafted["result"]["prefill_ms"] - plain["result"]["prefill_ms"]
    assert more == pytest.approx(1e3 * (value(drafted, "d_prompt_time") + value(drafted, "d_fixed")), rel=1e-3)


def test_disaggregated_prompts_do_not_slow_the_steps(ask):
    # Steps without prompts in them; a rate of decoding alone.
    apart = ask("serving_cost", **GROUP, tpot_ms=40, queries_per_s=100, disaggregated=True)
    together = ask("serving_cost", **GROUP, tpot_ms=40, queries_per_s=100)["result"]
    result = apart["result"]
    assert result["concurrency"] > 2 * together["concurrency"]
    assert result["tpot_ms"] == pytest.approx(value(apart, "step") * 1e3, rel=1e-5)
    assert result["accelerators"] == 4 * (result["replicas"] + result["prefill_replicas"])
    assert result["year_usd"] == pytest.approx(result["accelerators"] * 2.95 * 8760, rel=1e-4)


@pytest.mark.parametrize(
    ("arguments", "wall", "says"),
    [
        ({**GROUP, "n_accelerators": 1, "concurrency": 8}, "memory_capacity", "n_accelerators=2 would hold it"),
        ({**GROUP, "tpot_ms": 1}, "serving_phases", "times the target"),
        ({**SMALL, "tpot_ms": 5}, "serving_phases", "n_accelerators=2 would keep it"),
        ({**GROUP, "ttft_ms": 1}, "serving_phases", "to the first token"),
    ],
)
def test_what_cannot_be_is_said_first_and_by_how_much(ask, arguments, wall, says):
    answer = ask("serving_cost", **arguments)
    assert answer["feasible"] is False and answer["verdict"].startswith("Infeasible")
    assert answer["binding_wall"]["slug"] == wall
    assert says in answer["verdict"]
    assert "query_usd" not in answer["result"]
    report = verify(json.loads(json.dumps(answer)))
    assert report.ok, report.text()


def test_the_remedy_works(ask):
    assert ask("serving_cost", **{**GROUP, "n_accelerators": 2}, concurrency=8)["feasible"]
    assert ask("serving_cost", **SMALL, n_accelerators=2, tpot_ms=5)["feasible"]


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({**SMALL, "hardware": "nvidia-b300-sxm"}, "usd_per_hour"),
        ({**SMALL, "hardware": "nvidia-b300-sxm", "owned": True}, "owned"),
        ({**SMALL, "hardware": "nvidia-rtx-4090", "weight_dtype": "fp8"}, "usd_per_hour"),  # bought, not rented
        ({**SMALL, "concurrency": 8, "tpot_ms": 40}, "concurrency"),
        ({**SMALL, "owned": True, "usd_per_hour": 2}, "usd_per_hour"),
        ({**SMALL, "draft_model": "llama-3.2-1b"}, "draft_tokens"),
        ({**SMALL, "model": "lama-3.1-8b"}, "model"),
        ({**SMALL, "n_accelerators": 3}, "n_accelerators"),
    ],
)
def test_what_is_missing_is_named_and_repaired(ask, arguments, named):
    with pytest.raises(CallError) as error:
        ask("serving_cost", **arguments)
    assert error.value.argument == named
    repaired = {k: v for k, v in {**arguments, **error.value.repair}.items() if v is not None}
    if named == "owned":
        repaired["usd_per_hour"] = 5
    assert ask("serving_cost", **repaired)["feasible"]


def test_a_search_is_fast(zoo):
    solver = solvers()["serving_cost"]
    request = solver.request.model_validate({**GROUP, "tpot_ms": 40, "queries_per_s": 35})
    solver.run(request, zoo)
    best = min(_timed(lambda: solver.run(request, zoo)) for _ in range(5))
    assert best < 0.02


def _timed(run):
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from([("llama-3.1-70b", 4), ("llama-3.1-8b", 1), ("gpt-oss-120b", 2), ("deepseek-v3", 8)]),
    st.sampled_from(["h200", "mi300x", "nvidia-b200-sxm-180gb"]),
    st.integers(1, 20_000),
    st.integers(2, 4000),
    st.one_of(st.integers(1, 2000), st.floats(20, 500)),
    st.one_of(st.none(), st.floats(0.1, 500)),
    st.integers(1, 4),
    st.floats(0, 95),
    st.booleans(),
    st.integers(0, 4),
    st.booleans(),
)
def test_properties(ask, group, hardware, prompt, output, load, queries, steps, cached, split, drafted, owned):
    call = {
        "model": group[0],
        "n_accelerators": group[1],
        "hardware": hardware,
        "prompt_tokens": prompt,
        "output_tokens": output,
        "reasoning_steps": steps,
        "cached_percent": cached,
        "disaggregated": split,
        "draft_tokens": drafted,
        **({"concurrency": load} if isinstance(load, int) else {"tpot_ms": load}),
        **({} if queries is None else {"queries_per_s": queries}),
        **({"owned": True} if owned else {}),
    }
    answer = ask("serving_cost", **call)
    report = verify(json.loads(json.dumps(answer)))
    assert report.ok, report.text()
    if not answer["feasible"]:
        return
    result = answer["result"]
    assert 0 < result["query_low_usd"] <= result["query_usd"] <= result["query_high_usd"]
    assert result["tpot_low_ms"] <= result["tpot_ms"] <= result["tpot_high_ms"]
    if queries is None and isinstance(load, int):  # within a target, longer answers allow larger batches
        dearer = ask("serving_cost", **{**call, "output_tokens": 2 * output})
        assert not dearer["feasible"] or dearer["result"]["query_usd"] > result["query_usd"]
    if queries is not None:
        assert result["year_usd"] == pytest.approx(result["query_usd"] * queries * 31536000, rel=1e-4)
        assert result["loaded_percent"] <= 70 * (1 + 1e-6)


def test_what_does_not_fit_at_once_queues_and_that_is_said(ask):
    answer = ask("serving_cost", **GROUP, concurrency=5000)
    runs = round(answer["result"]["decoding"])
    assert runs < 1000
    said = f"5,000 in flight do not fit: {runs} run, the rest queues for cache"
    assert said in answer["verdict"]
    assert said in answer["warnings"]
    assert "queues" not in ask("serving_cost", **GROUP, concurrency=64)["verdict"]


def test_the_first_tokens_range_is_in_the_verdict(ask):
    answer = ask("serving_cost", **SMALL, concurrency=1)
    low, high = (answer["result"][f"ttft_{end}_ms"] for end in ("low", "high"))
    assert f"({low:.3g} ms to {high:.3g} ms)" in answer["verdict"]


def test_the_engines_constant_start_is_told_where_it_is_much_of_the_first_token(ask):
    # 8B, one request: 27 ms of prefill, 1.27 of it among running steps, after 80 ms of an engine that is not named.
    call = {"model": "llama-3.1-8b", "hardware": "h100"}
    served = ask("serving_cost", **call, concurrency=1, prompt_tokens=1024)
    prefill = ask("roofline", **call, phase="prefill", seq_len=1024)["result"]["expected_ms"]
    assert served["result"]["prefill_ms"] == pytest.approx(prefill, rel=1e-4)
    assert served["result"]["ttft_ms"] == pytest.approx(80 + 1.27 * prefill, rel=1e-4)
    assert ", 80 ms of it an engine's constant start of a request" in served["verdict"]
    long = ask("serving_cost", **call, concurrency=8, prompt_tokens=32_000)
    assert "constant start" not in long["verdict"]
