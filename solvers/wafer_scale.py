"""Can a wafer-scale system run this model, with weights streamed in or held in SRAM, and what would a group of GPUs do?

Streamed: a layer takes max(injection, arithmetic) [Lie 2022]; injection is 1.2 Tb/s, 150 GB/s a system, and every system is fed
the same weights while it computes its own sequences. Keys and values live in SRAM beside two layers in flight, which limits the
batch; the answer sets the batch that fits against the one at which streaming stops binding.
Resident: weights and cache in the SRAM of one or more systems, layers one after another. The floor says little (10⁵ tokens/s and
more), because the latency of layers on the fabric binds; the expected rate is a fit on published vendor rates, and called so.

The dense peak of the WSE-3 is an estimate; the figure in brochures (125 PFLOP/s) is sparse. Beside it stands the smallest group
of accelerators, doubling from one, that holds the same weights and cache, with the floor of its step from the same operator rows
(its expected time: roofline).

Assumed: 95 % of SRAM usable (a 20-billion-parameter model in 16 bit is said to fit one CS-3: 91 %), 85 % of the injection
bandwidth and half of the peak sustained, 90 % of GPU memory usable; a server draws 1.82 times its GPUs' rated power (DGX H100:
10.2 kW). Prices of GPUs are without servers. Not modelled: training (gradients stream out), prefill, compression of streamed
weights, sparsity, several batches in a pipeline.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from pydantic import Field

from mlwalls.solvers.derivation import Derivation, Value
from mlwalls.solvers.equations import common
from mlwalls.solvers.equations import memory as memory_eq
from mlwalls.solvers.equations import node as node_eq
from mlwalls.solvers.equations import wafer as eq
from mlwalls.solvers.errors import CallError
from mlwalls.solvers.formats import unit_for
from mlwalls.solvers.lookup import find
from mlwalls.solvers.memory import held_weights
from mlwalls.solvers.numbers import Numbers
from mlwalls.solvers.shapes import ModelShape, resolve_model
from mlwalls.solvers.solver import Problem, Solver, SolverRequest
from mlwalls.solvers.wafer_words import Subject, WaferResult, present
from mlwalls.solvers.workload import Groups, Lowering, PassPhase
from mlwalls.zoo import Entry, Zoo
from mlwalls.zoo.calibrations import calibration

MAX_BATCH = 10_000_000
MAX_DOUBLINGS = 12
BESIDE = "nvidia-h100-sxm-80gb"


class WaferRequest(SolverRequest):
    """Arguments of the wafer_scale tool."""

    model: str = Field(description='Zoo model, "gpt-3".')
    execution: Literal["streamed", "resident"] = Field(description="Where weights are.")
    hardware: str = Field(default="cerebras-cs-3", description="Wafer system.")
    n_systems: int | None = Field(default=None, ge=1, le=4096, description="Default: 1, or enough.")
    batch_size: int = Field(default=1, ge=1, le=MAX_BATCH, description="Sequences.")
    seq_len: int = Field(default=2048, ge=1, le=10_000_000, description="Context.")
    weight_dtype: Literal["native", "bf16", "fp8", "int4"] = Field(default="native", description="Stored weights.")
    draft_model: bool = Field(default=True, description="Speculative decoding.")
    compare_with: str = Field(default="", description="GPU beside it; default H100.")


@dataclass(frozen=True, slots=True)
class Structure:
    """Which parts apply; `ends` adds what is searched for."""

    shape: ModelShape
    streamed: bool
    sized: bool
    alone: bool
    latency: str
    power: bool
    price: bool
    group_power: bool
    group_price: bool
    ends: bool = True


def resolve(request: WaferRequest, zoo: Zoo) -> Problem:
    """Take every branch of the request.

    Raises:
        CallError: an argument names nothing; the hardware is no wafer-scale system; the other one cannot be compared with.
    """
    n = Numbers()
    warnings: list[str] = []
    model = find(zoo, "models", "model", request.model, warnings)
    wafer = find(zoo, "hardware", "hardware", request.hardware, warnings)
    other = find(zoo, "hardware", "compare_with", request.compare_with or BESIDE, warnings)
    if not (wafer.has("injection.bandwidth") and wafer.has("sram.capacity") and wafer.has("sram.bandwidth")):
        raise CallError(
            "hardware",
            f"{wafer.name} is not a wafer-scale system: this tool needs SRAM and injection bandwidth; for others use roofline.",
            repair={"hardware": "cerebras-cs-3"},
        )
    streamed = request.execution == "streamed"
    n.you("batch", request.batch_size)
    n.you("context", request.seq_len, "token")
    n.defined("one", 1)
    n.defined("zero", 0)
    n.defined("tp", 1)
    shape = resolve_model(n, model, request.weight_dtype, "bf16", 1)
    if not shape.has_head:
        raise CallError("model", f"{model.name} does not decode tokens.", repair={"model": "llama-3.1-8b"})
    power, price = _system(n, wafer, warnings)
    sized = request.n_systems is None and not streamed
    if not sized:
        n.you("systems", request.n_systems or 1)
    latency = "" if streamed else "drafted" if request.draft_model else "plain"
    _spread(n, wafer, request, latency, warnings)
    _group(n, shape, other)
    scope = n.scope("gpu_")
    group_power, group_price = other.has("power.tdp"), other.has("price.purchase")
    if group_power:
        scope.zoo("tdp", other, "power.tdp", "W")
        scope.assumed("server", 1.82, 1.3, 1.9, source="nv_dgx")
    if group_price:
        scope.zoo("price", other, "price.purchase", "USD")
    if missing := [what for known, what in ((group_power, "power"), (group_price, "price")) if not known]:
        warnings.append(f"{other.name}: {' and '.join(missing)} not in the zoo, left out of the comparison")
    scenario = request.model_dump(by_alias=True, exclude_none=True, exclude_defaults=True)
    scenario |= {"model": model.id, "hardware": wafer.id}
    if "compare_with" in scenario:
        scenario["compare_with"] = other.id
    scenario.pop("detail", None)
    structure = Structure(
        shape, streamed, sized, request.batch_size == 1, latency, power, price, group_power, group_price
    )
    return Problem(
        structure, n, warnings, scenario, Subject(model.name, wafer.name, other.name, request, _stored(shape))
    )


def _stored(shape: ModelShape) -> str:
    return (shape.expert_format if shape.moe else shape.layer_format).upper()


def _system(n: Numbers, wafer: Entry, warnings: list[str]) -> tuple[bool, bool]:
    """Read the system's rates, power and price; say which are estimates and which unknown."""
    peak = next(f for f in ("peak.fp16", "peak.bf16", "peak.fp8", "peak.int8") if wafer.has(f))
    for symbol, path, unit in (
        ("peak", peak, "FLOP/s"),
        ("injection", "injection.bandwidth", "byte/s"),
        ("sram", "sram.capacity", "byte"),
        ("sram_bandwidth", "sram.bandwidth", "byte/s"),
    ):
        n.zoo(symbol, wafer, path, unit)
    estimates = []
    if wafer.number(peak).basis == "estimate":
        estimates.append(f"dense peak {wafer.number(peak).value / 1e15:.3g} PFLOP/s (the published one is sparse)")
    n.assumed("usable", 0.95, 0.91, 1)
    n.assumed("eta_compute", 0.5, 0.3, 0.7)
    n.assumed("eta_injection", 0.85, 0.7, 1)
    n.assumed("buffers", 2, 1, 2)
    found, missing = [], []
    for symbol, path, unit in (("power", "power.system", "W"), ("price", "price.purchase", "USD")):
        known = wafer.has(path)
        if known:
            n.zoo(symbol, wafer, path, unit)
            if wafer.number(path).basis == "estimate":
                estimates.append(symbol)
        else:
            missing.append(symbol)
        found.append(known)
    if estimates:
        warnings.append(f"estimates for {wafer.name}: {', '.join(estimates)}")
    if missing:
        warnings.append(f"{wafer.name}: {' and '.join(missing)} not in the zoo, left out of the comparison")
    return found[0], found[1]


