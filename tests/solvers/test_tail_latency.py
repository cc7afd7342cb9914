"""Queues: Erlang's published values, closed forms of M/M/1, a seeded simulation, properties, unstable queues."""

import heapq
import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlwalls.server.verification import verify
from mlwalls.solvers.errors import CallError


@pytest.mark.parametrize(
    ("servers", "offered", "probability"),
    # Erlang's delay formula: 1/3 exactly for two servers at one erlang; tables print 0.4092 and 0.1741.
    [(2, 1.0, 1 / 3), (10, 8.0, 0.4092), (5, 3.0, 0.2362), (1, 0.7, 0.7)],
)
def test_waiting_probability_of_the_tables(ask, servers, offered, probability):
    answer = ask("tail_latency", arrivals_per_s=offered, service_time_s=1, servers=servers)
    assert answer["result"]["wait_probability_percent"] == pytest.approx(100 * probability, abs=0.006)


def test_one_server_in_closed_form(ask):
    # M/M/1 at rho = 0.8, service 1 s: W_q = rho/(mu-lambda) = 4 s; p99 = ln(0.8/0.01)/(0.2) = 21.91 s.
    result = ask("tail_latency", arrivals_per_s=0.8, service_time_s=1, servers=1)["result"]
    assert result["mean_wait_ms"] == pytest.approx(4000)
    assert result["wait_tail_ms"] == pytest.approx(math.log(80) / 0.2 * 1e3, rel=1e-5)
    # The response time of M/M/1 is exponential with rate 0.2: p99 = ln(100)/0.2 = 23.03 s, below the bound.
    assert math.log(100) / 0.2 * 1e3 <= result["response_bound_ms"]


def test_constant_service_halves_the_mean_wait(ask):
    # Pollaczek–Khinchine: W_q of M/D/1 is half of M/M/1's.
    random, constant = (
        ask("tail_latency", arrivals_per_s=0.8, service_time_s=1, servers=1, service_cv=cv)["result"]["mean_wait_ms"]
        for cv in (1, 0)
    )
    assert constant == pytest.approx(random / 2)


def simulated(arrivals, service, servers, cv, seed, count=1_000_000):
    """Waits of a first-come-first-served queue with random arrivals; service gamma-distributed with this cv."""
    draw = np.random.default_rng(seed)
    times = np.cumsum(draw.exponential(1 / arrivals, count))
    lengths = draw.gamma(1 / cv**2, service * cv**2, count)
    free = [0.0] * servers
    waits = np.empty(count)
    for i in range(count):
        start = max(times[i], free[0])
        heapq.heapreplace(free, start + lengths[i])
        waits[i] = start - times[i]
    return waits[count // 10 :]


@pytest.mark.parametrize(
    ("servers", "load", "cv", "tolerance"),
    # M/M/c is exact (simulation noise only); general service is an approximation, within 15 %.
    [(1, 0.7, 1, 0.06), (4, 0.8, 1, 0.06), (16, 0.9, 1, 0.1), (4, 0.8, 0.5, 0.15), (4, 0.85, 2, 0.15)],
)
def test_against_a_simulation(ask, servers, load, cv, tolerance):
    arrivals = load * servers
    waits = simulated(arrivals, 1.0, servers, cv, seed=20241)
    result = ask("tail_latency", arrivals_per_s=arrivals, service_time_s=1, servers=servers, service_cv=cv)["result"]
    assert result["mean_wait_ms"] / 1e3 == pytest.approx(waits.mean(), rel=tolerance)
    assert result["wait_tail_ms"] / 1e3 == pytest.approx(np.quantile(waits, 0.99), rel=tolerance)


def test_an_unstable_queue_says_how_many_servers_it_takes(ask):
    answer = ask("tail_latency", arrivals_per_s=10, service_time_s=1, servers=10)
    assert answer["feasible"] is False
    assert answer["verdict"].startswith("Unstable")
    assert answer["result"]["servers_needed"] == 11
    assert "wait_tail_ms" not in answer["result"]
    assert verify(json.loads(json.dumps(answer))).ok


def test_a_target_gives_the_fewest_servers(ask):
    base = {"arrivals_per_s": 20, "service_time_s": 1.0, "target_wait_s": 0.2}
    answer = ask("tail_latency", **base, servers=21)
    needed = answer["result"]["servers_needed"]
    assert answer["feasible"] is False
    assert ask("tail_latency", **base, servers=needed)["feasible"] is True
    assert ask("tail_latency", **base, servers=needed - 1)["feasible"] is False
    report = verify(json.loads(json.dumps(answer)))
    assert report.ok and report.searches == 1, report.text()


@settings(max_examples=40, deadline=None)
@given(st.floats(0.1, 200), st.floats(0.01, 5), st.floats(1e-3, 10))
def test_servers_left_out_are_the_fewest_for_the_target(ask, arrivals, service, target):
    request = {"arrivals_per_s": arrivals, "service_time_s": service, "target_wait_s": target}
    answer = ask("tail_latency", **request)
    report = verify(json.loads(json.dumps(answer)))
    assert report.ok, report.text()
    servers = answer["result"]["servers"]
    assert ask("tail_latency", **request, servers=servers)["feasible"]
    if servers > arrivals * service + 1:
        assert not ask("tail_latency", **request, servers=servers - 1)["feasible"]


def test_a_target_that_no_number_of_servers_meets_is_infeasible(ask):
    answer = ask("tail_latency", arrivals_per_s=9999, service_time_s=0.5, target_wait_s=1e-6)
    assert answer["feasible"] is False
    assert answer["verdict"].startswith("Not even 5,000 servers")
    assert verify(json.loads(json.dumps(answer))).ok


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"arrivals_per_s": 100, "service_time_s": 0.5}, "servers"),
        ({"arrivals_per_s": 99999, "service_time_s": 0.5, "target_wait_s": 1}, "arrivals_per_s"),
    ],
)
def test_what_cannot_be_sized_is_named_and_repaired(ask, arguments, named):
    with pytest.raises(CallError) as error:
        ask("tail_latency", **arguments)
    assert error.value.argument == named
    assert ask("tail_latency", **{**arguments, **error.value.repair})["verdict"]


