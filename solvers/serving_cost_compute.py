"""What the serving_cost tool steps out: batch, times, replicas, and the price of a query."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

from mlwalls.solvers.derivation import Applied, Derivation, Value
from mlwalls.solvers.equations import common, operators
from mlwalls.solvers.equations import cost as eq
from mlwalls.solvers.equations import node as node_eq
from mlwalls.solvers.equations import serving as serving_eq
from mlwalls.solvers.functions import maximum
from mlwalls.solvers.numbers import Numbers
from mlwalls.solvers.power import modelled_power
from mlwalls.solvers.serving import Costs, Kept, Serving, first_token, interleave, pass_costs, prefill_of, ranges

Draft = Literal["", "model", "share"]


@dataclass(frozen=True, slots=True)
class Structure:
    """Which equations apply.

    Attributes:
        serving, draft_serving: the replica, and its draft model where it has one.
        draft: what a draft step costs: a model's step, a share of the model's own, or nothing is drafted.
        searched: the batch is the largest that keeps `tpot_target` and, where `first_target`, `ttft_target`.
        steps: several reasoning steps.
        split: prompts have replicas of their own.
        load: a load is given.
        owned: the price is that of owning.
        listed: an API's list price stands beside.
        spread: experts are over several link domains.
    """

    serving: Serving
    draft_serving: Serving | None
    draft: Draft
    searched: bool
    token_target: bool
    first_target: bool
    steps: bool
    split: bool
    load: bool
    owned: bool
    listed: bool
    spread: bool = False


@dataclass(frozen=True, slots=True)
class Rates:
    """A decode step: `fixed` + batch · `each` (s), and `expert` for each expert touched beyond one token's.

    `exchange` (s) is what each sequence's tokens take between link domains.
    """

    fixed: Value
    each: Value
    expert: Value | None
    drafted: bool
    exchange: Value | None = None


def compute(s: Structure, n: Numbers, d: Derivation) -> dict[str, Value]:
    """Step out batch, times, replicas and prices; keys are the results' symbols."""
    if s.steps:
        n = n.bound("output", d.step("output", common.product(n.steps, n.step_tokens)))
    costs = pass_costs(s.serving, n, d)
    drafting = None
    if s.draft_serving is not None:
        drafting = pass_costs(s.draft_serving, n.scope("d_"), d.scope("d_"))
    sent = _exchange(s, n, d)
    alone, rates = costs, _rates(s, n, d, costs, drafting, sent)
    if drafting is not None:
        costs = _beside(d, costs, drafting)
    slots = d.step("slots", serving_eq.slots(costs.room, costs.each))
    out = {"short": d.step("short", common.difference(costs.each, costs.room)), "slots": slots}
    concurrency = _concurrency(s, n, d, costs, rates, slots)
    n = n.bound("concurrency", concurrency)
    out |= _replica(s, n, d, costs, rates, slots)
    out["concurrency"] = concurrency
    if s.draft:
        out["speculation"] = _speculation(n, d, alone, sent, out)
    if rates.exchange is not None:
        lasts = eq.exchange_share(out["decoding"], rates.exchange, out["step"])
        out["exchanged"] = d.step("exchange_share", lasts)
    out |= ranges(n, d, out, costs)
    out |= _spent(s, n, d, costs, out)
    if s.load:
        _operating(s, n, d, rates, out)
    _prices(s, n, d, out)
    if s.steps:
        share = d.step("prompt_over_step", eq.prompt_over_step(out["prompt_spent"], out["output_spent"], n.steps))
        out["steps_ratio"] = d.step("steps_ratio", eq.steps_ratio(share, n.steps))
    return out


def _beside(d: Derivation, costs: Costs, drafting: Costs) -> Costs:
    """Step out a replica with its draft model beside it: both hold weights and cache, both read the prompt."""
    weights = drafting.kept.held
    assert weights is not None
    room = d.step("room_beside", common.difference(costs.room, weights))
    return replace(
        costs,
        fixed=d.step("fixed_both", common.sum_of_two(costs.fixed, drafting.fixed)),
        prompt=d.step("prompt_both", common.sum_of_two(costs.prompt, drafting.prompt)),
        kept=Kept(room, d.step("cache_both", common.sum_of_two(costs.each, drafting.each))),
    )


