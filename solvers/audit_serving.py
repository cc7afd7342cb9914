"""Which solvers an audit of a service asks: its accelerators as replicas, every figure at the one load."""

from __future__ import annotations

import math
from typing import Any

from mlwalls.solvers.assignments import write_assignments
from mlwalls.solvers.audit_parts import Audit, architecture, common_numbers, operations
from mlwalls.solvers.derivation import Derivation, NonFiniteError, Value
from mlwalls.solvers.equations import analysis as eq
from mlwalls.solvers.errors import CallError
from mlwalls.solvers.inner import resolve_inner
from mlwalls.solvers.links import reach
from mlwalls.solvers.prices import listing

# More ranks in one replica are not tried.
LARGEST_GROUP = 64
# Tokens of serving_cost's default query: prompt, answer, and the context in the middle of it.
WHOLE, MIDDLE = 1280, 1152


def serving(a: Audit, r: Any) -> None:
    """Ask what a deployment asks: its replicas, a step at the load, the cache, compression, energy, money, a guard."""
    common_numbers(a, r.days)
    n = a.n
    priced = listing(a.zoo, a.hardware) is not None
    target: dict[str, Any] = {"tpot_ms": r.tpot_ms}
    if not priced:
        target["usd_per_hour"] = 1
        a.notes.append(f"economic cost left out: the zoo has no rental price of {a.hardware.name}")
    size, rate = _replica(a, target)
    group: dict[str, Any] = {"model": a.model.id, "hardware": a.hardware.id, "n_accelerators": size}
    n.chosen("group", size)
    n.you("target", r.tpot_ms / 1e3, "s")
    n.you("queries", r.queries_per_s, "1/s")
    silent = Derivation(record=False)
    replicas = silent.step("replicas", eq.whole_groups(n.accelerators, n.group))
    each = float(f"{silent.step('each', eq.load_of_each(n.queries, replicas)).value:.6g}")
    kept = a.kept = 0 < each <= rate
    names = {"flight": "operating", "tpot": "operating_tpot"} if kept else {"flight": "decoding", "tpot": "tpot"}
    names |= {"slots": "slots", "rate": "rate"} if rate else {"slots": "slots"}
    names |= {"price": "price", "listed": "listed"} if priced else {}
    # One replica takes its share of the load, up to all that it can.
    load: dict[str, Any] = {"queries_per_s": each, "set": ["headroom=1"]} if kept else {}
    shown = a.ask("serving_cost", names, **group, **target, **load)
    assert shown is not None
    a.binding, a.feasible, a.verdict = (None, True, "") if rate else (shown.binding, False, shown.verdict)
    if idle := a.accelerators % size:
        a.notes.append(f"{idle} of the accelerators idle: a replica takes {size}")
    if rate:
        a.row("tail_latency", ["busy"], ["unity"], "serving_cost", "of what the replicas can do")
    if "flight" in n:
        _replica_rows(a, group, max(1, round(n.flight.value)))
    architecture(a, WHOLE)
    busy = None
    if rate:
        share = eq.busy_share(Value("load", each, "1/s"), Value("most", rate, "1/s"), replicas, n.group, n.accelerators)
        busy = silent.step("share", share)
    operations(a, r, busy)
    if kept:
        a.row("economic_cost", ["query_cost"], ["listed"], "serving_cost", "a query, of the API price")
    a.improve("serving_cost", "rate", "A replica's rate", **group, **target)


def _replica_rows(a: Audit, group: dict[str, Any], batch: int) -> None:
    """Add the rows of one replica at a batch: all of them from the same group and context."""
    # A replica that is full is as full as its target lets it be, which says nothing.
    if a.kept or (a.binding is not None and a.binding.slug == "serving_phases"):
        a.row("serving_phases", ["tpot"], ["target"], "serving_cost", "a token, prompts of others between")
    if "rate" in a.n:
        a.row("batching", ["flight"], ["slots"], "serving_cost", "in flight a replica, of those that fit")
    if group["n_accelerators"] > reach(a.hardware) and a.model.text("config.attention") == "mla":
        a.notes.append(
            "rows of a step left out: over the network serving_cost splits attention by sequence, roofline not"
        )
        return
    figures = {
        "mfu": "mfu",
        "mbu": "mbu",
        "needed": "needed",
        "headroom": "headroom",
        "link": "link_floor",
        "step": "expected",
    }
    a.ask("roofline", figures, required=False, **group, phase="decode", batch_sizes=[batch], seq_len=MIDDLE)
    a.row("compute_throughput", ["mfu"], ["unity"], "roofline", f"of the peak, batch {batch}")
    a.row("memory_bandwidth", ["mbu"], ["unity"], "roofline", "of the bandwidth")
    if a.binding is not None and a.binding.slug == "memory_capacity":
        _memory(a, group)
    else:
        a.row("memory_capacity", ["needed"], ["needed", "headroom"], "roofline", "an accelerator's")
    a.row("communication", ["link"], ["step"], "roofline", "links at their peak, of the step")
    a.ask(
        "quantization",
        {"int4_step": "expected"},
        required=False,
        **group,
        scheme="w4a16",
        batch_size=batch,
        seq_len=MIDDLE,
    )
    a.row("compression", ["int4_step"], ["step"], "quantization", "a step with INT4 weights, of now")
    a.ask("safety_overhead", {"guard_added": "added"}, required=False, **group, set=[f"concurrency={batch}"])
    a.row("safety", ["guard_added"], ["unity"], "safety_overhead", "accelerator time of a guard")


def _memory(a: Audit, group: dict[str, Any]) -> None:
    """Add the row of a memory in which not even one sequence fits beside what the engine takes."""
    taken = {"weights": "weights", "activation": "activation", "outside": "non_torch"}
    names = [*taken, "sequence"]
    a.ask("kv_capacity", taken | {"sequence": "sequence", "pool": "pool"}, required=False, **group, seq_len=WHOLE)
    a.row("memory_capacity", names, [*taken, "pool"], "kv_capacity", "one sequence, of what an engine has")


def _replica(a: Audit, target: dict[str, Any]) -> tuple[int, float]:
    """Return the size of replica of which all accelerators together answer most queries, and what one answers a second.

    Larger groups than a link domain only where none in one holds the model and keeps the target; 0 queries where none does.
    """
    near = min(a.accelerators, reach(a.hardware), LARGEST_GROUP)
    far = min(a.accelerators, LARGEST_GROUP)
    powers = [1 << k for k in range(LARGEST_GROUP.bit_length())]
    resolved = [1]
    for sizes in ({k for k in powers if k <= near} | {near}, {k for k in powers if near < k <= far} | {far} - {near}):
        rates: dict[int, float] = {}
        for size in sorted(sizes):
            lines = {"model": a.model.id, "hardware": a.hardware.id, "n_accelerators": size, **target}
            try:
                inner = resolve_inner("serving_cost", write_assignments(lines), a.zoo)
                out, derivation = inner.recorded()
                kept = inner.solver.present(inner.problem, out, derivation).feasible
            except (CallError, NonFiniteError):
                continue
            resolved.append(size)
            if kept and math.isfinite(rate := float(f"{out['rate'].value:.6g}")):
                rates[size] = rate
        if rates:
            best = max(rates, key=lambda size: (a.accelerators // size * rates[size], -size))
            return best, rates[best]
    return max(k for k in resolved if k <= near), 0.0
