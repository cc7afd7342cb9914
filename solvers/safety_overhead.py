"""What does safety cost: a guard model on prompts and answers, or training with differential privacy?

A guard model [Inan 2023] reads its policy and the text and generates a few tokens of verdict. Before the model answers it delays
the first token, after it the last; its accelerator time beside the model's is the throughput lost, or the accelerators to add.
Both are served by the one serving model (:mod:`mlwalls.solvers.serving`).

DP-SGD [Abadi 2016] clips every sample's gradient: published slowdowns by method, as ranges (Rodriguez Beltran 2026: 2.6 to 8
for a gradient of every sample, about half with ghost clipping; Bu 2023: 1.03 to 1.2 by book-keeping).

Assumed: a policy of 220 tokens (150 to 500), a verdict of 5 (2 to 10), guards batched by 8 (1 to 64), the model by 16 (1 to 256).

Not modelled: streaming checks of parts of an answer, false refusals, the larger batches and the accuracy lost that privacy needs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pydantic import Field

from mlwalls.solvers.derivation import Derivation, Value
from mlwalls.solvers.equations import common
from mlwalls.solvers.equations import safety as eq
from mlwalls.solvers.errors import CallError
from mlwalls.solvers.links import group
from mlwalls.solvers.lookup import find
from mlwalls.solvers.numbers import Numbers
from mlwalls.solvers.pool import pool_short, quote_pool
from mlwalls.solvers.prices import Listing, listing
from mlwalls.solvers.serving import (
    Costs,
    Serving,
    cache_slots,
    costs_of_prompts,
    default_kv_format,
    pass_costs,
    prefill_of,
    resolve_serving,
    step_of,
)
from mlwalls.solvers.solver import Binding, Outcome, Presentation, Problem, Solver, SolverRequest, SolverResult
from mlwalls.solvers.words import figure, first, fit_result, seconds
from mlwalls.zoo import Entry, Zoo

Method = Literal["per_sample", "ghost", "book_keeping"]
METHODS = {
    "per_sample": "with a gradient of every sample",
    "ghost": "with ghost clipping",
    "book_keeping": "by book-keeping",
}
STUDY: dict[str, str] = {
    "per_sample": "dp-sgd-per-sample",
    "ghost": "dp-sgd-ghost",
    "book_keeping": "dp-sgd-book-keeping",
}
# Llama Guard 3 8B is a fine-tuned Llama-3.1-8B.
DEFAULT_GUARD = "llama-3.1-8b"


class SafetyRequest(SolverRequest):
    """Arguments of the safety_overhead tool."""

    model: str = Field(default="", description="Zoo model.")
    hardware: str = Field(default="", description="Zoo accelerator.")
    n_accelerators: int = Field(default=1, ge=1, le=100_000, description="Of a replica.")
    guard: str = Field(default=DEFAULT_GUARD, description="On one accelerator.")
    checks: Literal["input", "output", "both"] = Field(default="input", description="What it reads.")
    prompt_tokens: int = Field(default=1024, ge=1, le=1_000_000, description="Mean.")
    output_tokens: int = Field(default=256, ge=1, le=1_000_000, description="Mean.")
    dp_method: Method | None = Field(default=None, description="Or DP-SGD.")
    train_hours: float | None = Field(default=None, gt=0, le=1e12, description="Without privacy.")


class SafetyResult(SolverResult):
    """Typed outputs: of a guard, or of private training."""

    BRIEF_LEAVES = frozenset({"calls"})

    guard_input_ms: float | None = Field(default=None, description="Added before the first token.")
    guard_output_ms: float | None = Field(default=None, description="Added after the last.")
    plain_ms: float | None = Field(default=None, description="Whole answer without checks.")
    guarded_ms: float | None = Field(default=None, description="With them.")
    added_percent: float | None = Field(default=None, description="Accelerator time added.")
    throughput_percent: float | None = Field(default=None, description="Requests left on the same accelerators.")
    checks_usd: float | None = Field(default=None, description="A million requests' checks.")
    slowdown: float | None = None
    slowdown_low: float | None = None
    slowdown_high: float | None = None
    private_h: float | None = Field(default=None, description="Accelerator-hours under DP-SGD.")
    private_low_h: float | None = None
    private_high_h: float | None = None
    private_cost_usd: float | None = None
    gradients_gb: float | None = Field(default=None, description="Gradients of each of 32 samples.")
    calls: list[str] | None = None


@dataclass(frozen=True, slots=True)
class Structure:
    """Which equations apply: a guard's (`model` and `guard` served) or private training's."""

    model: Serving | None
    guard: Serving | None
    before: bool
    after: bool
    priced: bool
    timed: bool
    gradients: bool


@dataclass(frozen=True, slots=True)
class Context:
    """What the wording needs besides numbers."""

    request: SafetyRequest
    model: str
    guard: str
    hardware: str
    listing: Listing | None
    calls: tuple[str, ...] = ()
    entries: tuple[Entry, Entry] | None = None


def resolve(request: SafetyRequest, zoo: Zoo) -> Problem:
    """Take every branch of the request.

    Raises:
        CallError: neither a model on hardware nor a method of private training, or a name that names nothing.
    """
    n = Numbers()
    warnings: list[str] = []
    scenario = request.model_dump(by_alias=True, exclude_none=True, exclude_defaults=True)
    scenario.pop("detail", None)
    hardware = find(zoo, "hardware", "hardware", request.hardware, warnings) if request.hardware else None
    model = find(zoo, "models", "model", request.model, warnings) if request.model else None
    found = listing(zoo, hardware) if hardware is not None else None
    if found is not None:
        n.zoo("price", found.taken, "usd_per_hour", "USD/h")
    elif hardware is not None:
        warnings.append(f"no price of {hardware.name} in the zoo: no dollars")
    if request.dp_method is not None:
        study = zoo.get("studies", STUDY[request.dp_method])
        n.zoo("slowdown_low", study, "slowdown_low", "")
        n.zoo("slowdown_high", study, "slowdown_high", "")
        timed = request.train_hours is not None
        if request.train_hours is not None:
            n.you("plain_time", request.train_hours * 3600, "s")
        held = model is not None and request.dp_method == "per_sample"
        if model is not None and held:
            n.zoo("parameters", model, "parameters", "")
            n.assumed("samples", 32, 1, 4096)
            n.defined("gradient", 4, "byte")
        structure = Structure(None, None, False, False, found is not None and timed, timed, held)
        return Problem(structure, n, warnings, scenario, Context(request, request.model, "", "", found))
    if model is None or hardware is None:
        missing = "model" if model is None else "hardware"
        raise CallError(
            missing,
            "give the model to protect and its hardware, or dp_method for private training.",
            repair={"model": request.model or "llama-3.1-70b", "hardware": request.hardware or "h100"}
            | ({} if request.model else {"n_accelerators": 4}),
        )
    guard = find(zoo, "models", "guard", request.guard, warnings)
    if not (guard.has("config.layers") and guard.has("config.d_model")):
        raise CallError(
            "guard",
            f"{guard.name} has no layer configuration in the zoo; name a language model with one.",
            repair={"guard": DEFAULT_GUARD},
        )
    scenario |= {"model": model.id, "hardware": hardware.id}
    n.you("prompt", request.prompt_tokens, "token")
    n.you("output", request.output_tokens, "token")
    n.assumed("concurrency", 16, 1, 256)
    served = resolve_serving(n, model, hardware, request.n_accelerators, warnings, sized="pool")
    calls = [quote_pool(n, model, hardware, request.n_accelerators, "native", request.set_)]
    inner = n.scope("g_")
    inner.assumed("policy", 220, 150, 500, "token", source="inan2023")
    inner.assumed("output", 5, 2, 10, "token", source="inan2023")
    inner.assumed("concurrency", 8, 1, 64)
    again: list[str] = []
    guarding = resolve_serving(inner, guard, hardware, 1, again, sized="pool")
    calls.append(quote_pool(inner, guard, hardware, 1, "native"))
    warnings += [w for w in again if w not in warnings]
    inner.share()
    before, after = request.checks in ("input", "both"), request.checks in ("output", "both")
    structure = Structure(served, guarding, before, after, found is not None, False, False)
    return Problem(
        structure,
        n,
        warnings,
        scenario,
        Context(request, model.name, guard.name, hardware.name, found, tuple(calls), (model, hardware)),
    )


def compute(s: Structure, n: Numbers, d: Derivation) -> dict[str, Value]:
    """Step out the checks' time and cost, or private training's; keys are the results' symbols."""
    if s.model is None or s.guard is None:
        return _private(s, n, d)
    costs = pass_costs(s.model, n, d)
    _, batch = cache_slots(n, d, costs)
    step, _ = step_of(s.model, n, d, costs, batch)
    prefill = prefill_of(s.model, n, d, costs)
    plain = d.step("plain", eq.guard_time(prefill, n.output, step))
    busy = d.step("busy", eq.busy_each(n.tp, prefill, n.output, step, batch))
    out = {"room": costs.room, "each": costs.each, "plain": plain}
    checks, total = [], plain
    for name, (time, spent, held) in (timed := _checks(s, s.guard, n, d)).items():
        out |= {f"guard_{name}": time, "guard_room": held.room, "guard_each": held.each}
        checks.append(spent)
        total = d.step("guarded" if name == list(timed)[-1] else "delayed", common.sum_of_two(total, time))
    out["guarded"] = total
    spent = checks[0] if len(checks) == 1 else d.step("checks_busy", common.sum_of_two(*checks))
    share = out["added"] = d.step("added", eq.added_time(spent, busy))
    out["throughput"] = d.step("throughput", eq.throughput_left(share))
    out["binding_share"] = d.step("binding_share", eq.share_of_total(share))
    if s.priced:
        each = d.step("checks_each", eq.price_of(n.price, spent))
        out["checks"] = d.step("checks", eq.million_of(each))
    return out


