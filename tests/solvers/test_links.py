"""What a tensor-parallel group talks over: one rule for every tool that splits a model."""

import math
import re

import pytest

from mlwalls.server.verification import verify
from mlwalls.solvers.errors import CallError

WIDE = {"model": "llama-3.1-405b", "hardware": "h100", "n_accelerators": 16}
TOOLS = [
    ("roofline", WIDE),
    ("quantization", WIDE | {"scheme": "w4a16"}),
    ("serving_cost", WIDE),
    ("kv_capacity", WIDE | {"speed": True}),
]


def link_of(answer):
    """The bandwidth, byte/s, that an answer takes for a rank's link."""
    return float(re.search(r"(?<![a-z_])link=([0-9.e+]+) byte/s", "\n".join(answer["work"])).group(1))


@pytest.mark.parametrize("tool, call", TOOLS)
def test_beyond_one_domain_links_are_the_networks(ask, tool, call):
    answer = ask(tool, **call)
    assert link_of(answer) == 50e9
    said = " ".join(answer["warnings"])
    assert "16 accelerators are more than the 8 of one scale-up link domain" in said
    assert "links taken at 50 GB/s" in said
    assert verify(answer).ok, verify(answer).text()


def test_the_networks_floor_by_hand(ask):
    # 126 layers, 2 all-reduces, 2 * 15/16 * 16384 * 2 bytes at 50e9 byte/s.
    result = ask("roofline", **WIDE)["result"]
    assert result["link_floor_ms"] == pytest.approx(126 * 2 * 2 * 15 / 16 * 16384 * 2 / 50e9 * 1e3, rel=1e-5)


def test_the_range_is_twice_as_wide_beyond_a_domain(ask):
    inside = ask("roofline", **WIDE | {"n_accelerators": 8})["result"]
    beyond = ask("roofline", **WIDE)["result"]
    widths = [math.log(r["high_ms"] / r["expected_ms"]) for r in (inside, beyond)]
    assert widths[1] == pytest.approx(2 * widths[0], rel=1e-4)


def test_inside_a_domain_nothing_is_said(ask):
    answer = ask("roofline", model="llama-3.1-70b", hardware="h100", n_accelerators=8)
    assert not any("scale-up" in w or "links taken" in w for w in answer["warnings"])
    assert link_of(answer) == 450e9


@pytest.mark.parametrize("tool", ["roofline", "serving_cost", "kv_capacity"])
def test_a_remedy_beyond_the_domain_says_so(ask, tool):
    answer = ask(tool, **WIDE | {"n_accelerators": 8, "weight_dtype": "bf16"})
    assert not answer["feasible"]
    assert "n_accelerators=16 (over the network: a link domain has 8)" in answer["verdict"]


def test_cards_without_a_scale_up_link_talk_over_pcie(ask):
    # 80 layers, 2 all-reduces, 2 * 7/8 * 8192 * 2 bytes at PCIe 4.0 x16: 31.5e9 byte/s.
    call = {"model": "llama-3.1-70b", "hardware": "rtx-4090"}
    assert "n_accelerators=8" in ask("roofline", **call)["verdict"]
    answer = ask("roofline", **call, n_accelerators=8)
    assert answer["feasible"]
    by_hand = 80 * 2 * 2 * 7 / 8 * 8192 * 2 / 31.5e9
    assert answer["result"]["link_floor_ms"] == pytest.approx(by_hand * 1e3, rel=1e-4)
    assert any("over PCIe at 31.5 GB/s" in w for w in answer["warnings"])
    assert verify(answer).ok, verify(answer).text()
    assert ask("kv_capacity", **call, n_accelerators=8, speed=True, seq_len=2048)["result"]["decode_expected_ms"] > 0


def test_nothing_to_talk_over_is_said(ask):
    with pytest.raises(CallError, match="neither a scale-up link nor a PCIe rate") as error:
        ask("roofline", model="llama-3.2-1b", hardware="apple-m2-ultra", n_accelerators=2)
    ask("roofline", **{"model": "llama-3.2-1b", "hardware": "apple-m2-ultra", "n_accelerators": 2} | error.value.repair)
    answer = ask("roofline", model="llama-3.1-405b", hardware="apple-m2-ultra")
    assert not answer["feasible"]
    assert "tensor-parallel group" not in answer["verdict"]


@pytest.mark.parametrize(
    "hardware", ["nvidia-a100-pcie-80gb", "nvidia-h100-nvl-94gb", "nvidia-rtx-3090", "nvidia-rtx-a6000"]
)
def test_a_bridge_joins_two_and_wider_groups_talk_over_pcie(ask, zoo, hardware):
    entry = zoo.get("hardware", hardware)
    call = {"model": "llama-3.1-8b", "hardware": hardware}
    pair, four, sixteen = (ask("roofline", **call, n_accelerators=k) for k in (2, 4, 16))
    assert link_of(pair) == entry.number("link.bandwidth").value
    assert not any("bridge" in w for w in pair["warnings"])
    assert link_of(four) == entry.number("host.bandwidth").value
    assert any(f"a bridge joins only 2 of {entry.name}; tensor parallel taken over PCIe" in w for w in four["warnings"])
    assert any("16 accelerators are more than the 8 of one server" in w for w in sixteen["warnings"])
    assert verify(four).ok, verify(four).text()


def test_a_pcie_group_by_hand(ask):
    # A100 PCIe: 80 layers, 2 all-reduces, 2 * 3/4 * 8192 * 2 bytes at 31.5e9 byte/s of PCIe 4.0 x16; the bridge has 300e9.
    call = {"model": "llama-3.1-70b", "hardware": "nvidia-a100-pcie-80gb"}
    result = ask("roofline", **call, n_accelerators=4)["result"]
    assert result["link_floor_ms"] == pytest.approx(80 * 2 * 2 * 3 / 4 * 8192 * 2 / 31.5e9 * 1e3, rel=1e-4)
    two = ask("roofline", **call, n_accelerators=2)["result"]
    assert two["link_floor_ms"] == pytest.approx(80 * 2 * 2 * 1 / 2 * 8192 * 2 / 300e9 * 1e3, rel=1e-4)


def test_remedies_and_reserves_beyond_a_bridge(ask):
    # 141 GB in 16 bit on cards of 24 GB: eight, in one server.
    for tool in ("roofline", "kv_capacity", "serving_cost"):
        price = {"usd_per_hour": 1} if tool == "serving_cost" else {}
        answer = ask(tool, model="llama-3.1-70b", hardware="rtx-3090", **price)
        assert not answer["feasible"]
        assert "n_accelerators=8 (over PCIe: a bridge joins 2)" in answer["verdict"]
    # What NCCL holds outside the allocator is that of a group over NVLink for a pair, of one over PCIe for more.
    pair, four = (
        ask("kv_capacity", model="llama-3.1-8b", hardware="nvidia-a100-pcie-80gb", n_accelerators=k)["result"]
        for k in (2, 4)
    )
    assert pair["non_torch_gib"] > 5 * four["non_torch_gib"]


def test_training_groups_of_bridged_cards_talk_over_pcie(ask):
    call = {"model": "llama-3.1-8b", "hardware": "nvidia-a100-pcie-80gb", "n_accelerators": 16}
    answer = ask("fleet_efficiency", **call, tensor_parallel=2)
    assert any("a bridge joins only 2" in w for w in answer["warnings"])
    assert link_of(answer) == 31.5e9
