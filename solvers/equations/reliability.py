"""Formulas of failures: job MTBF, checkpoint intervals by Young and Daly, the share of the time that is useful.

`mtbf` is that of the whole job, `save` the time that a checkpoint stops training, `restart` from a failure to training again.
"""

from __future__ import annotations

from mlwalls.solvers.derivation import Constant, equation
from mlwalls.solvers.functions import ceil, exp, maximum, minimum, sqrt, where

# 16-bit weights, fp32 weights and both Adam moments.
CHECKPOINT = Constant("checkpoint_bytes", 14, "byte")


@equation("s", each="s", wall="reliability")
def job_mtbf(each, n):
    """Mean time between failures of a job whose parts fail alone and at random."""
    return each / n


@equation("1/s", mtbf="s", wall="reliability")
def component_rate(count, mtbf):
    """Failures a second of equal components."""
    return count / mtbf


@equation("s", rate="1/s", wall="reliability")
def mtbf_of_rate(rate):
    """Mean time between failures at a rate."""
    return 1 / rate


@equation("s", mtbf="s")
def mtbf_of_share(mtbf, accelerators):
    """Mean time between failures of one accelerator's share of a node."""
    return mtbf * accelerators


@equation("byte", wall="reliability")
def checkpoint_size(parameters):
    """Weights and optimizer states on disk."""
    return CHECKPOINT * parameters


@equation("s", size="byte", rate="byte/s", limit="byte/s", wall="reliability")
def write_time(size, n, domain, rate, limit):
    """Time to write a checkpoint, all nodes together, to shared storage."""
    return size / minimum(ceil(n / domain) * rate, limit)


@equation("s", size="byte", copy="byte/s")
def copy_time(size, n, copy):
    """Time to copy each accelerator's part to its host's memory."""
    return size / n / copy


@equation("s", interval="s", written="s")
def not_before_written(interval, written):
    """A checkpoint interval that lets the last one be written."""
    return maximum(interval, written)


@equation("s", save="s", mtbf="s", cite="young1974", wall="reliability")
def young_interval(save, mtbf):
    """Checkpoint interval, first order."""
    return sqrt(2 * save * mtbf)


@equation("s", young="s", save="s", mtbf="s", cite="daly2006", wall="reliability")
def daly_interval(young, save, mtbf):
    """Checkpoint interval, higher order; the MTBF itself where a checkpoint takes twice as long. Young is sqrt(2 save mtbf)."""
    return where(save < 2 * mtbf, young * (1 + young / (6 * mtbf) + save / (18 * mtbf)) - save, mtbf)


@equation("", interval="s", mtbf="s", restart="s", save="s", cite="daly2006", wall="reliability")
def goodput(interval, mtbf, restart, save):
    """Share of the time that trains, exact for exponential failures, in restarts and checkpoints too; never quite nothing."""
    return maximum(
        interval / mtbf * exp(-(restart + interval + save) / mtbf) / (1 - exp(-(interval + save) / mtbf)), 1e-12
    )


@equation("s", step="s")
def delivered_step(step, useful):
    """Wall-clock time of a step that counts, failures included."""
    return step / useful


@equation("s", step="s", total="token", tokens="token")
def run_time(step, total, tokens):
    """Time of all steps of a run."""
    return step * total / tokens


@equation("s", time="s")
def accelerator_time(time, n):
    """Accelerator-seconds of a run."""
    return time * n


@equation("s", time="s")
def campaign_time(time, share):
    """Time of a whole campaign: its steps, and the evaluation, ramp, long-context phase and repeats around them."""
    return time / share


@equation("s", hour="s")
def hours(number, hour):
    """A number of hours as a time."""
    return number * hour
