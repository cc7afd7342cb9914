"""The fleet_efficiency tool's typed result and its wording."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from pydantic import Field

from mlwalls.solvers.derivation import Derivation
from mlwalls.solvers.fleet_plans import Found, Model
from mlwalls.solvers.prices import Listing
from mlwalls.solvers.solver import Binding, Outcome, Presentation, Problem, SolverResult
from mlwalls.solvers.words import count, figure, first, fit_result, plural, seconds

LOSSES = {
    "kernels": ("kernels below peak", "compute_throughput"),
    "recompute": ("recomputation", "memory_capacity"),
    "communication": ("model-parallel traffic", "communication"),
    "pipeline": ("the pipeline bubble", "synchronization"),
    "exposed": ("data-parallel traffic", "communication"),
    "stragglers": ("stragglers", "synchronization"),
    "failures": ("checkpoints and failures", "reliability"),
}
MEMORY = {
    "weights": "weights",
    "gradients": "gradients",
    "adam": "optimizer states",
    "activations": "activations",
    "logits": "logits",
}
# A job that is useful less than this share of its time gets nowhere.
LEAST_GOODPUT = 0.01
# Failures are worth a word where they come more often than this, in seconds.
OFTEN = 7 * 86400
ARGUMENTS = {"tp": "tensor_parallel", "pp": "pipeline_parallel", "microbatch": "microbatch"}
RECOMPUTE = {
    "none": "no recomputation",
    "selective": "selective recomputation",
    "half": "every other product recomputed",
    "full": "full recomputation",
}


@dataclass(frozen=True, slots=True)
class Subject:
    """What the wording needs besides numbers.

    Attributes:
        wrong: what makes the caller's plan impossible; `found` is then the nearest plan that is not.
        nearest: the nearest plan that fits, where the caller's does not.
        grown: how many accelerators hold the model, where these do not.
        why: the loss that the second best plan has more of.
        prices: listings of the accelerator, of a run.
    """

    model: str
    hardware: str
    request: Any
    found: Found
    limits: Model
    wrong: tuple[str, ...]
    nearest: Found | None
    grown: int | None
    why: str
    prices: Listing | None

    @property
    def searched(self) -> bool:
        """Whether the plan is the best of several."""
        return self.found.tried > 1 and not self.wrong


class FleetResult(SolverResult):
    """Typed outputs; seconds are of one step, memory of one accelerator; losses that the plan does not have are left out."""

    FULL_ALONE: ClassVar = frozenset(
        {
            "weights_gb",
            "gradients_gb",
            "adam_gb",
            "activations_gb",
            "logits_gb",
            "young_interval_s",
            "dp",
            "steps",
            "fits",
        }
    )
    BRIEF_LEAVES: ClassVar = frozenset(
        {
            "plan",
            "delivered_s",
            "useful_s",
            "kernels_s",
            "recompute_s",
            "communication_s",
            "pipeline_s",
            "exposed_s",
            "stragglers_s",
            "failures_s",
            "mtbf_h",
            "checkpoint_interval_s",
            "runner_up",
        }
    )

    plan: str | None = Field(default=None, description="Parallel sizes, recomputation and sharding.")
    fits: bool | None = None
    step_s: float = Field(description="Expected step.")
    step_low_s: float
    step_high_s: float
    throughput_tokens_per_s: float = Field(description="Of the whole job, without failures.")
    mfu_percent: float = Field(description="Model FLOPs utilization, full-square attention, 16-bit peak.")
    hfu_percent: float | None = Field(default=None, description="With recomputed FLOPs.")
    goodput_percent: float = Field(description="Useful share of the time.")
    delivered_s: float | None = Field(
        default=None, description="Step with checkpoints and failures; the sum of the following."
    )
    useful_s: float | None = None
    kernels_s: float | None = None
    recompute_s: float | None = None
    communication_s: float | None = None
    pipeline_s: float | None = None
    exposed_s: float | None = Field(default=None, description="Data-parallel traffic that does not hide.")
    stragglers_s: float | None = None
    failures_s: float | None = None
    dp: float | None = Field(default=None, description="Data-parallel replicas.")
    steps: float | None = Field(default=None, description="Micro-batches a step.")
    needed_gb: float
    headroom_gb: float = Field(description="Memory left; negative: short.")
    weights_gb: float | None = None
    gradients_gb: float | None = None
    adam_gb: float | None = None
    activations_gb: float | None = None
    logits_gb: float | None = None
    node_mtbf_h: float | None = None
    mtbf_h: float | None = Field(default=None, description="Of the job.")
    save_s: float | None = Field(default=None, description="Training stops for a checkpoint.")
    checkpoint_interval_s: float | None = Field(default=None, description="By Daly.")
    young_interval_s: float | None = None
    run_days: float | None = Field(default=None, description="For total_tokens, its steps alone.")
    run_low_days: float | None = None
    run_high_days: float | None = Field(default=None, description="As the longest of published campaigns.")
    campaign_run_days: float | None = Field(default=None, description="As published campaigns mostly.")
    campaign_time_h: float | None = Field(default=None, description="Accelerator-hours likewise.")
    campaign_cost_usd: float | None = None
    accelerator_time_h: float | None = None
    accelerator_time_low_h: float | None = None
    accelerator_time_high_h: float | None = None
    cost_usd: float | None = Field(default=None, description="On demand.")
    cost_low_usd: float | None = None
    cost_high_usd: float | None = None
    accelerators_list: list[float] | None = Field(default=None, description="With curve.")
    step_s_list: list[float] | None = None
    mfu_percent_list: list[float] | None = None
    goodput_percent_list: list[float] | None = None
    throughput_tokens_per_s_list: list[float] | None = None
    runner_up: str | None = Field(default=None, description="Second best plan.")


def plan_text(sizes: Mapping[str, int], recompute: str = "", zero: int | None = None) -> str:
    """Print a plan, or its sizes only."""
    parts = [f"TP {sizes['tp']}", f"PP {sizes['pp']}"]
    parts += [f"{k.upper()} {sizes[k]}" for k in ("cp", "ep") if sizes[k] > 1]
    parts.append(f"micro-batch {sizes['microbatch']}")
    if sizes["interleave"] > 1:
        parts.append(f"interleave {sizes['interleave']}")
    if zero is not None:
        parts += [f"ZeRO {zero}", RECOMPUTE[recompute]]
    return ", ".join(parts)


def _text(found: Found) -> str:
    return plan_text(found.sizes, found.structure.recompute, found.structure.zero)


def _other(found: Found) -> str:
    """Print in what the second best plan differs."""
    names = {"microbatch": "micro-batch", "interleave": "interleave"}
    differ = [f"{names.get(k, k.upper())} {size}" for k, size in found.second.items() if found.sizes[k] != size]
    return ", ".join(differ) or plan_text(found.second)


def present(problem: Problem, out: Outcome, d: Derivation) -> Presentation:
    """Word the answer: impossible or not fitting first, then the step, where it goes, and the run."""
    subject: Subject = problem.context
    r, found = subject.request, subject.found
    fits = first(out["headroom"]) >= 0
    trains = first(out["goodput"]) >= LEAST_GOODPUT
    losses = [k for k in LOSSES if k in out]
    ranked = sorted(losses, key=lambda k: first(out[k]), reverse=True)
    delivered = first(out["delivered"])
    binding = Binding(LOSSES[ranked[0]][1], LOSSES[ranked[1]][1], first(out["binding_share"]))
    where = f"{r.n_accelerators:,} x {subject.hardware}"
    lost = ", ".join(
        f"{LOSSES[k][0]} {figure(100 * first(out[k]) / delivered, 2)} %" for k in ranked[:3] if first(out[k]) > 0
    )
    tuned = ", well-tuned" if subject.searched else ""
    sentence = (
        f"{subject.model} on {where} ({_text(found)}): {seconds(first(out['step']))} a step{tuned} "
        f"({seconds(first(out['step_low']))} to {seconds(first(out['step_high']))}), "
        f"{count(first(out['throughput']))} tokens/s, MFU {figure(100 * first(out['mfu']))} %, goodput "
        f"{figure(100 * first(out['goodput']))} %{_failing(subject, out)}. Time lost to {lost}. "
        f"{figure(first(out['needed']) / 1e9)} GB each."
    )
    if "run" in out:
        sentence += _run(problem, out)
    if not fits:
        sentence = _short(subject, out) + sentence
        binding = Binding("memory_capacity", binding.slug)
    if not trains:
        binding = Binding("reliability", binding.slug)
        every = seconds(first(out["mtbf"]))
        sentence = f"Hardly trains: a failure every {every}, restarts and checkpoints in between. {sentence}"
    if subject.wrong:
        sentence = f"Impossible: {'; '.join(subject.wrong)}. The nearest plan that works: {sentence}"
    extra: dict[str, Any] = {"plan": _text(found), "fits": fits}
    counts = problem.numbers.accelerators
    if not isinstance(counts.value, float):
        extra["accelerators_list"] = plural(counts, 1)
        for name, factor in (
            ("step_s", 1),
            ("mfu_percent", 0.01),
            ("goodput_percent", 0.01),
            ("throughput_tokens_per_s", 1),
        ):
            extra[f"{name}_list"] = plural(out[name.partition("_")[0]], factor)
        pairs = zip(extra["accelerators_list"], extra["mfu_percent_list"], extra["goodput_percent_list"], strict=True)
        said = ", ".join(f"{n:,.0f}: {figure(mfu)} and {figure(good)} %" for n, mfu, good in pairs)
        sentence += f" MFU and goodput by accelerators: {said}."
    elif found.second and not subject.wrong:
        extra["runner_up"] = f"{_other(found)}: {figure(found.second_step)} s, loses more to {LOSSES[subject.why][0]}"
    possible = fits and trains and not subject.wrong
    return Presentation(sentence, possible, binding, fit_result(FleetResult, out, extra, set()))


def _failing(subject: Subject, out: Outcome) -> str:
    """How often the job fails and saves, where that is often or was asked."""
    every = first(out["mtbf"])
    if every > OFTEN and not subject.request.failures:
        return ""
    return f" (failure every {seconds(every)}, checkpoint every {_interval(first(out['checkpoint_interval']))})"


def _interval(time: float) -> str:
    return f"{figure(time / 60)} min" if 60 <= time < 7200 else seconds(time)


def _run(problem: Problem, out: Outcome) -> str:
    """Time, accelerator-hours and price of a run by its steps, as campaigns go, and at both ends of its range."""
    subject: Subject = problem.context

    def spent(time: str, cost: str, unit: str = "") -> str:
        said = f"{count(first(out[time]) / 3600)}{unit}"
        return said + (f", {count(first(out[cost]))} USD" if cost in out else "")

    hours = spent("accelerator_time", "cost", " accelerator-hours")
    low, high = (spent(f"accelerator_time{end}", f"cost{end}") for end in ("_low", "_high"))
    said = (
        f" {count(subject.request.total_tokens)} tokens take {seconds(first(out['run']))}"
        f"{' well-tuned' if subject.searched else ''} ({hours}), {seconds(first(out['campaign_run']))} as published "
        f"campaigns go ({spent('campaign_time', 'campaign_cost')}); range {seconds(first(out['run_low']))} ({low}) to "
        f"{seconds(first(out['run_high']))} ({high})"
    )
    if "cost" in out:
        price = problem.numbers.price
        said += f", at {figure(first(price))} an hour"
        if subject.prices and price.origin.kind == "zoo":
            least, most = subject.prices.low, subject.prices.high
            listed = f"; listed {figure(least)} to {figure(most)}" if most > least else ""
            said += f" on demand ({subject.prices.label}{listed})"
    return f"{said}."


def _short(subject: Subject, out: Outcome) -> str:
    short = figure(-first(out["headroom"]) / 1e9)
    largest = max((k for k in MEMORY if k in out), key=lambda k: first(out[k]))
    if subject.nearest:
        remedy = f"The nearest plan that fits: {_text(subject.nearest)}."
    elif subject.grown:
        remedy = f"It fits on {subject.grown:,} accelerators."
    else:
        remedy = "A 128-fold fleet does not hold it either."
    return (
        f"Does not fit, by {short} GB an accelerator; {MEMORY[largest]} take {figure(first(out[largest]) / 1e9)} GB of "
        f"{figure(first(out['needed']) / 1e9)}. {remedy} If it did: "
    )
