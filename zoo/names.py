"""Names as people type them: one resolver for tools, completions and the command.

An exact id, name or alias wins. Otherwise every word of the query must stand in the entry's own words; a bare
major version ("llama 3") also stands for its minor ones. A misspelling never resolves by itself: it gives the nearest.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from mlwalls.zoo.entry import Entry, Resolution, UnknownName

_WORDS = re.compile(r"\d+(?:\.\d+)*x\d+[bm]?|\d+(?:\.\d+)*(?:gib|gb|gig|g|b|m|k|e|p)?(?![a-z])|\d+(?:\.\d+)*|[a-z]+")
_IGNORED = frozenset(
    {"instruct", "chat", "it", "base", "hf", "the", "nvidia", "geforce", "tesla", "amd", "instinct", "google", "cloud"}
    | {"meta", "ai", "apple", "aws", "amazon", "intel", "gpu", "chip", "accelerator", "model"}
)

_PLACES = ("grids", "datacenters")
# Names whose entry is kept for the next time.
_MOST = 512


def words(text: str) -> tuple[str, ...]:
    """Split a name into comparable words: ``"A100-80G"`` → ``("a", "100", "80gb")``."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    plain = re.sub(r"(\d)\s+(gib|gb|gig|b)\b", r"\1\2", plain)
    found = []
    for word in _WORDS.findall(plain):
        match = re.fullmatch(r"(\d[\d.]*)(gib|gb|gig|g)", word)
        found.append(f"{match[1]}gb" if match else word)
    return tuple(found)


def key(text: str) -> str:
    """Return what two spellings of the same name have in common."""
    return "".join(words(text))


def _significant(text: str, ignored: frozenset[str]) -> tuple[str, ...]:
    kept = tuple(w for w in words(text) if w not in ignored)
    return kept or words(text)


@dataclass(frozen=True, slots=True)
class _Known:
    entry: Entry
    keys: frozenset[str]
    words: frozenset[str]
    extra: int


class Names:
    """The names of one kind's entries."""

    def __init__(self, kind: str, entries: Sequence[Entry]) -> None:
        self._kind = kind
        # Whose cloud a place is in says which place it is.
        self._ignored: frozenset[str] = frozenset() if kind in _PLACES else _IGNORED
        self._known = [_known(entry, self._ignored) for entry in entries]
        self._exact: dict[str, _Known] = {}
        for known in self._known:
            for k in known.keys:
                self._exact.setdefault(k, known)
        self._resolved: dict[str, Resolution] = {}

    def resolve(self, text: str) -> Resolution:
        """Return the entry that `text` names.

        Raises:
            UnknownName: none, or the text says too little.
        """
        known = self._resolved.get(text)
        if known is None:
            known = self._resolve(text)
            if len(self._resolved) < _MOST:
                self._resolved[text] = known
        return known

    def _resolve(self, text: str) -> Resolution:
        wanted = _significant(text, self._ignored)
        exact = self._exact.get(key(text)) or self._exact.get("".join(wanted))
        if exact is not None and key(text) in (key(exact.entry.id), key(exact.entry.name)):
            return Resolution(exact.entry, text)
        matching = self._matching(wanted)
        if exact is None and not matching:
            raise UnknownName(self._kind, text, self.nearest(text))
        best = exact or matching[0]
        others = tuple(m.entry.id for m in matching if m is not best)
        note = ""
        if others and not _says_all(wanted, best, self._ignored):
            note = f"{text!r} taken as {best.entry.id}, not {others[0]}" + (" …" if len(others) > 1 else "")
        return Resolution(best.entry, text, note, others if note else ())

    def _matching(self, wanted: tuple[str, ...]) -> list[_Known]:
        if self._ignored.issuperset(wanted) or not any(w.isalpha() for w in wanted) or sum(len(w) for w in wanted) < 3:
            return []
        found = [k for k in self._known if all(_stands_in(w, k.words) for w in wanted)]
        return sorted(found, key=lambda k: (k.extra, k.entry.id))

    def nearest(self, text: str, limit: int = 5) -> tuple[str, ...]:
        """Return the ids whose names are nearest to `text`."""
        scores = self.alike(text)
        return tuple(sorted(scores, key=lambda id: (-scores[id], id))[:limit])

    def alike(self, text: str) -> dict[str, float]:
        """Return the ids whose names look like `text`, with how much, up to 100."""
        from rapidfuzz import fuzz

        typed = key(text)
        scores: dict[str, float] = {}
        for known in self._known:
            spelled = {key(name) for name in (known.entry.id, known.entry.name, *known.entry.aliases)}
            whole = max(fuzz.ratio(typed, name) for name in spelled)
            # Two letters, such as a country's, stand in most names.
            longer = [name for name in spelled if len(name) > 2] if len(typed) > 2 else []
            part = max((fuzz.partial_ratio(typed, name) for name in longer), default=0.0)
            scores[known.entry.id] = max(whole, 0.85 * part)
        return {id: score for id, score in scores.items() if score >= 50}

    def complete(self, prefix: str, limit: int) -> list[str]:
        """Return ids that contain the typed words' beginnings, those that start with it first."""
        typed = key(prefix)
        found = [k.entry.id for k in self._known if any(typed in key(n) for n in (k.entry.id, k.entry.name))]
        return sorted(found, key=lambda i: (not key(i).startswith(typed), i))[:limit]


def _known(entry: Entry, ignored: frozenset[str]) -> _Known:
    names = (entry.id, entry.name, *entry.aliases)
    keys = frozenset(k for name in names for k in (key(name), "".join(_significant(name, ignored))))
    own = frozenset(w for name in names for w in words(name))
    return _Known(entry, keys, own, len(set(words(entry.id)) - ignored))


def _stands_in(word: str, known: Iterable[str]) -> bool:
    return any(word == w or (word.isdigit() and w.startswith(word + ".")) for w in known)


def _says_all(wanted: tuple[str, ...], known: _Known, ignored: frozenset[str]) -> bool:
    """Whether the query says everything that the entry's id says."""
    return set(_significant(known.entry.id, ignored)) <= set(wanted)
