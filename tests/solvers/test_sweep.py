"""sweep: every point is what the tool itself answers, over every solver; best and Pareto by brute force; axes; repairs."""

import itertools
import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlwalls.solvers.assignments import write_assignments
from mlwalls.solvers.axes import Axis, blocks, read_axes
from mlwalls.solvers.derivation import NonFiniteError
from mlwalls.solvers.errors import CallError
from mlwalls.solvers.inner import askable, figures, levers, resolve_inner
from mlwalls.solvers.sweep import SOLVER
from mlwalls.solvers.sweeping import sweep_figures

TOOLS = sorted(askable())
H100 = ["model=llama-3.1-8b", "hardware=h100"]


def scenario_of(tool):
    return write_assignments(askable()[tool].example)


def alone(inner, axes, values, symbol):
    """The figure of one ordinary request, or NaN where it has none."""
    arguments = {a.name: [v] if a.listed else v for a, v in zip(axes, values, strict=True) if not a.symbol}
    symbols = {a.name: v for a, v in zip(axes, values, strict=True) if a.symbol}
    try:
        made = inner.at(**arguments)
        if symbols:
            out, _ = made.evaluated(symbols)
        else:
            out, _ = made.recorded()
        number = float(out[symbol].value)
    except (CallError, ValueError, NonFiniteError, KeyError):
        return math.nan
    return number if math.isfinite(number) else math.nan


@pytest.mark.parametrize("tool", TOOLS)
def test_a_sweep_is_pointwise_calls_over_every_solver(zoo, tool):
    inner = resolve_inner(tool, scenario_of(tool), zoo)
    symbols = list(figures(inner))[:6]
    numeric = []
    for symbol, lever in levers(inner).items():
        value = inner.problem.numbers[symbol].value / lever.scale
        numeric.append(f"{lever.argument}={value:g},{2 * value:g},{3 * value:g}")
    assert numeric or tool in ("architecture_efficiency",)
    for over in [[a] for a in numeric] + [[a, b] for a, b in itertools.pairwise(numeric)]:
        try:
            axes = read_axes(over, inner)
        except CallError:
            continue
        swept = sweep_figures(inner, axes, symbols)
        for flat, values in enumerate(itertools.product(*(axis.values for axis in axes))):
            for symbol in symbols:
                expected = alone(inner, axes, values, symbol)
                assert float(swept.figures[symbol][flat]) == pytest.approx(expected, rel=1e-9, nan_ok=True), (
                    values,
                    symbol,
                )


def test_a_zoo_selection_is_pointwise_calls(ask, zoo):
    inner = resolve_inner("roofline", [*H100, "n_accelerators=2"], zoo)
    axes = read_axes(["hardware=zoo where memory_capacity_gb>=80", "batch_sizes=1,64", "bandwidth=1e12,2e12"], inner)
    assert len(axes[0].values) > 15
    assert all(zoo.get("hardware", id).number("memory.capacity").value >= 80e9 for id in axes[0].values)
    swept = sweep_figures(inner, axes, ["expected", "floor"])
    for flat, values in enumerate(itertools.product(*(axis.values for axis in axes))):
        expected = alone(inner, axes, values, "expected")
        assert float(swept.figures["expected"][flat]) == pytest.approx(expected, rel=1e-9, nan_ok=True), values
    assert sum(swept.reasons.values()) == int(np.isnan(swept.figures["expected"]).sum())


def test_unstable_points_have_no_answer(zoo):
    inner = resolve_inner("tail_latency", ["arrivals_per_s=8", "service_time_s=0.4", "servers=4"], zoo)
    axes = read_axes(["arrivals_per_s=1..20:20", "servers=1..8"], inner)
    waits = sweep_figures(inner, axes, ["wait_tail"]).figures["wait_tail"].reshape(20, 8)
    for i, arrivals in enumerate(axes[0].values):
        for j, servers in enumerate(axes[1].values):
            assert math.isnan(waits[i, j]) == (arrivals * 0.4 >= servers)


def test_the_best_point_is_the_best(verified, ask):
    answer = verified(
        "sweep", tool="roofline", scenario=H100, over=["batch_sizes=1,2,4", "seq_len=512,1024"], metric="throughput"
    )
    # Tokens a second rise with batch and fall with context.
    assert answer["result"]["best_point"] == "batch_sizes=4, seq_len=512"
    own = ask("roofline", model="llama-3.1-8b", hardware="h100", batch_sizes=[4], seq_len=512)
    assert answer["result"]["best_value"] == own["result"]["throughput_tokens_per_s"]
    assert len(answer["result"]["point_rows"]) == 6


