"""Learning paths: tutorials in an order, for a reader and a time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mlwalls.prompts.tutorial import LEVELS, Tutorial


@dataclass(frozen=True, slots=True)
class LearningPath:
    """One path. `data`: title, reader, level, said_hours (the curriculum's own figure), steps.

    A step is a tutorial's number, or a pause: ``{pause: text, minutes: n}``; a timed path gives each step
    ``minutes`` and ``parts`` (what to do with them).
    """

    name: str
    data: Mapping[str, Any]

    @property
    def title(self) -> str:
        """The path's name in words."""
        return str(self.data["title"])

    @property
    def description(self) -> str:
        """For whom it is."""
        return str(self.data["reader"])

    def steps(self) -> list[dict[str, Any]]:
        """Return the steps, each a dictionary with `tutorial` or `pause`."""
        return [{"tutorial": step} if isinstance(step, int) else dict(step) for step in self.data["steps"]]

    def minutes(self, tutorials: Mapping[int, Tutorial]) -> int:
        """Return the sum of the steps' minutes."""
        return sum(step_minutes(step, tutorials) for step in self.steps())

    def render(self, given: Mapping[str, str], tutorials: Mapping[int, Tutorial]) -> str:
        """Return the prompt that leads a learner along this path."""
        level = given.get("level") or self.data["level"]
        lines = [
            f"Lead a learner along path {self.name.upper()}, {self.title}: {self.description}",
            LEVELS.get(level, LEVELS["engineer"]),
            "Teach each tutorial by its own prompt of this server or its resource, in this order. Ask for a prediction before "
            "each calculation; state no figure that a tool did not give. After each, ask for the takeaway in one sentence "
            "before you go on, and offer to stop.",
        ]
        return "\n\n".join([*lines, "\n".join(f"- {line}" for line in self.lines(tutorials))])

    def lines(self, tutorials: Mapping[int, Tutorial]) -> list[str]:
        """Return one line a step, with the minutes from the start on a timed path."""
        at, found = 0, []
        for step in self.steps():
            minutes = step_minutes(step, tutorials)
            when = f"{at}-{at + minutes} min" if self.data.get("timed") else f"{minutes} min"
            at += minutes
            if "pause" in step:
                found.append(f"{when}: {step['pause']}")
                continue
            tutorial = tutorials[step["tutorial"]]
            parts = f" {step['parts']}" if "parts" in step else ""
            found.append(
                f"{when}: tutorial {tutorial.number}, {tutorial.title} "
                f"(prompt tutorial_{tutorial.number}, tutorial://{tutorial.number}).{parts}"
            )
        return found


def step_minutes(step: Mapping[str, Any], tutorials: Mapping[int, Tutorial]) -> int:
    """Return a step's own minutes, or its tutorial's."""
    if "minutes" in step:
        return int(step["minutes"])
    return int(tutorials[step["tutorial"]].data["minutes"])
