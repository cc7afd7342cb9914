"""How long do requests wait in a queue for servers, on average and in the tail, and how many servers meet a target?

M/M/c by Erlang's delay formula; general arrivals and service by Allen and Cunneen's factor (c_a² + c_s²)/2 on the mean wait
and on the decay of the tail, exact for M/M/c and an approximation otherwise. The response-time quantile is not the wait's plus
the mean service: a bound is given instead, by the union of both tails at half the level, for exponential service. Against a
target, the share of late responses is the wait's tail convolved with the service's: exponential at a variation of 1; a constant
and an exponential part below, so that 0 is constant; two kinds of exponential services with half of the work each above.

Not modelled: batching inside a server, priorities, retries, correlated arrivals.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import Field

from mlwalls.solvers.derivation import Applied, Derivation, Value
from mlwalls.solvers.equations import common
from mlwalls.solvers.equations import queueing as eq
from mlwalls.solvers.errors import CallError
from mlwalls.solvers.functions import floor
from mlwalls.solvers.numbers import Numbers
from mlwalls.solvers.solver import Problem, Solver, SolverRequest
from mlwalls.solvers.tail_latency_words import TailLatencyResult, present
from mlwalls.zoo import Zoo

MAX_SERVERS = 5000
# The percentile of its mean in an exponential time, 1 - 1/e: only above it does less variation make a quantile smaller.
MOST_ABOVE_MEAN = 64


class TailLatencyRequest(SolverRequest):
    """Arguments of the tail_latency tool."""

    arrivals_per_s: float = Field(gt=0, le=1e6, description="Requests a second.")
    service_time_s: float = Field(gt=0, le=1e5, description="Mean time in a server.")
    servers: int | None = Field(default=None, ge=1, le=MAX_SERVERS, description="Default: fewest for the target.")
    percentile: float = Field(default=99, ge=50, le=99.999, description="Of the tail.")
    service_cv: float = Field(default=1, ge=0, le=10, description="Of service; 1 exponential, 0 constant.")
    arrival_cv: float = Field(default=1, gt=0, le=10, description="Of arrivals; 1 random.")
    target_wait_s: float | None = Field(default=None, gt=0, le=1e6, description="Wait to stay within.")
    target_response_s: float | None = Field(default=None, gt=0, le=1e6, description="Wait and service to stay within.")


@dataclass(frozen=True, slots=True)
class Structure:
    """Which equations apply. `service` is how service times vary; `less_varied` whether any variation could meet the target."""

    stable: bool
    exponential: bool
    target: Literal["", "wait", "response"]
    sized: bool
    service: Literal["constant", "part", "mixed"]
    less_varied: bool


def resolve(request: TailLatencyRequest, zoo: Zoo) -> Problem:
    """Take every branch of the request.

    Raises:
        CallError: neither servers nor a target to size them for; more servers needed than this tool sizes.
    """
    n = Numbers()
    offered = request.arrivals_per_s * request.service_time_s
    fewest = int(offered) + 1
    sized = request.servers is None
    if request.target_wait_s is not None and request.target_response_s is not None:
        text = "give target_wait_s, of the wait alone, or target_response_s, of wait and service; not both."
        raise CallError("target_wait_s", text, repair={"target_wait_s": None})
    target = request.target_wait_s if request.target_response_s is None else request.target_response_s
    if sized and target is None:
        raise CallError(
            "servers",
            "give servers, or target_wait_s or target_response_s to find the fewest.",
            repair={"servers": min(fewest, MAX_SERVERS)},
        )
    if sized and fewest > MAX_SERVERS:
        raise CallError(
            "arrivals_per_s",
            f"{fewest:,} servers and more are needed; this tool sizes up to {MAX_SERVERS:,}.",
            repair={"arrivals_per_s": 0.9 * MAX_SERVERS / request.service_time_s},
        )
    n.you("arrivals", request.arrivals_per_s, "1/s")
    n.you("service", request.service_time_s, "s")
    if request.servers is not None:
        n.you("servers", request.servers)
    else:
        n.defined("most", MAX_SERVERS)
    n.you("level", request.percentile / 100)
    n.you("arrival_cv", request.arrival_cv)
    n.you("service_cv", request.service_cv)
    if target is not None:
        n.you("target", target, "s")
    cv = request.service_cv
    exponential = cv == 1 and request.arrival_cv == 1
    warnings = [] if exponential else ["approximation: the tail of a general queue is taken as exponential"]
    if request.target_response_s is not None and cv not in (0, 1):
        kind = (
            "a constant and an exponential part" if cv < 1 else "two kinds of exponential times, half of the work each"
        )
        warnings.append(f"service times of this variation are taken as {kind}")
    stable = request.servers is None or offered < request.servers
    scenario = request.model_dump(by_alias=True, exclude_none=True, exclude_defaults=True)
    scenario.pop("detail", None)
    structure = Structure(
        stable,
        exponential,
        "" if target is None else "wait" if request.target_response_s is None else "response",
        sized,
        "constant" if cv == 0 else "part" if cv <= 1 else "mixed",
        cv <= 1 and target is not None and target > request.service_time_s and request.percentile > MOST_ABOVE_MEAN,
    )
    return Problem(structure, n, warnings, scenario, request)


def compute(s: Structure, n: Numbers, d: Derivation) -> dict[str, Value]:
    """Step out load, waits and servers; keys are the results' symbols."""
    offered = d.step("offered", eq.offered_load(n.arrivals, n.service))
    if s.sized and "servers" not in n:
        n = n.bound("servers", _sized(s, n, d))
    out = {"utilization": d.step("utilization", eq.utilization(offered, n.servers))}
    if not s.stable:
        out["servers_needed"] = d.step("servers_needed", eq.enough_servers(offered))
        return out
    probability = out["wait_probability"] = d.step("wait_probability", eq.wait_probability(n.servers, offered))
    variability = d.step("variability", eq.variability(n.arrival_cv, n.service_cv))
    spare = d.step("spare", eq.spare_rate(n.servers, n.service, n.arrivals))
    out["mean_wait"] = d.step("mean_wait", eq.mean_wait(probability, spare, variability))
    out["wait_tail"] = d.step("wait_tail", eq.wait_quantile(probability, n.level, variability, spare))
    out["mean_response"] = d.step("mean_response", common.sum_of_two(out["mean_wait"], n.service))
    if s.exponential:
        half = d.step("half_level", eq.tighter(n.level))
        waits = d.step("wait_at_half", eq.wait_quantile(probability, half, variability, spare))
        serves = d.step("service_at_half", eq.service_quantile(n.service, half))
        out["response_bound"] = d.step("response_bound", common.sum_of_two(waits, serves))
    if s.target == "response":
        _response(s, n, d, out, probability, d.step("decay", eq.decay(spare, variability)))
    if s.sized:
        out["servers"] = n.servers
    elif s.target and d.record:
        found = _servers_needed(s, n, d, _meets(s, n, out))
        if found is not None:
            out["servers_needed"] = found
    return out


