"""The serving-latency model: one LLM replica at steady concurrency, on the operator pass that roofline uses.

A solver that needs serving times calls, in this order:

- :func:`resolve_serving` once in its `resolve`, after it gave ``n`` the symbols ``prompt``, ``output`` (tokens, means) and
  ``concurrency`` (requests in flight, whole replica), and ``cached`` with ``cached=True`` (prompt tokens in a prefix cache);
- with ``pooled``, what fits is kv_capacity's pool, quoted: :func:`pool.quote_pool` puts ``pool`` into ``n`` in its `resolve`;
- :func:`serve` in its `compute` for everything at once: cache slots, sequences decoding, step, prefill, time per output token,
  time to first token with their ranges;
- or the parts: :func:`pass_costs` (what a pass costs by a token, a sequence, a prompt, an expert), :func:`cache_slots`,
  :func:`step_of`, :func:`prefill_of`, :func:`interleave`, :func:`first_token`, for disaggregated or speculative serving.

All take scalars (recorded) or arrays (not recorded) for any number, without a branch on one; a search over concurrency
therefore is one call with an array: the passes' costs do not depend on it. Two models or chips in one answer: give each its
scope (``n.scope("draft_")``, ``d.scope("draft_")``).

One step of B sequences at mean context I + O/2 takes fixed + B·(token + cache) + (hit(B) − k)·expert. Prompts of others arrive
(B − 1)/O times a step; a step that carries n of their tokens is longer [Agrawal 2024], never shorter than the host takes to
launch it. B is the smaller of the concurrency and what the cache holds [Kwon 2023]; the rest waits. Constants are calibrated
(``zoo/calibration/serving/MODEL_CARD.md``). The share of the memory that a measured run's engine took is not known: its room is
a share of the nominal capacity less a reserve; so is it where attention is data parallel, which kv_capacity does not size.

Not modelled: pipeline parallelism, several link domains, different output lengths in a batch, energy caps.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from mlwalls.solvers.derivation import Derivation, Table, Value
from mlwalls.solvers.devices import Device, groups_of, resolve_device, resolve_spread, serving_constants
from mlwalls.solvers.equations import common, operators
from mlwalls.solvers.equations import memory as memory_eq
from mlwalls.solvers.equations import node as node_eq
from mlwalls.solvers.equations import serving as eq
from mlwalls.solvers.errors import CallError
from mlwalls.solvers.memory import held_weights
from mlwalls.solvers.numbers import Numbers
from mlwalls.solvers.passes import Law, layer_units, link_bytes, pass_overhead, serving_law
from mlwalls.solvers.pool import BLOCK, sequence_bytes
from mlwalls.solvers.shapes import ModelShape, check_ranks, resolve_model
from mlwalls.solvers.workload import Lowering, PassPhase
from mlwalls.zoo import Entry
from mlwalls.zoo.calibrations import calibration

ENGINES = ("vllm", "trtllm", "sglang")
# By what a replica's cache is sized: a measured run's memory, kv_capacity's pool, or a model's beside which a draft has its own.
Sized = Literal["measured", "pool", "beside"]


@dataclass(frozen=True, slots=True)
class Serving:
    """Which rows and equations apply to a replica."""

    shape: ModelShape
    device: Device
    law: Law
    cached: bool
    sized: Sized


@dataclass(frozen=True, slots=True)
class Kept:
    """What a rank keeps: `room` for the cache (a draft has none of its own), `each` sequence's share of it, `held` weights."""

    room: Value | None
    each: Value
    held: Value | None = None


