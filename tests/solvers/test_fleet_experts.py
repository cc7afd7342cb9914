"""Training of mixtures of experts: what a rank's experts take, hold and exchange, by hand; fine-grained experts; mappings."""

import pytest

from mlwalls.server.verification import verify
from mlwalls.solvers.derivation import Derivation, Value
from mlwalls.solvers.equations import experts
from mlwalls.solvers.equations.fleet_memory import weight_state
from mlwalls.solvers.errors import CallError


def value(number, unit=""):
    return Value("x", number, unit)


def stepped(law):
    return Derivation().step("x", law).value


def test_dispatch_inside_a_domain_by_hand():
    # Mixtral-8x22B, 4,096 tokens, two experts each, eight expert ranks of one H100 node: 8,192 copies of 6,144 elements, seven of
    # eight leave the rank, four times in 16 bit, at 0.79 x 450 GB/s: 0.99 ms.
    copies = value(stepped(experts.expert_copies(value(4096, "token"), value(2), value(1), value(1))), "token")
    assert copies.value == 8192
    one = value(stepped(experts.expert_domains(value(8), value(1), value(8))))
    assert one.value == 1
    remote = value(stepped(experts.remote_domains(one, value(2), value(1))))
    law = experts.all_to_all(
        value(8),
        copies,
        value(1),
        value(6144),
        value(2),
        one,
        remote,
        value(355.5e9, "byte/s"),
        value(0.8),
        value(50e9, "byte/s"),
    )
    assert stepped(law) == pytest.approx(4 * 2 * 8192 * 6144 * 7 / 8 / 355.5e9) == pytest.approx(0.991e-3, rel=1e-3)


def test_dispatch_across_domains_by_hand():
    # DeepSeek-V3 over 64 ranks of eight nodes: eight draws reach 7 x (1 - (7/8)^8) = 4.59 other
    # nodes, or 8 x 7/8 = 7 copies leave.
    domains = value(stepped(experts.expert_domains(value(64), value(1), value(8))))
    assert stepped(experts.remote_domains(domains, value(8), value(1))) == pytest.approx(4.595, abs=0.001)
    assert stepped(experts.remote_domains(domains, value(8), value(2))) == pytest.approx(7)
    # 4,096 tokens of 7,168 elements once to each: 4 x 2 x 4,096 x 7,168 x 4.595 / (0.8 x 50 GB/s) = 27 ms a layer.
    copies, remote = value(4096 * 8, "token"), value(4.595)
    law = experts.all_to_all(
        value(64),
        copies,
        value(1),
        value(7168),
        value(8),
        domains,
        remote,
        value(355.5e9, "byte/s"),
        value(0.8),
        value(50e9, "byte/s"),
    )
    assert stepped(law) == pytest.approx(26.98e-3, rel=1e-3)


def test_what_a_rank_holds_by_hand():
    # 100 B parameters, 90 B routed; TP 2, EP 8, two stages: (10 / 2 + 90 / 8) / 2 = 8.125 B; each expert split in two: 5.3125 B.
    sizes = (value(100e9), value(90e9), value(8))
    assert stepped(experts.own_parameters(*sizes, value(1), value(2), value(2))) == pytest.approx(8.125e9)
    assert stepped(experts.own_parameters(*sizes, value(2), value(2), value(2))) == pytest.approx(5.3125e9)
    assert stepped(weight_state(value(8.125e9))) == pytest.approx(16.25e9)


CALL = {
    "hardware": "h100",
    "n_accelerators": 128,
    "global_batch": 256,
    "tensor_parallel": 2,
    "pipeline_parallel": 8,
    "microbatch": 1,
}
PLAN = ["ep=8", "interleave=7"]


def step(ask, model="mixtral-8x22b", more=(), **changes):
    call = {**CALL, "model": model, "zero": 1, "recompute": "none", **changes}
    return ask("fleet_efficiency", **call, set=[*PLAN, *more])["result"]["step_s"]