def _spread(n: Numbers, wafer: Entry, request: WaferRequest, latency: str, warnings: list[str]) -> None:
    if not latency:
        n.assumed("spread", 0.25, 0.15, 0.4)
        n.defined("widen", 1)
        return
    fitted = calibration("wafer")
    n.calibrated(fitted["constants"], f"layer_latency_{latency}", "layer_latency")
    n.calibrated(fitted["intervals"], f"spread_{latency}", "spread")
    warnings.append("resident rates are a fit on published vendor rates, some 40 % off on a model left out")
    known = wafer.id in fitted["domain"]["hardware"] and request.batch_size == fitted["domain"]["batch"]
    if known:
        n.defined("widen", 1)
    else:
        n.assumed("widen", 2, 1, 3, source="cal_wafer")
        warnings.append("extrapolated: published rates are of one user of a CS-3; the range is twice as wide")


def _group(n: Numbers, shape: ModelShape, other: Entry) -> None:
    """Read what the group of accelerators needs, under ``gpu_``."""
    if not (other.has("memory.capacity") and other.has("memory.bandwidth")):
        raise CallError(
            "compare_with",
            f"{other.name} has no memory that holds a model and its bandwidth in the zoo.",
            repair={"compare_with": BESIDE},
        )
    try:
        units = [
            unit_for(stored, other).format for stored in {shape.layer_format, shape.expert_format, shape.wide_format}
        ]
    except CallError as error:
        raise CallError("compare_with", str(error), repair={"compare_with": BESIDE}) from error
    scope = n.scope("gpu_")
    fastest = max(units, key=lambda unit: other.number(f"peak.{unit}").value)
    scope.zoo("peak", other, f"peak.{fastest}", "FLOP/s")
    scope.zoo("capacity", other, "memory.capacity", "byte")
    scope.zoo("bandwidth", other, "memory.bandwidth", "byte/s")
    scope.assumed("share", 0.9, 0.85, 0.95)
    heads = int(n.heads.value) if "heads" in n else 1
    domain = other.number("link.domain").value if other.has("link.domain") else 8
    most = 1
    while heads % (2 * most) == 0 and 2 * most <= domain:
        most *= 2
    scope.defined("most", most)


