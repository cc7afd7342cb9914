"""What a question asks for that a call would not answer: the rules of ``prompts/meanings.yaml``, and what fills a group."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from mlwalls import prompts
from mlwalls.server.slots import Said
from mlwalls.server.tools import call, solver_tool
from mlwalls.solvers.registry import solvers
from mlwalls.zoo import Zoo

# Groups that are tried where nobody says how many accelerators hold a model.
GROUPS = (1, 2, 4, 8, 16, 32, 64)
_SINGLE = re.compile(r"\b(?:1|single) (?:x )?(?:chip|gpu|accelerator)(?![a-z])")
_ONE = re.compile(r"\b(?:an?|1|single|this|my) (?:x |single )?(?:chip|gpu|accelerator)(?![a-z])")
_FITTING = re.compile(r"\b(?:fits?|holds?|enough|start|oom|out of memory|room|load(?:ing)?|oom)\b")
_GROUPED = ("roofline", "serving_cost", "safety_overhead", "quantization", "kv_capacity")


@dataclass(frozen=True, slots=True)
class Meaning:
    """A rule that applies to a sentence: which tools can mean it (none: no tool), what they need, what answers it."""

    why: str
    tools: tuple[str, ...]
    needs: Mapping[str, str]
    shows: tuple[str, ...]
    note: str = ""


def meanings(said: Said) -> Iterator[Meaning]:
    """Yield the rules that apply."""
    kinds = " ".join(f"<{q.kind}>" for q in said.numbers if q.kind)
    text = f"{said.text} {kinds}"
    for rule in prompts.meanings()["meanings"]:
        found = all(re.search(pattern, text) for pattern in rule["if"])
        if found and not any(re.search(pattern, text) for pattern in rule.get("unless", ())):
            yield Meaning(
                rule.get("why", ""),
                tuple(rule.get("tools", ())),
                rule.get("needs", {}),
                tuple(rule.get("shows", ())),
                rule.get("note", ""),
            )


def has_own_word(tool: str, text: str) -> bool:
    """Whether a word stands in the sentence without which a tool is not meant."""
    own = prompts.meanings()["own_words"].get(tool)
    return own is None or re.search(own, text) is not None


def example(tool: str) -> str:
    """Return a whole question that a tool answers."""
    found: str = prompts.meanings()["examples"][tool]
    return found


def alternatives(said: Said) -> tuple[str, ...]:
    """Return two ways that the sentence sets against each other and that one call would take together."""
    groups = [q for q in said.numbers if q.kind in ("tp", "pp")]
    if len(groups) == 2 and re.search(r"\b(?:or|vs|versus|against)\b", said.text[groups[0].end : groups[1].start]):
        names = {"tp": "tensor_parallel", "pp": "pipeline_parallel"}
        return tuple(f"{names[q.kind]}={q.value:.0f}" for q in groups)
    formats = dict.fromkeys(re.findall(r"\b(int4|int8|fp8|nvfp4|mxfp4)\b", said.text))
    if len(formats) > 1 and re.search(r"\b(?:or|vs|versus|against|than)\b", said.text):
        return tuple(formats)
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
    result = call(solver_tool(solvers()[tool], zoo), dict(arguments))
    return not result.is_error and bool((result.structured_content or {}).get("feasible", True))
