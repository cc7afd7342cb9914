"""One training step over many accelerators: what fleet_efficiency steps out, on scalars or on arrays of plans."""

from __future__ import annotations

from dataclasses import dataclass

from mlwalls.solvers.derivation import Derivation, Value
from mlwalls.solvers.equations import collectives as net
from mlwalls.solvers.equations import common, operators
from mlwalls.solvers.equations import experts as moe
from mlwalls.solvers.equations import fleet as eq
from mlwalls.solvers.equations import fleet_step as step_eq
from mlwalls.solvers.equations import training as train
from mlwalls.solvers.fleet_experts import bind_experts, expert_exchange, routed_products
from mlwalls.solvers.fleet_structure import Structure
from mlwalls.solvers.numbers import Numbers

_SUMS = {2: common.sum_of_two, 3: common.sum_of_three, 4: common.sum_of_four}


@dataclass(slots=True)
class StepTimes:
    """What later parts of the answer use; `n` has the model's derived widths bound, `pp` as many stages as hold
    the layers if all are as long as the longest."""

    n: Numbers
    m: Value
    dp: Value
    steps: Value
    ranks: Value
    own: Value
    step: Value
    tokens: Value
    kept: Value
    scores: Value | None
    out: dict[str, Value]


def training_step(s: Structure, n: Numbers, d: Derivation) -> StepTimes:
    """Step out one step of a plan in `n` (tp, pp, cp, ep, microbatch, interleave, accelerators, global_batch)."""
    n = _shape(s, n, d)
    if "node_network" in n:
        n = n.bound("nic", d.step("nic", net.of_node(n.node_network, n.domain)))
    if s.cp:
        dp = d.step("dp", eq.replicas_of_context(n.accelerators, n.tp, n.pp, n.cp))
        m = d.step("m", eq.tokens_of_context(n.microbatch, n.context, n.cp))
        ranks = d.step("ranks", common.product(dp, n.cp))
    else:
        dp = ranks = d.step("dp", eq.replicas(n.accelerators, n.tp, n.pp))
        m = d.step("m", eq.tokens_of(n.microbatch, n.context))
    steps = d.step("steps", eq.microbatches(n.global_batch, dp, n.microbatch))
    memory = d.step("memory", eq.sustained_bandwidth(n.bandwidth, n.eta_hbm))
    rate16, rate, kappa = _rates(s, n, d)
    layer = _layer(s, n, d, m, rate, rate16, memory, kappa)
    hidden = d.step("hidden", eq.hidden_bytes(m, n.d_model)) if s.tp or s.pp else None
    inside = d.step("inside", net.inside_bandwidth(n.link, n.eta_ring)) if s.tp or s.dp else None
    chi = d.step("chi_in", net.chi_of_link(n.chi, n.link)) if s.tp or s.dp else None
    talk = _talk(s, n, d, hidden, inside, chi, layer.copies)
    again = _again(s, d, layer)
    extra = [part for part in (again, talk) if part is not None]
    both = d.step("extra", common.sum_of_two(*extra)) if len(extra) == 2 else extra[0] if extra else None
    alone, more = (eq.layer_alone, eq.layer_time) if s.flash else (eq.plain_layer_alone, eq.plain_layer_time)
    parts = (layer.gemms, layer.attend, layer.elements)
    one_layer = d.step("layer", alone(*parts) if both is None else more(*parts, both))
    head = d.step("head", eq.head_time(m, n.d_model, n.vocab, n.tp, rate16, memory))
    moved = idle = reduce = None
    v = n.interleave if s.interleave else n.one
    u = n
    if s.pp and hidden is not None:
        sent = (v, hidden, n.tp, n.eta_net, n.nic)
        moved = d.step("p2p", eq.transfers_of_pipeline(*sent) if s.pp == "all" else eq.stage_transfers(n.pp, *sent))
        share = n.imb if s.pp == "all" else d.step("imb_here", eq.unhidden_share(n.pp, n.imb))
        stage = (n.pp, one_layer, share, head, moved)
        if s.uneven:
            law = eq.longest_interleaved(n.layers, n.pp, v) if s.interleave else eq.longest_stage(n.layers, n.pp)
            longest = d.step("longest", law)
            u = n.bound("longest", longest).bound("pp", d.step("filled", common.ratio(n.layers, longest)))
            once = d.step("pass", eq.longest_time(longest, n.layers, *stage))
        else:
            once = d.step("pass", eq.stage_time(n.layers, *stage))
        idle = d.step("bubble", eq.bubble(n.pp, v, once))
    else:
        once = d.step("pass", eq.pass_time(n.layers, one_layer, head))
    work = d.step("work", common.times(steps, once))
    own = _own(s, u, d)
    if s.dp and inside is not None and chi is not None:
        reduce = _data_parallel(s, u, d, own, ranks, steps, inside, chi, work if s.zero == 3 else once)
    update = _update(s, u, d, own, ranks, memory)
    spent = [part for part in (work, idle, reduce, update) if part is not None]
    mean = d.step("mean", _SUMS[len(spent)](*spent))
    if s.several:
        straggle = d.step("straggle", step_eq.straggling(n.sigma, n.accelerators))
        step = d.step("step", step_eq.step_time(mean, straggle))
    else:
        step = d.step("step", common.times(n.one, mean))
    tokens = d.step("tokens", step_eq.step_tokens(n.global_batch, n.context))
    out = {"step": step, "throughput": d.step("throughput", step_eq.token_rate(tokens, step))}
    if s.several:
        out["stragglers"] = d.step("stragglers", step_eq.straggler_loss(step, mean))
    if reduce is not None:
        out["exposed"] = reduce
    flops = _useful(s, n, d, out, tokens, layer.matmuls)
    whole = step_eq.utilization(flops, step, n.accelerators, n.peak)
    out["mfu"] = d.step("mfu", whole if s.fp8 else step_eq.useful_share(out["useful"], step))
    if s.recompute == "full":
        law = step_eq.hardware_flops(tokens, n.layers, layer.matmuls, n.heads, n.core, n.span, n.d_model, n.vocab)
        done = d.step("hardware_flops", law)
        out["hfu"] = d.step("hfu", step_eq.utilization(done, step, n.accelerators, n.peak))
    if again is not None:
        out["recompute"] = d.step("recompute", step_eq.per_step(steps, n.layers, n.pp, again))
    if talk is not None:
        out["communication"] = d.step("communication", step_eq.per_step(steps, n.layers, n.pp, talk))
    if moved is not None and idle is not None:
        law = step_eq.pipeline_loss(idle, steps, moved)
        if s.uneven:
            law = step_eq.uneven_loss(idle, steps, moved, u.longest, n.layers, n.pp, one_layer)
        out["pipeline"] = d.step("pipeline", law)
    lost = [out[name] for name in ("recompute", "communication", "pipeline", "exposed") if name in out]
    if not lost:
        law = common.difference(mean, out["useful"])
    else:
        named = lost[0] if len(lost) == 1 else d.step("lost", _SUMS[len(lost)](*lost))
        law = step_eq.kernel_loss(mean, out["useful"], named)
    out["kernels"] = d.step("kernels", law)
    return StepTimes(u, m, dp, steps, ranks, own, step, tokens, layer.kept, layer.scores, out)


