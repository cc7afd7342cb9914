"""Entry models: what an entry of each kind may say, from which the JSON Schemas are made."""

from mlwalls.zoo.entries import fact
from mlwalls.zoo.entries.base import CitedBlock, CitedNumber, EntryModel
from mlwalls.zoo.entries.hardware import Hardware
from mlwalls.zoo.entries.model import Model

MODELS: dict[str, type[EntryModel]] = {
    "hardware": Hardware,
    "models": Model,
    "grids": fact.Grid,
    "datacenters": fact.Datacenter,
    "fabrics": fact.Fabric,
    "storage": fact.Storage,
    "prices": fact.Price,
    "reliability": fact.Reliability,
    "embodied": fact.Embodied,
    "datasets": fact.Dataset,
    "studies": fact.Study,
}

__all__ = ["MODELS", "CitedBlock", "CitedNumber", "EntryModel"]
