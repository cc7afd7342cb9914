"""Formulas of the node walls: times of operators and passes, rooflines, what binds.

Shapes are per call; widths are bytes an element; `shards` counts the accelerators among which an
operator is split, so results are per accelerator. One multiply-add is 2 FLOP.
"""

from __future__ import annotations

from mlwalls.solvers.derivation import equation
from mlwalls.solvers.equations.operators import FLOP_PER_MAC
from mlwalls.solvers.functions import exp, maximum, minimum, sqrt, where

ROOFLINE = "williams2009"


@equation("FLOP", flops="FLOP")
def row_flops(count, flops):
    """FLOPs of one operator row that states them."""
    return count * flops


@equation("byte", traffic="byte")
def row_bytes(count, traffic):
    """Bytes of one operator row that states them."""
    return count * traffic


@equation("s", flops="FLOP", peak="FLOP/s", cite=ROOFLINE, wall="compute_throughput")
def row_compute_floor(count, flops, peak):
    """Time of a row's FLOPs at the peak rate."""
    return count * flops / peak


@equation("s", flops="FLOP", peak="FLOP/s", wall="compute_throughput")
def row_compute_time(count, flops, peak, eta):
    """Time of a row's FLOPs at a sustained share `eta` of the peak."""
    return count * flops / (peak * eta)


@equation("FLOP", flops="FLOP")
def pass_flops(count, tokens, w, flops):
    """FLOPs of a row of a pass: `w` weights used by every token, and what the row states (attention)."""
    return count * (FLOP_PER_MAC * tokens * w + flops)


@equation("byte", width="byte", kv="byte")
def pass_bytes(count, w, read, width, kv):
    """Bytes of a row of a pass: weights used by every token, others read, keys and values."""
    return count * ((w + read) * width + kv)


@equation("byte", width="byte", kv="byte", write="byte")
def pass_bytes_written(count, w, read, width, kv, write):
    """The same for models whose layers write a state back."""
    return count * ((w + read) * width + kv + write)


@equation("byte", kv="byte", write="byte")
def cache_touched(count, kv, write):
    """State and cache bytes of a row, read and written back."""
    return count * (kv + write)


@equation("s", flops="FLOP", peak="FLOP/s", cite=ROOFLINE, wall="compute_throughput")
def pass_compute_floor(count, tokens, w, flops, peak):
    """Time of those FLOPs at the peak rate."""
    return count * (FLOP_PER_MAC * tokens * w + flops) / peak


@equation("s", flops="FLOP", peak="FLOP/s", wall="compute_throughput")
def pass_compute_time(count, tokens, w, flops, peak, eta):
    """Time of those FLOPs at a sustained share `eta` of the peak."""
    return count * (FLOP_PER_MAC * tokens * w + flops) / (peak * eta)


@equation("s", done="FLOP", peak="FLOP/s", cite=ROOFLINE, wall="compute_throughput")
def done_floor(done, peak):
    """Time of a row's FLOPs at the peak rate, where the row states all of them."""
    return done / peak


@equation("s", done="FLOP", peak="FLOP/s", wall="compute_throughput")
def done_time(done, peak, eta):
    """Time of those FLOPs at a sustained share `eta` of the peak."""
    return done / (peak * eta)


@equation("s", moved="byte", bandwidth="byte/s", cite=ROOFLINE, wall="memory_bandwidth")
def memory_floor(moved, bandwidth):
    """Time to move bytes at the full memory bandwidth."""
    return moved / bandwidth


@equation("s", moved="byte", bandwidth="byte/s", wall="memory_bandwidth")
def memory_time(moved, bandwidth, eta_m):
    """Time to move bytes at a sustained share `eta_m` of the memory bandwidth."""
    return moved / (bandwidth * eta_m)


@equation("s", flops="FLOP", peak="FLOP/s", width="byte", kv="byte", bandwidth="byte/s")
def pass_row_time(count, tokens, w, flops, peak, eta, read, width, kv, bandwidth, eta_m):
    """Expected time of one row of a pass."""
    return count * (
        (FLOP_PER_MAC * tokens * w + flops) / (peak * eta) + ((w + read) * width + kv) / (bandwidth * eta_m)
    )


@equation("s", flops="FLOP", peak="FLOP/s", traffic="byte", bandwidth="byte/s")
def row_time(count, flops, peak, eta, traffic, bandwidth, eta_m):
    """Expected time of one row that states its FLOPs and bytes."""
    return count * (flops / (peak * eta) + traffic / (bandwidth * eta_m))


@equation("byte", traffic="byte")
def row_traffic(count, traffic):
    """Unfused operand traffic of one row."""
    return count * traffic


@equation("byte", width="byte", cite="thakur2005", wall="communication")
def allreduce_bytes(layers, per_layer, tokens, d_model, width, n):
    """Bytes that each of n ranks sends in ring all-reduces of [tokens, d_model] activations."""
    return layers * per_layer * 2 * (n - 1) / n * tokens * d_model * width


@equation("s", traffic="byte", link="byte/s", wall="communication")
def link_floor(traffic, link):
    """Time to send bytes over a link at its full rate in one direction."""
    return traffic / link


@equation("s", traffic="byte", link="byte/s", wall="communication")
def link_time(traffic, link, eta_link):
    """Time to send bytes over a link at a sustained share of its rate."""
    return traffic / (link * eta_link)


@equation("s", floor="s")
def sustained(floor, eta):
    """A floor's time at a sustained share of its rate."""
    return floor / eta


@equation("s", tau="s")
def layer_overhead(layers, tau, r_engine, x_gen):
    """Kernel starts and tails, norms, activations and all-reduce latencies of one pass, in units of a plain layer's."""
    return layers * tau * r_engine * x_gen


