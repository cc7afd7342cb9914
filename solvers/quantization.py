"""What does a quantization scheme gain on this chip: in time, in memory, at which batch does the gain end, at what accuracy?

Both variants run through the same operator pass as roofline: one table of rows, two widths and two peaks. The baseline is what
the checkpoint ships as: 16 bit, but FP8 for DeepSeek-V3 and MXFP4 experts for gpt-oss. Weight-only schemes stream fewer bytes
but compute at 16 bit, so their gain ends where compute binds; schemes that quantize activations too need a unit of that format.
Block scales are counted in the bytes a weight (INT4 4.25 bit, MXFP4 4.25, NVFP4 4.5), embedding and head stay at 16 bit.

The gain's range is what measured pairs that differ in the format alone do not share, and ends at what bytes and units allow.
Accuracy is what was published for the scheme on a dense model of the same size, not a prediction.

Not modelled: the cost of dequantizing in kernels (calibrated only where the operator pass is), mixed schemes by layer, outlier
columns, quality on a particular task.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cache
from typing import Literal

from pydantic import Field

from mlwalls.solvers.derivation import Derivation, Table, Value
from mlwalls.solvers.devices import Device, groups_of, resolve_device, resolve_spread, serving_constants
from mlwalls.solvers.equations import common
from mlwalls.solvers.equations import node as node_eq
from mlwalls.solvers.equations import quantization as eq
from mlwalls.solvers.errors import CallError
from mlwalls.solvers.formats import HALVINGS, KV_BYTES, STORED_BYTES, KvFormat, formats_of, unit_for
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
from mlwalls.solvers.shapes import ModelShape, check_ranks, resolve_model, stored_formats
from mlwalls.solvers.solver import Problem, Solver, SolverRequest
from mlwalls.solvers.workload import Groups, Lowering, PassPhase
from mlwalls.zoo import Entry, Zoo
from mlwalls.zoo.calibrations import calibration

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
    "kv_only": ("native", ""),
}
# Parameters within this factor are the same class of size.
SIZE_CLASS = 1.5
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
    """Which rows and equations apply; devices and shapes are the quantized variant's and the baseline's.

    Attributes:
        narrow_cache: the cache is quantized. same_arithmetic: both compute on the same units.
        weight_only: kernels turn narrow weights into 16 bit. unchanged: the checkpoint ships in the scheme.
    """

    shape: ModelShape
    base_shape: ModelShape
    memory: Memory | None
    devices: tuple[Device, Device]
    decode: bool
    narrow_cache: bool
    accuracy: bool
    same_arithmetic: bool
    weight_only: bool
    unchanged: bool
    fewer: bool
    faster: bool
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
    wide = _wide(hardware)
    shipped = stored_formats(model, "native")
    native = any(STORED_BYTES[kind] < 2 for kind in shipped)
    base_shape = replace(shape, projection_format="" if native else shape.projection_format)
    base = shipped if native else (wide,) * 3
    base_shape = replace(base_shape, layer_format=base[0], expert_format=base[1], wide_format=base[2])
    narrow = base if stored == "native" else (stored, stored, wide)
    kinds = ((*narrow, shape.projection_format), (*base, base[0] if native else wide))
    forms = (unit or ("" if stored == "native" and native else wide), "" if native else wide)
    devices = tuple(
        resolve_device(n, hardware, kind, prefix, form, [], ranks)
        for kind, prefix, form in zip(kinds, ("", "base_"), forms, strict=True)
    )
    computes = [_computes(kind, form, hardware) for kind, form in zip(kinds, forms, strict=True)]
    same = computes[0] == computes[1]
    for name in ("bandwidth", "capacity", "link", "x_gen", "matmul"):
        if f"base_{name}" in n:
            n.alias(f"base_{name}", name)
    groups = ("layer", "experts", "wide")
    units = {kind: getattr(devices[0], group) for kind, group in zip(computes[0], groups, strict=True)}
    for kind, group in zip(computes[1], groups, strict=True):
        if kind in units:
            n.alias(getattr(devices[1], group), units[kind])
    _base_widths(n, base)
    n.defined("base_kv_width", 2, "byte")
    n.defined("act_width", 2, "byte")
    n.defined("per_layer", 2)
    n.defined("twofold", 2)
    n.defined("tenth", 1.1)
    serving_constants(n, shape, devices)
    memory = resolve_memory(n, "decode") if "capacity" in n else None
    asked = (stored, "native" if native else "bf16")
    calls = _pools(request, n, model, hardware, asked) if memory is not None and shape.has_head else ()
    decode = request.phase == "decode" and shape.has_head
    resolve_spread(n, shape, "decode" if decode else "prefill", stored, model, devices[:1], warnings)
    n.calibrated(calibration("serving")["intervals"], "formats", "spread_pair")
    n.defined("halvings", _halvings(narrow, base, request.kv_dtype))
    unchanged = narrow == base and request.kv_dtype in ("bf16", "fp16")
    kept = None if unchanged else _accuracy(n, zoo, request, model, native, warnings)
    scenario = request.model_dump(by_alias=True, exclude_none=True, exclude_defaults=True)
    scenario |= {"model": model.id, "hardware": hardware.id}
    scenario.pop("detail", None)
    structure = Structure(
        shape,
        base_shape,
        memory,
        (devices[0], devices[1]),
        decode,
        request.kv_dtype not in ("bf16", "fp16"),
        kept is not None,
        same,
        not unit and stored != "native" and not unchanged,
        unchanged,
        all(STORED_BYTES[a] <= STORED_BYTES[b] for a, b in zip(narrow, base, strict=True)),
        any(HALVINGS[a] > HALVINGS[b] for a, b in zip(*computes, strict=True)),
        2 * int(ranks > 1),
        bool(calls),
    )
    ships = base[1].upper() if native else ""
    subject = Subject(model.name, hardware.name, request, decode, kept, calls, ships)
    return Problem(structure, n, warnings, scenario, subject)


def _wide(hardware: Entry) -> str:
    available = formats_of(hardware)
    wide = "bf16" if "bf16" in available else "fp16"
    if wide not in available:
        have = ", ".join(available) or "no published format"
        raise CallError("hardware", f"{hardware.name} has no 16-bit unit to compare with; it computes in {have}.")
    return wide


def _computes(kinds: tuple[str, ...], form: str, hardware: Entry) -> tuple[str, ...]:
    """Return the units on which layers, experts, and embedding and head compute."""
    layer, expert, wide = (unit_for(kind, hardware, form if at < 2 else "").format for at, kind in enumerate(kinds[:3]))
    return layer, expert, wide


def _base_widths(n: Numbers, base: tuple[str, ...]) -> None:
    """Read the baseline's bytes a weight: of layers, experts, and embedding and head."""
    n.defined("base_width", STORED_BYTES[base[0]], "byte")
    for symbol, kind in (("base_expert_width", base[1]), ("base_wide_width", base[2])):
        if STORED_BYTES[kind] == STORED_BYTES[base[0]]:
            n.alias(symbol, "base_width")
        elif symbol == "base_wide_width":
            n.alias(symbol, "wide_bytes")
        else:
            n.defined(symbol, STORED_BYTES[kind], "byte")


