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
    "kv_only": "weights as they are",
}

_FACTORS = {"last_batch_2x": 2, "last_batch_1_1x": 1.1}


@dataclass(frozen=True, slots=True)
class Subject:
    """What the wording needs besides numbers.

    `scored` is the model whose accuracy was published, `ships` the format of a checkpoint that is quantized.
    """

    model: str
    hardware: str
    request: Any
    decode: bool
    scored: str | None
    calls: tuple[str, ...]
    ships: str


class QuantizationResult(SolverResult):
    """Typed outputs, an accelerator each; `base_` is the checkpoint as it ships."""

    BRIEF_LEAVES = frozenset({"calls"})

    speedup: float = Field(description="Expected, over the checkpoint.")
    speedup_low: float
    speedup_high: float
    floor_speedup: float = Field(description="At peak rates.")
    expected_ms: float
    base_expected_ms: float
    floor_ms: float
    base_floor_ms: float
    bits_per_weight: float = Field(description="Scales included.")
    weights_gb: float | None = None
    base_weights_gb: float | None = None
    batch_fitting: int | None = Field(default=None, description="Sequences that fit.")
    base_batch_fitting: int | None = None
    last_batch_2x: int | None = Field(default=None, description="Largest twice as fast.")
    last_batch_1_1x: int | None = Field(default=None, description="Largest a tenth faster.")
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
    sentence = _gain(problem, out, scheme, f"{work} of {subject.model} on {where}")
    sentence += f"; {bound(binding.slug, binding.share, parts)}."
    unchanged = problem.structure.unchanged
    if subject.decode and not unchanged:
        sentence += _ends(out)
    feasible = True
    warnings = ["dequantization not modelled: real kernels gain less"] if problem.structure.weight_only else []
    if "weights" in out:
        sentence += f" Weights {figure(first(out['weights']) / 1e9)} GB"
        sentence += (
            "" if unchanged or r.scheme == "kv_only" else f" instead of {figure(first(out['base_weights']) / 1e9)} GB"
        )
        if "batch_fitting" in out:
            fits, before = first(out["batch_fitting"]), first(out["base_batch_fitting"])
            instead = "" if unchanged else f" instead of {before:,.0f}"
            sentence += f", so {fits:,.0f} sequences of {r.seq_len:,} tokens fit{instead}"
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


def _gain(problem: Problem, out: Outcome, scheme: str, work: str) -> str:
    """Word the gain over the checkpoint as it ships, with its range."""
    subject: Subject = problem.context
    time = seconds(first(out["expected"]))
    if problem.structure.unchanged:
        return f"Nothing to gain: {subject.model} ships in {subject.ships}; {work} takes {time}"
    gain = first(out["speedup"])
    head = "Slower," if gain < 0.95 else "No faster" if gain < 1.05 else f"{figure(gain)}x faster"
    if gain < 0.95:
        head += f" {figure(gain)}x"
    before = "as it ships in " + subject.ships if subject.ships else "at 16 bit"
    return (
        f"{head} ({figure(first(out['speedup_low']))} to {figure(first(out['speedup_high']))}; "
        f"{figure(first(out['floor_speedup']))}x at the floor): with {scheme}, {work} takes "
        f"{time} instead of {seconds(first(out['base_expected']))} {before}"
    )


def _ends(out: Outcome) -> str:
    def until(symbol: str) -> str:
        batch = first(out[symbol])
        if batch < 65536:
            return f"up to batch {batch:,.0f}"
        return "at every batch" if first(out["speedup"]) >= _FACTORS[symbol] else "at large batches"

    if "last_batch_2x" in out:
        later = f" and 1.1x {until('last_batch_1_1x')}" if "last_batch_1_1x" in out else ""
        return f" The gain is at least 2x {until('last_batch_2x')}{later}."
    if "last_batch_1_1x" in out:
        return f" It is 2x at no batch, and at least 1.1x {until('last_batch_1_1x')}."
    return " It is 1.1x at no batch."
