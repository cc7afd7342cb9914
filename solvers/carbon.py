"""How much energy, carbon and water does this training run or service take, and what would it be elsewhere?

Energy is power times time times the building's power usage effectiveness [Barroso 2018, Patterson 2021]. Power an accelerator:
its rated power times the share drawn (an idle part and one proportional to utilization), its share of the host, and the
network's share on top; or a measured power, or measured energy. Carbon is energy times the carbon intensity of the grid, plus
manufacture over the life of the machines [Patterson 2022, Gupta 2022]. Water is cooling on the site, on the machines' energy,
and generation off it, on the building's [Li 2023].

Carbon intensities carry year and method: direct (what leaves the stack), life-cycle (with construction and fuel), Google's
hourly location-based averages. One place has several; its range is their spread since 2023. Places are compared by their own
figures with a warning where the methods differ, and by one method where both have it.

Assumed where not given: utilization 0.8 (0.65 to 1, the GPU power of nine published serving runs), idle share 0.1, host 0.3 of
the rated power (0.2 to 0.82, the last a DGX H100 at its maximum), network 0.05; manufacture after BLOOM's study. The range of a
modelled power comes from the ends of utilization and host.

Not modelled: marginal or hourly intensities, market-based accounting (give grid_g_per_kwh), storage, end-user devices,
disposal, water of manufacture.
"""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import Field

from mlwalls.solvers.carbon_places import Figure, Place, place
from mlwalls.solvers.carbon_words import CarbonResult, Context, present
from mlwalls.solvers.derivation import Applied, Derivation, Value
from mlwalls.solvers.equations import common
from mlwalls.solvers.equations import operations as eq
from mlwalls.solvers.errors import CallError
from mlwalls.solvers.lookup import find
from mlwalls.solvers.numbers import Numbers
from mlwalls.solvers.power import modelled_power, rated_path, resolve_power
from mlwalls.solvers.solver import Problem, Solver, SolverRequest
from mlwalls.zoo import Entry, Zoo

HOUR, YEAR = 3600, 31536000
CHIP = {"nvidia-h100-sxm-80gb": "h100-sxm-share-of-hgx-pcf"}
MAX_REGIONS = 10


class CarbonRequest(SolverRequest):
    """Arguments of the carbon tool."""

    regions: list[str] = Field(
        default_factory=list, max_length=MAX_REGIONS, description='Grids: ["us-iowa","ca-quebec"].'
    )
    grid_g_per_kwh: list[float] = Field(default_factory=list, max_length=MAX_REGIONS, description="Own figures: [94].")
    hardware: str = Field(default="", description="Zoo accelerator.")
    n_accelerators: int = Field(default=1, ge=1, le=10_000_000, description="How many.")
    hours: float | None = Field(default=None, gt=0, le=1e10, description="Of each.")
    utilization_percent: float | None = Field(default=None, ge=0, le=100, description="In power terms.")
    power_w: float | None = Field(default=None, gt=0, le=1e6, description="Measured, with host and network.")
    energy_kwh: float | None = Field(default=None, gt=0, le=1e12, description="Measured.")
    building: str = Field(default="", description="Zoo datacenter: PUE, WUE.")
    pue: float | None = Field(default=None, ge=1, le=5, description="Of the building.")
    tokens_per_s: float | None = Field(default=None, gt=0, le=1e12, description="Of all.")
    queries_per_s: float | None = Field(default=None, gt=0, le=1e9, description="Of all.")


@dataclass(frozen=True, slots=True)
class Structure:
    """Which equations apply. `places` are symbols, lowest carbon first; `first` is the one asked for first."""

    energy_given: bool
    power_given: bool
    timed: bool
    made: bool
    places: tuple[str, ...]
    first: str
    compared: bool
    same_method: bool
    tokens: bool
    queries: bool


