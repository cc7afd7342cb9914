"""What an accelerator costs to rent: dated listings of the zoo, one taken and the range of the others beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mlwalls.solvers.errors import CallError
from mlwalls.solvers.numbers import Numbers
from mlwalls.zoo import Entry, Zoo

# Listings older than this are taken only where there are no newer ones.
SINCE = "2025"
PATH = "usd_per_hour"


@dataclass(frozen=True, slots=True)
class Listing:
    """The listing that was taken, and the lowest and highest of the comparable ones."""

    taken: Entry
    low: float
    high: float

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
    prices = [float(e.number(PATH).value) for e in ranked]
    return Listing(ranked[(len(ranked) - 1) // 2], prices[0], prices[-1])


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
        raise CallError(
            "usd_per_hour",
            f"the zoo has no rental price of {hardware.name}; give usd_per_hour, or name hardware with one: "
            f"{', '.join(priced(zoo)[:6])}.",
            repair={"usd_per_hour": 2},
        )
    n.zoo("price", found.taken, PATH, "USD/h")
    return found


def priced(zoo: Zoo) -> Sequence[str]:
    """Return the accelerators that the zoo has a rental price of, in id order."""
    return sorted({e.text("hardware") for e in zoo.entries("prices") if e.text("terms") == "on_demand"} - {""})
