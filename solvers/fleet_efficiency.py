"""How fast does training run on a fleet, where does the rest go, does it fit, and which parallel plan is best?

One step: additive roofline of every matrix product, flash attention, elementwise traffic, tensor-, context- and expert-parallel
collectives in every layer, 1F1B or interleaved pipelines [Narayanan 2021], data-parallel traffic less what hides [Rajbhandari
2020], the slowest of n accelerators [Blom 1958], checkpoints, failures and restarts [Daly 2006]. Memory by class [Korthikanti
2022], counted for the layer at hand. Constants are fitted on published training runs (zoo/calibration/training).

Sizes of the plan that are not given are searched; so are recomputation and sharding (ZeRO; 3 is FSDP). An uneven pipeline is as
slow and full as its longest stage; interleaved parts are alike but for three places at most. Context-parallel (`cp`), expert-
parallel (`ep`) and interleaving (`interleave`) sizes are given with `set`. Experts are mapped on their own, over tensor-
parallel ranks too [Liu 2025]: `expert_tp` splits each, `dispatch=2` sends every copy of a token between domains, `w_ep` is the
share of the dispatch that hides. The waterfall is in seconds of a delivered step and adds up. `tuned` takes the constants of
NVIDIA's NeMo on Hopper: newer attention, 8-bit products as good as 16-bit ones, overlapped tensor-parallel traffic.

Assumed, with ranges: the network per accelerator where not given, one failure in 50,000 accelerator-hours (8,000 for a first
big run), 10 s a checkpoint, 10 minutes a restart.

A run's range reaches from the near end of the step's to published campaigns': 85 % of their accelerator-hours are steps, and
plans are not searched, so that the far end is exp(0.81) beyond. Its price is that of on-demand listings.

Not modelled: framework quality (1.3x between published runs of equal plans) beyond `tuned`, congestion and topology, imbalance
of experts, data loading, evaluation, silent corruption, offloading.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, Literal

from pydantic import Field

from mlwalls.solvers.derivation import Derivation, Value
from mlwalls.solvers.equations import common
from mlwalls.solvers.equations import fleet_step as step_eq
from mlwalls.solvers.equations import reliability as eq
from mlwalls.solvers.equations.safety import price_of
from mlwalls.solvers.errors import CallError
from mlwalls.solvers.fleet_failures import resolve_checkpoint, resolve_failures, step_failures
from mlwalls.solvers.fleet_numbers import fixed_numbers, resolve_network, variant_numbers
from mlwalls.solvers.fleet_plans import (
    SIZES,
    Found,
    Given,
    Model,
    problems,
    shaped,
)
from mlwalls.solvers.fleet_search import NotShared, Search, step_and_memory
from mlwalls.solvers.fleet_stages import longest
from mlwalls.solvers.fleet_structure import Recompute, Structure
from mlwalls.solvers.fleet_words import (
    ARGUMENTS,
    LOSSES,
    FleetResult,
    Subject,
    present,
)
from mlwalls.solvers.lookup import find
from mlwalls.solvers.numbers import Numbers
from mlwalls.solvers.prices import PATH, Listing, listing
from mlwalls.solvers.shapes import resolve_model
from mlwalls.solvers.solver import Problem, Solver, SolverRequest
from mlwalls.zoo import Entry, Zoo
from mlwalls.zoo.calibrations import calibration

TOKENS_A_STEP = 4_000_000
LARGEST = 1_000_000
Option = Literal[
    "fp8",
    "tuned",
    "no_flash",
    "no_sequence_parallel",
    "ring",
    "tree",
    "hierarchical",
    "storage_checkpoint",
    "async_checkpoint",
    "memory_checkpoint",
]


class FleetRequest(SolverRequest):
    """Arguments of the fleet_efficiency tool."""

    model: str = Field(description='"llama-3.1-70b".')
    hardware: str = Field(description='"h100".')
    n_accelerators: int = Field(ge=1, le=LARGEST, description="In all.")
    seq_len: int = Field(default=4096, ge=1, le=10_000_000, description="Tokens.")
    global_batch: int | None = Field(default=None, ge=1, le=10_000_000, description="Sequences.")
    tensor_parallel: int | None = Field(default=None, ge=1, le=LARGEST, description="Left out: searched.")
    pipeline_parallel: int | None = Field(default=None, ge=1, le=LARGEST, description="Likewise.")
    microbatch: int | None = Field(default=None, ge=1, le=LARGEST, description="Likewise.")
    recompute: Recompute | None = Field(default=None, description="Likewise.")
    zero: int | None = Field(default=None, ge=0, le=3, description="Likewise; 3: FSDP.")
    curve: list[int] = Field(default_factory=list, max_length=8, description="More counts.")
    options: list[Option] = Field(default_factory=list, max_length=10, description="tuned: as NeMo.")
    network: str = Field(default="", description='"infiniband-ndr".')
    failures: list[str] = Field(
        default_factory=list,
        max_length=12,
        description='Accelerator-hours ["50000"], fleet ["meta-rsc"] or node parts ["8x50000","2x100000"].',
    )
    total_tokens: float | None = Field(default=None, gt=0, le=1e18, description="Of the run.")


def resolve(request: FleetRequest, zoo: Zoo) -> Problem:
    """Take every branch of the request; search what the plan leaves open.

    Raises:
        CallError: a name names nothing, or a model or chip cannot be trained with this tool.
    """
    n = Numbers()
    warnings: list[str] = []
    model = find(zoo, "models", "model", request.model, warnings)
    hardware = find(zoo, "hardware", "hardware", request.hardware, warnings)
    n.defined("one", 1)
    n.defined("zero", 0)
    n.defined("tp", 1)
    shape = resolve_model(n, model, "bf16", "bf16", 1)
    if shape.attention == "none" or shape.linear:
        raise CallError(
            "model", f"{model.name} has layers that this tool cannot train yet.", repair={"model": "llama-3.1-8b"}
        )
    touched = {text.partition("=")[0].strip() for text in request.set_}
    base = fixed_numbers(n, hardware, shape, set(request.options), touched, warnings)
    network = resolve_network(n, hardware, request.network, zoo, warnings)
    parts = resolve_failures(n, request.failures, zoo, warnings)
    resolve_checkpoint(n, base.checkpoint, hardware)
    running = request.total_tokens is not None
    prices = _resolve_run(n, hardware, touched, zoo) if running else None
    base = replace(base, parts=parts, run=running, priced=prices is not None)
    batch = request.global_batch or _default_batch(request)
    n.you("accelerators", request.n_accelerators)
    n.you("context", request.seq_len, "token")
    if request.global_batch is not None:
        n.you("global_batch", batch)
    else:
        n.assumed("global_batch", batch, max(1, batch / 4), batch * 4)
        warnings.append(f"global_batch: {batch} sequences")
    if request.total_tokens is not None:
        n.you("total", request.total_tokens, "token")
    if model.has("config.max_context") and request.seq_len > model.number("config.max_context").value:
        warnings.append(f"seq_len {request.seq_len} is beyond {model.name}'s published context")
    given = given_sizes(request)
    n.override([text for text in request.set_ if text.partition("=")[0].strip() not in (*SIZES, "all_reduces")])
    limits = Model(
        int(n.layers.value),
        int(n.heads.value),
        int(n.heads.value if shape.attention == "mla" else n.kv_heads.value),
        int(n.experts.value) if shape.moe else 1,
        int(n.d_model.value),
        int(n.domain.value),
        request.n_accelerators,
        int(n.global_batch.value),
        request.seq_len,
        _expert_tp(n, request) if shape.moe else 1,
    )
    base = replace(base, once_a_domain=shape.moe and n.dispatch.value == 1)
    search = Search(base, n, request)
    wrong = problems(limits, given)
    found = None if wrong else search(limits, given)
    nearest = None
    if found is None:
        wrong = wrong or ["no sizes of the rest go with those given"]
        found = search(limits, {}, near=given)
    elif not found.fits:
        nearest = (
            search(limits, {}, near=given, free=True)
            if given or request.zero is not None or request.recompute
            else None
        )
    if found is None:
        raise NotShared(limits, search)
    if found.sizes["ep"] > 1 and not base.hidden_ep:
        warnings.append("nothing of the experts' dispatch hides; DeepSeek's DualPipe: set w_ep=0.9, options tuned")
    layers = longest(limits.layers, found.sizes["pp"], found.sizes["interleave"])
    if layers * found.sizes["pp"] > limits.layers:
        warnings.append(f"uneven stages: {layers} of {limits.layers} layers on the longest")
    nearest = nearest if nearest is not None and nearest.fits else None
    grown = None if found.fits or nearest else search.grown(limits)
    points = [(limits, found), *_curve(request, search, limits, {} if wrong else given, found, warnings)]
    numbers = variant_numbers(n, found.structure)
    for symbol in SIZES:
        sizes = [plan.sizes[symbol] for _, plan in points]
        if set(sizes) == {given.get(symbol)}:
            numbers.you(symbol, sizes[0])
        elif symbol == "pp" and not found.structure.pp and len(points) == 1:
            numbers.defined(symbol, 1)
        else:
            numbers.chosen(symbol, sizes if len(set(sizes)) > 1 else sizes[0])
    numbers.override(search.assigned)
    numbers.settle({*SIZES, *touched})
    if len(points) > 1:
        numbers.you("accelerators", [m.accelerators for m, _ in points])
        numbers = numbers.replaced({"global_batch": _array([m.global_batch for m, _ in points])})
    several = len(points) == 1 and found.tried > 1 and found.second
    chosen = (found.tried, tuple(found.second.items()), found.second_step) if several else None
    structure = shaped(found.structure, [(m, plan.sizes) for m, plan in points]) if len(points) > 1 else found.structure
    structure = replace(structure, chosen=chosen)
    scenario = request.model_dump(by_alias=True, exclude_none=True, exclude_defaults=True)
    scenario |= {"model": model.id, "hardware": hardware.id}
    scenario.pop("detail", None)
    if network:
        scenario["network"] = network
    why = _why(structure, numbers, found) if chosen else ""
    subject = Subject(model.name, hardware.name, request, found, limits, tuple(wrong), nearest, grown, why, prices)
    return Problem(structure, numbers, warnings, scenario, subject)


def _expert_tp(n: Numbers, request: FleetRequest) -> int:
    """Return over how many ranks one expert is split, and check how tokens are sent to other domains.

    Raises:
        CallError: either is no such number.
    """
    for symbol, most in (("expert_tp", 64), ("dispatch", 2)):
        number = float(n[symbol].value)
        if not (number.is_integer() and 1 <= number <= most):
            kept = [text for text in request.set_ if text.partition("=")[0].strip() != symbol]
            text = f"{symbol}={number:g} must be a whole number from 1 to {most}."
            raise CallError("set", text, repair={"set": [*kept, f"{symbol}=1"]})
    return int(n.expert_tp.value)


def _resolve_run(n: Numbers, hardware: Entry, touched: set[str], zoo: Zoo) -> Listing | None:
    """Read how campaigns compare with their steps, and the price of an accelerator-hour with its range where the zoo has one."""
    n.calibrated(calibration("training")["constants"], "campaign")
    n.calibrated(calibration("training")["intervals"], "gpu_hours", "campaign_spread")
    found = listing(zoo, hardware)
    if found is None:
        return None
    n.zoo("price", found.taken, PATH, "USD/h")
    for symbol, entry in (("price_low", found.cheapest), ("price_high", found.dearest)):
        if entry.number(PATH).value == found.taken.number(PATH).value or "price" in touched:
            n.alias(symbol, "price")
        else:
            n.zoo(symbol, entry, PATH, "USD/h")
    return found


def _why(s: Structure, n: Numbers, found: Found) -> str:
    """Name the loss that grows most from the best plan to the second."""
    best = compute(s, n, Derivation(record=False))
    second = compute(s, n.replaced({k: float(v) for k, v in found.second.items()}), Derivation(record=False))
    return max((k for k in LOSSES if k in best), key=lambda k: float(second[k].value) - float(best[k].value))


def _array(numbers: list[int]) -> Any:
    import numpy

    return float(numbers[0]) if len(set(numbers)) == 1 else numpy.array(numbers, dtype=float)


def _curve(
    request: FleetRequest, search: Search, limits: Model, given: Given, found: Found, warnings: list[str]
) -> list[tuple[Model, Found]]:
    """Return the plans of the other counts, all with one recomputation and sharding; counts without a plan give a warning.

    Raises:
        CallError: a count below 1 or above the largest.
    """
    points = []
    for count in request.curve:
        if not 1 <= count <= LARGEST:
            kept = [c for c in request.curve if 1 <= c <= LARGEST]
            raise CallError("curve", f"{count} is no number of accelerators.", repair={"curve": kept})
        batch = request.global_batch or _default_batch(request.model_copy(update={"n_accelerators": count}))
        if "global_batch" not in request.model_fields_set and limits.global_batch % count == 0:
            batch = limits.global_batch
        there = replace(limits, accelerators=count, global_batch=batch)
        plan = search(there, given, variant=found.structure)
        if plan is None or not plan.fits:
            warnings.append(f"curve: no plan of this recomputation and sharding on {count:,} accelerators")
        else:
            points.append((there, plan))
    return points


def given_sizes(request: FleetRequest) -> dict[str, int]:
    """Return the plan's sizes that are given, by argument or `set`.

    Raises:
        CallError: a size that is set is no whole number above 0.
    """
    given = {size: value for size, name in ARGUMENTS.items() if (value := getattr(request, name)) is not None}
    for text in request.set_:
        size, _, number = (part.strip() for part in text.partition("="))
        if size not in SIZES:
            continue
        if not (number.isdecimal() and 1 <= int(number) <= LARGEST):
            fixed = [f"{size}=1" if other == text else other for other in request.set_]
            raise CallError("set", f"{text!r}: {size} must be a whole number above 0.", repair={"set": fixed})
        given[size] = int(number)
    return given


def _default_batch(request: FleetRequest) -> int:
    """About four million tokens, shared out evenly over the accelerators, one sequence each at least."""
    wanted = max(1.0, TOKENS_A_STEP / request.seq_len)
    count = request.n_accelerators
    if count & (count - 1) == 0:
        return max(count, 1 << round(math.log2(wanted)))
    return int(count * max(1, round(wanted / count)))


def compute(s: Structure, n: Numbers, d: Derivation) -> dict[str, Value]:
    """Step out time, memory, failures and the waterfall; keys are the results' symbols."""
    out = step_and_memory(s, n, d)
    step = out["step"]
    out |= step_failures(s, n, d)
    out["delivered"] = d.step("delivered", eq.delivered_step(step, out["goodput"]))
    out["failures"] = d.step("failures", common.difference(out["delivered"], step))
    spread = d.step("spread_here", common.product(n.spread, n.widen)) if s.outside else n.spread
    out["step_low"] = d.step("step_low", step_eq.shrunk(step, spread))
    out["step_high"] = d.step("step_high", step_eq.stretched(step, spread))
    if s.run:
        out |= _run(s, n, d, out, spread)
    largest = d.choose("largest_loss", "max", [out[k] for k in LOSSES if k in out])
    out["binding_share"] = d.step("binding_share", common.ratio(largest.value, out["delivered"]))
    if d.record and s.chosen is not None:
        tried, second, at_second = s.chosen
        other = {name: size for name, size in second if name not in n or n[name].value != size}
        d.tried("plans", tried, "lowest", step, other, at_second)
    return out


