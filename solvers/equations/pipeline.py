"""Formulas of the input pipeline: what each stage from storage to accelerator delivers to one host, in samples a second."""

from __future__ import annotations

from mlwalls.solvers.derivation import equation
from mlwalls.solvers.functions import ceil, maximum

STALLS = "mohan2021"
TF_DATA = "murray2021"


@equation("byte", total="byte")
def mean_size(total, samples):
    """Stored bytes a sample, on average over a dataset."""
    return total / samples


@equation("byte", width="byte")
def pixels(channels, resolution, width):
    """Bytes of a decoded square image."""
    return channels * resolution**2 * width


@equation("byte", sample="byte", cite=STALLS)
def fetched(sample, amplification, hit):
    """Bytes read a sample: what the cache misses, with what is read beside it."""
    return sample * amplification * (1 - hit)


@equation("1/s", bandwidth="byte/s", size="byte", cite=STALLS, wall="storage_bandwidth")
def delivered(bandwidth, size):
    """Samples a second of a store or link that one host has to itself."""
    return bandwidth / size


@equation("1/s", bandwidth="byte/s", size="byte", cite=STALLS, wall="storage_bandwidth")
def delivered_shared(bandwidth, hosts, size):
    """Samples a second and host of a store that all hosts share."""
    return bandwidth / hosts / size


@equation("1/s", each="1/s", cite=TF_DATA, wall="transformation")
def prepared(workers, each, cost):
    """Samples a second of CPU workers that decode and augment, `cost` times a plain decode."""
    return workers * each / cost


@equation("1/s", each="1/s")
def of_all(count, each):
    """Samples a second of several equal devices."""
    return count * each


@equation("1/s", bandwidth="byte/s", size="byte", wall="ingestion")
def copied(count, bandwidth, size):
    """Samples a second over the host links of several accelerators."""
    return count * bandwidth / size


@equation("1/s", peak="FLOP/s", flops="FLOP", wall="compute_throughput")
def consumed(count, peak, utilization, flops):
    """Samples a second that accelerators consume at a model FLOPs utilization."""
    return count * peak * utilization / flops


@equation("s", each="1/s")
def one_sample(each):
    """Time of one sample in a stage."""
    return 1 / each


@equation("s", slowest="1/s")
def step_time(batch, count, slowest):
    """Time of one step of `batch` samples on each of `count` accelerators."""
    return batch * count / slowest


@equation("s", a="s", b="s")
def longer(a, b):
    """Time of two stages one after the other."""
    return a + b


@equation("1/s", time="s")
def per_time(time):
    """Samples a second of a pipeline whose stages do not overlap."""
    return 1 / time


@equation("", rate="1/s", wanted="1/s", cite=TF_DATA, wall="ingestion")
def busy(rate, wanted):
    """Share of the time that the accelerators compute."""
    return rate / wanted


@equation("1/s", wanted="1/s")
def goal_rate(goal, wanted):
    """Rate at which the accelerators are busy for a share `goal` of the time."""
    return goal * wanted


@equation("", rate="1/s", each="1/s")
def workers_for(rate, cost, each):
    """CPU workers for a rate."""
    return ceil(rate * cost / each)


@equation("byte/s", rate="1/s", size="byte")
def bandwidth_for(rate, size):
    """Bandwidth of one host for a rate."""
    return rate * size


@equation("byte/s", rate="1/s", size="byte")
def bandwidth_for_all(rate, hosts, size):
    """Bandwidth of a store that all hosts share, for a rate of each."""
    return rate * hosts * size


@equation("", have="1/s", rate="1/s")
def hit_for(hit, have, rate):
    """Cache hits for a rate, the store staying as it is."""
    return maximum(0, 1 - (1 - hit) * have / rate)
