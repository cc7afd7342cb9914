"""`mlwalls ask`: a question in words becomes one tool call, or an honest "not sure". No language model.

Names are linked through the zoo's own resolver, numbers by their units; the tool is the one whose known phrasings are
nearest (BM25) and whose arguments take up what the question says.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from mlwalls import prompts
from mlwalls.server.linking import Linked, link
from mlwalls.server.quantities import quantities, spelled_out
from mlwalls.server.retrieval import Hit, index
from mlwalls.server.slots import Filled, Said, fill, places_by_name, takes_of
from mlwalls.solvers.registry import solvers
from mlwalls.zoo import Zoo

MAX_QUESTION = 500
# Below these a question is not placed: the share of its words (by weight) that the tool's phrases have, and that the nearest
# phrase has. A question that names nothing of the zoo and no number would be answered with assumptions alone, so its nearest
# phrase must have more of it.
KNOWN, SHARED, SHARED_BARE = 0.45, 0.15, 0.55
# How much a tool loses for each name or number that it has no place for, and for each argument that nobody gave.
NAME_LOST, NUMBER_LOST, MISSING = 0.7, 0.9, 0.8
CANDIDATES = 6
# Arguments that say how, not of what.
MANNERS = ("phase", "execution")
# A tutorial's own question, this near to the nearest phrase, is meant where nothing of one's own is named.
LESSON = 0.6


@dataclass(frozen=True, slots=True)
class Routed:
    """A call to make, how the question was read, and which arguments nobody named."""

    tool: str
    arguments: dict[str, Any]
    reading: str
    assumed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class NotSure:
    """Why there is no answer, and the nearest questions that have one."""

    reason: str
    nearest: tuple[str, ...]

    def text(self) -> str:
        """Say so."""
        return "\n".join([f"Not sure: {self.reason}", "Did you mean:", *(f"  {q}" for q in self.nearest)])


@dataclass(frozen=True, slots=True)
class _Candidate:
    tool: str
    hit: Hit
    filled: Filled
    rank: float


def route(question: str, zoo: Zoo) -> Routed | NotSure:
    """Place a question."""
    plain = spelled_out(" ".join(question.split())[:MAX_QUESTION])
    if not plain:
        return NotSure("there is no question.", nearest(plain))
    linked = link(plain, zoo)
    if linked.unknown:
        word, near = linked.unknown[0]
        hint = f"; did you mean {', '.join(near[:3])}?" if near else "."
        return NotSure(f"{word!r} is not in the zoo{hint}", nearest(linked.rest))
    linked.hardware = _ordered(linked, plain.lower(), zoo)
    said = Said(linked, quantities(linked.rest), linked.rest.lower(), plain.lower())
    found = _candidates(said, zoo)
    if not found:
        return NotSure("none of its words are of a question that has an answer here.", nearest(linked.rest))
    best = found[0]
    bare = not (linked.models or linked.hardware or linked.grids or any(q.kind for q in said.numbers))
    known = index().share_of(best.tool, linked.rest)
    if known < KNOWN or best.hit.share < (SHARED_BARE if bare else SHARED):
        return NotSure("it is not near enough to a question that has an answer here.", nearest(linked.rest))
    nothing = set(best.filled.arguments) <= {*best.filled.assumed, *MANNERS}
    if bare and nothing and best.hit.phrase.tutorial is None:
        return NotSure("it names no model, accelerator, place or number.", nearest(linked.rest, best.tool))
    if best.filled.missing:
        what = ", ".join(best.filled.missing)
        return NotSure(
            f"it reads as a question for {best.tool}, but does not say {what}.", nearest(linked.rest, best.tool)
        )
    return _routed(best, said, bare)


def nearest(question: str, tool: str = "") -> tuple[str, ...]:
    """Return three questions that have an answer, each of another tool or tutorial; `tool`'s own first."""
    hits = index().hits(question)
    ranked = sorted(hits, key=lambda hit: (hit.phrase.tool != tool, -hit.score)) if tool else hits
    pool = [hit.phrase for hit in ranked if hit.score > 0]
    found: dict[str, str] = {}
    for phrase in pool:
        found.setdefault(phrase.tool, _question(phrase.tool, phrase.tutorial, phrase.text))
    for tutorial in prompts.load():
        found.setdefault(tutorial.answer().tool, tutorial.question)
    return tuple(found.values())[:3]