def resolve(request: CarbonRequest, zoo: Zoo) -> Problem:
    """Take every branch of the request.

    Raises:
        CallError: no place, no time, no power, or a name that names nothing.
    """
    n = Numbers()
    warnings: list[str] = []
    scenario = request.model_dump(by_alias=True, exclude_none=True, exclude_defaults=True)
    scenario.pop("detail", None)
    hardware = find(zoo, "hardware", "hardware", request.hardware, warnings) if request.hardware else None
    if hardware is not None:
        scenario["hardware"] = hardware.id
    timed = request.hours is not None
    _energy(request, n, hardware, warnings)
    made = timed and (hardware is None or rated_path(hardware) != "power.system")
    if made:
        _manufacture(n, zoo, hardware)
    else:
        n.defined("left_out", 0, "kg")
        why = "of a whole system is not known: left out" if timed else "left out: hours not given"
        warnings.append(f"manufacture {why}")
    named = [place(zoo, text, request.regions, warnings) for text in request.regions]
    places = _places(request, named)
    _water(request, zoo, n, named, warnings)
    _buildings(request, zoo, n, places, warnings)
    ranked = tuple(sorted(places, key=lambda p: p.figures[0].value * n[f"pue_{p.symbol}"].value))
    shared = _shared(n, ranked, warnings)
    for name, rate in (("tokens_rate", request.tokens_per_s), ("queries_rate", request.queries_per_s)):
        if rate is not None:
            if not timed:
                raise CallError("hours", "a rate needs the hours for which it holds.", repair={"hours": 1})
            n.you(name, rate, "1/s")
    structure = Structure(
        request.energy_kwh is not None,
        request.power_w is not None,
        timed,
        made,
        tuple(p.symbol for p in ranked),
        places[0].symbol,
        len(ranked) > 1 and ranked[0].figures[0].value > 0,
        bool(shared),
        request.tokens_per_s is not None,
        request.queries_per_s is not None,
    )
    rated = rated_path(hardware) if hardware is not None else ""
    context = Context(
        hardware.name if hardware is not None else "",
        request.n_accelerators,
        request.hours,
        ranked,
        places[0],
        shared,
        hardware.number(rated).value if hardware is not None and rated else None,
    )
    return Problem(structure, n, warnings, scenario, context)


def _energy(request: CarbonRequest, n: Numbers, hardware: Entry | None, warnings: list[str]) -> None:
    if request.hours is not None:
        n.you("count", request.n_accelerators)
        n.you("time", request.hours * HOUR, "s")
    if request.energy_kwh is not None:
        n.you("it_energy", request.energy_kwh * 3.6e6, "J")
        return
    if request.hours is None:
        raise CallError("hours", "give the hours that each accelerator runs, or energy_kwh.", repair={"hours": 24})
    if request.power_w is not None:
        n.you("power", request.power_w, "W")
        return
    if hardware is None:
        raise CallError("hardware", "give hardware, power_w or energy_kwh.", repair={"hardware": "h100"})
    rated = rated_path(hardware)
    if not rated:
        raise CallError(
            "power_w", f"the zoo has no rated power for {hardware.name}; give power_w.", repair={"power_w": 500}
        )
    given = None if request.utilization_percent is None else request.utilization_percent / 100
    resolve_power(n, hardware, rated, given)
    warnings.append("power modelled from the rated power; a measured power_w is better")


def _manufacture(n: Numbers, zoo: Zoo, hardware: Entry | None) -> None:
    known = CHIP.get(hardware.id) if hardware is not None else None
    if known is not None:
        n.zoo("chip", zoo.get("embodied", known), "value", "kg")
    else:
        n.assumed("chip", 150, 60, 320, "kg", source="luccioni2023")
    n.assumed("server", 2500, 1300, 5700, "kg", source="luccioni2023")
    n.assumed("per_server", 8, 4, 8)
    n.assumed("life", 6 * YEAR, 3 * YEAR, 6 * YEAR, "s", source="luccioni2023")
    n.assumed("in_use", 0.85, 0.5, 1, source="luccioni2023")


def _places(request: CarbonRequest, named: list[Place]) -> list[Place]:
    places: dict[str, Place] = {p.symbol: p for p in named}
    for at, given in enumerate(request.grid_g_per_kwh, 1):
        if not 0 <= given <= 5000:
            raise CallError("grid_g_per_kwh", f"{given:g} is not in 0..5000 g/kWh.", repair={"grid_g_per_kwh": [400]})
        figure = Figure(None, "", "given", "", given)
        places[f"given_{at}"] = Place(f"{given:g} g/kWh", f"given_{at}", (figure,))
    if not places:
        raise CallError(
            "regions", "give the regions, or carbon intensities in grid_g_per_kwh.", repair={"regions": ["us-iowa"]}
        )
    return list(places.values())


