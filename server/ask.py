"""`mlwalls ask`: a question in words becomes one tool call, or an honest "not sure". No language model.

Names are linked through the zoo's own resolver, numbers by their units. Rules say which tools a sentence can mean; of these
it is the one whose known phrasings are nearest (BM25) and whose arguments take up what the question says.
"""

from __future__ import annotations

import re
from dataclasses import replace

from mlwalls import prompts
from mlwalls.server.checking import checked
from mlwalls.server.linking import Linked, link
from mlwalls.server.meanings import Meaning, alternatives, example, has_own_word, marked, meanings
from mlwalls.server.quantities import grouped, quantities, spelled_out
from mlwalls.server.readings import Candidate, NotSure, Routed, nearest, routed
from mlwalls.server.retrieval import Hit, Phrase, definition, index
from mlwalls.server.slots import Said, fill, places_by_name, takes_of
from mlwalls.server.wording import is_ruled, spelled_right, unknown
from mlwalls.solvers.registry import solvers
from mlwalls.zoo import Zoo

__all__ = ["NotSure", "Routed", "nearest", "route"]

MAX_QUESTION = 500
# Below these a question is not placed, unless a rule decides: the share of its words (by weight) that the tool's phrases have,
# and that the nearest phrase has. A question that names nothing of the zoo and no number would be answered with assumptions
# alone, so its nearest phrase must have more of it.
KNOWN, SHARED, SHARED_BARE = 0.5, 0.2, 0.75
# How much a tool loses for each name or number that it has no place for, and for each argument that nobody gave.
NAME_LOST, NUMBER_LOST, MISSING = 0.5, 0.6, 0.6
CANDIDATES = 6
# With more words that nothing here knows a question is not placed; one more is let pass in one of so many words.
STRANGE, LONG_QUESTION = 1, 14
# Arguments that say how, not of what.
MANNERS = ("phase", "execution")
# A tutorial's own question, this near to the nearest phrase, is meant where nothing of one's own is named.
LESSON = 0.6
# Where one of two models, the smaller, helps the other.
_HELPED = re.compile(r"\b(?:draft\w*|speculat\w*|guard\w*|moderat\w*|safety|classifier)\b")


def route(question: str, zoo: Zoo) -> Routed | NotSure:
    """Place a question."""
    plain, misspelt = spelled_right(spelled_out(" ".join(question.split())[:MAX_QUESTION]), zoo)
    if not plain:
        return NotSure("there is no question.", nearest(plain))
    said = _read(plain, zoo)
    if said.linked.unknown:
        word, near = said.linked.unknown[0]
        hint = f"; did you mean {', '.join(near[:3])}?" if near else "."
        return NotSure(f"{word!r} is not in the zoo{hint}", nearest(said.linked.rest))
    if either := alternatives(said):
        return NotSure(f"it sets {' against '.join(either)}, and one call answers for one.", nearest(said.linked.rest))
    meant = tuple(meanings(said))
    best = _best(said, meant, zoo)
    if isinstance(best, NotSure):
        return best
    lesson = _bare(said) and best.hit.phrase.tutorial is not None
    found = routed(best, bare=True) if lesson else checked(best, said, meant, zoo)
    if misspelt and isinstance(found, Routed):
        words = ", ".join(f"{wrong!r} as {right!r}" for wrong, right in misspelt.items())
        return replace(found, reading=f"{found.reading} Taken {words}.")
    return found


def _read(plain: str, zoo: Zoo) -> Said:
    """Return a sentence's names, in the order in which calls take them, and its numbers."""
    linked = link(plain, zoo)
    if not has_own_word("input pipeline", linked.rest.lower()):
        linked.rest = grouped(linked.rest)
    linked.hardware = _ordered(linked, plain.lower(), zoo)
    if len(linked.models) == 2 and _HELPED.search(plain.lower()):
        sizes = {id: zoo.get("models", id).number("parameters").value for id in linked.models}
        linked.models = tuple(sorted(linked.models, key=lambda id: -sizes[id]))
    types = tuple(f"<{zoo.get('models', id).data.get('type', 'language')}>" for id in linked.models)
    return Said(linked, quantities(linked.rest), linked.rest.lower(), plain.lower(), types)


def _best(said: Said, meant: tuple[Meaning, ...], zoo: Zoo) -> Candidate | NotSure:
    """Return the tool that a sentence is for, if it is near enough and nothing that it needs is missing."""
    rest, bare = said.linked.rest, _bare(said)
    found = _candidates(said, zoo, meant)
    for meaning in meant if found else ():
        found = [
            c
            for c in found
            if c.tool in meaning.tools or (c.hit.phrase.tutorial is not None and bare) or not is_ruled(c.tool)
        ]
        if not found:
            return NotSure(meaning.why or "it asks for two things.", nearest(rest, *meaning.tools[:1]))
    if not found:
        return NotSure("none of its words are of a question that has an answer here.", nearest(rest))
    best = found[0]
    strange = unknown(rest, zoo)
    if len(strange) > (0 if best.tool == "find_in_zoo" else STRANGE + (len(rest.split()) >= LONG_QUESTION)):
        return NotSure(f"{', '.join(map(repr, strange))} is not known here.", nearest(rest))
    decided = any(meaning.decides and best.tool in meaning.tools for meaning in meant)
    if not decided or (bare and best.tool != "find_in_zoo"):
        known = index().share_of(best.tool, rest)
        if known < KNOWN or best.hit.share < (SHARED_BARE if bare else SHARED):
            return NotSure("it is not near enough to a question that has an answer here.", nearest(rest))
    nothing = set(best.filled.arguments) <= {*best.filled.assumed, *MANNERS}
    if bare and nothing and best.hit.phrase.tutorial is None:
        return NotSure("it names no model, accelerator, place or number.", nearest(rest, best.tool))
    if best.filled.missing:
        what = ", ".join("which things to vary" if name == "over" else name for name in best.filled.missing)
        return NotSure(f"it reads as a question for {best.tool}, but does not say {what}.", nearest(rest, best.tool))
    return best


def _bare(said: Said) -> bool:
    """Whether a sentence names nothing of the zoo and no number."""
    linked = said.linked
    counted = any(q.kind not in ("", "ratio") for q in said.numbers)
    return not (linked.models or linked.hardware or linked.grids or counted)


def _candidates(said: Said, zoo: Zoo, meant: tuple[Meaning, ...]) -> list[Candidate]:
    best: dict[str, Hit] = {}
    taught: dict[str, Hit] = {}
    for hit in index().hits(said.linked.rest):
        if hit.score > 0:
            best.setdefault(hit.phrase.tool, hit)
            if hit.phrase.tutorial is not None:
                taught.setdefault(hit.phrase.tool, hit)
    routes = prompts.routes()["tools"]
    decided = {tool for meaning in meant if meaning.decides for tool in meaning.tools}
    only = {meaning.tools[0] for meaning in meant if meaning.decides and len(meaning.tools) == 1}
    for tool in decided - set(best):
        best[tool] = Hit(Phrase(example(tool), tool), 0.1, 0.0)
    found = []
    near = set(list(best)[:CANDIDATES]).union(*(meaning.tools for meaning in meant))
    words = marked(said)
    for tool, hit in best.items():
        if tool not in near or (tool not in only and not has_own_word(tool, words)):
            continue
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
        found.append(Candidate(tool, hit, filled, rank * MISSING ** len(filled.missing)))
    return sorted(found, key=lambda candidate: -candidate.rank)


def _required(tool: str) -> tuple[str, ...]:
    if tool not in solvers():
        return ()
    return tuple(definition(tool)["inputSchema"].get("required", ()))


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