@equation("")
def routed_layers(layers, x_routed, top_k, moe_layers):
    """Plain layers that layers with experts count for: more kernels the more experts a token goes to."""
    return layers + x_routed * top_k * moe_layers


@equation("")
def special_layers(layers, x_special, special):
    """The same where some layers' attention has more kernels: latent, linear."""
    return layers + x_special * special


@equation("")
def special_routed_layers(layers, x_routed, top_k, moe_layers, x_special, special):
    """The same with both."""
    return layers + x_routed * top_k * moe_layers + x_special * special


@equation(
    "",
    compute_floor="s",
    memory_floor="s",
    compute_time="s",
    memory_time="s",
    expected="s",
)
def binding_share(compute_floor, memory_floor, compute_time, memory_time, expected):
    """Share of the expected time that the binding wall accounts for."""
    return where(compute_floor >= memory_floor, compute_time, memory_time) / expected


@equation("", cf="s", mf="s", lf="s", ct="s", mt="s", lt="s", expected="s")
def binding_share_linked(cf, mf, lf, ct, mt, lt, expected):
    """The same where links may bind."""
    return where(lf > maximum(cf, mf), lt, where(cf >= mf, ct, mt)) / expected


@equation("byte", route="byte")
def routed_bytes(layers, route, top_k, d_model):
    """Bytes that the routed copies of one token move between unfused kernels, all layers."""
    return layers * route * top_k * d_model


@equation("s", moved="byte", bandwidth="byte/s", routed="byte", wall="memory_bandwidth")
def routed_memory_time(moved, bandwidth, eta_m, routed, tokens):
    """Time to move bytes, and what routed copies of the tokens move between unfused kernels."""
    return (moved + tokens * routed) / (bandwidth * eta_m)


@equation("s", traffic="byte", link="byte/s", wall="communication")
def link_floor_of(tokens, traffic, link):
    """Time to send what each of the tokens sends at the full link rate."""
    return tokens * traffic / link


@equation("s", a="s", b="s", c="s", each="s")
def step_of_three(a, b, c, batch, each):
    """A decode step: its parts, and what the engine's host does for every sequence."""
    return a + b + c + batch * each


@equation("s", a="s", b="s", c="s", d="s", each="s")
def step_of_four(a, b, c, d, batch, each):
    """The same of four parts."""
    return a + b + c + d + batch * each


@equation("T", floor="T", expected="T")
def lower_bound(floor, expected, spread, widen):
    """Low end of the range: a log-spread below the expectation, never below the floor."""
    return maximum(floor, expected * exp(-spread * widen))


@equation("T", expected="T")
def upper_bound(expected, spread, widen):
    """High end of the range: a log-spread above the expectation."""
    return expected * exp(spread * widen)


@equation("")
def joint_spread(spread, widen, base_widen):
    """Log-spread of a ratio of two expectations with independent errors."""
    return spread * sqrt(widen**2 + base_widen**2)


@equation("")
def spread_of_chips(pair, spread, widen, base_widen):
    """The same of one model on two chips: what measured pairs do not share, and what a chip beyond them is unsure of."""
    return sqrt(pair**2 + spread**2 * (widen**2 + base_widen**2 - 2))


@equation("")
def spread_of_formats(pair, halvings, widen):
    """The same of two formats on one chip: what pairs a halving apart do not share, for each halving."""
    return pair * sqrt(halvings) * widen


@equation("")
def ratio_low(speedup, joint):
    """Low end of a ratio."""
    return speedup * exp(-joint)


@equation("")
def ratio_high(speedup, joint):
    """High end of a ratio."""
    return speedup * exp(joint)


@equation("")
def ratio_up_to(speedup, joint, most):
    """High end of a ratio that cannot pass `most`."""
    return minimum(most, speedup * exp(joint))


@equation("FLOP/byte", flops="FLOP", traffic="byte", cite=ROOFLINE)
def arithmetic_intensity(flops, traffic):
    """FLOPs a byte of memory traffic."""
    return flops / traffic


@equation("FLOP/byte", peak="FLOP/s", bandwidth="byte/s", cite=ROOFLINE)
def ridge_point(peak, bandwidth):
    """Arithmetic intensity above which the peak binds, below which the memory does."""
    return peak / bandwidth


@equation("1/s", time="s")
def rate(items, time):
    """Items a second."""
    return items / time


@equation("1/s", time="s")
def request_rate(batch, output, time):
    """Tokens a second of a batch of requests."""
    return batch * output / time


@equation("", flops="FLOP", time="s", peak="FLOP/s", cite="chowdhery2022")
def model_flops_utilization(flops, time, peak):
    """Share of the peak that the model's own FLOPs use."""
    return flops / (time * peak)


@equation("", traffic="byte", time="s", bandwidth="byte/s")
def memory_bandwidth_utilization(traffic, time, bandwidth):
    """Share of the memory bandwidth that the compulsory traffic uses."""
    return traffic / (time * bandwidth)


@equation("")
def sustained_share(eta16, rho, halvings):
    """Matmul share of the peak at a width below 16 bit: each halving delivers `rho` of the promised doubling."""
    return eta16 * rho**halvings


@equation("", matmul="FLOP/s", peak="FLOP/s")
def measured_share(eta16, matmul, peak, reference_share):
    """Matmul share of the peak on a chip with a published best-shape rate, relative to the calibrated chips."""
    return eta16 * (matmul / peak) / reference_share


@equation("")
def context_midpoint(prompt, output):
    """Mean context over the decoding of `output` tokens after a prompt."""
    return prompt + output / 2


@equation("", a="T", b="T")
def at_least(a, b):
    """Whether a reaches b."""
    return a >= b