@dataclass(frozen=True, slots=True)
class Costs:
    """What the passes of a replica cost.

    Attributes:
        fixed: s, of every pass: weights that one token needs, and the layers' overhead.
        token: s, arithmetic and all-reduces of one decoding token.
        cache: s, reading the cache of one sequence at the mean context.
        prompt: s, of a whole prompt (of its tokens that are not cached) in a pass.
        expert: s, one more expert touched in every layer that has experts; None without.
        fresh: prompt tokens that a prefill works on.
        kept: what fits.
    """

    fixed: Value
    token: Value
    cache: Value
    prompt: Value
    expert: Value | None
    fresh: Value
    kept: Kept

    @property
    def room(self) -> Value:
        """Bytes left of a rank's memory for the cache; negative where the weights alone do not fit."""
        assert self.kept.room is not None
        return self.kept.room

    @property
    def each(self) -> Value:
        """Bytes of a sequence's cache on a rank when admission weighs it."""
        return self.kept.each


def default_kv_format(stored: Sequence[str], hardware: Entry, engine: str) -> str:
    """Return the cache format that an engine takes if not told: 8 bit for quantized weights on Blackwell or TensorRT-LLM.

    The rule is inferred from queueing times in the calibration data, not published.
    """
    quantized = any(f not in ("bf16", "fp16", "fp32") for f in stored)
    newer = hardware.text("family") in calibration("serving")["generation"]["newer"]
    return "fp8" if quantized and (newer or engine == "trtllm") else "bf16"


def resolve_serving(
    n: Numbers,
    model: Entry,
    hardware: Entry,
    ranks: int,
    warnings: list[str],
    *,
    weight_format: str = "native",
    kv_format: str = "",
    engine: str = "",
    data_parallel: bool = False,
    cached: bool = False,
    sized: Sized = "measured",
) -> Serving:
    """Read everything that serving times need into `n` and take the branches.

    Args:
        n: holds ``prompt``, ``output``, ``concurrency`` (and ``cached`` where `cached`) already, or gets them before `serve`.
        model, hardware: zoo entries.
        ranks: accelerators of the replica, symbol ``tp``.
        warnings: extrapolations and substitutions are appended.
        weight_format: of the stored weights; ``native`` is what the checkpoint ships.
        kv_format: of the cache; empty for the engine's own choice (:func:`default_kv_format`).
        engine: one of :data:`ENGINES`, empty for one not named.
        data_parallel: attention is data parallel over the ranks.
        cached: part of the prompt is in a prefix cache.
        sized: by what the cache is sized; ``pool`` needs the symbol ``pool`` (not where attention is data parallel).

    Raises:
        CallError: the model has no layers to lower, the chip no bandwidth or link, or the ranks do not divide the heads.
    """
    n.you("tp", ranks)
    n.defined("one", 1)
    n.defined("zero", 0)
    shape = resolve_model(n, model, weight_format, kv_format or "bf16", ranks)
    stored = (shape.layer_format, shape.expert_format, shape.wide_format, shape.projection_format)
    if not kv_format:
        shape = resolve_model(n, model, weight_format, default_kv_format(stored[:2], hardware, engine), ranks)
    if not shape.has_head:
        raise CallError("model", f"{model.name} generates no tokens.", repair={"model": "llama-3.1-8b"})
    if data_parallel and ranks > 1:
        shape = replace(shape, data_parallel=True)
    else:
        check_ranks(ranks, n)
    device = resolve_device(n, hardware, stored, "", "", warnings, ranks)
    if "capacity" not in n:
        raise CallError("hardware", f"the zoo has no memory capacity for {hardware.name}.")
    n.defined("act_width", 2, "byte")
    n.defined("per_layer", 2)
    serving_constants(n, shape, (device,), engine or "unknown")
    constants = calibration("serving")["constants"]
    n.calibrated(constants, f"t_start_{engine or 'unknown'}", "t_start")
    n.calibrated(constants, f"held_output_{engine or 'unknown'}", "held_output")
    for name in ("collide", "queued", "chunk"):
        n.calibrated(constants, name)
    if sized == "pool" and shape.data_parallel:
        sized = "measured"
    if sized == "pool":
        n.assumed("block", BLOCK, 1, 128, "token")
        n.drop("capacity")
    elif sized == "beside":
        n.assumed("block", BLOCK, 1, 128, "token")
    else:
        for name in ("memory_share", "memory_reserve"):
            n.calibrated(constants, name)
    resolve_spread(n, shape, "decode", weight_format, model, (device,), warnings)
    for name in ("first_low", "first_high"):
        n.calibrated(calibration("serving")["intervals"], name)
    return Serving(shape, device, serving_law(shape, True, ranks), cached, sized)


