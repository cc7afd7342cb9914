"""A tutorial taught at a terminal: ask for predictions, compute, compare, name the assumption behind the guess."""

from __future__ import annotations

import math
import re
import textwrap
from collections.abc import Callable, Mapping
from typing import Any

from mlwalls.prompts import Tutorial
from mlwalls.server.teaching.figures import Figures, shown
from mlwalls.server.teaching.pages import command, sentence
from mlwalls.zoo import Zoo

WIDTH = 100
# A guess within this factor of the figure counts as right: predictions are made in the head.
CLOSE = 1.15
_NUMBER = re.compile(r"((?<!\d)-?\d[\d,]*\.?\d*(?:e[-+]?\d+)?|\.\d+)\s*([kmbt]\b)?", re.IGNORECASE)
_LETTERS = {"k": 1e3, "m": 1e6, "b": 1e9, "t": 1e12}


def teach(
    tutorial: Tutorial,
    zoo: Zoo,
    read: Callable[[str], str],
    say: Callable[[str], None],
    own: Mapping[str, str] | None = None,
) -> None:
    """Go through one tutorial.

    Args:
        read: shows a question and returns what was typed; raises EOFError when there is nobody.
        say: prints a paragraph.
    """
    figures = Figures(tutorial, zoo, own)
    data = tutorial.data
    say(_folded(f"Tutorial {tutorial.number}: {tutorial.title}"))
    say(_folded(tutorial.question))
    say("Predict first; an empty line shows the answer, Ctrl-D ends.\n")
    guesses = [(p, read(f"{_folded(p['ask'])}\n> ").strip()) for p in data["predictions"]]
    for number, (asked, answer) in enumerate(figures.scenario_answers(), 1):
        say(f"\n{number}. {_folded(sentence(figures.fill(asked.why)))}\n   {command(asked)}\n")
        say(_folded(answer.get("verdict", "\n".join(answer.get("rows", ())))))
    say("")
    for prediction, guess in guesses:
        say(_folded(compared(prediction, guess, figures)))
    say("\nWhat is often said:")
    for claim in data["claims"]:
        say(_folded(f"“{claim['text']}” {claim['verdict'].capitalize()}: {figures.fill(claim['because'])}."))
    right = 0
    for exercise in data["exercises"]:
        typed = read(f"\n{_folded(exercise['prompt'])}\n> ").strip()
        correct, text = judged(exercise, typed, figures)
        right += correct
        say(_folded(text))
    say(f"\n{right} of {len(data['exercises'])} exercises right.")
    say(_folded(f"Takeaway: {figures.fill(data['takeaway'])}"))
    say(_folded(f"Fallacy to watch for: {figures.fill(data['fallacy'])}"))


def number_in(text: str) -> float | None:
    """Return the first number of a typed answer: ``"about 1,300"``, ``"40 %"``, ``"2.5k"``."""
    match = _NUMBER.search(text)
    if match is None:
        return None
    return float(match[1].replace(",", "")) * _LETTERS.get((match[2] or "").lower(), 1.0)


def compared(prediction: Mapping[str, Any], guess: str, figures: Figures) -> str:
    """Compare a prediction with the figure, and name the assumption that would have made it right."""
    value = figures.value(prediction["figure"])
    unit = f" {prediction['unit']}" if prediction.get("unit") else ""
    come = f"{prediction['ask']} It is {shown(value)}{unit}."
    if not guess:
        return come
    if isinstance(value, str):
        return f"{come} {_named(prediction, guess, value, figures)}"
    number = number_in(guess)
    if number is None:
        return f"{come} “{guess}” has no number in it."
    if _apart(number, value) <= math.log(CLOSE):
        return f"{come} You said {guess}: right."
    near = [(g, figures.value(g["figure"])) for g in prediction["guesses"]]
    nearest = min(near, key=lambda pair: _apart(number, pair[1]))
    if _apart(number, nearest[1]) > math.log(2):
        times = shown(number / value, 2) if value else "?"
        return f"{come} You said {guess}, {times} times that; no common assumption leads there."
    return (
        f"{come} You said {guess}. {shown(nearest[1])}{unit} would be right {figures.fill(nearest[0]['assumption'])}."
    )


def _named(prediction: Mapping[str, Any], guess: str, value: str, figures: Figures) -> str:
    said = guess.lower()
    if any(word in said for word in value.split("_")):
        return f"You said {guess}: right."
    for other in prediction["guesses"]:
        if any(word in said for word in str(other["choice"]).lower().split()):
            return f"You said {guess}. That would be right {figures.fill(other['assumption'])}."
    return f"You said {guess}."


def judged(exercise: Mapping[str, Any], typed: str, figures: Figures) -> tuple[bool, str]:
    """Say whether an exercise's answer is right, and else what the common mistake is."""
    value = figures.value(f"{exercise['call']}.{exercise['answer']}")
    unit = f" {exercise['unit']}" if exercise.get("unit") else ""
    shape = f"{shown(value)}{unit}: {command(figures.tutorial.call(exercise['call']))}"
    number = number_in(typed)
    if isinstance(value, str):
        if any(word in typed.lower() for word in value.split("_")):
            return True, f"Right. {shape}"
    elif number is not None and abs(number - value) <= max(exercise["tolerance"], 0.02) * abs(value) + 1e-12:
        return True, f"Right. {shape}"
    return False, (f"It is {shape}\nOften answered {figures.fill(exercise['wrong'])}: {figures.fill(exercise['why'])}.")


def _apart(a: float, b: float) -> float:
    if a <= 0 or b <= 0:
        return 0.0 if a == b else math.inf
    return abs(math.log(a / b))


def _folded(text: str) -> str:
    return "\n".join(textwrap.fill(line, WIDTH) for line in text.splitlines())
