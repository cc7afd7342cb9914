"""Names in a sentence: zoo entries by their longest spelling, through the resolver that tools and completions use."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import lru_cache

from mlwalls.zoo import UnknownName, Zoo
from mlwalls.zoo.names import key

KINDS = ("models", "hardware", "grids")
_TOKEN = re.compile(r"[A-Za-zÀ-ÿ0-9][A-Za-zÀ-ÿ0-9.\-]*")
_MAX_WORDS = 6
# What stands in the text for a name that was taken out.
PLACES = {"models": "themodel", "hardware": "chip", "grids": "thegrid"}
_CHIPLIKE = re.compile(r"(?:[a-z]{1,7}-?\d[a-z0-9.]*|[a-z]+-\d[\w.\-]*b)", re.IGNORECASE)
_NOT_NAMES = re.compile(
    r"(?:[kb]v?\d?|batch-?\d+|tp-?\d+|pp\d+|(?:int|fp|bf|mxfp|nvfp|tf)-?\d+|top\d+|p\d+(?:\.\d+)?|q\d|t\d|w\d+a\d+|wh|co2e?"
    r"|(?:zero|stage)-?\d|b\d|mlp\d?|h2d|v\d|gen\d)",
    re.IGNORECASE,
)
_SIZED = re.compile(r"\d[bm]\b|\d-?x-?\d|\b(?:mini|large|small|medium|base|tiny|xl|huge)\b", re.IGNORECASE)
_SIZE = re.compile(r"\d+(?:\.\d+)?b", re.IGNORECASE)
_SMALL = frozenset(
    {"a", "an", "the", "i", "is", "in", "of", "on", "at", "or", "and", "to", "for", "by", "with", "m", "b", "t"}
)
_SHORT_PLACES = {"uk": "united-kingdom", "britain": "united-kingdom", "usa": "united-states", "holland": "netherlands"}
# Countries by codes that are no words, where they are written as codes.
_CODES = frozenset({"US", "UK", "FR", "PL", "SE", "ES", "NL", "CH", "AU", "BR", "CN", "JP", "KR"})
_APART = re.compile(r"[,;:!?()]| - ")
# Of words, not of names: `first-token`, but `pre-training`.
_HYPHEN = re.compile(
    r"(?<=[a-z]{3})(?<!over)(?<!nder)(?<!\bpre)(?<!\ball)(?<!elf)(?<!ulti)-(?=[a-z]{3})", re.IGNORECASE
)
_HARDWARE_FAMILIES = frozenset({"rtx", "gtx", "tpu", "cs", "gaudi", "dgx"})


@dataclass(slots=True)
class Linked:
    """What stands in a sentence: zoo ids by kind in order, names that look like chips or models but are not, the rest.

    `families`: names of which no size was said.
    """

    models: tuple[str, ...] = ()
    hardware: tuple[str, ...] = ()
    grids: tuple[str, ...] = ()
    unknown: list[tuple[str, tuple[str, ...]]] = field(default_factory=list)
    rest: str = ""
    families: tuple[str, ...] = ()

    def of(self, kind: str) -> tuple[str, ...]:
        """Return the ids of a kind."""
        found: tuple[str, ...] = getattr(self, kind)
        return found


@lru_cache(maxsize=8)
def _spellings(zoo: Zoo) -> dict[str, tuple[str, str]]:
    """Return whole spellings, each with what it names."""
    found: dict[str, tuple[str, str]] = {}
    places = {entry.id for entry in zoo.entries("grids")}
    for short, place in _SHORT_PLACES.items():
        if place in places:
            found[short] = ("grids", place)
    for kind in KINDS:
        for entry in zoo.entries(kind):
            names = [entry.id, entry.name, *entry.aliases]
            if kind == "grids":
                names += [re.sub(r"^(?:us|ca)-", "", entry.id)]
            for name in names:
                spelled = key(name)
                if len(spelled) >= 4 or (len(spelled) >= 2 and any(c.isdigit() for c in spelled)):
                    found.setdefault(spelled, (kind, entry.id))
    return found


@lru_cache(maxsize=8)
def families(zoo: Zoo) -> frozenset[str]:
    """Return the first words of the models' names: what makes `llama 9b` a name, and `llama` a family."""
    names = (name for entry in zoo.entries("models") for name in (entry.id, *entry.aliases))
    return frozenset(match[0].lower() for name in names if (match := re.match(r"[A-Za-z]{3,}", name)))