def test_the_best_point_is_feasible(verified):
    # On 80-GiB chips 70B in 16 bit needs two; one would be best by memory floor of nothing else.
    answer = verified(
        "sweep",
        tool="roofline",
        scenario=["model=llama-3.1-70b", "hardware=h100"],
        over=["n_accelerators=1,2,4,8"],
        metric="expected_ms",
        best="highest",
    )
    assert answer["result"]["best_point"] == "n_accelerators=2"


def test_the_front_by_brute_force(verified, zoo):
    over = ["hardware=zoo where memory_capacity_gb>=80", "batch_sizes=1,4,16,64"]
    answer = verified(
        "sweep",
        tool="roofline",
        scenario=[*H100],
        over=over,
        metric="throughput",
        against="expected_ms",
        rows=16,
    )
    inner = resolve_inner("roofline", H100, zoo)
    axes = read_axes(over, inner)
    points = []
    for values in itertools.product(*(axis.values for axis in axes)):
        try:
            made = inner.at(hardware=values[0], batch_sizes=[values[1]])
        except CallError:
            continue
        out, derivation = made.recorded()
        if made.solver.present(made.problem, out, derivation).feasible:
            points.append((values, out["throughput"].value, out["expected"].value))
    front = {
        f"hardware={v[0]}, batch_sizes={v[1]}"
        for v, more, less in points
        if not any((m >= more and x < less) or (m > more and x <= less) for _, m, x in points)
    }
    shown = set(answer["result"]["point_rows"])
    assert shown <= front
    assert f"{len(front)} of them" in answer["verdict"]


def test_a_million_points_are_one_run(zoo):
    inner = resolve_inner("roofline", H100, zoo)
    axes = read_axes(["batch_sizes=1..1000", "seq_len=1..100000:1000"], inner)
    swept = sweep_figures(inner, axes, ["expected"])
    assert swept.size == 1_000_000
    for flat in (0, 123_456, 999_999):
        point = swept.point(flat)
        assert float(swept.figures["expected"][flat]) == pytest.approx(
            alone(inner, axes, point.values(), "expected"), rel=1e-12
        )


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("batch_sizes=1,2,4", (1, 2, 4)),
        ("batch_sizes=[1,2]", (1, 2)),
        ("batch_sizes=1..4", (1, 2, 3, 4)),
        ("batch_sizes=1..64:log7", (1, 2, 4, 8, 16, 32, 64)),
        ("batch_sizes=10..20:3", (10, 15, 20)),
        ("bandwidth=1e12..4e12:log3", (1e12, 2e12, 4e12)),
        ("hardware=h100, a100", ("h100", "a100")),
        ("phase=prefill,decode", ("prefill", "decode")),
    ],
)
def test_axes_are_read(zoo, text, values):
    (axis,) = read_axes([text], resolve_inner("roofline", H100, zoo))
    assert axis.values == pytest.approx(values) if axis.numeric else axis.values == values


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 7), min_size=1, max_size=3), st.integers(1, 60))
def test_blocks_are_the_product_in_order(counts, size):
    axes = [Axis(f"x{i}", tuple(range(count)), False, False, True) for i, count in enumerate(counts)]
    parts = blocks(axes, size)
    points = [p for part in parts for p in itertools.product(*(axis.values for axis in part))]
    assert points == list(itertools.product(*(axis.values for axis in axes)))
    assert all(math.prod(len(axis.values) for axis in part) <= size for part in parts)


def test_what_would_take_too_long_is_refused_early(zoo, monkeypatch):
    inner = resolve_inner("tail_latency", ["arrivals_per_s=8", "service_time_s=0.4", "servers=4"], zoo)
    axes = read_axes(["arrivals_per_s=1..20:100", "servers=1..100"], inner)
    with pytest.raises(CallError, match="would take about"):
        sweep_figures(inner, axes, ["wait_tail"], seconds=1e-6)


