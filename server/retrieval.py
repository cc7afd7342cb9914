"""Which tool a question is for: the phrasings of ``prompts/routes.yaml`` and the tutorials, ranked by BM25."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Any

from mlwalls import prompts
from mlwalls.server.quantities import quantities
from mlwalls.server.written import written
from mlwalls.solvers.registry import BUILT_IN, solvers
from mlwalls.solvers.schemas import client_schema

_WORD = re.compile(r"[a-z][a-z0-9]*(?:[-/][a-z0-9]+)*|<[a-z_]+>")
_EMPTY = frozenset(
    "a an the of to in on at for with and or is are am be was it its this that these those my me i you your we our so as by "  # noqa: SIM905
    "does do did can could will would should shall may if then than there here have has had get gets got just please from "
    "into about per each any some s t not no".split()
)
_ASKING = frozenset({"what", "which", "why", "how", "who", "when", "much", "many"})


@dataclass(frozen=True, slots=True)
class Phrase:
    """One way to ask, and what it asks for: a tool, or a tutorial's own question."""

    text: str
    tool: str
    tutorial: int | None = None


@dataclass(frozen=True, slots=True)
class Hit:
    """A phrase that is near: its BM25 score, and the share of the question's words (by weight) that it has."""

    phrase: Phrase
    score: float
    share: float


def terms(text: str) -> list[str]:
    """Return a text's words as they are compared: stems, synonyms as one, pairs of neighbours, without empty words."""
    known = _synonyms()
    found: list[str] = []
    for word in _split(text.lower().replace("’", "'").replace("n't", "")):
        plain = known.get(word) or known.get(stem(word)) or stem(word)
        if word not in _EMPTY and plain not in found[-1:]:
            found.append(plain)
    return found + [f"{a} {b}" for a, b in pairwise(found)]


def _split(text: str) -> list[str]:
    """Return the words; a hyphenated one in its parts unless it is known as a whole."""
    found = []
    for word in _WORD.findall(text):
        known = word in _synonyms() or stem(word) in _synonyms() or word.startswith("<")
        found += [word] if known else re.split("[-/]", word)
    return found


def with_kinds(text: str) -> str:
    """Return a text (names taken out) with the kind of every number in its place."""
    for q in reversed(quantities(text)):
        text = f"{text[: q.start]} {f'<{q.kind}>' if q.kind else ''} {text[q.end :]}"
    return text


def _is_word(term: str) -> bool:
    return " " not in term and "<" not in term and term not in _ASKING


def stem(word: str) -> str:
    """Return a word without its ending."""
    for ending, least in (("ing", 4), ("ies", 3), ("ed", 4), ("es", 4), ("s", 3), ("ly", 4), ("e", 3)):
        if word.endswith(ending) and len(word) - len(ending) >= least and not word.endswith("ss"):
            return word[: -len(ending)]
    return word


@cache
def _synonyms() -> Mapping[str, str]:
    found = {}
    for name, words in prompts.routes()["synonyms"].items():
        for word in (name, *words):
            found[word] = name
            found.setdefault(stem(word), name)
    return found


@cache
def definition(tool: str) -> Mapping[str, Any]:
    """Return a tool's description and input schema: of one built in as written down, so that its module stays unread."""
    if tool in BUILT_IN:
        return written(tool)
    solver = solvers()[tool]
    return {"description": solver.question, "inputSchema": client_schema(solver.request)}


@cache
def phrases() -> tuple[Phrase, ...]:
    """Return every phrase: tools' questions and ways to ask, tutorials' questions."""
    found = []
    routes = prompts.routes()["tools"]
    for name in solvers():
        found.append(Phrase(definition(name)["description"].partition("?")[0], name))
        found += [Phrase(text, name) for text in routes.get(name, {}).get("asks", ())]
    found += [Phrase(text, "find_in_zoo") for text in routes["find_in_zoo"]["asks"]]
    for tutorial in prompts.load():
        tool = tutorial.answer().tool
        texts = (tutorial.question, *tutorial.data["ask"])
        found += [Phrase(text, tool, tutorial.number) for text in texts]
    return tuple(found)


class Index:
    """The phrases, indexed once."""

    def __init__(self) -> None:
        import bm25s

        self._phrases = phrases()
        self._terms = [terms(with_kinds(p.text)) for p in self._phrases]
        # How soon a repeated word saturates, and how much a phrase's length counts.
        self._bm25: Any = bm25s.BM25(method="lucene", k1=1.2, b=0.6)
        self._bm25.index(self._terms, show_progress=False)
        size = len(self._terms)
        seen = Counter(term for found in self._terms for term in set(found))
        self._weight = {t: math.log(1 + (size - n + 0.5) / (n + 0.5)) for t, n in seen.items()}
        self._unknown = math.log(1 + (size + 0.5) / 0.5)
        self._words: dict[str, set[str]] = {}
        for phrase, own in zip(self._phrases, self._terms, strict=True):
            self._words.setdefault(phrase.tool, set()).update(own)

    @property
    def words(self) -> frozenset[str]:
        """The words of all phrases."""
        return frozenset(self._weight)

    def hits(self, question: str) -> list[Hit]:
        """Return all phrases, nearest first."""
        asked = [t for t in terms(with_kinds(question)) if " " not in t or t in self._weight]
        if not asked:
            return []
        scores = self._bm25.get_scores(asked) if any(t in self._weight for t in asked) else [0.0] * len(self._phrases)
        weights = {t: self._weight.get(t, self._unknown) for t in asked if _is_word(t)}
        total = sum(weights.values())
        found = [
            Hit(p, float(score), sum(w for t, w in weights.items() if t in own) / total if total else 0.0)
            for p, own, score in zip(self._phrases, map(set, self._terms), scores, strict=True)
        ]
        return sorted(found, key=lambda hit: -hit.score)

    def share_of(self, tool: str, question: str) -> float:
        """Return the share (by weight) of a question's words that stand in any phrase of a tool."""
        weights = {t: self._weight.get(t, self._unknown) for t in terms(with_kinds(question)) if _is_word(t)}
        total = sum(weights.values())
        return sum(w for t, w in weights.items() if t in self._words.get(tool, ())) / total if total else 0.0


@cache
def vocabulary() -> frozenset[str]:
    """Return the words of all phrases, and their synonyms, as stems."""
    return frozenset(index().words | set(_synonyms()))


@cache
def index() -> Index:
    """Return the index of this process."""
    return Index()
