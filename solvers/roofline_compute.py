"""What the roofline tool steps out: floor, expectation and range of a pass, and what follows from them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from mlwalls.solvers.derivation import Applied, Derivation, Table, Value
from mlwalls.solvers.devices import Device, groups_of
from mlwalls.solvers.equations import kernels as kernel_eq
from mlwalls.solvers.equations import memory as memory_eq
from mlwalls.solvers.equations import node as eq
from mlwalls.solvers.kernels import KernelShape, lower_kernel
from mlwalls.solvers.memory import Memory, needed_bytes
from mlwalls.solvers.numbers import Numbers
from mlwalls.solvers.passes import Law, PassTimes, link_bytes, pass_times, share_of
from mlwalls.solvers.shapes import ModelShape
from mlwalls.solvers.training_pass import training_groups
from mlwalls.solvers.workload import Groups, Lowering

Phase = Literal["prefill", "decode", "training", "inference"]
MAX_BATCH = 65536


@dataclass(frozen=True, slots=True)
class Structure:
    """Which rows and equations apply."""

    phase: Phase
    kind: Literal["transformer", "sample", "kernel"]
    shape: ModelShape | None
    kernel: KernelShape | None
    memory: Memory | None
    devices: tuple[Device, ...]
    all_reduces: int
    several: bool
    operators: bool


def compute(s: Structure, n: Numbers, d: Derivation) -> dict[str, Value]:
    """Step out floor, expectation, range and what follows from them; keys are the results' symbols."""
    if s.phase == "inference" and s.kind == "transformer":
        out, times, tables = _request(s, n, d)
    else:
        out, times, tables = _single(s, n, d)
    first = s.devices[0]
    out["binding_share"] = share_of(d, times[0])
    _range(s, n, d, out)
    _rates(n, d, out, tables, first, len(s.devices) == 2 or s.several)
    if len(s.devices) == 2:
        _compare(n, d, out)
        return out
    if d.record and s.operators and len(tables) == 1 and not s.several:
        d.column(tables[0], "time", _operator_time(s, n, tables[0]))
    if d.record and s.phase in ("decode", "prefill", "inference") and s.kind != "kernel" and len(tables) == 1:
        crossing = _crossover(s, n, d, times[0])
        if crossing is not None:
            out["crossover_batch"] = crossing
    return out


def _operator_time(s: Structure, n: Numbers, op: Table) -> Applied:
    cells = (op["count"], op["flops"], op["peak"], op["eta"])
    if s.phase == "training" and s.kind == "transformer":
        return eq.row_training_time(*cells, op["traffic"], n.bandwidth, n.eta_memory)
    return eq.row_time(*cells, op["bytes"], op["kv"], n.bandwidth, n.eta_memory)


def _law(s: Structure) -> Law:
    if s.kind != "transformer" or s.shape is None:
        return Law()
    overhead = "latent" if s.shape.attention == "mla" else "layers"
    if s.phase == "training":
        return Law(traffic=True, all_reduces=s.all_reduces)
    return Law(overhead=overhead, host=s.phase == "prefill", all_reduces=s.all_reduces)


def _single(s: Structure, n: Numbers, d: Derivation) -> tuple[dict[str, Value], list[PassTimes], list[Table]]:
    op, tokens, lowering = _lower(s, n, d)
    out: dict[str, Value] = {}
    if s.memory is not None:
        latent = lowering.latent_in if lowering else None
        out |= needed_bytes(d, s.memory, n, op, latent)
        out["headroom"] = d.step("headroom", memory_eq.headroom(n.capacity, out["needed"]))
    law = _law(s)
    sent = link_bytes(d, n, law, "", tokens)
    times = [pass_times(d, n, op, device, law, "", sent) for device in s.devices]
    for device, t in zip(s.devices, times, strict=True):
        out |= _named(device.prefix, t)
    out["tokens"] = tokens
    return out, times, [op]


def _named(prefix: str, t: PassTimes) -> dict[str, Value]:
    parts = {
        "compute_floor": t.compute_floor,
        "memory_floor": t.memory_floor,
        "link_floor": t.link_floor,
        "floor": t.floor.value,
        "compute_time": t.compute_time,
        "memory_time": t.memory_time,
        "link_time": t.link_time,
        "overhead": t.overhead,
        "expected": t.expected,
    }
    return {f"{prefix}{k}": v for k, v in parts.items() if v is not None}


def _lower(s: Structure, n: Numbers, d: Derivation) -> tuple[Table, Value, Lowering | None]:
    """Lower the one pass of a phase: its table and its tokens (samples for vision)."""
    if s.kind != "transformer" or s.shape is None:
        assert s.kernel is not None
        cells = {
            f"{dev.prefix}{k}": v for dev in s.devices for k, v in (("peak", n[dev.layer]), ("eta", n.eta_compute))
        }
        return lower_kernel(d, s.kernel, n, cells), n.batch, None
    if s.phase == "training":
        lowering = Lowering(d, s.shape, n, training_groups(d, n, s.devices))
        tokens = d.step("tokens", eq.product(n.batch, n.context))
        return lowering.training("op", tokens, n.batch, n.context), tokens, lowering
    lowering = Lowering(d, s.shape, n, groups_of(d, n, s.devices))
    if s.phase == "decode":
        return lowering.forward("op", "decode", n.batch, n.batch, n.context, n.batch), n.batch, lowering
    tokens = d.step("tokens", eq.product(n.batch, n.context))
    return lowering.forward("op", "prefill", tokens, n.batch, n.context, n.batch), tokens, lowering


