"""The wafer-scale answer in words: what binds, what fits, and the GPU group beside it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from pydantic import Field

from mlwalls.solvers.derivation import Derivation
from mlwalls.solvers.solver import Binding, Outcome, Presentation, Problem, SolverResult
from mlwalls.solvers.words import figure, first, fit_result, seconds


class WaferResult(SolverResult):
    """Typed outputs; times are of one decode step of the batch."""

    BRIEF_LEAVES: ClassVar = frozenset(
        {"total_power_kw", "total_price_usd", "gpus", "gpu_floor_ms", "gpu_power_kw", "gpu_total_price_usd", "faster"}
    )

    expected_ms: float | None = None
    low_ms: float | None = None
    high_ms: float | None = None
    floor_ms: float = Field(description="At peak rates, no latency.")
    layer_us: float | None = Field(default=None, description="Expected time of a layer, streamed.")
    stream_floor_ms: float = Field(description="Streaming the weights in.")
    compute_floor_ms: float | None = Field(default=None, description="Arithmetic at the dense peak.")
    user_rate_tokens_per_s: float | None = Field(default=None, description="Of a user.")
    rate_tokens_per_s: float | None = Field(default=None, description="Of all.")
    systems: int | None = Field(default=None, description="Systems used, where given.")
    systems_needed: int | None = Field(default=None, description="Systems that hold weights and cache.")
    batch_fitting: int = Field(description="Sequences that fit.")
    break_even: int | None = Field(default=None, description="Batch from which arithmetic binds, not streaming.")
    weights_gb: float
    sequence_gb: float = Field(description="Keys and values of one sequence.")
    total_power_kw: float | None = None
    total_price_usd: float | None = None
    gpus: int | None = Field(default=None, description="Smallest group, doubling, that holds the model.")
    gpu_floor_ms: float | None = Field(default=None, description="Its step takes at least this.")
    gpu_power_kw: float | None = Field(default=None, description="With servers.")
    gpu_total_price_usd: float | None = Field(default=None, description="Without servers.")
    faster: float | None = Field(
        default=None, description="The group's floor over the wafer's (resident: expected) step."
    )


@dataclass(frozen=True, slots=True)
class Subject:
    """Names for the wording, the request, and the format of the stored weights."""

    model: str
    wafer: str
    other: str
    request: Any
    stored: str


def present(problem: Problem, out: Outcome, d: Derivation) -> Presentation:
    """Word the answer: what does not fit first, then time, what binds, and the group beside it."""
    s, t = problem.structure, problem.context
    systems, fits = int(first(out["systems"])), int(first(out["batch_fitting"]))
    batch = t.request.batch_size
    feasible = fits >= batch
    where = t.wafer if systems == 1 else f"{systems} x {t.wafer}"
    skip: set[str] = set()
    if not feasible:
        skip = {"expected_ms", "low_ms", "high_ms", "layer_us", "user_rate_tokens_per_s", "rate_tokens_per_s"}
        skip |= {"faster"}
        sentence = _refusal(s.streamed, t, out, where, fits)
    else:
        sentence = _streamed(t, out, where) if s.streamed else _resident(t, out, where)
    if s.sized:
        skip.add("systems")
    if not s.streamed:
        skip.add("compute_floor_ms")
    sentence += _beside(t, out, feasible)
    if s.streamed:
        stream = first(out["stream_floor"]) >= first(out["compute_floor"])
        slug = "weight_streaming" if stream else "compute_throughput"
        binding = Binding(slug, "compute_throughput" if stream else "weight_streaming")
    else:
        share = float(f"{first(out['binding_share']):.6g}")
        binding = Binding("communication", "compute_throughput", share)
    if not feasible:
        binding = Binding("memory_capacity", binding.slug)
    return Presentation(sentence, feasible, binding, fit_result(WaferResult, out, {}, skip))


def _refusal(streamed: bool, t: Subject, out: Outcome, where: str, fits: int) -> str:
    r = t.request
    wanted = f"{r.batch_size:,} sequence{'s' if r.batch_size > 1 else ''} of {r.seq_len:,} tokens"
    room, sequence = first(out["room"]), first(out["sequence"])
    if streamed:
        if room <= 0:
            return f"Does not fit: two layers of {t.model} in flight exceed the SRAM of {t.wafer} by {figure(-room / 1e9)} GB."
        left = f"a system has {figure(room / 1e9)} GB beside the layers in flight, a sequence takes {figure(sequence / 1e9)}"
        return f"Does not fit: {wanted} of {t.model} in {t.stored} on {where}: {left}, so {fits:,} fit{'s' if fits == 1 else ''}."
    needed = int(first(out["systems_needed"]))
    return (
        f"Does not fit: {t.model} in {t.stored} ({figure(first(out['weights']) / 1e9)} GB) with {wanted} "
        f"({figure(first(out['cache']) / 1e9)} GB) in the SRAM of {where}; it takes {needed:,} systems."
    )


def _streamed(t: Subject, out: Outcome, where: str) -> str:
    batch, stream, arithmetic = t.request.batch_size, first(out["stream_floor"]), first(out["compute_floor"])
    step = seconds(first(out["expected"]))
    binds = "injection bandwidth binds" if stream >= arithmetic else "arithmetic binds"
    text = (
        f"{step} a step (floor {seconds(first(out['floor']))}, up to {seconds(first(out['high']))}) for {batch:,} "
        f"sequence{'s' if batch > 1 else ''} of {t.model} in {t.stored} streamed through {where}: {binds} "
        f"({seconds(stream)} to stream the weights, {seconds(arithmetic)} of arithmetic). "
    )
    fits = f"SRAM holds {first(out['batch_fitting']):,.0f}"
    if "break_even" not in out:
        return f"{text}No batch hides the stream; {fits}."
    return f"{text}Arithmetic would bind from {first(out['break_even']):,.0f} sequences; {fits}."


def _resident(t: Subject, out: Outcome, where: str) -> str:
    drafted = ", a draft model beside it (draft_model=false: without)" if t.request.draft_model else ""
    user, low, high = (1 / first(out[name]) for name in ("expected", "high", "low"))
    return (
        f"{figure(user)} tokens/s a user ({figure(low)} to {figure(high)}, from published vendor rates; floor "
        f"{figure(1 / first(out['floor']))}) for {t.model} in {t.stored} in the SRAM of {where}{drafted}: the "
        f"latency of layers binds. Streamed, a step would take {seconds(first(out['stream_floor']))} at least. "
        f"SRAM holds {first(out['batch_fitting']):,.0f} sequences."
    )


def _money(dollars: float) -> str:
    return f"{figure(dollars / 1e6)}M" if dollars >= 1e6 else figure(dollars)


def _beside(t: Subject, out: Outcome, feasible: bool) -> str:
    if "gpus" not in out:
        return f" No group of up to 4,096 {t.other} holds it."
    group, step = int(first(out["gpus"])), seconds(first(out["gpu_floor"]))
    text = f" The smallest group that holds it, {group} x {t.other}, takes {step} at least"
    if feasible:
        ratio = first(out["faster"])
        text += f", {figure(ratio)}x as long" if ratio >= 1 else f", 1/{figure(1 / ratio)} of the wafer's floor"
    pairs = []
    if "total_power" in out and "gpu_power" in out:
        pairs.append(f"{figure(first(out['gpu_power']) / 1e3)} kW against {figure(first(out['total_power']) / 1e3)}")
    if "total_price" in out and "gpu_total_price" in out:
        mine, theirs = first(out["total_price"]), first(out["gpu_total_price"])
        pairs.append(f"${_money(theirs)} without servers against ${_money(mine)}")
    return text + (f" ({', '.join(pairs)})." if pairs else ".")
