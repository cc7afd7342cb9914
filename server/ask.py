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
from mlwalls.server.slots import Filled, Said, fill
from mlwalls.solvers.registry import solvers
from mlwalls.zoo import Zoo

MAX_QUESTION = 500
# Below these a question is not placed: share of its words known at all, and shared with the nearest phrase. A question that
# names nothing of the zoo and no number would be answered with assumptions alone, so more of it must be known.
KNOWN, SHARED, SHARED_BARE = 0.55, 0.3, 0.55
# How much a tool loses for each name or number that it has no place for, and for each argument that nobody gave.
NAME_LOST, NUMBER_LOST, MISSING = 0.7, 0.9, 0.5
CANDIDATES = 6


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
    linked.hardware = _ordered(linked, plain.lower())
    said = Said(linked, quantities(linked.rest), linked.rest.lower())
    found = _candidates(said, zoo)
    if not found:
        return NotSure("none of its words are of a question that has an answer here.", nearest(linked.rest))
    best = found[0]
    bare = not (linked.models or linked.hardware or linked.grids or any(q.kind for q in said.numbers))
    known = index().known_share(linked.rest)
    if known < KNOWN or best.hit.share < (SHARED_BARE if bare else SHARED):
        return NotSure("it is not near enough to a question that has an answer here.", nearest(linked.rest))
    if best.filled.missing:
        what = ", ".join(best.filled.missing)
        return NotSure(f"it reads as a question for {best.tool}, but does not say {what}.", nearest(linked.rest, best.tool))
    return _routed(best, said)


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


def _question(tool: str, tutorial: int | None, text: str) -> str:
    """Return a phrase as somebody would ask it: a tutorial's question, or the tool's own where names are left open."""
    if tutorial is not None:
        return prompts.load()[[t.number for t in prompts.load()].index(tutorial)].question
    if re.search(r"themodel|chip|thegrid", text) and tool in solvers():
        return solvers()[tool].question
    return text


def _candidates(said: Said, zoo: Zoo) -> list[_Candidate]:
    best: dict[str, Hit] = {}
    for hit in index().hits(said.linked.rest):
        if hit.score > 0:
            best.setdefault(hit.phrase.tool, hit)
    routes = prompts.routes()["tools"]
    found = []
    for tool, hit in list(best.items())[:CANDIDATES]:
        route = routes.get(tool, {})
        filled = fill(route.get("takes", {}), said, zoo, _required(tool))
        one_of = route.get("needs_one")
        if one_of and not any(name in filled.arguments for name in one_of):
            filled.missing.append(f"one of {', '.join(one_of)}")
        own = hit.phrase.tutorial is not None and not filled.unused_names
        if own and filled.missing:
            filled.missing = []  # the tutorial's own example fills in
        rank = hit.score * NAME_LOST**filled.unused_names * NUMBER_LOST**filled.unused_numbers
        found.append(_Candidate(tool, hit, filled, rank * MISSING ** len(filled.missing)))
    return sorted(found, key=lambda candidate: -candidate.rank)


def _required(tool: str) -> tuple[str, ...]:
    if tool not in solvers():
        return ()
    fields = solvers()[tool].request.model_fields
    return tuple(name for name, field in fields.items() if field.is_required())


def _routed(best: _Candidate, said: Said) -> Routed:
    arguments = {k: v for k, v in best.filled.arguments.items() if k not in best.filled.assumed}
    assumed = {k: v for k, v in best.filled.arguments.items() if k in best.filled.assumed}
    if best.hit.phrase.tutorial is not None:
        tutorial = next(t for t in prompts.load() if t.number == best.hit.phrase.tutorial)
        own = tutorial.answer()
        if own.tool == best.tool and not arguments:
            reading = f"Read as tutorial {tutorial.number}, {tutorial.title}, with its own example."
            return Routed(own.tool, dict(own.arguments), reading, tuple(own.arguments))
        assumed = {k: v for k, v in own.arguments.items() if k not in arguments and k in ("phase", *assumed)} | {
            k: v for k, v in assumed.items() if k not in own.arguments
        }
    call = {**assumed, **arguments}
    note = f" Not named, so assumed: {', '.join(f'{k} {_shown(v)}' for k, v in assumed.items())}." if assumed else ""
    if said.linked.unknown:
        note += f" Not understood: {said.linked.unknown[0][0]}."
    return Routed(best.tool, call, f"Read as {best.tool} {json.dumps(call)}.{note}", tuple(assumed))


def _shown(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _ordered(linked: Linked, lowered: str) -> tuple[str, ...]:
    """Put the accelerator that is asked about first: the one moved to, not the one moved from."""
    hardware = linked.hardware
    moved = re.search(r"\bfrom\b.*\bto\b|\bupgrad|\bmov(?:e|ing)\b|\breplac", lowered)
    if len(hardware) == 2 and moved and " instead of " not in lowered:
        return (hardware[1], hardware[0])
    return hardware
