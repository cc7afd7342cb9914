"""What an audit gathers, and which solvers one of a training run asks, with which of the others' figures."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mlwalls.solvers.assignments import write_assignments
from mlwalls.solvers.derivation import Derivation, NonFiniteError, Step, Value
from mlwalls.solvers.equations import analysis as eq
from mlwalls.solvers.equations import common, scaling
from mlwalls.solvers.errors import CallError
from mlwalls.solvers.inner import resolve_inner
from mlwalls.solvers.numbers import Numbers
from mlwalls.solvers.prices import PATH, listing
from mlwalls.solvers.registry import solvers
from mlwalls.solvers.slicing import steps_behind
from mlwalls.solvers.solver import Binding, Presentation
from mlwalls.solvers.words import figure
from mlwalls.zoo import Entry, Zoo

HOST = 8
TOKEN_BYTES = 4
STORAGE_GB_PER_S = 10
LEVERS = 3
# What an audit does not have: ranges, and arguments of the tools that it asks.
_ELSEWHERE = re.compile(r"; the range is twice as wide|; a measured power_w is better| \(best fleets .*\)$")


@dataclass(frozen=True, slots=True)
class Row:
    """A wall's row: the figures that add up to what is used of it and to its bound, and the tool that they come from."""

    slug: str
    value: tuple[str, ...]
    bound: tuple[str, ...]
    tool: str
    what: str


@dataclass(slots=True)
class Audit:
    """What is gathered while the solvers are asked one after the other."""

    zoo: Zoo
    n: Numbers
    model: Entry
    hardware: Entry
    accelerators: int
    warnings: list[str]
    rows: list[Row] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)
    levers: list[str] = field(default_factory=list)
    lever_of: str = ""
    notes: list[str] = field(default_factory=list)
    binding: Binding | None = None
    feasible: bool = True
    verdict: str = ""
    kept: bool = False

    def ask(
        self, tool: str, figures: Mapping[str, str], required: bool = True, warned: bool = True, **arguments: Any
    ) -> Presentation | None:
        """Ask a solver, and keep some of its figures: name here → symbol there; its warnings too, where they bear on those.

        Raises:
            CallError: a required answer cannot be had; says whose.
        """
        lines = write_assignments({k: v for k, v in arguments.items() if v is not None})
        try:
            inner = resolve_inner(tool, lines, self.zoo)
            out, derivation = inner.recorded()
            shown = inner.solver.present(inner.problem, out, derivation)
        except (CallError, NonFiniteError) as error:
            text = error.problem if isinstance(error, CallError) else str(error)
            if required:
                raise CallError("model", text, repair=_own_repair(error, arguments)) from error
            self.notes.append(f"not audited by {tool}: {text}")
            return None
        self.calls.append(f"{tool} {' '.join(lines)}")
        behind = steps_behind(derivation, [out[symbol].name for symbol in figures.values() if symbol in out])
        sources = tuple(dict.fromkeys(c for step in behind if isinstance(step, Step) for c in step.cite))
        for name, symbol in figures.items():
            if symbol in out:
                self.n.answered(name, out[symbol], tool, sources)
        for w in (*inner.problem.warnings, *shown.warnings) if warned else ():
            text = _ELSEWHERE.sub("", w)
            if text not in self.warnings and "taken as" not in w and not w.startswith(("water", "cpu_workers")):
                self.warnings.append(text)
        return shown

    def row(self, slug: str, value: Sequence[str], bound: Sequence[str], tool: str, what: str) -> None:
        """Add a wall's row where all its figures are there."""
        computed = {"tokens_per_parameter", "busy", "query_cost"}
        if not value or not all(name in self.n or name in computed for name in (*value, *bound)):
            return
        nothing = [name for name in bound if name in self.n and not self.n[name].value > 0 and len(bound) == 1]
        if nothing or any(self.n[name].value < 0 for name in value if name in self.n):
            self.notes.append(f"{slug} left out: {tool} gives none of it")
        else:
            self.rows.append(Row(slug, tuple(value), tuple(bound), tool, what))

    def improve(self, tool: str, metric: str, named: str, **arguments: Any) -> None:
        """Add the three numbers to which a figure of a solver's answer to these arguments answers most."""
        lines = write_assignments(arguments)
        solver = solvers()["sensitivity"]
        request = solver.request.model_validate({"tool": tool, "scenario": lines, "metric": metric})
        try:
            found = solver.run(request, self.zoo).presentation.result.model_dump()
        except (CallError, NonFiniteError) as error:
            self.notes.append(f"no levers: {error}")
            return
        self.calls.append(f"sensitivity tool={tool} scenario=[{','.join(lines)}] metric={metric}")
        for symbol, elasticity in list(zip(found["vary_rows"], found["vary_elasticity"], strict=True))[:LEVERS]:
            self.n.answered(f"on_{symbol}", Value(symbol, float(elasticity)), "sensitivity", ())
            self.levers.append(symbol)
        self.lever_of = named


