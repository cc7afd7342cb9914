"""Calls: answers within their budgets and schemas, errors that a script can repair from their text alone."""

import json
import re
import sys

import anyio
import jsonschema
import pytest
from mcp import Client
from mcp.shared.exceptions import MCPError

from mlwalls.server.app import build_server

GOOD = {"model": "llama-3.1-8b", "hardware": "h100"}


def call(tool, arguments, mode="auto"):
    async def run():
        async with Client(build_server(), mode=mode) as client:
            return await client.call_tool(tool, arguments)

    return anyio.run(run)


def fixed(text):
    """What a script that reads nothing but the error text would call."""
    match = re.search(r"Call again with: (\w+) (\{.*\})$", text, re.DOTALL)
    assert match, text
    return match[1], json.loads(match[2])


@pytest.mark.parametrize("mode", ["auto", "legacy"])
@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ({"hardware": "H10O"}, "nvidia-h100-sxm-80gb"),
        ({"hardware": "nvidia-h100-smx-80gb"}, "nvidia-h100-sxm-80gb"),
        ({"model": "llama-3.1-80b"}, "llama-3.1-8b"),
        ({"baseline_hardware": "a1000"}, "nvidia-a100-sxm-80gb"),
        ({"hardwear": "h100"}, "unknown argument"),
        ({"batch": [8]}, "batch_sizes"),
        ({"seq_len": "4096"}, "whole number"),
        ({"seq_len": "long"}, "whole number"),
        ({"seq_len": True}, "whole number"),
        ({"seq_len": 0}, "out of range"),
        ({"seq_len": 2048.5}, "whole number"),
        ({"n_accelerators": -1}, "out of range"),
        ({"n_accelerators": 3}, "divide"),
        ({"batch_sizes": 8}, "list"),
        ({"batch_sizes": []}, "items"),
        ({"batch_sizes": [0]}, "out of range"),
        ({"batch_sizes": [1e308]}, "out of range"),
        ({"phase": "decoding"}, "decode"),
        ({"weight_dtype": "fp7"}, "fp8"),
        ({"hardware": "a100", "compute_dtype": "fp8"}, "no fp8 unit"),
        ({"set": ["bandwith=1e12"]}, "bandwidth"),
        ({"set": ["bandwidth=0"]}, "above 0"),
        ({"set": ["bandwidth=inf"]}, "finite"),
        ({"set": ["bandwidth"]}, "number"),
        ({"detail": "everything"}, "full"),
        ({"model": 7}, "text"),
    ],
    ids=lambda x: json.dumps(x) if isinstance(x, dict) else "",
)
def test_an_error_alone_repairs_the_call(fault, says, mode):
    arguments = {**GOOD, **fault}
    if "hardwear" in fault:
        del arguments["hardware"]
    first = call("roofline", arguments, mode)
    assert first.is_error
    text = first.content[0].text
    assert says in text
    assert "\n" not in text and "Traceback" not in text and "pydantic" not in text
    tool, repaired = fixed(text)
    second = call(tool, repaired, mode)
    assert not second.is_error, second.content[0].text


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e308, -1.0, 0.0])
def test_numbers_that_are_none(value):
    from mlwalls.server.tools import call as answered
    from mlwalls.server.tools import solver_tool
    from mlwalls.solvers.registry import solvers
    from mlwalls.zoo import Zoo

    tool = solver_tool(solvers()["roofline"], Zoo.builtin())
    result = answered(tool, {"hardware": "h100", "flops": value, "bytes": 1e9})
    assert result.is_error
    _, repaired = fixed(result.content[0].text)
    assert not answered(tool, repaired).is_error


def test_missing_arguments_are_named():
    result = call("roofline", {})
    assert result.is_error and "hardware: missing" in result.content[0].text
    assert not call(*fixed(result.content[0].text)).is_error


def test_null_is_absent():
    assert not call("roofline", {**GOOD, "phase": None, "baseline_hardware": None}).is_error


def test_unknown_tools_are_the_protocols_error():
    async def run():
        async with Client(build_server()) as client:
            with pytest.raises(MCPError, match="roofline"):
                await client.call_tool("rooflin", {})

    anyio.run(run)


@pytest.mark.parametrize(
    "arguments",
    [
        GOOD,
        {**GOOD, "baseline_hardware": "a100"},
        {**GOOD, "baseline_hardware": "a100", "phase": "prefill"},
        {**GOOD, "phase": "inference"},
        {**GOOD, "phase": "training"},
        {"model": "deepseek-v3", "hardware": "h200", "n_accelerators": 8},
        {"model": "deepseek-v3", "hardware": "h200", "n_accelerators": 8, "phase": "prefill"},
        {"model": "deepseek-v3", "hardware": "h200", "n_accelerators": 8, "phase": "inference"},
        {"model": "qwen3-235b-a22b", "hardware": "b200", "n_accelerators": 4, "batch_sizes": [1, 4, 16, 32, 64, 256]},
        {"model": "gpt-oss-120b", "hardware": "mi300x"},
        {"model": "resnet-50", "hardware": "a100"},
        {"model": "resnet-50", "hardware": "a100", "batch_sizes": [1, 2, 4, 6, 8, 32, 128, 256]},
        {"hardware": "h100", "flops": 1e12, "bytes": 4e9},
    ],
    ids=str,
)
def test_answers_keep_their_budgets_and_their_schema(arguments):
    async def run():
        async with Client(build_server()) as client:
            schema = next(t for t in (await client.list_tools()).tools if t.name == "roofline").output_schema
            answers = [
                await client.call_tool("roofline", {**arguments, "detail": d}) for d in ("brief", "default", "full")
            ]
            return schema, answers

    schema, answers = anyio.run(run)
    for limit, answer in zip((1_800, 6_000, 16_000), answers, strict=True):
        jsonschema.validate(answer.structured_content, schema)
        assert len(json.dumps(answer.structured_content, ensure_ascii=False).encode()) <= limit
    together = json.dumps(answers[1].structured_content, ensure_ascii=False) + answers[1].content[0].text
    assert len(together.encode()) <= 10_000


