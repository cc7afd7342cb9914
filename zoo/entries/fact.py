"""Kinds whose entries are a few named measurements: fabrics, storage, prices, reliability, datasets, studies and the like.

Every number names its own unit, since these kinds mix many; names say what is measured (``bandwidth``, ``usd_per_hour``).
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from mlwalls.zoo.entries.base import CitedNumber, EntryModel, quantity


class Measured(CitedNumber):
    """A cited number with its unit."""

    unit: str = Field(default="", max_length=60, description="Unit; empty for counts and ratios.")


Measures = dict[Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")], Measured]


class Fact(EntryModel):
    """One thing with named measurements."""

    type: str = Field(max_length=40, description="What sort of entry of its kind.")
    hardware: str | None = Field(default=None, description="Zoo id of the accelerator that it is about.")
    date: str | None = Field(default=None, max_length=20, description="When the figures held, for prices.")
    measures: Measures = Field(min_length=1)


class Datacenter(Fact):
    """A building or fleet: power and water usage effectiveness."""

    kind: Literal["datacenters"]
    grid: str | None = Field(default=None, description="Zoo id of the grid that feeds it.")


class Fabric(Fact):
    """Links and networks, rates in one direction."""

    kind: Literal["fabrics"]


class Storage(Fact):
    """Storage media and services, and decode rates."""

    kind: Literal["storage"]


class Price(Fact):
    """Dated prices: rented, bought, per token."""

    kind: Literal["prices"]
    terms: Literal["on_demand", "spot", "reserved", "block", "marketplace"] | None = Field(
        default=None, description="How it is rented."
    )
    model: str | None = Field(default=None, description="Zoo id of the model whose tokens are sold.")


class Reliability(Fact):
    """Failures and goodput of fleets and components."""

    kind: Literal["reliability"]


class Embodied(Fact):
    """Carbon and water of manufacture, and published training footprints."""

    kind: Literal["embodied"]


class Dataset(Fact):
    """Training data: samples, tokens, bytes."""

    kind: Literal["datasets"]


class Study(Fact):
    """Findings of papers and model cards that solvers use: scaling laws, accuracy of quantized models."""

    kind: Literal["studies"]


class Grid(EntryModel):
    """The electricity of a place: carbon intensity with year and accounting method; other figures beside the preferred one."""

    kind: Literal["grids"]
    type: Literal["country", "state", "province", "bidding_zone", "cloud_region"]
    location: str | None = None
    within: str | None = Field(default=None, description="Zoo id of the larger place whose grid this is part of.")
    method: Literal["lifecycle", "direct", "location_hourly_average"] = Field(
        description="What carbon_intensity counts; figures of different methods are not to be compared silently."
    )
    carbon_intensity: CitedNumber | None = quantity("g/kWh", 0, 2000)
    low_carbon_share: CitedNumber | None = quantity("", 0, 1)
    hydro_share: CitedNumber | None = quantity("", 0, 1)
    carbon_free_share: CitedNumber | None = quantity("", 0, 1)
    electricity_price: CitedNumber | None = quantity("USD/kWh", 0, 2)
    measures: Measures = Field(default_factory=dict, description="Other published figures, by name.")
