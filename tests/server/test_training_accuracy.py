"""Predictions of the project's published training rows: errors and coverage are kept, constants are those of the fit."""

import importlib.util
import re
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

import mlwalls.zoo
from mlwalls.server.accuracy import score_file
from mlwalls.server.accuracy.report import Scored, Skipped, statistics
from mlwalls.server.accuracy.training_calls import Unanswerable, call_of, era, size_of
from mlwalls.server.accuracy.training_rows import SCORERS, prepared, problem_of
from mlwalls.solvers.errors import CallError
from mlwalls.solvers.registry import solvers
from mlwalls.zoo import ZooError
from mlwalls.zoo.calibrations import calibration

HERE = Path(mlwalls.zoo.__file__).parent / "calibration" / "training"
ROWS = HERE / "rows.yaml"
PUBLISHED = yaml.safe_load(ROWS.read_text(encoding="utf-8"))["rows"]
FITTED = ("training_throughput", "training_mfu", "training_step_time")


@pytest.fixture(scope="module")
def outcomes(zoo):
    return score_file(ROWS, zoo)


@pytest.fixture(scope="module")
def refit():
    spec = importlib.util.spec_from_file_location("training_refit", HERE / "refit.py")
    module = importlib.util.module_from_spec(spec)
    import sys

    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def cases(refit):
    return refit.cases()


def of_kind(outcomes, *kinds):
    return [o for o in outcomes if isinstance(o, Scored) and o.kind in kinds]


@pytest.mark.parametrize("kind", FITTED)
def test_runs_are_within_seven_percent(outcomes, kind):
    found = statistics(of_kind(outcomes, kind))
    assert found["mean"] <= 7
    assert abs(found["bias"]) <= 5


def test_the_interval_holds_about_four_fifths(outcomes):
    assert 72 <= statistics(of_kind(outcomes, *FITTED))["coverage"] <= 88


@pytest.mark.parametrize(
    ("kind", "most"),
    [
        ("training_memory", 8),
        ("training_memory_states", 0.5),
        ("collective_busbw", 7),
        ("reliability", 8),
        ("training_gpu_hours", 26),
        ("checkpoint_size", 5),
        ("checkpoint_time", 5),
    ],
)
def test_other_kinds(outcomes, kind, most):
    assert statistics(of_kind(outcomes, kind))["mean"] <= most


def test_recent_rows_by_the_constants_set_on_them(zoo):
    found = {o.id: o for o in score_file(HERE / "rows_recent.yaml", zoo)}
    rows = yaml.safe_load((HERE / "rows_recent.yaml").read_text(encoding="utf-8"))["rows"]
    tuned = [found[r["id"]] for r in rows if r["inputs"]["precision"] == "fp8"]
    assert len(tuned) == 12
    assert statistics(tuned)["mean"] <= 7


def test_every_row_is_scored_or_counted_with_a_reason(outcomes):
    rows = PUBLISHED
    assert [o.id for o in outcomes] == [row["id"] for row in rows]
    reasons = {o.id: o.reason for o in outcomes if isinstance(o, Skipped)}
    # Vision rows, a graphics card that the zoo does not have, failures by cause.
    assert {id.split("_")[0] for id in reasons} == {"dle", "vramcalc", "llama3"}
    assert all(reasons.values())


def test_constants_are_the_fit(refit, cases):
    constants = calibration("training")["constants"]
    for name, fitted in refit.fit(cases, refit.PRIORS).items():
        assert constants[name]["value"] == pytest.approx(fitted, rel=0.01), name
        assert constants[name]["low"] <= fitted <= constants[name]["high"]


def test_leaving_out_a_paper_at_a_time(refit, cases):
    import numpy as np

    errors, fitted = refit.left_out(cases, refit.PRIORS, rounds=3)
    relative = np.abs(np.expm1(errors))
    for kind in FITTED:
        assert relative[[c.kind == kind for c in cases]].mean() <= 0.07, kind
    assert relative.mean() == pytest.approx(calibration("training")["errors"]["leave_one_paper_out"]["mean"], abs=0.002)
    assert len(fitted) == 11
    # Each paper judged by an interval set on the others': in all, and so that no kind of row is left out of it.
    intervals = calibration("training")["intervals"]
    for interval, kinds in refit.INTERVALS.items():
        pool = np.array([c.kind in kinds for c in cases])
        of = [c for c, chosen in zip(cases, pool, strict=True) if chosen]
        inside = refit.held(of, errors[pool])
        assert 0.72 <= inside.mean() <= 0.88, interval
        for kind in kinds:
            assert inside[[c.kind == kind for c in of]].mean() >= 0.72, kind
        assert refit.half_width(errors[pool]) == pytest.approx(intervals[interval]["value"], abs=0.01)


