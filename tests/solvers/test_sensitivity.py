"""Sensitivity: elasticities by hand, by calls with `set`, by dimensions over every solver; regimes; repairs."""

import json
import math
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlwalls.server.verification import verify
from mlwalls.solvers.arguments import ArgumentsError, checked
from mlwalls.solvers.assignments import read_assignments, write_assignments
from mlwalls.solvers.errors import CallError
from mlwalls.solvers.inner import askable, figures, levers, resolve_inner
from mlwalls.solvers.schemas import client_schema
from mlwalls.solvers.sensitivity import SOLVER
from mlwalls.solvers.slicing import inputs_of, steps_behind
from mlwalls.solvers.units import reduce_unit

TOOLS = sorted(askable())
H100 = ["model=llama-3.1-8b", "hardware=h100"]


def scenario_of(tool):
    return write_assignments(askable()[tool].example)


def usable(tool, zoo):
    """Every figure of a tool's example with what it rests on: (symbol, value, steps, inputs)."""
    inner = resolve_inner(tool, scenario_of(tool), zoo)
    _, derivation = inner.recorded()
    for symbol, value in figures(inner).items():
        if value.value and math.isfinite(value.value):
            steps = steps_behind(derivation, [value.name])
            inputs = {n: v for n, v in inputs_of(steps).items() if isinstance(v.value, (int, float)) and v.value}
            yield inner, symbol, value, steps, inputs


def text_of(steps):
    applied = [step.applied for step in steps if getattr(step, "applied", None)]
    applied += [
        cell for step in steps if hasattr(step, "cells") for cell in step.cells.values() if hasattr(cell, "text")
    ]
    return applied


@pytest.mark.parametrize("tool", TOOLS)
def test_every_figure_of_every_solver(ask, zoo, tool):
    asked = 0
    own = ask(tool, **askable()[tool].example)
    for _, symbol, _, _, inputs in usable(tool, zoo):
        if all(v.origin.kind == "defined" for v in inputs.values()):
            continue
        answer = ask("sensitivity", tool=tool, scenario=scenario_of(tool), metric=symbol)
        assert verify(json.loads(json.dumps(answer))).problems == []
        assert len(json.dumps(answer)) < max(6_500, len(json.dumps(own)) + 2_500)
        asked += 1
    assert asked


def exponent(unit, base):
    above, _, below = reduce_unit(unit).partition("/")
    power = 0
    for sign, text in ((1, above), (-1, below)):
        for part in re.split(r"[*/]", text):
            word, _, number = part.partition("^")
            power += sign * int(number or 1) * (word == base)
    return power


@pytest.mark.parametrize("tool", TOOLS)
def test_figures_are_homogeneous_in_every_unit(zoo, tool):
    """Euler: a figure of unit s^k has elasticities that add, weighted by each number's power of s, to k.

    For a time built of rates and fixed latencies: those of the latencies less those of the rates add to 1.
    """
    checked_figures = 0
    for inner, symbol, value, steps, inputs in usable(tool, zoo):
        applied = text_of(steps)
        if any(re.search(r"floor\(|ceil\(|//|where\(", a.text()) for a in applied):
            continue
        constants = {c.symbol: c for a in applied for c in a.equation.template.constants.values()}
        h = 1e-4
        size = 2 * len(inputs)
        vary = {}
        for i, (name, number) in enumerate(inputs.items()):
            vary[name] = np.full(size, float(number.value))
            vary[name][2 * i : 2 * i + 2] *= (1 + h, 1 - h)
        out, _ = inner.evaluated(vary)
        figures_at = np.broadcast_to(out[symbol].value, (size,)).reshape(-1, 2)
        elasticity = np.log(figures_at[:, 0] / figures_at[:, 1]) / math.log((1 + h) / (1 - h))
        for base in ("s", "byte", "FLOP", "J", "USD"):
            if any(exponent(c.unit, base) for c in constants.values()):
                continue
            total = sum(e * exponent(v.unit, base) for e, v in zip(elasticity, inputs.values(), strict=True))
            assert total == pytest.approx(exponent(value.unit, base), abs=2e-4), (symbol, base)
            checked_figures += 1
    assert checked_figures or tool == "scaling_law"