def _speculation(n: Numbers, d: Derivation, alone: Costs, sent: Value | None, out: dict[str, Value]) -> Value:
    """Step out the tokens a second over those of the same batch without drafts."""
    each = d.step("plain_each", common.sum_of_two(alone.token, alone.cache))
    rates = Rates(alone.fixed, each, alone.expert, False, sent)
    plain, _ = _step(n, d, rates, out["decoding"], "plain_step")
    return d.step("speculation", eq.speculation(plain, out["step"], out["tpot"]))


def _exchange(s: Structure, n: Numbers, d: Derivation) -> Value | None:
    if not s.spread:
        return None
    sent = (n.moe_layers, n.top_k, n.domains, n.d_model, n.link, n.exchange_rate, n.tp)
    return d.step("exchange", eq.exchange(*sent))


def _rates(s: Structure, n: Numbers, d: Derivation, costs: Costs, inner: Costs | None, sent: Value | None) -> Rates:
    if not s.draft:
        each = d.step("each", common.sum_of_two(costs.token, costs.cache))
        return Rates(costs.fixed, each, costs.expert, False, sent)
    gain = d.step("gain", eq.accepted(n.acceptance, n.drafted))
    if inner is not None:
        draft_fixed = inner.fixed
        draft_each = d.step("draft_each", common.sum_of_two(inner.token, inner.cache))
    else:
        draft_fixed = d.step("draft_fixed", eq.draft_assumed(n.draft_share, costs.fixed))
        draft_each = d.step("draft_each", eq.draft_assumed(n.draft_share, costs.token))
    fixed = d.step("fixed_token", eq.fixed_speculative(costs.fixed, n.drafted, draft_fixed, gain))
    each = d.step("each", eq.each_speculative(costs.token, n.drafted, costs.cache, draft_each, gain))
    expert = None if costs.expert is None else d.step("expert_token", eq.per_gain(costs.expert, gain))
    if sent is not None:
        sent = d.step("exchange_token", eq.exchange_speculative(sent, n.drafted, gain))
    return Rates(fixed, each, expert, True, sent)


def _step(n: Numbers, d: Derivation, rates: Rates, batch: Value, name: str) -> tuple[Value, Value | None]:
    """Step out the time per token of a batch alone, and the experts that its tokens touch in a layer."""
    if rates.exchange is not None:
        computing, hit = _step(n, d, replace(rates, exchange=None), batch, f"{name}_computing")
        return d.step(name, eq.step_exchanging(computing, batch, rates.exchange, n.tp)), hit
    if rates.expert is None:
        return d.step(name, common.first_and_repeats(rates.fixed, batch, rates.each)), None
    tokens = d.step(f"{name}_verified", eq.verified(batch, n.drafted)) if rates.drafted else batch
    hit = d.step(f"{name}_hit", operators.experts_hit(n.experts, n.top_k, tokens))
    law = eq.step_of_experts(rates.fixed, batch, rates.each, hit, n.top_k, rates.expert)
    return d.step(name, law), hit