def _response(s: Structure, n: Numbers, d: Derivation, out: dict[str, Value], probability: Value, decay: Value) -> None:
    """Step out the share of requests whose wait and service pass the target, and of services that do so by themselves."""
    if s.service == "constant":
        out["late"] = d.step("late", eq.late_of_constant(probability, n.target, n.service, decay))
        out["service_late"] = d.step("service_late", eq.never_in_time(n.target, n.service))
    elif s.service == "part":
        constant = d.step("constant_part", eq.constant_part(n.service, n.service_cv))
        mean = d.step("random_part", eq.random_part(n.service, n.service_cv))
        left = d.step("left_for_it", eq.beyond(n.target, constant))
        out["late"], out["service_late"] = _late(d, "", probability, left, mean, decay)
    else:
        share = d.step("quick_share", eq.quick_share(n.service_cv))
        slow = d.step("slow_share", eq.rest(share))
        both = [
            _late(d, f"{kind}_", probability, n.target, d.step(f"{kind}_mean", eq.kind_mean(n.service, part)), decay)
            for kind, part in (("quick", share), ("slow", slow))
        ]
        out["late"] = d.step("late", eq.mixed(share, both[0][0], both[1][0]))
        out["service_late"] = d.step("service_late", eq.mixed(share, both[0][1], both[1][1]))
    if s.service != "mixed":
        tail = out["service_tail"] = d.step("service_tail", eq.service_tail(n.service, n.level, n.service_cv))
        out["most_service"] = d.step("most_service", eq.most_service(n.target, n.service, tail))
    if s.less_varied:
        out["most_variation"] = d.step("most_variation", eq.most_variation(n.target, n.service, n.level))


def _late(
    d: Derivation, prefix: str, probability: Value, left: Value, mean: Value, decay: Value
) -> tuple[Value, Value]:
    together = d.step(f"{prefix}together", eq.later_of_two(left, mean, decay))
    alone = d.step(f"{prefix}service_late", eq.longer(left, mean))
    return d.step(f"{prefix}late", eq.late(probability, together, alone)), alone


def _meets(s: Structure, n: Numbers, out: dict[str, Value]) -> Applied:
    return eq.meets(out["wait_tail"], n.target) if s.target == "wait" else eq.seldom(out["late"], n.level)


def _holds(s: Structure, n: Numbers) -> Callable[[Any], Any]:
    def holds(servers: Any) -> Any:
        at = n.bound("servers", Value("servers", servers))
        return _meets(s, at, compute(s, at, Derivation(record=False))).evaluate()

    return holds


def _sized(s: Structure, n: Numbers, d: Derivation) -> Value:
    """The fewest servers that meet the target; where none do, the most that are tried."""
    named = {"wait_tail": Value("wait_tail", 0.0, "s"), "late": Value("late", 0.0)}
    load = n.arrivals.value * n.service.value
    low = int(load) + 1 if isinstance(load, float) else Value("fewest", floor(load) + 1)
    found = d.search("servers", "smallest", "servers", low, MAX_SERVERS, _meets(s, n, named), _holds(s, n))
    return d.step("servers", common.smaller(n.most, n.most)) if found is None else found


def _servers_needed(s: Structure, n: Numbers, d: Derivation, met: Applied) -> Value | None:
    fewest = int(float(n.arrivals.value * n.service.value)) + 1
    return d.search("servers_needed", "smallest", "servers", fewest, MAX_SERVERS, met, _holds(s, n))


SOLVER = Solver(
    name="tail_latency",
    question="How long do requests wait, on average and at p99, and how many servers keep that within a target?",
    guidance="A queue for identical servers or slots.",
    walls=("tail_latency",),
    request=TailLatencyRequest,
    result=TailLatencyResult,
    resolve=resolve,
    compute=compute,
    present=present,
    example={"arrivals_per_s": 8, "service_time_s": 0.4, "servers": 4},
)