def _water(request: CarbonRequest, zoo: Zoo, n: Numbers, named: list[Place], warnings: list[str]) -> None:
    building = find(zoo, "datacenters", "building", request.building, warnings) if request.building else None
    own = building or (named[0].building if named else None)
    if own is not None and own.has("wue"):
        n.zoo("wue", own, "wue")
    else:
        n.zoo("wue", zoo.get("datacenters", "wue-us-average-lbnl-2023"), "wue")
        warnings.append("water: US averages taken, reservoirs included")
    n.zoo("grid_water", zoo.get("datacenters", "water-us-grid-average-lbnl"), "water_intensity")


def _buildings(request: CarbonRequest, zoo: Zoo, n: Numbers, places: list[Place], warnings: list[str]) -> None:
    common_pue = _common_pue(request, zoo, n)
    for p in places:
        if not common_pue and p.building is not None and p.building.has("pue"):
            n.zoo(f"pue_{p.symbol}", p.building, "pue", "")
        else:
            if "pue" not in n:
                n.assumed("pue", 1.2, 1.08, 1.56)
                warnings.append("PUE not given: 1.2 taken (best fleets 1.08, industry 1.56)")
            n.alias(f"pue_{p.symbol}", "pue")
        for suffix, figure in (("", p.figures[0]), ("_low", p.low), ("_high", p.high)):
            _intensity(n, f"ci_{p.symbol}{suffix}", figure, p, suffix)


def _common_pue(request: CarbonRequest, zoo: Zoo, n: Numbers) -> bool:
    if request.pue is not None:
        n.you("pue", request.pue)
        return True
    if not request.building:
        return False
    building = find(zoo, "datacenters", "building", request.building, [])
    if not building.has("pue"):
        raise CallError("building", f"the zoo has no PUE for {building.name}; give pue.", repair={"pue": 1.2})
    n.zoo("pue", building, "pue", "")
    return True


def _intensity(n: Numbers, symbol: str, figure: Figure, p: Place, suffix: str) -> None:
    if suffix and figure is p.figures[0]:
        n.alias(symbol, f"ci_{p.symbol}")
    elif figure.entry is None:
        n.you(symbol, figure.value, "g/kWh")
    else:
        n.zoo(symbol, figure.entry, figure.path, "g/kWh")


def _shared(n: Numbers, ranked: tuple[Place, ...], warnings: list[str]) -> str:
    """Say where methods differ; add both extremes' figures by a method that they share and return its words."""
    used = {p.figures[0].method for p in ranked} - {"given"}
    if len(used) > 1:
        warnings.append("methods differ, so the regions are not like for like")
    least, most = ranked[0], ranked[-1]
    if least.figures[0].method == most.figures[0].method:
        return ""
    for figure in least.figures:
        mine, other = least.latest(figure.method), most.latest(figure.method)
        if mine is not None and other is not None and mine.year == other.year:
            _intensity(n, "shared_least", mine, least, "")
            _intensity(n, "shared_most", other, most, "")
            return other.label
    return ""


