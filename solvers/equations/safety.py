"""Formulas of safety: a guard model before and after the answer, and private training."""

from __future__ import annotations

from mlwalls.solvers.derivation import Constant, equation
from mlwalls.solvers.functions import sqrt

HOUR = Constant("hour", 3600, "s/h")
MILLION = Constant("million", 1e6)
GUARD = "inan2023"


@equation("")
def read_by_guard(policy, prompt):
    """Tokens that a guard reads to judge a prompt: its policy and the prompt."""
    return policy + prompt


@equation("")
def read_after(policy, prompt, output):
    """Tokens that a guard reads to judge an answer: its policy, the prompt and the answer."""
    return policy + prompt + output


@equation("s", prefill="s", step="s", cite=GUARD, wall="safety")
def guard_time(prefill, verdict, step):
    """Time of one check: the text is read, the verdict's tokens are generated."""
    return prefill + verdict * step


@equation("s", prefill="s", step="s")
def busy_each(ranks, prefill, output, step, batch):
    """Accelerator-seconds of one request: its prefill, and its share of the decode steps of a batch."""
    return ranks * (prefill + output * step / batch)


@equation("", guard="s", model="s", wall="safety")
def added_time(guard, model):
    """Accelerator time of the checks over that of the answer."""
    return guard / model


@equation("", wall="safety")
def throughput_left(added):
    """Requests that the same accelerators still answer, as a share."""
    return 1 / (1 + added)


@equation("")
def share_of_total(added):
    """Share of all accelerator time that the checks take."""
    return added / (1 + added)


@equation("USD", price="USD/h", busy="s")
def price_of(price, busy):
    """Price of accelerator time."""
    return price * busy / HOUR


@equation("USD", each="USD")
def million_of(each):
    """Price of a million requests."""
    return each * MILLION


@equation("", cite="abadi2016", wall="safety")
def middle_of(low, high):
    """Middle of a range of factors, the geometric one."""
    return sqrt(low * high)


@equation("s", time="s", cite="abadi2016", wall="safety")
def slowed(time, slowdown):
    """Accelerator time of the same training under DP-SGD."""
    return time * slowdown


@equation("byte", width="byte", cite=("abadi2016", "li2022private"))
def sample_gradients(samples, parameters, width):
    """Gradients of every sample of a batch, held until they are clipped."""
    return samples * parameters * width