def _shape(s: Structure, n: Numbers, d: Derivation) -> Numbers:
    """Bind the widths that follow from the model: mean MLP width, routed parameters, attention span, head size."""
    if s.shape.moe:
        law = train.active_ffn(n.moe_layers, n.top_k, n.expert_ffn, n.shared_ffn, n.dense_layers, n.ffn, n.layers)
        n = bind_experts(n.bound("width", d.step("width", law)), d, s.ep, s.whole_experts)
    else:
        n = n.bound("width", n.ffn)
    span = n.context
    if s.shape.windowed:
        pairs = d.step("window_pairs", operators.windowed_pairs(n.context, n.window))
        span = d.step("span", eq.mean_span(n.context, n.full_layers, n.window_layers, pairs, n.layers))
    latent = s.shape.attention == "mla"
    core = d.step("core", train.latent_core(n.nope, n.rope, n.v_dim)) if latent else n.head_dim
    return n.bound("span", span).bound("core", core)


def _rates(s: Structure, n: Numbers, d: Derivation) -> tuple[Value, Value, Value]:
    """Step out the sustained rates of 16-bit products and of the layers' own, and the traffic of elementwise work."""
    law = (
        eq.sustained_of_measured(n.s_gemm, n.matmul)
        if s.measured
        else eq.sustained_of_peak(n.s_gemm, n.eta_dev, n.peak)
    )
    kappa = n.kappa
    if s.fused:
        kappa = d.step("kappa_fused", eq.fused_traffic(kappa, n.fused))
    if s.misaligned:
        aligned = d.step("aligned", eq.alignment(n.d_model, n.tp, n.align))
        rate = d.step("rate", eq.slowed(d.step("best", law), aligned))
        kappa = d.step("kappa_here", eq.misaligned_traffic(kappa, aligned))
    else:
        rate = d.step("rate", law)
    return rate, d.step("rate8", eq.rate_of_fp8(rate, n.s_fp8, n.peak8, n.peak)) if s.fp8 else rate, kappa