def pass_costs(s: Serving, n: Numbers, d: Derivation) -> Costs:
    """Step out what the passes cost; nothing here depends on the concurrency.

    Needs the symbols ``prompt`` and ``output``. Shapes: whatever the numbers broadcast to.
    """
    return costs_of_prompts(s, n, d, {"": n.prompt})[0]


def costs_of_prompts(s: Serving, n: Numbers, d: Derivation, prompts: Mapping[str, Value]) -> list[Costs]:
    """Step out what the passes cost with prompts of several lengths, by the stem of their names, from one table.

    What fits is that of the last, the longest.
    """
    texts = {stem: _text(s, n, d.scope(stem), prompt) for stem, prompt in prompts.items()}
    one = n.bound("batch", n.one)
    lowering = Lowering(d, s.shape, one, groups_of(d, n, (s.device,)))
    phases: list[PassPhase] = []
    for stem, text in texts.items():
        cached = n.cached if s.cached else None
        phases.append(PassPhase("decode", n.one, text.middle, stem))
        phases.append(PassPhase("prefill", text.fresh, text.prompt, f"{stem}pre_", cached))
        if s.sized == "measured":
            phases.append(PassPhase("held", n.one, text.length, f"{stem}held_"))
    stem, text = list(texts.items())[-1]
    op = lowering.forward("op", phases, besides=False)
    bandwidth, share = n.bandwidth, n.eta_memory
    moved = d.sum("fixed_bytes", eq.fixed_bytes(op["count"], op["w"], op["read"], op["width"]))
    overhead = d.step("overhead", pass_overhead(n, layer_units(d, n, s.law)))
    fixed = d.step("fixed", eq.fixed_time(moved, bandwidth, share, overhead))
    sent = link_bytes(d, n, s.law, "", n.one)
    carried = [] if sent is None else [d.step("link_time", node_eq.link_time(sent, n.link, n.eta_link))]
    if s.law.routed:
        copies = eq.routed_time(n.moe_layers, n.route_bytes, n.top_k, n.d_model, bandwidth, share)
        carried.append(d.step("routed_time", copies))
    each = d.step("carried", common.sum_of_two(*carried)) if len(carried) == 2 else next(iter(carried), None)
    expert = None
    if s.shape.moe:
        weights = lowering.taken("expert_w")
        assert weights is not None
        one_more = eq.expert_time(n.moe_layers, weights, n.e_bytes, bandwidth, share)
        expert = d.step("expert", one_more)
    parts = {stem: _text_costs(s, n, d.scope(stem), op, stem, text, each) for stem, text in texts.items()}
    last = d.scope(stem)
    if s.sized == "pool":
        kept = Kept(n.pool, sequence_bytes(s.shape, n, last, text.length))
    elif s.sized == "beside":
        kept = Kept(None, sequence_bytes(s.shape, n, last, text.length), _weights(d, lowering))
    else:
        kept = _kept(n, d, lowering, op, f"{stem}held_kv")
    return [
        Costs(fixed, token, cache, prompt, expert, texts[stem].fresh, kept)
        for stem, (token, cache, prompt) in parts.items()
    ]


@dataclass(frozen=True, slots=True)
class _Text:
    """A prompt, and its lengths: in the middle of the output, when admission weighs it, and what is not cached."""

    prompt: Value
    middle: Value
    length: Value
    fresh: Value


