"""The search over plans of one request of fleet_efficiency, and what a batch that no plan shares out may be instead."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from mlwalls.solvers.derivation import Derivation, Value
from mlwalls.solvers.errors import CallError
from mlwalls.solvers.fleet_compute import training_step
from mlwalls.solvers.fleet_memory import training_memory
from mlwalls.solvers.fleet_numbers import variant_numbers
from mlwalls.solvers.fleet_plans import Found, Given, Model, fastest, nearest_batches, nearest_counts
from mlwalls.solvers.fleet_structure import Recompute, Structure
from mlwalls.solvers.numbers import Numbers

# Nearest batches and counts of which the first that holds the model is taken.
TRIED = 4


class Search:
    """The search over plans of one request."""

    def __init__(self, base: Structure, n: Numbers, request: Any) -> None:
        self.base, self.n, self.request = base, n, request
        self.assigned = [text for text in request.set_ if text.partition("=")[0].strip() == "all_reduces"]

    def __call__(
        self,
        limits: Model,
        given: Given,
        near: Given | None = None,
        free: bool = False,
        variant: Structure | None = None,
    ) -> Found | None:
        r = self.request
        recompute: list[Recompute] = ["none", "selective", "half", "full"] if free or not r.recompute else [r.recompute]
        zero = [1, 2, 3] if free or r.zero is None else [r.zero]
        if variant is not None:
            recompute, zero = [variant.recompute], [variant.zero]
        sizes = {"accelerators": float(limits.accelerators), "global_batch": float(limits.global_batch)}
        here = self.n.replaced(sizes)

        def numbers(structure: Structure) -> Numbers:
            own = variant_numbers(here, structure)
            own.override(self.assigned)
            return own

        return fastest(limits, given, self.base, recompute, zero, numbers, step_and_memory, near)

    def grown(self, limits: Model) -> int | None:
        """The fewest accelerators, doubling, that hold the model with a plan of their own."""
        for factor in (2, 4, 8, 16, 32, 64, 128):
            count = limits.accelerators * factor
            batch = limits.global_batch * max(1, count // limits.global_batch)
            found = self(replace(limits, accelerators=count, global_batch=batch), {}, free=True)
            if found is not None and found.fits:
                return count
        return None


def step_and_memory(s: Structure, n: Numbers, d: Derivation) -> dict[str, Value]:
    """Step out a step's time and memory; keys are the results' symbols."""
    t = training_step(s, n, d)
    return t.out | {"dp": t.dp, "steps": t.steps, "tokens": t.tokens} | training_memory(s, n, d, t)


class NotShared(CallError):
    """A batch that no plan shares out; its repair, the batch or count that fits and changes least, is searched when read."""

    def __init__(self, m: Model, search: Search) -> None:
        self.m, self.search = m, search
        self.batches, self.counts = nearest_batches(m), nearest_counts(m)
        text = f"{m.global_batch:,} sequences cannot be shared out over {m.accelerators:,} accelerators."
        text += f" The nearest that can: {self.batches[0]:,} sequences, or {self.counts[0]:,} accelerators."
        super().__init__("global_batch", text)

    @property
    def repair(self) -> dict[str, Any]:
        """Arguments of the nearest call that has an answer, if possible one that fits."""
        batch = self._first([replace(self.m, global_batch=size) for size in self.batches])
        other = self._first([replace(self.m, accelerators=size) for size in self.counts])
        change = abs(math.log(batch.global_batch / self.m.global_batch)) if batch else math.inf
        if other is not None and abs(math.log(other.accelerators / self.m.accelerators)) < change:
            return {"n_accelerators": other.accelerators}
        return {"global_batch": batch.global_batch if batch else self.batches[0]}

    @repair.setter
    def repair(self, repair: dict[str, Any]) -> None:
        pass

    def _first(self, models: Sequence[Model]) -> Model | None:
        for m in models[:TRIED]:
            found = self.search(m, {}, free=True)
            if found is not None and found.fits:
                return m
        return None
