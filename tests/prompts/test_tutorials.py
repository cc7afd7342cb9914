"""Every tutorial: calls answer and verify, claims come out with their verdicts, prose carries no figure of its own."""

import re
import time
from pathlib import Path

import pytest
import yaml

from mlwalls import prompts
from mlwalls.server.teaching import Figures, filler
from mlwalls.server.teaching.pages import tutorial_page
from mlwalls.server.teaching.session import teach
from mlwalls.server.verification import verify
from mlwalls.solvers.walls import WALLS
from mlwalls.zoo import Zoo

TUTORIALS = prompts.load()
EXPECTED = yaml.safe_load((Path(__file__).parent / "claims.yaml").read_text(encoding="utf-8"))
VERDICTS = {"reproduced", "reproduced with these inputs", "corrected"}
every = pytest.mark.parametrize("tutorial", TUTORIALS, ids=lambda t: f"{t.number}")
_figures = {}


def figures_of(tutorial):
    return _figures.setdefault(tutorial.number, Figures(tutorial, Zoo.builtin()))


def within(says, value, tolerance, figures):
    """Whether a figure is what a claim says: a word, a number with a tolerance, or a range."""
    if isinstance(says, list):
        return says[0] * (1 - tolerance) <= value <= says[1] * (1 + tolerance)
    if isinstance(says, str) and isinstance(value, str):
        return says == value
    number = figures.value(says) if isinstance(says, str) else says
    return abs(value - number) <= tolerance * abs(number)


@every
def test_every_call_answers_and_verifies(tutorial):
    for call in tutorial.calls():
        answer = figures_of(tutorial).answer(call.name)
        assert call.why
        if "work" in answer:
            report = verify(answer)
            assert report.ok, report.text()


@every
def test_claims_come_out_with_their_verdicts(tutorial):
    figures = figures_of(tutorial)
    expected = EXPECTED[tutorial.number]
    assert len(expected) == len(tutorial.data["claims"])
    for claim, wanted in zip(tutorial.data["claims"], expected, strict=True):
        assert claim["verdict"] in VERDICTS
        value = figures.value(claim["figure"])
        tolerance = claim.get("tolerance", 0.01)
        said = within(claim["says"], value, tolerance, figures)
        assert said is (claim["verdict"] != "corrected"), f"{claim['text']}: {value}"
        if claim["verdict"] == "reproduced with these inputs":
            assert claim["inputs"]
            assert not within(claim["says"], figures.value(claim["own"]), tolerance, figures), "its own inputs give it"
        if isinstance(wanted["value"], str):
            assert value == wanted["value"]
        else:
            assert abs(value - wanted["value"]) <= wanted["tolerance"] * abs(wanted["value"]) + 1e-9, (
                f"{claim['text']}: {value}"
            )


@every
def test_exercises_have_answers_and_the_common_wrong_one_is_wrong(tutorial):
    figures = figures_of(tutorial)
    for exercise in tutorial.data["exercises"]:
        answer = figures.value(f"{exercise['call']}.{exercise['answer']}")
        wrong = re.fullmatch(r"\{([^{}:]+)(?::\d+)?\}|([0-9.]+)", exercise["wrong"])
        if wrong and not isinstance(answer, str):
            number = figures.value(wrong[1]) if wrong[1] else float(wrong[2])
            assert abs(number / answer - 1) > max(exercise["tolerance"], 0.02)
        assert exercise["why"]


@every
def test_guesses_differ_from_the_figure(tutorial):
    figures = figures_of(tutorial)
    for prediction in tutorial.data["predictions"]:
        value = figures.value(prediction["figure"])
        for guess in prediction["guesses"]:
            if isinstance(value, str):
                assert guess["choice"].replace(" ", "_") in WALLS
                assert guess["choice"].replace(" ", "_") != value
            else:
                assert abs(figures.value(guess["figure"]) / value - 1) > 0.02
            assert guess["assumption"].startswith(("if ", "with ", "without ", "at ", "for "))


@every
def test_walls_sources_and_prerequisites_exist(tutorial, zoo):
    assert set(tutorial.data["walls"]) <= set(WALLS)
    assert all(number < tutorial.number for number in tutorial.data["prerequisites"])
    for source in tutorial.data["sources"]:
        assert zoo.source(source).url
    used = set(tutorial.data["scenario"]) | {e["call"] for e in tutorial.data["exercises"]}
    prose = yaml.safe_dump({k: v for k, v in tutorial.data.items() if k != "calls"}, width=10_000)
    used |= set(tutorial.behind(prose))
    assert used == set(tutorial.data["calls"]), "a call that nothing uses"


def prose_of(tutorial):
    """Yield every text of a tutorial that stands in prompts and pages beside quoted claims and calls."""
    data = tutorial.data
    yield data["takeaway"]
    yield data["fallacy"]
    for name in data["calls"]:
        yield data["calls"][name]["why"]
    for prediction in data["predictions"]:
        yield prediction["ask"]
        yield from (g["assumption"] for g in prediction["guesses"])
    for claim in data["claims"]:
        yield claim["because"]
        yield from claim.get("inputs", ())
    for exercise in data["exercises"]:
        yield exercise["prompt"]
        yield exercise["why"]
        yield exercise["wrong"]