def _replica(s: Structure, n: Numbers, d: Derivation, costs: Costs, rates: Rates, slots: Value) -> dict[str, Value]:
    """Step out one replica at `n.concurrency`: keys `decoding`, `step`, `prefill`, `tpot`, `ttft` and `mixed`."""
    batch = d.step("decoding", serving_eq.decoding(n.concurrency, slots))
    step, hit = _step(n, d, rates, batch, "step")
    prefill = prefill_of(s.serving, n, d, costs)
    out = {"decoding": batch, "step": step, "prefill": prefill}
    if not s.split:
        work = costs if rates.expert is None else replace(costs, expert=rates.expert)
        out |= interleave(s.serving, n, d, work, batch, step, hit)
        return out | {"ttft": first_token(n, d, prefill, batch, out["tpot"])}
    spent = _full_pass(s, n, d, costs)
    sent = d.step("moved", eq.moved(costs.each, n.nic))
    load = d.step("prefill_load", eq.load_at(n.headroom, spent))
    wait = d.step("wait", eq.prefill_wait(load, spent, n.service_spread))
    begin = d.step("begin", common.sum_of_two(n.t_start, sent))
    tpot = d.step("tpot", eq.token_time(step, batch, n.output, n.none))
    return out | {
        "prompt_spent": spent,
        "tpot": tpot,
        "wait": wait,
        "ttft": d.step("ttft", eq.first_token(begin, wait, prefill, step)),
    }


def _full_pass(s: Structure, n: Numbers, d: Derivation, costs: Costs) -> Value:
    """Step out `prompt_spent`: a prompt's share of a full pass of prompts, a chunk on every rank that attends for itself."""
    tokens = d.step("pass_tokens", common.product(n.chunk, n.tp)) if s.serving.shape.data_parallel else n.chunk
    work = (costs.fixed, tokens, costs.fresh, costs.prompt)
    if costs.expert is None:
        return d.step("prompt_spent", serving_eq.prefill_time(*work))
    hit = d.step("pass_hit", operators.experts_hit(n.experts, n.top_k, tokens))
    return d.step("prompt_spent", serving_eq.prefill_time_moe(*work, hit, n.top_k, costs.expert))


def _concurrency(s: Structure, n: Numbers, d: Derivation, costs: Costs, rates: Rates, slots: Value) -> Value:
    if not s.searched:
        return n.concurrency
    limit = d.step("limit", eq.whole(slots))

    def holds(candidate: Any) -> Any:
        silent = Derivation(record=False)
        at = n.bound("concurrency", Value("concurrency", candidate))
        times = _replica(s, at, silent, costs, rates, slots)
        over = 0.0
        if s.token_target:
            over = maximum(over, times["tpot"].value / n.tpot_target.value)
        if s.first_target:
            over = maximum(over, times["ttft"].value / n.ttft_target.value)
        return over <= 1

    found = d.search("concurrency", "largest", "concurrency", 1, limit, _condition(s, n), holds)
    return n.one if found is None else found


def _condition(s: Structure, n: Numbers) -> Applied:
    tpot, ttft = Value("tpot", 0.0, "s"), Value("ttft", 0.0, "s")
    if s.token_target and s.first_target:
        return eq.within_both(tpot, n.tpot_target, ttft, n.ttft_target)
    return eq.within(tpot, n.tpot_target) if s.token_target else eq.within(ttft, n.ttft_target)


def _spent(s: Structure, n: Numbers, d: Derivation, costs: Costs, out: dict[str, Value]) -> dict[str, Value]:
    """Step out what a query occupies of a replica: keys `prompt_spent`, `output_spent` (s) and `rate` (1/s)."""
    if s.split:
        prompt = out["prompt_spent"]
    else:
        law = eq.prompt_share(out["mixed"], out["step"], costs.fresh, out["mixed_tokens"])
        prompt = d.step("prompt_spent", law)
    output = d.step("output_spent", eq.output_share(n.output, out["step"], out["decoding"]))
    rate = d.step("rate", eq.per_time_of(output) if s.split else eq.most_queries(prompt, output))
    return {"prompt_spent": prompt, "output_spent": output, "rate": rate}


