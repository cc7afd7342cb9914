"""The kv_capacity tool's typed result and its wording."""

from __future__ import annotations

from dataclasses import replace

from pydantic import Field

from mlwalls.solvers.derivation import Derivation
from mlwalls.solvers.kv_capacity_compute import Structure, compute
from mlwalls.solvers.links import group, splittable
from mlwalls.solvers.pool import at_ranks
from mlwalls.solvers.solver import Binding, Outcome, Presentation, Problem, SolverResult
from mlwalls.solvers.words import counted, figure, first, fit_result, seconds


class KvCapacityResult(SolverResult):
    """Typed outputs, an accelerator each unless they count tokens or sequences."""

    cache_tokens: float | None = Field(default=None, description="Tokens that the cache holds.")
    cache_low_tokens: float | None = Field(default=None, description="Low end of the 80 % interval.")
    cache_high_tokens: float | None = Field(default=None, description="High end.")
    max_sequences: float | None = Field(default=None, description="Sequences of seq_len at once.")
    longest: int | None = Field(default=None, description="Tokens a sequence at that concurrency.")
    decode_expected_ms: float | None = Field(default=None, description="Decode step at max_sequences, expected.")
    throughput_tokens_per_s: float | None = Field(default=None, description="Of all sequences together.")
    kv_token_bytes: float = Field(description="Keys and values of a token, all layers.")
    state_mb: float | None = Field(default=None, description="Recurrent state of a sequence.")
    sequence_gb: float = Field(description="Cache that one sequence of seq_len takes.")
    pool_gib: float = Field(description="Left for keys and values; negative: short by.")
    weights_gib: float = Field(description="Resident weights.")
    activation_gib: float = Field(description="Peak of the profile run.")
    non_torch_gib: float = Field(description="Outside the allocator.")
    driver_gib: float = Field(description="Memory that the driver shows.")


def present(problem: Problem, out: Outcome, d: Derivation) -> Presentation:
    """Word the answer: refused first, then tokens with their range and sequences."""
    model, hardware, request = problem.context
    pool, tokens, sequences = first(out["pool"]), first(out["cache"]), first(out["max_sequences"])
    low, high = max(0.0, first(out["cache_low"])), first(out["cache_high"])
    where = hardware.name if request.n_accelerators == 1 else f"{request.n_accelerators} x {hardware.name}"
    gib = 2**30
    parts = (
        f"{figure(first(out['weights']) / gib)} GiB weights, {figure(first(out['activation']) / gib)} activations and "
        f"{figure(first(out['non_torch']) / gib)} outside the allocator of "
        f"{figure(request.gpu_memory_utilization * first(out['driver']) / gib)} GiB"
    )
    feasible = sequences >= 1
    skip: set[str] = set()
    if pool <= 0:
        sentence = f"Does not start: {model.name} on {where} is short by {figure(-pool / gib)} GiB ({parts})."
        skip = {"cache_tokens", "cache_low_tokens", "cache_high_tokens", "max_sequences"}
        skip |= {"decode_expected_ms", "throughput_tokens_per_s"}
    elif not feasible:
        sentence = (
            f"Does not start: the cache of {model.name} on {where} holds {tokens:,.0f} tokens, fewer than one sequence "
            f"of {request.seq_len:,} ({parts})."
        )
    elif problem.structure.pool.shape.attention == "none":
        sentence = (
            f"{counted(sequences, 'sequence')} of any length ({first(out['sequences_low']):,.0f} to "
            f"{first(out['sequences_high']):,.0f}) for {model.name} on {where}: {figure(pool / gib)} GiB are left for states of "
            f"{figure(first(out['sequence']) / 1e6)} MB beside {parts}."
        )
        skip = {"cache_tokens", "cache_low_tokens", "cache_high_tokens", "longest"}
    else:
        sentence = (
            f"{tokens:,.0f} tokens of KV-cache ({low:,.0f} to "
            f"{high:,.0f}), {counted(sequences, 'sequence')} of {request.seq_len:,} tokens{_windows(problem)}, for "
            f"{model.name} on {where}: {figure(pool / gib)} GiB are left beside {parts}."
        )
    if not feasible:
        sentence += _remedy(problem)
    elif "throughput" in out:
        rate, step = figure(first(out["throughput"])), seconds(first(out["decode_expected"]))
        sentence += f" With all of them decoding at full length a step takes {step}, {rate} tokens/s together."
    held = counted(request.concurrency or 0, "sequence") + (" fits" if request.concurrency == 1 else " fit")
    if request.concurrency is not None and problem.structure.pool.shape.attention != "none":
        sentence += (
            f" {held} up to {first(out['longest']):,.0f} tokens each." if "longest" in out else f" {held} at no length."
        )
    binding = Binding("batching", "memory_capacity") if feasible else Binding("memory_capacity", "batching")
    return Presentation(sentence, feasible, binding, fit_result(KvCapacityResult, out, {}, skip))


def _windows(problem: Problem) -> str:
    """Say why more sequences fit than the tokens would suggest, where windowed layers forget."""
    n = problem.numbers
    if not problem.structure.pool.hybrid or first(n.context) <= first(n.window):
        return ""
    return f" (windowed layers keep {first(n.window):,.0f} of them, the tokens count as if they kept all)"


def _remedy(problem: Problem) -> str:
    s: Structure = problem.structure
    _, hardware, request = problem.context
    heads = int(problem.numbers.heads.value) if "heads" in problem.numbers else 64
    found = [
        group(k, hardware)
        for k in range(2, 65)
        if splittable(hardware) and k > request.n_accelerators and heads % k == 0 and _starts_on(problem, k)
    ][:1]
    if request.kv_dtype == "bf16" and _starts(s, problem, {"kv_width": 1.0}):
        found.append("kv_dtype=fp8")
    for name, width in (("fp8", 1.0), ("int4", 0.53125)):
        narrower = {k: width for k in ("w_bytes", "e_bytes") if k in problem.numbers}
        if first(problem.numbers.w_bytes) > width and _starts(s, problem, narrower):
            found.append(f"weight_dtype={name}")
            break
    if found:
        return f" It would with {' or '.join(found)}."
    if splittable(hardware):
        return " No tensor-parallel group of up to 64 holds it."
    return " The zoo has no link to split it over."


def _starts_on(problem: Problem, ranks: int) -> bool:
    s: Structure = problem.structure
    pool, numbers = at_ranks(s.pool, problem.numbers, problem.context[1], ranks)
    out = compute(replace(s, pool=pool), numbers, Derivation(record=False))
    return first(out["max_sequences"]) >= 1


def _starts(s: Structure, problem: Problem, change: dict[str, float]) -> bool:
    out = compute(s, problem.numbers.replaced(change), Derivation(record=False))
    return first(out["max_sequences"]) >= 1