def test_runs_never_fitted(zoo):
    scored = [o for o in score_file(HERE / "rows_later.yaml", zoo) if isinstance(o, Scored)]
    shapes = {
        row["id"]: row["inputs"]
        for row in yaml.safe_load((HERE / "rows_later.yaml").read_text(encoding="utf-8"))["rows"]
    }
    dense = [o for o in scored if "ep" not in shapes[o.id]]
    experts = [o for o in scored if "ep" in shapes[o.id]]
    hopper = statistics([o for o in dense if not re.match(r"bridge_g?b[23]00", o.id)])
    assert (hopper["rows"], len(dense), len(experts)) == (18, 26, 20)
    assert hopper["mean"] <= 8
    assert 72 <= hopper["coverage"] <= 88
    # On chips that no fit saw the range is twice as wide: it holds more than four fifths.
    assert statistics(dense)["mean"] <= 8
    assert statistics(experts)["median"] <= 15
    assert statistics(experts)["coverage"] >= 72


def test_leaving_out_a_source_of_runs_with_experts(refit, zoo):
    import numpy as np

    cases = refit.cases("rows_experts.yaml")
    (best,) = refit.fit(cases, refit.EXPERTS).values()
    shipped = calibration("training")
    assert best == pytest.approx(shipped["constants"]["route_bytes"]["value"], rel=0.01)
    errors, fitted = refit.left_out(cases, refit.EXPERTS, rounds=6)
    assert len(fitted) == 5
    stated = shipped["errors"]["experts_leave_one_source_out"]
    relative = np.abs(np.expm1(errors))
    assert relative.mean() == pytest.approx(stated["mean"], abs=0.005)
    assert np.median(relative) == pytest.approx(stated["median"], abs=0.005)
    assert 0.72 <= refit.held(cases, errors).mean() <= 0.88
    assert refit.half_width(errors) == pytest.approx(shipped["intervals"]["experts"]["value"], abs=0.02)


@pytest.mark.parametrize(
    ("inputs", "expected"),
    [
        (
            {"gpu": "H100-SXM-80GB", "num_gpus": 64, "params": "7B", "sharding": "FULL_SHARD"},
            {"zero": 3, "tensor_parallel": 1},
        ),
        ({"gpu": "A100-80GB", "num_gpus": 64, "params_b": 20, "tp": 8, "pp": 2}, {"zero": 1, "pipeline_parallel": 2}),
        ({"accelerator": "b200", "gpus": 64, "model": "Llama-3.1-8B"}, {"model": "llama-3.1-8b", "n_accelerators": 64}),
        ({"gpu": "H800", "num_gpus": 2048, "model": "DeepSeek-V3"}, {"set": ["link=2e11"]}),
        (
            {"gpu": "A100-40GB", "num_gpus": 8, "params_b": 1.3, "recompute": "full"},
            {"hardware": "nvidia-a100-sxm-40gb"},
        ),
        ({"gpu": "A100-80GB 400Gb/s", "num_gpus": 8, "params_b": 1.3}, {"hardware": "nvidia-a100-sxm-80gb"}),
    ],
)
def test_what_a_row_leaves_out_is_inferred(zoo, inputs, expected):
    call = call_of({"id": "x", "kind": "training_throughput", "inputs": inputs, "source": "Someone 2024"}, zoo)
    assert {k: call.arguments[k] for k in expected} == expected


@given(data=st.data())
@settings(max_examples=80, deadline=None)
def test_whatever_a_row_says_it_is_scored_or_skipped(zoo, data):
    row = data.draw(st.sampled_from(PUBLISHED))
    key = data.draw(
        st.sampled_from([*row["inputs"], "unit", "source", "model", "tp", "pp", "seq_len", "num_gpus", "ep"])
    )
    odd = data.draw(st.sampled_from([None, "", "many", -1, 0, 0.5, 10**12, float("nan"), [1], {"a": 1}, True, "7Q"]))
    row = {**row, key: odd} if key in ("unit", "source") else {**row, "inputs": {**row["inputs"], key: odd}}
    try:
        outcome = SCORERS[row["kind"]](row, zoo)
    except (CallError, ZooError):
        return  # counted with its reason by the caller
    assert isinstance(outcome, Skipped) or 0 < outcome.predicted < float("inf")


