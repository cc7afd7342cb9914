"""audit: budgets, replicas and loads by hand, every figure that of the call named, infeasible and odd requests."""

import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlwalls.server.verification import verify
from mlwalls.solvers.assignments import read_assignments
from mlwalls.solvers.audit import SOLVER
from mlwalls.solvers.errors import CallError
from mlwalls.solvers.inner import askable, resolve_inner, schema_of
from mlwalls.solvers.walls import WALLS

RUN = {"model": "llama-3.1-70b", "hardware": "h100", "n_accelerators": 512, "days": 30, "mfu_percent": 40}
DEPLOYMENT = {"model": "llama-3.1-70b", "hardware": "h100", "n_accelerators": 4, "workload": "serving"}


def slugs(answer):
    return [row.partition(":")[0] for row in answer["result"]["wall_rows"]]


def test_what_the_budget_buys(verified):
    # 512 x 989.4e12 FLOP/s x 30 x 86,400 s x 0.4 = 5.252e23 FLOP; / (6 x 70.554e9) = 1.241e12 tokens, 17.6 a parameter.
    result = verified("audit", **RUN)["result"]
    assert result["budget_flop"] == pytest.approx(512 * 989.4e12 * 30 * 86_400 * 0.4, rel=1e-5)
    assert result["tokens"] == pytest.approx(5.25215e23 / (6 * 70_553_706_496), rel=1e-5)
    assert result["tokens_per_parameter"] == pytest.approx(17.6, abs=0.05)


@pytest.mark.parametrize("arguments", [RUN, DEPLOYMENT], ids=["training", "serving"])
def test_twelve_walls_and_more_over_the_domains(verified, arguments):
    answer = verified("audit", **arguments)
    rows = slugs(answer)
    assert len(set(rows)) == len(rows) >= 12
    assert {"node", "algorithm", "fleet", "operations"} <= {WALLS[slug].domain for slug in rows}
    assert len(answer["result"]["lever_rows"]) == 3
    assert answer["binding_wall"]["slug"] in rows


def test_a_training_run_has_its_data_walls(verified):
    assert {"storage_bandwidth", "ingestion"} <= set(slugs(verified("audit", **RUN)))


@pytest.mark.parametrize("arguments", [RUN, DEPLOYMENT], ids=["training", "serving"])
def test_every_figure_is_that_of_the_call_named(verified, ask, zoo, arguments):
    """Make each call again: its answer verifies and has each figure that the audit says it has."""
    answer = verified("audit", **arguments)
    figures = {}
    for call in answer["result"]["calls"]:
        tool, _, text = call.partition(" ")
        lines = re.split(r" (?=[a-z_]+=)", text)
        if tool == "sensitivity":
            request = read_assignments(lines, schema_of_analysis("sensitivity"))
            own = ask("sensitivity", **request)
            figures.setdefault(tool, set()).update(own["result"]["vary_elasticity"])
            continue
        inner = resolve_inner(tool, lines, zoo)
        own = ask(tool, **inner.arguments)
        assert verify(json.loads(json.dumps(own))).problems == []
        out, _ = inner.recorded()
        figures.setdefault(tool, set()).update(float(f"{float(v.value):.6g}") for v in out.values())
    claimed = 0
    for line in answer["work"]:
        if match := re.match(r"answer ([a-z_]+)(?: \[[^]]*\])?: (.*)", line):
            for number in re.findall(r"[A-Za-z_0-9]+=([-+0-9.e]+)", match[2]):
                assert float(number) in figures[match[1]], (match[1], number)
                claimed += 1
    assert claimed >= 15


def schema_of_analysis(tool):
    from mlwalls.solvers.registry import solvers

    return schema_of(solvers()[tool])


def rows_of(answer):
    """Return a row's text by its wall."""
    return dict(row.split(": ", 1) for row in answer["result"]["wall_rows"])


def call_of(answer, tool):
    return next(call for call in answer["result"]["calls"] if call.startswith(f"{tool} "))


def serve(verified, model, hardware, count, load, **more):
    asked = {"model": model, "hardware": hardware, "n_accelerators": count, "queries_per_s": load, **more}
    return verified("audit", **asked, workload="serving")


def test_tokens_are_those_of_the_fleet_in_the_time(verified, ask):
    """Throughput x goodput x time; C/6N leaves attention's FLOPs out and is 4.492e11 / (6 x 70.554e9) = 1.061 times that."""
    run = {"model": "llama-3.1-70b", "hardware": "h100", "n_accelerators": 1024}
    fleet = ask("fleet_efficiency", **run)["result"]
    result = verified("audit", **run, region="poland")["result"]
    hand = fleet["throughput_tokens_per_s"] * fleet["goodput_percent"] / 100 * 30 * 86_400
    assert result["tokens"] == pytest.approx(hand, rel=1e-4)
    each = 6 * (70_553_706_496 - 128_256 * 8_192) + 12 * 80 * 64 * 128 * 4_096
    assert result["budget_flop"] / each == pytest.approx(hand, rel=1e-3)
    assert result["budget_flop"] / (6 * 70_553_706_496) == pytest.approx(1.0612 * hand, rel=1e-3)


