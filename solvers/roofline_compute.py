"""What the roofline tool steps out: floor, expectation and range of a pass, and what follows from them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from mlwalls.solvers.derivation import Applied, Derivation, Table, Value
from mlwalls.solvers.devices import Device, groups_of
from mlwalls.solvers.equations import common
from mlwalls.solvers.equations import kernels as kernel_eq
from mlwalls.solvers.equations import memory as memory_eq
from mlwalls.solvers.equations import node as eq
from mlwalls.solvers.kernels import KernelShape, lower_kernel, quickest
from mlwalls.solvers.memory import Memory, needed_bytes
from mlwalls.solvers.numbers import Numbers
from mlwalls.solvers.passes import (
    Law,
    PassTimes,
    PassWork,
    link_bytes,
    overhead_share,
    pass_moved,
    pass_times,
    serving_law,
    share_of,
)
from mlwalls.solvers.shapes import ModelShape
from mlwalls.solvers.training_pass import training_groups
from mlwalls.solvers.workload import Lowering, PassPhase

Phase = Literal["prefill", "decode", "training", "inference"]
Kind = Literal["transformer", "sample", "kernel"]
MAX_BATCH = 65536


@dataclass(frozen=True, slots=True)
class Structure:
    """Which rows and equations apply."""

    phase: Phase
    kind: Kind
    shape: ModelShape | None
    kernel: KernelShape | None
    memory: Memory | None
    devices: tuple[Device, ...]
    all_reduces: int
    several: bool
    operators: bool


def compute(s: Structure, n: Numbers, d: Derivation) -> dict[str, Value]:
    """Step out floor, expectation, range and what follows from them; keys are the results' symbols."""
    request = s.phase == "inference" and s.kind == "transformer"
    out, times, lowered = _request(s, n, d) if request else _single(s, n, d)
    if not request and not (len(s.devices) > 1 and s.all_reduces):
        out["binding_share"] = share_of(d, n, times[0])
    if not request:
        out |= overhead_share(d, times[0])
    _range(s, n, d, out)
    made = eq.request_rate(n.batch, n.output, out["expected"]) if request else eq.rate(lowered.items, out["expected"])
    out["throughput"] = d.step("throughput", made)
    if len(s.devices) == 2:
        _compare(s, n, d, out)
    elif not request and not s.several:
        _rates(n, d, out, lowered, s.devices[0])
        if d.record and s.operators:
            d.column(lowered.op, "time", _operator_time(s, n, lowered.op, lowered.work))
    if d.record and not request and len(s.devices) == 1 and s.phase != "training" and s.kind != "kernel":
        crossing = _crossover(s, n, d, times[0])
        if crossing is not None:
            out["crossover_batch"] = crossing
    return out


def _operator_time(s: Structure, n: Numbers, op: Table, work: PassWork) -> Applied:
    count, flops, peak, eta = op["count"], op["flops"], op["peak"], op["eta"]
    if work.tokens is None:
        traffic = op["traffic" if s.phase == "training" and s.kind == "transformer" else "bytes"]
        return eq.row_time(count, flops, peak, eta, traffic, n.bandwidth, n.eta_memory)
    cells = (op["read"], op["width"], op["kv"])
    return eq.pass_row_time(count, work.tokens, op["w"], flops, peak, eta, *cells, n.bandwidth, n.eta_memory)


def _law(s: Structure) -> Law:
    if s.kind != "transformer" or s.shape is None:
        return Law()
    if s.phase == "training":
        return Law(all_reduces=s.all_reduces)
    return replace(serving_law(s.shape, s.phase != "prefill", 1 + s.all_reduces), short=_short(s) or s.all_reduces > 0)


def _short(s: Structure) -> bool:
    """Whether the answer has so much else that passes and memory are told without their parts."""
    return s.phase == "inference" or s.several or len(s.devices) > 1


def _single(s: Structure, n: Numbers, d: Derivation) -> tuple[dict[str, Value], list[PassTimes], Lowered]:
    lowered = _lower(s, n, d)
    out = _fit(s, n, d, lowered)
    law = _law(s)
    sent = link_bytes(d, n, law, "", lowered.items)
    times: list[PassTimes] = []
    for device in s.devices:
        before = times[0] if times else None
        times.append(pass_times(d, n, lowered.op, device, law, lowered.work, sent, before=before))
    for device, t in zip(s.devices, times, strict=True):
        out |= _named(device.prefix, t)
    return out, times, lowered