def _own_repair(error: Exception, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return an inner repair's changes of what the audit itself was given."""
    lines = error.repair.get("scenario", []) if isinstance(error, CallError) else []
    changed = {
        k: v for k, _, v in (line.partition("=") for line in lines) if k in ("model", "hardware", "n_accelerators")
    }
    return {
        k: int(v) if k == "n_accelerators" else v
        for k, v in changed.items()
        if k in arguments and v != str(arguments[k])
    }


def common_numbers(a: Audit, days: float) -> None:
    """Read what both kinds of audit rest on."""
    n = a.n
    n.you("accelerators", a.accelerators)
    n.you("run", days * 86400, "s")
    n.defined("unity", 1)
    # What a token of training computes with: of a mixture, only the experts that it is routed to.
    active = a.model.has("active_parameters")
    n.zoo("parameters", a.model, "active_parameters" if active else "parameters", "")
    peak = next((p for p in ("peak.bf16", "peak.fp16") if a.hardware.has(p)), "")
    if not peak:
        raise CallError(
            "hardware", f"{a.hardware.name} has no 16-bit peak in the zoo.", repair={"hardware": "nvidia-h100-sxm-80gb"}
        )
    n.zoo("peak", a.hardware, peak, "FLOP/s")


def training(a: Audit, r: Any) -> None:
    """Ask what a training run asks: the fleet, its data, what the budget buys, energy, money."""
    common_numbers(a, r.days)
    n = a.n
    given: dict[str, Any] = {"model": a.model.id, "hardware": a.hardware.id, "n_accelerators": a.accelerators}
    names = (
        "mfu",
        "goodput",
        "needed",
        "headroom",
        "communication",
        "exposed",
        "stragglers",
        "bubble",
        "failures",
        "delivered",
    )
    shown = a.ask("fleet_efficiency", {name: name for name in names} | {"rate": "throughput"}, **given)
    assert shown is not None
    a.binding, a.feasible, a.verdict = shown.binding, shown.feasible, shown.verdict
    if r.mfu_percent is not None:
        n.you("given_mfu", r.mfu_percent / 100)
    fleet = "fleet_efficiency"
    if "given_mfu" in n:
        a.row("compute_throughput", ["given_mfu"], ["unity"], "given", f"MFU; {figure(n.mfu.value)} computed")
    else:
        a.row("compute_throughput", ["mfu"], ["unity"], fleet, "MFU of the peak")
    a.row("memory_capacity", ["needed"], ["needed", "headroom"], fleet, "an accelerator's")
    a.ask(
        "roofline",
        {"memory_floor": "memory_floor", "compute_floor": "compute_floor"},
        required=False,
        warned=False,
        model=a.model.id,
        hardware=a.hardware.id,
        phase="training",
        seq_len=4096,
    )
    a.row(
        "memory_bandwidth",
        ["memory_floor"],
        ["compute_floor"],
        "roofline",
        "of the compute floor",
    )
    if "rate" in n:
        _data(a)
    a.row("communication", [x for x in ("communication", "exposed") if x in n], ["delivered"], fleet, "of the time")
    a.row("synchronization", [x for x in ("stragglers", "bubble") if x in n], ["delivered"], fleet, "of the time")
    a.row("reliability", ["failures"], ["delivered"], fleet, "of the time")
    _algorithm(a, r)
    operations(a, r)
    _price(a)
    a.improve(fleet, "throughput", "Throughput", **given)


def _data(a: Audit) -> None:
    """The input pipeline at the fleet's own rate: token ids of 4 bytes from a shared 10 GB/s file system."""
    silent = Derivation(record=False)
    a.n.defined("sequence_tokens", 4096, "token")
    whole = a.n.rate
    if "given_mfu" in a.n:
        whole = silent.step("whole", eq.at_share(whole, a.n.given_mfu, a.n.mfu))
    rate = silent.step("fed", eq.fed(whole, a.n.accelerators, a.n.sequence_tokens)).value
    a.ask(
        "pipeline_bottleneck",
        {"demand": "accelerator_rate", "storage_rate": "storage_rate", "network_rate": "network_rate"},
        required=False,
        accelerator_samples_per_s=float(f"{rate:.6g}"),
        sample_kb=TOKEN_BYTES * 4.096,
        n_accelerators=min(HOST, a.accelerators),
        hosts=max(1, math.ceil(a.accelerators / HOST)),
        storage_gb_per_s=STORAGE_GB_PER_S,
        network_gb_per_s=25,
    )
    a.row(
        "storage_bandwidth",
        ["demand"],
        ["storage_rate"],
        "pipeline_bottleneck",
        "sequences, 10 GB/s shared",
    )
    a.row("ingestion", ["demand"], ["network_rate"], "pipeline_bottleneck", "sequences, 25 GB/s a host")


def _algorithm(a: Audit, r: Any) -> None:
    silent = Derivation(record=False)
    compute = silent.step("compute", scaling.training_compute(a.n.parameters, bought(a.n, silent)["tokens"])).value
    a.ask("scaling_law", {"optimal_ratio": "optimal_ratio"}, required=False, compute_flop=float(f"{compute:.6g}"))
    a.row(
        "scaling_laws",
        ["tokens_per_parameter"],
        ["optimal_ratio"],
        "scaling_law",
        "a parameter, of the optimal",
    )
    architecture(a, 4096)


def bought(n: Numbers, d: Derivation) -> dict[str, Value]:
    """Step out what a run's time buys: `budget`, FLOPs delivered, and `tokens`.

    The fleet's own, or at a utilization given as many as 6 FLOP a parameter and token leave.
    """
    if "given_mfu" in n:
        budget = d.step("budget", eq.training_budget(n.accelerators, n.peak, n.run, n.given_mfu))
        return {"budget": budget, "tokens": d.step("tokens", scaling.affordable(budget, n.parameters))}
    share = d.step("sustained", common.product(n.mfu, n.goodput))
    budget = d.step("budget", eq.training_budget(n.accelerators, n.peak, n.run, share))
    return {"budget": budget, "tokens": d.step("tokens", eq.trained_on(n.rate, n.goodput, n.run))}


def architecture(a: Audit, tokens: int) -> None:
    """Add the row of the model's architecture: what of the bytes of a decoded token is cache."""
    a.ask(
        "architecture_efficiency",
        {"token_flops": "a_flops", "token_read": "a_read", "token_cache": "a_cache"},
        required=False,
        models=[a.model.id],
        seq_len=tokens,
    )
    a.row(
        "architecture_efficiency",
        ["token_cache"],
        ["token_cache", "token_read"],
        "architecture_efficiency",
        f"cache of the bytes decoded at {tokens:,}",
    )


def operations(a: Audit, r: Any, busy: Value | None = None) -> None:
    """Add energy and carbon: of a run, beside full power; of a service at a share of its full load, beside that.

    Power grows with the load from the idle share up, to the utilization that carbon takes where none is given.
    """
    arguments: dict[str, Any] = {
        "regions": [r.region],
        "hardware": a.hardware.id,
        "n_accelerators": a.accelerators,
        "hours": r.days * 24,
    }
    own = {"total_energy": "energy", "total_carbon": "carbon", "carbon_high": "high"}
    if busy is None:
        a.ask("carbon", own, required=False, **arguments)
        a.ask("carbon", {"full_energy": "energy"}, required=False, **arguments, utilization_percent=100)
        what = "of full power"
    else:
        a.ask("carbon", {"full_energy": "energy"}, required=False, **arguments)
        if "full_energy" not in a.n:
            return
        full = resolve_inner("carbon", write_assignments(arguments), a.zoo).problem.numbers.utilization
        at_load = Derivation(record=False).step("at_load", eq.scaled(full, busy))
        percent = float(f"{100 * at_load.value:.6g}")
        a.ask("carbon", own, required=False, **arguments, utilization_percent=percent)
        what = "of full load"
    a.row("energy", ["total_energy"], ["full_energy"], "carbon", what)
    a.row("sustainability", ["total_carbon"], ["carbon_high"], "carbon", "of the grid's highest")


def _price(a: Audit) -> None:
    found = listing(a.zoo, a.hardware)
    if found is None:
        a.notes.append(f"economic cost left out: the zoo has no rental price of {a.hardware.name}")
        return
    a.n.zoo("price", found.taken, PATH, "USD/h")
    if not found.high > found.low:
        a.notes.append(f"economic cost left out: one price of {a.hardware.name} to compare with")
        return
    a.n.zoo("dearest", found.dearest, PATH, "USD/h")
    a.row("economic_cost", ["price"], ["dearest"], "prices", "of the dearest")
