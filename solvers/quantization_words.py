"""The quantization tool's typed result and its wording."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic import Field

from mlwalls.solvers.derivation import Derivation
from mlwalls.solvers.shares import bound, floors_of, parts_of
from mlwalls.solvers.solver import Binding, Outcome, Presentation, Problem, SolverResult
from mlwalls.solvers.words import figure, first, fit_result, seconds

_SAID = {
    "w4a16": "INT4 weights, 16-bit arithmetic",
    "w8a16": "INT8 weights, 16-bit arithmetic",
    "w8a8_int8": "INT8 weights and activations",
    "w8a8_fp8": "FP8 weights and activations",
    "w4a4_int4": "INT4 weights and activations",
    "w4a4_nvfp4": "NVFP4 weights and activations",
    "w4a4_mxfp4": "MXFP4 weights and activations",
    "kv_only": "16-bit weights",
}


@dataclass(frozen=True, slots=True)
class Subject:
    """What the wording needs besides numbers; `scored` is the model whose accuracy was published."""

    model: str
    hardware: str
    request: Any
    decode: bool
    scored: str | None
    calls: tuple[str, ...]


class QuantizationResult(SolverResult):
    """Typed outputs, an accelerator each; `base_` is the 16-bit variant."""

    BRIEF_LEAVES = frozenset({"calls"})

    speedup: float = Field(description="Expected, over 16 bit.")
    speedup_low: float
    speedup_high: float
    floor_speedup: float = Field(description="At peak rates.")
    expected_ms: float
    base_expected_ms: float
    floor_ms: float
    base_floor_ms: float
    bits_per_weight: float = Field(description="Scales included; embedding and head stay at 16.")
    weights_gb: float | None = None
    base_weights_gb: float | None = None
    batch_fitting: int | None = Field(default=None, description="Sequences that fit.")
    base_batch_fitting: int | None = None
    last_batch_2x: int | None = Field(default=None, description="Largest batch that is twice as fast.")
    last_batch_1_1x: int | None = Field(default=None, description="Largest batch that gains a tenth.")
    accuracy_lost_percent: float | None = Field(default=None, description="Published, of the 16-bit score.")
    headroom_gb: float | None = Field(default=None, description="Memory left; negative: short.")
    calls: list[str] | None = None


def present(problem: Problem, out: Outcome, d: Derivation) -> Presentation:
    """Word the answer: whether it fits, the gain with its range, where it ends, memory and accuracy."""
    subject: Subject = problem.context
    r = subject.request
    walls = floors_of(out)
    binding = Binding(walls[0], walls[1], first(out["binding_share"]))
    parts = parts_of(out, problem.numbers, decode=subject.decode)
    where = subject.hardware if r.n_accelerators == 1 else f"{r.n_accelerators} x {subject.hardware}"
    work = (
        f"a decode step at batch {r.batch_size}"
        if subject.decode
        else f"prefill of {r.batch_size} x {r.seq_len} tokens"
    )
    scheme = _SAID[r.scheme] + ("" if r.kv_dtype == "bf16" else f", {r.kv_dtype.upper()} KV-cache")
    gain = first(out["speedup"])
    head = "No faster" if gain < 1.05 else f"{figure(gain)}x faster"
    sentence = (
        f"{head} ({figure(first(out['speedup_low']))} to {figure(first(out['speedup_high']))}; "
        f"{figure(first(out['floor_speedup']))}x at the floor): with {scheme}, {work} of {subject.model} on {where} takes "
        f"{seconds(first(out['expected']))} instead of {seconds(first(out['base_expected']))} at 16 bit; "
        f"{bound(binding.slug, binding.share, parts)}."
    )
    if subject.decode:
        sentence += _ends(out)
    feasible = True
    warnings = ["dequantization not modelled: real kernels gain less"]
    if r.scheme == "kv_only" or not problem.structure.same_arithmetic:
        warnings = []
    if "weights" in out:
        sentence += f" Weights {figure(first(out['weights']) / 1e9)} GB instead of {figure(first(out['base_weights']) / 1e9)} GB"
        if "batch_fitting" in out:
            fits, before = first(out["batch_fitting"]), first(out["base_batch_fitting"])
            sentence += f", so {fits:,.0f} sequences of {r.seq_len:,} tokens fit instead of {before:,.0f}"
        sentence += "."
        feasible = first(out["headroom"]) >= 0
    if "accuracy_lost" in out:
        lost = 100 * first(out["accuracy_lost"])
        sentence += f" Published accuracy: {figure(lost, 2)} % below 16 bit ({subject.scored}, OpenLLM v1)."
    if not feasible:
        short = figure(-first(out["headroom"]) / 1e9)
        sentence = f"Does not fit even so, by {short} GB an accelerator: raise n_accelerators. If it did: {sentence}"
        binding = Binding("memory_capacity", binding.slug)
    extra = {"calls": list(subject.calls)} if subject.calls else {}
    # How much is left follows from the sequences that fit; by how much nothing fits does not.
    skip = {"headroom_gb"} if feasible and "batch_fitting" in out else set()
    result = fit_result(QuantizationResult, out, extra, skip)
    return Presentation(sentence, feasible, binding, result, warnings, frozenset({"headroom"} if skip else ()))


def _ends(out: Outcome) -> str:
    def until(symbol: str) -> str:
        batch = first(out[symbol])
        return "at every batch" if batch >= 65536 else f"up to batch {batch:,.0f}"

    if "last_batch_2x" in out:
        later = f" and 1.1x {until('last_batch_1_1x')}" if "last_batch_1_1x" in out else ""
        return f" The gain is at least 2x {until('last_batch_2x')}{later}."
    if "last_batch_1_1x" in out:
        return f" It is 2x at no batch, and at least 1.1x {until('last_batch_1_1x')}."
    return " It is 1.1x at no batch."
