"""Architectures side by side: published caches and active parameters, counts by hand, mixtures and batches, scopes."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlwalls.server.verification import verify
from mlwalls.solvers.errors import CallError


def one(ask, model, **arguments):
    result = ask("architecture_efficiency", models=[model], **arguments)["result"]
    return {k.removeprefix("each_"): v[0] for k, v in result.items()}


@pytest.mark.parametrize(
    ("model", "per_token"),
    # layers x 2 x KV heads x head size x 2 byte; DeepSeek-V3 61 x (512 + 64) x 2 byte.
    [
        ("llama-3.1-8b", 32 * 2 * 8 * 128 * 2),
        ("llama-3.1-70b", 80 * 2 * 8 * 128 * 2),
        ("deepseek-v3", 61 * 576 * 2),
        ("gpt2", 12 * 2 * 12 * 64 * 2),
    ],
)
def test_cache_a_token(ask, model, per_token):
    assert one(ask, model, seq_len=1000)["kv_kb"] == pytest.approx(per_token / 1e3, rel=1e-5)


@pytest.mark.parametrize(
    ("model", "active"),
    # Active parameters by the makers: Mixtral 12.9e9 (Mistral), DeepSeek-V3 37e9 (technical report), Qwen3-235B-A22B 22e9.
    [("mixtral-8x7b", 12.9e9), ("deepseek-v3", 37e9), ("qwen3-235b-a22b", 22e9)],
)
def test_a_mixture_reads_its_active_parameters(ask, model, active):
    read = one(ask, model, weight_dtype="fp8")["read_gb"] * 1e9
    # One byte each but the head, which stays at two, less the embedding, of which one row is read.
    assert read == pytest.approx(active, rel=0.04)


def test_flops_by_hand(ask):
    # Llama-3.1-8B: 2 x (parameters less the embedding and norms) + 4 x heads x head size x context x layers.
    matmul = 8_030_261_248 - 128256 * 4096 - 266240
    by_hand = 2 * matmul + 4 * 32 * 128 * 8192 * 32
    assert one(ask, "llama-3.1-8b", seq_len=8192)["flops_gflop"] == pytest.approx(by_hand / 1e9, rel=1e-5)


def test_a_batch_shares_dense_weights_wholly_and_experts_partly(ask):
    dense = [one(ask, "llama-3.1-8b", batch_size=b)["read_gb"] for b in (1, 8)]
    assert dense[0] / dense[1] == pytest.approx(8, rel=1e-5)
    mixture = [one(ask, "mixtral-8x7b", batch_size=b)["read_gb"] for b in (1, 8)]
    # Eight tokens touch 8 x (1 - (3/4)^8) = 7.2 of 8 experts, one token 2.
    assert 2 < mixture[0] / mixture[1] < 8 / 3


def test_recurrent_state_does_not_grow(ask):
    short, long = (one(ask, "mamba-2.8b", seq_len=s)["cache_gb"] for s in (1000, 100_000))
    assert short == long


def test_windows_cap_the_cache(ask):
    # Gemma-2-9B: 21 of 42 layers see 4,096 tokens. 8 KV heads of 256: 8,192 byte a token and layer.
    cache = one(ask, "gemma-2-9b", seq_len=8192)["cache_gb"] * 1e9
    assert cache == pytest.approx((21 * 8192 + 21 * 4096) * 2 * 8 * 256 * 2, rel=1e-5)


def test_order_does_not_matter_and_scopes_do_not_mix(ask):
    ab = ask("architecture_efficiency", models=["llama-3.1-70b", "deepseek-v3"])["result"]
    ba = ask("architecture_efficiency", models=["deepseek-v3", "llama-3.1-70b"])["result"]
    for field, values in ab.items():
        assert values == ba[field][::-1], field
    alone = one(ask, "llama-3.1-70b")
    assert {k: v for k, v in alone.items() if k != "models"} == {
        k.removeprefix("each_"): v[0] for k, v in ab.items() if k != "models"
    }


def test_a_scoped_number_is_replaced_by_its_printed_name(ask):
    plain = ask("architecture_efficiency", models=["llama-3.1-8b", "llama-3.1-70b"])["result"]
    fewer = ask("architecture_efficiency", models=["llama-3.1-8b", "llama-3.1-70b"], set=["b_layers=40"])["result"]
    assert fewer["each_kv_kb"] == [plain["each_kv_kb"][0], plain["each_kv_kb"][1] / 2]


@pytest.mark.parametrize("models", [["llama-3.1-8b", "resnet-50"], ["bert-base"], ["lama-3.1-8c", "deepseek-v3"]])
def test_what_cannot_be_compared_is_repaired_in_place(ask, models):
    with pytest.raises(CallError) as error:
        ask("architecture_efficiency", models=models)
    assert len(error.value.repair["models"]) == len(models)
    assert ask("architecture_efficiency", **error.value.repair)["feasible"]


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.sampled_from(["llama-3.1-8b", "gpt-oss-20b", "deepseek-v3", "mamba-2.8b", "gemma-2-9b", "mixtral-8x7b"]),
        min_size=1,
        max_size=3,
    ),
    st.integers(1, 100_000),
    st.integers(1, 1024),
)
def test_recomputed_from_the_answer_alone(ask, models, context, batch):
    answer = ask("architecture_efficiency", models=models, seq_len=context, batch_size=batch)
    report = verify(json.loads(json.dumps(answer)))
    assert report.ok, report.text()
    assert all(x > 0 for x in answer["result"]["each_flops_gflop"])
