"""What does a quantization scheme gain on this chip: in time, in memory, at which batch does the gain end, at what accuracy?

Both variants run through the same operator pass as roofline: one table of rows, two widths and two peaks. Weight-only schemes
stream fewer bytes but compute at 16 bit, so their gain ends where compute binds; schemes that quantize activations too need
a unit of that format. Block scales are counted in the bytes a weight (INT4 4.25 bit, MXFP4 4.25, NVFP4 4.5), embedding and
head stay at 16 bit. Accuracy is what was published for the scheme on the model nearest in size, not a prediction.

Not modelled: the cost of dequantizing in kernels (calibrated only where the operator pass is), mixed schemes by layer, outlier
columns, quality on a particular task.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Literal

from pydantic import Field

from mlwalls.solvers.derivation import Derivation, Table, Value
from mlwalls.solvers.devices import Device, groups_of, resolve_device, resolve_spread, serving_constants
from mlwalls.solvers.equations import common
from mlwalls.solvers.equations import memory as memory_eq
from mlwalls.solvers.equations import node as node_eq
from mlwalls.solvers.equations import quantization as eq
from mlwalls.solvers.errors import CallError
from mlwalls.solvers.formats import KvFormat, formats_of
from mlwalls.solvers.lookup import find
from mlwalls.solvers.memory import Memory, needed_bytes, resident_weights, resolve_memory
from mlwalls.solvers.numbers import Numbers
from mlwalls.solvers.passes import (
    PassTimes,
    PassWork,
    link_bytes,
    overhead_share,
    pass_moved,
    pass_times,
    serving_law,
    share_of,
)
from mlwalls.solvers.pool import BLOCK, quote_pool, sequence_bytes
from mlwalls.solvers.quantization_words import QuantizationResult, Subject, present
from mlwalls.solvers.shapes import ModelShape, check_ranks, resolve_model
from mlwalls.solvers.solver import Problem, Solver, SolverRequest
from mlwalls.solvers.workload import Groups, Lowering, PassPhase
from mlwalls.zoo import Entry, Zoo

MAX_BATCH = 65536
Scheme = Literal["w4a16", "w8a16", "w8a8_int8", "w8a8_fp8", "w4a4_int4", "w4a4_nvfp4", "w4a4_mxfp4", "kv_only"]
# Stored weights, and the unit that must compute with them ("" for the chip's 16-bit one).
SCHEMES: dict[str, tuple[str, str]] = {
    "w4a16": ("int4", ""),
    "w8a16": ("int8", ""),
    "w8a8_int8": ("int8", "int8"),
    "w8a8_fp8": ("fp8", "fp8"),
    "w4a4_int4": ("int4", "int4"),
    "w4a4_nvfp4": ("nvfp4", "fp4"),
    "w4a4_mxfp4": ("mxfp4", "fp4"),
    "kv_only": ("bf16", ""),
}
ACCURACY = {"w4a16": "w4a16", "w8a16": "w8a16", "w8a8_int8": "w8a8", "w8a8_fp8": "fp8"}


class QuantizationRequest(SolverRequest):
    """Arguments of the quantization tool."""

    model: str = Field(description='Zoo model, "llama-3.1-8b".')
    hardware: str = Field(description='Zoo accelerator, "h100".')
    scheme: Scheme = Field(description="Bits of weights, activations.")
    kv_dtype: KvFormat = Field(default="bf16", description="KV-cache.")
    phase: Literal["decode", "prefill"] = Field(default="decode", description="Phase.")
    batch_size: int = Field(default=1, ge=1, le=MAX_BATCH, description="Sequences.")
    seq_len: int = Field(default=2048, ge=1, le=10_000_000, description="Context or prompt.")
    n_accelerators: int = Field(default=1, ge=1, le=1024, description="Tensor parallel.")


@dataclass(frozen=True, slots=True)
class Structure:
    """Which rows and equations apply; devices are the quantized variant's and the 16-bit one's."""

    shape: ModelShape
    memory: Memory | None
    devices: tuple[Device, Device]
    decode: bool
    narrow_cache: bool
    accuracy: bool
    same_arithmetic: bool
    all_reduces: int
    pooled: bool


def resolve(request: QuantizationRequest, zoo: Zoo) -> Problem:
    """Take every branch of the request.

    Raises:
        CallError: an argument names nothing; the chip has no unit that the scheme needs.
    """
    n = Numbers()
    warnings: list[str] = []
    model = find(zoo, "models", "model", request.model, warnings)
    hardware = find(zoo, "hardware", "hardware", request.hardware, warnings)
    stored, unit = _units(request, hardware)
    ranks = request.n_accelerators
    n.you("batch", request.batch_size)
    n.you("tp", ranks)
    n.you("context", request.seq_len, "token")
    n.defined("one", 1)
    n.defined("zero", 0)
    shape = resolve_model(n, model, stored, request.kv_dtype, ranks)
    check_ranks(ranks, n)
    _check_cache(request, shape, model)
    available = formats_of(hardware)
    wide = "bf16" if "bf16" in available else "fp16"
    if wide not in available:
        have = ", ".join(available) or "no published format"
        raise CallError("hardware", f"{hardware.name} has no 16-bit unit to compare with; it computes in {have}.")
    kinds = ((stored, stored, wide, shape.projection_format), (wide,) * 4)
    computed = unit or wide
    devices = tuple(
        resolve_device(n, hardware, kind, prefix, form, [], ranks)
        for kind, prefix, form in zip(kinds, ("", "base_"), (computed, wide), strict=True)
    )
    for name in ("bandwidth", "capacity", "link", "x_gen", "matmul"):
        if f"base_{name}" in n:
            n.alias(f"base_{name}", name)
    if not unit:
        n.alias("base_peak", "peak")
    n.defined("base_width", 2, "byte")
    n.defined("base_kv_width", 2, "byte")
    n.defined("act_width", 2, "byte")
    n.defined("per_layer", 2)
    n.defined("twofold", 2)
    n.defined("tenth", 1.1)
    serving_constants(n, shape, devices)
    memory = resolve_memory(n, "decode") if "capacity" in n else None
    calls = _pools(request, n, model, hardware, stored) if memory is not None and shape.has_head else ()
    decode = request.phase == "decode" and shape.has_head
    resolve_spread(n, shape, "decode" if decode else "prefill", stored, model, devices[:1], warnings)
    kept = _accuracy(n, zoo, request, model, warnings)
    scenario = request.model_dump(by_alias=True, exclude_none=True, exclude_defaults=True)
    scenario |= {"model": model.id, "hardware": hardware.id}
    scenario.pop("detail", None)
    structure = Structure(
        shape,
        memory,
        (devices[0], devices[1]),
        decode,
        request.kv_dtype not in ("bf16", "fp16"),
        kept is not None,
        not unit,
        2 * int(ranks > 1),
        bool(calls),
    )
    return Problem(structure, n, warnings, scenario, Subject(model.name, hardware.name, request, decode, kept, calls))


def _pools(request: QuantizationRequest, n: Numbers, model: Entry, hardware: Entry, stored: str) -> tuple[str, ...]:
    """Quote kv_capacity's pools with the quantized and the 16-bit weights; returns its calls."""
    n.assumed("block", BLOCK, 1, 128, "token")
    for symbol in ("capacity", "base_capacity"):
        n.drop(symbol)
    asked = (model, hardware, request.n_accelerators)
    call = quote_pool(n, *asked, stored, request.set_)
    if stored == "bf16":
        n.alias("base_pool", "pool")
        return (call,)
    quote_pool(n, *asked, "bf16", request.set_, "base_pool")
    return (call, "weight_dtype=bf16")


