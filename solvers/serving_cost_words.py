"""The typed answer of the serving_cost solver and its words: what does not fit or misses its target first."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from pydantic import Field

from mlwalls.solvers.derivation import Derivation
from mlwalls.solvers.links import group, reach
from mlwalls.solvers.pool import pool_at
from mlwalls.solvers.prices import Listing
from mlwalls.solvers.solver import Binding, Outcome, Presentation, Problem, SolverResult
from mlwalls.solvers.words import count, counted, figure, first, fit_result, seconds
from mlwalls.zoo import Entry

# What only an answer that does not fit speaks of.
UNSAID = frozenset({"short"})
# The share of the time to the first token from which an engine's constant start is told.
STARTED = 0.25


class ServingCostResult(SolverResult):
    """Typed outputs."""

    BRIEF_LEAVES = frozenset({"calls"})

    query_usd: float | None = Field(default=None, description="Idle time included.")
    query_low_usd: float | None = None
    query_high_usd: float | None = None
    input_price_usd_per_million_tokens: float | None = None
    output_price_usd_per_million_tokens: float | None = None
    year_usd: float | None = Field(default=None, description="At the load.")
    listed_usd: float | None = Field(default=None, description="At an API's price.")
    price: float | None = Field(default=None, description="USD an accelerator-hour.")
    concurrency: float | None = Field(default=None, description="Limit of a replica.")
    decoding: float | None = Field(default=None, description="The rest waits for cache.")
    tpot_ms: float | None = Field(default=None, description="At the limit.")
    tpot_low_ms: float | None = None
    tpot_high_ms: float | None = None
    ttft_ms: float | None = None
    ttft_low_ms: float | None = None
    ttft_high_ms: float | None = None
    prefill_ms: float | None = None
    rate_per_s: float | None = Field(default=None, description="Queries of a full replica.")
    loaded_percent: float | None = Field(default=None, description="Of the replicas.")
    replicas: int | None = None
    prefill_replicas: int | None = None
    accelerators: int | None = None
    operating: float | None = Field(default=None, description="In flight a replica at the load.")
    operating_tpot_ms: float | None = None
    operating_ttft_ms: float | None = None
    wait_ms: float | None = Field(default=None, description="For the prefill station.")
    speculation: float | None = Field(default=None, description="Tokens a second over the batch without.")
    steps_ratio: float | None = Field(default=None, description="Over one reasoning step.")
    short_gb: float | None = Field(default=None, description="Of an accelerator's memory.")
    calls: list[str] | None = None


@dataclass(frozen=True, slots=True)
class Context:
    """What the wording needs besides numbers."""

    ranks: int
    model: Entry
    hardware: Entry
    listing: Listing | None
    api: Entry | None
    weight_format: str
    calls: tuple[str, ...]


def present(problem: Problem, out: Outcome, d: Derivation) -> Presentation:
    """Word the answer: memory or a missed target first, else the price of a query and what it follows from."""
    c: Context = problem.context
    if (short := first(out["short"])) > 0:
        return _does_not_fit(problem, c, out, short)
    if missed := _missed(problem, out):
        skip = {name for name in ServingCostResult.model_fields if not name.startswith(("tpot", "ttft", "prefill_ms"))}
        sentence = f"Infeasible: {missed}, for {c.model.name} on {_chips(c)}.{_faster(problem)}"
        result = fit_result(ServingCostResult, out, _calls(c), skip)
        return Presentation(sentence, False, Binding("serving_phases", "Batching"), result)
    sentence = (
        f"{_queries(out)}: "
        f"{_million(out, 'input_price')} USD a million tokens in, {_million(out, 'output_price')} out, for {c.model.name} on "
        f"{_chips(c)} at {figure(first(out['price']))} USD an accelerator-hour{_dated(problem, c)}; "
        f"{counted(first(out['decoding']), 'sequence')} a replica at {seconds(first(out['tpot']))} a token, first token after "
        f"{seconds(first(out['ttft']))} ({seconds(first(out['ttft_low']))} to {seconds(first(out['ttft_high']))})"
        f"{_started(problem, out)}."
        f"{_spread(problem, out)}{_speculation(out)}{_queued(problem, out)}{_load(problem, out)}{_besides(c, out)}"
    )
    decoding = first(out["output_cost"]) > 0.5 * first(out["query"])
    binding = Binding("economic_cost", "Batching" if decoding else "Serving (two phases)")
    warnings = [] if c.calls else ["slots by nominal memory: kv_capacity has an engine's"]
    if queued := _queued(problem, out):
        warnings.append(queued.strip().rstrip("."))
    return Presentation(
        sentence, True, binding, fit_result(ServingCostResult, out, _calls(c), {"short_gb"}), warnings, UNSAID
    )


def _calls(c: Context) -> dict[str, Any]:
    return {"calls": list(c.calls)} if c.calls else {}


def _started(problem: Problem, out: Outcome) -> str:
    """Say what of the time to the first token is the engine's own, where that is much of it."""
    start = first(problem.numbers.t_start)
    if start < STARTED * first(out["ttft"]):
        return ""
    return f", {seconds(start)} of it an engine's constant start of a request, which roofline's prefill leaves out"


