"""Reading a Hugging Face ``config.json``: fields by any of their names, errors that say which is missing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mlwalls.zoo.entry import ZooError

SOURCE = "you"
COUNTED = "counted from the configuration"


class ConfigError(ZooError):
    """The configuration lacks a field, or is of an architecture that has no entry form."""


class Config:
    """The fields of a configuration; `type` is its model_type, for messages."""

    def __init__(self, data: Mapping[str, Any], type: str) -> None:
        self._data, self._type = data, type

    def first(self, *names: str, default: Any = None) -> Any:
        """Return the first field that is there."""
        for name in names:
            if self._data.get(name) is not None:
                return self._data[name]
        return default

    def count(self, *names: str, default: int | None = None) -> int:
        """Return the first field that is there, a whole number.

        Raises:
            ConfigError: none is there, or it is no whole number.
        """
        value = self.first(*names, default=default)
        if not isinstance(value, int) or isinstance(value, bool) or value < 0:
            found = "is missing" if value is None else f"is {value!r}"
            raise ConfigError(f"config.json ({self._type}): {names[0]} {found}; expected a whole number")
        return value


def derived(count: float, note: str = COUNTED) -> dict[str, Any]:
    """Return a number of an entry that was counted from the configuration."""
    return {"value": float(count), "source": SOURCE, "basis": "derived", "note": note}
