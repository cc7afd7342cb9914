"""Every tutorial: its calls answer, its claims come out with their verdicts, its exercises have answers."""

import json
import re

import pytest

from mlwalls import prompts
from mlwalls.solvers.walls import WALLS

TUTORIALS = prompts.load()


@pytest.mark.parametrize("tutorial", TUTORIALS, ids=lambda t: t.title)
def test_every_call_answers(tutorial, ask):
    for step in tutorial.data["scenario"]:
        assert ask(step["tool"], **step["arguments"])["verdict"]


@pytest.mark.parametrize("tutorial", TUTORIALS, ids=lambda t: t.title)
def test_claims_come_out(tutorial, ask):
    for claim in tutorial.data["claims"]:
        assert claim["verdict"] in {"reproduced", "reproduced with these inputs", "corrected"}
        got = ask(claim["call"]["tool"], **claim["call"]["arguments"])["result"][claim["field"]]
        assert abs(got - claim["value"]) <= claim["tolerance"] * claim["value"] + 1e-12


@pytest.mark.parametrize("tutorial", TUTORIALS, ids=lambda t: t.title)
def test_exercises_have_answers_and_the_common_wrong_one_is_wrong(tutorial, ask):
    for exercise in tutorial.data["exercises"]:
        answer = ask(exercise["tool"], **exercise["arguments"])["result"][exercise["answer"]]
        wrong = re.fullmatch(r"[0-9.]+", exercise["wrong"])
        if wrong:
            assert abs(float(wrong[0]) / answer - 1) > exercise["tolerance"]
        assert exercise["why"]


@pytest.mark.parametrize("tutorial", TUTORIALS, ids=lambda t: t.title)
def test_walls_and_sources_exist(tutorial, zoo):
    assert set(tutorial.data["walls"]) <= set(WALLS)
    for source in tutorial.data["sources"]:
        assert zoo.source(source).url


@pytest.mark.parametrize("level", ["beginner", "engineer", "researcher", "nonsense", ""])
@pytest.mark.parametrize("tutorial", TUTORIALS, ids=lambda t: t.title)
def test_prompts_carry_no_computed_figure(tutorial, level, ask):
    text = tutorial.render({"level": level})
    for step in tutorial.data["scenario"]:
        assert json.dumps(step["arguments"]) in text
        result = ask(step["tool"], **step["arguments"])["result"]
        for name in ("expected_ms", "floor_ms"):
            assert f"{result[name]:.4g}" not in text
