"""The roofline tool's typed result and its wording."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from pydantic import Field

from mlwalls.solvers.derivation import Derivation
from mlwalls.solvers.links import group
from mlwalls.solvers.numbers import Numbers
from mlwalls.solvers.pool import pool_short
from mlwalls.solvers.roofline_compute import Structure, compute
from mlwalls.solvers.shares import added, bound, floors_of, kernel_bound, largest, parts_of, runner_up
from mlwalls.solvers.solver import Binding, Outcome, Presentation, Problem, SolverResult
from mlwalls.solvers.words import figure, first, fit_result, plural, seconds
from mlwalls.zoo import Entry

# From this share of the memory left on, no engine's reserves take it all.
AMPLE = 0.3
# What a comparison leaves to its work, to stay short.
_PARTS = {f"{p}_{k}_ms" for p in ("compute", "memory", "link") for k in ("floor", "time")} | {
    "overhead_ms",
    "weights_gb",
}


@dataclass(frozen=True, slots=True)
class Names:
    """What the wording needs besides numbers."""

    model: str
    hardware: tuple[str, ...]
    request: Any
    phase: str
    model_entry: Entry | None
    hardware_entry: Entry


class RooflineResult(SolverResult):
    """Typed outputs, an accelerator each; `_list` repeats a figure for every batch size, `base_` is baseline_hardware."""

    phase: str = Field(description="prefill, decode, training or inference.")
    fits: bool | None = Field(default=None, description="Whether memory suffices.")
    expected_ms: float = Field(description="Calibrated expectation.")
    low_ms: float
    high_ms: float
    floor_ms: float = Field(description="Lower bound at peak rates.")
    throughput_tokens_per_s: float | None = None
    throughput_samples_per_s: float | None = None
    arithmetic_intensity_flop_per_byte: float | None = Field(
        default=None, description="FLOPs a byte of compulsory traffic."
    )
    ridge_point_flop_per_byte: float | None = Field(
        default=None, description="Intensity at which compute begins to bind."
    )
    compute_floor_ms: float | None = None
    memory_floor_ms: float | None = None
    link_floor_ms: float | None = None
    compute_time_ms: float | None = None
    memory_time_ms: float | None = None
    link_time_ms: float | None = None
    overhead_ms: float | None = None
    prefill_expected_ms: float | None = None
    decode_expected_ms: float | None = None
    mfu_percent: float | None = Field(default=None, description="Model FLOPs utilization (causal).")
    mbu_percent: float | None = Field(default=None, description="Bandwidth utilization.")
    crossover_batch: int | None = Field(default=None, description="Smallest batch that is compute-bound.")
    weights_gb: float | None = None
    kv_cache_gb: float | None = None
    needed_gb: float | None = None
    headroom_gb: float | None = Field(default=None, description="Capacity left; negative: short.")
    speedup: float | None = Field(default=None, description="Expected speedup over baseline_hardware.")
    speedup_low: float | None = None
    speedup_high: float | None = None
    floor_speedup: float | None = Field(default=None, description="Ratio of the floors.")
    flops_ratio: float | None = None
    bandwidth_ratio: float | None = None
    base_expected_ms: float | None = None
    base_floor_ms: float | None = None
    op_rows: list[str] | None = None
    op_time_ms: list[float] | None = None
    batch_list: list[float] | None = None
    expected_ms_list: list[float] | None = None
    floor_ms_list: list[float] | None = None
    throughput_list: list[float] | None = None


def present(problem: Problem, out: Outcome, d: Derivation) -> Presentation:
    """Word the answer: infeasible first, then the number with its range, the binding wall and why."""
    s: Structure = problem.structure
    names: Names = problem.context
    warnings: list[str] = []
    short = -first(out["headroom"]) if "headroom" in out else 0.0
    feasible = short <= 0
    binding = _binding(s, problem.numbers, out)
    worded = _speedup if "speedup" in out else _single
    sentence = worded(s, problem.numbers, names, out, binding)
    if "base_headroom" in out and (lacking := -first(out["base_headroom"])) > 0:
        lacks = f"{names.hardware[1]} does not hold it ({figure(lacking / 1e9)} GB an accelerator short)"
        sentence += f" {lacks}: its time is as if it did."
    if feasible and (over := _over(problem, names, out)) > 0:
        warnings.append(
            f"fits bare, but not beside an engine's reserves: short by {figure(over / 1e9)} GB (kv_capacity)"
        )
    if not feasible:
        sentence = _infeasible(problem, names, out, short) + " If it did fit: " + sentence
        binding = Binding("memory_capacity", binding.slug)
    return Presentation(sentence, feasible, binding, _result(problem, out, d, feasible), warnings)


def _over(problem: Problem, names: Names, out: Outcome) -> float:
    """Return the bytes by which the work exceeds an engine's pool, where little of the bare memory is left."""
    s: Structure = problem.structure
    r = names.request
    if not _serves(s) or "headroom" not in out or any(text.startswith("capacity=") for text in r.set_):
        return 0.0
    if first(out["headroom"]) > AMPLE * first(problem.numbers.capacity):
        return 0.0
    return _short_on(names, r.n_accelerators, r.weight_dtype)


