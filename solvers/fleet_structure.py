"""What decides which equations of a training step apply, for fleet_efficiency."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from mlwalls.solvers.shapes import ModelShape

Recompute = Literal["none", "selective", "half", "full"]
Part = Literal["", "some", "all"]
Spread = Literal["", "some", "inside", "across"]
Collective = Literal["railed", "ring", "tree", "hierarchical"]


@dataclass(frozen=True, slots=True)
class Structure:
    """Which equations apply. The parts of a plan are there where any plan in question has them.

    Attributes:
        tp, pp, interleave: whether all plans in question split layers, stages and these into parts, some or none ("").
        cp, ep: whether any does.
        whole_experts: expert ranks in all, and no expert is split; once_a_domain: a token is sent once to a scale-up domain.
        uneven: whether any has stages of unequal layers.
        dp: whether replicas of all plans span scale-up domains ("across") or lie in one ("inside"), or some do, or none are ("").
        several: more than one accelerator.
        across: tensor-parallel groups may span scale-up domains.
        misaligned: some split widths are no multiple of 64.
        split_norms: sequence parallelism.
        switch: reduction inside the switch for tensor-parallel groups.
        mesh: no switch inside a domain, a link for every pair.
        chosen: plans tried, the second best as numbers by name, and its step, where the plan was searched.
    """

    shape: ModelShape
    recompute: Recompute = "none"
    zero: int = 1
    flash: bool = True
    fp8: bool = False
    measured: bool = True
    split_norms: bool = True
    switch: bool = False
    mesh: bool = False
    collective: Collective = "railed"
    checkpoint: str = ""
    parts: bool = False
    gain: bool = False
    fused: bool = False
    hidden_tp: bool = False
    hidden_ep: bool = False
    dropout: bool = False
    run: bool = False
    priced: bool = False
    outside: bool = False
    tp: Part = "some"
    pp: Part = "some"
    cp: bool = True
    ep: bool = True
    dp: Spread = "some"
    several: bool = True
    interleave: Part = "some"
    uneven: bool = True
    whole_experts: bool = False
    once_a_domain: bool = False
    across: bool = False
    misaligned: bool = True
    chosen: tuple[int, tuple[tuple[str, int], ...], float] | None = None
