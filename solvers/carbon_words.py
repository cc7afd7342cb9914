"""The typed answer of the carbon solver and its words: no more digits than the grid's number has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from pydantic import Field

from mlwalls.solvers.carbon_places import Figure, Place
from mlwalls.solvers.derivation import Derivation, Table, Value
from mlwalls.solvers.equations import analysis, common
from mlwalls.solvers.equations import operations as eq
from mlwalls.solvers.numbers import Numbers
from mlwalls.solvers.solver import Binding, Outcome, Presentation, Problem, SolverResult
from mlwalls.solvers.words import figure, first, fit_result

# From this multiple of its rated power on, host and network included, a figure is not of one accelerator.
UNLIKELY = 2


class CarbonResult(SolverResult):
    """Typed outputs; single figures are of the first region, lists rank all regions, lowest first."""

    MAIN: ClassVar = "operational_t"
    BRIEF_LEAVES: ClassVar = frozenset({"region_low_t", "region_high_t", "ratio_low"})

    power_w: float | None = Field(default=None, description="An accelerator's.")
    it_energy_kwh: float = Field(description="Machines.")
    energy_kwh: float = Field(description="Building.")
    operational_t: float = Field(description="CO2e of the electricity.")
    embodied_t: float | None = Field(default=None, description="Manufacture's share.")
    carbon_t: float = Field(description="Both.")
    low_t: float = Field(description="Lowest figure of the grid, least power.")
    high_t: float
    onsite_water_l: float
    offsite_water_l: float
    energy_per_query_wh: float | None = None
    carbon_per_query_g: float | None = None
    water_per_query_ml: float | None = None
    energy_per_million_tokens_kwh: float | None = None
    carbon_per_million_tokens_g: float | None = None
    water_per_million_tokens_l: float | None = None
    regions: list[str] = Field(description="Ranked.")
    methods: list[str] = Field(description="And year.")
    region_operational_t: list[float] | None = Field(default=None, description="Of several.")
    region_low_t: list[float] | None = None
    region_high_t: list[float] | None = None
    ratio: float | None = Field(default=None, description="Highest region over lowest.")
    ratio_low: float | None = Field(default=None, description="Over all figures.")
    ratio_high: float | None = None
    same_method_ratio: float | None = Field(default=None, description="By one method.")


@dataclass(frozen=True, slots=True)
class Context:
    """What the wording needs beside numbers: places, lowest carbon first, and the one method that both extremes share."""

    hardware: str
    count: int
    hours: float | None
    places: tuple[Place, ...]
    first: Place
    shared: str
    rated_w: float | None = None


def digits_of(given: Figure) -> int:
    """Return how many significant digits a figure carries, at most three."""
    text = f"{given.value:.6g}".replace(".", "").lstrip("0")
    return max(1, min(3, len(text)))


def mass(kilograms: float, digits: int = 3) -> str:
    """Print a mass with the unit that suits it."""
    for factor, unit in ((1000, "t"), (1, "kg"), (1e-3, "g")):
        if kilograms >= factor:
            return f"{figure(kilograms / factor, digits)} {unit}"
    return f"{figure(kilograms * 1e6, digits)} mg"


def energy(joules: float) -> str:
    """Print an energy with the unit that suits it."""
    for factor, unit in ((3.6e12, "GWh"), (3.6e9, "MWh"), (3.6e6, "kWh")):
        if joules >= factor:
            return f"{figure(joules / factor)} {unit}"
    return f"{figure(joules / 3600)} Wh"


def volume(litres: float) -> str:
    """Print a volume with the unit that suits it."""
    for factor, unit in ((1000, "m³"), (1, "L")):
        if litres >= factor:
            return f"{figure(litres / factor)} {unit}"
    return f"{figure(litres * 1000)} mL"


def present(problem: Problem, out: Outcome, d: Derivation) -> Presentation:
    """Word the answer: the first region, then the regions ranked and why they differ."""
    c: Context = problem.context
    extra: dict[str, Any] = {
        "regions": [p.name for p in c.places],
        "methods": [p.figures[0].label for p in c.places],
    }
    table = next((t for t in d.tables if t.name == "region"), None)
    if table is not None:
        extra |= {f"region_{key}_t": _column(table, key, 1000) for key in ("operational", "low", "high")}
    sentence = _first(c, out) + _compared(c, out, table) + _each(out)
    manufacture = "embodied" in out and first(out["embodied"]) > first(out["operational"])
    slug, runner = ("sustainability", "Energy") if manufacture else ("energy", "Sustainability")
    share = first(out["binding_share"])
    binding = Binding(slug, runner if "embodied" in out else "", None if manufacture else share)
    warnings = [more] if (more := _implausible(c, problem.numbers, out)) else []
    return Presentation(sentence, True, binding, fit_result(CarbonResult, out, extra, set()), warnings)


def _implausible(c: Context, n: Numbers, out: Outcome) -> str:
    """Question a power or an energy that no accelerator draws: more than twice the rated power of each."""
    if c.rated_w is None or c.hours is None:
        return ""
    silent, rated = Derivation(record=False), Value("rated", c.rated_w, "W")
    each = silent.step("each", eq.mean_power(out["it_energy"], silent.step("used", eq.device_time(n["count"], n.time))))
    times = silent.step("times", common.ratio(each, rated))
    if first(times) <= UNLIKELY:
        return ""
    needed = silent.step("needed", analysis.copies(silent.step("all", eq.mean_power(out["it_energy"], n.time)), rated))
    return (
        f"{figure(first(each))} W an accelerator is {figure(first(times))}x what {c.hardware} is rated for "
        f"({figure(c.rated_w)} W): {first(needed):,.0f} of them would draw it all"
    )


def _column(table: Table, key: str, factor: float) -> list[float]:
    return [float(f"{float(value) / factor:.6g}") for _, value in table.cells(key)]


def _first(c: Context, out: Outcome) -> str:
    own = c.first.figures[0]
    digits = digits_of(own)
    operational, low, high = (first(out[name]) for name in ("operational", "low", "high"))
    spread = f" ({mass(low, digits)} to {mass(high, digits)})" if high > low * 1.005 else ""
    by = f" ({own.label})" if own.method != "given" else ""
    where = f"in {c.first.name} at {own.value:g} g/kWh{by}" if own.method != "given" else f"at {own.value:g} g/kWh"
    embodied = f", and {mass(first(out['embodied']), 2)} of manufacture" if "embodied" in out else ""
    work = ""
    if c.hours is not None and c.hardware:
        work = f"{c.count:,} × {c.hardware} for {figure(c.hours, 4)} h: "
    return (
        f"{work}{energy(first(out['energy']))} of electricity, {mass(operational, digits)} CO2e{spread} {where}{embodied}; "
        f"water {volume(first(out['onsite_water']))} on the site, {volume(first(out['offsite_water']))} for generation."
    )


def _at(place: Place) -> str:
    return f"at {place.name}" if place.figures[0].method == "given" else f"in {place.name}"


def _compared(c: Context, out: Outcome, table: Table | None) -> str:
    if table is None:
        return ""
    amounts = [float(value) for _, value in table.cells("operational")]
    low, high = c.places[0], c.places[-1]
    ends = (
        f"{mass(amount, digits_of(p.figures[0]))} {_at(p)}" for p, amount in ((low, amounts[0]), (high, amounts[-1]))
    )
    said = f" From {' to '.join(ends)}"
    if "ratio" not in out:
        return said + "."
    digits = min(digits_of(low.figures[0]), digits_of(high.figures[0]), 2)
    said += f": {figure(first(out['ratio']), digits)}×"
    if len(low.figures) > 1 or len(high.figures) > 1:
        said += f", {figure(first(out['ratio_low']), 2)}× to {figure(first(out['ratio_high']), 2)}× over all figures of both"
    if "same_method_ratio" in out:
        said += f", {figure(first(out['same_method_ratio']), 2)}× by one method ({c.shared})"
    return said + "."


def _each(out: Outcome) -> str:
    said = ""
    for key, name in (("per_query", "A query"), ("per_million_tokens", "A million tokens")):
        if f"energy_{key}" in out:
            said += (
                f" {name}: {energy(first(out[f'energy_{key}']))}, {mass(first(out[f'carbon_{key}']), 2)} CO2e, "
                f"{volume(first(out[f'water_{key}']))}."
            )
    return said
