"""How long do requests wait in a queue for servers, on average and in the tail, and how many servers meet a target?

M/M/c by Erlang's delay formula; general arrivals and service by Allen and Cunneen's factor (c_a² + c_s²)/2 on the mean wait
and on the decay of the tail, exact for M/M/c and an approximation otherwise. The response-time quantile is not the wait's plus
the mean service: a bound is given instead, by the union of both tails at half the level, for exponential service.

Not modelled: batching inside a server, priorities, retries, correlated arrivals.
"""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import Field

from mlwalls.solvers.derivation import Derivation, Value
from mlwalls.solvers.equations import common
from mlwalls.solvers.equations import queueing as eq
from mlwalls.solvers.errors import CallError
from mlwalls.solvers.functions import floor
from mlwalls.solvers.numbers import Numbers
from mlwalls.solvers.solver import Binding, Outcome, Presentation, Problem, Solver, SolverRequest, SolverResult
from mlwalls.solvers.words import figure, first, fit_result, seconds
from mlwalls.zoo import Zoo

MAX_SERVERS = 5000


class TailLatencyRequest(SolverRequest):
    """Arguments of the tail_latency tool."""

    arrivals_per_s: float = Field(gt=0, le=1e6, description="Requests a second.")
    service_time_s: float = Field(gt=0, le=1e5, description="Mean time in a server.")
    servers: int | None = Field(default=None, ge=1, le=MAX_SERVERS, description="Default: fewest for the target.")
    percentile: float = Field(default=99, ge=50, le=99.999, description="Of the tail.")
    service_cv: float = Field(default=1, ge=0, le=10, description="Of service; 1 exponential, 0 constant.")
    arrival_cv: float = Field(default=1, gt=0, le=10, description="Of arrivals; 1 random.")
    target_wait_s: float | None = Field(default=None, gt=0, le=1e6, description="Wait to stay within.")


class TailLatencyResult(SolverResult):
    """Typed outputs."""

    utilization_percent: float = Field(description="Busy share of the servers.")
    wait_probability_percent: float | None = Field(default=None, description="Requests that wait at all.")
    mean_wait_ms: float | None = Field(default=None, description="Mean wait in the queue.")
    wait_tail_ms: float | None = Field(default=None, description="Wait at the percentile.")
    mean_response_ms: float | None = Field(default=None, description="Mean wait and service.")
    response_bound_ms: float | None = Field(
        default=None, description="Response time at the percentile is at most this."
    )
    servers: int | None = Field(default=None, description="Fewest servers, where not given.")
    servers_needed: int | None = Field(
        default=None, description="Fewest servers: for the target, or for a stable queue."
    )


@dataclass(frozen=True, slots=True)
class Structure:
    """Which equations apply."""

    stable: bool
    exponential: bool
    target: bool
    sized: bool


def resolve(request: TailLatencyRequest, zoo: Zoo) -> Problem:
    """Take every branch of the request.

    Raises:
        CallError: neither servers nor a target to size them for; more servers needed than this tool sizes.
    """
    n = Numbers()
    offered = request.arrivals_per_s * request.service_time_s
    fewest = int(offered) + 1
    sized = request.servers is None
    if sized and request.target_wait_s is None:
        raise CallError(
            "servers",
            "give servers, or target_wait_s to find the fewest.",
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
    if request.target_wait_s is not None:
        n.you("target", request.target_wait_s, "s")
    exponential = request.service_cv == 1 and request.arrival_cv == 1
    warnings = [] if exponential else ["approximation: the tail of a general queue is taken as exponential"]
    stable = request.servers is None or offered < request.servers
    scenario = request.model_dump(by_alias=True, exclude_none=True, exclude_defaults=True)
    scenario.pop("detail", None)
    structure = Structure(stable, exponential, request.target_wait_s is not None, sized)
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
    if s.sized:
        out["servers"] = n.servers
    elif s.target and d.record:
        found = _servers_needed(s, n, d, out["wait_tail"])
        if found is not None:
            out["servers_needed"] = found
    return out


def _sized(s: Structure, n: Numbers, d: Derivation) -> Value:
    """The fewest servers that keep the wait within the target; where none do, the most that are tried."""

    def holds(servers: object) -> object:
        again = compute(s, n.bound("servers", Value("servers", servers)), Derivation(record=False))
        return again["wait_tail"].value <= n.target.value

    met = eq.meets(Value("wait_tail", 0.0, "s"), n.target)
    load = n.arrivals.value * n.service.value
    low = int(load) + 1 if isinstance(load, float) else Value("fewest", floor(load) + 1)
    found = d.search("servers", "smallest", "servers", low, MAX_SERVERS, met, holds)
    return d.step("servers", common.smaller(n.most, n.most)) if found is None else found


def _servers_needed(s: Structure, n: Numbers, d: Derivation, wait: Value) -> Value | None:
    offered = float(n.arrivals.value * n.service.value)
    fewest = int(offered) + 1

    def holds(servers: float) -> bool:
        again = compute(s, n.replaced({"servers": servers}), Derivation(record=False))
        return bool(again["wait_tail"].value <= n.target.value)

    return d.search("servers_needed", "smallest", "servers", fewest, MAX_SERVERS, eq.meets(wait, n.target), holds)


def present(problem: Problem, out: Outcome, d: Derivation) -> Presentation:
    """Word the answer: an unstable queue first, then the tail with its kind."""
    s: Structure = problem.structure
    r: TailLatencyRequest = problem.context
    busy = figure(100 * first(out["utilization"]))
    servers = r.servers or int(first(out["servers"]))
    load = f"{figure(r.arrivals_per_s)} requests/s of {seconds(r.service_time_s)} on {servers:,} servers"
    if not s.stable:
        sentence = (
            f"Unstable: {load} is {busy} % of what they can do, so the queue grows without end; it takes at least "
            f"{first(out['servers_needed']):.0f} servers."
        )
        return Presentation(sentence, False, Binding("tail_latency"), fit_result(TailLatencyResult, out, {}, set()))
    kind = "exact for random arrivals and exponential service" if s.exponential else "an approximation"
    sentence = (
        f"At {load} ({busy} % busy), {figure(r.percentile, 5)} % of requests wait at most {seconds(first(out['wait_tail']))} "
        f"({kind}); {figure(100 * first(out['wait_probability']))} % wait at all, {seconds(first(out['mean_wait']))} on average."
    )
    feasible = True
    if s.target and r.target_wait_s is not None:
        feasible = first(out["wait_tail"]) <= r.target_wait_s
        verb = "meets" if feasible else "misses"
        needed = (
            f"{first(out['servers_needed']):.0f} servers do" if "servers_needed" in out else "no number of servers does"
        )
        kept = f"{servers:,} servers are the fewest that keep it within {seconds(r.target_wait_s)}"
        if not feasible:
            kept = f"Not even {servers:,} servers keep it within {seconds(r.target_wait_s)}"
        sentence = f"{kept}. {sentence}" if s.sized else f"It {verb} {seconds(r.target_wait_s)}; {needed}. {sentence}"
    return Presentation(sentence, feasible, Binding("tail_latency"), fit_result(TailLatencyResult, out, {}, set()))


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
