"""Every solver by name: the built-in ones, then those that installed packages bring through the entry-point group."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points

from mlwalls.solvers.solver import Solver

BUILT_IN: tuple[str, ...] = (
    "roofline",
    "kv_capacity",
    "quantization",
    "architecture_efficiency",
    "pipeline_bottleneck",
    "fleet_efficiency",
    "tail_latency",
    "scaling_law",
    "carbon",
    "wafer_scale",
    "safety_overhead",
    "sensitivity",
    "inverse_spec",
    "serving_cost",
    "sweep",
    "audit",
)


class RegistryError(RuntimeError):
    """An installed package's solver cannot be used; says which and why."""


@cache
def solvers() -> Mapping[str, Solver]:
    """Return all solvers by tool name, built-in ones first.

    Raises:
        RegistryError: an entry point does not load, is not a Solver, or takes a name that is taken.
    """
    found: dict[str, Solver] = {}
    for name in BUILT_IN:
        found[name] = import_module(f"mlwalls.solvers.{name}").SOLVER
    for point in entry_points(group=Solver.ENTRY_POINTS):
        try:
            solver = point.load()
        except Exception as error:
            raise RegistryError(f"solver {point.name!r} ({point.value}) does not load: {error}") from error
        if not isinstance(solver, Solver):
            raise RegistryError(f"solver {point.name!r} ({point.value}) is not a mlwalls Solver")
        if solver.name in found:
            raise RegistryError(f"solver {point.name!r} ({point.value}): the name {solver.name!r} is taken")
        found[solver.name] = solver
    return found
