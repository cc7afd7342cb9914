"""Formulas of collectives over a scale-up domain and the network behind it: a latency of hops and bytes over a bandwidth.

`ranks` take part, `nodes` of them scale-up domains; an all-reduce passes twice, an all-gather, reduce-scatter or half of a
data-parallel exchange once. Hop latencies are those of NCCL's ring table, times `chi`.
"""

from __future__ import annotations

from mlwalls.solvers.derivation import Constant, equation
from mlwalls.solvers.equations.training import BYTES_16
from mlwalls.solvers.functions import ceil, log, maximum, minimum, where

BASE = Constant("ring_base", 8.4e-6, "s", "nccl")
INSIDE = Constant("hop_inside", 3.4e-6, "s", "nccl")
REFERENCE_LINK = Constant("chi_link", 450e9, "byte/s")
RING = "patarasuk2009"


@equation("s", size="byte", bandwidth="byte/s", alpha="s", cite=("thakur2005", RING), wall="communication")
def ring_all_reduce(ranks, size, bandwidth, alpha):
    """Ring all-reduce by latency and bandwidth alone: reduce-scatter and all-gather."""
    return 2 * (ranks - 1) / ranks * size / bandwidth + 2 * (ranks - 1) * alpha


@equation("byte/s", node="byte/s")
def of_node(node, domain):
    """An accelerator's share of its node's network."""
    return node / domain


@equation("byte/s", link="byte/s")
def inside_bandwidth(link, share):
    """Sustained bandwidth inside a scale-up domain."""
    return link * share


@equation("byte/s", link="byte/s", cite="mleng")
def mesh_bandwidth(link, share, ranks, domain):
    """The same where every pair has a link of its own, of which a group of `ranks` uses only those to each other."""
    return share * link * maximum(minimum(ranks, domain) - 1, 1) / (domain - 1)


@equation("byte/s", size="byte", time="s", wall="communication")
def bus_bandwidth(passes, ranks, size, time):
    """Bus bandwidth of a collective, as NCCL's tests define it."""
    return passes * (ranks - 1) / ranks * size / time


@equation("", link="byte/s")
def chi_of_link(chi, link):
    """Excess of hop latencies inside a domain: the pipeline of a ring fills faster over a faster link."""
    return chi * REFERENCE_LINK / link


@equation("")
def nodes_of(ranks, domain):
    """Scale-up domains that so many neighbouring ranks span."""
    return ceil(ranks / domain)


@equation("")
def nodes_of_replicas(ranks, tp, domain):
    """Scale-up domains that data-parallel ranks span, `tp` accelerators apart."""
    return ceil(ranks * minimum(tp, domain) / domain)


@equation("s", hop="s", cite=RING, wall="communication")
def ring_latency(passes, ranks, nodes, chi_in, chi, hop):
    """Latency of one ring collective: hops inside domains and across them."""
    return where(nodes > 1, chi, chi_in) * (BASE + passes * (INSIDE * (ranks - nodes) + hop * (nodes - 1)))


@equation("byte/s", inside="byte/s", nic="byte/s", wall="communication")
def group_bandwidth(nodes, inside, eta_net, nic, ranks):
    """Bandwidth of a ring of neighbouring ranks; across domains it enters each over all network cards of its members."""
    return where(nodes > 1, minimum(inside, eta_net * nic * ranks / nodes), inside)


@equation("s", latency="s", size="byte", bandwidth="byte/s", cite=RING, wall="communication")
def collective(passes, ranks, latency, size, bandwidth):
    """Time of one collective of `size` bytes; nothing for a single rank."""
    return where(ranks > 1, latency + passes * (ranks - 1) / ranks * size / bandwidth, 0 * latency)


@equation("s", size="byte", inside="byte/s", cite=RING, wall="communication")
def tensor_parallel(count, tp, chi_in, size, inside):
    """A layer's ring all-reduces inside one scale-up domain, forward and backward."""
    return count * (chi_in * (BASE + 2 * INSIDE * (tp - 1)) + 2 * (tp - 1) / tp * size / inside)


@equation("s", size="byte", inside="byte/s", cite=RING, wall="communication")
def tensor_parallel_any(count, tp, chi_in, size, inside):
    """The same, nothing for a single rank."""
    return where(
        tp > 1, count * (chi_in * (BASE + 2 * INSIDE * (tp - 1)) + 2 * (tp - 1) / tp * size / inside), 0 * BASE
    )


@equation("s", once="s", wall="communication")
def several(count, once):
    """Several collectives of one kind."""
    return count * once


@equation("s", talk="s", wall="communication")
def unhidden(talk, hidden_share):
    """What of a group's traffic does not hide behind computing."""
    return talk * (1 - hidden_share)