def _spread(problem: Problem, out: Outcome) -> str:
    """Say what changes beyond one link domain, and whether the exchange between them hides."""
    if not problem.structure.serving.shape.data_parallel:
        return ""
    c: Context = problem.context
    said = (
        f" Beyond one link domain ({reach(c.hardware)}) attention is data parallel: a sequence's cache is held once, not by "
        "every accelerator"
    )
    if "exchanged" not in out:
        return said + "."
    share, halves = first(out["exchanged"]), first(out["decoding"]) >= 2 * c.ranks
    lasts = f"experts' exchange between domains lasts {figure(100 * share)} % of a step"
    hides = "binds" if share >= 1 else "hides behind the other half of the batch" if halves else "hides behind nothing"
    return f"{said}; {lasts} and {hides}."


def _speculation(out: Outcome) -> str:
    """Say what drafting gains over the same batch without."""
    if "speculation" not in out:
        return ""
    gain = first(out["speculation"])
    if gain < 1.0:
        return f" Speculation does not pay at this batch: {figure(gain)} times the tokens a second."
    return f" Speculation: {figure(gain)} times the tokens a second of this batch."


def _queued(problem: Problem, out: Outcome) -> str:
    """Say that a concurrency given does not fit, and what becomes of it."""
    if problem.structure.searched or (runs := first(out["decoding"])) >= (asked := problem.numbers.concurrency.value):
        return ""
    return f" {asked:,.0f} in flight do not fit: {runs:,.0f} run, the rest queues for cache."


def _queries(out: Outcome) -> str:
    """Price of a query, or of a thousand where one is below a cent, with its range."""
    query = first(out["query"])
    factor, what = (1, "a query") if query >= 0.01 else (1000, "a thousand queries")
    low, middle, high = (figure(first(out[name]) * factor) for name in ("query_low", "query", "query_high"))
    return f"{middle} USD {what} ({low} to {high})"


def _usd(out: Outcome, name: str) -> str:
    return count(first(out[name]))


def _million(out: Outcome, name: str) -> str:
    return figure(first(out[name]) * 1e6)


def _chips(c: Context) -> str:
    return c.hardware.name if c.ranks == 1 else f"{c.ranks} x {c.hardware.name}"


def _dated(problem: Problem, c: Context) -> str:
    if c.listing is not None:
        spread = (
            f"; median of {c.listing.known}, {figure(c.listing.low)} to {figure(c.listing.high)}"
            if c.listing.high > c.listing.low
            else ""
        )
        return f" ({c.listing.label}{spread})"
    return " (owned)" if problem.structure.owned else ""


