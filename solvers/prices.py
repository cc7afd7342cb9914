"""What an accelerator-hour costs, rented or owned, and what an API asks for tokens: dated prices of the zoo."""

from __future__ import annotations

from dataclasses import dataclass

from mlwalls.solvers.errors import CallError
from mlwalls.solvers.numbers import Numbers
from mlwalls.solvers.power import rated_path, resolve_power
from mlwalls.zoo import Entry, Zoo

# Listings older than this are taken only where there are no newer ones.
SINCE = "2025"
PATH = "usd_per_hour"
YEAR = 31536000
SHARES = {
    "share_chips": "share-accelerator-chips",
    "share_servers": "share-server-components",
    "share_links": "share-cluster-interconnect",
}


@dataclass(frozen=True, slots=True)
class Listing:
    """The listing that was taken, and the lowest, highest and number of the comparable ones."""

    taken: Entry
    cheapest: Entry
    dearest: Entry
    known: int

    @property
    def low(self) -> float:
        """Lowest price, USD an accelerator-hour."""
        return float(self.cheapest.number(PATH).value)

    @property
    def high(self) -> float:
        """Highest price, USD an accelerator-hour."""
        return float(self.dearest.number(PATH).value)

    @property
    def label(self) -> str:
        """Its name and date in words."""
        date = self.taken.text("date")
        return f"{self.taken.name}, {date}" if date else self.taken.name


def listing(zoo: Zoo, hardware: Entry) -> Listing | None:
    """Return the middle on-demand listing of an accelerator (the lower of two), of those since 2025 where there are any."""
    known = [e for e in zoo.entries("prices") if e.text("hardware") == hardware.id and e.text("type") == "rented"]
    known = [e for e in known if e.text("terms") == "on_demand" and e.has(PATH)]
    found = [e for e in known if e.text("date")[:4] >= SINCE] or known
    if not found:
        return None
    ranked = sorted(found, key=lambda e: (e.number(PATH).value, e.id))
    return Listing(ranked[(len(ranked) - 1) // 2], ranked[0], ranked[-1], len(ranked))


def rented(n: Numbers, zoo: Zoo, hardware: Entry, given: float | None) -> Listing | None:
    """Read the price of an accelerator-hour, symbol ``price``, as given or from the zoo.

    Raises:
        CallError: no price given and none in the zoo; names what to set.
    """
    if given is not None:
        n.you("price", given, "USD/h")
        return None
    found = listing(zoo, hardware)
    if found is None:
        ownable = bool(rated_path(hardware)) and (bool(_bought(zoo, hardware)) or hardware.has("price.purchase"))
        others = "or owned, since its purchase price is known" if ownable else f"or hardware with one: {_some(zoo)}"
        raise CallError(
            "usd_per_hour",
            f"the zoo has no rental price of {hardware.name}; give usd_per_hour, {others}.",
            repair={"owned": True} if ownable else {"usd_per_hour": 2},
        )
    n.zoo("price", found.taken, PATH, "USD/h")
    return found


def owned(n: Numbers, zoo: Zoo, hardware: Entry) -> None:
    """Read what an owned accelerator costs: purchase, the server's and links' shares, life, upkeep, electricity, hosting.

    Raises:
        CallError: no purchase price or no rated power in the zoo; names what to give instead.
    """
    bought = _bought(zoo, hardware)
    rated = rated_path(hardware)
    if not rated or (not bought and not hardware.has("price.purchase")):
        missing = "purchase price" if rated else "rated power"
        raise CallError(
            "owned", f"the zoo has no {missing} of {hardware.name}; give usd_per_hour.", repair={"owned": False}
        )
    if bought:
        n.zoo("chip", bought[-1], "usd", "USD")
    else:
        n.zoo("chip", hardware, "price.purchase", "USD")
    for symbol, id in SHARES.items():
        n.zoo(symbol, zoo.get("prices", id), "value", "")
    resolve_power(n, hardware, rated, None)
    n.assumed("life", 5 * YEAR, 3 * YEAR, 6 * YEAR, "s", source="dep")
    n.zoo("upkeep", zoo.get("prices", "opex-maintenance"), "value", "1/year")
    n.assumed("pue", 1.2, 1.08, 1.56)
    n.zoo("electricity", zoo.get("prices", "electricity-us-industrial-2024"), "usd_per_kwh", "USD/kWh")
    n.zoo("hosting", zoo.get("prices", "colo-rate"), "value", "USD/kW/month")


def api(zoo: Zoo, model: Entry) -> Entry | None:
    """Return the middle list price of a model's tokens (by the price of output, the lower of two)."""
    known = [e for e in zoo.entries("prices") if e.text("model") == model.id and e.has("input") and e.has("output")]
    known.sort(key=lambda e: (e.number("output").value, e.id))
    return known[(len(known) - 1) // 2] if known else None


def _bought(zoo: Zoo, hardware: Entry) -> list[Entry]:
    """Return the purchase prices of an accelerator, oldest first."""
    found = [e for e in zoo.entries("prices") if e.text("hardware") == hardware.id and e.text("type") == "bought"]
    return sorted(found, key=lambda e: (e.text("date"), e.number("usd").value))


def _some(zoo: Zoo) -> str:
    """Name some accelerators that the zoo has a rental price of."""
    priced = {e.text("hardware") for e in zoo.entries("prices") if e.text("terms") == "on_demand"} - {""}
    return ", ".join(sorted(priced, key=lambda id: ("sxm" not in id, id))[:5])