@dataclass(slots=True)
class _Layer:
    gemms: Value
    attend: Value
    elements: Value
    forward: Value | None
    softmax: Value | None
    matmuls: Value
    kept: Value
    scores: Value | None
    copies: Value | None


def _layer(
    s: Structure, n: Numbers, d: Derivation, m: Value, rate: Value, rate16: Value, memory: Value, kappa: Value
) -> _Layer:
    if s.shape.attention == "mla":
        width = d.step("block", eq.latent_width(_latent(s, n, d), n.heads, n.v_dim, n.matrices, n.width))
        stored = d.step("stored_block", eq.block_width(n.heads, n.heads, n.core, n.matrices, n.width))
    else:
        width = stored = d.step("block", eq.block_width(n.heads, n.kv_heads, n.core, n.matrices, n.width))
    copies = None
    if s.shape.moe:
        copies, routed = routed_products(n, d, m, rate, memory)
        dense = d.step("dense", eq.without_routed(width, n.matrices, n.width, n.rest))
        plain = d.step("gemms", eq.gemm_step(m, n.d_model, dense, n.tp, rate, memory))
        gemms = d.step("gemms_all", common.sum_of_two(plain, routed))
    else:
        gemms = d.step("gemms", eq.gemm_step(m, n.d_model, width, n.tp, rate, memory))
    redo = s.recompute in ("half", "full")
    forward = d.step("forward", eq.gemm_forward(m, n.d_model, width, n.tp, rate, memory)) if redo else None
    matmuls = d.step("matmuls", eq.matmul_parameters(width, n.d_model))
    square = (m, n.span, n.heads, n.core, n.tp)
    if not s.flash:
        attend = d.step("attend", eq.plain_attention(*square, rate16))
    elif s.gain:
        attend = d.step("attend", eq.flash_forward_gain(*square, n.eta_fa, n.flash_gain, n.peak))
    else:
        attend = d.step("attend", eq.flash_forward(*square, n.eta_fa, n.peak))
    if s.split_norms and not s.dropout:
        kept = d.step("kept", eq.kept(n.d_model, stored, n.tp))
    else:
        t_sp = n.tp if s.split_norms else n.one
        kept = d.step("kept", eq.kept_masks(n.d_model, n.dropout, t_sp, stored, n.tp))
    elements = d.step("elements", eq.elementwise(kappa, m, kept, memory))
    softmax = scores = None
    if not s.flash:
        scores = d.step("scores", eq.kept_scores(n.heads, n.context, n.dropout, n.tp, n.cp if s.cp else n.one))
        softmax = d.step("softmax", eq.elementwise(kappa, m, scores, memory))
        elements = d.step("elements_all", common.sum_of_two(elements, softmax))
    return _Layer(gemms, attend, elements, forward, softmax, matmuls, kept, scores, copies)


