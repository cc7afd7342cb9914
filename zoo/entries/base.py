"""The building blocks of entry models: a cited number with its unit, and blocks of them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator


class Block(BaseModel):
    """A mapping that knows all its fields."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class CitedNumber(Block):
    """One number with its source; its unit is the field's."""

    value: float = Field(strict=True, description="The number, in the unit of the field.")
    source: str = Field(description="Id in the bibliography.")
    checked: bool = Field(default=True, description="Whether somebody read the number in that source.")
    basis: Literal["published", "derived", "estimate"] = Field(
        default="published", description="derived and estimate say in the note from what."
    )
    note: str = Field(default="", max_length=400)
    year: str = ""

    @model_validator(mode="before")
    @classmethod
    def _year_as_text(cls, data: Any) -> Any:
        if isinstance(data, dict) and isinstance(data.get("year"), int):
            data = {**data, "year": str(data["year"])}
        return data

    @model_validator(mode="after")
    def _says_from_what(self) -> CitedNumber:
        if self.basis != "published" and not self.note:
            raise ValueError(f"basis {self.basis!r} needs a note that says from what")
        return self


class CitedBlock(Block):
    """Plain numbers that all come from one source."""

    source: str = Field(description="Id in the bibliography, for all plain numbers of this block.")
    checked: bool = True


def quantity(unit: str, low: float | None = None, high: float | None = None) -> Any:
    """Declare a cited number's unit and the range that is physically sensible."""
    extra: dict[str, Any] = {"x-unit": unit}
    if low is not None:
        extra["x-minimum"] = low
    if high is not None:
        extra["x-maximum"] = high
    return Field(default=None, json_schema_extra=extra)


Cited = CitedNumber | None
Count = Annotated[int, Field(ge=0, strict=True)] | None


class EntryModel(Block):
    """What every entry has."""

    kind: str
    id: str = Field(pattern=r"^[a-z0-9][a-z0-9.\-]*$", max_length=60)
    name: str = Field(min_length=1, max_length=100)
    aliases: list[str] = Field(default_factory=list, description="Other names people type; each leads here first.")
    notes: list[Annotated[str, Field(max_length=400)]] = Field(default_factory=list)
