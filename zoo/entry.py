"""What the zoo hands out: entries, their numbers with origin, and the sources those resolve to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

Basis = Literal["published", "derived", "estimate"]


class ZooError(Exception):
    """Something in the zoo is wrong or missing; says what and where."""


class UnknownName(ZooError):
    """No entry has this name.

    Attributes:
        kind, given: what was looked up.
        nearest: ids of the nearest entries, best first.
    """

    def __init__(self, kind: str, given: str, nearest: tuple[str, ...]) -> None:
        self.kind, self.given, self.nearest = kind, given, nearest
        hint = f" Nearest: {', '.join(nearest)}." if nearest else ""
        super().__init__(f"{given!r} is not in the zoo of {kind}.{hint}")


@dataclass(frozen=True, slots=True)
class Number:
    """One cited number, in SI units (`unit` is empty for counts and ratios)."""

    value: float | int
    unit: str
    source: str
    checked: bool = True
    basis: Basis = "published"
    note: str = ""
    year: str = ""


@dataclass(frozen=True, slots=True)
class Source:
    """One work of the bibliography."""

    id: str
    title: str
    url: str
    year: str = ""
    license: str = ""
    checked: bool = True


class Entry:
    """One thing of the zoo. Paths are dotted: ``memory.bandwidth``, ``config.layers``."""

    __slots__ = ("_record", "id", "kind")

    def __init__(self, kind: str, id: str, record: Mapping[str, Any]) -> None:
        self.kind, self.id, self._record = kind, id, record

    @property
    def name(self) -> str:
        """The name as its maker writes it."""
        return str(self._record["name"])

    @property
    def aliases(self) -> tuple[str, ...]:
        """Other names that people type for it, and for it before any other entry."""
        return tuple(self._record.get("aliases", ()))

    @property
    def data(self) -> dict[str, Any]:
        """The entry as nested plain data."""
        nested: dict[str, Any] = {"id": self.id, "name": self.name, "aliases": list(self.aliases)}
        for path, text in {**self._record["texts"], **self._record["flags"]}.items():
            _put(nested, path, text)
        for path, number in self.numbers():
            leaf = {"value": number.value, "unit": number.unit, "source": number.source, "checked": number.checked}
            if number.basis != "published":
                leaf["basis"] = number.basis
            leaf |= {k: v for k, v in (("note", number.note), ("year", number.year)) if v}
            _put(nested, path, leaf)
        return nested

    def has(self, path: str) -> bool:
        """Tell whether the entry says anything at `path`."""
        record = self._record
        return path in record["numbers"] or path in record["texts"] or path in record["flags"]

    def number(self, path: str) -> Number:
        """Return the number at `path`.

        Raises:
            ZooError: the entry has none there.
        """
        try:
            return Number(*self._record["numbers"][path])
        except KeyError:
            raise ZooError(f"{self.kind} {self.id} has no number {path!r}") from None

    def numbers(self) -> Iterator[tuple[str, Number]]:
        """Yield every (path, number)."""
        for path, packed in self._record["numbers"].items():
            yield path, Number(*packed)

    def text(self, path: str, default: str = "") -> str:
        """Return the text at `path`, or `default`."""
        return str(self._record["texts"].get(path, default))

    def flag(self, path: str) -> bool:
        """Return the yes or no at `path`; absent is no."""
        return bool(self._record["flags"].get(path, False))

    def __repr__(self) -> str:
        return f"Entry({self.kind}/{self.id})"


def _put(nested: dict[str, Any], path: str, leaf: Any) -> None:
    *parents, last = path.split(".")
    for parent in parents:
        nested = nested.setdefault(parent, {})
    nested[last] = leaf


@dataclass(frozen=True, slots=True)
class Resolution:
    """What a name was taken for; `note` says so where it could have meant others."""

    entry: Entry
    given: str
    note: str = ""
    others: tuple[str, ...] = ()
