"""The teaching: tutorials, paths and task prompts, as data. Rendering asks for calculations; it makes none."""

from mlwalls.prompts.loading import Prompt, all_prompts, load, meanings, paths, routes
from mlwalls.prompts.paths import LearningPath, step_minutes
from mlwalls.prompts.tutorial import CHOICES, Call, Fill, Tutorial

__all__ = [
    "CHOICES",
    "Call",
    "Fill",
    "LearningPath",
    "Prompt",
    "Tutorial",
    "all_prompts",
    "load",
    "meanings",
    "paths",
    "routes",
    "step_minutes",
]
