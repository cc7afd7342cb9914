"""`mlwalls ask`: a question in words becomes one tool call, or an honest "not sure". No language model.

Names are linked through the zoo's own resolver, numbers by their units; the tool is the one whose known phrasings are
nearest (BM25) and whose arguments take up what the question says.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from pydantic import ValidationError

from mlwalls import prompts
from mlwalls.server.linking import KINDS, Linked, link
from mlwalls.server.meanings import (
    Meaning,
    alternatives,
    example,
    feasible,
    group_that_holds,
    has_own_word,
    marked,
    meanings,
)
from mlwalls.server.quantities import Quantity, grouped, quantities, spelled_out
from mlwalls.server.retrieval import Hit, Phrase, index
from mlwalls.server.slots import Filled, Said, fill, places_by_name, takes_of
from mlwalls.server.wording import is_known, left_out, spelled_right, unknown
from mlwalls.solvers.errors import CallError
from mlwalls.solvers.registry import solvers
from mlwalls.zoo import Zoo

MAX_QUESTION = 500
# Below these a question is not placed: the share of its words (by weight) that the tool's phrases have, and that the nearest
# phrase has. A question that names nothing of the zoo and no number would be answered with assumptions alone, so its nearest
# phrase must have more of it.
KNOWN, SHARED, SHARED_BARE = 0.5, 0.2, 0.75
# How much a tool loses for each name or number that it has no place for, and for each argument that nobody gave.
NAME_LOST, NUMBER_LOST, MISSING = 0.5, 0.6, 0.6
CANDIDATES = 6
# Words that nothing here knows: with more of them a question is not placed.
STRANGE = 1
LONG_QUESTION = 14
# Decimal and binary giga read from `80 gig`.
_OWN_MEMORY = (1.0, 1.024**3)
SAME_MEMORY = 0.02
_UNITS_OF_PRICES = (1e3, 1024.0, 1e6, 1024.0**2)
# Questions that are shown where one cannot be placed.
NEAREST = 3
# Arguments that say how, not of what.
MANNERS = ("phase", "execution")
# Tools that ask another tool many times: their calls are not tried before they are made.
ASKING_OTHERS = ("sweep", "sensitivity", "inverse_spec", "audit")
# Tools that set their answer beside another by themselves.
COMPARING = ("quantization", "wafer_scale", "safety_overhead", "sensitivity", "sweep", "find_in_zoo")
# A tutorial's own question, this near to the nearest phrase, is meant where nothing of one's own is named.
LESSON = 0.6


_AGAINST = re.compile(r"\b(?:vs|versus|compared? (?:to|with)|against)\b")
_PLACE = re.compile(r"\bin (?:the )?([a-z]{2,})(?: *$|[?.,;]| (?:for|with|over|during|and|or)\b)")


# Where one of two models, the smaller, helps the other.
_HELPED = re.compile(r"\b(?:draft\w*|speculat\w*|guard\w*|moderat\w*|safety|classifier)\b")


@dataclass(frozen=True, slots=True)
class Routed:
    """A call to make, how the question was read, which arguments nobody named, and the result's fields that were asked for."""

    tool: str
    arguments: dict[str, Any]
    reading: str
    assumed: tuple[str, ...] = ()
    shows: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class NotSure:
    """Why there is no answer, the nearest questions that have one, and calls that answer a part."""

    reason: str
    nearest: tuple[str, ...]
    calls: tuple[str, ...] = ()

    def text(self) -> str:
        """Say so."""
        calls = ["Each by itself:", *(f"  mlwalls call {call}" for call in self.calls)] if self.calls else []
        return "\n".join([f"Not sure: {self.reason}", *calls, "Did you mean:", *(f"  {q}" for q in self.nearest)])


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
    plain, misspelt = spelled_right(plain, zoo)
    linked = link(plain, zoo)
    linked.rest = grouped(linked.rest) if not has_own_word("input pipeline", linked.rest.lower()) else linked.rest
    if linked.unknown:
        word, near = linked.unknown[0]
        hint = f"; did you mean {', '.join(near[:3])}?" if near else "."
        return NotSure(f"{word!r} is not in the zoo{hint}", nearest(linked.rest))
    linked.hardware = _ordered(linked, plain.lower(), zoo)
    if len(linked.models) == 2 and _HELPED.search(plain.lower()):
        sizes = {id: zoo.get("models", id).number("parameters").value for id in linked.models}
        linked.models = tuple(sorted(linked.models, key=lambda id: -sizes[id]))
    types = tuple(f"<{zoo.get('models', id).data.get('type', 'language')}>" for id in linked.models)
    said = Said(linked, quantities(linked.rest), linked.rest.lower(), plain.lower(), types)
    meant = tuple(meanings(said))
    if either := alternatives(said):
        return NotSure(f"it sets {' against '.join(either)}, and one call answers for one.", nearest(linked.rest))
    found = _candidates(said, zoo, meant)
    for meaning in meant if found else ():
        found = [c for c in found if c.tool in meaning.tools or (c.hit.phrase.tutorial is not None and _bare(said))]
        if not found:
            return NotSure(meaning.why or "it asks for two things.", nearest(linked.rest, *meaning.tools[:1]))
    strange = unknown(linked.rest, zoo)
    allowed = STRANGE + (len(linked.rest.split()) >= LONG_QUESTION)
    if found and len(strange) > (0 if found[0].tool == "find_in_zoo" else allowed):
        return NotSure(f"{', '.join(map(repr, strange))} is not known here.", nearest(linked.rest))
    if not found:
        return NotSure("none of its words are of a question that has an answer here.", nearest(linked.rest))
    best = found[0]
    bare = _bare(said)
    known = index().share_of(best.tool, linked.rest)
    decided = (not bare or best.tool == "find_in_zoo") and any(meaning.decides and best.tool in meaning.tools for meaning in meant)
    if not decided and (known < KNOWN or best.hit.share < (SHARED_BARE if bare else SHARED)):
        return NotSure("it is not near enough to a question that has an answer here.", nearest(linked.rest))
    nothing = set(best.filled.arguments) <= {*best.filled.assumed, *MANNERS}
    if bare and nothing and best.hit.phrase.tutorial is None:
        return NotSure("it names no model, accelerator, place or number.", nearest(linked.rest, best.tool))
    if best.filled.missing:
        what = ", ".join("which things to vary" if name == "over" else name for name in best.filled.missing)
        return NotSure(
            f"it reads as a question for {best.tool}, but does not say {what}.", nearest(linked.rest, best.tool)
        )
    lesson = bare and best.hit.phrase.tutorial is not None
    routed = _routed(best, said, bare) if lesson else _checked(best, said, meant, zoo)
    if misspelt and isinstance(routed, Routed):
        words = ", ".join(f"{wrong!r} as {right!r}" for wrong, right in misspelt.items())
        return replace(routed, reading=f"{routed.reading} Taken {words}.")
    return routed


