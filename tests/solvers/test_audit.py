"""audit: the budget by hand, twelve walls and more, every figure that of the call named, infeasible and odd requests."""

import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlwalls.server.verification import verify
from mlwalls.solvers.assignments import read_assignments
from mlwalls.solvers.audit import SOLVER
from mlwalls.solvers.errors import CallError
from mlwalls.solvers.inner import askable, resolve_inner, schema_of
from mlwalls.solvers.walls import WALLS

RUN = {"model": "llama-3.1-70b", "hardware": "h100", "n_accelerators": 512, "days": 30, "mfu_percent": 40}
DEPLOYMENT = {"model": "llama-3.1-70b", "hardware": "h100", "n_accelerators": 4, "workload": "serving"}


def checked_answer(ask, **arguments):
    answer = ask("audit", **arguments)
    assert verify(json.loads(json.dumps(answer))).problems == []
    return answer


def slugs(answer):
    return [row.partition(":")[0] for row in answer["result"]["wall_rows"]]


def test_what_the_budget_buys(ask):
    # 512 x 989.4e12 FLOP/s x 30 x 86,400 s x 0.4 = 5.252e23 FLOP; / (6 x 70.554e9) = 1.241e12 tokens, 17.6 a parameter.
    result = checked_answer(ask, **RUN)["result"]
    assert result["budget_flop"] == pytest.approx(512 * 989.4e12 * 30 * 86_400 * 0.4, rel=1e-5)
    assert result["tokens"] == pytest.approx(5.25215e23 / (6 * 70_553_706_496), rel=1e-5)
    assert result["tokens_per_parameter"] == pytest.approx(17.6, abs=0.05)


@pytest.mark.parametrize("arguments", [RUN, DEPLOYMENT], ids=["training", "serving"])
def test_twelve_walls_and_more_over_the_domains(ask, arguments):
    answer = checked_answer(ask, **arguments)
    rows = slugs(answer)
    assert len(set(rows)) == len(rows) >= 12
    assert {"node", "algorithm", "fleet", "operations"} <= {WALLS[slug].domain for slug in rows}
    assert len(answer["result"]["lever_rows"]) == 3
    assert answer["binding_wall"]["slug"] in rows


def test_a_training_run_has_its_data_walls(ask):
    assert {"storage_bandwidth", "ingestion"} <= set(slugs(checked_answer(ask, **RUN)))


@pytest.mark.parametrize("arguments", [RUN, DEPLOYMENT], ids=["training", "serving"])
def test_every_figure_is_that_of_the_call_named(ask, zoo, arguments):
    """Make each call again: its answer verifies and has each figure that the audit says it has."""
    answer = checked_answer(ask, **arguments)
    figures = {}
    for call in answer["result"]["calls"]:
        tool, _, text = call.partition(" ")
        lines = re.split(r" (?=[a-z_]+=)", text)
        if tool == "sensitivity":
            request = read_assignments(lines, schema_of_analysis("sensitivity"))
            own = ask("sensitivity", **request)
            figures.setdefault(tool, set()).update(own["result"]["vary_elasticity"])
            continue
        inner = resolve_inner(tool, lines, zoo)
        own = ask(tool, **inner.arguments)
        assert verify(json.loads(json.dumps(own))).problems == []
        out, _ = inner.recorded()
        figures.setdefault(tool, set()).update(float(f"{float(v.value):.6g}") for v in out.values())
    claimed = 0
    for line in answer["work"]:
        if match := re.match(r"answer ([a-z_]+)(?: \[[^]]*\])?: (.*)", line):
            for number in re.findall(r"[A-Za-z_0-9]+=([-+0-9.e]+)", match[2]):
                assert float(number) in figures[match[1]], (match[1], number)
                claimed += 1
    assert claimed >= 15


def schema_of_analysis(tool):
    from mlwalls.solvers.registry import solvers

    return schema_of(solvers()[tool])


def test_what_does_not_fit_is_said_first(ask):
    answer = checked_answer(ask, model="llama-3.1-70b", hardware="h100", n_accelerators=1, workload="serving")
    assert answer["feasible"] is False
    assert "fit" in answer["verdict"].split(". ")[0].lower()


def test_one_accelerator_has_no_communication(ask):
    answer = checked_answer(ask, model="llama-3.2-1b", hardware="h100", n_accelerators=1)
    assert "communication" not in slugs(answer)


def test_brief_stays_brief(ask):
    assert len(json.dumps(ask("audit", detail="brief", **RUN))) < 3_000


@pytest.mark.parametrize(
    "change",
    [
        {"model": "llama-3.1-71b"},
        {"hardware": "h101"},
        {"model": "resnet-50"},
        {"hardware": "cerebras-cs-3"},
        {"region": "atlantis"},
    ],
    ids=str,
)
def test_odd_requests_are_answered_or_repaired(zoo, change):
    arguments = {**RUN, **change}
    try:
        SOLVER.run(SOLVER.request.model_validate(arguments), zoo)
    except CallError as error:
        assert error.problem
        if error.repair:
            SOLVER.run(SOLVER.request.model_validate({**arguments, **error.repair}), zoo)


@settings(max_examples=12, deadline=None)
@given(
    st.sampled_from(["llama-3.1-8b", "llama-3.1-70b", "mixtral-8x7b", "deepseek-v3"]),
    st.sampled_from(["h100", "b200", "a100", "mi300x"]),
    st.sampled_from([8, 64, 1024]),
    st.sampled_from(["training", "serving"]),
    st.sampled_from(["us-iowa", "ca-quebec"]),
)
def test_answers_verify(ask, model, hardware, count, workload, region):
    arguments = {"model": model, "hardware": hardware, "workload": workload, "region": region}
    count = 8 if workload == "serving" else count
    try:
        answer = checked_answer(ask, **arguments, n_accelerators=count)
    except CallError as error:
        assert error.problem
        return
    assert all(used >= 0 for used in answer["result"]["wall_used"])
    assert len(slugs(answer)) >= 9


def test_an_audit_cannot_be_asked_about():
    assert not {"audit", "sweep", "sensitivity", "inverse_spec"} & set(askable())