def _run(s: Structure, n: Numbers, d: Derivation, out: dict[str, Value], spread: Value) -> dict[str, Value]:
    """Step out time, accelerator time and price of all steps; from the near end of the step's range to what campaigns took."""
    run = d.step("run", eq.run_time(out["delivered"], n.total, out["tokens"]))
    campaign = d.step("campaign_run", eq.campaign_time(run, n.campaign))
    runs = {
        "": run,
        "_low": d.step("run_low", step_eq.shrunk(run, spread)),
        "_high": d.step("run_high", step_eq.stretched(campaign, n.campaign_spread)),
    }
    found = {f"run{end}": value for end, value in runs.items()} | {"campaign_run": campaign}
    for end, value in runs.items():
        name = f"accelerator_time{end}"
        found[name] = d.step(name, eq.accelerator_time(value, n.accelerators))
        if s.priced:
            found[f"cost{end}"] = d.step(f"cost{end}", price_of(n[f"price{end}"], found[name]))
    found["campaign_time"] = d.step("campaign_time", eq.accelerator_time(campaign, n.accelerators))
    if s.priced:
        found["campaign_cost"] = d.step("campaign_cost", price_of(n.price, found["campaign_time"]))
    return found


SOLVER = Solver(
    name="fleet_efficiency",
    question="How fast does training run on these accelerators, does it fit, and where does the efficiency go?",
    guidance="The best parallel plan or yours (cp, ep, interleave by set), memory, losses, failures, hours of a run.",
    walls=("memory_capacity", "communication", "synchronization", "reliability"),
    request=FleetRequest,
    result=FleetResult,
    resolve=resolve,
    compute=compute,
    present=present,
    example={"model": "llama-3.1-70b", "hardware": "h100", "n_accelerators": 1024},
    slow=True,
    pinned=("global_batch",),
)