def test_with_a_utilization_given_the_tokens_with_attention_stand_beside(verified):
    # PaLM's count: 6 x (70.554e9 - 128,256 x 8,192 embedding) + 12 x 80 layers x 64 x 128 x 4,096 = 4.492e11 FLOP a token;
    # 5.25215e23 / 4.492e11 = 1.169e12 tokens, 5.8 % fewer than C/6N.
    answer = verified("audit", **RUN)
    each = 6 * (70_553_706_496 - 128_256 * 8_192) + 12 * 80 * 64 * 128 * 4_096
    line = next(line for line in answer["work"] if line.startswith("counted = "))
    assert float(line.rpartition("= ")[2]) == pytest.approx(5.25215e23 / each, rel=1e-3)
    assert "1.24T tokens by C/6N (1.17T with attention)" in answer["verdict"]


def test_the_utilization_given_is_the_row_and_feeds_the_data(verified):
    # 0.4 of 1, and 4,096-token sequences: 1.169e12 tokens / 2.592e6 s / 512 / 4,096 x 8 accelerators a host = 1.72 a second.
    rows = rows_of(verified("audit", **RUN))
    assert rows["compute_throughput"].startswith("0.4 of 1 (MFU; ")
    assert float(rows["storage_bandwidth"].split()[0]) == pytest.approx(1.169e12 / 2.592e6 / 512 / 4096 * 8, rel=5e-3)


def test_a_mixture_trains_its_active_parameters(verified):
    # 256 x 989.4e12 x 2.592e6 s x 0.3 = 1.9695e23 FLOP; / (6 x 37.552e9 active) = 8.741e11 tokens (671e9 in all).
    run = {"model": "deepseek-v3", "hardware": "h200", "n_accelerators": 256, "mfu_percent": 30}
    answer = verified("audit", **run)
    assert answer["result"]["tokens"] == pytest.approx(256 * 989.4e12 * 2.592e6 * 0.3 / (6 * 37_552_282_624), rel=1e-4)
    assert "an active parameter" in answer["verdict"]


