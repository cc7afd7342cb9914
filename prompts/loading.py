"""Tutorials and task prompts, read from YAML when they are first asked for."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

_HERE = Path(__file__).parent
CHOICES: dict[str, tuple[str, ...]] = {
    "level": ("beginner", "engineer", "researcher"),
    "reveal": ("no", "yes"),
}
_LEVELS = {
    "beginner": "Explain every term the first time it appears, and keep to one idea at a time.",
    "engineer": "Assume working knowledge of GPUs and transformers; spend the words on consequences for a deployment.",
    "researcher": "Be terse; discuss the assumptions and where the model stops holding.",
}


@dataclass(frozen=True, slots=True)
class Prompt:
    """One prompt template; every argument has a default."""

    name: str
    title: str
    description: str
    arguments: Mapping[str, str]
    render: Callable[[Mapping[str, str]], str]


@dataclass(frozen=True, slots=True)
class Tutorial:
    """One tutorial: a question, the exact calls that answer it, claims with verdicts, exercises.

    `data` holds the parsed file: level, minutes, prerequisites, walls, scenario, claims, exercises, takeaway,
    fallacy, sources.
    """

    number: int
    title: str
    question: str
    data: Mapping[str, Any]

    def render(self, arguments: Mapping[str, str]) -> str:
        """Return the text that makes an assistant teach this tutorial by predicting, computing and reflecting."""
        level = arguments.get("level") or "engineer"
        data = self.data
        calls = [_call(step, arguments) for step in data["scenario"]]
        parts = [
            f"Teach this question by predict, compute, reflect: {self.question}",
            _LEVELS.get(level, _LEVELS["engineer"]),
            "Every figure you state comes from a tool of this server in this conversation; quote its verdict, range and "
            "sources. Never put a figure of your own in its place.",
        ]
        if (arguments.get("reveal") or "no") == "yes":
            parts.append("Go straight to the calculation and explain it.")
        else:
            parts.append("First ask the learner for a prediction and a reason, and wait for it. Only then calculate.")
        parts.append("Calculate:\n" + "\n".join(f"{i}. {text}" for i, text in enumerate(calls, 1)))
        parts.append(
            "Reflect: compare with the prediction, and name the assumption that would have made the prediction right. "
            "Name the wall that binds and its share."
        )
        if data.get("claims"):
            claims = "\n".join(f"- {c['text']} ({c['verdict']}: {c['because']})" for c in data["claims"])
            parts.append(f"Then judge what is often said:\n{claims}")
        exercises = "\n".join(f"- {e['prompt']} Check with {_call(e, arguments)}" for e in data["exercises"])
        parts.append(f"Exercises, one at a time, prediction first:\n{exercises}")
        parts.append(f"Takeaway: {data['takeaway']}\nFallacy to watch for: {data['fallacy']}")
        return "\n\n".join(parts)

    def page(self) -> str:
        """Return the tutorial as a Markdown page without computed figures."""
        data = self.data
        head = f"# Tutorial {self.number}: {self.title}\n\n**{self.question}**\n\nLevel: {data['level']}. "
        head += f"About {data['minutes']} minutes. Walls: {', '.join(data['walls'])}."
        calls = "\n".join(f"- {_call(step, {})}: {step['why']}" for step in data["scenario"])
        exercises = "\n".join(f"- {e['prompt']}" for e in data["exercises"])
        return (
            f"{head}\n\n## Calculate\n\n{calls}\n\n## Exercises\n\n{exercises}\n\n## Takeaway\n\n{data['takeaway']}\n"
        )


def _call(step: Mapping[str, Any], given: Mapping[str, str]) -> str:
    arguments = dict(step["arguments"])
    for name in ("model", "hardware"):
        if given.get(name) and name in arguments:
            arguments[name] = given[name]
    return f"{step['tool']} {json.dumps(arguments)}"


@cache
def load() -> tuple[Tutorial, ...]:
    """Return all tutorials in order."""
    import yaml

    found = []
    for path in sorted((_HERE / "tutorials").glob("*.yaml")):
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
        found.append(Tutorial(data["number"], data["title"], data["question"], data))
    return tuple(sorted(found, key=lambda t: t.number))


@cache
def routes() -> Mapping[str, Any]:
    """Return what `mlwalls ask` can place: words by tool, and topics that no tool answers."""
    import yaml

    loaded: Mapping[str, Any] = yaml.safe_load((_HERE / "routes.yaml").read_text(encoding="utf-8"))
    return loaded


_TASKS: tuple[Prompt, ...] = (
    Prompt(
        "compare_hardware",
        "Compare two accelerators",
        "Which of two accelerators is faster for a model, by how much, and why.",
        {"model": "zoo model", "hardware": "zoo accelerator", "baseline_hardware": "zoo accelerator to compare with"},
        lambda a: (
            f"Compare {a.get('hardware') or 'h100'} with {a.get('baseline_hardware') or 'a100'} for "
            f"{a.get('model') or 'llama-3.1-8b'}. Call roofline with baseline_hardware for phase=decode and for "
            "phase=prefill. Quote both verdicts with their ranges and sources, say which wall binds in each phase, and what "
            "that means for a chat service and for a batch job."
        ),
    ),
    Prompt(
        "explain_wall",
        "Explain a wall",
        "What one of the 22 walls is, with a calculation that shows it.",
        {"slug": "slug of the wall, e.g. memory_bandwidth"},
        lambda a: (
            f"Read walls://{a.get('slug') or 'memory_bandwidth'}. Explain the relation and each symbol, then run the "
            "wall's tool on a model and accelerator the user cares about, and point to the step of the work where the wall "
            "shows."
        ),
    ),
)


@cache
def all_prompts() -> tuple[Prompt, ...]:
    """Return every prompt: one a tutorial, then the tasks."""
    arguments = {
        "level": "beginner, engineer or researcher",
        "reveal": "yes: calculate at once; no: ask for a prediction first",
        "model": "your own model in place of the tutorial's",
        "hardware": "your own accelerator in place of the tutorial's",
    }
    tutorials = tuple(
        Prompt(f"tutorial_{t.number}", f"Tutorial {t.number}: {t.title}", t.question, arguments, t.render)
        for t in load()
    )
    return tutorials + _TASKS