@pytest.mark.parametrize("tool", TOOLS)
def test_elasticities_are_what_calls_with_set_give(ask, zoo, tool):
    """The same difference by two ordinary calls of the tool itself, at ±0.2 %, from its printed result."""
    answer = ask("sensitivity", tool=tool, scenario=scenario_of(tool))
    if any("whole steps" in warning for warning in answer["warnings"]):
        pytest.skip("whole steps have no derivative")
    metric = answer["result"]["metric"]
    example = askable()[tool].example
    line = re.compile(rf"{metric} = .* = ([-+0-9.e]+)")

    given = levers(resolve_inner(tool, scenario_of(tool), zoo))

    def printed(symbol, number):
        lever = given.get(symbol)
        change = {lever.argument: lever.argument_value(number)} if lever else {"set": [f"{symbol}={number!r}"]}
        work = ask(tool, **{**example, **change, "detail": "full"})["work"]
        return next(float(m[1]) for m in map(line.match, work) if m)

    origins = dict(re.findall(r"([A-Za-z_0-9]+)=([-+0-9.e]+)", " ".join(w for w in answer["work"] if " = " not in w)))
    for symbol, elasticity in zip(answer["result"]["vary_rows"], answer["result"]["vary_elasticity"], strict=True):
        base = float(origins[symbol])
        if symbol.startswith("eta") and base == 1:
            continue
        at = [printed(symbol, base * f) for f in (1.002, 0.998)]
        assert math.log(at[0] / at[1]) / math.log(1.002 / 0.998) == pytest.approx(elasticity, abs=2e-3), symbol


def test_a_kernel_by_hand(ask):
    # 1e12 FLOP at peak P and 4e9 byte at B on an H100: t = F/(0.?P) + Q/(?B); the elasticities are minus the shares.
    scenario = ["hardware=h100", "flops=1e12", "bytes=4e9"]
    parts = ask("roofline", hardware="h100", flops=1e12, bytes=4e9)["result"]
    total = parts["compute_time_ms"] + parts["memory_time_ms"]
    result = ask("sensitivity", tool="roofline", scenario=scenario, metric="expected")["result"]
    found = dict(zip(result["vary_rows"], result["vary_elasticity"], strict=True))
    assert found["peak"] == pytest.approx(-parts["compute_time_ms"] / total, abs=1e-5)
    assert found["bandwidth"] == pytest.approx(-parts["memory_time_ms"] / total, abs=1e-5)
    assert sum(found.values()) == pytest.approx(-1, abs=1e-5)
    plus = dict(zip(result["vary_rows"], result["vary_plus_percent"], strict=True))
    assert plus["peak"] == pytest.approx(100 * (1 / 1.1 - 1) * parts["compute_time_ms"] / total, rel=1e-4)


def test_at_the_ridge_both_sides_are_told_apart(ask):
    # 989.4e12 / 3.35e12 = 295.34 FLOP/byte: 300 is 1.6 % above it, so 1.6 % less bandwidth makes memory bind.
    scenario = ["hardware=h100", "flops=300e9", "bytes=1e9"]
    answer = ask("sensitivity", tool="roofline", scenario=scenario, metric="floor")
    result = answer["result"]
    assert result["vary_rows"][0] == "peak" and result["vary_elasticity"] == pytest.approx([-1, 0])
    assert abs(math.log(result["next_change"])) == pytest.approx(math.log(300 / 295.343), abs=2e-4)
    assert "elasticity_below" in result
    assert sorted([result["elasticity_below"], result["elasticity_above"]]) == pytest.approx([-1, 0], abs=1e-2)
    assert verify(answer).ok


def test_an_edge_of_stability_shortens_the_step(ask):
    # 9.5 requests a second of 0.4 s on 4 servers: 95 % busy, unstable from 5.3 % more.
    scenario = ["arrivals_per_s=9.5", "service_time_s=0.4", "servers=4"]
    answer = ask("sensitivity", tool="tail_latency", scenario=scenario, metric="wait_tail_ms")
    assert answer["result"]["finite_step_percent"] == 5
    assert any("other equations" in w for w in answer["warnings"])
    assert verify(answer).ok


