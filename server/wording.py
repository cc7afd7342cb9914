"""The words of a question: which are known here, what a misspelt one was meant to be, and what a call has not taken up."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache, lru_cache
from typing import Any

from mlwalls import prompts
from mlwalls.server.linking import families
from mlwalls.server.retrieval import stem, vocabulary
from mlwalls.zoo import Zoo

# Whole words; `doesn` of "doesn't" is none.
_WORD = re.compile(r"(?<![\w.\-])[a-z]{3,}(?![\w\-]|['’]t\b)")
# Words this long are read as the known one that is one letter away, longer ones that is two away; in short ones no letter
# may stand for another (`loud` is not `load`), only be missing, doubled or swapped.
_SHORTEST, _REPLACED, _LONG = 4, 7, 9


@cache
def _beginnings() -> tuple[str, ...]:
    """Return the beginnings of words that rules know with any ending: `efficien` of `efficien\\w*`."""
    return tuple({part for text in _patterns() for part in re.findall(r"([a-z]{3,})\\w[*+]", text)})


def _patterns() -> Iterator[str]:
    rules = prompts.meanings()
    yield from (*rules["classes"].values(), *rules["own_words"].values())
    for rule in (*rules["meanings"], *rules["said"]):
        for name in ("if", "unless"):
            given = rule.get(name, ())
            yield from ([given] if isinstance(given, str) else given)


@cache
def _listed() -> frozenset[str]:
    """Return the words of the rules and of plain English, and their stems."""
    found = set(prompts.meanings()["plain"].split())
    for text in _patterns():
        whole = re.sub(r"[a-z]{3,}\\w[*+]", " ", text)
        found.update(re.findall(r"[a-z]{3,}", re.sub(r"\\[a-z]", " ", whole)))
    found.update(_strings(prompts.routes()))
    return frozenset(found | {stem(word) for word in found})


def _strings(value: Any) -> Iterator[str]:
    """Yield the words of all texts in a value, but for its keys."""
    if isinstance(value, str):
        yield from re.findall(r"[a-z]{3,}", value.lower())
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _strings(item)
    elif isinstance(value, list):
        for item in value:
            yield from _strings(item)


@lru_cache(maxsize=8)
def _names(zoo: Zoo) -> frozenset[str]:
    """Return the words that names of the zoo are made of."""
    entries = (e for kind in ("models", "hardware", "grids") for e in zoo.entries(kind))
    text = " ".join(word for e in entries for word in (e.id, e.name, *e.aliases)).lower()
    return frozenset(re.findall(r"[a-z]{3,}", text)) | families(zoo)


def is_known(word: str, zoo: Zoo) -> bool:
    """Whether a word stands in a phrase, a rule, plain English or a name."""
    stems = {word, stem(word)}
    return bool(word.startswith(_beginnings()) or stems & _listed() or stems & vocabulary() or stems & _names(zoo))


def unknown(text: str, zoo: Zoo) -> list[str]:
    """Return the words of a sentence that nothing here knows."""
    return [word for word in dict.fromkeys(_WORD.findall(text.lower())) if not is_known(word, zoo)]


def spelled_right(text: str, zoo: Zoo) -> tuple[str, dict[str, str]]:
    """Return the sentence with misspelt words as the only known word that is a letter away, and which those were."""
    found: dict[str, str] = {}
    for word in unknown(text, zoo):
        if len(word) < _SHORTEST:
            continue
        from rapidfuzz import process
        from rapidfuzz.distance import OSA

        most = 1 if len(word) < _LONG else 2
        words = [w for w in _choices(zoo) if abs(len(w) - len(word)) <= most and w[0] == word[0]]
        near = process.extract(word, words, scorer=OSA.distance, score_cutoff=most, limit=4)
        best = [w for w, distance, _ in near if distance == near[0][1]]
        if len(word) < _REPLACED:
            best = [w for w in best if len(w) != len(word) or sorted(w) == sorted(word)]
        if best and len({stem(w) for w in best}) == 1:
            found[word] = best[0]
            text = re.sub(rf"(?<![\w.\-]){word}(?![\w\-])", best[0], text, flags=re.IGNORECASE)
    return text, found


@lru_cache(maxsize=8)
def _choices(zoo: Zoo) -> tuple[str, ...]:
    words = _listed() | families(zoo)
    return tuple(sorted(w for w in words if len(w) >= _SHORTEST and w.isalpha()))


def is_ruled(tool: str) -> bool:
    """Whether the rules speak of a tool: of one that another package brings they know nothing."""
    return tool in prompts.meanings()["examples"]


def left_out(tool: str, arguments: Mapping[str, Any], assumed: set[str], text: str) -> Iterator[str]:
    """Yield what the sentence says and the call has no argument for, by the rules under `said`."""
    if not is_ruled(tool):
        return
    inner = dict(given.split("=", 1) for given in arguments.get("scenario", ()))
    taking = str(arguments.get("tool", tool))
    given = {k for k in arguments if k not in assumed} | set(inner)
    for rule in prompts.meanings()["said"]:
        match = pattern(rule["if"]).search(text)
        if match is None or ("unless" in rule and pattern(rule["unless"]).search(text)):
            continue
        takers = rule["taken"]
        if any(takers.get(name) == "all" or given & set(takers.get(name, ())) for name in (tool, taking)):
            continue
        yield match[0].strip()


@cache
def pattern(text: str) -> re.Pattern[str]:
    """Return a rule's pattern, with its classes of words put in."""
    for name, words in prompts.meanings()["classes"].items():
        text = text.replace(f"@{name}", f"(?:{words})")
    return re.compile(text)
