"""The decode step of a batch, by the one operator model, for solvers that size something and then ask how fast it is."""

from __future__ import annotations

from dataclasses import dataclass

from mlwalls.solvers.derivation import Derivation, Value
from mlwalls.solvers.devices import Device, groups_of, resolve_device, serving_constants
from mlwalls.solvers.equations import node as eq
from mlwalls.solvers.links import said
from mlwalls.solvers.numbers import Numbers
from mlwalls.solvers.passes import Law, PassWork, expected_pass, link_bytes, pass_moved, serving_law
from mlwalls.solvers.shapes import ModelShape
from mlwalls.solvers.workload import Lowering, PassPhase
from mlwalls.zoo import Entry


@dataclass(frozen=True, slots=True)
class Speed:
    """The device that decodes, and how its ranks talk."""

    device: Device
    law: Law


def resolve_speed(n: Numbers, shape: ModelShape, hardware: Entry, ranks: int, warnings: list[str]) -> Speed:
    """Read what a decode step needs besides the model, into `n`.

    Raises:
        CallError: the accelerator has no bandwidth, arithmetic unit or link in the zoo.
    """
    stored = (shape.layer_format, shape.expert_format, shape.wide_format, shape.projection_format)
    device = resolve_device(n, hardware, stored, "", "", warnings, ranks)
    if device.far:
        warnings += said(device.link, device.name, ranks, device.domain, float(n.link.value), True, False)
    n.defined("act_width", 2, "byte")
    n.defined("per_layer", 2)
    serving_constants(n, shape, (device,))
    return Speed(device, serving_law(shape, True, ranks))


def decode_speed(s: Speed, shape: ModelShape, n: Numbers, d: Derivation) -> dict[str, Value]:
    """Step out one decode step of `n.batch` sequences at `n.context`: keys `decode_expected` and `throughput`."""
    # Latents have names of their own among a pool's steps.
    inner = d.scope("d_") if shape.attention == "mla" else d
    op = Lowering(inner, shape, n, groups_of(inner, n, (s.device,))).forward(
        "op", [PassPhase("decode", n.batch, n.context)]
    )
    moved = pass_moved(inner, op, "", "", shape.linear)
    sent = link_bytes(inner, n, s.law, "", n.batch)
    law = expected_pass(inner, n, op, PassWork(moved, moved, n.batch), s.law, sent)
    expected = d.step("decode_expected", law)
    return {"decode_expected": expected, "throughput": d.step("throughput", eq.rate(n.batch, expected))}