def test_all_accelerators_are_replicas_of_the_group_that_answers_most(verified, ask):
    # 16 H100: 4 groups of 4 at 7.0 queries/s each, 28.0; 2 of 8 and 8 of 2 together answer fewer. 20/28.0 = 71.4 % busy.
    rate = {}
    for size in (2, 4, 8):
        each = ask("serving_cost", model="llama-3.1-70b", hardware="h100", n_accelerators=size, tpot_ms=50)
        rate[size] = each["result"]["rate_per_s"]
    assert max(rate, key=lambda size: 16 // size * rate[size]) == 4
    answer = serve(verified, "llama-3.1-70b", "h100", 16, 20)
    result = answer["result"]
    assert (result["replicas"], result["group"]) == (4, 4)
    assert result["busy_percent"] == pytest.approx(100 * 20 / (4 * rate[4]), rel=1e-4)
    assert result["busy_percent"] == pytest.approx(71.4, abs=0.5)
    # All 16 are paid: 16 x 2.95 USD/h / (20 x 3,600) = 0.656 USD a thousand.
    assert result["query_cost_usd"] == pytest.approx(16 * 2.95 / (20 * 3600), rel=1e-4)
    assert result["cost_usd"] == pytest.approx(16 * 2.95 * 720, rel=1e-4)
    assert answer["feasible"]
    assert "past" not in " ".join(result["wall_rows"])


@pytest.mark.parametrize(
    ("model", "hardware", "count", "replicas", "group"),
    [
        ("llama-3.1-8b", "h100", 1000, 1000, 1),
        ("llama-3.1-70b", "h100", 6, 1, 4),
        ("deepseek-v3", "h200", 16, 2, 8),
        ("llama-3.1-405b", "h100", 16, 1, 16),
    ],
)
def test_replicas_stay_in_a_link_domain_where_one_holds_the_model(verified, model, hardware, count, replicas, group):
    """671 GB of weights take 8 of 141 GB; 810 GB take more than the 640 GB of 8 H100. Two of six idle, and are paid."""
    answer = serve(verified, model, hardware, count, 0.1)
    result = answer["result"]
    assert (result["replicas"], result["group"]) == (replicas, group)
    price = {"h100": 2.95, "h200": 3.5}[hardware]
    assert result["query_cost_usd"] == pytest.approx(count * price / 360, rel=1e-4)
    assert any("idle" in w for w in answer["warnings"]) == (replicas * group < count)


@pytest.mark.parametrize(
    ("model", "hardware", "count", "load"),
    [("deepseek-v3", "h200", 16, 10), ("llama-3.1-70b", "h100", 16, 20), ("llama-3.1-8b", "h100", 1, 5)],
)
def test_one_batch_and_one_step_from_one_model(verified, zoo, model, hardware, count, load):
    """serving_cost at the batch of the rows has the step that roofline and quantization are asked about."""
    answer = serve(verified, model, hardware, count, load)
    batch = int(re.search(r"batch_sizes=\[(\d+)\]", call_of(answer, "roofline"))[1])
    assert f"batch_size={batch} " in call_of(answer, "quantization")
    assert f"concurrency={batch}]" in call_of(answer, "safety_overhead")
    rows = rows_of(answer)
    in_flight = float(rows["batching"].split()[0])
    assert abs(in_flight - batch) <= 0.5
    group = answer["result"]["group"]
    lines = [f"model={model}", f"hardware={hardware}", f"n_accelerators={group}", f"concurrency={batch}"]
    step = resolve_inner("serving_cost", lines, zoo).recorded()[0]["step"].value
    words = rows["compression"].split()
    assert float(words[2]) == pytest.approx(step, rel=5e-3)
    assert float(rows["serving_phases"].split()[0]) >= 0.995 * step
    # Little's law at the load: in flight = queries a second of a replica x (prefill share + 255 tokens).
    each = load / answer["result"]["replicas"]
    assert in_flight == pytest.approx(each * 255 * float(rows["serving_phases"].split()[0]), rel=0.1)


def test_the_price_is_that_of_the_load(verified, ask):
    # One H100 for a year over 5 queries a second: 2.95 x 8,760 / (5 x 31.536e6) = 0.000164 USD, as serving_cost has it.
    result = serve(verified, "llama-3.1-8b", "h100", 1, 5)["result"]
    assert result["query_cost_usd"] == pytest.approx(2.95 * 8760 / (5 * 31.536e6), rel=1e-4)
    same = ask("serving_cost", model="llama-3.1-8b", hardware="h100", tpot_ms=50, queries_per_s=5)["result"]
    assert result["query_cost_usd"] == pytest.approx(same["query_usd"], rel=1e-4)
    assert result["busy_percent"] == pytest.approx(same["loaded_percent"], rel=1e-4)


def test_energy_is_that_of_the_load(verified):
    # 700 W x (0.1 idle + 0.9 x 0.8 x busy + 0.3 host) x 1.05 network x 1.2 PUE x 720 h.
    for load in (1, 5, 20):
        result = serve(verified, "llama-3.1-8b", "h100", 1, load)["result"]
        drawn = 0.1 + 0.9 * 0.8 * result["busy_percent"] / 100 + 0.3
        assert result["total_energy_mwh"] == pytest.approx(700 * drawn * 1.05 * 1.2 * 720 / 1e6, rel=1e-4)


def test_a_load_beyond_the_replicas_is_infeasible_and_what_would_take_it_does(verified):
    # 20 queries/s at 7.0 a replica: ceil(2.86) = 3 replicas of 4, 12 H100.
    answer = serve(verified, "llama-3.1-70b", "h100", 4, 20)
    assert not answer["feasible"]
    assert answer["binding_wall"]["slug"] == "tail_latency"
    assert "(n_accelerators=12)" in answer["verdict"].split(". ")[0]
    assert "query_cost_usd" not in answer["result"]
    assert serve(verified, "llama-3.1-70b", "h100", 12, 20)["feasible"]
    assert not serve(verified, "llama-3.1-70b", "h100", 8, 20)["feasible"]


def test_compression_says_what_a_step_would_save(verified, ask):
    answer = serve(verified, "llama-3.1-70b", "h100", 16, 20)
    words = rows_of(answer)["compression"].split()
    saved = 100 * (1 - float(words[0]) / float(words[2]))
    assert float(rows_of(answer)["compression"].partition("saves ")[2].split()[0]) == pytest.approx(saved, abs=0.5)
    inner = dict(part.split("=") for part in call_of(answer, "quantization").split()[1:])
    own = ask("quantization", **{k: int(v) if v.isdecimal() else v for k, v in inner.items()})["result"]
    # Against the same 16-bit step.
    assert own["speedup"] == pytest.approx(float(words[2]) / float(words[0]), rel=5e-3)


def test_one_price_alone_is_no_row(verified):
    answer = verified("audit", model="llama-3.1-8b", hardware="mi300x", n_accelerators=8)
    assert "economic_cost" not in slugs(answer)
    assert answer["result"]["cost_usd"] == pytest.approx(8 * 720 * 3.45, rel=1e-4)
    assert any("one price" in w for w in answer["warnings"])


def test_no_price_leaves_the_money_out(verified):
    answer = serve(verified, "llama-3.1-8b", "gb200", 4, 1)
    assert answer["feasible"]
    assert not {"cost_usd", "query_cost_usd"} & set(answer["result"])
    assert any("no rental price" in w for w in answer["warnings"])


def test_no_wall_is_named_twice(verified):
    """At a light load no limit is near; at a heavy one the wall that binds is not also among those near."""
    light = serve(verified, "llama-3.1-8b", "h100", 8, 1)
    assert "none binds" in light["verdict"]
    assert "near it" not in light["verdict"]
    heavy = serve(verified, "llama-3.1-70b", "h100", 4, 6.9)
    assert heavy["verdict"].lower().count(heavy["binding_wall"]["name"].lower()) == 1
    assert heavy["verdict"].count("binds") == 1


def test_what_does_not_fit_is_said_first(verified):
    answer = verified("audit", model="llama-3.1-70b", hardware="h100", n_accelerators=1, workload="serving")
    assert answer["feasible"] is False
    assert "fit" in answer["verdict"].split(". ")[0].lower()


def test_what_does_not_fit_is_past_its_bound(verified, ask):
    """Four B200 hold DeepSeek-V3's 671 GB bare (168 of 193 GB each), but not beside an engine's reserves."""
    answer = serve(verified, "deepseek-v3", "b200", 4, 1)
    assert not answer["feasible"]
    words = rows_of(answer)["memory_capacity"].split()
    assert "past" in rows_of(answer)["memory_capacity"]
    own = ask("kv_capacity", model="deepseek-v3", hardware="b200", n_accelerators=4, seq_len=1280)["result"]
    assert float(words[2]) == pytest.approx(0.9 * 0.985 * 193.273528, rel=5e-3)
    assert float(words[0]) - float(words[2]) == pytest.approx(0.09 - own["pool_gib"] * 1.0737, abs=0.6)


def test_default_answers_keep_their_size(ask):
    for arguments in (
        {"model": "deepseek-v3", "hardware": "h200", "n_accelerators": 2048, "mfu_percent": 40},
        {"model": "deepseek-v3", "hardware": "h200", "n_accelerators": 16, "workload": "serving", "queries_per_s": 10},
        {"model": "deepseek-v3", "hardware": "b200", "n_accelerators": 4, "workload": "serving"},
    ):
        answer = ask("audit", **arguments)
        assert len(json.dumps(answer, ensure_ascii=False, separators=(",", ":")).encode()) <= 6_000


def test_one_accelerator_has_no_communication(verified):
    answer = verified("audit", model="llama-3.2-1b", hardware="h100", n_accelerators=1)
    assert "communication" not in slugs(answer)


def test_brief_stays_brief(ask):
    assert len(json.dumps(ask("audit", detail="brief", **RUN))) < 3_000


@pytest.mark.parametrize(
    "change",
    [
        {"model": "llama-3.1-71b"},
        {"hardware": "h101"},
        {"model": "resnet-50"},
        {"hardware": "cerebras-cs-3"},
        {"region": "atlantis"},
    ],
    ids=str,
)
def test_odd_requests_are_answered_or_repaired(zoo, change):
    arguments = {**RUN, **change}
    try:
        SOLVER.run(SOLVER.request.model_validate(arguments), zoo)
    except CallError as error:
        assert error.problem
        if error.repair:
            SOLVER.run(SOLVER.request.model_validate({**arguments, **error.repair}), zoo)


@settings(max_examples=12, deadline=None)
@given(
    st.sampled_from(["llama-3.1-8b", "llama-3.1-70b", "mixtral-8x7b", "deepseek-v3"]),
    st.sampled_from(["h100", "b200", "a100", "mi300x"]),
    st.sampled_from([8, 20, 64, 1024]),
    st.sampled_from(["training", "serving"]),
    st.sampled_from(["us-iowa", "ca-quebec"]),
)
def test_answers_verify(verified, model, hardware, count, workload, region):
    arguments = {"model": model, "hardware": hardware, "workload": workload, "region": region}
    try:
        answer = verified("audit", **arguments, n_accelerators=count)
    except CallError as error:
        assert error.problem
        return
    assert all(used >= 0 for used in answer["result"]["wall_used"])
    assert len(slugs(answer)) >= 7


def test_an_audit_cannot_be_asked_about():
    assert not {"audit", "sweep", "sensitivity", "inverse_spec"} & set(askable())