def _load(problem: Problem, out: Outcome) -> str:
    if "year" not in out:
        return ""
    pool = f" and {first(out['prefill_replicas']):,.0f} for prompts" if "prefill_replicas" in out else ""
    at = f", {figure(100 * first(problem.numbers.headroom))} % busy at most"
    if "operating" in out:
        at += f", {figure(first(out['operating']))} in flight each at {seconds(first(out['operating_tpot']))} a token"
    return (
        f" {figure(problem.numbers.load.value)} queries/s take {counted(first(out['replicas']), 'replica')}{pool} "
        f"({first(out['accelerators']):,.0f} accelerators){at}: {_usd(out, 'year')} USD a year."
    )


def _besides(c: Context, out: Outcome) -> str:
    said = ""
    if "steps_ratio" in out:
        said += f" {figure(first(out['steps_ratio']))} times the cost of one reasoning step."
    if c.api is not None:
        date = f" ({c.api.text('date')})" if c.api.text("date") else ""
        ratio = first(out["listed"]) / first(out["query"])
        seller = c.api.name.removeprefix("genai-prices: ").partition("/")[0]
        said += f" {seller}{date} lists {figure(ratio)} times that."
    return said


def _missed(problem: Problem, out: Outcome) -> str:
    """Say which target even one request at a time misses, and by how much."""
    n, s = problem.numbers, problem.structure
    if not s.searched:
        return ""
    for name, asked, words in (
        ("tpot", s.token_target, "a token"),
        ("ttft", s.first_target, "to the first token"),
    ):
        time = first(out[name])
        if asked and time > (target := float(n[f"{name}_target"].value)):
            return (
                f"one request at a time takes {seconds(time)} {words}, {figure(time / target)} times the target of "
                f"{seconds(target)}"
            )
    return ""


def _again(problem: Problem, ranks: int) -> dict[str, Any]:
    """Run the same computation on another number of accelerators, silently; bare numbers."""
    s = problem.structure
    shape = replace(s.serving.shape, sharded=ranks > 1)
    law = replace(s.serving.law, all_reduces=s.serving.law.all_reduces or 2 * int(ranks > 1))
    from mlwalls.solvers.serving_cost_compute import compute

    silent = replace(s, serving=replace(s.serving, shape=shape, law=law))
    changed = {"tp": float(ranks)}
    if s.serving.sized == "pool":
        c: Context = problem.context
        changed["pool"] = float(pool_at(c.model, c.hardware, ranks, c.weight_format)[0].value)
    numbers = problem.numbers.replaced(changed)
    return {k: v.value for k, v in compute(silent, numbers, Derivation(record=False)).items()}


def _more(problem: Problem, largest: int) -> list[int]:
    c: Context = problem.context
    if not problem.structure.serving.device.link or "heads" not in problem.numbers:
        return []
    heads = int(problem.numbers.heads.value)
    return [k for k in (2, 4, 8, 16, 32, 64) if c.ranks < k <= largest and heads % k == 0]


def _faster(problem: Problem) -> str:
    s, n = problem.structure, problem.numbers
    for ranks in _more(problem, reach(problem.context.hardware)):
        out = _again(problem, ranks)
        met = all(
            out[name] <= n[f"{name}_target"].value
            for name, asked in (("tpot", s.token_target), ("ttft", s.first_target))
            if asked
        )
        if met and out["short"] <= 0:
            return f" n_accelerators={ranks} would keep it."
    return " More accelerators of this kind would not keep it; a smaller or quantized model or a faster chip might."


def _does_not_fit(problem: Problem, c: Context, out: Outcome, short: float) -> Presentation:
    fits = next((k for k in _more(problem, 64) if _again(problem, k)["short"] <= 0), None)
    remedy = f" {group(fits, c.hardware)} would hold it." if fits is not None else ""
    sentence = (
        f"Infeasible: {c.model.name} does not fit on {_chips(c)}, short by {figure(short / 1e9)} GB an accelerator for one "
        f"sequence beside the weights.{remedy}"
    )
    skip = set(ServingCostResult.model_fields) - {"short_gb"}
    result = fit_result(ServingCostResult, out, _calls(c), skip)
    return Presentation(sentence, False, Binding("memory_capacity", "Economic cost"), result)