def _operating(s: Structure, n: Numbers, d: Derivation, rates: Rates, out: dict[str, Value]) -> None:
    """Step out replicas, their load and the point at which they run: keys `replicas`, `operating`, `operating_tpot`, …"""
    needed = d.step("replicas", eq.replicas(n.load, n.headroom, out["rate"]))
    out["replicas"] = needed
    each = d.step("load_each", eq.arrivals_each(n.load, needed))
    none = n.none if s.split else out["prompt_spent"]
    if rates.expert is None:
        law = eq.operating_batch(each, none, n.output, rates.fixed, rates.each)
        batch: Value | None = d.step("operating", law)
    else:
        batch = _settled(n, d, rates, each, none, out["decoding"])
    if batch is None:
        return
    step, _ = _step(n, d, rates, batch, "operating_step")
    tpot = d.step("operating_tpot", eq.token_time(step, batch, n.output, none))
    out |= {"operating": batch, "operating_tpot": tpot}
    if s.split:
        out["prefill_replicas"] = d.step("prefill_replicas", eq.replicas_for(n.load, out["prompt_spent"], n.headroom))
    else:
        out["wait"] = d.step("wait", eq.prefill_wait(each, out["prompt_spent"], n.service_spread))
        law = eq.first_token(n.t_start, out["wait"], out["prefill"], tpot)
        out["operating_ttft"] = d.step("operating_ttft", law)


def _settled(n: Numbers, d: Derivation, rates: Rates, each: Value, prompt: Value, most: Value) -> Value | None:
    """Find the smallest batch that its own load keeps in flight, where steps are not linear in the batch."""

    def holds(candidate: Any) -> Any:
        silent = Derivation(record=False)
        batch = Value("operating", candidate)
        step, _ = _step(n, silent, rates, batch, "operating_step")
        tpot = silent.step("operating_tpot", eq.token_time(step, batch, n.output, prompt))
        return silent.step("settled", eq.settles(each, prompt, n.output, tpot, batch)).value

    top = d.step("most_operating", eq.whole_above(most))
    condition = eq.settles(each, prompt, n.output, Value("operating_tpot", 0.0, "s"), Value("operating", 0.0))
    return d.search("operating", "smallest", "operating", 1, top, condition, holds)


def _prices(s: Structure, n: Numbers, d: Derivation, out: dict[str, Value]) -> None:
    price = _owned(n, d) if s.owned else n.price
    out["price"] = price
    decode, prefill = n.headroom, n.headroom
    if s.load:
        busy = eq.occupied(n.load, out["output_spent"], out["replicas"]) if s.split else None
        decode = d.step("loaded", busy or eq.utilized(n.load, out["replicas"], out["rate"]))
        out["loaded"] = prefill = decode
        if s.split:
            law = eq.occupied(n.load, out["prompt_spent"], out["prefill_replicas"])
            prefill = d.step("prefill_loaded", law)
    prompt = d.step("prompt_cost", eq.cost_of(n.tp, price, out["prompt_spent"], prefill))
    output = d.step("output_cost", eq.cost_of(n.tp, price, out["output_spent"], decode))
    query = out["query"] = d.step("query", common.sum_of_two(prompt, output))
    out["query_low"] = d.step("query_low", serving_eq.below(query, n.spread_low, n.widen))
    out["query_high"] = d.step("query_high", node_eq.upper_bound(query, n.spread_high, n.widen))
    out["output_cost"] = output
    out["input_price"] = d.step("input_price", eq.per_token(prompt, n.prompt))
    out["output_price"] = d.step("output_price", eq.per_token(output, n.output))
    if s.load:
        out["year"] = d.step("year", eq.of_a_year(query, n.load))
        total = out["replicas"]
        if s.split:
            total = d.step("all_replicas", common.total(total, out["prefill_replicas"]))
        out["accelerators"] = d.step("accelerators", common.product(n.tp, total))
    if s.listed:
        out["listed"] = d.step("listed", eq.listed(n.prompt, n.api_input, n.output, n.api_output))


def _owned(n: Numbers, d: Derivation) -> Value:
    system = d.step("system", eq.system_price(n.chip, n.share_chips, n.share_servers, n.share_links))
    power = modelled_power(n, d)
    capital = d.step("capital", eq.ownership(system, n.life, n.upkeep))
    running = d.step("running", eq.running(power, n.pue, n.electricity, n.hosting))
    return d.step("price", common.sum_of_two(capital, running))
