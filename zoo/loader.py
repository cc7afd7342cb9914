"""The zoo: entries by kind, read lazily from compiled JSON; user directories and inline entries over it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from mlwalls.zoo.entry import Entry, Resolution, Source, UnknownName, ZooError
from mlwalls.zoo.names import Names

if TYPE_CHECKING:
    from mlwalls.zoo.searching import Found

_HERE = Path(__file__).parent
COMPILED = _HERE / "compiled"
KINDS = (
    "hardware",
    "models",
    "grids",
    "datacenters",
    "fabrics",
    "storage",
    "prices",
    "reliability",
    "embodied",
    "datasets",
    "studies",
)
Records = Mapping[str, Mapping[str, Any]]
_BUILTIN: list[Zoo] = []


class Zoo:
    """The built-in facts, or those with a user's laid over them. Nothing is read before it is asked for."""

    def __init__(
        self, over: Mapping[str, Records] | None = None, sources: Mapping[str, Mapping[str, Any]] | None = None
    ) -> None:
        self._over = over or {}
        self._over_sources = sources or {}
        self._entries: dict[str, dict[str, Entry]] = {}
        self._names: dict[str, Names] = {}

    @classmethod
    def builtin(cls) -> Zoo:
        """Return the built-in zoo, one for the whole process."""
        if not _BUILTIN:
            _BUILTIN.append(cls())
        return _BUILTIN[0]

    @classmethod
    def layered(cls, directories: Iterable[Path]) -> Self:
        """Return the built-in zoo with the entries of user directories over it, later ones winning.

        Raises:
            ZooError: every problem in them, one a line: ``file:line: field: what, and what is expected``.
        """
        from mlwalls.zoo.authoring import read_directories

        over, sources = read_directories(directories)
        return cls(over, sources)

    def with_inline(self, text: str) -> Zoo:
        """Return this zoo with the entries of a YAML or JSON text (each with its `kind`) over it.

        Raises:
            ZooError: as for directories, with ``inline`` for the file.
        """
        from mlwalls.zoo.authoring import read_inline

        over, sources = read_inline(text)
        merged = {k: {**self._over.get(k, {}), **over.get(k, {})} for k in {*self._over, *over}}
        return Zoo(merged, {**self._over_sources, **sources})

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of entries, in a fixed order."""
        return KINDS

    def _kind(self, kind: str) -> dict[str, Entry]:
        if kind not in self._entries:
            if kind not in KINDS:
                raise UnknownName("kinds", kind, KINDS)
            path = COMPILED / f"{kind}.json"
            records: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
            records |= self._over.get(kind, {})
            self._entries[kind] = {id: Entry(kind, id, record) for id, record in sorted(records.items())}
        return self._entries[kind]

    def entries(self, kind: str) -> Sequence[Entry]:
        """Return all entries of a kind, in id order."""
        return list(self._kind(kind).values())

    def get(self, kind: str, id: str) -> Entry:
        """Return the entry with exactly this id.

        Raises:
            UnknownName: there is none.
        """
        try:
            return self._kind(kind)[id]
        except KeyError:
            raise UnknownName(kind, id, self._names_of(kind).nearest(id)) from None

    def contains(self, kind: str, id: str) -> bool:
        """Tell whether an entry has exactly this id."""
        return id in self._kind(kind)

    def _names_of(self, kind: str) -> Names:
        if kind not in self._names:
            self._names[kind] = Names(kind, self.entries(kind))
        return self._names[kind]

    def resolve(self, kind: str, text: str) -> Resolution:
        """Return the entry that a typed name means, with a note where it could mean several.

        Raises:
            UnknownName: no entry has that name; carries the nearest ids.
        """
        entry = self._kind(kind).get(text)
        return Resolution(entry, text) if entry is not None else self._names_of(kind).resolve(text)

    def alike(self, kind: str, text: str) -> dict[str, float]:
        """Return the ids of a kind whose names look like `text`, with how much, up to 100."""
        return self._names_of(kind).alike(text)

    def complete(self, kind: str, prefix: str, limit: int = 100) -> list[str]:
        """Return ids for a typed beginning, best first."""
        return self._names_of(kind).complete(prefix, limit)

    def search(
        self,
        query: str = "",
        kind: str = "",
        where: Sequence[str] = (),
        sort: str = "",
        descending: bool = False,
        limit: int = 10,
    ) -> Found:
        """Return compact rows of the entries that match; see :mod:`mlwalls.zoo.searching`."""
        from mlwalls.zoo.searching import search

        return search(self, query, kind, where, sort, descending, limit)

    @cached_property
    def _sources(self) -> Mapping[str, Mapping[str, Any]]:
        built_in = json.loads((COMPILED / "sources.json").read_text(encoding="utf-8"))
        return {**built_in, **self._over_sources}

    @property
    def sources(self) -> Sequence[str]:
        """The ids of the bibliography."""
        return sorted(self._sources)

    def source(self, id: str) -> Source:
        """Return one work of the bibliography.

        Raises:
            UnknownName: no such id.
        """
        try:
            return Source(id, **self._sources[id])
        except KeyError:
            import difflib

            near = difflib.get_close_matches(id, list(self._sources), 5)
            raise UnknownName("sources", id, tuple(near)) from None


__all__ = ["COMPILED", "KINDS", "Zoo", "ZooError"]