def _bare(said: Said) -> bool:
    linked = said.linked
    return not (linked.models or linked.hardware or linked.grids or any(q.kind not in ("", "ratio") for q in said.numbers))


def _checked(best: _Candidate, said: Said, meant: tuple[Meaning, ...], zoo: Zoo) -> Routed | NotSure:
    """Return the call if it takes up all that was said and answers what was asked."""
    tool, filled = best.tool, best.filled
    for meaning in meant:
        needed = meaning.needs.get(tool)
        if needed and needed not in filled.arguments:
            return NotSure(f"{meaning.why} It does not say {needed}.", nearest(said.linked.rest, tool))
    named = {k: v for k, v in filled.arguments.items() if k not in filled.assumed}
    if tool == "roofline" and "output_tokens" in named and named.get("phase") != "inference":
        if "phase" in named and re.search(r"\b(?:prefill|ttft|first token|train\w*)\b", said.text):
            return NotSure(
                "tokens to generate belong to a whole request, not to one phase.", nearest(said.linked.rest, tool)
            )
        filled.arguments["phase"] = "inference"
        filled.assumed = [*dict.fromkeys([*filled.assumed, "phase"])]
    other = [id for ids in filled.others.values() for id in ids]
    if tool == "serving_cost" and other and list(filled.others["hardware"]) == other:
        return _compared(best, other)
    if other:
        calls = tuple(f"{tool} {_assigned(one)}" for one in _each(filled))
        return NotSure(f"{tool} answers for one, and leaves out {', '.join(other)}.", nearest(said.linked.rest), calls)
    ids = [*said.linked.models, str(filled.arguments.get("model", filled.within.get("model", "")))]
    vague = [name for name in said.linked.families if not any(id.startswith(name) for id in ids)]
    if vague and vague[0] != filled.arguments.get("query"):
        return NotSure(f"it does not say which {vague[0]}.", nearest(said.linked.rest, tool))
    where = _PLACE.search(said.text)
    if "regions" in filled.assumed and where and not is_known(where[1], zoo):
        return NotSure(f"{where[1]!r} is no place of the zoo.", nearest(said.linked.rest, tool))
    if filled.arguments.get("phase") == "decode" and "phase" in filled.assumed and "<language>" not in said.types:
        del filled.arguments["phase"]
    if _AGAINST.search(said.text) and not _two_sides(best, said):
        return NotSure("it sets something against what is not named here.", nearest(said.linked.rest, tool))
    missed = list(left_out(tool, filled.arguments, set(filled.assumed), marked(said)))
    if missed:
        why = f"read as {tool}, which does not take up {', '.join(map(repr, missed))}."
        return NotSure(why, nearest(said.linked.rest))
    lost = [said.text[q.start : q.end].strip().replace("chip", "accelerators") for q in _lost(best, said, zoo)]
    if lost:
        what = ", ".join(lost)
        return NotSure(
            f"read as {tool}, which has no place for {what}.",
            nearest(said.linked.rest),
            (f"{tool} {_assigned(named)}",) if named else (),
        )
    kind = filled.arguments.get("kind")
    if tool == "find_in_zoo" and "query" in named and said.linked.grids and kind not in (None, "grids"):
        return NotSure(f"the zoo has no {kind} of a grid.", nearest(said.linked.rest, tool))
    if tool == "find_in_zoo" and "query" in named and kind == "prices":
        filled.arguments["query"] = _short(named["query"], zoo)
    if problem := _invalid(tool, filled.arguments, zoo):
        return NotSure(f"read as {tool}, but {problem}.", nearest(said.linked.rest, tool))
    notes = [meaning.note for meaning in meant if meaning.note]
    size = group_that_holds(tool, filled.arguments, said, zoo)
    if size:
        filled.arguments["n_accelerators"] = size
        filled.assumed.append("n_accelerators")
        notes.append(f"{size} is the smallest group that holds the model.")
    if tool == "inverse_spec":
        told = {text.partition("=")[0] for text in filled.arguments["scenario"]} - set(filled.within)
        if both := [name for name in filled.arguments["solve_for"] if name in told]:
            return NotSure(f"it says {both[0]}, and asks for it.", nearest(said.linked.rest, tool))
        unsure = _searched(filled, said, zoo, notes)
        if unsure:
            return unsure
    if tool == "tail_latency" and "target_wait_s" in named and not re.search(r"\b(?:wait|queue)", said.text):
        notes.append("The limit is taken as the time in the queue, before the service.")
    routed = _routed(best, said, False)
    if tool == "roofline" and "batch" in said.text and "phase" in routed.assumed:
        routed.arguments.pop("phase", None)
    notes += [f"Not used: {text}." for text in filled.unused_numbers]
    shows = tuple(dict.fromkeys(name for meaning in meant for name in meaning.shows))
    reading = " ".join([routed.reading, *notes])
    return Routed(routed.tool, routed.arguments, reading, routed.assumed, shows)


