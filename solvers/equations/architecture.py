"""Formulas that set architectures side by side: work and memory of one token."""

from __future__ import annotations

from mlwalls.solvers.derivation import equation


@equation("FLOP", flops="FLOP")
def flops_each(flops, batch):
    """FLOPs of one token of a step of `batch`."""
    return flops / batch


@equation("byte", moved="byte", cache="byte", wall="architecture_efficiency")
def weights_each(moved, cache, batch):
    """Weight bytes read a token: those of the step, shared by its sequences."""
    return (moved - cache) / batch


@equation("byte", cache="byte")
def cache_of_sequence(cache, batch):
    """Keys and values (or state) of one sequence."""
    return cache / batch


@equation("byte", cache="byte", context="token", wall="architecture_efficiency")
def cache_each(cache, context):
    """Keys and values a token of context, on average over a sequence."""
    return cache / context
