"""Formulas of waiting: Erlang's delay formula and its Allen–Cunneen extension to general service times.

Rates are per second, times in seconds; `servers` serve one request each.
"""

from __future__ import annotations

from mlwalls.solvers.derivation import Constant, equation
from mlwalls.solvers.functions import absolute, erlang_c, exp, floor, log, maximum, sqrt, where

ERLANG = ("erlang1917",)
# Rates nearer than this are taken as equal: the difference of their exponentials keeps ten digits beyond it.
NEAR = Constant("near", 1e-6)


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


@equation("1/s", spare="1/s")
def decay(spare, variability):
    """Rate at which the tail of the wait falls."""
    return spare / variability


@equation("s", service="s")
def constant_part(service, service_cv):
    """The constant part of a service that is a constant and an exponential time, with this mean and this variation up to 1."""
    return (1 - service_cv) * service


@equation("s", service="s")
def random_part(service, service_cv):
    """Mean of its exponential part."""
    return service_cv * service


@equation("s", target="s", constant="s")
def beyond(target, constant):
    """What a target leaves for the wait and the exponential part of the service."""
    return maximum(target - constant, 0 * target)


@equation("", beyond="s", mean="s", decay="1/s")
def later_of_two(beyond, mean, decay):
    """Probability that two exponential times together pass `beyond`: a wait that falls at `decay`, a service of this mean."""
    return where(
        absolute(decay * mean - 1) < NEAR,
        (1 + beyond * (decay + 1 / mean) / 2) * exp(-beyond * (decay + 1 / mean) / 2),
        (decay * mean * exp(-beyond / mean) - exp(-beyond * decay))
        / where(absolute(decay * mean - 1) < NEAR, 1, decay * mean - 1),
    )


@equation("", beyond="s", mean="s")
def longer(beyond, mean):
    """Probability that an exponential time passes `beyond`."""
    return exp(-beyond / mean)


@equation("", cite=ERLANG, wall="tail_latency")
def late(probability, together, alone):
    """Share of requests that respond late: those that wait, with their wait and service, and those that do not."""
    return probability * together + (1 - probability) * alone


@equation("", target="s", service="s", decay="1/s", cite="allen1990", wall="tail_latency")
def late_of_constant(probability, target, service, decay):
    """The same where every service takes as long."""
    return where(target < service, 1, probability * exp(-maximum(target - service, 0 * target) * decay))


@equation("", target="s", service="s")
def never_in_time(target, service):
    """1 where a service that always takes as long passes the target by itself."""
    return where(target < service, 1, 0)


@equation("")
def quick_share(service_cv):
    """Share of quick services where two kinds of exponential ones, with half of the work each, have this variation above 1."""
    return (1 + sqrt((service_cv**2 - 1) / (service_cv**2 + 1))) / 2


@equation("s", service="s")
def kind_mean(service, share):
    """Mean of the kind of service that has this share of requests and half of the work."""
    return service / (2 * share)


@equation("")
def rest(share):
    """What a share leaves of one."""
    return 1 - share


@equation("")
def mixed(share, quick, slow):
    """Mean over both kinds of service."""
    return share * quick + (1 - share) * slow


@equation("")
def seldom(late, level):
    """Whether no more than 1 - level respond late."""
    return late <= 1 - level


@equation("s", service="s")
def service_tail(service, level, service_cv):
    """Service that a share `level` does not exceed, with this variation up to 1."""
    return service * (1 - service_cv + service_cv * log(1 / (1 - level)))


@equation("s", target="s", service="s", tail="s")
def most_service(target, service, tail):
    """Mean service at which its own quantile is the target."""
    return target * service / tail


@equation("", target="s", service="s")
def most_variation(target, service, level):
    """Variation of service at which its own quantile is the target."""
    return (target / service - 1) / (log(1 / (1 - level)) - 1)
