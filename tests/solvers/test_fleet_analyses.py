"""Analyses of training runs keep the batch of the scenario's own call, so that like is compared with like."""

import pytest

from mlwalls.server.verification import verify
from mlwalls.solvers.errors import CallError

CALL = {"model": "llama-3.1-70b", "hardware": "h100", "n_accelerators": 1024, "total_tokens": 2e12}
SCENARIO = [f"{name}={value}" for name, value in CALL.items()]
# The default of four million tokens, 1,024 sequences of 4,096.
BATCH = 1024


def days(ask, **changes):
    return ask("fleet_efficiency", **{**CALL, "global_batch": BATCH, **changes})["result"]["run_days"]


def test_the_fewest_accelerators_at_the_same_batch(ask):
    inner = {"tool": "fleet_efficiency", "scenario": SCENARIO, "metric": "run_days"}
    answer = ask("inverse_spec", **inner, target=30, solve_for=["n_accelerators"])
    assert verify(answer).ok
    need = answer["result"]["need"]
    assert days(ask, n_accelerators=int(need)) <= 30
    # Every multiple of 64 below it either takes longer or cannot share out the batch.
    for fewer in range(512, int(need), 64):
        try:
            assert days(ask, n_accelerators=fewer) > 30
        except CallError as error:
            assert error.argument == "global_batch"
    # An H200 and a B200 have plans of their own and meet it too.
    assert days(ask, hardware="h200", n_accelerators=int(need)) <= 30
    assert days(ask, hardware="b200", n_accelerators=int(need)) <= 30
    meeting, _, _ = answer["result"]["hardware_meeting"].partition(" of ")
    assert int(meeting) >= 3
    assert f" {meeting} of the zoo's accelerators meet it in the same number" in answer["verdict"]


def test_a_sweep_over_accelerators_at_the_same_batch(ask):
    over = ["n_accelerators=512,768,1024,2048"]
    answer = ask("sweep", tool="fleet_efficiency", scenario=SCENARIO, metric="run_days", over=over)
    r = answer["result"]
    shown = dict(zip(r["other_rows"], r["other_value"], strict=True)) | {r["best_point"]: r["best_value"]}
    assert len(shown) == 4
    for point, value in shown.items():
        assert value == pytest.approx(days(ask, n_accelerators=int(point.partition("=")[2])), rel=1e-4)


def test_a_batch_that_is_given_stays(ask):
    over = ["n_accelerators=512,1024"]
    scenario = [*SCENARIO, "global_batch=2048"]
    r = ask("sweep", tool="fleet_efficiency", scenario=scenario, metric="run_days", over=over)["result"]
    assert r["best_value"] == pytest.approx(days(ask, global_batch=2048), rel=1e-4)
