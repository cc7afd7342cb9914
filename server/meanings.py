"""What a question asks for that a call would not answer: the rules of ``prompts/meanings.yaml``, and what fills a group."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from mlwalls import prompts
from mlwalls.server.slots import Said, is_corpus
from mlwalls.server.wording import is_ruled, pattern
from mlwalls.solvers.errors import CallError
from mlwalls.solvers.registry import solvers
from mlwalls.zoo import Zoo

# From so many accelerators on, speed without a phase is a training run's.
CLUSTER = 128
# Groups that are tried where nobody says how many accelerators hold a model.
GROUPS = (1, 2, 4, 8, 16, 32, 64)
_SINGLE = re.compile(r"\b(?:1|single) (?:x )?(?:chip|gpu|accelerator)(?![a-z])")
_ONE = re.compile(r"\b(?:an?|1|single|this|my) (?:x |single )?(?:chip|gpu|accelerator)(?![a-z])")
_FITTING = re.compile(r"\b(?:fits?|holds?|enough|start|oom|out of memory|room|load(?:ing)?|oom)\b")
# Manners that a sentence can set against each other and one call takes only one of.
_EITHER = (
    ("infiniband", "ethernet|roce"),
    ("ring", "tree"),
    ("recompute|recomputation", "no recompute|without recomputation"),
    ("synchronous", "async|asynchronous"),
    ("kaplan", "chinchilla|hoffmann|besiroglu"),
    ("buying|buy|owning|own|purchase", "renting|rent|cloud|leasing"),
)
_GROUPED = ("roofline", "serving_cost", "safety_overhead", "quantization", "kv_capacity")


@dataclass(frozen=True, slots=True)
class Meaning:
    """A rule that applies to a sentence: which tools can mean it (none: no tool), what they need, what answers it."""

    why: str
    tools: tuple[str, ...]
    needs: Mapping[str, str]
    shows: tuple[str, ...]
    note: str = ""
    decides: bool = False


def meanings(said: Said) -> Iterator[Meaning]:
    """Yield the rules that apply."""
    text = marked(said)
    for rule in prompts.meanings()["meanings"]:
        found = all(pattern(p).search(text) for p in rule["if"])
        if found and not any(pattern(p).search(text) for p in rule.get("unless", ())):
            yield Meaning(
                rule.get("why", ""),
                tuple(rule.get("tools", ())),
                rule.get("needs", {}),
                tuple(rule.get("shows", ())),
                rule.get("note", ""),
                rule.get("decides", False),
            )


def marked(said: Said) -> str:
    """Return the sentence with the kinds of its numbers and what is special about its names after it."""
    marks = [f"<{q.kind}>" for q in said.numbers if q.kind]
    marks += [f"<two {kind}>" for kind in ("models", "hardware", "grids") if len(said.linked.of(kind)) > 1]
    marks += [f"<many {kind}>" for kind in ("models", "hardware") if len(said.linked.of(kind)) > 2]
    if is_corpus(said):
        marks.append("<corpus>")
    if any(q.kind == "accelerators" and q.value >= CLUSTER for q in said.numbers):
        marks.append("<cluster>")
    return f"{said.text} {' '.join([*marks, *said.types])}"


def has_own_word(tool: str, text: str) -> bool:
    """Whether a word stands in the sentence without which a tool is not meant."""
    own = prompts.meanings()["own_words"].get(tool)
    return own is None or re.search(own, text) is not None


def example(tool: str) -> str:
    """Return a whole question that a tool answers."""
    found: str = prompts.meanings()["examples"][tool] if is_ruled(tool) else solvers()[tool].question
    return found


def alternatives(said: Said) -> tuple[str, ...]:
    """Return two ways that the sentence sets against each other and that one call would take together."""
    groups = [q for q in said.numbers if q.kind in ("tp", "pp")]
    if len(groups) == 2 and re.search(r"\b(?:or|vs|versus|against)\b", said.text[groups[0].end : groups[1].start]):
        names = {"tp": "tensor_parallel", "pp": "pipeline_parallel"}
        return tuple(f"{names[q.kind]}={q.value:.0f}" for q in groups)
    counts = [q for q in said.numbers if q.kind == "accelerators"]
    if len(said.linked.hardware) > 1 and counts:
        by_name = [q for q in counts if "chip" in said.text[q.start : q.end]]
        listed = re.match(r"s?(?:,| or| and| vs| versus|/) chip", said.text[by_name[0].end :]) if by_name else None
        if len({q.value for q in counts}) > 1 or (len(by_name) == 1 and not listed):
            return (*(said.text[q.start : q.end] for q in counts), "another accelerator")
    if len(said.linked.hardware) > 1 or len(said.linked.models) > 1:
        for kind in ("batch", "tokens", "users", "accelerators"):
            both = [q for q in said.numbers if q.kind == kind and q.role != "out"]
            for q, r in pairwise(both):
                if re.search(r"chip|themodel", said.text[q.end : r.start]) and q.value != r.value:
                    return (said.text[q.start : q.end], said.text[r.start : r.end])
    formats = dict.fromkeys(re.findall(r"\b(int4|int8|fp8|nvfp4|mxfp4)\b", said.text))
    if len(formats) > 1 and re.search(r"\b(?:or|vs|versus|against|than)\b", said.text):
        return tuple(formats)
    for one, other in _EITHER:
        if re.search(
            rf"\b(?:{one})\b.*\b(?:or|vs|versus|against|than|instead of)\b.*\b(?:{other})\b", said.text
        ) or re.search(rf"\b(?:{other})\b.*\b(?:or|vs|versus|against|than|instead of)\b.*\b(?:{one})\b", said.text):
            return (one.split("|")[0], other.split("|")[0])
    return ()


def group_that_holds(tool: str, arguments: Mapping[str, Any], said: Said, zoo: Zoo, always: bool = False) -> int | None:
    """Return the smallest group that holds the model, where nobody said how many and one does not."""
    if tool not in _GROUPED or "n_accelerators" in arguments:
        return None
    one = _SINGLE if "baseline_hardware" in arguments else _ONE
    fitting = one.search(said.text) or _FITTING.search(said.text) or any(q.kind == "bytes" for q in said.numbers)
    if fitting and not always:
        return None
    for size in GROUPS:
        held = {**arguments, "n_accelerators": size}
        other = held.pop("baseline_hardware", None)
        if feasible(tool, held, zoo) and (not other or feasible(tool, {**held, "hardware": other}, zoo)):
            return size if size > 1 else None
    return None


def feasible(tool: str, arguments: Mapping[str, Any], zoo: Zoo) -> bool:
    """Whether a call has an answer that does not fail for want of memory."""
    solver = solvers()[tool]
    try:
        return solver.run(solver.request.model_validate(dict(arguments)), zoo).presentation.feasible
    except (CallError, ValueError):
        return False
