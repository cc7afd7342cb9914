"""The time of one pass on one device: floor, calibrated expectation and their parts."""

from __future__ import annotations

from dataclasses import dataclass

from mlwalls.solvers.derivation import Applied, Choice, Derivation, Table, Value
from mlwalls.solvers.devices import Device
from mlwalls.solvers.equations import common
from mlwalls.solvers.equations import node as eq
from mlwalls.solvers.equations import passes as short
from mlwalls.solvers.numbers import Numbers
from mlwalls.solvers.shapes import ModelShape


@dataclass(frozen=True, slots=True)
class Law:
    """Which parts the expectation of a pass has.

    Attributes:
        overhead: whether a layer costs kernel starts and tails.
        special: symbols of the extra overhead and the count of layers whose attention has more kernels (latent, linear).
        routed: layers route tokens to experts: more kernels, and copies of the tokens that move between them.
        sequences: the engine's host does something for every sequence of a decode step.
        all_reduces: tensor-parallel all-reduces a layer; 0 without tensor parallelism.
        data_parallel: attention is data parallel, so that only the experts' layers exchange.
        short: the expectation is one line from the floors, without its parts by themselves.
    """

    overhead: bool = False
    special: tuple[str, str] | None = None
    routed: bool = False
    sequences: bool = False
    all_reduces: int = 0
    data_parallel: bool = False
    short: bool = False


@dataclass(frozen=True, slots=True)
class PassTimes:
    """Parts of one pass's time, in seconds."""

    compute_floor: Value
    memory_floor: Value
    link_floor: Value | None
    floor: Choice
    compute_time: Value
    memory_time: Value | None
    link_time: Value | None
    overhead: Value | None
    expected: Value
    routed: Value | None = None
    device: str = ""
    units: Value | None = None


def link_bytes(d: Derivation, n: Numbers, law: Law, prefix: str, tokens: Value) -> Value | None:
    """Step out the bytes that a rank sends in a pass's tensor-parallel all-reduces."""
    if not law.all_reduces:
        return None
    layers, each = (n.moe_layers, n.one) if law.data_parallel else (n.layers, n.per_layer)
    return d.step(
        f"{prefix}link_bytes" if prefix != "sent_" else "sent",
        eq.allreduce_bytes(layers, each, tokens, n.d_model, n.act_width, n.tp),
    )


def serving_law(shape: ModelShape, decode: bool, ranks: int) -> Law:
    """Return the parts of a serving pass's expectation: a decode step's, or those of a pass of prompt tokens."""
    special = None
    if shape.attention == "mla":
        special = ("x_mla", "attention_layers")
    elif shape.linear:
        special = ("x_linear", "linear_layers")
    exchanges = ranks > 1 and not (shape.data_parallel and not shape.moe)
    return Law(True, special, shape.moe, decode, 2 * int(exchanges), shape.data_parallel)


def layer_units(d: Derivation, n: Numbers, law: Law) -> Value:
    """Step out how many plain layers' overhead a pass has: `kernels`, or the layers where none has more."""
    routed = (n.x_routed, n.top_k, n.moe_layers) if law.routed else ()
    special = tuple(n[symbol] for symbol in law.special or ())
    laws = {
        (True, False): eq.routed_layers,
        (False, True): eq.special_layers,
        (True, True): eq.special_routed_layers,
    }
    chosen = laws.get((law.routed, law.special is not None))
    return n.layers if chosen is None else d.step("kernels", chosen(n.layers, *routed, *special))


def pass_overhead(n: Numbers, units: Value, prefix: str = "") -> Applied:
    """Return the equation of a pass's kernel starts and tails."""
    return eq.layer_overhead(units, n.tau, n.r_engine, n[f"{prefix}x_gen"])