def test_the_mapping_of_experts_moves_the_step_as_published(ask):
    # Liu et al., Table 3, Mixtral-8x22B: experts on their own ranks 49.3 % of the peak, split over both
    # tensor-parallel ranks 46.3 %.
    assert step(ask, more=["expert_tp=2", "ep=4"]) > step(ask)
    # Dispatch that hides saves time, at most all that is sent.
    assert step(ask, more=["w_ep=0.9"]) < step(ask)


def test_copies_between_domains_cost_more_than_tokens(ask):
    wide = {"n_accelerators": 256, "tensor_parallel": 1, "pipeline_parallel": 4, "global_batch": 1024}
    call = {**CALL, **wide, "model": "qwen3-235b-a22b", "zero": 1, "recompute": "full"}
    once, each = (
        ask("fleet_efficiency", **call, set=["ep=64", *more])["result"]["communication_s"]
        for more in ([], ["dispatch=2"])
    )
    # Eight experts over eight nodes: 7 copies for 4.6 nodes.
    assert each > 1.3 * once


def test_more_experts_than_ranks_are_read_by_each(ask):
    # FSDP without expert ranks gathers and reads every expert for each micro-batch: Table 3 has 4.3 % for it, 23.4 % with
    # expert ranks.
    call = {
        "model": "mixtral-8x22b",
        "hardware": "h100",
        "n_accelerators": 128,
        "global_batch": 256,
        "pipeline_parallel": 1,
    }
    call |= {"zero": 3, "recompute": "none", "microbatch": 1}
    alone = ask("fleet_efficiency", **call, tensor_parallel=8, set=["ep=1"])["result"]["mfu_percent"]
    ranks = ask("fleet_efficiency", **call, tensor_parallel=2, set=["ep=8"])["result"]["mfu_percent"]
    assert alone < 10 < 20 < ranks


@pytest.mark.parametrize("model", ["mixtral-8x22b", "qwen3-235b-a22b", "gpt-oss-120b", "deepseek-v3"])
def test_answers_on_experts_verify(ask, model):
    answer = ask("fleet_efficiency", model=model, hardware="h100", n_accelerators=512, detail="full")
    report = verify(answer)
    assert report.ok, report.text()
    assert not any("extrapolated" in text for text in answer["warnings"])


@pytest.mark.parametrize("wrong", ["expert_tp=1.5", "expert_tp=1000", "dispatch=3", "w_ep=5", "w_dp=1.01"])
def test_what_is_no_mapping_is_refused_with_a_repair_that_works(ask, wrong):
    call = {"model": "mixtral-8x22b", "hardware": "h100", "n_accelerators": 128}
    with pytest.raises(CallError) as error:
        ask("fleet_efficiency", **call, set=[wrong])
    assert ask("fleet_efficiency", **{**call, **error.value.repair})["feasible"]


def test_nothing_or_everything_may_hide(ask):
    call = {
        "model": "mixtral-8x22b",
        "hardware": "h100",
        "n_accelerators": 128,
        "tensor_parallel": 1,
        "pipeline_parallel": 1,
    }
    shown, hidden = (
        ask("fleet_efficiency", **call, set=["ep=8", f"w_ep={share}"])["result"].get("communication_s", 0)
        for share in (0, 1)
    )
    assert shown > 0 == hidden


def test_split_experts_share_out_the_ranks(ask):
    # Three ranks for each expert of eight groups do not divide the 32 of a stage: an impossible plan, answered by the nearest.
    call = {
        "model": "qwen3-235b-a22b",
        "hardware": "h100",
        "n_accelerators": 256,
        "tensor_parallel": 4,
        "pipeline_parallel": 8,
    }
    answer = ask("fleet_efficiency", **call, set=["expert_tp=3", "ep=8"])
    assert answer["feasible"] is False and answer["verdict"].startswith("Impossible")