_EXAMPLES = {
    "themodel": ("Llama-3.1-70B", "DeepSeek-V3", "Mixtral 8x7B"),
    "thegrid": ("Iowa", "Québec", "France"),
    "chip": ("H100", "A100", "B200", "MI300X"),
}


def _question(tool: str, tutorial: int | None, text: str) -> str:
    """Return a phrase as somebody would ask it: a tutorial's question, else with names in its open places."""
    if tutorial is not None:
        return next(t.question for t in prompts.load() if t.number == tutorial)
    for place, names in _EXAMPLES.items():
        for name in names:
            text = re.sub(rf"\b{place}\b", name, text, count=1)
    return text[:1].upper() + text[1:] + ("" if text.endswith("?") else "?")


def _candidates(said: Said, zoo: Zoo) -> list[_Candidate]:
    best: dict[str, Hit] = {}
    taught: dict[str, Hit] = {}
    for hit in index().hits(said.linked.rest):
        if hit.score > 0:
            best.setdefault(hit.phrase.tool, hit)
            if hit.phrase.tutorial is not None:
                taught.setdefault(hit.phrase.tool, hit)
    routes = prompts.routes()["tools"]
    found = []
    for tool, hit in list(best.items())[:CANDIDATES]:
        route = routes.get(tool, {})
        takes = takes_of(route, said) if route else places_by_name(solvers()[tool])
        filled = fill(takes, said, zoo, _required(tool))
        one_of = route.get("needs_one")
        if one_of and not any(name in filled.arguments for name in one_of):
            filled.missing.append(f"one of {', '.join(one_of)}")
        named = set(filled.arguments) - set(filled.assumed)
        lesson = taught.get(tool)
        if lesson and not named and lesson.score >= LESSON * hit.score:
            hit = lesson
        own = hit.phrase.tutorial is not None and not filled.unused_names
        if own and filled.missing:
            filled.missing = []  # the tutorial's own example fills in
        rank = hit.score * NAME_LOST**filled.unused_names * NUMBER_LOST ** len(filled.unused_numbers)
        found.append(_Candidate(tool, hit, filled, rank * MISSING ** len(filled.missing)))
    return sorted(found, key=lambda candidate: -candidate.rank)


def _required(tool: str) -> tuple[str, ...]:
    if tool not in solvers():
        return ()
    fields = solvers()[tool].request.model_fields
    return tuple(name for name, field in fields.items() if field.is_required())


def _routed(best: _Candidate, said: Said, bare: bool) -> Routed:
    arguments = {k: v for k, v in best.filled.arguments.items() if k not in best.filled.assumed}
    assumed = {k: v for k, v in best.filled.arguments.items() if k in best.filled.assumed}
    if best.hit.phrase.tutorial is not None:
        tutorial = next(t for t in prompts.load() if t.number == best.hit.phrase.tutorial)
        own = tutorial.answer()
        if own.tool == best.tool and (bare or not arguments):
            reading = f"Read as tutorial {tutorial.number}, {tutorial.title}, with its own example."
            return Routed(own.tool, dict(own.arguments), reading, tuple(own.arguments))
        assumed = {k: v for k, v in own.arguments.items() if k not in arguments and k in ("phase", *assumed)} | {
            k: v for k, v in assumed.items() if k not in own.arguments
        }
    call = {**assumed, **arguments}
    note = f" Not named, so assumed: {', '.join(f'{k} {_shown(v)}' for k, v in assumed.items())}." if assumed else ""
    if best.filled.unused_numbers:
        note += f" Not used: {', '.join(best.filled.unused_numbers)}."
    return Routed(best.tool, call, f"Read as {best.tool} {json.dumps(call)}.{note}", tuple(assumed))


def _shown(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _ordered(linked: Linked, lowered: str, zoo: Zoo) -> tuple[str, ...]:
    """Put the accelerator that is asked about first: the one moved to; of two merely named side by side the faster memory."""
    hardware = linked.hardware
    if len(hardware) != 2:
        return hardware
    if re.search(r"\bfrom\b.*\bto\b|\bupgrad|\bmov(?:e|ing)\b|\breplac", lowered) and " instead of " not in lowered:
        return (hardware[1], hardware[0])
    if re.search(r"\b(?:vs|versus|compare|or)\b", lowered):
        first, second = (_bandwidth(zoo, id) for id in hardware)
        return hardware if first >= second else (hardware[1], hardware[0])
    return hardware


def _bandwidth(zoo: Zoo, id: str) -> float:
    entry = zoo.get("hardware", id)
    return entry.number("memory.bandwidth").value if entry.has("memory.bandwidth") else 0.0