@settings(max_examples=60, deadline=None)
@given(st.floats(0.1, 50), st.floats(0.01, 5), st.integers(1, 60), st.sampled_from([0, 0.5, 1, 2]))
def test_properties(ask, arrivals, service, servers, cv):
    request = {"arrivals_per_s": arrivals, "service_time_s": service, "service_cv": cv}
    one = ask("tail_latency", **request, servers=servers)
    assert verify(json.loads(json.dumps(one))).ok
    more = ask("tail_latency", **request, servers=servers + 1)
    if one["feasible"]:
        assert more["result"]["wait_tail_ms"] <= one["result"]["wait_tail_ms"] * (1 + 1e-5) + 1e-9
        assert more["result"]["mean_wait_ms"] <= one["result"]["mean_wait_ms"] * (1 + 1e-5) + 1e-9


def services(service, cv, count, draw):
    """Service times of this mean and variation: a constant and an exponential part, or two kinds with half of the work each."""
    if cv <= 1:
        return (1 - cv) * service + draw.exponential(cv * service, count) if cv else np.full(count, service)
    share = (1 + math.sqrt((cv**2 - 1) / (cv**2 + 1))) / 2
    quick = draw.random(count) < share
    means = np.where(quick, service / (2 * share), service / (2 * (1 - share)))
    assert np.isclose(means.mean(), service, rtol=0.02)
    return draw.exponential(means)


