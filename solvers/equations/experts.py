"""Formulas of mixture-of-experts layers in a training step: routed products, routing traffic, dispatch between expert ranks.

Experts are split over `ep` ranks of consecutive accelerators, tensor-parallel ranks among them, and each over `etp`. A rank's
experts take as many token copies as its own tokens send out: loads are taken as even.
"""

from __future__ import annotations

from mlwalls.solvers.derivation import equation
from mlwalls.solvers.equations.fleet import GRADIENT
from mlwalls.solvers.equations.operators import FLOP_PER_MAC
from mlwalls.solvers.equations.training import BYTES_16
from mlwalls.solvers.functions import ceil, where

FOLDING = "liu2025folding"


@equation("")
def width_not_routed(moe_layers, shared_ffn, dense_layers, ffn, layers):
    """Mean MLP width that is not routed, over expert and dense layers."""
    return (moe_layers * shared_ffn + dense_layers * ffn) / layers


@equation("", cite=FOLDING)
def expert_split(ep, tp, expert_tp):
    """Ranks that split one expert: the tensor-parallel group's without expert ranks."""
    return where(ep > 1, expert_tp, tp)


@equation("token")
def expert_copies(m, top_k, etp, tp):
    """Token copies that the experts of one rank take, a micro-batch and layer."""
    return m * top_k * etp / tp


@equation("s", rate="FLOP/s", wall="compute_throughput")
def expert_products(copies, matrices, d_model, expert_ffn, etp, rate):
    """Arithmetic of routed experts, forward and two backward products each."""
    return 3 * FLOP_PER_MAC * copies * matrices * d_model * expert_ffn / (etp * rate)


@equation("s", memory="byte/s", wall="memory_bandwidth")
def expert_traffic(copies, matrices, d_model, expert_ffn, etp, experts, ep, memory):
    """Their operands' traffic: copies, and the weights and fp32 gradients of every expert that the rank holds."""
    return (
        3 * BYTES_16 * copies * (2 * d_model + matrices * expert_ffn / etp)
        + (2 * BYTES_16 + GRADIENT) * experts * matrices * d_model * expert_ffn / (ep * etp)
    ) / memory


@equation("s", route_bytes="byte", memory="byte/s", wall="memory_bandwidth")
def routing_traffic(route_bytes, copies, d_model, memory):
    """Memory traffic of permuting, weighting and summing token copies, forward and backward."""
    return route_bytes * copies * d_model / memory


@equation("s", products="s", traffic="s", routing="s")
def experts_time(moe_layers, layers, products, traffic, routing):
    """A layer's routed experts, on average over all layers."""
    return moe_layers / layers * (products + traffic + routing)


@equation("")
def block_reductions(all_reduces, moe_layers, layers):
    """A layer's tensor-parallel all-reduces where experts are not split: attention's alone in layers with experts."""
    return all_reduces * (1 - moe_layers / layers / 2)


@equation("")
def expert_domains(ep, etp, domain):
    """Scale-up domains that a group of expert ranks spans."""
    return ceil(ep * etp / domain)


@equation("", wall="communication")
def remote_domains(domains, top_k, dispatch):
    """Times that a token is sent to other domains under even routing: once to each it goes to, or (`dispatch` 2) once a copy."""
    return (domains - 1) * where(dispatch > 1, top_k / domains, 1 - (1 - 1 / domains) ** top_k)


@equation("", wall="communication")
def domains_reached(domains, top_k):
    """The same for a token sent once to each domain."""
    return (domains - 1) * (1 - (1 - 1 / domains) ** top_k)


@equation("s", inside="byte/s", nic="byte/s", wall="communication")
def all_to_all(ep, copies, etp, d_model, top_k, domains, remote, inside, eta_net, nic):
    """Dispatch and combine of routed tokens in 16 bit, forward and backward, over the network or inside one domain."""
    return (
        4
        * BYTES_16
        * copies
        / etp
        * d_model
        * where(domains > 1, remote / top_k / (eta_net * nic), (1 - 1 / ep) / inside)
    )


@equation("s", inside="byte/s", wall="communication")
def expert_gather(ep, copies, top_k, etp, d_model, inside):
    """Gathering and scattering of tokens among the ranks that split an expert; copies, where tokens came from expert ranks."""
    return 4 * BYTES_16 * copies / where(ep > 1, 1, top_k) * d_model * (1 - 1 / etp) / inside


@equation("s", sent="s", gathered="s", wall="communication")
def expert_talk(moe_layers, layers, sent, gathered):
    """Both on average over all layers."""
    return moe_layers / layers * (sent + gathered)


@equation("s", sent="s", wall="communication")
def exchange(moe_layers, layers, sent):
    """Dispatch and combine where no expert is split, on average over all layers."""
    return moe_layers / layers * sent


@equation("")
def own_parameters(parameters, routed, ep, etp, tp, pp):
    """Parameters of one rank of a model with experts."""
    return ((parameters - routed) / tp + routed / (ep * etp)) / pp


@equation("")
def stage_parameters(parameters, routed, ep, etp, matrices, pp, vocab, d_model, tp):
    """The same of the fullest stage: an even share of the layers and one vocabulary table."""
    return where(
        pp > 1,
        ((parameters - routed - matrices * vocab * d_model) / tp + routed / (ep * etp)) / pp + vocab * d_model / tp,
        (parameters - routed) / tp + routed / (ep * etp),
    )


@equation("")
def stage_of_pipeline(parameters, routed, ep, etp, matrices, pp, vocab, d_model, tp):
    """The same of a pipeline of several stages."""
    return ((parameters - routed - matrices * vocab * d_model) / tp + routed / (ep * etp)) / pp + vocab * d_model / tp