def _fit(s: Structure, n: Numbers, d: Derivation, lowered: Lowered) -> dict[str, Value]:
    if s.memory is None:
        return {}
    out = needed_bytes(d, s.memory, n, lowered.op, lowered.lowering, _short(s))
    if "base_capacity" in n:
        out["base_headroom"] = d.step(
            "base_headroom", memory_eq.headroom_of(out["headroom"], n.capacity, n.base_capacity)
        )
    return out


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


@dataclass(frozen=True, slots=True)
class Lowered:
    """A lowered pass: its table, the tokens (or samples) that count as its output, and its work."""

    op: Table
    items: Value
    work: PassWork
    lowering: Lowering | None = None


def _lower(s: Structure, n: Numbers, d: Derivation) -> Lowered:
    """Lower the one pass of a phase."""
    if s.kind != "transformer" or s.shape is None:
        assert s.kernel is not None
        cells = {
            f"{dev.prefix}{k}": v for dev in s.devices for k, v in (("peak", n[dev.layer]), ("eta", n.eta_compute))
        }
        op = lower_kernel(d, s.kernel, n, cells)
        moved = d.sum("bytes_total", eq.row_bytes(op["count"], op["bytes"]))
        return Lowered(op, n.batch, PassWork(moved, moved))
    if s.phase == "training":
        lowering = Lowering(d, s.shape, n, training_groups(d, n, s.devices))
        tokens = d.step("tokens", common.product(n.batch, n.context))
        op = lowering.training("op", tokens, n.batch, n.context)
        moved = d.sum("bytes_total", eq.row_bytes(op["count"], op["bytes"]))
        really = d.sum("traffic_total", eq.row_traffic(op["count"], op["traffic"]))
        return Lowered(op, tokens, PassWork(moved, really))
    lowering = Lowering(d, s.shape, n, groups_of(d, n, s.devices))
    tokens = n.batch if s.phase == "decode" else d.step("tokens", common.product(n.batch, n.context))
    kind: Literal["decode", "prefill"] = "decode" if s.phase == "decode" else "prefill"
    op = lowering.forward("op", [PassPhase(kind, tokens, n.context)])
    moved = pass_moved(d, op, "", "", s.shape.linear)
    return Lowered(op, tokens, PassWork(moved, moved, tokens, shared=len(s.devices) > 1), lowering)


def _request(s: Structure, n: Numbers, d: Derivation) -> tuple[dict[str, Value], list[PassTimes], Lowered]:
    """A whole request: one prefill, then `output` decode steps at the mean context, on the same weights."""
    assert s.shape is not None
    lowering = Lowering(d, s.shape, n, groups_of(d, n, s.devices))
    tokens = d.step("tokens", common.product(n.batch, n.context))
    middle = d.step("middle", eq.context_midpoint(n.context, n.output))
    prefill = PassPhase("prefill", tokens, n.context, "pre_")
    op = lowering.forward("op", [PassPhase("decode", n.batch, middle), prefill])
    moved = pass_moved(d, op, "", "dec_", s.shape.linear)
    moved_pre = pass_moved(d, op, "pre_", "pre_", s.shape.linear)
    lowered = Lowered(op, tokens, PassWork(moved, moved, n.batch, "", "dec_", "decode_expected", True), lowering)
    pre = PassWork(moved_pre, moved_pre, tokens, "pre_", "pre_", "prefill_expected", True)
    out = _fit(s, n, d, lowered)
    law = _law(s)
    sent = link_bytes(d, n, law, "sent_", n.one)
    decodes = []
    for device in s.devices:
        p = device.prefix
        first = pass_times(d, n, op, device, replace(law, sequences=False), pre, sent)
        again = pass_times(d, n, op, device, law, lowered.work, sent, before=first)
        decodes.append(again)
        out |= _named(f"{p}prefill_", first) | _named(f"{p}decode_", again)
        for key in ("floor", "expected"):
            out[f"{p}{key}"] = d.step(
                f"{p}{key}",
                common.first_and_repeats(out[f"{p}prefill_{key}"], n.output, out[f"{p}decode_{key}"]),
            )
    return out, decodes, lowered


