"""Where electricity comes from: the published carbon intensities of a place, by method and year."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from mlwalls.solvers.errors import CallError
from mlwalls.solvers.lookup import find
from mlwalls.zoo import Entry, Zoo

# Figures older than this are left out of a place's spread: grids changed.
SINCE = 2023
# Names less alike than this (of 100) are not what was meant.
ALIKE = 75
# Codes of so few letters are like many others.
SHORT = 2
KINDS = "regions are countries (poland), states (us-iowa, ca-ontario), Nordic zones (nordic-se1), cloud regions (aws-us-east-1)"
METHODS = {
    "lifecycle": "life-cycle",
    "direct": "direct",
    "location_hourly_average": "hourly location-based",
    "given": "as given",
}


@dataclass(frozen=True, slots=True)
class Figure:
    """One carbon intensity: g/kWh, where it stands (None: given), what it counts."""

    entry: Entry | None
    path: str
    method: str
    year: str
    value: float

    @property
    def label(self) -> str:
        """Method and year in words."""
        return " ".join(part for part in (METHODS[self.method], self.year) if part)


@dataclass(frozen=True, slots=True)
class Place:
    """A place to compute in: its figure first, then all others of the same place; the building where one was named."""

    name: str
    symbol: str
    figures: tuple[Figure, ...]
    building: Entry | None = None

    @property
    def low(self) -> Figure:
        """The lowest figure."""
        return min(self.figures, key=lambda f: f.value)

    @property
    def high(self) -> Figure:
        """The highest figure."""
        return max(self.figures, key=lambda f: f.value)

    def latest(self, method: str) -> Figure | None:
        """The newest figure by one method."""
        return max((f for f in self.figures if f.method == method), key=lambda f: f.year, default=None)


def place(zoo: Zoo, text: str, among: list[str], warnings: list[str]) -> Place:
    """Return the place that `text`, one of the regions `among`, names: a grid, or a cloud region with the grid that feeds it.

    Raises:
        CallError: no grid or region has that name, or the zoo does not know the region's grid.
    """
    building = _cloud_region(zoo, text)
    if building is None:
        try:
            grid = find(zoo, "grids", "regions", text, warnings)
        except CallError as error:
            alike = zoo.alike("grids", text)
            near = [id for id in error.choices if alike.get(id, 0) >= ALIKE and len(text.strip()) > SHORT]
            if not near:
                others = [t for t in among if t != text] or ["us-iowa"]
                problem = f"{text!r} is not in the zoo of grids: {KINDS}. List them: find_in_zoo kind=grids."
                raise CallError("regions", problem, repair={"regions": others}) from error
            nearest = [near[0] if t == text else t for t in among]
            raise CallError("regions", error.problem, choices=near, repair={"regions": nearest}) from error
        building = zoo.get("datacenters", grid.id) if zoo.contains("datacenters", grid.id) else None
    elif not building.text("grid"):
        raise _without(among, text, f"the zoo does not know which grid feeds {building.name}; name the grid.")
    else:
        grid = zoo.get("grids", building.text("grid"))
        warnings.append(f"{building.name} draws on {grid.name}")
    if not grid.has("carbon_intensity"):
        raise _without(among, text, f"the zoo has no carbon intensity for {grid.name}; give it in grid_g_per_kwh.")
    name = grid.name if building is None or building.id == grid.id else building.name
    symbol = (grid if building is None else building).id.replace("-", "_").replace(".", "_")
    return Place(name.removesuffix(", United States").removesuffix(", Canada"), symbol, _figures(zoo, grid), building)


def _without(among: list[str], text: str, problem: str) -> CallError:
    rest = [t for t in among if t != text]
    return CallError("regions", problem, repair={"regions": rest or ["us-iowa"]})


def _cloud_region(zoo: Zoo, text: str) -> Entry | None:
    typed = "".join(text.lower().replace("_", " ").replace("-", " ").split())
    typed = typed.replace("amazon", "aws", 1).replace("microsoft", "azure", 1)
    wanted = (typed, f"aws{typed}", f"azure{typed}")
    for entry in zoo.entries("datacenters"):
        if entry.id.replace("-", "") in wanted and not entry.id.startswith("gcp-"):
            return entry if entry.text("type") == "cloud_region" else None
    return None


def _figures(zoo: Zoo, grid: Entry) -> tuple[Figure, ...]:
    own = list(_own(grid))
    others = [f for e in zoo.entries("grids") if e.text("within") == grid.id for f in _own(e)]
    if grid.text("within"):
        others += _own(zoo.get("grids", grid.text("within")))
    recent = [f for f in own[1:] + others if f.value > 0 and (not f.year or int(f.year[:4]) >= SINCE)]
    return (own[0], *recent)


def _own(grid: Entry) -> Iterator[Figure]:
    if not grid.has("carbon_intensity"):
        return
    method = grid.text("method")
    preferred = grid.number("carbon_intensity")
    yield Figure(grid, "carbon_intensity", method, preferred.year, float(preferred.value))
    for path, number in grid.numbers():
        if number.unit == "g/kWh" and path != "carbon_intensity":
            yield Figure(grid, path, method, number.year, float(number.value))
