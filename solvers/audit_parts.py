"""Which solvers an audit asks, with which of the others' figures, and which rows it makes of their answers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mlwalls.solvers.assignments import write_assignments
from mlwalls.solvers.derivation import Derivation, NonFiniteError, Step, Value
from mlwalls.solvers.equations import analysis as eq
from mlwalls.solvers.errors import CallError
from mlwalls.solvers.inner import resolve_inner
from mlwalls.solvers.numbers import Numbers
from mlwalls.solvers.prices import listing
from mlwalls.solvers.registry import solvers
from mlwalls.solvers.slicing import steps_behind
from mlwalls.solvers.solver import Binding, Presentation
from mlwalls.zoo import Entry, Zoo

HOST = 8
TOKEN_BYTES = 4
STORAGE_GB_PER_S = 10
LEVERS = 3


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
    asked: dict[str, list[str]] = field(default_factory=dict)
    levers: list[str] = field(default_factory=list)
    lever_of: str = ""
    notes: list[str] = field(default_factory=list)
    binding: Binding | None = None
    feasible: bool = True
    verdict: str = ""

    def ask(
        self, tool: str, figures: Mapping[str, str], required: bool = True, **arguments: Any
    ) -> Presentation | None:
        """Ask a solver, and keep some of its figures: name here → symbol there.

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
        self.asked[tool] = lines
        self.calls.append(f"{tool} {' '.join(lines)}")
        behind = steps_behind(derivation, [out[symbol].name for symbol in figures.values() if symbol in out])
        sources = tuple(dict.fromkeys(c for step in behind if isinstance(step, Step) for c in step.cite))
        for name, symbol in figures.items():
            if symbol in out:
                self.n.answered(name, out[symbol], tool, sources)
        self.warnings += [
            w
            for w in (*inner.problem.warnings, *shown.warnings)
            if w not in self.warnings and "taken as" not in w and not w.startswith("water")
        ]
        return shown

    def row(self, slug: str, value: Sequence[str], bound: Sequence[str], tool: str, what: str) -> None:
        """Add a wall's row where all its figures are there."""
        computed = {"tokens_per_parameter"}
        if not value or not all(name in self.n or name in computed for name in (*value, *bound)):
            return
        nothing = [name for name in bound if name in self.n and not self.n[name].value > 0 and len(bound) == 1]
        if nothing or any(self.n[name].value < 0 for name in value if name in self.n):
            self.notes.append(f"{slug} left out: {tool} gives none of it")
        else:
            self.rows.append(Row(slug, tuple(value), tuple(bound), tool, what))

    def improve(self, tool: str, metric: str) -> None:
        """Add the three numbers to which a figure of an answer answers most."""
        lines = self.asked[tool]
        solver = solvers()["sensitivity"]
        request = solver.request.model_validate({"tool": tool, "scenario": lines, "metric": metric})
        try:
            found = solver.run(request, self.zoo).presentation.result.model_dump()
        except (CallError, NonFiniteError) as error:
            self.notes.append(f"no levers: {error}")
            return
        self.calls.append(f"sensitivity tool={tool} scenario=[{','.join(lines)}] metric={metric}")
        for symbol, elasticity in list(zip(found["vary_rows"], found["vary_elasticity"], strict=True))[:LEVERS]:
            self.n.answered(f"elasticity_{symbol}", Value(symbol, float(elasticity)), "sensitivity", ())
            self.levers.append(symbol)
        self.lever_of = f"{tool}'s {metric}"


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


def _common(a: Audit, days: float) -> None:
    n = a.n
    n.you("accelerators", a.accelerators)
    n.you("run", days * 86400, "s")
    n.defined("unity", 1)
    n.zoo("parameters", a.model, "parameters", "")
    peak = next((p for p in ("peak.bf16", "peak.fp16") if a.hardware.has(p)), "")
    if not peak:
        raise CallError(
            "hardware", f"{a.hardware.name} has no 16-bit peak in the zoo.", repair={"hardware": "nvidia-h100-sxm-80gb"}
        )
    n.zoo("peak", a.hardware, peak, "FLOP/s")