def _units(request: QuantizationRequest, hardware: Entry) -> tuple[str, str]:
    stored, unit = SCHEMES[request.scheme]
    available = formats_of(hardware)
    if unit and unit not in available:
        usable = [s for s, (_, u) in SCHEMES.items() if s != "kv_only" and (not u or u in available)]
        same = {"w8a8_int8": "w8a16", "w8a8_fp8": "w8a16"}.get(request.scheme, "w4a16")
        raise CallError(
            "scheme",
            f"{hardware.name} has no {unit} unit, so {request.scheme} cannot run on it; it computes in {', '.join(available)}.",
            choices=usable,
            repair={"scheme": same},
        )
    if request.scheme == "kv_only" and request.kv_dtype in ("bf16", "fp16"):
        raise CallError(
            "kv_dtype", "kv_only quantizes the KV-cache alone: name its format.", repair={"kv_dtype": "fp8"}
        )
    return stored, unit


def _check_cache(request: QuantizationRequest, shape: ModelShape, model: Entry) -> None:
    if (shape.linear or shape.attention == "none") and request.kv_dtype != "bf16":
        raise CallError(
            "kv_dtype",
            f"{model.name} keeps a recurrent state, whose format this tool does not change.",
            repair={"kv_dtype": "bf16"},
        )