def test_eras(zoo):
    row = {"id": "x", "kind": "training_mfu", "inputs": {"gpu": "A100-80GB", "num_gpus": 64, "params_b": 20, "tp": 8}}
    old = call_of({**row, "source": "Someone 2021"}, zoo).arguments
    assert old["recompute"] == "full"
    assert old["zero"] == 0
    assert set(old["options"]) == {"no_flash", "no_sequence_parallel"}
    new = call_of({**row, "source": "Someone 2024"}, zoo).arguments
    assert new["recompute"] == "none"
    assert new["options"] == []
    assert era("torchtitan, Dec 2024 (202412)") == 2024
    assert size_of("6658859008") == 6658859008
    assert size_of("1.5T") == 1.5e12


@pytest.mark.parametrize(
    ("inputs", "why"),
    [
        ({"gpu": "Abacus 9000", "num_gpus": 8, "params_b": 1}, "accelerator"),
        ({"gpu": "A100", "num_gpus": 8}, "neither a model nor a size"),
        ({"gpu": "A100", "params_b": 1}, "number of accelerators"),
        ({"gpu": "A100", "num_gpus": 8, "model": "ResNet-50"}, "language model"),
    ],
)
def test_unanswerable_rows_say_why(zoo, inputs, why):
    with pytest.raises(Unanswerable, match=why):
        call_of({"id": "x", "kind": "training_mfu", "inputs": inputs, "source": ""}, zoo)


def searched(row, zoo, free):
    """The row's own call with some arguments left to the search, and the published step time."""
    call = call_of(row, zoo)
    given, reading = prepared(row, zoo)
    out = solvers()["fleet_efficiency"].evaluate(given, {})
    predicted, said = float(reading(given, out)), float(row["value"])
    step = float(out["step"].value)
    published = step * (predicted / said if row["kind"] != "training_step_time" else said / predicted)
    left = {k: v for k, v in call.arguments.items() if k not in free}
    if "set" in free:
        left["set"] = [
            text for text in call.arguments["set"] if text.partition("=")[0] not in ("cp", "ep", "interleave")
        ]
    problem = problem_of(type(call)(left), zoo)
    assert problem.context.found.fits
    return problem, float(solvers()["fleet_efficiency"].evaluate(problem, {})["step"].value) / published - 1


def published_rows(*prefixes):
    return [r for r in PUBLISHED if r["id"].startswith(prefixes) and r["kind"] in FITTED]


PLAN = ("tensor_parallel", "pipeline_parallel", "microbatch")


@pytest.mark.parametrize("row", published_rows("megatron21"), ids=lambda r: r["id"])
def test_searched_plans_of_megatron(zoo, row):
    # With what its software had: states not sharded, full recomputation, two-way interleaving, no sequence parallelism.
    problem, off = searched(row, zoo, PLAN)
    if row["id"] == "megatron21_39p1b":
        # The paper kept TP 8 within every node; TP 2 over 8 stages moves less and is found 12 % faster.
        assert problem.context.found.sizes["tp"] < 8
        assert off == pytest.approx(-0.12, abs=0.02)
    else:
        assert abs(off) <= 0.1


@pytest.mark.parametrize("row", published_rows("llama3_405b"), ids=lambda r: r["id"])
def test_searched_plans_of_llama_3_405b(zoo, row):
    problem, off = searched(row, zoo, (*PLAN, "recompute", "zero", "set"))
    assert problem.context.found.sizes["tp"] == 8
    if row["inputs"]["seq_len"] > 100_000:
        # Attention takes two thirds of the kernels there, at the FlashAttention-2 class rate of the fit; theirs was faster.
        assert 0.1 < off < 0.16
    else:
        assert abs(off) <= 0.1
        assert problem.context.found.sizes["pp"] == 16


@pytest.mark.parametrize("row", published_rows("korth22_530b", "megatroncore"), ids=lambda r: r["id"])
def test_searched_plans_of_later_megatron(zoo, row):
    assert abs(searched(row, zoo, (*PLAN, "set"))[1]) <= 0.1
