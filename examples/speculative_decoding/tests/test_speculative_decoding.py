"""The paper's own table, limits, and the independent evaluator."""

import pytest

from mlwalls.server.verification import verify
from mlwalls.solvers.answers import answer_data
from mlwalls.solvers.registry import solvers
from mlwalls.zoo import Zoo


def ask(**arguments):
    solver = solvers()["speculative_decoding"]
    return answer_data(solver.run(solver.request(**arguments), Zoo.builtin()), Zoo.builtin())


# Leviathan et al. 2023, table 1: acceptance, drafted, arithmetic, speedup, for a draft that costs nothing.
TABLE = [
    (60, 2, 1.53, 1.96),
    (70, 3, 1.58, 2.53),
    (80, 2, 1.23, 2.44),
    (80, 5, 1.63, 3.69),
    (90, 2, 1.11, 2.71),
    (90, 10, 1.60, 6.86),
]


@pytest.mark.parametrize(("acceptance", "drafted", "arithmetic", "speedup"), TABLE)
def test_published_table(acceptance, drafted, arithmetic, speedup):
    result = ask(acceptance_percent=acceptance, draft_tokens=drafted, draft_time_percent=0, draft_flops_percent=0)[
        "result"
    ]
    assert result["speedup"] == pytest.approx(speedup, abs=0.005)
    assert result["arithmetic"] == pytest.approx(arithmetic, abs=0.005)


def test_more_accepted_is_faster_and_never_beyond_all_drafted():
    rates = [
        ask(acceptance_percent=a, draft_tokens=5, draft_time_percent=0)["result"]["speedup"]
        for a in (1, 20, 50, 80, 99)
    ]
    assert rates == sorted(rates)
    assert rates[0] > 1 and rates[-1] < 6


def test_a_draft_as_slow_as_the_model_does_not_pay():
    answer = ask(acceptance_percent=50, draft_tokens=4, draft_time_percent=100)
    assert answer["feasible"] is False and "does not pay" in answer["verdict"]


def test_the_answer_can_be_recomputed_from_itself():
    report = verify(ask(acceptance_percent=80, draft_tokens=5))
    assert report.ok, report.text()
