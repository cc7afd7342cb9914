"""What does it cost to serve this model: a query, a year, a million tokens in and out, at a batch that keeps its latency?

A query occupies a replica for the time that its prompt adds to the steps which carry it, and for its share of the steps that
generate its answer; times the price of the replica's accelerators that is its cost, and the two parts are the prices of tokens in
and out. Idle time is charged pro rata: replicas are loaded to a headroom at most. Times are those of the one serving model
(:mod:`mlwalls.solvers.serving`).

The batch is the concurrency given, or the largest that keeps the targets; targets are held against that limit. With a load, the
point at which the replicas then run is stepped out beside it: Little's law in closed form over steps linear in the batch (a
search for mixtures of experts), and the wait for the prefill station by M/G/1 [Pollaczek, Khinchine].

Reasoning steps lengthen the answer and read the prompt once: (r + K)/(r + 1) times the cost of one, r a prompt's time over a
step's. A prefix cache shortens the prompt. Speculative decoding [Leviathan 2023]: one verification of `draft_tokens` drafted ones
yields (1 - a^(k+1))/(1 - a) tokens; a draft model has its weights and cache beside the model's and reads the prompt too.
Disaggregated prompts have replicas of their own [Zhong 2024].

Prices are dated listings of the zoo, or owned: the accelerator with its share of server and links (Epoch's shares of a cluster),
amortized, maintained, powered through the building's PUE, hosted [Barroso 2018].

The cache is kv_capacity's pool, quoted from its answer: what `set` replaces holds for it too, but it stays what it is where an
analysis varies a number that both rest on.

Latent attention over several link domains is data parallel, as engines then run it: a sequence's cache and host work are on one
accelerator, experts over all. A decoding token's copies go to other domains and back at 0.75 of the network [DeepEP], behind the
computing of the other half of the batch; a step is never shorter than that, and where a rank has no two sequences nothing hides.

Not modelled: cost of capital, staff, egress, discounts, autoscaling, routing between replicas, the exchange of prompts between
domains (hidden behind their computing up to some four), different lengths in a batch.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Literal

from pydantic import Field

from mlwalls.solvers.errors import CallError
from mlwalls.solvers.formats import KvFormat
from mlwalls.solvers.links import reach
from mlwalls.solvers.lookup import find
from mlwalls.solvers.numbers import Numbers
from mlwalls.solvers.pool import quote_pool
from mlwalls.solvers.prices import api, owned, rented
from mlwalls.solvers.serving import Serving, resolve_serving
from mlwalls.solvers.serving_cost_compute import Draft, Structure, compute
from mlwalls.solvers.serving_cost_words import Context, ServingCostResult, present
from mlwalls.solvers.solver import Problem, Solver, SolverRequest
from mlwalls.zoo import Entry, Zoo

DEFAULT_TARGET = 0.05
Stored = Literal["native", "bf16", "fp8", "int8", "int4", "nvfp4"]


class ServingCostRequest(SolverRequest):
    """Arguments of the serving_cost tool."""

    model: str = Field(description="Zoo model.")
    hardware: str = Field(description="Zoo accelerator.")
    n_accelerators: int = Field(default=1, ge=1, le=100_000, description="Of a replica.")
    prompt_tokens: int = Field(default=1024, ge=1, le=10_000_000, description="Mean.")
    output_tokens: int = Field(default=256, ge=1, le=10_000_000, description="Mean, of a step.")
    concurrency: int | None = Field(default=None, ge=1, le=1_000_000, description="In flight a replica.")
    tpot_ms: float | None = Field(default=None, gt=0, le=1e6, description="Or target.")
    ttft_ms: float | None = Field(default=None, gt=0, le=1e8, description="Or target.")
    queries_per_s: float | None = Field(default=None, gt=0, le=1e8, description="Sizes replicas.")
    reasoning_steps: int = Field(default=1, ge=1, le=100_000, description="Chain of thought.")
    cached_percent: float = Field(default=0, ge=0, le=99.9, description="Prefix cache hits.")
    disaggregated: bool = Field(default=False, description="Prompts elsewhere.")
    draft_tokens: int = Field(default=0, ge=0, le=64, description="Speculation.")
    draft_model: str = Field(default="", description="Else 5 % cost.")
    acceptance_percent: float = Field(default=70, ge=0, le=99, description="Of drafted tokens.")
    weight_dtype: Literal["native", "bf16", "fp8", "int8", "int4", "nvfp4"] = Field(
        default="native", description="Stored weights."
    )
    kv_dtype: KvFormat | None = Field(default=None, description="KV-cache; else the engine's.")
    owned: bool = Field(default=False, description="Not rented.")
    usd_per_hour: float | None = Field(default=None, gt=0, le=1e6, description="An accelerator.")


def resolve(request: ServingCostRequest, zoo: Zoo) -> Problem:
    """Take every branch of the request.

    Raises:
        CallError: a name that names nothing, a price that is not known, arguments that exclude each other.
    """
    n = Numbers()
    warnings: list[str] = []
    model = find(zoo, "models", "model", request.model, warnings)
    hardware = find(zoo, "hardware", "hardware", request.hardware, warnings)
    _excluded(request)
    n.you("prompt", request.prompt_tokens, "token")
    if request.reasoning_steps > 1:
        n.you("steps", request.reasoning_steps)
        n.you("step_tokens", request.output_tokens, "token")
    else:
        n.you("output", request.output_tokens, "token")
    _load(request, n, warnings)
    if request.cached_percent:
        n.you("cached", request.prompt_tokens * request.cached_percent / 100, "token")
    served = _served(request, n, model, hardware, warnings)
    calls: tuple[str, ...] = ()
    if served.sized == "pool":
        calls = (quote_pool(n, model, hardware, request.n_accelerators, request.weight_dtype, request.set_),)
    draft: Draft = "" if not request.draft_tokens else "model" if request.draft_model else "share"
    drafting = _draft(request, zoo, n, hardware, warnings)
    if request.disaggregated:
        n.assumed("nic", 50e9, 25e9, 100e9, "byte/s")
        n.defined("none", 0, "s")
    n.assumed("headroom", 0.7, 0.5, 0.9)
    n.assumed("service_spread", 1, 0, 2)
    found = None
    if request.owned:
        owned(n, zoo, hardware)
        warnings.append("owning: no cost of capital and no staff")
    else:
        found = rented(n, zoo, hardware, request.usd_per_hour)
    listed = api(zoo, model)
    if listed is not None:
        n.zoo("api_input", listed, "input", "USD/Mtoken")
        n.zoo("api_output", listed, "output", "USD/Mtoken")
    structure = Structure(
        served,
        drafting,
        draft,
        request.concurrency is None,
        "tpot_target" in n,
        "ttft_target" in n,
        request.reasoning_steps > 1,
        request.disaggregated,
        request.queries_per_s is not None,
        request.owned,
        listed is not None,
        "exchange_rate" in n,
    )
    scenario = request.model_dump(by_alias=True, exclude_none=True, exclude_defaults=True)
    scenario.pop("detail", None)
    scenario |= {"model": model.id, "hardware": hardware.id}
    context = Context(request.n_accelerators, model, hardware, found, listed, request.weight_dtype, calls)
    return Problem(structure, n, warnings, scenario, context)


def _excluded(request: ServingCostRequest) -> None:
    if request.concurrency is not None and (request.tpot_ms is not None or request.ttft_ms is not None):
        given = "tpot_ms" if request.tpot_ms is not None else "ttft_ms"
        raise CallError(
            "concurrency", f"give a concurrency, or {given} to find the largest one.", repair={"concurrency": None}
        )
    if request.owned and request.usd_per_hour is not None:
        raise CallError("usd_per_hour", "give a price, or owned to build one up.", repair={"usd_per_hour": None})


def _load(request: ServingCostRequest, n: Numbers, warnings: list[str]) -> None:
    if request.concurrency is not None:
        n.you("concurrency", request.concurrency)
    else:
        if request.tpot_ms is not None:
            n.you("tpot_target", request.tpot_ms / 1e3, "s")
        elif request.ttft_ms is None:
            n.assumed("tpot_target", DEFAULT_TARGET, 0.02, 0.2, "s")
            warnings.append("no concurrency or target given: the largest batch at 50 ms a token taken")
        if request.ttft_ms is not None:
            n.you("ttft_target", request.ttft_ms / 1e3, "s")
    if request.queries_per_s is not None:
        n.you("load", request.queries_per_s, "1/s")


def _served(request: ServingCostRequest, n: Numbers, model: Entry, hardware: Entry, warnings: list[str]) -> Serving:
    ranks = request.n_accelerators
    spread = ranks > reach(hardware) and model.text("config.attention") == "mla"
    served = resolve_serving(
        n,
        model,
        hardware,
        ranks,
        warnings,
        weight_format=request.weight_dtype,
        kv_format=request.kv_dtype or "",
        data_parallel=spread,
        cached=bool(request.cached_percent),
        sized="pool",
    )
    if request.kv_dtype and (served.shape.linear or served.shape.attention == "none"):
        text = f"{model.name} keeps a recurrent state, whose format this tool does not change."
        raise CallError("kv_dtype", text, repair={"kv_dtype": None})
    return _spread(served, n, hardware, ranks) if spread else served


def _spread(served: Serving, n: Numbers, hardware: Entry, ranks: int) -> Serving:
    """Take experts over several link domains: each rank schedules and routes its own tokens, and sends copies to the others."""
    for name in ("t_sequence", "route_bytes"):
        if name in n:
            group = n[name]
            n.assumed(name, group.value / ranks, group.value / ranks, group.value, group.unit, "cal_serving")
    if served.shape.moe:
        n.defined("domains", math.ceil(ranks / reach(hardware)))
        n.assumed("exchange_rate", 0.75, 0.7, 0.8, source="deepep")
    return replace(served, law=replace(served.law, all_reduces=0))


def _draft(request: ServingCostRequest, zoo: Zoo, n: Numbers, hardware: Entry, warnings: list[str]) -> Serving | None:
    if not request.draft_tokens:
        if request.draft_model:
            raise CallError("draft_tokens", "a draft model needs draft_tokens.", repair={"draft_tokens": 4})
        return None
    n.you("drafted", request.draft_tokens)
    n.you("acceptance", request.acceptance_percent / 100)
    warnings.append("acceptance is an input: it depends on draft, text and temperature")
    if not request.draft_model:
        n.assumed("draft_share", 0.05, 0.02, 0.2, source="leviathan2023")
        return None
    inner = n.scope("d_")
    draft = find(zoo, "models", "draft_model", request.draft_model, warnings)
    if not (draft.has("config.layers") and draft.has("config.d_model")):
        text = f"{draft.name} has no layer configuration in the zoo; name a language model with one."
        raise CallError("draft_model", text, repair={"draft_model": ""})
    again: list[str] = []
    cache = request.kv_dtype or ""
    serving = resolve_serving(inner, draft, hardware, request.n_accelerators, again, kv_format=cache, sized="beside")
    inner.share()
    return serving


SOLVER = Solver(
    name="serving_cost",
    question="What does serving this model cost: a query, a year, a million tokens, at a batch that keeps its latency?",
    guidance=(
        "At a concurrency or the largest batch within tpot_ms and ttft_ms; rented or owned, beside API prices. Bare speed: "
        "roofline."
    ),
    walls=("serving_phases", "batching", "tail_latency", "economic_cost"),
    request=ServingCostRequest,
    result=ServingCostResult,
    resolve=resolve,
    compute=compute,
    present=present,
    per_replica=frozenset({"rate", "concurrency"}),
    example={"model": "llama-3.1-70b", "hardware": "h100", "n_accelerators": 4, "tpot_ms": 40},
)
