"""Does it fit: resident weights, cache and training states of one accelerator against its capacity.

A first check, on nominal capacity and without an engine's reserves; kv_capacity and fleet_efficiency are exact.
"""

from __future__ import annotations

from dataclasses import dataclass

from mlwalls.solvers.derivation import Derivation, Table, Value
from mlwalls.solvers.equations import common
from mlwalls.solvers.equations import memory as eq
from mlwalls.solvers.numbers import Numbers
from mlwalls.solvers.shapes import ModelShape
from mlwalls.solvers.workload import Lowering


@dataclass(frozen=True, slots=True)
class Memory:
    """Which memory classes are counted."""

    training: bool
    grows: bool


def resolve_memory(n: Numbers, phase: str) -> Memory:
    """Read the widths of training states; everything else is in `n` already."""
    if phase == "training":
        n.defined("state_bytes", 16, "byte", source="rajbhandari2020")
    return Memory(phase == "training", phase == "inference")


def needed_bytes(
    d: Derivation, m: Memory, n: Numbers, op: Table, lowering: Lowering | None, short: bool = False
) -> dict[str, Value]:
    """Step out what one accelerator must hold, and what that leaves.

    Returns:
        Keys `weights`, `kv_cache` (serving), `needed` (unless `short`) and `headroom`, in bytes.
    """
    if m.training:
        needed = d.step("needed", eq.training_states(n.parameters, n.state_bytes, n.tp))
        return {"needed": needed, "headroom": d.step("headroom", eq.headroom(n.capacity, needed))}
    assert lowering is not None
    return _with_cache(d, m, n, op, held_weights(d, lowering), short)


def resident_weights(d: Derivation, shape: ModelShape, n: Numbers) -> Value:
    """Step out the resident weights of one accelerator, `weights`, as if none were replicated."""
    return _weights(d, _uniform(shape), shape.split_experts, n)


def held_weights(d: Derivation, lowering: Lowering) -> dict[str, Value]:
    """Step out what a rank holds after a pass was lowered: keys `weights`, and `replicated` and `wider` where there are such.

    `replicated` are attention weights that a rank holds beyond its share, `wider` the bytes that latent attention's
    projections take beyond the layers' format.
    """
    s, n = lowering.shape, lowering.n
    out = {"weights": resident_weights(d, s, n)}
    width = n.a_bytes if s.projection_format else n.w_bytes
    latent_in, latent_out, qkv = (lowering.taken(name) for name in ("latent_in", "latent_out", "qkv_out"))
    if latent_in is not None and latent_out is not None:
        if s.projection_format:
            wider = eq.wider(n.attention_layers, latent_in, latent_out, n.a_bytes, n.w_bytes, n.tp)
            out["wider"] = d.step("wider", wider)
        if s.sharded:
            whole = latent_in
            if s.data_parallel:
                whole = d.step("attention_weights", common.total(latent_in, latent_out))
            out["replicated"] = d.step("replicated", eq.replicated(n.attention_layers, whole, width, n.tp))
    elif qkv is not None and s.sharded and s.data_parallel:
        out_width = lowering.taken("attn_out")
        assert out_width is not None
        whole = d.step("attention_weights", eq.attention_weights(n.d_model, qkv, out_width))
        out["replicated"] = d.step("replicated", eq.replicated(n.attention_layers, whole, width, n.tp))
    return out


def _uniform(shape: ModelShape) -> bool:
    return not shape.split_experts and shape.wide_format == shape.layer_format


def _weights(d: Derivation, uniform: bool, split_experts: bool, n: Numbers) -> Value:
    if uniform:
        return d.step("weights", eq.resident_uniform(n.parameters, n.w_bytes, n.tp))
    wide = (n.w_bytes, n.wide_matrices, n.vocab, n.d_model, n.wide_bytes)
    if split_experts:
        routed = d.step(
            "routed_params", eq.routed_parameters(n.moe_layers, n.experts, n.matrices, n.d_model, n.expert_ffn)
        )
        law = eq.resident_moe(n.parameters, *wide, routed, n.e_bytes, n.tp)
    else:
        law = eq.resident(n.parameters, *wide, n.tp)
    return d.step("weights", law)


def _with_cache(
    d: Derivation, m: Memory, n: Numbers, op: Table, weights: dict[str, Value], short: bool
) -> dict[str, Value]:
    out = dict(weights)
    parts = list(weights.values())
    held = eq.row_cache(op["count"], op["kv"])
    if m.grows:
        held = eq.row_cache_at_end(op["count"], op["kv"], n.context, n.output)
    cache = d.sum("kv_cache", held)
    out["kv_cache"] = cache
    parts.append(cache)
    if short:
        left = {2: eq.left_of_two, 3: eq.left_of_three, 4: eq.left_of_four}
        return out | {"headroom": d.step("headroom", left[len(parts)](n.capacity, *parts))}
    laws = {2: common.sum_of_two, 3: common.sum_of_three, 4: common.sum_of_four}
    out["needed"] = d.step("needed", laws[len(parts)](*parts))
    return out | {"headroom": d.step("headroom", eq.headroom(n.capacity, out["needed"]))}
