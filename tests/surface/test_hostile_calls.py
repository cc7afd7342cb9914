"""Whatever a tool is called with: an answer within its bounds, or an error that leads to one."""

import json
import statistics

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from mlwalls.server.tools import call

from .hostile import arguments, attack, tools


@pytest.mark.parametrize("tool", sorted(tools()))
def test_any_arguments(tool):
    # Without shrinking: a failure is told at once, and fuzz.py finds a smaller one.
    @settings(
        max_examples=60,
        derandomize=True,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.explicit, Phase.generate],
    )
    @given(st.data())
    def attacked(data):
        attack(tool, data.draw(arguments(tool)))

    attacked()


@pytest.mark.parametrize(
    ("tool", "arguments"),
    [
        (
            "fleet_efficiency",
            {"model": "llama-3.1-8b", "hardware": "h100", "n_accelerators": 1024, "set": ["spread=9e15"]},
        ),
        ("tail_latency", {"arrivals_per_s": 5e-324, "service_time_s": 0.4, "servers": 4}),
        ("tail_latency", {"arrivals_per_s": 8, "service_time_s": 0.4, "servers": 10**400}),
        ("roofline", {"model": "resnet-50", "hardware": "a100", "phase": "inference", "baseline_hardware": "a100"}),
        ("quantization", {"model": "llama-3.1-8b", "hardware": "nrf52840", "scheme": "w4a16"}),
        ("scaling_law", {"compute_flop": None, "\ud800": "\ud800"}),
        ("carbon", {"energy_kwh": 1000}),
        ("serving_cost", {"model": "llama-3.1-70b", "hardware": "h100", "draft_model": "alexnet", "draft_tokens": 4}),
        (
            "serving_cost",
            {
                "model": "llama-3.1-70b",
                "hardware": "h100",
                "disaggregated": True,
                "queries_per_s": 1,
                "set": ["headroom=1"],
            },
        ),
        ("find_in_zoo", {"where": {"a": 1}, "query": "\x00"}),
    ],
)
def test_what_was_found_once(tool, arguments):
    attack(tool, arguments)


def test_answers_to_the_examples_stay_small():
    sizes = {}
    for name, tool in tools().items():
        details = ("brief", "default", "full") if "detail" in tool.arguments["properties"] else ("default",)
        for detail in details:
            arguments = {**tool.example, **({"detail": detail} if len(details) > 1 else {})}
            result = call(tool, arguments)
            sizes[name, detail] = len(json.dumps(result.structured_content, ensure_ascii=False).encode())
    limits = {"brief": 3_000, "default": 8_000, "full": 20_000}
    assert not {key: size for key, size in sizes.items() if size > limits[key[1]]}
    assert statistics.median(size for (_, detail), size in sizes.items() if detail == "default") <= 4_500