def test_what_does_not_matter_has_elasticity_zero(ask):
    answer = ask("sensitivity", tool="roofline", scenario=H100, metric="floor", vary=["bandwidth", "tau", "peak"])
    found = dict(zip(answer["result"]["vary_rows"], answer["result"]["vary_elasticity"], strict=True))
    assert found == pytest.approx({"bandwidth": -1, "tau": 0, "peak": 0}, abs=1e-6)
    assert verify(answer).ok


def test_an_infeasible_scenario_says_so_first(ask):
    answer = ask("sensitivity", tool="roofline", scenario=["model=llama-3.1-70b", "hardware=h100"])
    assert answer["feasible"] is False
    assert answer["verdict"].startswith("The scenario is infeasible")


def test_set_replaces_a_number_of_the_inner_work(ask):
    plain = ask("sensitivity", tool="roofline", scenario=[*H100, "set=tau=2e-5"])["result"]
    outer = ask("sensitivity", tool="roofline", scenario=H100, set=["tau=2e-5"])
    assert outer["result"]["base_value"] == plain["base_value"]
    assert any(line.startswith("you: ") and "tau=2e-5" in line for line in outer["work"])


BAD = [
    {"tool": "rofline"},
    {"tool": "sensitivity"},
    {"scenario": ["modle=llama-3.1-8b", "hardware=h100"]},
    {"scenario": ["model=llama-3.1-8b", "hardware=h1000"]},
    {"scenario": [*H100, "batch_sizes=[1,8]"]},
    {"scenario": [*H100, "seq_len=-1"]},
    {"scenario": [*H100, "seq_len"]},
    {"metric": "expcted_ms"},
    {"metric": "kv_cache", "vary": ["bandwith"]},
    {"vary": ["bandwith"]},
    {
        "tool": "tail_latency",
        "scenario": ["arrivals_per_s=8", "service_time_s=0.4", "servers=4"],
        "metric": "mean_wait",
        "vary": ["servers", "service"],
    },
    {"scenario": [*H100, "define=[kind: hardware]"]},
]


@pytest.mark.parametrize("change", BAD, ids=str)
def test_every_error_repairs_itself_in_one_step(zoo, change):
    arguments = {"tool": "roofline", "scenario": H100, **change}
    with pytest.raises(CallError) as caught:
        SOLVER.run(SOLVER.request.model_validate(arguments), zoo)
    repaired = {**arguments, **caught.value.repair}
    assert repaired != arguments
    SOLVER.run(SOLVER.request.model_validate(repaired), zoo)


def test_an_inner_request_is_read_like_a_call(zoo):
    # The same text, the same problem words as the tool's own checker gives.
    tool = askable()["roofline"]
    schema = client_schema(tool.request)
    lines = ["hardware=h100", "model=llama-3.1-8b", "seq_len=zero"]
    with pytest.raises(ArgumentsError) as own:
        checked(schema, read_assignments(lines, schema["properties"]), tool.example)
    with pytest.raises(CallError) as inner:
        resolve_inner("roofline", lines, zoo)
    assert all(problem in inner.value.problem for problem in own.value.problems)


@settings(max_examples=25, deadline=None)
@given(
    st.sampled_from(["llama-3.1-8b", "llama-3.1-70b", "deepseek-v3", "mixtral-8x7b"]),
    st.sampled_from(["h100", "h200", "b200", "mi300x"]),
    st.sampled_from(["prefill", "decode"]),
    st.sampled_from([1, 8]),
    st.integers(1, 512),
    st.sampled_from(["floor", "expected", "high", "throughput"]),
)
def test_answers_verify(ask, model, hardware, phase, ranks, batch, metric):
    scenario = [
        f"model={model}",
        f"hardware={hardware}",
        f"phase={phase}",
        f"n_accelerators={ranks}",
        f"batch_sizes=[{batch}]",
    ]
    answer = ask("sensitivity", tool="roofline", scenario=scenario, metric=metric)
    assert verify(json.loads(json.dumps(answer))).problems == []
    if metric == "floor":
        assert sum(answer["result"]["vary_elasticity"]) == pytest.approx(-1, abs=1e-3)