def pass_times(
    d: Derivation,
    n: Numbers,
    op: Table,
    device: Device,
    law: Law,
    work: PassWork,
    sent: Value | None,
    like: PassTimes | None = None,
    same_arithmetic: bool = False,
    before: PassTimes | None = None,
) -> PassTimes:
    """Step out one pass on one device; its names carry the device's prefix, then the phase's stem.

    `like` is another pass of the same shape on the same device: its links and overheads are taken over, and with
    `same_arithmetic` its compute times too; `before` is an earlier pass of these layers: what routing
    moves by token is taken over, and on the same device the overhead.
    """
    p = device.prefix
    name = f"{p}{work.name}"
    mine = "" if same_arithmetic else p
    count, peak, eta, bandwidth = op["count"], op[f"{mine}peak"], op[f"{mine}eta"], n[f"{p}bandwidth"]
    flops = op[f"{work.stem}flops"]
    if like is not None and same_arithmetic:
        compute_floor, compute_time = like.compute_floor, like.compute_time
    elif work.tokens is None:
        compute_floor = d.sum(f"{name}compute_floor", eq.row_compute_floor(count, flops, peak))
        compute_time = d.sum(f"{name}compute_time", eq.row_compute_time(count, flops, peak, eta))
    elif work.shared:
        done = (
            op["done"]
            if before is not None or like is not None
            else d.column(op, "done", eq.pass_flops(count, work.tokens, op["w"], flops))
        )
        compute_floor = d.sum(f"{name}compute_floor", eq.done_floor(done, peak))
        compute_time = d.sum(f"{name}compute_time", eq.done_time(done, peak, eta))
    else:
        compute_floor = d.sum(f"{name}compute_floor", eq.pass_compute_floor(count, work.tokens, op["w"], flops, peak))
        compute_time = d.sum(f"{name}compute_time", eq.pass_compute_time(count, work.tokens, op["w"], flops, peak, eta))
    memory_floor = d.step(f"{name}memory_floor", eq.memory_floor(work.moved, bandwidth))
    floors = [compute_floor, memory_floor]
    link_floor = link_time = None
    if sent is not None:
        rate = n[f"{p}link"]
        sending = eq.link_floor(sent, rate)
        if work.sent_by_token and work.tokens is not None:
            sending = eq.link_floor_of(work.tokens, sent, rate)
        link_floor = like.link_floor if like else d.step(f"{name}link_floor", sending)
        assert link_floor is not None
        floors.append(link_floor)
    floor = d.choose(f"{name}floor", "max", floors)
    share = n.get(f"{p}eta_memory", n.eta_memory)
    overhead = before.overhead if before is not None and before.device == p else None
    routed = before.routed if before is not None else like.routed if like is not None else None
    if law.routed and work.tokens is not None and routed is None:
        routed = d.step("copies", eq.routed_bytes(n.moe_layers, n.route_bytes, n.top_k, n.d_model))
    if law.short:
        assert work.tokens is not None
        earlier = before if before is not None else like
        units = earlier.units if earlier is not None else layer_units(d, n, law)
        if overhead is None and like is not None:
            overhead = like.overhead
        if overhead is None:
            overhead = d.step(f"{p}overhead", pass_overhead(n, units if units is not None else n.layers, p))
        floors = [compute_time, memory_floor, share, *((link_floor, n.eta_link) if link_floor is not None else ())]
        whole = _short(law, floors, overhead, routed, work.tokens, bandwidth, n.t_sequence)
        expected = d.step(work.total or f"{name}expected", whole)
        return PassTimes(
            compute_floor,
            memory_floor,
            link_floor,
            floor,
            compute_time,
            None,
            None,
            overhead,
            expected,
            routed,
            p,
            units,
        )
    moving = eq.memory_time(work.expected_moved, bandwidth, share)
    if routed is not None and work.tokens is not None:
        moving = eq.routed_memory_time(work.expected_moved, bandwidth, share, routed, work.tokens)
    memory_time = d.step(f"{name}memory_time", moving)
    parts = [compute_time, memory_time]
    if sent is not None:
        link_time = (
            like.link_time if like else d.step(f"{name}link_time", eq.link_time(sent, n[f"{p}link"], n.eta_link))
        )
        assert link_time is not None
        parts.append(link_time)
    if law.overhead and like is not None and like.overhead is not None:
        overhead = like.overhead
        parts.append(overhead)
    elif law.overhead:
        overhead = d.step(f"{name}overhead", pass_overhead(n, layer_units(d, n, law), p))
        parts.append(overhead)
    if law.sequences and work.tokens is not None:
        step = eq.step_of_three if len(parts) == 3 else eq.step_of_four
        expected = d.step(f"{name}expected", step(*parts, work.tokens, n.t_sequence))
    else:
        total = {2: common.sum_of_two, 3: common.sum_of_three, 4: common.sum_of_four}[len(parts)]
        expected = d.step(f"{name}expected", total(*parts))
    times = (compute_floor, memory_floor, link_floor, floor, compute_time, memory_time, link_time, overhead, expected)
    return PassTimes(*times, routed, p)


