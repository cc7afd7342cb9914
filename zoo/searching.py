"""Search over the zoo: words, numeric filters, sorting; compact rows with units in the names."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from mlwalls.zoo.entry import Entry, Number, UnknownName, ZooError
from mlwalls.zoo.names import key, words

if TYPE_CHECKING:
    from mlwalls.zoo.loader import Zoo

_UNITS = {
    "byte": ("gb", 1e9),
    "byte/s": ("gb_per_s", 1e9),
    "FLOP/s": ("tflop_per_s", 1e12),
    "FLOP": ("gflop", 1e9),
}
# Units that the name says already, or that are counts.
_UNSAID = frozenset({"year", "accelerator", "pixel", "GB as printed", "months", ""})
_HEADLINES = {
    "hardware": ("peak.bf16", "peak.fp16", "memory.capacity", "memory.bandwidth", "power.tdp"),
    "models": ("parameters", "active_parameters", "config.layers", "config.max_context", "sample.flops"),
}
# What people call a number.
_CALLED = {
    "memory": "memory.capacity",
    "vram": "memory.capacity",
    "capacity": "memory.capacity",
    "bandwidth": "memory.bandwidth",
    "tdp": "power.tdp",
    "power": "power.tdp",
    "price": "price.purchase",
    "flops": "peak.bf16",
    "size": "parameters",
    "layers": "config.layers",
    "context": "config.max_context",
    "intensity": "carbon_intensity",
}
# Words that say which kind is meant rather than which entry.
_KINDS = {
    word: kind
    for kind, said in {
        "hardware": "hardware gpu gpus accelerator accelerators chip chips card cards",
        "models": "model models llm llms",
        "grids": "grid grids carbon intensity electricity co2",
        "datacenters": "datacenter datacenters water",
        "fabrics": "fabric fabrics network interconnect",
        "storage": "storage disk disks",
        "prices": "price prices cost costs rent rental usd hour hourly",
        "reliability": "reliability failure failures mtbf mttf",
        "embodied": "embodied manufacturing",
        "datasets": "dataset datasets",
        "studies": "study studies accuracy",
    }.items()
    for word in said.split()
}
_FILLING = frozenset(
    "a an the of for in on with and or per most best all what which how much many does do is are has "  # noqa: SIM905
    "have can i me my show list find give tell about speed specs".split()
)
# Texts without which a figure of that kind says too little.
_SAID = {"grids": ("method", "location"), "prices": ("date", "terms")}
_MULTIPLES = {"": 1.0, "k": 1e3, "m": 1e6, "b": 1e9, "g": 1e9, "t": 1e12}
_FILTER = re.compile(r"\s*([A-Za-z_0-9.]+)\s*(>=|<=|==|=|>|<)\s*([-+]?[0-9.]+(?:[eE][-+]?\d+)?)\s*([kKmMbBgGtT]?)\s*$")
_COMPARE = {
    ">=": lambda a, b: a >= b,
    "<=": lambda a, b: a <= b,
    "==": lambda a, b: a == b,
    "=": lambda a, b: a == b,
    ">": lambda a, b: a > b,
    "<": lambda a, b: a < b,
}


@dataclass(frozen=True, slots=True)
class Found:
    """Rows of a search, how many entries matched in all, and the nearest ids where none did."""

    rows: list[dict[str, Any]]
    total: int
    nearest: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Key:
    """A number that rows are filtered or sorted by: where it stands and what one of the unit asked for is."""

    path: str
    factor: float

    def of(self, entry: Entry) -> float | None:
        return entry.number(self.path).value / self.factor if entry.has(self.path) else None


def shown_name(path: str, number: Number) -> tuple[str, float]:
    """Return the name of a number in a row, with its unit, and the value in that unit."""
    suffix, factor = _UNITS.get(number.unit, ("", 1.0))
    name = path.replace(".", "_")
    if not suffix and number.unit not in _UNSAID:
        suffix = re.sub(r"[^a-z0-9]+", "_", number.unit.lower().replace("/", "_per_")).strip("_")
        if suffix.split("_")[0] in name.split("_"):
            suffix = ""
    return (f"{name}_{suffix}" if suffix else name), number.value / factor


def search(zoo: Zoo, query: str, kind: str, where: Sequence[str], sort: str, descending: bool, limit: int) -> Found:
    """Return rows of the entries whose words contain the query's and whose numbers pass every filter.

    A number goes by its name in the rows, with or without unit, by its path in the entry (then in SI), or by what people call
    it. Without a sort key entries that bear the query as their name come first.

    Raises:
        ZooError: a filter is not of the form ``name >= number``.
        UnknownName: a filter or the sort key names no number of these entries.
    """
    filters = [_parsed(text) for text in where]
    found = _worded(zoo, query, (kind,) if kind else zoo.kinds)
    if not found and query:
        return Found([], 0, _nearest(zoo, query, (kind,) if kind else zoo.kinds))
    entries = found or [entry for k in ((kind,) if kind else zoo.kinds) for entry in zoo.entries(k)]
    known = _keys(entries)
    tests = [(_key_of(name, known), op, value) for name, op, value in filters]
    kept = [e for e in entries if all((v := k.of(e)) is not None and _COMPARE[op](v, x) for k, op, x in tests)]
    asked = [k for k, _, _ in tests]
    if sort:
        by = _key_of(sort, known)
        asked.append(by)
        ranked = [(value, e) for e in kept if (value := by.of(e)) is not None]
        kept = [e for _, e in sorted(ranked, key=lambda pair: pair[0], reverse=descending)]
    elif query:
        kept.sort(key=lambda e: _rank(query, e, zoo.kinds))
    return Found([_row(entry, [k.path for k in asked]) for entry in kept[:limit]], len(kept))


def _parsed(text: str) -> tuple[str, str, float]:
    match = _FILTER.match(text)
    try:
        if match is None:
            raise ValueError
        return match[1], match[2], float(match[3]) * _MULTIPLES[match[4].lower()]
    except ValueError:
        raise ZooError(f"{text!r} is not a filter; write e.g. 'memory_capacity_gb >= 80'") from None


def _keys(entries: Iterable[Entry]) -> dict[str, _Key]:
    """Every name by which a number of these entries can be asked for; the name in the rows wins."""
    shown: dict[str, _Key] = {}
    bare: dict[str, _Key] = {}
    for entry in entries:
        for path, number in entry.numbers():
            name = shown_name(path, number)[0]
            if name not in shown:
                shown[name] = _Key(path, _UNITS.get(number.unit, ("", 1.0))[1])
                bare.setdefault(path.replace(".", "_"), shown[name])
                bare.setdefault(path, _Key(path, 1.0))
    called = {word: bare[p.replace(".", "_")] for word, p in _CALLED.items() if p.replace(".", "_") in bare}
    return {**called, **bare, **shown}


def _key_of(name: str, known: dict[str, _Key]) -> _Key:
    try:
        return known[name.lower()]
    except KeyError:
        near = get_close_matches(name.lower(), [k for k in known if "." not in k], 4, 0.4)
        raise UnknownName("numbers", name, tuple(near)) from None


def _worded(zoo: Zoo, query: str, kinds: Sequence[str]) -> list[Entry]:
    """Entries that say every word of the query; failing that, words that name a kind choose it and fillers are dropped."""
    wanted = words(query)
    if not wanted:
        return []
    own = {entry: _own_words(entry) for k in kinds for entry in zoo.entries(k)}
    found = [entry for entry, said in own.items() if _says(said, wanted)]
    if found:
        return found
    meant = {_KINDS[w] for w in wanted if w in _KINDS} & set(kinds) or set(kinds)
    rest = [w for w in wanted if w not in _KINDS and w not in _FILLING and w not in _CALLED]
    if not rest and meant == set(kinds):
        return []
    return [entry for entry, said in own.items() if entry.kind in meant and _says(said, rest)]


def _own_words(entry: Entry) -> frozenset[str]:
    texts = (entry.text("vendor"), entry.text("developer"), entry.text("family"), entry.text("type"))
    return frozenset(words(" ".join((entry.id.replace("-", " "), entry.id, entry.name, *entry.aliases, *texts))))


def _says(own: frozenset[str], wanted: Iterable[str]) -> bool:
    return all(w in own or (w.isalpha() and len(w) > 2 and any(o.startswith(w) for o in own)) for w in wanted)


def _rank(query: str, entry: Entry, kinds: Sequence[str]) -> tuple[int, int, int, str]:
    named = key(query) in {key(name) for name in (entry.id, entry.name, *entry.aliases)}
    return 0 if named else 1, kinds.index(entry.kind), len(set(words(entry.id)) - set(words(query))), entry.id


def _nearest(zoo: Zoo, query: str, kinds: Sequence[str]) -> tuple[str, ...]:
    scores = {
        id: score + (10 if kind in _HEADLINES else 0) for kind in kinds for id, score in zoo.alike(kind, query).items()
    }
    return tuple(sorted(scores, key=lambda id: (-scores[id], id))[:5])


def _row(entry: Entry, asked: Sequence[str]) -> dict[str, Any]:
    row: dict[str, Any] = {"kind": entry.kind, "id": entry.id, "name": entry.name}
    headlines = _HEADLINES.get(entry.kind)
    chosen = [p for p, _ in entry.numbers()][:4] if headlines is None else list(headlines)
    unverified = []
    for path in dict.fromkeys([*chosen, *asked]):
        if entry.has(path):
            number = entry.number(path)
            name, value = shown_name(path, number)
            row[name] = _plain(value)
            if not number.checked:
                unverified.append(name)
    row |= {name: said for name in _SAID.get(entry.kind, ()) if (said := entry.text(name))}
    if entry.kind == "grids" and (year := next((n.year for _, n in entry.numbers() if n.year), "")):
        row["year"] = year
    if unverified:
        row["unverified"] = unverified
    return row


def _plain(value: float) -> float | int:
    """Whole numbers as such, others with six digits."""
    if float(value).is_integer() and abs(value) < 1e15:
        return int(value)
    return float(f"{value:.6g}")