def _serves(s: Structure) -> bool:
    return s.shape is not None and s.shape.has_head and s.phase != "training"


def _short_on(names: Names, ranks: int, weights: str) -> float:
    r = names.request
    assert names.model_entry is not None
    length = r.seq_len + (r.output_tokens if r.phase == "inference" else 0)
    formats = (weights, r.kv_dtype)
    return pool_short(names.model_entry, names.hardware_entry, ranks, formats, length, r.batch_sizes[0], r.set_)


def _binding(s: Structure, n: Numbers, out: Outcome) -> Binding:
    stem = "decode_" if "decode_floor" in out else ""
    walls = floors_of(out, stem)
    slug = "serving_phases" if stem and _prefill_dominates(out) else walls[0]
    after = walls[1] if stem else runner_up(walls, _parts(s, n, out))
    return Binding(slug, after, first(out["binding_share"]) if "binding_share" in out else None)


def _prefill_dominates(out: Outcome) -> bool:
    return 2 * first(out["prefill_expected"]) > first(out["expected"])


def _work_of(s: Structure, names: Names) -> str:
    r = names.request
    if s.kind == "kernel":
        return f"a kernel of {figure(r.flops)} FLOP and {figure(r.bytes)} bytes"
    batch = f"batch {r.batch_sizes[0]}"
    where = {
        "decode": f"one decode step, {batch}, context {r.seq_len}",
        "prefill": f"prefill of {r.seq_len} tokens, {batch}",
        "training": f"one training step, {batch}" + (f" x {r.seq_len} tokens" if s.kind == "transformer" else ""),
        "inference": f"a request of {r.seq_len} + {r.output_tokens} tokens, {batch}"
        if s.kind == "transformer"
        else f"inference, {batch}",
    }[s.phase]
    return f"{names.model}, {where}"


def _on(names: Names, device: int = 0) -> str:
    count = names.request.n_accelerators
    return names.hardware[device] if count == 1 else f"{count} x {names.hardware[device]}"


def _why(s: Structure, n: Numbers, names: Names, out: Outcome, binding: Binding) -> str:
    if "decode_floor" in out:
        wall = floors_of(out, "prefill_" if _prefill_dominates(out) else "decode_")[0]
        whole = added(parts_of(out, n, "prefill_"), first(n.output), parts_of(out, n, "decode_", decode=True))
        return f"{bound(wall, None, whole)}; prefill takes {seconds(first(out['prefill_expected']))} of it"
    said = kernel_bound if s.kind == "kernel" else bound
    binds = said(binding.slug, binding.share, _parts(s, n, out))
    if s.several:
        last = names.request.batch_sizes[-1]
        then = seconds(plural(out["expected"], 1)[-1])
        rate = figure(plural(out["throughput"], 1)[-1])
        return f"{binds}; at batch {last}: {then}, {rate}/s"
    intensity, ridge = first(out["arithmetic_intensity"]), first(out["ridge_point"])
    relation = "below" if intensity < ridge else "above"
    text = f"{binds}: {figure(intensity)} FLOP/byte is {relation} the ridge of {figure(ridge)}"
    if "crossover_batch" not in out and s.phase == "decode" and len(s.devices) == 1:
        text += "; at no batch size does compute bind"
    elif "crossover_batch" in out and first(out["crossover_batch"]) > 1:
        text += f"; compute would bind from batch {first(out['crossover_batch']):.0f}"
    return text


def _parts(s: Structure, n: Numbers, out: Outcome) -> dict[str, float]:
    return parts_of(out, n, decode=s.phase == "decode")


def _single(s: Structure, n: Numbers, names: Names, out: Outcome, binding: Binding) -> str:
    low, high, floor = first(out["low"]), first(out["high"]), first(out["floor"])
    unit = "tokens/s" if s.kind == "transformer" else "samples/s" if s.kind == "sample" else "kernels/s"
    return (
        f"{_work_of(s, names)} on {_on(names)}: {seconds(first(out['expected']))} expected "
        f"({seconds(low)}{_best(s, n, out)} to {seconds(high)}; floor {seconds(floor)}), "
        f"{figure(first(out['throughput']))} {unit}; "
        f"{_why(s, n, names, out, binding)}."
    )


def _best(s: Structure, n: Numbers, out: Outcome) -> str:
    """Say whose rate the low end of a kernel's range has, where that is the best matmul's."""
    low = first(out["low"])
    if s.kind != "kernel" or "matmul" not in n or low <= first(out["memory_floor"]) / first(n.best_memory) * (1 + 1e-9):
        return ""
    return ", the best measured matmul's," if low < first(out["expected"]) else ""