def _two_sides(best: _Candidate, said: Said) -> bool:
    """Whether both sides of a comparison are named, or the tool has its own other side."""
    kinds = [q.kind for q in said.numbers if q.kind]
    named = any(len(said.linked.of(kind)) > 1 for kind in KINDS) or len(set(kinds)) < len(kinds)
    return named or best.tool in COMPARING


def _invalid(tool: str, arguments: dict[str, Any], zoo: Zoo) -> str:
    """Say what is wrong with a call, or nothing."""
    if tool not in solvers():
        return ""
    solver = solvers()[tool]
    try:
        request = solver.request.model_validate(arguments)
        if tool not in ASKING_OTHERS:
            solver.run(request, zoo)
    except CallError as error:
        return error.problem.rstrip(".")
    except ValidationError as error:
        first = error.errors()[0]
        return f"{'.'.join(map(str, first['loc']))} {first.get('input')!r}: {first['msg'].lower()}"
    return ""


def _searched(filled: Filled, said: Said, zoo: Zoo, notes: list[str]) -> NotSure | None:
    """Start a search at a group that holds the model; be not sure where no group has room for the users."""
    arguments = filled.arguments
    tool, scenario = arguments["tool"], arguments["scenario"]
    inner = dict(text.split("=", 1) for text in scenario if not text.startswith("n_accelerators"))
    if tool == "fleet_efficiency":
        return None
    by_group = arguments["solve_for"] == ["n_accelerators"]
    size = group_that_holds(tool, inner, said, zoo, always=by_group)
    if size and not (by_group and tool == "roofline"):
        arguments["scenario"] = [f"{k}={v}" for k, v in inner.items()] + [f"n_accelerators={size}"]
        filled.within["n_accelerators"] = size
        notes.append(f"{size} is the smallest group that holds the model.")
    if tool != "kv_capacity" or feasible("inverse_spec", arguments, zoo):
        return None
    calls = tuple(f"kv_capacity {_assigned({**inner, 'n_accelerators': n})}" for n in dict.fromkeys((size or 1, 8)))
    why = (
        "no one group has room for so many at once; it takes replicas, each with as many sequences as its group holds."
    )
    return NotSure(why, nearest(said.linked.rest, "kv_capacity"), calls)


def _short(id: str, zoo: Zoo) -> str:
    """Return how an accelerator is called in price lists."""
    found = [entry.aliases for entry in zoo.entries("hardware") if entry.id == id]
    names = [name for name in (found[0] if found else ()) if any(c.isdigit() for c in name)]
    return min(names, key=len, default=id)


