"""Stages of unequal layers: which pipelines can be built, and how many layers the longest stage has."""

from __future__ import annotations

# Published interleaved plans leave at most so many places without a layer, for the embedding, the head and one more (126 of
# Llama 3 in 128 places, 94 of Qwen3 in 96, 61 of DeepSeek-V3 in 64), a twentieth of the layers.
PLACES = 3
PLACES_SHARE = 0.05


def longest(layers: int, pp: int, interleave: int = 1) -> int:
    """Return the layers of the longest stage."""
    return -(-layers // (pp * interleave)) * interleave


def interleaves(layers: int, pp: int, interleave: int) -> bool:
    """Whether layers can be shared out over the parts of interleaved stages: evenly but for the embedding's and head's places."""
    empty = longest(layers, pp, interleave) * pp - layers
    return empty <= min(PLACES, PLACES_SHARE * layers)


def buildable(layers: int, pp: int) -> bool:
    """Whether layers can be shared out over stages of which only the first and the last are shorter, with a layer at least."""
    return pp == 1 or (pp - 2) * longest(layers, pp) + 2 <= layers