def _speedup(s: Structure, n: Numbers, names: Names, out: Outcome, binding: Binding) -> str:
    def times(key: str) -> str:
        return f"{figure(first(out[key]))}x"

    what = _work_of(s, names)
    grown = {"memory_bandwidth": "bandwidth_ratio", "compute_throughput": "flops_ratio"}.get(binding.slug)
    because = f"{binding.slug.replace('_', ' ')} binds" + (f", and that grew {times(grown)}" if grown else "")
    more, takes = largest(_parts(s, n, out), binding.slug)
    if more:
        because = f"{more} takes {figure(100 * takes)} % of the time; at the floor {because}"
    head = f"{times('speedup')} (range {times('speedup_low')} to {times('speedup_high')}; {times('floor_speedup')} at the floor)"
    compared = (
        f"{what} takes {seconds(first(out['expected']))} on {_on(names)} "
        f"instead of {seconds(first(out['base_expected']))} on {_on(names, 1)}"
    )
    if binding.slug == "compute_throughput":
        return f"{head}: {compared}; {because}."
    return f"{head}: {compared}. It has {times('flops_ratio')} the FLOP/s, but {because}."


def _infeasible(problem: Problem, names: Names, out: Outcome, short: float) -> str:
    capacity = first(problem.numbers.capacity)
    needed = capacity + short
    parts = [
        f"{figure(first(out[k]) / 1e9)} GB {label}"
        for k, label in (("weights", "weights"), ("kv_cache", "KV-cache"))
        if k in out
    ]
    classes = f" ({' + '.join(parts)})" if parts else " (weights, gradients and Adam states; activations come on top)"
    before = ", before an engine's reserves" if _serves(problem.structure) else ""
    return (
        f"Does not fit: {names.model} needs {figure(needed / 1e9)} GB an accelerator{classes}, "
        f"{figure(short / 1e9)} GB more than the {figure(capacity / 1e9)} GB ({figure(capacity / 2**30)} GiB) "
        f"of {names.hardware[0]}{before}. "
        f"{_remedy(problem, names)}"
    )


def _remedy(problem: Problem, names: Names) -> str:
    """Say what would fit: the fewest accelerators in tensor parallel, or a narrower weight format on this one."""
    found = []
    s: Structure = problem.structure
    heads = int(problem.numbers["heads"].value) if "heads" in problem.numbers else 1
    device = s.devices[0]
    if device.link and s.shape is not None:
        wide = dataclasses.replace(s, shape=dataclasses.replace(s.shape, sharded=True))
        for ranks in (k for k in range(2, 65) if heads % k == 0 and k > names.request.n_accelerators):
            if _fits(wide, problem, {"tp": float(ranks)}) and _started(s, names, ranks, names.request.weight_dtype):
                found.append(group(ranks, names.hardware_entry))
                break
    if not (s.memory and s.memory.training):
        for name, width in (("fp8", 1.0), ("int4", 0.53125)):
            narrower = {
                k: width for k in ("w_bytes", "e_bytes") if k in problem.numbers and first(problem.numbers[k]) > width
            }
            started = (
                narrower and _fits(s, problem, narrower) and _started(s, names, names.request.n_accelerators, name)
            )
            if started:
                found.append(f"weight_dtype={name}")
                break
    if found:
        return f"It fits with {' or '.join(found)}."
    if s.shape is not None and not device.link:
        return f"No narrower weights fit, and the zoo has no link of {device.name} to split it over."
    return "No tensor-parallel group of up to 64 holds it."


def _started(s: Structure, names: Names, ranks: int, weights: str) -> bool:
    return not _serves(s) or _short_on(names, ranks, weights) <= 0


def _fits(s: Structure, problem: Problem, change: dict[str, float]) -> bool:
    out = compute(s, problem.numbers.replaced(change), Derivation(record=False))
    return first(out["headroom"]) >= 0


def _result(problem: Problem, out: Outcome, d: Derivation, feasible: bool) -> RooflineResult:
    s: Structure = problem.structure
    extra: dict[str, Any] = {"phase": s.phase}
    if "headroom" in out:
        extra["fits"] = feasible
    if s.several:
        extra |= {
            "batch_list": problem.numbers.batch.value.tolist(),
            "expected_ms_list": plural(out["expected"], 1e-3),
            "floor_ms_list": plural(out["floor"], 1e-3),
            "throughput_list": plural(out["throughput"], 1),
        }
    elif d.tables and "time" in d.tables[0].units:
        rows = list(d.tables[0].cells("time"))
        extra["op_rows"] = [name for name, _ in rows]
        extra["op_time_ms"] = [float(f"{t * 1e3:.6g}") for _, t in rows]
    skip = _PARTS if "speedup" in out or s.several else set()
    skip = skip | {"throughput_tokens_per_s"} if s.kind != "transformer" else skip | {"throughput_samples_per_s"}
    return fit_result(RooflineResult, out, extra, skip)
