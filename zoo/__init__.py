"""The zoo: hardware, models, grids, fabrics, prices and more, every number with its source."""

from mlwalls.zoo.entry import Entry, Number, Resolution, Source, UnknownName, ZooError
from mlwalls.zoo.loader import KINDS, Zoo

__all__ = ["KINDS", "Entry", "Number", "Resolution", "Source", "UnknownName", "Zoo", "ZooError"]
