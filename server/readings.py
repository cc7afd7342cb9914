"""How a question was read: the call and what was assumed in it, or why it is not placed and what could be asked."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from mlwalls import prompts
from mlwalls.server.meanings import example
from mlwalls.server.retrieval import Hit, index
from mlwalls.server.slots import Filled
from mlwalls.solvers.registry import solvers

# Questions that are shown where one cannot be placed.
NEAREST = 3


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
class Candidate:
    """A tool that a question may be for, its nearest phrase, its filled arguments, and how near it is in all."""

    tool: str
    hit: Hit
    filled: Filled
    rank: float


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


def assigned(arguments: dict[str, Any]) -> str:
    """Return arguments as the command line takes them."""
    return " ".join(
        f"{k}=[{','.join(map(str, v))}]" if isinstance(v, list) else f"{k}={v}" for k, v in arguments.items()
    )


def routed(best: Candidate, bare: bool = False) -> Routed:
    """Return a candidate's call and how it was read; `bare`: the question names nothing of its own."""
    arguments = {k: v for k, v in best.filled.arguments.items() if k not in best.filled.assumed}
    assumed = {k: v for k, v in best.filled.arguments.items() if k in best.filled.assumed}
    if best.hit.phrase.tutorial is not None:
        tutorial = next(t for t in prompts.load() if t.number == best.hit.phrase.tutorial)
        own = tutorial.answer()
        if own.tool == best.tool and (bare or not arguments):
            reading = f"Read as tutorial {tutorial.number}, {tutorial.title}, with its own example."
            return Routed(own.tool, dict(own.arguments), reading, tuple(own.arguments))
        taught = {"phase", *assumed} - {"n_accelerators", *arguments}
        assumed = {k: v for k, v in own.arguments.items() if k in taught} | {
            k: v for k, v in assumed.items() if k not in own.arguments or k not in taught
        }
    call = {**assumed, **arguments}
    return read_as(best.tool, call, {**assumed, **best.filled.within}, tuple(assumed))


def read_as(tool: str, call: dict[str, Any], told: dict[str, Any], assumed: tuple[str, ...]) -> Routed:
    """Return a call with all that nobody named in it: what was assumed, and the tools' own defaults."""
    note = f" Not named, so assumed: {', '.join(f'{k} {_shown(v)}' for k, v in told.items())}." if told else ""
    usual = _defaults(tool, call) | _defaults(str(call.get("tool", "")), _inside(call))
    if usual:
        note += f" The tool's own defaults: {', '.join(f'{k} {_shown(v)}' for k, v in usual.items())}."
    return Routed(
        tool, call, f"Read as {tool} {json.dumps(call)}.{note}", tuple(dict.fromkeys((*assumed, *told, *usual)))
    )


def _inside(call: dict[str, Any]) -> dict[str, Any]:
    """Return what a call says of the tool that it asks."""
    return dict(text.split("=", 1) for name in ("scenario", "over") for text in call.get(name, ()))


def _defaults(tool: str, call: dict[str, Any]) -> dict[str, Any]:
    """Return what the tool assumes by itself."""
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