def link(question: str, zoo: Zoo) -> Linked:
    """Link a sentence. Longer spellings win; order of appearance is kept."""
    tokens = list(_TOKEN.finditer(question))
    found = Linked()
    named: list[tuple[int, int, str, str]] = []
    at = 0
    while at < len(tokens):
        longest = 1 if tokens[at].group().lower() in _SMALL else _MAX_WORDS  # `a 100 hour run` is no A100
        for size in range(min(longest, len(tokens) - at), 0, -1):
            start, end = tokens[at].start(), tokens[at + size - 1].end()
            text = question[start:end].rstrip(".")
            if size > 1 and _APART.search(text):
                continue
            hit = _spellings(zoo).get(key(text)) or _coded(text, question, zoo) or _named(_unplural(text), zoo)
            if hit is not None:
                named.append((start, end, *hit))
                at += size
                break
        else:
            _note_unknown(tokens, at, zoo, found)
            at += 1
    for kind in KINDS:
        setattr(found, kind, tuple(dict.fromkeys(id for _, _, k, id in named if k == kind)))
    rest = question
    for start, end, kind, id in reversed(named):
        rest = f"{rest[:start]} {'wafer' if id.startswith('cerebras') else PLACES[kind]} {rest[end:]}"
    pattern = re.compile(rf"\b(?:{'|'.join(sorted(families(zoo)))})\b", re.IGNORECASE)
    found.families = tuple(dict.fromkeys(word.lower() for word in pattern.findall(rest)))
    rest = pattern.sub(PLACES["models"], rest)
    rest = _HYPHEN.sub(" ", rest)
    found.rest = re.sub(r" {2,}", " ", rest)
    return found


def _coded(text: str, question: str, zoo: Zoo) -> tuple[str, str] | None:
    if text not in _CODES or question.isupper():
        return None
    return "grids", zoo.resolve("grids", text).entry.id


def _named(text: str, zoo: Zoo) -> tuple[str, str] | None:
    """Return the kind and id that a span names: spelled as an entry is, or by words that the resolver knows."""
    exact = _spellings(zoo).get(key(text))
    if exact is not None:
        return exact
    first = re.match(r"[A-Za-z]+", text)
    if re.search(r" \d{1,2}$", text) or _NOT_NAMES.fullmatch(text):
        return None  # `qwen2.5 32b 2 h100`: a count, not a part of the name
    if first is None or not any(c.isdigit() or c == "-" for c in text):
        return None
    family = first[0].lower()
    for kind in ("models", "hardware"):
        if kind == "models" and family not in families(zoo):
            continue
        if kind == "hardware" and " " in text and family not in _HARDWARE_FAMILIES | _vendors(zoo):
            continue
        try:
            meant = zoo.resolve(kind, text)
        except UnknownName:
            continue
        if kind == "models" and meant.others and not _SIZED.search(text):
            continue  # `llama 3`: of which size?
        return kind, meant.entry.id
    return None


@lru_cache(maxsize=8)
def _vendors(zoo: Zoo) -> frozenset[str]:
    return frozenset(
        word for entry in zoo.entries("hardware") for word in re.findall(r"[a-z]+\d*[a-z]*", entry.id) if len(word) > 1
    )


def _unplural(text: str) -> str:
    bare = re.sub(r"['’]s$", "", text)
    return bare[:-1] if re.search(r"\d[a-z]?s$", bare.lower()) else bare.rstrip(".")


def _note_unknown(tokens: list[re.Match[str]], at: int, zoo: Zoo, found: Linked) -> None:
    """Note a word that looks like a name and is none: `H10O`, `llama 9b`, `RTX 6090`."""
    word = tokens[at].group()
    bare = _unplural(word).rstrip(".-")
    after = tokens[at + 1].group() if at + 1 < len(tokens) else ""
    before = tokens[at - 1].group().lower() if at else ""
    if word.lower() in _HARDWARE_FAMILIES and re.match(r"\d", after):
        bare = f"{word} {after}"
    elif _SIZE.fullmatch(bare) and before in families(zoo):
        bare = f"{before} {bare}"
    elif not _CHIPLIKE.fullmatch(bare) or _NOT_NAMES.fullmatch(bare):
        return
    near: list[str] = []
    for kind in ("hardware", "models"):
        try:
            near.append(zoo.resolve(kind, bare).entry.id)
        except UnknownName as error:
            near += error.nearest[:2]
    found.unknown.append((bare, tuple(near[:4])))
