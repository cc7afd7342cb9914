"""Stages of a pipeline: which plans can be built, and what the longest stage costs."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlwalls.server.verification import verify
from mlwalls.solvers.errors import CallError
from mlwalls.solvers.fleet_plans import SIZES, Model, possible, problems

GPT3 = {"model": "gpt-3-175b", "hardware": "a100", "n_accelerators": 1344, "global_batch": 1344}
UNEVEN = {"tensor_parallel": 8, "pipeline_parallel": 21, "microbatch": 1, "zero": 1, "recompute": "none"}


def steps_of(answer):
    """The numbers of an answer's work by name."""
    found = {}
    for line in answer["work"]:
        name, _, rest = line.partition(" = ")
        if rest:
            found[name] = float(rest.rsplit(" = ", 1)[-1].split()[0])
    return found


def sizes_of(answer):
    """The stages and parts a stage of an answer's plan."""
    plan = answer["result"]["plan"]
    pp, parts = re.search(r"PP (\d+)", plan), re.search(r"interleave (\d+)", plan)
    return int(pp[1]), int(parts[1]) if parts else 1


@pytest.mark.parametrize(
    ("call", "layers"),
    [
        ({"model": "gpt-3-175b", "hardware": "a100", "n_accelerators": 1024}, 96),
        (
            {
                "model": "gpt-3-175b",
                "hardware": "h100",
                "n_accelerators": 10752,
                "options": ["fp8"],
                "global_batch": 3072,
            },
            96,
        ),
        ({"model": "llama-3.1-8b", "hardware": "mi300x", "n_accelerators": 100_000}, 32),
    ],
)
def test_searched_stages_are_even_where_layers_allow(ask, call, layers):
    answer = ask("fleet_efficiency", **call)
    pp, parts = sizes_of(answer)
    # Layers a part, whole but for the embedding's and head's places.
    assert layers % (pp * parts) == 0 or -layers % (pp * parts) <= 3 or parts == 1
    assert verify(answer).ok