def compute(s: Structure, n: Numbers, d: Derivation) -> dict[str, Value]:
    """Step out times, room for sequences, and the group beside; keys are the results' symbols."""
    lowering = Lowering(d, s.shape, n, Groups({}, {}, {}, {}))
    op = lowering.forward("op", [PassPhase("decode", n.batch, n.context)])
    moved = d.sum("moved", eq.streamed_bytes(op["count"], op["w"], op["read"], op["width"]))
    flops = d.sum("flops", node_eq.pass_flops(op["count"], n.batch, op["w"], op["flops"]))
    cache = d.sum("cache", memory_eq.row_cache(op["count"], op["kv"]))
    held = held_weights(d, lowering)
    weights = held["weights"]
    if "wider" in held:
        weights = d.step("resident", common.sum_of_two(weights, held["wider"]))
    out = {"weights": weights, "cache": cache}
    out["sequence"] = d.step("sequence", eq.one_sequence(cache, n.batch))
    if not s.streamed:
        enough = eq.systems_for(out["weights"], cache, n.sram, n.usable)
        out["systems_needed"] = d.step("systems_needed", enough)
    systems = out["systems_needed"] if s.sized else n.systems
    out["systems"] = systems
    _room(s, n, d, out, moved)
    _times(s, n, d, out, moved, flops)
    for symbol in ("power", "price"):
        if getattr(s, symbol):
            out[f"total_{symbol}"] = d.step(f"total_{symbol}", eq.all_systems(systems, n[symbol]))
    if s.streamed and s.ends and d.record:
        _break_even(s, n, d, out)
    if s.ends:
        _beside(s, n, d, out, moved, flops, lowering.taken("latent_in"))
    return out


def _room(s: Structure, n: Numbers, d: Derivation, out: dict[str, Value], moved: Value) -> None:
    if s.streamed:
        taken = d.step("in_flight", eq.layers_in_flight(moved, n.layers, n.buffers))
        room = d.step("room", eq.room_streamed(n.sram, n.usable, taken))
        fits = eq.sequences_streamed(out["systems"], room, out["sequence"])
    else:
        room = d.step("room", eq.room_resident(out["systems"], n.sram, n.usable, out["weights"]))
        fits = eq.sequences_resident(room, out["sequence"])
    out["room"] = room
    out["batch_fitting"] = d.step("batch_fitting", fits)


def _times(s: Structure, n: Numbers, d: Derivation, out: dict[str, Value], moved: Value, flops: Value) -> None:
    systems = out["systems"]
    stream = out["stream_floor"] = d.step("stream_floor", eq.injection_time(moved, n.injection))
    arithmetic = out["compute_floor"] = d.step("compute_floor", eq.arithmetic_time(flops, n.peak, systems))
    sram = d.step("sram_floor", eq.sram_time(moved, out["cache"], n.sram_bandwidth, systems))
    if s.streamed:
        floor = d.choose("floor", "max", [stream, arithmetic, sram]).value
        expected = d.step("expected", eq.slower(stream, n.eta_injection, arithmetic, n.eta_compute))
        out["layer"] = d.step("layer", eq.one_layer(expected, n.layers))
    else:
        floor = d.choose("floor", "max", [arithmetic, sram]).value
        waits = d.step("latency", eq.layers_in_turn(n.layers, n.layer_latency))
        expected = d.step("expected", eq.waits_and_works(waits, arithmetic, n.eta_compute))
        out["binding_share"] = d.step("binding_share", common.ratio(waits, expected))
    out |= {"floor": floor, "expected": expected}
    out["low"] = d.step("low", node_eq.lower_bound(floor, expected, n.spread, n.widen))
    out["high"] = d.step("high", node_eq.upper_bound(expected, n.spread, n.widen))
    if not s.streamed:
        out["user_rate"] = d.step("user_rate", node_eq.rate(n.one, expected))
    if s.streamed or not s.alone:
        out["rate"] = d.step("rate", node_eq.rate(n.batch, expected))