def _checks(s: Structure, guard: Serving, n: Numbers, d: Derivation) -> dict[str, tuple[Value, Value, Costs]]:
    """Step out the checks: time, accelerator-seconds in a batch of guards, and costs; both texts from one table."""
    scope, texts = n.scope("g_"), {}
    if s.before:
        texts["in_"] = d.scope("in_").step("read", eq.read_by_guard(scope.policy, n.prompt))
    if s.after:
        texts["out_"] = d.scope("out_").step("read", eq.read_after(scope.policy, n.prompt, n.output))
    checks = {}
    shared, alone = d.scope("c_"), len(texts) == 1
    lengths = {"" if alone else stem: read for stem, read in texts.items()}
    each = costs_of_prompts(guard, scope, shared, lengths)
    for text, stem, costs in zip(texts, lengths, each, strict=True):
        name, inner = ("input" if text == "in_" else "output"), shared.scope(stem)
        step, _ = step_of(guard, scope, inner, costs, scope.concurrency)
        prefill = prefill_of(guard, scope, inner, costs)
        time = d.step(f"guard_{name}", eq.guard_time(prefill, scope.output, step))
        busy = eq.busy_each(scope.tp, prefill, scope.output, step, scope.concurrency)
        checks[name] = (time, inner.step("busy", busy), costs)
    return checks


