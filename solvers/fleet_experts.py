"""Mixture-of-experts layers of a training step: routed products and what expert ranks exchange, for fleet_efficiency."""

from __future__ import annotations

from mlwalls.solvers.derivation import Derivation, Value
from mlwalls.solvers.equations import experts as eq
from mlwalls.solvers.equations import memory as memory_eq
from mlwalls.solvers.equations.collectives import unhidden
from mlwalls.solvers.numbers import Numbers


def bind_experts(n: Numbers, d: Derivation, ranks: bool, whole: bool) -> Numbers:
    """Bind the mean MLP width that is not routed, the routed parameters, and over how many ranks one expert is split."""
    rest = eq.width_not_routed(n.moe_layers, n.shared_ffn, n.dense_layers, n.ffn, n.layers)
    n = n.bound("rest", d.step("rest", rest))
    if not ranks:
        return n.bound("etp", n.tp)
    routed = memory_eq.routed_parameters(n.moe_layers, n.experts, n.matrices, n.d_model, n.expert_ffn)
    n = n.bound("routed", d.step("routed", routed))
    if whole:
        return n.bound("etp", n.expert_tp)
    return n.bound("etp", d.step("etp", eq.expert_split(n.ep, n.tp, n.expert_tp)))


def routed_products(n: Numbers, d: Derivation, m: Value, rate: Value, memory: Value) -> tuple[Value, Value]:
    """Step out the token copies that a rank's experts take, and a layer's time in them, forward and backward."""
    copies = d.step("copies", eq.expert_copies(m, n.top_k, n.etp, n.tp))
    shape = (copies, n.matrices, n.d_model, n.expert_ffn, n.etp)
    products = d.step("routed_gemms", eq.expert_products(*shape, rate))
    traffic = d.step("routed_traffic", eq.expert_traffic(*shape, n.experts, n.ep, memory))
    routing = d.step("routing", eq.routing_traffic(n.route_bytes, copies, n.d_model, memory))
    whole = eq.experts_time(n.moe_layers, n.layers, products, traffic, routing)
    return copies, d.step("experts_time", whole)


def expert_exchange(
    n: Numbers, d: Derivation, copies: Value, inside: Value, overlapped: bool, whole: bool, once: bool
) -> Value:
    """Step out what expert ranks, and the ranks that split an expert, send each other in one layer, less what is set to hide."""
    domains = d.step("ep_domains", eq.expert_domains(n.ep, n.etp, n.domain))
    law = eq.domains_reached(domains, n.top_k) if once else eq.remote_domains(domains, n.top_k, n.dispatch)
    remote = d.step("ep_remote", law)
    sizes = (n.ep, copies, n.etp, n.d_model, n.top_k)
    sent = d.step("ep_sent", eq.all_to_all(*sizes, domains, remote, inside, n.eta_net, n.nic))
    if overlapped:
        sent = d.step("ep_exposed", unhidden(sent, n.w_ep))
    if whole:
        return d.step("ep_time", eq.exchange(n.moe_layers, n.layers, sent))
    gathered = d.step("ep_gathered", eq.expert_gather(n.ep, copies, n.top_k, n.etp, n.d_model, inside))
    return d.step("ep_time", eq.expert_talk(n.moe_layers, n.layers, sent, gathered))
