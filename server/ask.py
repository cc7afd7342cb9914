"""`mlwalls ask`: a question in words becomes one tool call, or an honest "not sure". No language model.

Names are linked through the zoo's own resolver, numbers by the words around them, the tool by the words of
``prompts/routes.yaml`` and the questions of the tutorials.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from mlwalls import prompts
from mlwalls.server.linking import Linked, link
from mlwalls.zoo import Zoo

# Similarity (0 to 100) above which a question counts as a tutorial's own.
SAME_QUESTION = 78


@dataclass(frozen=True, slots=True)
class Routed:
    """A call to make, and how the question was read."""

    tool: str
    arguments: dict[str, Any]
    reading: str


@dataclass(frozen=True, slots=True)
class NotSure:
    """Why there is no answer, and the nearest questions that have one."""

    reason: str
    nearest: tuple[str, ...]

    def text(self) -> str:
        """Say so."""
        return "\n".join(
            [f"Not sure: {self.reason}", "Nearest questions with an answer:", *(f"  {q}" for q in self.nearest)]
        )


def route(question: str, zoo: Zoo) -> Routed | NotSure:
    """Place a question."""
    plain = " ".join(question.split())[:500]
    if not plain:
        return NotSure("there is no question.", nearest(plain))
    found = link(plain, zoo)
    lowered = f" {plain.lower()} "
    if found.unknown:
        word, near = found.unknown[0]
        hint = f"; did you mean {', '.join(near[:3])}?" if near else "."
        return NotSure(f"{word!r} is not in the zoo{hint}", nearest(plain))
    for topic in prompts.routes()["elsewhere"]:
        if any(_stands(word, lowered) for word in topic["words"]):
            return NotSure(f"no tool here answers questions about {topic['about']} yet.", nearest(plain))
    if not found.models and not found.hardware:
        return _tutorial(plain)
    for candidate in prompts.routes()["tools"]:
        if any(_stands(word, lowered) for word in candidate["words"]):
            return _call(candidate, found, lowered)
    return NotSure("the names are known, but not what is asked about them.", nearest(plain))


def nearest(question: str) -> tuple[str, ...]:
    """Return the three tutorial questions that are nearest to `question`."""
    from rapidfuzz import fuzz

    ranked = sorted(prompts.load(), key=lambda t: -_similarity(question, t, fuzz))
    return tuple(t.question for t in ranked[:3])


def _similarity(question: str, tutorial: prompts.Tutorial, fuzz: Any) -> float:
    known = [tutorial.question, *tutorial.data.get("ask", ())]
    return max(float(fuzz.token_sort_ratio(_bare(question), _bare(text))) for text in known)


def _bare(text: str) -> str:
    return re.sub(r"[^a-z0-9. ]+", " ", text.lower().replace("'", "")).strip()


def _tutorial(question: str) -> Routed | NotSure:
    from rapidfuzz import fuzz

    scored = sorted(((_similarity(question, t, fuzz), t) for t in prompts.load()), key=lambda pair: -pair[0])
    score, tutorial = scored[0]
    if score < SAME_QUESTION:
        return NotSure("no model, accelerator or known question stands in it.", nearest(question))
    call = tutorial.answer()
    reading = f"Read as tutorial {tutorial.number}, {tutorial.title}, with its own example."
    return Routed(call.tool, dict(call.arguments), reading)


def _call(candidate: dict[str, Any], found: Linked, lowered: str) -> Routed | NotSure:
    pinned = candidate["pinned"]
    arguments: dict[str, Any] = {}
    assumed = []
    if len(found.models) > 1:
        return NotSure("two models in one question; ask for one at a time.", nearest(lowered))
    if len(found.hardware) > 2:
        return NotSure("more than two accelerators in one question; compare two at a time.", nearest(lowered))
    arguments["model"] = found.models[0] if found.models else pinned["model"]
    if not found.models:
        assumed.append(f"model {arguments['model']}")
    if found.hardware:
        first, *rest = found.hardware
        arguments["hardware"] = first
        if rest:
            arguments["baseline_hardware"] = rest[0]
            if (
                re.search(r"\bfrom\b.*\bto\b|\bupgrad|\bmov(e|ing)\b|\binstead of\b.*\?$", lowered)
                and " instead of " not in lowered
            ):
                arguments["hardware"], arguments["baseline_hardware"] = rest[0], first
    else:
        arguments["hardware"] = pinned["hardware"]
        assumed.append(f"accelerator {arguments['hardware']}")
    arguments |= found.numbers
    if found.phase:
        arguments["phase"] = found.phase
    elif "baseline_hardware" in arguments and found.models == ():
        arguments["phase"] = "decode"
    arguments = {name: value for name, value in arguments.items() if name in candidate["takes"]}
    note = f" Not named, so assumed: {', '.join(assumed)}." if assumed else ""
    return Routed(candidate["tool"], arguments, f"Read as {candidate['tool']} {json.dumps(arguments)}.{note}")


def _stands(word: str, lowered: str) -> bool:
    if not word[0].isalnum():
        return word in lowered
    return re.search(rf"(?<![a-z0-9]){re.escape(word)}(?![a-z0-9])", lowered) is not None
