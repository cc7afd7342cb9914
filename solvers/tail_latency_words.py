"""The tail_latency tool's typed result and its wording."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from mlwalls.solvers.derivation import Derivation
from mlwalls.solvers.solver import Binding, Outcome, Presentation, Problem, SolverResult
from mlwalls.solvers.words import figure, first, fit_result, seconds


class TailLatencyResult(SolverResult):
    """Typed outputs; times at the percentile where they end in `tail`."""

    MAIN: ClassVar = "wait_tail_ms"

    utilization_percent: float
    wait_probability_percent: float | None = Field(default=None, description="Share that waits.")
    mean_wait_ms: float | None = None
    wait_tail_ms: float | None = Field(default=None, description="Wait at the percentile.")
    mean_response_ms: float | None = Field(default=None, description="Wait and service.")
    response_bound_ms: float | None = Field(default=None, description="Response at the percentile, at most.")
    servers: int | None = Field(default=None, description="Fewest, where not given.")
    servers_needed: int | None = Field(default=None, description="For the target, or stability.")
    late_percent: float | None = Field(default=None, description="Responses past the target.")
    service_tail_ms: float | None = None
    most_service_ms: float | None = None
    most_variation: float | None = None


# Fields, and steps, of which only an answer that no number of servers gives speaks; and what it does not speak of.
REMEDIES = {"service_tail_ms", "most_service_ms", "most_variation"}
REMEDY_STEPS = frozenset({"service_late", "service_tail", "most_service", "most_variation"})
WAITS = {"wait_probability_percent", "mean_wait_ms", "wait_tail_ms", "mean_response_ms", "response_bound_ms"}


def present(problem: Problem, out: Outcome, d: Derivation) -> Presentation:
    """Word the answer: an unstable queue first, then the target, then the tail with its kind."""
    s, r = problem.structure, problem.context
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
    if not s.target:
        result = fit_result(TailLatencyResult, out, {}, set())
        return Presentation(sentence, True, Binding("tail_latency"), result)
    level = 1 - r.percentile / 100
    alone = s.target == "response" and first(out["service_late"]) > level
    feasible = first(out["wait_tail"]) <= r.target_wait_s if s.target == "wait" else first(out["late"]) <= level
    sentence = _alone(problem, out) if alone else f"{_kept(problem, out, servers, feasible)} {sentence}"
    result = fit_result(TailLatencyResult, out, {}, WAITS if alone else REMEDIES)
    return Presentation(
        sentence, feasible, Binding("tail_latency"), result, unsaid=frozenset() if alone else REMEDY_STEPS
    )


def _kept(problem: Problem, out: Outcome, servers: int, feasible: bool) -> str:
    s, r = problem.structure, problem.context
    if s.target == "wait":
        what, target = "keep it within", seconds(r.target_wait_s)
        late = ""
    else:
        what, target = (
            f"keep {figure(r.percentile, 5)} % of responses, wait and service, within",
            seconds(r.target_response_s),
        )
        late = f" ({figure(100 * first(out['late']))} % are later)"
    if s.sized:
        if not feasible:
            return f"Not even {servers:,} servers {what} {target}{late}."
        return f"{servers:,} servers are the fewest that {what} {target}{late}."
    needed = (
        f"{first(out['servers_needed']):.0f} servers do" if "servers_needed" in out else "no number of servers does"
    )
    if s.target == "wait":
        return f"It {'meets' if feasible else 'misses'} {target}; {needed}."
    those = f"{servers:,} servers {what if feasible else f'do not {what}'} {target}{late}"
    return (
        f"{those}; {'the fewest that do are ' if feasible else ''}{needed.removesuffix(' do') if feasible else needed}."
    )


def _alone(problem: Problem, out: Outcome) -> str:
    """Say that services are late by themselves, by how much, and which would not be."""
    r, s = problem.context, problem.structure
    target = seconds(r.target_response_s)
    share = figure(100 * first(out["service_late"]))
    level = f"{figure(r.percentile, 5)} %"
    if s.service == "constant":
        return (
            f"No number of servers responds within {target}: every service takes {seconds(r.service_time_s)} by itself. "
            "It takes a shorter service."
        )
    mean = seconds(r.service_time_s)
    text = (
        f"No number of servers keeps {level} of responses within {target}: {share} % of services of {mean} on average, "
    )
    text += f"of a variation (service_cv) of {figure(r.service_cv)}, take longer by themselves"
    if s.service == "mixed":
        return text + ". It takes shorter or less varied services."
    text += f"; {level} take up to {seconds(first(out['service_tail']))}. A mean service below "
    text += seconds(first(out["most_service"]))
    if s.less_varied:
        text += f" would do with enough servers, or a variation below {figure(first(out['most_variation']))}"
    else:
        text += " would do with enough servers"
    return text + "."