def _accuracy(n: Numbers, zoo: Zoo, request: QuantizationRequest, model: Entry, warnings: list[str]) -> str | None:
    """Read the published accuracy of the scheme on the model nearest in size; None where nobody published one."""
    scheme = ACCURACY.get(request.scheme)
    found = [e for e in zoo.entries("studies") if scheme and e.id.endswith(f"-{scheme}")]
    if not found:
        warnings.append(f"accuracy: the zoo has no published score for {request.scheme}; measure it on your task")
        return None
    size = model.number("parameters").value
    near = min(found, key=lambda e: abs(e.number("parameters").value / size - 1))
    n.zoo("recovery", near, "recovery")
    return near.name.split(" at ")[0].split(" with ")[0]


def compute(s: Structure, n: Numbers, d: Derivation) -> dict[str, Value]:
    """Step out both variants, the gain, memory, and where the gain ends; keys are the results' symbols."""
    op, lowering, times = _passes(s, n, d)
    quantized, plain = times
    out: dict[str, Value] = {"floor": quantized.floor.value, "base_floor": plain.floor.value}
    out |= {"expected": quantized.expected, "base_expected": plain.expected}
    for name in ("compute_floor", "memory_floor", "link_floor", "compute_time", "link_time", "overhead"):
        if (part := getattr(quantized, name)) is not None:
            out[name] = part
    out["speedup"] = d.step("speedup", common.ratio(plain.expected, quantized.expected))
    out["floor_speedup"] = d.step("floor_speedup", common.ratio(plain.floor.value, quantized.floor.value))
    joint = d.step("joint_spread", node_eq.spread_of_equals(n.spread_high, n.widen))
    out["speedup_low"] = d.step("speedup_low", node_eq.ratio_low(out["speedup"], joint))
    out["speedup_high"] = d.step("speedup_high", node_eq.ratio_high(out["speedup"], joint))
    out["bits_per_weight"] = d.step("bits_per_weight", eq.bits(n.w_bytes))
    if s.accuracy:
        out["accuracy_lost"] = d.step("accuracy_lost", eq.lost(n.recovery))
    if s.memory is not None:
        out |= _memory(s, s.memory, n, d, op, lowering)
    out["binding_share"] = share_of(d, n, quantized)
    out |= overhead_share(d, quantized)
    if d.record and s.decode:
        out |= _ends(s, n, d, times)
    return out


