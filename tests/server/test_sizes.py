"""What an answer may weigh: every solver's example and the calls that bring in most, in bytes of compact JSON."""

import json

import pytest

from mlwalls.server.tools import call, solver_tool
from mlwalls.server.verification import verify
from mlwalls.solvers.registry import solvers
from mlwalls.zoo import Zoo

DEFAULT, BRIEF, TOGETHER = 6_000, 1_800, 10_000
LLAMA = {"model": "llama-3.1-70b", "hardware": "h100"}
# Longer than that: what they have been brought to, not what is wanted.
TEXTS = {"fleet_efficiency": 10_050}
RICH = [
    ("serving_cost", {**LLAMA, "n_accelerators": 4, "tpot_ms": 40, "owned": True}, 7_000),
    (
        "serving_cost",
        {**LLAMA, "n_accelerators": 4, "tpot_ms": 40, "draft_tokens": 4, "draft_model": "llama-3.1-8b"},
        7_900,
    ),
    ("serving_cost", {"model": "deepseek-v3", "hardware": "h200", "n_accelerators": 8, "queries_per_s": 50}, 7_850),
    ("fleet_efficiency", {**LLAMA, "n_accelerators": 1024, "total_tokens": 15e12}, 7_600),
    ("fleet_efficiency", {"model": "deepseek-v3", "hardware": "h100", "n_accelerators": 2048}, 8_320),
    ("architecture_efficiency", {"models": ["llama-3.1-70b", "deepseek-v3"], "seq_len": 131072}, DEFAULT),
    ("quantization", {"model": "deepseek-v3", "hardware": "b200", "n_accelerators": 8, "scheme": "w4a16"}, DEFAULT),
    ("kv_capacity", {"model": "deepseek-v3", "hardware": "h200", "n_accelerators": 8, "seq_len": 8192}, DEFAULT),
    ("kv_capacity", {"model": "llama-4-scout", "hardware": "mi300x", "n_accelerators": 2, "speed": True}, DEFAULT),
    ("kv_capacity", {"model": "deepseek-v3.2", "hardware": "h200", "n_accelerators": 8, "speed": True}, DEFAULT),
    (
        "roofline",
        {"model": "deepseek-v3", "hardware": "h200", "n_accelerators": 8, "baseline_hardware": "b200"},
        DEFAULT,
    ),
    ("wafer_scale", {"model": "deepseek-v3", "execution": "resident"}, DEFAULT),
    ("audit", {**LLAMA, "n_accelerators": 4, "workload": "serving"}, DEFAULT),
]


def size(data):
    return len(json.dumps(data, ensure_ascii=False, separators=(",", ":")).encode())


def answered(name, arguments):
    result = call(solver_tool(solvers()[name], Zoo.builtin()), arguments)
    assert not result.is_error, result.content[0].text
    return result.structured_content, result.content[0].text


@pytest.mark.parametrize("name", solvers())
def test_examples_keep_their_budgets(name):
    example = solvers()[name].example
    data, text = answered(name, example)
    brief, _ = answered(name, {**example, "detail": "brief"})
    assert size(data) <= DEFAULT
    assert size(brief) <= BRIEF
    assert size(data) + len(text.encode()) <= TEXTS.get(name, TOGETHER)
    assert verify(data).ok


@pytest.mark.parametrize(("name", "arguments", "limit"), RICH, ids=lambda x: x if isinstance(x, str) else "")
def test_the_richest_calls_keep_theirs(name, arguments, limit):
    data, _ = answered(name, arguments)
    assert size(data) <= limit
    assert verify(data).ok


def test_what_only_an_infeasible_answer_speaks_of_has_no_line_in_others():
    call_of_it = {**LLAMA, "n_accelerators": 4, "concurrency": 8}
    lines = {
        detail: answered("serving_cost", {**call_of_it, "detail": detail})[0]["work"] for detail in ("default", "full")
    }
    assert not any(line.startswith("short = ") for line in lines["default"])
    assert any(line.startswith("short = ") for line in lines["full"])
    short, _ = answered("serving_cost", {**LLAMA, "n_accelerators": 1})
    assert not short["feasible"]
    assert any(line.startswith("short = ") for line in short["work"])