def _request(s: Structure, n: Numbers, d: Derivation) -> tuple[dict[str, Value], list[PassTimes], list[Table]]:
    """A whole request: one prefill, then `output` decode steps at the mean context."""
    assert s.shape is not None
    groups: Groups = groups_of(d, n, s.devices)
    lowering = Lowering(d, s.shape, n, groups)
    tokens = d.step("tokens", eq.product(n.batch, n.context))
    pre = lowering.forward("pre", "prefill", tokens, n.batch, n.context, n.batch)
    middle = d.step("middle", eq.context_midpoint(n.context, n.output))
    op = lowering.forward("op", "decode", n.batch, n.batch, middle, n.batch)
    out: dict[str, Value] = {}
    if s.memory is not None:
        out |= needed_bytes(d, s.memory, n, op, lowering.latent_in)
        out["headroom"] = d.step("headroom", memory_eq.headroom(n.capacity, out["needed"]))
    law = _law(s)
    sent_pre = link_bytes(d, n, law, "prefill_", tokens)
    sent = link_bytes(d, n, law, "decode_", n.batch)
    decodes = []
    for device in s.devices:
        p = device.prefix
        host = Law(law.traffic, law.overhead, True, law.all_reduces)
        prefill = pass_times(d, n, pre, device, host, "prefill_", sent_pre)
        decode = pass_times(d, n, op, device, law, "decode_", sent)
        decodes.append(decode)
        out |= _named(f"{p}prefill_", prefill) | _named(f"{p}decode_", decode)
        for key in ("floor", "expected"):
            out[f"{p}{key}"] = d.step(
                f"{p}{key}",
                eq.first_and_repeats(out[f"{p}prefill_{key}"], n.output, out[f"{p}decode_{key}"]),
            )
    return out, decodes, [pre, op]


def _range(s: Structure, n: Numbers, d: Derivation, out: dict[str, Value]) -> None:
    if s.kind != "transformer":
        # The spread of the assumed shares: compute and memory parts at their best and worst.
        parts = (out["compute_time"], out["memory_time"], n.eta_compute, n.eta_memory)
        best = d.step("best", kernel_eq.at_shares(*parts, n.best_compute, n.best_memory))
        out["low"] = d.choose("low", "max", [out["floor"], best]).value
        out["high"] = d.step("high", kernel_eq.at_shares(*parts, n.worst_compute, n.worst_memory))
        return
    out["low"] = d.step("low", eq.lower_bound(out["floor"], out["expected"], n.spread_low, n.widen))
    out["high"] = d.step("high", eq.upper_bound(out["expected"], n.spread_high, n.widen))


def _rates(n: Numbers, d: Derivation, out: dict[str, Value], tables: list[Table], first: Device, short: bool) -> None:
    request = len(tables) == 2
    items = d.step("generated", eq.product(n.batch, n.output)) if request else out["tokens"]
    out["throughput"] = d.step("throughput", eq.rate(items, out["expected"]))
    if request or short:
        return
    op = tables[0]
    flops = d.sum("flops_total", eq.row_flops(op["count"], op["flops"]))
    moved = d.sum("bytes_total", eq.row_bytes(op["count"], op["bytes"], op["kv"]))
    out["arithmetic_intensity"] = d.step("arithmetic_intensity", eq.arithmetic_intensity(flops, moved))
    out["ridge_point"] = d.step("ridge_point", eq.ridge_point(n[first.layer], n[f"{first.prefix}bandwidth"]))
    out["flops_total"], out["bytes_total"] = flops, moved
    out["mfu"] = d.step("mfu", eq.model_flops_utilization(flops, out["expected"], n[first.layer]))
    out["mbu"] = d.step("mbu", eq.memory_bandwidth_utilization(moved, out["expected"], n[f"{first.prefix}bandwidth"]))


def _compare(n: Numbers, d: Derivation, out: dict[str, Value]) -> None:
    speedup = out["speedup"] = d.step("speedup", eq.ratio(out["base_expected"], out["expected"]))
    joint = d.step("joint_spread", eq.joint_spread(n.spread_high, n.widen, n.base_widen))
    out["speedup_low"] = d.step("speedup_low", eq.ratio_low(speedup, joint))
    out["speedup_high"] = d.step("speedup_high", eq.ratio_high(speedup, joint))
    out["floor_speedup"] = d.step("floor_speedup", eq.ratio(out["base_floor"], out["floor"]))
    out["flops_ratio"] = d.step("flops_ratio", eq.ratio(n.peak, n.base_peak))
    out["bandwidth_ratio"] = d.step("bandwidth_ratio", eq.ratio(n.bandwidth, n.base_bandwidth))


def _crossover(s: Structure, n: Numbers, d: Derivation, times: PassTimes) -> Value | None:
    """The smallest batch at which the FLOPs take as long as the bytes, at the floor."""

    def holds(batch: float) -> bool:
        silent = Derivation(record=False)
        again = n.replaced({"batch": batch})
        op, _, _ = _lower(s, again, silent)
        p = s.devices[0].prefix
        compute_floor = silent.sum("c", eq.row_compute_floor(op["count"], op["flops"], op[f"{p}peak"]))
        memory_floor = silent.sum("m", eq.row_memory_floor(op["count"], op["bytes"], op["kv"], again[f"{p}bandwidth"]))
        return bool(compute_floor.value >= memory_floor.value)

    return d.search(
        "crossover_batch",
        "smallest",
        "batch",
        1,
        MAX_BATCH,
        eq.at_least(times.compute_floor, times.memory_floor),
        holds,
    )