def _text(s: Serving, n: Numbers, d: Derivation, prompt: Value) -> _Text:
    middle = d.step("middle", node_eq.context_midpoint(prompt, n.output))
    length = d.step("length", eq.length_held(prompt, n.held_output, n.output))
    fresh = d.step("fresh", common.difference(prompt, n.cached)) if s.cached else prompt
    return _Text(prompt, middle, length, fresh)


def _text_costs(
    s: Serving, n: Numbers, d: Derivation, op: Table, stem: str, text: _Text, each: Value | None
) -> tuple[Value, Value, Value]:
    """Step out a decoding token's arithmetic, its sequence's cache, and the prompt in a pass."""
    count, w, peak, eta = op["count"], op["w"], op["peak"], op["eta"]
    bandwidth, share = n.bandwidth, n.eta_memory
    compute = d.sum("token_compute", node_eq.pass_compute_time(count, n.one, w, op[f"{stem}flops"], peak, eta))
    token = d.step(
        "token",
        eq.token_time(compute, n.t_sequence) if each is None else eq.token_time_carried(compute, each, n.t_sequence),
    )
    kv = op[f"{stem}kv"]
    touched = node_eq.cache_touched(count, kv, op[f"{stem}write"]) if s.shape.linear else None
    read = d.sum("cache_read", touched or memory_eq.row_cache(count, kv))
    cache = d.step("cache", node_eq.memory_time(read, bandwidth, share))
    flops = op[f"{stem}pre_flops"]
    work = d.sum("prompt_compute", node_eq.pass_compute_time(count, text.fresh, w, flops, peak, eta))
    written = d.sum("prompt_cache", memory_eq.row_cache(count, op[f"{stem}pre_kv"]))
    prompt = (
        eq.prompt_time(work, written, bandwidth, share)
        if each is None
        else eq.prompt_time_carried(work, text.fresh, each, written, bandwidth, share)
    )
    return token, cache, d.step("prompt_time", prompt)


def _weights(d: Derivation, lowering: Lowering) -> Value:
    parts = list(held_weights(d, lowering).values())
    sums = {2: common.sum_of_two, 3: common.sum_of_three}
    return parts[0] if len(parts) == 1 else d.step("held_weights", sums[len(parts)](*parts))


def _kept(n: Numbers, d: Derivation, lowering: Lowering, op: Table, cache: str) -> Kept:
    """Step out what a measured run keeps: the share that an engine takes, less its reserve and the weights."""
    held = _weights(d, lowering)
    room = d.step("room", eq.cache_room(n.memory_share, n.capacity, n.memory_reserve, held))
    return Kept(room, d.sum("cache_each", memory_eq.row_cache(op["count"], op[cache])), held)


def cache_slots(n: Numbers, d: Derivation, costs: Costs) -> tuple[Value, Value]:
    """Step out the sequences whose cache fits (`slots`, at least 1) and those really decoding (`decoding`)."""
    slots = d.step("slots", eq.slots(costs.room, costs.each))
    return slots, d.step("decoding", eq.decoding(n.concurrency, slots))


def _hit(s: Serving, n: Numbers, d: Derivation, name: str, tokens: Value) -> Value | None:
    return d.step(name, operators.experts_hit(n.experts, n.top_k, tokens)) if s.shape.moe else None


def step_of(s: Serving, n: Numbers, d: Derivation, costs: Costs, batch: Value) -> tuple[Value, Value | None]:
    """Step out one decode step of `batch` sequences, `step` in s, and the experts that it touches in a layer."""
    hit = _hit(s, n, d, "hit", batch)
    if hit is None or costs.expert is None:
        return d.step("step", eq.step_time(costs.fixed, batch, costs.token, costs.cache)), None
    law = eq.step_time_moe(costs.fixed, batch, costs.token, costs.cache, hit, n.top_k, costs.expert)
    return d.step("step", law), hit