def training(a: Audit, r: Any) -> None:
    """Ask what a training run asks: the fleet, its data, what the budget buys, energy, money."""
    _common(a, r.days)
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
    a.row("compute_throughput", ["mfu"], ["unity"], fleet, "MFU of the peak")
    a.row("memory_capacity", ["needed"], ["needed", "headroom"], fleet, "an accelerator's")
    a.ask(
        "roofline",
        {"memory_floor": "memory_floor", "compute_floor": "compute_floor"},
        required=False,
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
    _operations(a, r, r.days * 24)
    _price(a)
    a.improve(fleet, "throughput")


def _data(a: Audit) -> None:
    """The input pipeline at the fleet's own rate: token ids of 4 bytes from a shared 10 GB/s file system."""
    silent = Derivation(record=False)
    a.n.defined("sequence_tokens", 4096, "token")
    rate = silent.step("fed", eq.fed(a.n.rate, a.n.accelerators, a.n.sequence_tokens)).value
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
    n = a.n
    silent = Derivation(record=False)
    share = n.given_mfu if "given_mfu" in n else n.mfu
    budget = silent.step("budget", eq.training_budget(n.accelerators, n.peak, n.run, share)).value
    a.ask("scaling_law", {"optimal_ratio": "optimal_ratio"}, required=False, compute_flop=float(f"{budget:.6g}"))
    a.row(
        "scaling_laws",
        ["tokens_per_parameter"],
        ["optimal_ratio"],
        "scaling_law",
        "tokens a parameter, of the optimal",
    )
    _architecture(a, 4096)


def _architecture(a: Audit, tokens: int) -> None:
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


def _operations(a: Audit, r: Any, hours: float) -> None:
    arguments: dict[str, Any] = {
        "regions": [r.region],
        "hardware": a.hardware.id,
        "n_accelerators": a.accelerators,
        "hours": hours,
    }
    a.ask(
        "carbon",
        {"total_energy": "energy", "total_carbon": "carbon", "carbon_high": "high"},
        required=False,
        **arguments,
    )
    a.ask("carbon", {"full_energy": "energy"}, required=False, **arguments, utilization_percent=100)
    a.row("energy", ["total_energy"], ["full_energy"], "carbon", "of full power")
    a.row("sustainability", ["total_carbon"], ["carbon_high"], "carbon", "of the grid's highest figure")


def _price(a: Audit) -> None:
    found = listing(a.zoo, a.hardware)
    if found is None:
        a.notes.append(f"economic cost left out: the zoo has no rental price of {a.hardware.name}")
        return
    listed = [e for e in a.zoo.entries("prices") if e.text("hardware") == a.hardware.id and e.has("usd_per_hour")]
    dearest = next(e for e in listed if e.number("usd_per_hour").value == found.high)
    a.n.zoo("price", found.taken, "usd_per_hour", "USD/h")
    a.n.zoo("dearest", dearest, "usd_per_hour", "USD/h")
    a.row("economic_cost", ["price"], ["dearest"], "prices", "of the dearest listing")


def serving(a: Audit, r: Any) -> None:
    """Ask what a deployment asks: a step, the cache, the queue, compression, energy, money, a guard."""
    _common(a, r.days)
    n = a.n
    group: dict[str, Any] = {"model": a.model.id, "hardware": a.hardware.id, "n_accelerators": a.accelerators}
    cost = {**group, "tpot_ms": r.tpot_ms}
    names = {"query_cost": "query"} | {
        k: k for k in ("listed", "tpot", "ttft", "concurrency", "slots", "prefill", "decoding")
    }
    shown = a.ask("serving_cost", names, **cost)
    assert shown is not None
    a.binding, a.feasible, a.verdict = shown.binding, shown.feasible, shown.verdict
    n.you("target", r.tpot_ms / 1e3, "s")
    n.you("queries", r.queries_per_s, "1/s")
    batch = int(n.decoding.value) if "decoding" in n else 1
    a.ask(
        "roofline",
        {
            "mfu": "mfu",
            "mbu": "mbu",
            "needed": "needed",
            "headroom": "headroom",
            "link": "link_floor",
            "step": "expected",
        },
        required=False,
        **group,
        phase="decode",
        batch_sizes=[batch],
        seq_len=1152,
    )
    a.row("compute_throughput", ["mfu"], ["unity"], "roofline", f"of the peak, batch {batch}")
    a.row("memory_bandwidth", ["mbu"], ["unity"], "roofline", "of the bandwidth")
    a.row("memory_capacity", ["needed"], ["needed", "headroom"], "roofline", "an accelerator's")
    a.row("communication", ["link"], ["step"], "roofline", "links at their peak, of the step")
    a.row("serving_phases", ["tpot"], ["target"], "serving_cost", "a token, of the target")
    a.ask("kv_capacity", {"most": "max_sequences"}, required=False, **group, seq_len=1280)
    a.row("batching", ["concurrency"], ["most"], "serving_cost", "sequences, of those that fit")
    busy = r.queries_per_s
    service = float(n.ttft.value + 256 * n.tpot.value) if "ttft" in n and "tpot" in n else 0.0
    if service:
        a.ask(
            "tail_latency",
            {"utilization": "utilization"},
            required=False,
            arrivals_per_s=busy,
            service_time_s=float(f"{service:.6g}"),
            servers=max(1, batch),
        )
        a.row("tail_latency", ["utilization"], ["unity"], "tail_latency", f"busy at {busy:g} queries/s")
    a.ask(
        "quantization",
        {"speedup": "speedup", "floor_speedup": "floor_speedup"},
        required=False,
        **group,
        scheme="w4a16",
        batch_size=batch,
    )
    a.row("compression", ["speedup"], ["floor_speedup"], "quantization", "INT4 speedup, of the floor's")
    _architecture(a, 1280)
    _operations(a, r, r.days * 24)
    a.row("economic_cost", ["query_cost"], ["listed"], "serving_cost", "a query, of the API price")
    a.ask("safety_overhead", {"guard_added": "added"}, required=False, **group)
    a.row("safety", ["guard_added"], ["unity"], "safety_overhead", "accelerator time of a guard")
    a.improve("serving_cost", "query")
    a.binding = None if a.feasible else a.binding