def _private(s: Structure, n: Numbers, d: Derivation) -> dict[str, Value]:
    middle = d.step("slowdown", eq.middle_of(n.slowdown_low, n.slowdown_high))
    out = {"slowdown": middle, "slowdown_low": n.slowdown_low, "slowdown_high": n.slowdown_high}
    if s.timed:
        for name in ("", "_low", "_high"):
            out[f"private{name}"] = d.step(f"private{name}", eq.slowed(n.plain_time, out[f"slowdown{name}"]))
    if s.priced:
        out["private_cost"] = d.step("private_cost", eq.price_of(n.price, out["private"]))
    if s.gradients:
        out["gradients"] = d.step("gradients", eq.sample_gradients(n.samples, n.parameters, n.gradient))
    return out


def present(problem: Problem, out: Outcome, d: Derivation) -> Presentation:
    """Word the answer: delay, throughput and money of the checks, or the range of a slowdown."""
    c: Context = problem.context
    if problem.structure.model is None:
        return _present_private(c, out)
    r = c.request
    for prefix, name, ranks in (("", c.model, r.n_accelerators), ("guard_", c.guard, 1)):
        short = first(out[f"{prefix}each"]) - first(out[f"{prefix}room"])
        if short > 0:
            remedy = " Name a smaller guard." if prefix else _remedy(problem, c)
            sentence = f"{name} does not fit on {ranks} x {c.hardware}: short by {figure(short / 1e9)} GB an accelerator.{remedy}"
            return Presentation(
                sentence, False, Binding("memory_capacity", "Safety"), SafetyResult(calls=list(c.calls))
            )
    delays = [
        f"{seconds(first(out[key]))} {words}"
        for key, words in (("guard_input", "before the first token"), ("guard_output", "after the last"))
        if key in out
    ]
    money = ""
    if "checks" in out and c.listing is not None:
        money = f", {figure(first(out['checks']))} USD a million requests at {c.listing.label}"
    sentence = (
        f"{c.guard} as a guard adds {' and '.join(delays)} to an answer of {seconds(first(out['plain']))}, and "
        f"{figure(100 * first(out['added']))} % of accelerator time ({figure(100 * first(out['throughput']))} % of the "
        f"requests are left on the same accelerators){money}."
    )
    result = fit_result(SafetyResult, out, {"calls": list(c.calls)}, set())
    return Presentation(sentence, True, Binding("safety", "", first(out["binding_share"])), result)