def expected_pass(d: Derivation, n: Numbers, op: Table, work: PassWork, law: Law, sent: Value | None) -> Applied:
    """Step out the parts of a pass's expectation, without what its floor needs besides, and return its equation."""
    assert work.tokens is not None
    flops = (op["count"], work.tokens, op["w"], op[f"{work.stem}flops"])
    compute_time = d.sum("compute_time", eq.pass_compute_time(*flops, op["peak"], op["eta"]))
    parts = [compute_time, d.step("memory_floor", eq.memory_floor(work.moved, n.bandwidth)), n.eta_memory]
    if sent is not None:
        parts += [d.step("link_floor", eq.link_floor(sent, n.link)), n.eta_link]
    overhead = d.step("overhead", pass_overhead(n, layer_units(d, n, law)))
    routed = d.step("copies", eq.routed_bytes(n.moe_layers, n.route_bytes, n.top_k, n.d_model)) if law.routed else None
    return _short(law, parts, overhead, routed, work.tokens, n.bandwidth, n.t_sequence)


def _short(
    law: Law,
    floors: list[Value],
    overhead: Value,
    routed: Value | None,
    tokens: Value,
    bandwidth: Value,
    each: Value,
) -> Applied:
    laws = {
        (False, False, False): short.prompt_pass,
        (False, True, False): short.prompt_pass_linked,
        (False, False, True): short.prompt_pass_routed,
        (False, True, True): short.prompt_pass_linked_routed,
        (True, False, False): short.decode_pass,
        (True, True, False): short.decode_pass_linked,
        (True, False, True): short.decode_pass_routed,
        (True, True, True): short.decode_pass_linked_routed,
    }
    after: list[Value] = [] if routed is None else [routed, tokens, bandwidth]
    if law.sequences:
        after += [each] if after else [tokens, each]
    return laws[law.sequences, len(floors) > 3, routed is not None](*floors, overhead, *after)


@dataclass(frozen=True, slots=True)
class PassWork:
    """What a pass does, the same on every device.

    Attributes:
        moved: compulsory bytes; expected_moved: bytes that really move (unfused operands in training).
        tokens: tokens that use the weights of column `w`; None where rows state all their FLOPs.
        stem: precedes the phase's columns; name: precedes its steps; total: what the expectation is called if not so.
        sent_by_token: the bytes sent are those of one token. shared: several devices do it.
    """

    moved: Value
    expected_moved: Value
    tokens: Value | None = None
    stem: str = ""
    name: str = ""
    total: str = ""
    sent_by_token: bool = False
    shared: bool = False


def pass_moved(d: Derivation, op: Table, stem: str, name: str, writes: bool) -> Value:
    """Step out the compulsory bytes of a pass."""
    cells = (op["count"], op["w"], op[f"{stem}read" if stem and f"{stem}read" in op.units else "read"], op["width"])
    return d.sum(
        f"{name}bytes" if name else "bytes_total",
        eq.pass_bytes_written(*cells, op[f"{stem}kv"], op[f"{stem}write"])
        if writes
        else eq.pass_bytes(*cells, op[f"{stem}kv"]),
    )


def share_of(d: Derivation, n: Numbers, times: PassTimes) -> Value:
    """Step out the share of the expected time that the binding wall accounts for."""
    t = times
    if t.memory_time is None:
        floors = (t.compute_floor, t.memory_floor)
        applied = (
            short.share_of_pass(*floors, t.compute_time, n.eta_memory, t.expected)
            if t.link_floor is None
            else short.share_of_pass_linked(*floors, t.link_floor, t.compute_time, n.eta_memory, n.eta_link, t.expected)
        )
        return d.step("binding_share", applied)
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


def overhead_share(d: Derivation, times: PassTimes) -> dict[str, Value]:
    """Step out the share of the expected time that starting and ending layers takes, key `overhead_share`, where it has any."""
    if times.overhead is None:
        return {}
    return {"overhead_share": d.step("overhead_share", common.ratio(times.overhead, times.expected))}
