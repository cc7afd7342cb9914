"""Training memory of one accelerator by class, for fleet_efficiency."""

from __future__ import annotations

from mlwalls.solvers.derivation import Derivation, Value
from mlwalls.solvers.equations import common
from mlwalls.solvers.equations import experts as moe
from mlwalls.solvers.equations import fleet_memory as eq
from mlwalls.solvers.equations import memory as memory_eq
from mlwalls.solvers.fleet_compute import StepTimes
from mlwalls.solvers.fleet_structure import Structure
from mlwalls.solvers.numbers import Numbers


def training_memory(s: Structure, n: Numbers, d: Derivation, t: StepTimes) -> dict[str, Value]:
    """Step out states, activations, logits and what is left; keys are the results' symbols."""
    stages, n = n.pp, t.n
    own, out = _states(s, n, d, t)
    t_sp = n.tp if s.split_norms else n.one
    layer = t.kept
    if t.scores is not None and s.recompute == "none":
        layer = d.step("kept_all", common.sum_of_two(t.kept, t.scores))
    stored = layer
    if s.recompute == "full":
        stored = d.step("stored", eq.kept_full(n.d_model, t_sp))
    elif s.recompute == "half" or (s.recompute == "selective" and s.flash):
        kv = n.heads if s.shape.attention == "mla" else n.kv_heads
        count = eq.kept_half if s.recompute == "half" else eq.kept_products
        stored = d.step("stored", count(n.d_model, n.heads, kv, n.core, n.matrices, n.width, n.tp))
    if s.uneven and s.interleave:
        parts = eq.activations_of_parts if s.interleave == "all" else eq.activations_uneven_parts
        law = parts(t.m, stored, n.longest, stages, n.interleave, t.steps)
    elif s.uneven:
        law = eq.activations_uneven(t.m, stored, n.longest, stages, t.steps)
    elif s.interleave:
        law = eq.activations_interleaved(t.m, stored, n.layers, n.pp, n.interleave, t.steps)
    elif s.pp:
        law = eq.activations_first(t.m, stored, n.layers, t.steps, n.pp)
    else:
        law = eq.activations(t.m, stored, n.layers)
    fullest = out["activations"] = d.step("activations", law)
    if s.pp:
        law = eq.last_stage(t.m, stored, n.layers, n.pp, n.vocab, n.tp)
        if s.zero == 3:
            law = eq.last_stage_outputs(t.m, stored, n.layers, n.pp, n.vocab, n.tp, t.steps)
        last = d.step("last_stage", law)
        fullest = d.choose("fullest", "max", [fullest, last]).value
        dynamic = [fullest]
    else:
        out["logits"] = d.step("logits", eq.logits(t.m, n.vocab, n.tp))
        dynamic = [fullest, out["logits"]]
    if s.dropout:
        dynamic.append(d.step("masks", eq.input_masks(stages, t.m, n.d_model, n.dropout, t_sp)))
    if stored is not layer:
        dynamic.append(d.step("workspace", eq.workspace(t.m, layer, n.d_model, t_sp)))
    if s.zero == 3:
        held = own
        dynamic.append(d.step("gathered", eq.gathered(held, n.layers, n.vocab, n.d_model, n.tp, n.pp)))
    while len(dynamic) > 4:
        dynamic[-2:] = [d.step(f"dynamic_{len(dynamic)}", common.sum_of_two(*dynamic[-2:]))]
    sums = {2: common.sum_of_two, 3: common.sum_of_three, 4: common.sum_of_four}
    total = dynamic[0] if len(dynamic) == 1 else d.step("dynamic", sums[len(dynamic)](*dynamic))
    states = (out["weights"], out["gradients"], out["adam"])
    out["needed"] = d.step("needed", eq.needed(*states, n.frag, total, n.driver_context))
    out["headroom"] = d.step("headroom", memory_eq.headroom(n.driver if "driver" in n else n.capacity, out["needed"]))
    return out


def _stage(s: Structure, n: Numbers, d: Derivation, t: StepTimes) -> tuple[Value, Value]:
    """Step out the parameters of one rank of the fullest stage, and those that all expert ranks hold together."""
    plain = eq.stage_of_pipeline if s.pp == "all" else eq.stage_parameters
    sizes = (n.wide_matrices, n.pp, n.vocab, n.d_model, n.tp)
    if s.shape.moe and s.ep:
        count = moe.stage_of_pipeline if s.pp == "all" else moe.stage_parameters
        own = d.step("stage", count(n.parameters, n.routed, n.ep, n.etp, *sizes))
        return own, d.step("stage_all", plain(n.parameters, *sizes)) if s.zero else own
    own = d.step("stage", plain(n.parameters, *sizes)) if s.pp else t.own
    return own, own


def _states(s: Structure, n: Numbers, d: Derivation, t: StepTimes) -> tuple[Value, dict[str, Value]]:
    """Step out weights, gradients and optimizer states: a rank's own, or a share of all that its ranks hold together."""
    own, whole = _stage(s, n, d, t)
    width, ranks = n.gradient_width, t.ranks
    weights = eq.weight_shard(whole, ranks) if s.zero == 3 else eq.weight_state(own)
    gradients = eq.gradient_shard(whole, width, ranks) if s.zero >= 2 else eq.gradient_state(own, width)
    if s.zero == 3:
        adam = eq.moments_shard(whole, ranks)
    else:
        adam = eq.optimizer_shard(whole, ranks) if s.zero else eq.optimizer_state(own)
    return own, {
        "weights": d.step("weights", weights),
        "gradients": d.step("gradients", gradients),
        "adam": d.step("adam", adam),
    }