def _remedy(problem: Problem, c: Context) -> str:
    """Name the fewest accelerators that hold the model, doubling, by the same pool."""
    n, served = problem.numbers, problem.structure.model
    if c.entries is None or served is None or not served.device.link or "heads" not in n:
        return ""
    length = float(n.prompt.value + n.held_output.value * n.output.value)
    stored = (served.shape.layer_format, served.shape.expert_format)
    formats = ("native", default_kv_format(stored, c.entries[1], ""))
    for ranks in (2, 4, 8, 16, 32, 64):
        if ranks <= c.request.n_accelerators or int(n.heads.value) % ranks:
            continue
        if pool_short(*c.entries, ranks, formats, length, 1, c.request.set_) <= 0:
            return f" {group(ranks, c.entries[1])} holds it."
    return " No group of up to 64 holds it: name a smaller model."


def _present_private(c: Context, out: Outcome) -> Presentation:
    low, middle, high = (first(out[f"slowdown{name}"]) for name in ("_low", "", "_high"))
    sentence = (
        f"DP-SGD {METHODS[c.request.dp_method or 'ghost']} takes {figure(middle)} times as long ({figure(low)} to "
        f"{figure(high)}, published)"
    )
    if "private" in out:
        hours = [figure(first(out[f"private{name}"]) / 3600) for name in ("", "_low", "_high")]
        sentence += f": {hours[0]} accelerator-hours ({hours[1]} to {hours[2]})"
    if "private_cost" in out and c.listing is not None:
        sentence += f", {figure(first(out['private_cost']))} USD at {c.listing.label}"
    if "gradients" in out:
        sentence += f"; the gradients of each of 32 samples take {figure(first(out['gradients']) / 1e9)} GB"
    return Presentation(sentence + ".", True, Binding("safety"), fit_result(SafetyResult, out, {}, set()))


SOLVER = Solver(
    name="safety_overhead",
    question="What does a guard model, or private training, cost in time and money?",
    guidance="A guard's delay, throughput and dollars; DP-SGD's slowdown. The model itself: serving_cost.",
    walls=("safety",),
    request=SafetyRequest,
    result=SafetyResult,
    resolve=resolve,
    compute=compute,
    present=present,
    example={"model": "llama-3.1-70b", "hardware": "h100", "n_accelerators": 4},
)