def _latent(s: Structure, n: Numbers, d: Derivation) -> Value:
    """Step out the columns of latent attention's projections but the last, over the model's width."""
    compressed = s.shape.compressed_query
    q_rank, inner = (n.q_rank, n.q_rank) if compressed else (n.zero, n.d_model)
    every = d.step("latent_in", operators.latent_in_elements(n.d_model, q_rank, n.kv_rank, n.rope))
    law = operators.latent_out_elements(inner, n.heads, n.nope, n.rope, n.kv_rank, n.v_dim, n.d_model)
    out = d.step("latent_out", law)
    return d.step("columns", train.latent_columns(every, out, n.heads, n.v_dim, n.d_model))


def _again(s: Structure, d: Derivation, layer: _Layer) -> Value | None:
    """Step out what a layer does again in its backward pass."""
    if s.recompute == "full" and layer.forward is not None:
        return d.step("again", eq.redone(layer.forward, layer.elements, layer.attend))
    if s.recompute == "half" and layer.forward is not None:
        return d.step("again", eq.redone_half(layer.forward, layer.elements))
    if s.recompute == "selective":
        return (
            layer.elements if layer.softmax is None else d.step("again", common.sum_of_two(layer.attend, layer.softmax))
        )
    return None


def _talk(
    s: Structure,
    n: Numbers,
    d: Derivation,
    hidden: Value | None,
    inside: Value | None,
    chi: Value | None,
    copies: Value | None,
) -> Value | None:
    """Step out tensor-, context- and expert-parallel communication of one layer."""
    talk: Value | None = None
    if inside is None or chi is None:
        return None
    count = n.all_reduces
    if s.tp and copies is not None:
        count = d.step("reductions", moe.block_reductions(count, n.moe_layers, n.layers))
    if s.tp and hidden is not None:
        within = inside
        if s.switch:
            within = d.step("within", net.inside_bandwidth(n.link, n.eta_switch))
        elif s.mesh:
            within = d.step("within", net.mesh_bandwidth(n.link, n.eta_mesh, n.tp, n.domain))
        if s.across:
            nodes = d.step("tp_nodes", net.nodes_of(n.tp, n.domain))
            latency = d.step("tp_latency", net.ring_latency(n.two, n.tp, nodes, chi, n.chi, n.hop_across))
            bandwidth = d.step("tp_bandwidth", net.group_bandwidth(nodes, within, n.eta_net, n.nic, n.tp))
            once = d.step("tp_once", net.collective(n.two, n.tp, latency, hidden, bandwidth))
            talk = d.step("tp_time", net.several(count, once))
        else:
            law = net.tensor_parallel if s.tp == "all" else net.tensor_parallel_any
            talk = d.step("tp_time", law(count, n.tp, chi, hidden, within))
        if s.hidden_tp:
            talk = d.step("tp_exposed", net.unhidden(talk, n.w_tp))
    if s.cp:
        gathered = d.step("cp_bytes", net.context_bytes(n.microbatch, n.context, n.kv_heads, n.tp, n.core))
        group = d.step("cp_group", common.product(n.tp, n.cp))
        nodes = d.step("cp_nodes", net.nodes_of(group, n.domain))
        latency = d.step("cp_latency", net.ring_latency(n.one, n.cp, nodes, chi, n.chi, n.hop_across))
        bandwidth = d.step("cp_bandwidth", net.group_bandwidth(nodes, inside, n.eta_net, n.nic, group))
        once = d.step("cp_once", net.collective(n.one, n.cp, latency, gathered, bandwidth))
        extra = d.step("cp_time", net.several(n.cp_gathers, once))
        talk = extra if talk is None else d.step("tp_cp", common.sum_of_two(talk, extra))
    if copies is not None and (s.ep or s.tp):
        extra = expert_exchange(n, d, copies, inside, s.hidden_ep, s.whole_experts, s.once_a_domain)
        talk = extra if talk is None else d.step("talk", common.sum_of_two(talk, extra))
    return talk


