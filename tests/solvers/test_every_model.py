"""Every model of the zoo, asked of every tool that takes one, on one accelerator and on groups: answered, or refused in words."""

import pytest

from mlwalls.solvers.answers import answer_data
from mlwalls.solvers.errors import CallError
from mlwalls.solvers.registry import solvers
from mlwalls.zoo import Zoo

ZOO = Zoo.builtin()
MODELS = [entry.id for entry in ZOO.entries("models")]
ON = {"hardware": "nvidia-h100-sxm-80gb"}
ASKED = {
    "roofline": [ON, {**ON, "phase": "inference"}, {**ON, "phase": "training"}],
    "kv_capacity": [{**ON, "speed": True, "concurrency": 4}],
    "quantization": [{**ON, "scheme": "w8a8_fp8"}, {**ON, "scheme": "w4a16", "phase": "prefill"}],
    "architecture_efficiency": [{}],
    "pipeline_bottleneck": [{**ON, "mfu_percent": 40, "cpu_workers": 16}],
    "fleet_efficiency": [ON],
    "wafer_scale": [{"execution": "streamed"}, {"execution": "resident"}],
    "safety_overhead": [ON],
    "serving_cost": [ON, {**ON, "concurrency": 8}],
}
RANKS = {"fleet_efficiency": (8,), "architecture_efficiency": (1,), "wafer_scale": (1,)}


def test_no_tool_that_takes_a_model_is_left_out():
    # audit asks these tools; the analyses take a whole scenario.
    takes = {name for name, solver in solvers().items() if {"model", "models"} & solver.request.model_fields.keys()}
    assert takes - {"audit"} == ASKED.keys()


@pytest.mark.parametrize("name", ASKED)
def test_every_model_is_answered_or_refused_in_words(name):
    solver = solvers()[name]
    answered = 0
    for model in MODELS:
        given = {"model": model} if "model" in solver.request.model_fields else {"models": [model]}
        for ranks in RANKS.get(name, (1, 2, 8)):
            at = {} if RANKS.get(name) == (1,) else {"n_accelerators": ranks}
            for arguments in ASKED[name]:
                try:
                    answer = solver.run(solver.request.model_validate(given | at | arguments), ZOO)
                except CallError as refused:
                    assert refused.problem  # any other exception would be an internal error
                else:
                    assert answer_data(answer, ZOO)["verdict"]
                    answered += 1
    assert answered >= len(MODELS) / 3


@pytest.mark.parametrize("model", ["mamba-2.8b", "jamba-1.5-large", "qwen3.5-397b-a17b"])
def test_recurrent_models_split_over_a_group(ask, model):
    alone, pair = (ask("kv_capacity", model=model, hardware="b200", n_accelerators=k)["result"] for k in (1, 2))
    # Recurrent states are split over the ranks, attention's keys by heads: half a sequence each.
    assert pair["state_mb"] == pytest.approx(alone["state_mb"] / 2, rel=1e-5)
    assert pair["sequence_gb"] == pytest.approx(alone["sequence_gb"] / 2, rel=1e-5)
    assert pair["weights_gib"] < 0.7 * alone["weights_gib"]
