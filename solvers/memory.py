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


@dataclass(frozen=True, slots=True)
class Memory:
    """Which memory classes are counted."""

    training: bool
    uniform: bool
    split_experts: bool
    replicated: bool
    grows: bool


def resolve_memory(n: Numbers, shape: ModelShape, phase: str) -> Memory:
    """Read the widths of training states; everything else is in `n` already."""
    if phase == "training":
        n.defined("state_bytes", 16, "byte", source="rajbhandari2020")
    uniform = _uniform(shape)
    replicated = shape.attention == "mla" and shape.sharded
    return Memory(phase == "training", uniform, shape.split_experts, replicated, phase == "inference")


def needed_bytes(d: Derivation, m: Memory, n: Numbers, op: Table, latent_in: Value | None) -> dict[str, Value]:
    """Step out what one accelerator must hold: keys `weights`, `kv_cache` (serving) and `needed`."""
    if m.training:
        return {"needed": d.step("needed", eq.training_states(n.parameters, n.state_bytes, n.tp))}
    return _with_cache(d, m, n, op, latent_in, _weights(d, m.uniform, m.split_experts, n))


def resident_weights(d: Derivation, shape: ModelShape, n: Numbers) -> Value:
    """Step out the resident weights of one accelerator, `weights`."""
    return _weights(d, _uniform(shape), shape.split_experts, n)


def _uniform(shape: ModelShape) -> bool:
    return not shape.split_experts and shape.wide_format == shape.layer_format


def _weights(d: Derivation, uniform: bool, split_experts: bool, n: Numbers) -> Value:
    if uniform:
        return d.step("weights", eq.resident_uniform(n.parameters, n.w_bytes, n.tp))
    wide = d.step("wide_params", eq.wide_parameters(n.wide_matrices, n.vocab, n.d_model))
    if split_experts:
        routed = d.step("routed", eq.routed_parameters(n.moe_layers, n.experts, n.matrices, n.d_model, n.expert_ffn))
        law = eq.resident_moe(n.parameters, routed, wide, n.w_bytes, n.e_bytes, n.wide_bytes, n.tp)
    else:
        law = eq.resident(n.parameters, wide, n.w_bytes, n.wide_bytes, n.tp)
    return d.step("weights", law)


def _with_cache(
    d: Derivation, m: Memory, n: Numbers, op: Table, latent_in: Value | None, weights: Value
) -> dict[str, Value]:
    out = {"weights": weights}
    parts = [weights]
    if m.replicated and latent_in is not None:
        extra = d.step("replicated", eq.replicated(n.layers, latent_in, n.w_bytes, n.tp))
        out["replicated"] = extra
        parts.append(extra)
    cache = d.sum("kv_read" if m.grows else "kv_cache", eq.row_cache(op["count"], op["kv"]))
    if m.grows:
        cache = d.step("kv_cache", eq.cache_at_end(cache, n.context, n.output))
    out["kv_cache"] = cache
    parts.append(cache)
    law = common.sum_of_three if len(parts) == 3 else common.sum_of_two
    out["needed"] = d.step("needed", law(*parts))
    return out
