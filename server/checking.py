"""Whether a call takes up all that a question says and answers what it asks; else why not."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from pydantic import ValidationError

from mlwalls.server.linking import KINDS
from mlwalls.server.meanings import Meaning, feasible, group_that_holds, marked
from mlwalls.server.quantities import Quantity
from mlwalls.server.readings import Candidate, NotSure, Routed, assigned, nearest, read_as, routed
from mlwalls.server.slots import Filled, Said
from mlwalls.server.wording import is_known, left_out
from mlwalls.solvers.errors import CallError
from mlwalls.solvers.registry import solvers
from mlwalls.zoo import Zoo

# Decimal and binary giga read from `80 gig`, and how far a label may be off.
_OWN_MEMORY, SAME_MEMORY = (1.0, 1.024**3), 0.02
_UNITS_OF_PRICES = (1e3, 1024.0, 1e6, 1024.0**2)
# Tools that take long: their calls are not tried before they are made.
SLOW = ("inverse_spec", "audit")
# Tools that set their answer beside another by themselves.
COMPARING = ("quantization", "wafer_scale", "safety_overhead", "sensitivity", "sweep", "find_in_zoo")
# What a number in a call may be times, and how near it must be; kinds that stand in a call by name.
_FACTORS = (1.0, 1e-3, 1e3, 1e9, 3600.0, 86400.0, 100.0)
SAME = 1e-3
_IN_WORDS = ("gbe", "ratio")
_NUMBERS = re.compile(r"\d+(?:\.\d+)?(?:e[+-]?\d+)?")
# Ways to serve whose effect is asked for: the answer is with them, and says how to ask without.
_MANNERS = ("cached_percent", "draft_tokens", "draft_model", "acceptance_percent", "disaggregated", "weight_dtype")
_EFFECT = re.compile(
    r"\b(?:impact|effect|differ\w*|sav(?:e|es|ing|ings)|cheaper|reduc\w*|cut|lower\w*|pays? off|help\w*|worth|do to|does it)\b"
)
_AGAINST = re.compile(r"\b(?:vs|versus|compared? (?:to|with)|against)\b")
_PLACE = re.compile(r"\bin (?:the )?([a-z]{2,})(?: *$|[?.,;]| (?:for|with|over|during|and|or)\b)")


def checked(best: Candidate, said: Said, meant: tuple[Meaning, ...], zoo: Zoo) -> Routed | NotSure:
    """Return the call if it takes up all that was said and answers what was asked."""
    unsure = _phase_settled(best, said) or _left_out(best, said, meant, zoo)
    if unsure:
        return unsure
    filled = best.filled
    other = [id for ids in filled.others.values() for id in ids]
    if other:
        return _compared(best, other)
    notes = [meaning.note for meaning in meant if meaning.note]
    unsure = _completed(best, said, zoo, notes)
    if unsure:
        return unsure
    found = routed(best)
    if best.tool == "roofline" and "batch" in said.text and "phase" in found.assumed:
        found.arguments.pop("phase", None)
    if gone := _gone(found, best, said):
        what = ", ".join(gone)
        return NotSure(f"read as {best.tool}, which would leave out {what}.", nearest(said.linked.rest, best.tool))
    notes += [f"Not used: {text}." for text in filled.unused_numbers]
    shows = tuple(dict.fromkeys(name for meaning in meant for name in meaning.shows))
    return Routed(found.tool, found.arguments, " ".join([found.reading, *notes]), found.assumed, shows)


def _phase_settled(best: Candidate, said: Said) -> NotSure | None:
    """Make tokens to generate a whole request, and no decoding of what is no language model."""
    filled = best.filled
    phase = filled.arguments.get("phase")
    if best.tool == "roofline" and "output_tokens" in filled.arguments and phase != "inference":
        if phase and re.search(r"\b(?:prefill|ttft|first token|train\w*)\b", said.text):
            why = "tokens to generate belong to a whole request, not to one phase."
            return NotSure(why, nearest(said.linked.rest, best.tool))
        filled.arguments["phase"] = "inference"
        filled.assumed = [*dict.fromkeys([*filled.assumed, "phase"])]
    if phase == "decode" and "phase" in filled.assumed and "<language>" not in said.types:
        del filled.arguments["phase"]
    return None


def _left_out(best: Candidate, said: Said, meant: tuple[Meaning, ...], zoo: Zoo) -> NotSure | None:
    """Say what the sentence names, sets side by side, says or counts that the call does not take up."""
    tool, filled, rest = best.tool, best.filled, said.linked.rest
    for meaning in meant:
        needed = meaning.needs.get(tool)
        if needed and needed not in filled.arguments:
            return NotSure(f"{meaning.why} It does not say {needed}.", nearest(rest, tool))
    other = [id for ids in filled.others.values() for id in ids]
    if other and not (tool == "serving_cost" and list(filled.others["hardware"]) == other):
        calls = tuple(f"{tool} {assigned(one)}" for one in _each(filled) if one)
        return NotSure(f"{tool} answers for one, and leaves out {', '.join(other)}.", nearest(rest), calls)
    ids = [*said.linked.models, str(filled.arguments.get("model", filled.within.get("model", "")))]
    vague = [name for name in said.linked.families if not any(id.startswith(name) for id in ids)]
    if vague and vague[0] != filled.arguments.get("query"):
        return NotSure(f"it does not say which {vague[0]}.", nearest(rest, tool))
    where = _PLACE.search(said.text)
    if "regions" in filled.assumed and where and not is_known(where[1], zoo):
        return NotSure(f"{where[1]!r} is no place of the zoo.", nearest(rest, tool))
    if _AGAINST.search(said.text) and not _two_sides(best, said):
        return NotSure("it sets something against what is not named here.", nearest(rest, tool))
    if missed := list(left_out(tool, filled.arguments, set(filled.assumed), marked(said))):
        return NotSure(f"read as {tool}, which does not take up {', '.join(map(repr, missed))}.", nearest(rest))
    if lost := [said.text[q.start : q.end].strip().replace("chip", "accelerators") for q in _lost(best, said, zoo)]:
        named = {k: v for k, v in filled.arguments.items() if k not in filled.assumed}
        calls = (f"{tool} {assigned(named)}",) if named else ()
        return NotSure(f"read as {tool}, which has no place for {', '.join(lost)}.", nearest(rest), calls)
    return None


def _completed(best: Candidate, said: Said, zoo: Zoo, notes: list[str]) -> NotSure | None:
    """Complete a call by what follows from it (a group that holds the model); be not sure where it has no answer."""
    tool, filled, rest = best.tool, best.filled, said.linked.rest
    named = {k: v for k, v in filled.arguments.items() if k not in filled.assumed}
    kind = filled.arguments.get("kind")
    if tool == "find_in_zoo" and "query" in named and said.linked.grids and kind not in (None, "grids"):
        return NotSure(f"the zoo has no {kind} of a grid.", nearest(rest, tool))
    if tool == "find_in_zoo" and "query" in named and kind == "prices":
        filled.arguments["query"] = _short(named["query"], zoo)
    if problem := _invalid(tool, filled.arguments, zoo):
        return NotSure(f"read as {tool}, but {problem}.", nearest(rest, tool))
    if size := group_that_holds(tool, filled.arguments, said, zoo):
        filled.arguments["n_accelerators"] = size
        filled.assumed.append("n_accelerators")
        notes.append(f"{size} is the smallest group that holds the model.")
    if tool == "inverse_spec":
        told = {text.partition("=")[0] for text in filled.arguments["scenario"]} - set(filled.within)
        if both := [name for name in filled.arguments["solve_for"] if name in told]:
            return NotSure(f"it says {both[0]}, and asks for it.", nearest(rest, tool))
        return _searched(filled, said, zoo, notes)
    if tool == "serving_cost" and _EFFECT.search(said.text):
        manners = [name for name in _MANNERS if name in named]
        without = {k: v for k, v in named.items() if k not in manners}
        notes += [f"Without {' and '.join(manners)}: mlwalls call serving_cost {assigned(without)}."] if manners else []
    return None


def _gone(found: Routed, best: Candidate, said: Said) -> list[str]:
    """Return the names and numbers that took a place and yet do not stand in the call, whatever the way there."""
    text = json.dumps(found.arguments)
    values = [float(number) for number in _NUMBERS.findall(text)]
    used = [q for q in said.numbers if q.kind and q.kind not in _IN_WORDS and q not in best.filled.left]
    numbers = [
        said.text[q.start : q.end].strip()
        for q in used
        if not any(abs(v * f - q.value) <= SAME * abs(q.value) for v in values for f in _FACTORS)
    ]
    ids = [id for kind in KINDS for id in said.linked.of(kind)] if found.tool != "find_in_zoo" else []
    return [*numbers, *(id for id in ids if id not in text and found.tool != "scaling_law")]


def _two_sides(best: Candidate, said: Said) -> bool:
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
        if tool not in SLOW:
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
    inner = dict(text.split("=", 1) for text in scenario)
    if tool == "fleet_efficiency" or ("n_accelerators" in inner and "n_accelerators" not in filled.within):
        return None
    inner.pop("n_accelerators", None)
    by_group = arguments["solve_for"] == ["n_accelerators"]
    size = group_that_holds(tool, inner, said, zoo, always=by_group)
    if size and not (by_group and tool == "roofline"):
        arguments["scenario"] = [f"{k}={v}" for k, v in inner.items()] + [f"n_accelerators={size}"]
        filled.within["n_accelerators"] = size
        notes.append(f"{size} is the smallest group that holds the model.")
    if tool != "kv_capacity" or feasible("inverse_spec", arguments, zoo):
        return None
    calls = tuple(f"kv_capacity {assigned({**inner, 'n_accelerators': n})}" for n in dict.fromkeys((size or 1, 8)))
    why = (
        "no one group has room for so many at once; it takes replicas, each with as many sequences as its group holds."
    )
    return NotSure(why, nearest(said.linked.rest, "kv_capacity"), calls)


def _short(id: str, zoo: Zoo) -> str:
    """Return how an accelerator is called in price lists."""
    found = [entry.aliases for entry in zoo.entries("hardware") if entry.id == id]
    names = [name for name in (found[0] if found else ()) if any(c.isdigit() for c in name)]
    return min(names, key=len, default=id)


def _lost(best: Candidate, said: Said, zoo: Zoo) -> list[Quantity]:
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


def _compared(best: Candidate, other: list[str]) -> Routed:
    """Sweep the cost over the accelerators that are set side by side."""
    arguments = best.filled.arguments
    call = {
        "tool": best.tool,
        "scenario": [f"{k}={v}" for k, v in arguments.items()],
        "over": [f"hardware=[{','.join([arguments['hardware'], *other])}]"],
        "metric": "query_usd",
    }
    told = {k: v for k, v in arguments.items() if k in best.filled.assumed} | best.filled.within
    return read_as("sweep", call, {"metric": "query_usd", **told}, ("metric",))
