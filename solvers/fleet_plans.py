"""Plans of parallelism: which are possible, and the fastest that fits, searched on arrays."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

from mlwalls.solvers.derivation import Derivation, Value
from mlwalls.solvers.fleet_stages import PLACES, buildable, interleaves, longest
from mlwalls.solvers.fleet_structure import Part, Recompute, Spread, Structure
from mlwalls.solvers.numbers import Numbers

SIZES = ("tp", "pp", "cp", "ep", "microbatch", "interleave")
LONG_CONTEXT = 16384
# How much longer than the mean the longest stage of a searched pipeline may be.
UNEVEN = 1.1
Given = Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Model:
    """What limits a plan."""

    layers: int
    heads: int
    kv_heads: int
    experts: int
    d_model: int
    domain: int
    accelerators: int
    global_batch: int
    context: int
    expert_tp: int = 1


@dataclass(frozen=True, slots=True)
class Found:
    """The fastest plan that fits (or, with `fits` false, the one that needs least memory), and what came second.

    Attributes:
        second: sizes of the second fastest plan of the same recomputation and sharding, empty where there is none.
    """

    structure: Structure
    sizes: dict[str, int]
    fits: bool
    tried: int
    second: dict[str, int]
    second_step: float


def problems(m: Model, plan: Given) -> list[str]:
    """Say what makes the given sizes impossible, whatever the others are."""
    found = []
    tp, pp, cp, ep = (plan.get(k, 1) for k in SIZES[:4])
    if m.heads % tp:
        found.append(f"tensor_parallel={tp} does not divide {m.heads} attention heads")
    elif m.kv_heads % tp and tp % m.kv_heads:
        found.append(f"tensor_parallel={tp} does not share out {m.kv_heads} KV heads")
    if pp > m.layers:
        found.append(f"pipeline_parallel={pp} is more than {m.layers} layers")
    if ep > m.experts:
        found.append(f"ep={ep} expert ranks are more than {m.experts} experts")
    elif m.experts % ep:
        found.append(f"ep={ep} expert ranks do not divide {m.experts} experts")
    inner = tp * pp * cp
    if m.accelerators % inner:
        product_of = " x ".join(f"{k} {plan[k]}" for k in SIZES[:3] if k in plan)
        found.append(f"{product_of} does not divide {m.accelerators} accelerators")
    v = plan.get("interleave", 1)
    if v > 1 and v * pp > m.layers + PLACES:
        found.append(f"interleave={v} x {pp} stages are more than {m.layers} layers")
    elif v > 1 and "pp" in plan and not interleaves(m.layers, pp, v):
        found.append(f"interleave={v} x {pp} stages do not divide {m.layers} layers")
    if m.global_batch % plan.get("microbatch", 1):
        found.append(f"microbatch={plan['microbatch']} does not divide global_batch={m.global_batch}")
    if found or "tp" not in plan or "pp" not in plan:
        return found
    dp = m.accelerators // inner
    batch = dp * plan.get("microbatch", 1)
    if m.global_batch % batch:
        found.append(f"global_batch={m.global_batch} is no multiple of {batch}, replicas times micro-batch")
    return found


def _powers(limit: int) -> list[int]:
    return [2**k for k in range(21) if 2**k <= limit]


def candidates(m: Model, given: Given) -> dict[str, list[int]]:
    """Return the sizes to try, a given one alone."""
    stages = [p for p in range(1, min(128, m.layers) + 1) if buildable(m.layers, p)]
    stages = [p for p in stages if longest(m.layers, p) * p <= UNEVEN * m.layers]
    options = {
        "tp": sorted(_powers(min(m.domain, 64)) + ([3, 6, 12, 24, 48] if m.domain > 64 else [])),
        "pp": [p for p in stages if p <= m.accelerators],
        "cp": _powers(64) if m.context > LONG_CONTEXT else [1],
        "ep": [e for e in _powers(m.experts) if m.experts % e == 0],
        "microbatch": _powers(32),
        "interleave": list(range(1, 9)),
    }
    return {k: [given[k]] if k in given else options[k] for k in SIZES}


def possible(m: Model, given: Given) -> Iterator[tuple[int, ...]]:
    """Yield the possible combinations of sizes."""
    o = candidates(m, given)
    for tp, pp, cp in product(o["tp"], o["pp"], o["cp"]):
        inner = tp * pp * cp
        if _unshared(m, tp, pp, cp):
            continue
        dp = m.accelerators // inner
        for ep, batch in product(o["ep"], o["microbatch"]):
            if (tp * dp * cp) % (ep if ep == 1 else ep * m.expert_tp) or m.global_batch % (dp * batch):
                continue
            steps = m.global_batch // (dp * batch)
            for v in o["interleave"]:
                if v == 1 or (pp > 1 and steps % pp == 0 and interleaves(m.layers, pp, v)):
                    yield tp, pp, cp, ep, batch, v


def nearest_batches(m: Model) -> list[int]:
    """Return the batches nearest by factor that some plan shares out over the accelerators, nearest first."""
    o = candidates(m, {})
    inner = {tp * pp * cp for tp, pp, cp in product(o["tp"], o["pp"], o["cp"]) if not _unshared(m, tp, pp, cp)}
    replicas = {m.accelerators // size for size in inner}
    around = {r * k for r in replicas for k in (m.global_batch // r, m.global_batch // r + 1) if k}
    return sorted(around, key=lambda batch: (abs(math.log(batch / m.global_batch)), batch))


def nearest_counts(m: Model) -> list[int]:
    """Return the numbers of accelerators nearest by factor over which some plan shares out the batch, nearest first."""
    o = candidates(replace(m, accelerators=2 * m.accelerators), {})
    halves = [k for k in range(1, math.isqrt(m.global_batch) + 1) if m.global_batch % k == 0]
    replicas = {*halves, *(m.global_batch // k for k in halves)}
    sizes = {tp * pp * cp for tp, pp, cp in product(o["tp"], o["pp"], o["cp"]) if not m.heads % tp}
    around = {r * size for r, size in product(replicas, sizes) if size * r <= 2 * m.accelerators}
    return sorted(around, key=lambda count: (abs(math.log(count / m.accelerators)), count))


def _unshared(m: Model, tp: int, pp: int, cp: int) -> bool:
    """Whether heads, layers or accelerators cannot be shared out so."""
    kv = m.kv_heads % tp and tp % m.kv_heads
    return bool(m.heads % tp or kv or m.accelerators % (tp * pp * cp) or pp > m.layers)


def shaped(base: Structure, plans: Sequence[tuple[Model, Mapping[str, int]]]) -> Structure:
    """Return the structure with the parts that all or any of some plans have."""

    def part(key: str) -> Part:
        split = [plan[key] > 1 for _, plan in plans]
        return "all" if all(split) else "some" if any(split) else ""

    ranks = [m.accelerators // (plan["tp"] * plan["pp"]) for m, plan in plans]
    spanning = [r * min(plan["tp"], m.domain) > m.domain for r, (m, plan) in zip(ranks, plans, strict=True)]
    spread: Spread = "some"
    if max(ranks) == 1:
        spread = ""
    elif min(ranks) > 1 and len(set(spanning)) == 1:
        spread = "across" if spanning[0] else "inside"
    return replace(
        base,
        tp=part("tp"),
        pp=part("pp"),
        cp=bool(part("cp")),
        ep=bool(part("ep")),
        interleave=part("interleave"),
        whole_experts=all(plan["ep"] > 1 and m.expert_tp == 1 for m, plan in plans),
        uneven=any(m.layers % (plan["pp"] * plan["interleave"]) for m, plan in plans),
        dp=spread,
        several=any(m.accelerators > 1 for m, _ in plans),
        across=any(plan["tp"] > m.domain for m, plan in plans),
        misaligned=any(m.d_model % (64 * plan["tp"]) for m, plan in plans),
    )


def fastest(
    m: Model,
    given: Given,
    base: Structure,
    recompute: Sequence[Recompute],
    zero: Sequence[int],
    numbers: Callable[[Structure], Numbers],
    compute: Callable[[Any, Numbers, Derivation], Mapping[str, Value]],
    near: Given | None = None,
) -> Found | None:
    """Try every possible plan in every variant; None where there is none.

    Args:
        numbers: gives a variant's numbers, whose sizes are replaced by arrays.
        compute: the solver's own.
        near: sizes to stay as near to as can be, by factors of two; speed decides between equals.
    """
    import numpy

    plans = list(possible(m, given))
    if not plans:
        return None
    columns = {k: numpy.array(c, dtype=float) for k, c in zip(SIZES, zip(*plans, strict=True), strict=True)}
    far = numpy.zeros(len(plans))
    for size, wanted in (near or {}).items():
        far = far + numpy.abs(numpy.log2(columns[size] / wanted))
    whole = shaped(base, [(m, dict(zip(SIZES, plan, strict=True))) for plan in plans])
    best: tuple[bool, float, float] | None = None
    found: Found | None = None
    variants = list(product(recompute, zero))
    for again, stage in variants:
        structure = replace(whole, recompute=again, zero=stage)
        out = compute(structure, numbers(structure).replaced(columns), Derivation(record=False))
        step = numpy.broadcast_to(out["step"].value, len(plans))
        room = numpy.broadcast_to(out["headroom"].value, len(plans))
        # Pipelines keep gradients whole over their micro-batches, so that stage 2 is searched without them.
        usable = (room >= 0) & ((stage != 2) | (columns["pp"] == 1) | (len(zero) == 1))
        some = bool(usable.any())
        order = numpy.lexsort((step, numpy.where(usable, far, numpy.inf))) if some else numpy.argsort(-room)
        first = int(order[0])
        key = (not some, float(far[first]) if some else 0.0, float(step[first] if some else -room[first]))
        if best is not None and key >= best:
            continue
        best = key
        after = int(order[1]) if some and near is None and len(plans) > 1 and usable[order[1]] else None
        sizes = dict(zip(SIZES, plans[first], strict=True))
        second = {} if after is None else dict(zip(SIZES, plans[after], strict=True))
        found = Found(
            shaped(structure, [(m, sizes), (m, second or sizes)]),
            sizes,
            some,
            len(plans) * len(variants),
            second,
            0.0 if after is None else float(step[after]),
        )
    return found