def prefill_of(s: Serving, n: Numbers, d: Derivation, costs: Costs) -> Value:
    """Step out `prefill`: s, a whole prompt alone on the replica, in chunks if it is long, if it is long."""
    tokens = d.step("own_tokens", common.smaller(costs.fresh, n.chunk))
    work = (costs.fixed, tokens, costs.fresh, costs.prompt)
    hit = _hit(s, n, d, "own_hit", tokens)
    if hit is None or costs.expert is None:
        return d.step("prefill", eq.prefill_time(*work))
    return d.step("prefill", eq.prefill_time_moe(*work, hit, n.top_k, costs.expert))


def interleave(
    s: Serving, n: Numbers, d: Derivation, costs: Costs, batch: Value, step: Value, hit: Value | None
) -> dict[str, Value]:
    """Step out what prompts of others add to a step: keys `mixed` (s, a step with `mixed_tokens` of a prompt) and `tpot` (s)."""
    arrivals = d.step("arrivals", eq.arrivals(batch, n.output))
    tokens = d.step("mixed_tokens", eq.chunk_tokens(n.chunk, costs.fresh, arrivals))
    work = (step, tokens, costs.fresh, costs.prompt)
    if hit is None or costs.expert is None:
        mixed = d.step("mixed", eq.mixed_time(*work))
    else:
        more = d.step("mixed_hit", eq.hit_mixed(n.experts, n.top_k, tokens, batch))
        mixed = d.step("mixed", eq.mixed_time_moe(*work, more, hit, costs.expert))
    tpot = d.step("tpot", eq.time_per_token(step, arrivals, costs.fresh, tokens, mixed))
    return {"mixed": mixed, "mixed_tokens": tokens, "tpot": tpot}


def first_token(n: Numbers, d: Derivation, prefill: Value, batch: Value, tpot: Value) -> Value:
    """Step out `ttft`, s: own prefill among running steps, a share of a wave, the wait for cache."""
    law = eq.time_to_first_token(n.t_start, prefill, n.collide, n.queued, batch, n.concurrency, n.output, tpot)
    return d.step("ttft", law)


def serve(s: Serving, n: Numbers, d: Derivation) -> dict[str, Value]:
    """Step out a replica at its concurrency.

    Returns:
        Keys `room`, `each`, and of a measured run `held` (byte a rank), `slots`, `decoding` (sequences), `step`, `prefill`,
        `mixed`, `tpot`, `tpot_low`, `tpot_high`, `ttft`, `ttft_low`, `ttft_high` (s). The replica is feasible where room ≥ each.
    """
    costs = pass_costs(s, n, d)
    return serve_with(s, n, d, costs)


def serve_with(s: Serving, n: Numbers, d: Derivation, costs: Costs) -> dict[str, Value]:
    """The same from costs at hand: the cheap part, for a search over concurrency."""
    slots, batch = cache_slots(n, d, costs)
    step, hit = step_of(s, n, d, costs, batch)
    out = {"room": costs.room, "each": costs.each, "slots": slots, "decoding": batch, "step": step}
    if costs.kept.held is not None:
        out["held"] = costs.kept.held
    out |= interleave(s, n, d, costs, batch, step, hit)
    out["prefill"] = prefill_of(s, n, d, costs)
    out["ttft"] = first_token(n, d, out["prefill"], batch, out["tpot"])
    return out | ranges(n, d, out, costs)


def ranges(n: Numbers, d: Derivation, out: dict[str, Value], costs: Costs) -> dict[str, Value]:
    """Step out the ends of the 80 % intervals of `tpot` and `ttft`."""
    return {
        "tpot_low": d.step("tpot_low", eq.below(out["tpot"], n.spread_low, n.widen)),
        "tpot_high": d.step("tpot_high", node_eq.upper_bound(out["tpot"], n.spread_high, n.widen)),
        "ttft_low": d.step("ttft_low", eq.below(out["ttft"], n.first_low, n.widen)),
        "ttft_high": d.step("ttft_high", node_eq.upper_bound(out["ttft"], n.first_high, n.widen)),
    }