def _range(s: Structure, n: Numbers, d: Derivation, out: dict[str, Value]) -> None:
    if s.kind != "transformer":
        # From the best measured rates to the worst of the assumed shares.
        assert s.kernel is not None
        parts = (out["compute_time"], out["memory_time"], n.eta_compute, n.eta_memory)
        out["low"] = quickest(d, n, s.kernel, out, s.devices[0])
        out["high"] = d.step("high", kernel_eq.at_shares(*parts, n.worst_compute, n.worst_memory))
        return
    out["low"] = d.step("low", eq.lower_bound(out["floor"], out["expected"], n.spread_low, n.widen))
    out["high"] = d.step("high", eq.upper_bound(out["expected"], n.spread_high, n.widen))


def _rates(n: Numbers, d: Derivation, out: dict[str, Value], lowered: Lowered, device: Device) -> None:
    op, work = lowered.op, lowered.work
    if work.tokens is None:
        flops = d.sum("flops_total", eq.row_flops(op["count"], op["flops"]))
    else:
        flops = d.sum("flops_total", eq.pass_flops(op["count"], work.tokens, op["w"], op["flops"]))
    out["arithmetic_intensity"] = d.step("arithmetic_intensity", eq.arithmetic_intensity(flops, work.moved))
    out["ridge_point"] = d.step("ridge_point", eq.ridge_point(n[device.layer], n.bandwidth))
    out["mfu"] = d.step("mfu", eq.model_flops_utilization(flops, out["expected"], n[device.layer]))
    out["mbu"] = d.step("mbu", eq.memory_bandwidth_utilization(work.moved, out["expected"], n.bandwidth))


def _compare(s: Structure, n: Numbers, d: Derivation, out: dict[str, Value]) -> None:
    speedup = out["speedup"] = d.step("speedup", common.ratio(out["base_expected"], out["expected"]))
    if s.kind == "transformer":
        law = eq.joint_spread(n.spread_high, n.widen, n.base_widen)
        if "spread_pair" in n:
            law = eq.spread_of_chips(n.spread_pair, n.spread_high, n.widen, n.base_widen)
        joint = d.step("joint_spread", law)
        out["speedup_low"] = d.step("speedup_low", eq.ratio_low(speedup, joint))
        out["speedup_high"] = d.step("speedup_high", eq.ratio_high(speedup, joint))
    else:
        # Each chip at either end of its range.
        assert s.kernel is not None
        parts = (out["base_compute_time"], out["base_memory_time"], n.eta_compute, n.eta_memory)
        least = quickest(d, n, s.kernel, out, s.devices[1])
        slowest = d.step("base_high", kernel_eq.at_shares(*parts, n.worst_compute, n.worst_memory))
        out["speedup_low"] = d.step("speedup_low", common.ratio(least, out["high"]))
        out["speedup_high"] = d.step("speedup_high", common.ratio(slowest, out["low"]))
    out["floor_speedup"] = d.step("floor_speedup", common.ratio(out["base_floor"], out["floor"]))
    out["flops_ratio"] = d.step("flops_ratio", common.ratio(n.peak, n.base_peak))
    out["bandwidth_ratio"] = d.step("bandwidth_ratio", common.ratio(n.bandwidth, n.base_bandwidth))


def _crossover(s: Structure, n: Numbers, d: Derivation, times: PassTimes) -> Value | None:
    """The smallest batch at which the FLOPs take as long as the bytes, at the floor."""

    def holds(batch: float) -> bool:
        silent = Derivation(record=False)
        again = n.replaced({"batch": batch})
        lowered = _lower(s, again, silent)
        law = Law(all_reduces=0)
        t = pass_times(silent, again, lowered.op, s.devices[0], law, lowered.work, None)
        return bool(t.compute_floor.value >= t.memory_floor.value)

    return d.search(
        "crossover_batch",
        "smallest",
        "batch",
        1,
        MAX_BATCH,
        eq.at_least(times.compute_floor, times.memory_floor),
        holds,
    )
