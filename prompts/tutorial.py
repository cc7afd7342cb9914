"""One tutorial as data, and the prompt that makes an assistant teach it: predict, compute, reflect.

Prose carries no figure of its own. Where one is needed it says ``{call.field}`` (or an expression over such names, then
``:`` and the digits wanted), and whoever renders hands in what fills it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

LEVELS = {
    "beginner": "Explain every term the first time it appears, and keep to one idea at a time.",
    "engineer": "Assume working knowledge of GPUs and transformers; spend the words on consequences for a deployment.",
    "researcher": "Be terse; discuss the assumptions and where the model stops holding.",
}
CHOICES: dict[str, tuple[str, ...]] = {"level": tuple(LEVELS), "reveal": ("no", "yes")}
ARGUMENTS = {
    "level": "beginner, engineer or researcher",
    "reveal": "yes: calculate at once; no: ask for a prediction first",
    "model": "your own model in place of the tutorial's",
    "hardware": "your own accelerator in place of the tutorial's",
}
_FIELD = re.compile(r"\b([a-z_][a-z0-9_]*)\.([a-z_][a-z0-9_]*)")
_PLACE = re.compile(r"\{([^}:]+)(?::\d+)?\}")
Fill = Callable[["Tutorial", str], str]


@dataclass(frozen=True, slots=True)
class Call:
    """A named tool call of a tutorial."""

    name: str
    tool: str
    arguments: Mapping[str, Any]
    why: str = ""

    def text(self) -> str:
        """Return the call as an assistant or `ask` prints it."""
        return f"{self.tool} {json.dumps(dict(self.arguments), ensure_ascii=False)}"


@dataclass(frozen=True, slots=True)
class Tutorial:
    """One tutorial: a question, the exact calls that answer it, predictions, claims with verdicts, exercises.

    `data` holds the parsed file: level, minutes, prerequisites, walls, ask, calls, scenario, figures, tables,
    predictions, claims, exercises, takeaway, fallacy, sources.
    """

    number: int
    title: str
    question: str
    data: Mapping[str, Any]

    def call(self, name: str) -> Call:
        """Return a call by its name."""
        entry = self.data["calls"][name]
        return Call(name, entry["tool"], entry["arguments"], entry.get("why", ""))

    def calls(self) -> tuple[Call, ...]:
        """Return every call, those of claims and exercises included."""
        return tuple(self.call(name) for name in self.data["calls"])

    def scenario(self) -> tuple[Call, ...]:
        """Return the calls that answer the tutorial's question, in order."""
        return tuple(self.call(name) for name in self.data["scenario"])

    def answer(self) -> Call:
        """Return the call that answers the question when it is asked in one sentence."""
        return self.call(self.data.get("answer", self.data["scenario"][0]))

    def behind(self, text: str) -> tuple[str, ...]:
        """Return the names of the calls behind an expression or a text's placeholders, named figures followed."""
        found: list[str] = []
        for name, field in _FIELD.findall(text):
            if name == "figures":
                found += self.behind(self.data["figures"][field])
            elif name in self.data["calls"]:
                found.append(name)
        return tuple(dict.fromkeys(found))

    def render(self, given: Mapping[str, str], fill: Fill) -> str:
        """Return the prompt. `fill` puts figures into prose; it is asked only where the learner wants them at once."""
        data = self.data
        reveal = (given.get("reveal") or "no") == "yes"
        prose = (lambda text: fill(self, text)) if reveal else _pointed
        own = {name: given[name] for name in ("model", "hardware") if given.get(name)}
        parts = [
            f"Teach this question by predict, compute, reflect: {self.question}",
            LEVELS.get(given.get("level") or "engineer", LEVELS["engineer"]),
            "Every figure you state comes from a tool of this server in this conversation; quote its verdict, range and "
            "sources. Never put a figure of your own in its place.",
        ]
        if reveal:
            parts.append("Go straight to the calculation and explain it.")
        else:
            asked = "\n".join(f"- {p['ask']}" for p in data["predictions"])
            parts.append(
                "First ask the learner for a prediction and a reason, one question at a time, and wait for each. "
                f"Only then calculate.\n{asked}"
            )
        calls = [f"{i}. {_replaced(c, own).text()}: {c.why}" for i, c in enumerate(self.scenario(), 1)]
        parts.append("Calculate:\n" + "\n".join(calls))
        guesses = [g for p in data["predictions"] for g in p["guesses"]]
        parts.append(
            "Reflect: compare with the prediction, and name the assumption that would have made the prediction right. "
            "Name the wall that binds and its share. Common assumptions:\n"
            + "\n".join(f"- {prose(g['assumption'])}" for g in guesses)
        )
        claims = "\n".join(self._claim(c, prose) for c in data["claims"])
        parts.append(f"Then judge what is often said, computing each figure yourself:\n{claims}")
        exercises = "\n".join(self._exercise(e, prose) for e in data["exercises"])
        pinned = " (they keep the tutorial's own example)" if own else ""
        parts.append(f"Exercises{pinned}, one at a time, prediction first:\n{exercises}")
        parts.append(f"Takeaway: {prose(data['takeaway'])}\nFallacy to watch for: {prose(data['fallacy'])}")
        return "\n\n".join(parts)

    def _claim(self, claim: Mapping[str, Any], prose: Callable[[str], str]) -> str:
        used = [self.call(name).text() for name in self.behind(claim["figure"]) if name not in self.data["scenario"]]
        computed = f" Compute: {'; '.join(used)}." if used else ""
        return f"- “{claim['text']}” {claim['verdict'].capitalize()}: {prose(claim['because'])}.{computed}"

    def _exercise(self, exercise: Mapping[str, Any], prose: Callable[[str], str]) -> str:
        call = self.call(exercise["call"])
        return (
            f"- {exercise['prompt']} Check with {call.text()}, field {exercise['answer']}. "
            f"Common wrong answer: {prose(exercise['wrong'])}; {prose(exercise['why'])}."
        )


def _pointed(text: str) -> str:
    """Leave a place where a figure stands: the learner has not seen it yet."""
    return _PLACE.sub(lambda match: f"[{match[1]}]", text)


def _replaced(call: Call, own: Mapping[str, str]) -> Call:
    arguments = {name: own.get(name, value) for name, value in call.arguments.items()}
    return Call(call.name, call.tool, arguments, call.why)
