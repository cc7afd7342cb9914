"""Every solver by name: the built-in ones, then those that installed packages bring through the entry-point group."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
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


class Solvers(Mapping[str, Solver]):
    """Solvers by tool name; the module of a built-in one is imported when it is first asked for."""

    def __init__(self, others: Mapping[str, Solver]) -> None:
        self._names = dict.fromkeys((*BUILT_IN, *others))
        self._loaded = dict(others)

    def __getitem__(self, name: str) -> Solver:
        if name not in self._loaded:
            if name not in self._names:
                raise KeyError(name)
            self._loaded[name] = import_module(f"mlwalls.solvers.{name}").SOLVER
        return self._loaded[name]

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


@cache
def solvers() -> Mapping[str, Solver]:
    """Return all solvers by tool name, built-in ones first.

    Raises:
        RegistryError: an entry point does not load, is not a Solver, or takes a name that is taken.
    """
    others: dict[str, Solver] = {}
    for point in entry_points(group=Solver.ENTRY_POINTS):
        try:
            solver = point.load()
        except Exception as error:
            raise RegistryError(f"solver {point.name!r} ({point.value}) does not load: {error}") from error
        if not isinstance(solver, Solver):
            raise RegistryError(f"solver {point.name!r} ({point.value}) is not a mlwalls Solver")
        if solver.name in BUILT_IN or solver.name in others:
            raise RegistryError(f"solver {point.name!r} ({point.value}): the name {solver.name!r} is taken")
        others[solver.name] = solver
    return Solvers(others)