def responses(arrivals, service, servers, cv, seed, count=600_000):
    """Wait and service of a first-come-first-served queue with random arrivals."""
    draw = np.random.default_rng(seed)
    times = np.cumsum(draw.exponential(1 / arrivals, count))
    lengths = services(service, cv, count, draw)
    free = [0.0] * servers
    found = np.empty(count)
    for i in range(count):
        start = max(times[i], free[0])
        heapq.heapreplace(free, start + lengths[i])
        found[i] = start - times[i] + lengths[i]
    return found[count // 10 :]


@pytest.mark.parametrize(
    ("servers", "load", "cv", "tolerance"),
    # M/M/c is exact; two servers at one erlang have equal rates, where the plain formula divides by 0. General service: the
    # share of late ones within a quarter of the simulated.
    [
        (1, 0.7, 1, 0.06),
        (4, 0.8, 1, 0.06),
        (2, 0.5, 1, 0.06),
        (4, 0.8, 0, 0.25),
        (4, 0.8, 0.5, 0.25),
        (4, 0.7, 2, 0.25),
    ],
)
def test_late_responses_against_a_simulation(ask, servers, load, cv, tolerance):
    arrivals = load * servers
    seen = responses(arrivals, 1.0, servers, cv, seed=20251)
    target = float(np.quantile(seen, 0.98))
    request = {"arrivals_per_s": arrivals, "service_time_s": 1, "service_cv": cv, "target_response_s": target}
    answer = ask("tail_latency", **request, servers=servers, percentile=95)
    assert verify(json.loads(json.dumps(answer))).ok
    assert answer["result"]["late_percent"] == pytest.approx(2, rel=tolerance)


def test_response_of_one_server_in_closed_form(ask):
    # The response time of M/M/1 is exponential with rate mu - lambda = 0.2: later than 10 s in exp(-2) = 13.53 % of cases.
    request = {"arrivals_per_s": 0.8, "service_time_s": 1, "servers": 1, "target_response_s": 10}
    assert ask("tail_latency", **request)["result"]["late_percent"] == pytest.approx(100 * math.exp(-2), rel=1e-5)
    # Its p90 is ln(10)/0.2 = 11.51 s.
    for target, feasible in ((11.52, True), (11.50, False)):
        assert ask("tail_latency", **{**request, "target_response_s": target}, percentile=90)["feasible"] is feasible


@settings(max_examples=40, deadline=None)
@given(st.floats(0.1, 100), st.floats(0.01, 5), st.floats(1.0, 20), st.sampled_from([0, 0.3, 1, 1.7]))
def test_servers_left_out_are_the_fewest_for_the_response(ask, arrivals, service, times, cv):
    request = {
        "arrivals_per_s": arrivals,
        "service_time_s": service,
        "service_cv": cv,
        "target_response_s": times * service,
        "percentile": 95,
    }
    answer = ask("tail_latency", **request)
    report = verify(json.loads(json.dumps(answer)))
    assert report.ok, report.text()
    servers = answer["result"]["servers"]
    assert ask("tail_latency", **request, servers=servers)["feasible"] is answer["feasible"]
    if answer["feasible"]:
        assert answer["result"]["late_percent"] <= 5
        if servers > arrivals * service + 1:
            assert not ask("tail_latency", **request, servers=servers - 1)["feasible"]


def test_a_service_that_is_late_by_itself_says_which_would_not_be(ask):
    # p99 of an exponential 1.5 s is 1.5 ln(100) = 6.908 s; 3 s is the p99 of 3/ln(100) = 0.6514 s, or of a variation of
    # (3/1.5 - 1)/(ln(100) - 1) = 0.2774.
    request = {"arrivals_per_s": 20, "service_time_s": 1.5, "target_response_s": 3}
    answer = ask("tail_latency", **request)
    result = answer["result"]
    assert answer["feasible"] is False
    assert answer["verdict"].startswith("No number of servers keeps 99 % of responses within 3 s: 13.5 % of services")
    assert result["late_percent"] == pytest.approx(100 * math.exp(-2), rel=1e-5)
    assert result["service_tail_ms"] == pytest.approx(6907.8, rel=1e-5)
    assert result["most_service_ms"] == pytest.approx(651.44, rel=1e-5)
    assert result["most_variation"] == pytest.approx(0.27738, rel=1e-4)
    assert verify(json.loads(json.dumps(answer))).ok
    assert ask("tail_latency", **{**request, "service_time_s": 0.65})["feasible"]
    assert ask("tail_latency", **request, service_cv=0.277)["feasible"]
    assert not ask("tail_latency", **request, service_cv=0.278)["feasible"]


def test_a_constant_service_waits_for_the_rest_of_the_target(ask):
    # Half of the variation of M/M/c: late is C exp(-2 (c/s - lambda) (T - s)); C of 33 servers at 30 erlangs is 0.49049.
    request = {"arrivals_per_s": 20, "service_time_s": 1.5, "service_cv": 0, "target_response_s": 3}
    result = ask("tail_latency", **request)["result"]
    probability = result["wait_probability_percent"]
    assert result["servers"] == 33
    assert result["late_percent"] == pytest.approx(probability * math.exp(-2 * (33 / 1.5 - 20) * 1.5), rel=1e-5)
    late = ask("tail_latency", **{**request, "target_response_s": 1.4})
    assert late["feasible"] is False and "every service takes 1.5 s by itself" in late["verdict"]


def test_one_target_at_a_time(ask):
    request = {"arrivals_per_s": 8, "service_time_s": 0.4, "target_wait_s": 1, "target_response_s": 2}
    with pytest.raises(CallError) as error:
        ask("tail_latency", **request)
    assert error.value.repair == {"target_wait_s": None}