@given(layers=st.integers(1, 130), count=st.sampled_from([8, 96, 840, 4096]), per=st.sampled_from([1, 2, 12]))
@settings(max_examples=60, deadline=None)
def test_every_plan_tried_can_be_built(layers, count, per):
    m = Model(layers, 64, 64, 1, 8192, 8, count, count * per, 4096)
    for sizes in possible(m, {}):
        plan = dict(zip(SIZES, sizes, strict=True))
        pp, parts = plan["pp"], plan["interleave"]
        each = -(-layers // (pp * parts))
        empty = each * pp * parts - layers
        if parts > 1:
            assert empty <= 3
            assert problems(m, plan) == []
        else:
            # All stages between the first and the last are full, and these two have a layer at least.
            assert empty <= max(0, 2 * each - 2)


@pytest.mark.parametrize(
    ("layers", "pp", "parts", "built"),
    [
        (126, 16, 8, True),  # Llama 3 405B: 128 places, a layer less on the first and the last stage
        (94, 8, 4, True),  # Qwen3 235B in Megatron Bridge: 96 places
        (61, 4, 8, True),  # DeepSeek-V3 in NeMo: 64 places
        (105, 35, 3, True),  # the 530B model of Korthikanti et al.
        (96, 8, 8, False),  # 1.5 layers a part
        (32, 8, 3, False),  # 1.33
        (96, 8, 5, False),
        (6, 2, 4, False),  # two places of eight
    ],
)
def test_parts_of_interleaved_stages_are_alike(layers, pp, parts, built):
    m = Model(layers, 64, 64, 1, 8192, 8, 8 * pp, 8 * pp, 4096)
    found = problems(m, {"pp": pp, "interleave": parts})
    assert (found == []) is built
    assert built or str(layers) in found[0]


def test_parts_that_do_not_divide_are_impossible_and_the_repair_works(ask):
    call = {"model": "gpt-3-175b", "hardware": "a100", "n_accelerators": 1024}
    answer = ask("fleet_efficiency", **call, pipeline_parallel=8, set=["interleave=5"])
    assert answer["feasible"] is False
    assert answer["verdict"].startswith("Impossible: interleave=5 x 8 stages do not divide 96 layers.")
    assert verify(answer).ok
    nearest = {"pipeline_parallel": 8, "set": ["interleave=6"]}
    assert ask("fleet_efficiency", **call, **nearest)["feasible"] is True


def test_the_longest_stage_by_hand(ask):
    # 96 layers on 21 stages are 4.57 each: the longest has 5, and the output head takes a layer's place.
    answer = ask("fleet_efficiency", **GPT3, **UNEVEN, set=["interleave=1"], detail="full")
    assert verify(answer).ok
    assert "uneven stages: 5 of 96 layers on the longest" in answer["warnings"]
    s, r = steps_of(answer), answer["result"]
    layer, head, moved = s["layer"], s["head"], s["p2p"]
    assert s["pass"] == pytest.approx(5 * layer + 0.7 * max(0, head - layer) + moved, rel=1e-5)
    # 8 replicas, 168 micro-batches each; 20 more passes fill and drain; the mean stage waits for the longest meanwhile.
    assert r["pipeline_s"] == pytest.approx(20 * s["pass"] + 168 * (moved + (5 - 96 / 21) * layer), rel=1e-5)
    # Layers but the tables' 50,257 x 12,288 (tied) over 96/5 stages, one table, over 8 ranks: 16-bit weights.
    tables = 50_257 * 12_288
    own = ((s["parameters"] if "parameters" in s else _parameters(answer)) - tables) * 5 / 96 + tables
    assert r["weights_gb"] == pytest.approx(2 * own / 8 / 1e9, rel=1e-5)
    # Stored: 2 (4 x 12,288 + block) / 8 a token and layer, block = 2 x 192 x 128 + 2 x 49,152; 2,048 x 2 tokens, 21 in flight.
    stored = 2 * (4 * 12_288 + 2 * 192 * 128 + 2 * 49_152) / 8
    assert r["activations_gb"] == pytest.approx(4096 * stored * 5 * 21 / 1e9, rel=1e-5)


def _parameters(answer):
    return float(re.search(r"parameters=([\d.e]+)", " ".join(answer["work"]))[1])


def test_interleaved_places_by_hand(ask):
    # Llama 3 405B as published: 126 layers on 16 stages of 8 parts, 8 layers on all but the first and the last.
    call = {
        "model": "llama-3.1-405b",
        "hardware": "h100",
        "n_accelerators": 16384,
        "seq_len": 8192,
        "global_batch": 2048,
    }
    plan = {"tensor_parallel": 8, "pipeline_parallel": 16, "microbatch": 1, "zero": 1, "recompute": "selective"}
    answer = ask("fleet_efficiency", **call, **plan, set=["interleave=8"], detail="full")
    assert answer["feasible"] is True
    s = steps_of(answer)
    assert s["longest"] == 8
    assert s["pass"] == pytest.approx(8 * s["layer"] + 0.7 * max(0, s["head"] - s["layer"]) + s["p2p"], rel=1e-5)


@pytest.mark.parametrize(
    ("call", "repair"),
    [
        # 100,000 = 2^5 x 5^5: 2,500 replicas (TP 8, PP 5) take 5,000 sequences; 98,304 = 4,096 x TP 8 x PP 3 is nearer.
        (("llama-3.1-8b", "mi300x", 100_000, 4096), {"n_accelerators": 98_304}),
        # 784 = 2^4 x 7^2: 14 replicas of 8 x 7 take 1,022 = 73 x 14; the nearest count is 768 = 2^8 x 3.
        (("llama-3.1-70b", "h100", 784, 1024), {"global_batch": 1022}),
        # A prime count leaves one accelerator a replica, which does not hold 405B.
        (("llama-3.1-405b", "h100", 10_007, 2048), {"n_accelerators": 10_240}),
    ],
)
def test_a_batch_that_cannot_be_shared_out_is_repaired_by_the_least_change(ask, call, repair):
    arguments = dict(zip(("model", "hardware", "n_accelerators", "global_batch"), call, strict=True))
    with pytest.raises(CallError) as error:
        ask("fleet_efficiency", **arguments)
    assert error.value.repair == repair
    assert ask("fleet_efficiency", **arguments | repair)["feasible"] is True