def _lost(best: _Candidate, said: Said, zoo: Zoo) -> list[Quantity]:
    """Return the numbers that the call leaves out, but for a price's unit, a symptom and the chip's own memory."""
    hardware = best.filled.arguments.get("hardware")

    def is_said_already(q: Quantity) -> bool:
        if q.kind == "ratio":
            return best.tool == "quantization" or "baseline_hardware" in best.filled.arguments
        if q.kind == "percent":
            return best.tool in ("pipeline_bottleneck", "sensitivity")
        if q.kind in ("tokens", "users") or (not q.kind and q.before.rstrip().endswith("per")):
            return best.tool == "serving_cost" and q.value in _UNITS_OF_PRICES
        if q.kind == "bytes" and hardware:
            own = zoo.get("hardware", hardware).number("memory.capacity").value / q.value
            return any(abs(own / factor - 1) < SAME_MEMORY for factor in _OWN_MEMORY)
        return False

    return [q for q in best.filled.left if not is_said_already(q)]


def _each(filled: Filled) -> Iterator[dict[str, Any]]:
    """Yield the call for each of the names that are set side by side."""
    named = {k: v for k, v in filled.arguments.items() if k not in filled.assumed}
    yield named
    for kind, name in (("hardware", "hardware"), ("models", "model")):
        for id in filled.others[kind]:
            if name in named:
                yield {**named, name: id}


def _assigned(arguments: dict[str, Any]) -> str:
    return " ".join(
        f"{k}=[{','.join(map(str, v))}]" if isinstance(v, list) else f"{k}={v}" for k, v in arguments.items()
    )


def _compared(best: _Candidate, other: list[str]) -> Routed:
    """Sweep the cost over the accelerators that are set side by side."""
    arguments = best.filled.arguments
    scenario = [f"{k}={v}" for k, v in arguments.items()]
    call = {
        "tool": best.tool,
        "scenario": scenario,
        "over": [f"hardware=[{','.join([arguments['hardware'], *other])}]"],
        "metric": "query_usd",
    }
    assumed = ("metric", *best.filled.assumed)
    return Routed(
        "sweep", call, f"Read as sweep {json.dumps(call)}. Not named, so assumed: {', '.join(assumed)}.", assumed
    )


def nearest(question: str, *tools: str) -> tuple[str, ...]:
    """Return three whole questions that have an answer, each of another tool or tutorial; those of `tools` first."""
    found = {tool: example(tool) for tool in tools}
    for hit in index().hits(question):
        if hit.score <= 0 or len(found) >= NEAREST:
            break
        lesson = next((t.question for t in prompts.load() if t.number == hit.phrase.tutorial), None)
        found.setdefault(hit.phrase.tool, lesson or example(hit.phrase.tool))
    for tutorial in prompts.load():
        found.setdefault(tutorial.answer().tool, tutorial.question)
    return tuple(found.values())[:NEAREST]


def _candidates(said: Said, zoo: Zoo, meant: tuple[Meaning, ...]) -> list[_Candidate]:
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
    inside = best.filled.within
    told = {**assumed, **inside}
    note = f" Not named, so assumed: {', '.join(f'{k} {_shown(v)}' for k, v in told.items())}." if told else ""
    usual = _defaults(best.tool, call) | _defaults(str(call.get("tool", "")), _inside(call))
    if usual:
        note += f" The tool's own defaults: {', '.join(f'{k} {_shown(v)}' for k, v in usual.items())}."
    reading = f"Read as {best.tool} {json.dumps(call)}.{note}"
    return Routed(best.tool, call, reading, tuple(dict.fromkeys((*assumed, *inside, *usual))))


def _inside(call: dict[str, Any]) -> dict[str, Any]:
    """Return what a call says of the tool that it asks."""
    return dict(text.split("=", 1) for name in ("scenario", "over") for text in call.get(name, ()))


def _defaults(tool: str, call: dict[str, Any]) -> dict[str, Any]:
    """Return the numbers that the tool assumes by itself."""
    if tool not in solvers():
        return {}
    fields = solvers()[tool].request.model_fields
    takes = prompts.routes()["tools"].get(tool, {}).get("takes", {})
    skipped = {"reasoning_steps", *(() if "draft_tokens" in call else ("acceptance_percent",))}
    if tool == "roofline" and call.get("phase") != "inference":
        skipped.add("output_tokens")
    own = [name for name in takes if name in fields and name not in call and name not in skipped]
    usual = {name: fields[name].get_default(call_default_factory=True) for name in own}
    return {k: v for k, v in usual.items() if isinstance(v, (int, float, list, str)) and not isinstance(v, bool) and v}


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
