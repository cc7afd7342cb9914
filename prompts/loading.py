"""Tutorials, paths and task prompts, read from YAML when they are first asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path as FilePath
from typing import Any

from mlwalls.prompts.paths import LearningPath
from mlwalls.prompts.tutorial import ARGUMENTS, Fill, Tutorial

_HERE = FilePath(__file__).parent


@dataclass(frozen=True, slots=True)
class Prompt:
    """One prompt template; every argument has a default. `render` takes the arguments and what fills in figures."""

    name: str
    title: str
    description: str
    arguments: Mapping[str, str]
    render: Callable[[Mapping[str, str], Fill], str]


def _yaml(name: str) -> Any:
    import yaml

    # The C parser, where libyaml is there, reads the tutorials ten times as fast.
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return yaml.load((_HERE / name).read_text(encoding="utf-8"), Loader=loader)


@cache
def load() -> tuple[Tutorial, ...]:
    """Return all tutorials in order."""
    found = []
    for path in sorted((_HERE / "tutorials").glob("*.yaml")):
        data = _yaml(f"tutorials/{path.name}")
        found.append(Tutorial(data["number"], data["title"], data["question"], data))
    return tuple(sorted(found, key=lambda t: t.number))


@cache
def paths() -> tuple[LearningPath, ...]:
    """Return the learning paths in order."""
    return tuple(LearningPath(name, data) for name, data in _yaml("paths.yaml").items())


@cache
def routes() -> Mapping[str, Any]:
    """Return what `mlwalls ask` can place: for each tool its arguments' places and how people ask for it."""
    loaded: Mapping[str, Any] = _yaml("routes.yaml")
    return loaded


@cache
def meanings() -> Mapping[str, Any]:
    """Return what keeps `mlwalls ask` from answering something else than was asked."""
    loaded: Mapping[str, Any] = _yaml("meanings.yaml")
    return loaded


@cache
def all_prompts() -> tuple[Prompt, ...]:
    """Return every prompt: one a tutorial, one a path, then the tasks."""
    from mlwalls.prompts.tasks import TASKS

    tutorials = tuple(
        Prompt(f"tutorial_{t.number}", f"Tutorial {t.number}: {t.title}", t.question, ARGUMENTS, t.render)
        for t in load()
    )
    known = {t.number: t for t in load()}
    ways = tuple(
        Prompt(
            f"path_{p.name.lower()}",
            f"Path {p.name.upper()}: {p.title}",
            p.description,
            {"level": ARGUMENTS["level"]},
            lambda given, fill, p=p: p.render(given, known),  # type: ignore[misc]
        )
        for p in paths()
    )
    tasks = tuple(
        Prompt(t.name, t.title, t.description, t.arguments, lambda given, fill, t=t: t.render(given))  # type: ignore[misc]
        for t in TASKS
    )
    return tutorials + ways + tasks