def numbers_of(value):
    """Yield every number in a call's arguments, also as it is said: thousands, GB, percent."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from numbers_of(item)
    elif isinstance(value, str):
        yield from (float(n) for n in re.findall(r"\d+\.?\d*", value))
    elif not isinstance(value, bool):
        yield from (value, value / 1e3, value / 1e6, value / 1e9, value / 1e12, value / 1024, value * 100, value / 24)


@every
def test_no_number_stands_in_prose_that_is_not_an_input_a_claim_or_a_figure(tutorial):
    given = {round(float(n), 9) for call in tutorial.calls() for n in numbers_of(dict(call.arguments))}
    said = " ".join([tutorial.question, *(c["text"] for c in tutorial.data["claims"])])
    given |= {float(n.replace(",", "")) for n in re.findall(r"\d[\d,]*\.?\d*", said)}
    known = figures_of(tutorial)
    for call in tutorial.calls():
        inputs = [
            line for line in known.answer(call.name).get("work", ()) if re.match(r"zoo |you: |defined: |assumed", line)
        ]
        for line in inputs:
            given |= {
                round(n, 9)
                for found in re.findall(r"(?<==)\d[\d.]*(?:e[-+]?\d+)?", line)
                for n in numbers_of(float(found))
            }
    for text in prose_of(tutorial):
        bare = re.sub(r"\{[^{}]*\}", "", text)
        for number in re.findall(r"(?<![\w.-])\d[\d,]*(?:\.\d+)?(?![\w-])", bare):
            assert round(float(number.replace(",", "")), 9) in given, f"{number} in {text!r}"


@pytest.mark.parametrize("level", ["beginner", "engineer", "researcher", "nonsense", ""])
@every
def test_a_prompt_that_asks_first_carries_no_computed_figure(tutorial, level):
    def fill(_, text):
        raise AssertionError(f"a figure is shown before the prediction: {text}")

    text = tutorial.render({"level": level}, fill)
    for call in tutorial.scenario():
        assert call.text() in text
    assert "ask the learner for a prediction" in text


@every
def test_a_prompt_that_reveals_says_the_figures(tutorial):
    text = tutorial.render({"reveal": "yes"}, filler(Zoo.builtin()))
    assert "{" not in re.sub(r"(?:\b[a-z_]+ )?\{\".*?\}(?=[:.,;\n ]|$)", "", text), text
    assert "Go straight" in text and len(text) < 9000


@every
def test_a_page_shows_every_part(tutorial):
    page = tutorial_page(tutorial, Zoo.builtin())
    for heading in ("Predict", "Compute", "Reflect", "What is often said", "Exercises", "Takeaway", "Sources"):
        assert f"\n## {heading}\n" in page
    assert not re.search(r"\{[a-z_]+\.[a-z_]+", page)
    assert "nan" not in page.lower().split()


@every
def test_taught_at_a_terminal_right_wrong_and_silent(tutorial):
    figures = figures_of(tutorial)

    def session(answer):
        said = []
        teach(tutorial, Zoo.builtin(), lambda question: answer(question, said), said.append)
        return "\n".join(said)

    exercises = {e["prompt"]: e for e in tutorial.data["exercises"]}
    asked = {p["ask"]: p for p in tutorial.data["predictions"]}

    def right(question, _):
        plain = " ".join(question.replace("\n>", "").split())
        if plain in exercises:
            return str(figures.value(f"{exercises[plain]['call']}.{exercises[plain]['answer']}"))
        return str(figures.value(asked[plain]["figure"])).replace("_", " ")

    text = session(right)
    count = len(exercises)
    assert f"{count} of {count} exercises right" in text
    assert text.count("right.") >= len(asked)

    def guess(question, _):
        plain = " ".join(question.replace("\n>", "").split())
        if plain in asked:
            first = asked[plain]["guesses"][0]
            return first.get("choice") or str(figures.value(first["figure"]))
        return "-"

    text = " ".join(session(guess).split())
    for prediction in tutorial.data["predictions"]:
        assert " ".join(figures.fill(prediction["guesses"][0]["assumption"]).split()) in text
    assert f"0 of {count} exercises right" in text
    assert "Takeaway" in session(lambda question, said: "")


def test_somebody_who_leaves_is_let_go():
    def leave(question):
        raise EOFError

    with pytest.raises(EOFError):
        teach(TUTORIALS[0], Zoo.builtin(), leave, lambda text: None)


def test_all_together_take_less_than_thirty_seconds():
    began = time.perf_counter()
    for tutorial in TUTORIALS:
        tutorial_page(tutorial, Zoo.builtin())
    assert time.perf_counter() - began < 30


def test_paths_lead_through_tutorials_that_exist():
    known = {t.number: t for t in TUTORIALS}
    for path in prompts.paths():
        for step in path.steps():
            assert "pause" in step or step["tutorial"] in known
        text = path.render({}, known)
        assert path.data["level"] in prompts.CHOICES["level"]
        assert text.count("tutorial://") == sum("tutorial" in step for step in path.steps())


def test_the_conference_path_fills_its_ninety_minutes():
    known = {t.number: t for t in TUTORIALS}
    minutes = {p.name: p.minutes(known) for p in prompts.paths()}
    assert minutes["d"] == 90
    assert minutes["d_plus"] == 240
    assert (minutes["a"], minutes["b"], minutes["c"]) == (140, 130, 135)