def _halvings(narrow: tuple[str, ...], base: tuple[str, ...], cache: str) -> int:
    """Return the most halvings of a width between the two variants."""
    weights = [STORED_BYTES[b] / STORED_BYTES[a] for a, b in zip(narrow, base, strict=True)]
    return max(abs(round(math.log2(ratio))) for ratio in (*weights, 2 / KV_BYTES[cache]))


def _pools(
    request: QuantizationRequest, n: Numbers, model: Entry, hardware: Entry, formats: tuple[str, str]
) -> tuple[str, ...]:
    """Quote kv_capacity's pools with the quantized weights and the baseline's; returns its calls."""
    n.assumed("block", BLOCK, 1, 128, "token")
    for symbol in ("capacity", "base_capacity"):
        n.drop(symbol)
    asked = (model, hardware, request.n_accelerators)
    stored, base = formats
    call = quote_pool(n, *asked, base if stored == "native" else stored, request.set_)
    if stored == "native":
        n.alias("base_pool", "pool")
        return (call,)
    quote_pool(n, *asked, base, request.set_, "base_pool")
    return (call, f"weight_dtype={base}")


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


def _accuracy(
    n: Numbers, zoo: Zoo, request: QuantizationRequest, model: Entry, native: bool, warnings: list[str]
) -> str | None:
    """Read the published accuracy of the scheme on a dense model of this size; None where nobody published one."""
    scheme = ACCURACY.get(request.scheme)
    size = model.number("parameters").value
    found = [
        (max(ratio, 1 / ratio), e)
        for e in zoo.entries("studies")
        if scheme and e.id.endswith(f"-{scheme}") and (ratio := e.number("parameters").value / size)
    ]
    off, near = min(found, key=lambda pair: pair[0], default=(SIZE_CLASS + 1, None))
    if near is None or off > SIZE_CLASS or native or model.has("moe.experts"):
        warnings.append(f"accuracy: no published score for {request.scheme} on such a model; measure it on your task")
        return None
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
    joint = d.step("joint_spread", node_eq.spread_of_formats(n.spread_pair, n.halvings, n.widen))
    out["speedup_low"] = d.step("speedup_low", node_eq.ratio_low(out["speedup"], joint))
    # What neither bytes nor arithmetic is, is the same in both.
    most = [d.step("bytes_ratio", common.ratio(plain.memory_floor, quantized.memory_floor))]
    if s.faster:
        most.append(d.step("flops_ratio", common.ratio(plain.compute_floor, quantized.compute_floor)))
    if not s.fewer:
        most.append(n.one)
    bound = d.choose("most", "max", most).value if len(most) > 1 else most[0]
    out["speedup_high"] = d.step("speedup_high", node_eq.ratio_up_to(out["speedup"], joint, bound))
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
    cells = (groups.layer, groups.experts, groups.wide, groups.attention, groups.projections)
    widths = (n.base_width, n.base_expert_width, n.base_wide_width, n.base_width, n.base_width)
    wider = ({**c, "base_width": width} for c, width in zip(cells, widths, strict=True))
    lowering = Lowering(d, s.shape, n, Groups(*wider))
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
    several = not s.same_arithmetic
    rule = replace(rule, short=several and s.all_reduces > 0)
    sent = link_bytes(d, n, rule, "", tokens)
    first, second = (PassWork(total, total, tokens, shared=several) for total in (moved, plain_moved))
    quantized = pass_times(d, n, op, s.devices[0], rule, first, sent)
    plain = pass_times(d, n, op, s.devices[1], rule, second, sent, quantized, s.same_arithmetic)
    return op, lowering, (quantized, plain)


def _memory(s: Structure, memory: Memory, n: Numbers, d: Derivation, op: Table, lowering: Lowering) -> dict[str, Value]:
    base = n.bound("w_bytes", n.base_width).bound("wide_bytes", n.base_wide_width)
    base = base.bound("e_bytes", n.base_expert_width)
    if not s.pooled:
        out = needed_bytes(d, memory, n, op, lowering)
        return out | {"base_weights": resident_weights(d.scope("base_"), s.base_shape, base)}
    out = {"weights": resident_weights(d, s.shape, n)}
    out["base_weights"] = resident_weights(d.scope("base_"), s.base_shape, base)
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
    guidance="Against the checkpoint as it ships; published accuracy.",
    walls=("compression", "memory_bandwidth", "compute_throughput"),
    request=QuantizationRequest,
    result=QuantizationResult,
    resolve=resolve,
    compute=compute,
    present=present,
    per_replica=frozenset({"batch_fitting", "base_batch_fitting"}),
    example={"model": "llama-3.1-8b", "hardware": "h100", "scheme": "w4a16"},
)
