"""The time of one pass on one device: floor, calibrated expectation and their parts."""

from __future__ import annotations

from dataclasses import dataclass

from mlwalls.solvers.derivation import Choice, Derivation, Table, Value
from mlwalls.solvers.devices import Device
from mlwalls.solvers.equations import node as eq
from mlwalls.solvers.numbers import Numbers


@dataclass(frozen=True, slots=True)
class Law:
    """Which parts the expectation of a pass has.

    Attributes:
        traffic: unfused operands move instead of compulsory bytes (training).
        overhead: kernel starts and tails a layer ("latent" for latent attention, "" for none).
        host: a pass with prompt tokens is bounded by the host's launches.
        all_reduces: tensor-parallel all-reduces a layer; 0 without tensor parallelism.
    """

    traffic: bool = False
    overhead: str = ""
    host: bool = False
    all_reduces: int = 0


@dataclass(frozen=True, slots=True)
class PassTimes:
    """Parts of one pass's time, in seconds."""

    compute_floor: Value
    memory_floor: Value
    link_floor: Value | None
    floor: Choice
    compute_time: Value
    memory_time: Value
    link_time: Value | None
    overhead: Value | None
    expected: Value


def link_bytes(d: Derivation, n: Numbers, law: Law, prefix: str, tokens: Value) -> Value | None:
    """Step out the bytes that a rank sends in a pass's tensor-parallel all-reduces."""
    if not law.all_reduces:
        return None
    return d.step(
        f"{prefix}link_bytes", eq.allreduce_bytes(n.layers, n.per_layer, tokens, n.d_model, n.act_width, n.tp)
    )


def pass_times(
    d: Derivation, n: Numbers, op: Table, device: Device, law: Law, stem: str, sent: Value | None
) -> PassTimes:
    """Step out one pass. `stem` precedes the names of this pass (``prefill_``); the device's prefix comes first."""
    p = device.prefix
    name = f"{p}{stem}"
    count, flops, weights, kv = op["count"], op["flops"], op["bytes"], op["kv"]
    peak, eta, bandwidth = op[f"{p}peak"], op[f"{p}eta"], n[f"{p}bandwidth"]
    compute_floor = d.sum(f"{name}compute_floor", eq.row_compute_floor(count, flops, peak))
    memory_floor = d.sum(f"{name}memory_floor", eq.row_memory_floor(count, weights, kv, bandwidth))
    floors = [compute_floor, memory_floor]
    link_floor = link_time = overhead = None
    if sent is not None:
        link_floor = d.step(f"{name}link_floor", eq.link_floor(sent, n[f"{p}link"]))
        floors.append(link_floor)
    floor = d.choose(f"{name}floor", "max", floors, cite=("williams2009",))
    compute_time = d.sum(f"{name}compute_time", eq.row_compute_time(count, flops, peak, eta))
    if law.traffic:
        memory_time = d.sum(f"{name}memory_time", eq.row_traffic_time(count, op["traffic"], bandwidth, n.eta_memory))
    else:
        memory_time = d.sum(f"{name}memory_time", eq.row_memory_time(count, weights, kv, bandwidth, n.eta_memory))
    parts = [compute_time, memory_time]
    if sent is not None:
        link_time = d.step(f"{name}link_time", eq.link_time(sent, n[f"{p}link"], n.eta_link))
        parts.append(link_time)
    if law.overhead:
        x_gen = n[f"{p}x_gen"]
        overhead = d.step(
            f"{name}overhead",
            eq.latent_layer_overhead(n.layers, n.tau, n.r_engine, x_gen, n.x_mla)
            if law.overhead == "latent"
            else eq.layer_overhead(n.layers, n.tau, n.r_engine, x_gen),
        )
        parts.append(overhead)
    total = {2: eq.sum_of_two, 3: eq.sum_of_three, 4: eq.sum_of_four}[len(parts)]
    if law.host:
        device_time = d.step(f"{name}device_time", total(*parts))
        expected = d.step(f"{name}expected", eq.host_bound(device_time, n.layers, n.t_host))
    else:
        expected = d.step(f"{name}expected", total(*parts))
    return PassTimes(
        compute_floor,
        memory_floor,
        link_floor,
        floor,
        compute_time,
        memory_time,
        link_time,
        overhead,
        expected,
    )


def share_of(d: Derivation, times: PassTimes) -> Value:
    """Step out the share of the expected time that the binding wall accounts for."""
    t = times
    if t.link_floor is None or t.link_time is None:
        return d.step(
            "binding_share",
            eq.binding_share(t.compute_floor, t.memory_floor, t.compute_time, t.memory_time, t.expected),
        )
    return d.step(
        "binding_share",
        eq.binding_share_linked(
            t.compute_floor,
            t.memory_floor,
            t.link_floor,
            t.compute_time,
            t.memory_time,
            t.link_time,
            t.expected,
        ),
    )