BAD = [
    {"over": ["batch_size=1,2"]},
    {"over": ["batch_sizes"]},
    {"over": ["batch_sizes=one,two"]},
    {"over": ["batch_sizes=4..1"]},
    {"over": ["bandwith=1e12,2e12"]},
    {"over": ["hardware=zoo where memory_capcity_gb>=80"]},
    {"over": ["hardware=zoo where memory_capacity_gb>=1e9"]},
    {"over": ["batch_sizes=1,2", "batch_sizes=4,8"]},
    {"over": ["batch_sizes=1", "seq_len=1", "n_accelerators=1", "output_tokens=1"]},
    {"metric": "expcted_ms"},
    {"metric": "expected_ms", "against": "thruput"},
    {"tool": "rofline"},
]


@pytest.mark.parametrize("change", BAD, ids=str)
def test_every_error_repairs_itself_in_one_step(zoo, change):
    arguments = {"tool": "roofline", "scenario": H100, "over": ["batch_sizes=1,2"], **change}
    with pytest.raises(CallError) as caught:
        SOLVER.run(SOLVER.request.model_validate(arguments), zoo)
    SOLVER.run(SOLVER.request.model_validate({**arguments, **caught.value.repair}), zoo)


@settings(max_examples=15, deadline=None)
@given(
    st.sampled_from(["llama-3.1-8b", "deepseek-v3", "mixtral-8x7b"]),
    st.sampled_from(
        [["hardware=zoo where memory_bandwidth_gb_per_s>=3000"], ["weight_dtype=native,fp8,int4", "seq_len=1..9999:3"]]
    ),
    st.sampled_from(["floor", "throughput", "headroom"]),
    st.sampled_from(["", "expected"]),
    st.integers(1, 16),
)
def test_answers_verify(verified, model, over, metric, against, rows):
    scenario = [f"model={model}", "hardware=b200", "n_accelerators=8"]
    answer = verified("sweep", tool="roofline", scenario=scenario, over=over, metric=metric, against=against, rows=rows)
    assert len(json.dumps(answer)) < 8_000


def test_accelerators_side_by_side_each_with_its_own_answers_figure(verified, ask):
    chips = ["h100", "h200", "b200", "l40s"]
    scenario = ["model=llama-3.1-70b", "hardware=h100", "n_accelerators=2"]
    answer = verified(
        "sweep", tool="serving_cost", scenario=scenario, over=[f"hardware={','.join(chips)}"], metric="query_usd"
    )
    own = {c: ask("serving_cost", model="llama-3.1-70b", hardware=c, n_accelerators=2) for c in chips}
    # 70.6 billion parameters of 2 byte do not fit into 2 x 48 GB: that point is no figure of the comparison.
    assert not own["l40s"]["feasible"]
    costs = {f"hardware={c}": a["result"]["query_usd"] for c, a in own.items() if a["feasible"]}
    result = answer["result"]
    best = min(costs, key=costs.get)
    assert result["best_point"] == best
    assert result["best_value"] == pytest.approx(costs[best], rel=1e-5)
    given = dict(zip(result["other_rows"], result["other_value"], strict=True))
    given |= dict(zip(result.get("point_rows", []), result.get("point_value", []), strict=True))
    assert {**given, best: costs[best]} == pytest.approx(costs, rel=1e-5)
    assert "1 of them infeasible" in answer["verdict"]
    assert any(warning.startswith("hardware=l40s: Infeasible") for warning in answer["warnings"])
    # The calls give these figures.
    for call, figure in zip(result["calls"], result["other_value"], strict=True):
        arguments = dict(part.split("=", 1) for part in call.split(" ")[1:])
        arguments["n_accelerators"] = int(arguments["n_accelerators"])
        assert ask("serving_cost", **arguments)["result"]["query_usd"] == pytest.approx(figure, rel=1e-5)


@pytest.mark.parametrize(
    "over", [["hardware=h100,h200", "batch_sizes=1,8"], ["hardware=zoo where memory_capacity_gb>=140"]], ids=str
)
def test_a_scenario_need_not_name_what_is_swept(verified, over):
    short = verified("sweep", tool="roofline", scenario=["model=llama-3.1-8b"], over=over)
    named = verified("sweep", tool="roofline", scenario=["model=llama-3.1-8b", "hardware=h200"], over=over)
    assert short["result"] == named["result"]


def test_carbon_is_swept_by_its_carbon_where_no_figure_is_named(verified):
    scenario = ["hardware=h100", "n_accelerators=512", "hours=720", "regions=us-iowa"]
    answer = verified("sweep", tool="carbon", scenario=scenario, over=["regions=us-iowa,ca-quebec"])
    assert answer["result"]["metric"] == "operational"
    assert answer["result"]["best_point"] == "regions=ca-quebec"