def compute(s: Structure, n: Numbers, d: Derivation) -> dict[str, Value]:
    """Step out power, energy, carbon, water and the regions; keys are the results' symbols."""
    out: dict[str, Value] = {}
    if s.timed:
        used = d.step("device_time", eq.device_time(n["count"], n.time))
    if s.energy_given:
        machines = n.it_energy
    else:
        out["power"] = n.power if s.power_given else modelled_power(n, d)
        machines = d.step("it_energy", eq.it_energy(out["power"], used))
    out["it_energy"] = machines
    pue, ci = n[f"pue_{s.first}"], n[f"ci_{s.first}"]
    energy = out["energy"] = d.step("energy", eq.building_energy(machines, pue))
    operational = out["operational"] = d.step("operational", eq.emitted(energy, ci))
    modelled = not s.energy_given and not s.power_given
    for bound, share in (("low", "least"), ("high", "most")):
        out[bound] = d.step(bound, _there(n, machines, s.first, bound, share if modelled else ""))
    if s.made:
        law = eq.manufactured(n.chip, n.server, n.per_server, used, n.life, n.in_use)
        out["embodied"] = d.step("embodied", law)
        total = d.step("carbon", common.sum_of_two(operational, out["embodied"]))
    else:
        total = d.step("carbon", common.sum_of_two(operational, n.left_out))
    out["carbon"] = total
    out["binding_share"] = d.step("binding_share", common.ratio(operational, total))
    _water_steps(n, d, out)
    _each(s, n, d, out)
    if len(s.places) > 1:
        _regions(s, n, d, machines, modelled)
    if s.compared:
        _ratios(s, n, d, out)
    return out


def _there(n: Numbers, machines: Value, symbol: str, bound: str, share: str) -> Applied:
    pue, ci = n[f"pue_{symbol}"], n[f"ci_{symbol}_{bound}"]
    return eq.emitted_at(machines, n[share], pue, ci) if share else eq.emitted_there(machines, pue, ci)


def _water_steps(n: Numbers, d: Derivation, out: dict[str, Value]) -> None:
    out["onsite_water"] = d.step("onsite_water", eq.onsite_water(out["it_energy"], n.wue))
    out["offsite_water"] = d.step("offsite_water", eq.offsite_water(out["energy"], n.grid_water))
    out["water"] = d.step("water", common.sum_of_two(out["onsite_water"], out["offsite_water"]))


def _each(s: Structure, n: Numbers, d: Derivation, out: dict[str, Value]) -> None:
    for name in ("energy", "carbon", "water"):
        if s.queries:
            out[f"{name}_per_query"] = d.step(f"{name}_per_query", eq.each(out[name], n.time, n.queries_rate))
        if s.tokens:
            key = f"{name}_per_million_tokens"
            out[key] = d.step(key, eq.each_million(out[name], n.time, n.tokens_rate))


def _regions(s: Structure, n: Numbers, d: Derivation, machines: Value, modelled: bool) -> None:
    table = d.table("region")
    for symbol in s.places:
        figures = {f"ci{suffix}": n[f"ci_{symbol}{suffix}"] for suffix in ("", "_low", "_high")}
        table.row(symbol, pue=n[f"pue_{symbol}"], **figures)
    pue = table["pue"]
    d.column(table, "operational", eq.emitted_there(machines, pue, table["ci"]))
    for bound, share in (("low", "least"), ("high", "most")):
        ci = table[f"ci_{bound}"]
        law = eq.emitted_at(machines, n[share], pue, ci) if modelled else eq.emitted_there(machines, pue, ci)
        d.column(table, bound, law)


def _ratios(s: Structure, n: Numbers, d: Derivation, out: dict[str, Value]) -> None:
    least, most = s.places[0], s.places[-1]
    pues = n[f"pue_{most}"], n[f"pue_{least}"]

    def ratio(name: str, a: Value, b: Value) -> None:
        out[name] = d.step(name, eq.times_as_much(a, pues[0], b, pues[1]))

    ratio("ratio", n[f"ci_{most}"], n[f"ci_{least}"])
    ratio("ratio_low", n[f"ci_{most}_low"], n[f"ci_{least}_high"])
    ratio("ratio_high", n[f"ci_{most}_high"], n[f"ci_{least}_low"])
    if s.same_method:
        ratio("same_method_ratio", n.shared_most, n.shared_least)


SOLVER = Solver(
    name="carbon",
    question="How much energy, carbon and water does this run or service take, and how much would it be elsewhere?",
    guidance=(
        "Hardware and hours, or measured power or energy; regions ranked, with each grid's method and year. "
        "Dollars: serving_cost. A run's hours: fleet_efficiency."
    ),
    walls=("energy", "sustainability"),
    request=CarbonRequest,
    result=CarbonResult,
    resolve=resolve,
    compute=compute,
    present=present,
    example={"regions": ["us-iowa", "ca-quebec"], "hardware": "h100", "n_accelerators": 256, "hours": 720},
)