def _passes(s: Structure, n: Numbers, d: Derivation) -> tuple[Table, Lowering, tuple[PassTimes, PassTimes]]:
    groups = groups_of(d, n, s.devices[:1] if s.same_arithmetic else s.devices)
    width = {"base_width": n.base_width}
    cells = (groups.layer, groups.experts, groups.wide, groups.attention, groups.projections)
    lowering = Lowering(d, s.shape, n, Groups(*({**c, **width} for c in cells)))
    tokens = n.batch if s.decode else d.step("tokens", common.product(n.batch, n.context))
    op = lowering.forward("op", [PassPhase("decode" if s.decode else "prefill", tokens, n.context)])
    cache = op["kv"]
    if s.narrow_cache:
        cache = d.column(op, "base_kv", eq.at_width(op["kv"], n.base_kv_width, n.kv_width))
    writes = s.shape.linear
    moved = pass_moved(d, op, "", "", writes)
    moves = (op["count"], op["w"], op["read"], op["base_width"])
    law = node_eq.pass_bytes_written(*moves, cache, op["write"]) if writes else node_eq.pass_bytes(*moves, cache)
    plain_moved = d.sum("base_bytes_total", law)
    rule = serving_law(s.shape, s.decode, 1 + s.all_reduces)
    sent = link_bytes(d, n, rule, "", tokens)
    quantized = pass_times(d, n, op, s.devices[0], rule, PassWork(moved, moved, tokens), sent)
    plain = pass_times(
        d, n, op, s.devices[1], rule, PassWork(plain_moved, plain_moved, tokens), sent, quantized, s.same_arithmetic
    )
    return op, lowering, (quantized, plain)


def _memory(s: Structure, memory: Memory, n: Numbers, d: Derivation, op: Table, lowering: Lowering) -> dict[str, Value]:
    if not s.pooled:
        out = needed_bytes(d, memory, n, op, lowering)
        return out | {
            "base_weights": d.step("base_weights", memory_eq.resident_uniform(n.parameters, n.base_width, n.tp))
        }
    out = {"weights": resident_weights(d, s.shape, n)}
    out["base_weights"] = d.step("base_weights", memory_eq.resident_uniform(n.parameters, n.base_width, n.tp))
    each = before = sequence_bytes(s.shape, n, d, n.context)
    if s.narrow_cache:
        before = sequence_bytes(s.shape, n.bound("kv_width", n.base_kv_width), d.scope("base_"), n.context)
    if s.decode:
        out["batch_fitting"] = d.step("batch_fitting", eq.batch_that_fits(n.pool, each))
        out["base_batch_fitting"] = d.step("base_batch_fitting", eq.batch_that_fits(n.base_pool, before))
    return out | {"headroom": d.step("headroom", eq.left_in_pool(n.pool, n.batch, each))}


def _ends(s: Structure, n: Numbers, d: Derivation, times: tuple[PassTimes, PassTimes]) -> dict[str, Value]:
    """The largest batches with a gain of 2 and of 1.1; the gain need not fall evenly, so a scan brackets its last crossing."""
    batches = [2.0**k for k in range(17)]

    @cache
    def gain(batch: float) -> float:
        quantized, plain = _passes(s, n.replaced({"batch": batch}), Derivation(record=False))[2]
        return float(common.ratio(plain.expected, quantized.expected).evaluate())

    scanned = [gain(batch) for batch in batches]
    found = {}
    for symbol, factor in (("last_batch_2x", n.twofold), ("last_batch_1_1x", n.tenth)):
        above = [i for i, gained in enumerate(scanned) if gained >= factor.value]
        if not above:
            continue
        low, high = int(batches[above[-1]]), int(batches[min(above[-1] + 1, 16)])
        condition = eq.gains(times[1].expected, factor, times[0].expected)

        def holds(batch: float, factor: Value = factor) -> bool:
            return gain(batch) >= float(factor.value)

        value = d.search(symbol, "largest", "batch", low, high, condition, holds)
        if value is not None:
            found[symbol] = value
    return found


SOLVER = Solver(
    name="quantization",
    question="How much faster and smaller does quantization make this model on this chip, and up to which batch?",
    guidance="Against 16 bit, by what binds; published accuracy.",
    walls=("compression", "memory_bandwidth", "compute_throughput"),
    request=QuantizationRequest,
    result=QuantizationResult,
    resolve=resolve,
    compute=compute,
    present=present,
    per_replica=frozenset({"batch_fitting", "base_batch_fitting"}),
    example={"model": "llama-3.1-8b", "hardware": "h100", "scheme": "w4a16"},
)