def _break_even(s: Structure, n: Numbers, d: Derivation, out: dict[str, Value]) -> None:
    """The batch from which the arithmetic takes as long as the stream."""
    silent = replace(s, ends=False)

    def holds(batch: float) -> bool:
        again = compute(silent, n.replaced({"batch": batch}), Derivation(record=False))
        return bool(again["compute_floor"].value >= again["stream_floor"].value)

    condition = eq.streaming_hidden(out["stream_floor"], out["compute_floor"])
    found = d.search("break_even", "smallest", "batch", 1, MAX_BATCH, condition, holds)
    if found is not None:
        out["break_even"] = found


def _beside(
    s: Structure, n: Numbers, d: Derivation, out: dict[str, Value], moved: Value, flops: Value, latent: Value | None
) -> None:
    """The smallest group, doubling from one accelerator, that holds weights and cache, and the floor of its step."""

    def holds(doublings: object) -> object:
        held = _held(s, n, Derivation(record=False), out, latent, Value("doublings", doublings))
        return held.bytes.value <= n["gpu_capacity"].value * n["gpu_share"].value

    condition = eq.holds(Value("gpu_held", 0.0, "byte"), n["gpu_capacity"], n["gpu_share"])
    found = d.search("doublings", "smallest", "doublings", 0, MAX_DOUBLINGS, condition, holds)
    if found is None:
        return
    held = _held(s, n, d, out, latent, found)
    read = eq.group_read_time(moved, held.ranks, out["cache"], held.shards, n["gpu_bandwidth"])
    options = [
        d.step("gpu_memory_floor", read),
        d.step("gpu_compute_floor", eq.arithmetic_time(flops, n["gpu_peak"], held.ranks)),
    ]
    out["gpus"] = held.group
    out["gpu_floor"] = d.choose("gpu_floor", "max", options).value
    mine = out["floor"] if s.streamed else out["expected"]
    out["faster"] = d.step("faster", common.ratio(out["gpu_floor"], mine))
    if s.group_power:
        out["gpu_power"] = d.step("gpu_power", eq.whole_servers(held.group, n["gpu_tdp"], n["gpu_server"]))
    if s.group_price:
        out["gpu_total_price"] = d.step("gpu_total_price", eq.all_systems(held.group, n["gpu_price"]))


@dataclass(frozen=True, slots=True)
class Held:
    """A group of accelerators: how it is split and what one of it holds."""

    group: Value
    ranks: Value
    shards: Value
    bytes: Value


def _held(
    s: Structure, n: Numbers, d: Derivation, out: dict[str, Value], latent: Value | None, doublings: Value
) -> Held:
    group = d.step("gpus", eq.doubled(doublings))
    ranks = d.step("gpu_tp", eq.ranks_of(group, n["gpu_most"]))
    shards = ranks
    if s.shape.attention == "mla":
        shards = n.one
    elif "kv_heads" in n:
        shards = d.step("gpu_shards", common.smaller(ranks, n.kv_heads))
    if latent is not None:
        whole = d.step("gpu_whole", memory_eq.replicated(n.layers, latent, n.w_bytes, ranks))
        law = eq.held_by_rank(out["weights"], whole, out["cache"], ranks, shards, group)
    else:
        law = eq.held_by_rank_of(out["weights"], out["cache"], ranks, shards, group)
    held = d.step("gpu_held", law)
    return Held(group, ranks, shards, held)


SOLVER = Solver(
    name="wafer_scale",
    question="How fast does a wafer-scale system decode this model, weights streamed or in SRAM?",
    guidance="Beside it the smallest GPU group that holds it, power, price.",
    walls=("weight_streaming",),
    request=WaferRequest,
    result=WaferResult,
    resolve=resolve,
    compute=compute,
    present=present,
    example={"model": "llama-3.1-70b", "execution": "resident"},
)