def test_a_latent_mixture_on_two_chips_is_the_longest_answer():
    arguments = {"model": "deepseek-v3", "hardware": "h200", "n_accelerators": 8, "baseline_hardware": "b200"}
    answer = call("roofline", arguments)
    assert len(json.dumps(answer.structured_content, ensure_ascii=False).encode()) <= 6_400
    assert len(answer.content[0].text.encode()) <= 4_000


def test_the_same_call_gives_the_same_bytes():
    one, two = (call("roofline", GOOD).structured_content for _ in range(2))
    assert json.dumps(one) == json.dumps(two)


def test_a_broken_solver_is_an_internal_error_without_a_traceback(monkeypatch):
    from mlwalls.server import tools

    def broken(*_):
        raise RuntimeError("secret")

    monkeypatch.setattr(tools, "answer_data", broken)
    result = call("roofline", GOOD)
    assert result.is_error and "internal error (RuntimeError)" in result.content[0].text
    assert "secret" not in result.content[0].text


def test_find_in_zoo_filters_and_sorts():
    result = call(
        "find_in_zoo",
        {"kind": "hardware", "where": ["memory_capacity_gb >= 150"], "sort": "memory_bandwidth_gb_per_s", "limit": 50},
    )
    rows = [json.loads(row) for row in result.structured_content["rows"]]
    assert {"nvidia-h200-sxm-141gb", "amd-mi300x"} <= {row["id"] for row in rows}
    assert all(row["memory_capacity_gb"] >= 150 for row in rows)
    rates = [row["memory_bandwidth_gb_per_s"] for row in rows]
    assert rates == sorted(rates)


@pytest.mark.parametrize("name", ["memory_capacity_gb", "memory_capacity", "memory"])
def test_find_in_zoo_takes_a_number_by_any_of_its_names(name):
    arguments = {"kind": "hardware", "where": [f"{name} >= 150"], "sort": name, "descending": True, "limit": 50}
    rows = call("find_in_zoo", arguments).structured_content["rows"]
    si = {**arguments, "where": ["memory.capacity >= 150e9"], "sort": "memory.capacity"}
    assert rows == call("find_in_zoo", si).structured_content["rows"]
    assert len(rows) > 5


@pytest.mark.parametrize(
    ("query", "kind", "id"),
    [
        ("h100", "hardware", "nvidia-h100-sxm-80gb"),
        ("llama 3.1 70b", "models", "llama-3.1-70b"),
        ("how much memory does an h200 have?", "hardware", "nvidia-h200-sxm-141gb"),
        ("how many layers does llama 3.1 70b have", "models", "llama-3.1-70b"),
        ("carbon quebec", "grids", "ca-quebec"),
        ("price per hour h100 spot nebius", "prices", "nebius-h100-spot"),
        ("Québec", "grids", "ca-quebec"),
    ],
)
def test_find_in_zoo_puts_what_is_meant_first(query, kind, id):
    result = call("find_in_zoo", {"query": query, "limit": 1}).structured_content
    row = json.loads(result["rows"][0])
    assert (row["kind"], row["id"]) == (kind, id)


def test_find_in_zoo_counts_what_it_does_not_show_and_names_what_is_near():
    few = call("find_in_zoo", {"kind": "models", "where": ["parameters < 10B"], "limit": 2})
    assert few.structured_content["found"] > 2 == len(few.structured_content["rows"])
    assert f"{few.structured_content['found'] - 2} more match." in few.content[0].text
    none = call("find_in_zoo", {"query": "lama 3.1 8b"}).structured_content
    assert none["found"] == 0 and "llama-3.1-8b" in none["nearest"]


def test_find_in_zoo_marks_what_nobody_checked_and_how_a_grid_was_counted():
    row = json.loads(call("find_in_zoo", {"query": "iowa"}).structured_content["rows"][0])
    assert row["carbon_intensity_g_per_kwh"] == 287.6 and row["method"] == "direct" and row["year"] == "2023"
    row = json.loads(call("find_in_zoo", {"query": "intel-2x-xeon-8480plus"}).structured_content["rows"][0])
    assert "power_tdp_w" in row["unverified"]


@pytest.mark.parametrize(
    "arguments",
    [{"kind": "hardwares"}, {"kind": "hardware", "where": ["memories >= 80"]}, {"sort": "prise"}, {"where": ["x"]}],
)
def test_find_in_zoo_errors_can_be_repaired(arguments):
    result = call("find_in_zoo", arguments)
    assert result.is_error
    assert not call(*fixed(result.content[0].text)).is_error


def test_stdio_carries_nothing_but_the_protocol():
    import subprocess

    done = subprocess.run(
        [sys.executable, "-m", "mlwalls.server.cli"], input=b"not json\n", capture_output=True, timeout=60, check=False
    )
    for line in done.stdout.splitlines():
        assert json.loads(line)["jsonrpc"] == "2.0"
