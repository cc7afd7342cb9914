"""Entry models: what an entry of each kind may say, from which the JSON Schemas are made."""

from mlwalls.zoo.entries.base import CitedBlock, CitedNumber, EntryModel
from mlwalls.zoo.entries.hardware import Hardware
from mlwalls.zoo.entries.model import Model

MODELS: dict[str, type[EntryModel]] = {"hardware": Hardware, "models": Model}

__all__ = ["MODELS", "CitedBlock", "CitedNumber", "EntryModel"]