@equation("byte")
def context_bytes(microbatch, context, kv_heads, tp, head_dim):
    """Keys and values that context-parallel ranks gather, a layer."""
    return 2 * BYTES_16 * microbatch * context * maximum(kv_heads / tp, 1) * head_dim


@equation("", cite="rajbhandari2020")
def own_parameters(parameters, tp, pp):
    """Parameters of one rank."""
    return parameters / (tp * pp)


@equation("byte", cite="rajbhandari2020", wall="synchronization")
def gradient_volume(own):
    """16-bit gradients scattered and weights gathered, a step."""
    return 2 * BYTES_16 * own


@equation("byte", cite="rajbhandari2020", wall="synchronization")
def sharded_volume(steps, own, pp):
    """The same where weights are sharded: gathered forward and backward (once on a pipeline stage), gradients scattered."""
    return steps * BYTES_16 * where(pp > 1, 2, 3) * own


@equation("")
def gradient_messages(layers, pp, buckets):
    """Collectives that carry them."""
    return 2 * minimum(layers / pp, buckets)


@equation("")
def sharded_messages(steps, layers, pp):
    """The same where weights are sharded."""
    return steps * where(pp > 1, 2, 3) * layers / pp


@equation("byte/s", inside="byte/s", nic="byte/s", wall="communication")
def railed_bandwidth(nodes, inside, eta_net, nic, domain, tp, ranks):
    """Bandwidth of a data-parallel ring that enters a domain once, over the network cards of all its members there."""
    return where(nodes > 1, minimum(inside, eta_net * nic * maximum(minimum(domain / tp, ranks), 1)), inside)


@equation("byte/s", inside="byte/s", nic="byte/s", wall="communication")
def railed_across(inside, eta_net, nic, domain, tp, ranks):
    """The same where the ring spans domains."""
    return minimum(inside, eta_net * nic * maximum(minimum(domain / tp, ranks), 1))


@equation("s", hop="s", cite=RING, wall="communication")
def latency_across(chi, ranks, nodes, hop):
    """Latency of one pass of a ring that spans domains."""
    return chi * (BASE + INSIDE * (ranks - nodes) + hop * (nodes - 1))


@equation("s", cite=RING, wall="communication")
def latency_inside(chi_in, ranks):
    """Latency of one pass of a ring inside a domain."""
    return chi_in * (BASE + INSIDE * (ranks - 1))


@equation("byte/s", inside="byte/s", nic="byte/s", wall="communication")
def plain_bandwidth(nodes, inside, eta_net, nic):
    """Bandwidth of a ring or tree over one network card a rank."""
    return where(nodes > 1, minimum(inside, eta_net * nic), inside)


@equation("s", hop="s", cite=("thakur2005", RING))
def plain_ring_latency(ranks, nodes, hop):
    """Latency of half a ring all-reduce by hops alone."""
    return (ranks - 1) * where(nodes > 1, hop, INSIDE)


@equation("s", hop="s", cite="thakur2005")
def tree_latency(ranks, nodes, hop):
    """Latency of half a tree all-reduce."""
    return ceil(log(ranks) / log(2)) * where(nodes > 1, hop, INSIDE)


@equation("s", volume="byte", bandwidth="byte/s", latency="s", wall="synchronization")
def data_parallel_time(ranks, volume, bandwidth, messages, latency):
    """Time of a step's data-parallel collectives."""
    return volume * (ranks - 1) / ranks / bandwidth + messages * latency


@equation("s", volume="byte", bandwidth="byte/s", latency="s", wall="synchronization")
def data_parallel(ranks, volume, bandwidth, messages, latency):
    """The same, nothing for one replica."""
    return where(ranks > 1, volume * (ranks - 1) / ranks / bandwidth + messages * latency, 0 * latency)


@equation("", wall="communication")
def members(ranks, domain, tp):
    """Data-parallel ranks in one scale-up domain."""
    return maximum(minimum(domain / tp, ranks), 1)


@equation("s", volume="byte", inside="byte/s", nic="byte/s", hop="s", wall="communication")
def hierarchical(volume, g, inside, nodes, eta_net, nic, messages, hop):
    """Scatter and gather inside each domain of `g` ranks, then across domains with what each rank holds."""
    return volume * ((g - 1) / g / inside + (nodes - 1) / nodes / g / (eta_net * nic)) + messages * (
        INSIDE * (g - 1) + hop * (nodes - 1)
    )


@equation("s", whole="s", cover="s", wall="synchronization")
def exposed(w_dp, whole, cover):
    """What of it does not hide behind the work that can cover it."""
    return (1 - w_dp) * whole + maximum(0 * whole, w_dp * whole - cover)
