"""Formulas of waiting: Erlang's delay formula and its Allen–Cunneen extension to general service times.

Rates are per second, times in seconds; `servers` serve one request each.
"""

from __future__ import annotations

from mlwalls.solvers.derivation import equation
from mlwalls.solvers.functions import erlang_c, exp, floor, log, maximum

ERLANG = ("erlang1917",)


@equation("", arrivals="1/s", service="s", cite=ERLANG)
def offered_load(arrivals, service):
    """Load in erlangs: servers that would be busy if none ever waited."""
    return arrivals * service


@equation("", cite=ERLANG, wall="tail_latency")
def utilization(offered, servers):
    """Share of the time that a server is busy."""
    return offered / servers


@equation("", cite=ERLANG, wall="tail_latency")
def wait_probability(servers, offered):
    """Probability that a request waits (M/M/c)."""
    return erlang_c(servers, offered)


@equation("")
def variability(arrival_cv, service_cv):
    """Mean squared coefficient of variation of arrivals and service; 1 for M/M/c."""
    return (arrival_cv**2 + service_cv**2) / 2


@equation("1/s", arrivals="1/s", service="s")
def spare_rate(servers, service, arrivals):
    """Rate at which a backlog is worked off."""
    return servers / service - arrivals


@equation("s", spare="1/s", cite="allen1990", wall="tail_latency")
def mean_wait(probability, spare, variability):
    """Mean wait: exact for M/M/c, the Allen–Cunneen approximation otherwise."""
    return probability / spare * variability


@equation("s", spare="1/s", cite="allen1990", wall="tail_latency")
def wait_quantile(probability, level, variability, spare):
    """Wait that a share `level` of requests does not exceed: exponential tail, exact for M/M/c."""
    return log(maximum(probability, 1 - level) / (1 - level)) * variability / spare


@equation("s", service="s")
def service_quantile(service, level):
    """Service time that a share `level` does not exceed, were it exponential."""
    return service * log(1 / (1 - level))


@equation("")
def tighter(level):
    """The level at which wait and service together leave no more than 1 - level above their sum (union bound)."""
    return 1 - (1 - level) / 2


@equation("")
def enough_servers(offered):
    """Fewest servers that keep up with the load."""
    return floor(offered) + 1


@equation("", wait="s", target="s")
def meets(wait, target):
    """Whether a wait is within its target."""
    return wait <= target


@equation("", time="s", spare="1/s")
def tail(probability, time, spare, variability):
    """Probability of waiting longer than `time`."""
    return probability * exp(-time * spare / variability)
