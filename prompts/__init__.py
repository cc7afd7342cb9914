"""The teaching: tutorials and task prompts, as data. Rendering asks for calculations; it makes none."""

from mlwalls.prompts.loading import CHOICES, Prompt, Tutorial, all_prompts, load, routes

__all__ = ["CHOICES", "Prompt", "Tutorial", "all_prompts", "load", "routes"]
