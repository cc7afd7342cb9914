"""Formulas of wafer-scale systems: weights streamed from outside or held in SRAM, and the GPU group beside them."""

from __future__ import annotations

from mlwalls.solvers.derivation import equation
from mlwalls.solvers.functions import ceil, floor, maximum, minimum

STREAM = "lie2022"


@equation("byte", width="byte")
def streamed_bytes(count, w, read, width):
    """Weights of an operator row that a pass must be fed with."""
    return count * (w + read) * width


@equation("s", weights="byte", injection="byte/s", cite=STREAM, wall="weight_streaming")
def injection_time(weights, injection):
    """Time to stream the weights into every system once; systems are fed the same stream side by side."""
    return weights / injection


@equation("s", stream="s", arithmetic="s", cite=STREAM, wall="weight_streaming")
def slower(stream, eta_injection, arithmetic, eta_compute):
    """Streaming or arithmetic, whichever takes longer at its sustained share; they overlap."""
    return maximum(stream / eta_injection, arithmetic / eta_compute)


@equation("s", waits="s", arithmetic="s")
def waits_and_works(waits, arithmetic, eta):
    """Latency of the layers, and the arithmetic at a sustained share."""
    return waits + arithmetic / eta


@equation("s", flops="FLOP", peak="FLOP/s", cite=STREAM, wall="compute_throughput")
def arithmetic_time(flops, peak, systems):
    """Time of the arithmetic at the dense peak of all systems."""
    return flops / (peak * systems)


@equation("s", weights="byte", cache="byte", bandwidth="byte/s", wall="memory_bandwidth")
def sram_time(weights, cache, bandwidth, systems):
    """Time to read weights and cache once from the SRAM of all systems."""
    return (weights + cache) / (bandwidth * systems)


@equation("s", latency="s")
def layers_in_turn(layers, latency):
    """Time of all layers, each with its fitted latency."""
    return layers * latency


@equation("s", time="s")
def one_layer(time, layers):
    """Mean time of a layer, the head's share in it."""
    return time / layers


@equation("byte", weights="byte")
def layers_in_flight(weights, layers, buffers):
    """Weights of the layers that are in SRAM at once: one computing, one arriving."""
    return buffers * weights / layers


@equation("byte", sram="byte", taken="byte", wall="memory_capacity")
def room_streamed(sram, usable, taken):
    """SRAM of one system left for keys and values."""
    return sram * usable - taken


@equation("byte", sram="byte", weights="byte", wall="memory_capacity")
def room_resident(systems, sram, usable, weights):
    """SRAM of all systems left for keys and values beside resident weights."""
    return systems * sram * usable - weights


@equation("byte", cache="byte")
def one_sequence(cache, batch):
    """Keys and values of one sequence."""
    return cache / batch


@equation("", room="byte", sequence="byte", wall="batching")
def sequences_streamed(systems, room, sequence):
    """Whole sequences that fit, every system holding its own."""
    return systems * maximum(0, floor(room / sequence))


@equation("", room="byte", sequence="byte", wall="batching")
def sequences_resident(room, sequence):
    """Whole sequences that fit in what all systems have left."""
    return maximum(0, floor(room / sequence))


@equation("", weights="byte", cache="byte", sram="byte", wall="memory_capacity")
def systems_for(weights, cache, sram, usable):
    """Systems that hold weights and cache."""
    return ceil((weights + cache) / (sram * usable))


@equation("", stream="s", arithmetic="s")
def streaming_hidden(stream, arithmetic):
    """Whether the arithmetic takes as long as the stream."""
    return arithmetic >= stream


@equation("")
def doubled(doublings):
    """Accelerators after so many doublings of one."""
    return 2**doublings


@equation("")
def ranks_of(group, most):
    """Tensor-parallel ranks of a group: all of it, up to what heads and links allow."""
    return minimum(group, most)


@equation("byte", weights="byte", whole="byte", cache="byte", wall="memory_capacity")
def held_by_rank(weights, whole, cache, ranks, shards, group):
    """What one accelerator of a pipeline of tensor-parallel stages holds; every rank holds `whole` besides its share."""
    return (weights / ranks + whole + cache / shards) * ranks / group


@equation("byte", weights="byte", cache="byte", wall="memory_capacity")
def held_by_rank_of(weights, cache, ranks, shards, group):
    """The same where nothing is held whole."""
    return (weights / ranks + cache / shards) * ranks / group


@equation("s", weights="byte", cache="byte", bandwidth="byte/s", cite="williams2009", wall="memory_bandwidth")
def group_read_time(weights, ranks, cache, shards, bandwidth):
    """Time to read weights and cache once from the memory of a group; stages follow one another."""
    return (weights / ranks + cache / shards) / bandwidth


@equation("", held="byte", capacity="byte")
def holds(held, capacity, share):
    """Whether it fits in the share of the memory that an engine may fill."""
    return held <= capacity * share


@equation("T", each="T")
def all_systems(systems, each):
    """Power or price of all systems."""
    return systems * each


@equation("T", each="T")
def whole_servers(group, each, server):
    """Power of a group with its servers."""
    return group * each * server
