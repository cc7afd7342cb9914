"""Published rows on energy, carbon, water and cost: predicted from what they state, or counted with a reason."""

import pytest
import yaml

from mlwalls.server.accuracy.published import score
from mlwalls.server.accuracy.report import Scored, Skipped

ROWS = [
    {
        "id": "gpt-3",
        "kind": "energy_training",
        # Patterson et al. 2021, table 4.
        "inputs": {
            "num_chips": 10000,
            "days": 14.8,
            "measured_w_per_chip": 330,
            "pue": 1.1,
            "grid_kg_per_kwh_net": 0.429,
        },
        "value": 1287,
        "unit": "MWh",
    },
    {
        "id": "bloom",
        "kind": "carbon_training",
        "inputs": {"energy_mwh": 433.196, "grid_g_per_kwh": 57},
        "value": 24.7,
        "unit": "tCO2e",
    },
    {
        "id": "llama-2-70b",
        "kind": "carbon_training",
        "inputs": {"gpu_hours": 1720320, "power_w_per_gpu": 400},
        "value": 291.42,
        "unit": "tCO2e",
        "source": "Meta model card",
    },
    {
        "id": "gemini-water",
        "kind": "water_inference",
        "inputs": {"workload": "median Gemini Apps text prompt", "energy_wh": 0.24},
        "value": 0.26,
        "unit": "mL/prompt",
    },
    {
        "id": "qwen-h100",
        "kind": "energy_inference",
        # ML.ENERGY: 8 H100 drew 3,961 W for 511 sequences at a median of 75.8 ms a token.
        "inputs": {
            "model": "Qwen/Qwen3-235B-A22B-Instruct-2507-FP8",
            "gpu": "H100",
            "num_gpus": 8,
            "precision": "FP8",
            "running_batch": 511.2,
            "avg_output_tokens": 881,
            "median_itl_ms": 75.8,
        },
        "value": 205.96,
        "unit": "Wh per 1M output tokens",
    },
    {"id": "unstated", "kind": "carbon_training", "inputs": {}, "value": 1, "unit": "t"},
    {"id": "other-prompt", "kind": "carbon_inference", "inputs": {"energy_wh": 1}, "value": 1, "unit": "g"},
    {"id": "price", "kind": "cost_price", "inputs": {}, "value": 2.95, "unit": "USD/GPU-hour"},
]


@pytest.fixture(scope="module")
def outcomes(zoo):
    return {o.id: o for o in score(yaml.safe_dump({"rows": ROWS}), zoo)}


@pytest.mark.parametrize(
    ("id", "most"),
    [("gpt-3", 0.01), ("bloom", 0.002), ("llama-2-70b", 0.065), ("gemini-water", 0.05), ("qwen-h100", 0.1)],
)
def test_rows_are_predicted(outcomes, id, most):
    outcome = outcomes[id]
    assert isinstance(outcome, Scored)
    assert abs(outcome.error) <= most


def test_the_energy_of_serving_has_an_interval(outcomes):
    # 0.82 of 700 W on 8 GPUs over 511.2/0.0758 tokens/s, in Wh a million, and what steps with prompts add.
    bare = 700 * 8 / (511.2 / 0.0758) * 1e6 / 3600
    row = outcomes["qwen-h100"]
    assert 1 < row.predicted / (0.82 * bare) < 1.25
    # Wider than the ends of the assumed utilization, 0.685 and all of the rated power: the time of a mean step is predicted too.
    assert row.low / row.predicted < 0.685 / 0.82
    assert row.high / row.predicted > 1 / 0.82
    assert row.covered


def test_what_says_too_little_is_counted(outcomes):
    for id in ("unstated", "other-prompt"):
        assert isinstance(outcomes[id], Skipped) and not outcomes[id].excluded
    assert outcomes["price"].excluded