def _own(s: Structure, n: Numbers, d: Derivation) -> Value:
    if s.shape.moe and s.ep:
        return d.step("own", moe.own_parameters(n.parameters, n.routed, n.ep, n.etp, n.tp, n.pp))
    return d.step("own", net.own_parameters(n.parameters, n.tp, n.pp))


def _data_parallel(
    s: Structure,
    n: Numbers,
    d: Derivation,
    own: Value,
    ranks: Value,
    steps: Value,
    inside: Value,
    chi: Value,
    cover: Value,
) -> Value:
    if s.zero == 3:
        volume = d.step("dp_bytes", net.sharded_volume(steps, own, n.pp))
        messages = d.step("messages", net.sharded_messages(steps, n.layers, n.pp))
    else:
        volume = d.step("dp_bytes", net.gradient_volume(own))
        messages = d.step("messages", net.gradient_messages(n.layers, n.pp, n.buckets))
    if s.collective == "railed" and s.dp == "inside":
        hops = d.step("dp_latency", net.latency_inside(chi, ranks))
        time = d.step("dp_time", net.data_parallel_time(ranks, volume, inside, messages, hops))
        return d.step("exposed", net.exposed(n.w_dp, time, cover))
    nodes = d.step("dp_nodes", net.nodes_of_replicas(ranks, n.tp, n.domain))
    if s.collective == "hierarchical":
        g = d.step("dp_members", net.members(ranks, n.domain, n.tp))
        law = net.hierarchical(volume, g, inside, nodes, n.eta_net, n.nic, messages, n.hop_across)
        time = d.step("dp_time", law)
        return d.step("exposed", net.exposed(n.w_dp, time, cover))
    if s.collective != "railed":
        law = net.plain_bandwidth(nodes, inside, n.eta_net, n.nic)
        plain = net.plain_ring_latency if s.collective == "ring" else net.tree_latency
        latency = plain(ranks, nodes, n.hop_across)
    elif s.dp == "across":
        law = net.railed_across(inside, n.eta_net, n.nic, n.domain, n.tp, ranks)
        latency = net.latency_across(n.chi, ranks, nodes, n.hop_across)
    else:
        law = net.railed_bandwidth(nodes, inside, n.eta_net, n.nic, n.domain, n.tp, ranks)
        latency = net.ring_latency(n.one, ranks, nodes, chi, n.chi, n.hop_across)
    bandwidth = d.step("dp_bandwidth", law)
    hops = d.step("dp_latency", latency)
    total = net.data_parallel if s.dp == "some" else net.data_parallel_time
    time = d.step("dp_time", total(ranks, volume, bandwidth, messages, hops))
    return d.step("exposed", net.exposed(n.w_dp, time, cover))


def _update(s: Structure, n: Numbers, d: Derivation, own: Value, ranks: Value, memory: Value) -> Value:
    """Step out the optimizer's time: all parameters of a stage over all ranks, or each rank its own."""
    mine = own
    if s.zero and s.shape.moe and s.ep:
        mine = d.step("mine", net.own_parameters(n.parameters, n.tp, n.pp))
    return d.step("optimizer", step_eq.optimizer_time(mine, ranks if s.zero else n.one, memory))


def _useful(s: Structure, n: Numbers, d: Derivation, out: dict[str, Value], tokens: Value, matmuls: Value) -> Value:
    """Step out the model's FLOPs and their time at the peaks of the formats used."""
    flops = d.step("flops", step_eq.model_flops(tokens, n.layers, matmuls, n.heads, n.core, n.span, n.d_model, n.vocab))
    if s.fp8:
        linear = d.step("linear", step_eq.linear_flops(tokens, n.layers, matmuls))
        law = step_eq.ideal_time_fp8(flops, linear, n.accelerators, n.peak, n.peak8)
    else:
        law = step_eq.ideal_time(flops, n.accelerators, n.peak)
    out["useful"] = d.step("useful", law)
    return flops
