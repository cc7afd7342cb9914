"""Names and numbers in a sentence: zoo entries by their longest spelling, counts by the words beside them."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from mlwalls.zoo import UnknownName, Zoo
from mlwalls.zoo.names import key

_TOKEN = re.compile(r"[A-Za-zÀ-ÿ0-9][A-Za-zÀ-ÿ0-9.\-]*")
_MAX_WORDS = 6
_SCALE = {"k": 1024, "m": 1024 * 1024}
_FORMATS = {
    "int4": "int4",
    "4-bit": "int4",
    "4 bit": "int4",
    "int8": "int8",
    "8-bit": "int8",
    "fp8": "fp8",
    "bf16": "bf16",
    "fp16": "fp16",
    "mxfp4": "mxfp4",
    "nvfp4": "nvfp4",
}
_PHASES = (
    ("training", ("training", "train", "finetune", "fine-tune", "backward")),
    ("prefill", ("prefill", "prompt processing", "time to first token", "ttft")),
    ("decode", ("decode", "decoding", "per token", "tokens per second", "tok/s", "tokens/s", "generation", "generate")),
    ("inference", ("request", "end to end")),
)
_NUMBERS = (
    ("batch_sizes", r"batch(?:es)?(?:[ _-]?sizes?)?(?: of|=| =|:)? ?(\d[\d,]*)(?! ?-?bit)"),
    ("n_accelerators", r"(?:tp|tensor[ -]parallel(?:ism)?(?: of)?)[ =]?(\d+)"),
    ("n_accelerators", r"(\d+) *(?:x|×)? *(?:gpus?|accelerators?|chips?|tpus?)(?![a-z0-9])"),
    ("output_tokens", r"(?:generat\w+|output(?:s|ting)?|answers? of) (\d[\d,]*k?) tokens"),
    ("seq_len", r"(\d[\d,]*)(k|m)?[ -]?(?:tokens? )?(?:context|prompt|seq(?:uence)?)"),
    ("seq_len", r"(?:context|prompt|seq(?:uence)?(?:[ _-]len(?:gth)?)?)(?: length)?(?: of|=| =|:)? ?(\d[\d,]*)(k|m)?"),
    ("seq_len", r"(\d[\d,]*)(k)? tokens"),
)


@dataclass(slots=True)
class Linked:
    """What stands in a sentence: zoo ids, arguments, the phase, and names that look like chips or models but are not."""

    models: tuple[str, ...] = ()
    hardware: tuple[str, ...] = ()
    numbers: dict[str, Any] = field(default_factory=dict)
    phase: str = ""
    unknown: list[tuple[str, tuple[str, ...]]] = field(default_factory=list)


@lru_cache(maxsize=8)
def _spellings(zoo: Zoo) -> dict[str, tuple[str, str]]:
    found: dict[str, tuple[str, str]] = {}
    for kind in ("models", "hardware"):
        for entry in zoo.entries(kind):
            for name in (entry.id, entry.name, *entry.aliases):
                spelled = key(name)
                if len(spelled) >= 4 or (len(spelled) >= 2 and any(c.isdigit() for c in spelled)):
                    found.setdefault(spelled, (kind, entry.id))
    return found


def link(question: str, zoo: Zoo) -> Linked:
    """Link a sentence. Longer spellings win; order of appearance is kept."""
    lowered = question.lower()
    found = Linked()
    rest = _link_names(question, zoo, found)
    _link_numbers(rest, found)
    for text, name in _FORMATS.items():
        if re.search(rf"(?<![a-z0-9]){re.escape(text)}(?![a-z0-9])", lowered):
            found.numbers.setdefault("weight_dtype", name)
    for phase, signs in _PHASES:
        if any(re.search(rf"(?<![a-z]){re.escape(sign)}(?![a-z])", lowered) for sign in signs):
            found.phase = phase
            break
    return found


def _link_names(question: str, zoo: Zoo, found: Linked) -> str:
    """Link the zoo's names; returns the question without them."""
    spellings = _spellings(zoo)
    tokens = list(_TOKEN.finditer(question))
    taken: list[tuple[int, int]] = []
    named: list[tuple[str, str]] = []
    at = 0
    while at < len(tokens):
        for size in range(min(_MAX_WORDS, len(tokens) - at), 0, -1):
            start, end = tokens[at].start(), tokens[at + size - 1].end()
            hit = spellings.get(key(_unplural(question[start:end])))
            if hit is not None:
                named.append(hit)
                taken.append((start, end))
                at += size
                break
        else:
            _note_unknown(tokens[at].group(), question, tokens, at, zoo, found)
            at += 1
    found.models = tuple(dict.fromkeys(id for kind, id in named if kind == "models"))
    found.hardware = tuple(dict.fromkeys(id for kind, id in named if kind == "hardware"))
    rest = question
    for start, end in reversed(taken):
        rest = (
            rest[:start] + " gpu " + rest[end:]
            if _is_hardware(named, taken, start)
            else rest[:start] + " " + rest[end:]
        )
    return rest


def _is_hardware(named: list[tuple[str, str]], taken: list[tuple[int, int]], start: int) -> bool:
    return named[[s for s, _ in taken].index(start)][0] == "hardware"


def _unplural(text: str) -> str:
    return text[:-1] if re.search(r"\d[a-z]?s$", text.lower()) else text.rstrip(".")


_CHIPLIKE = re.compile(r"(?:[a-z]{1,7}-?\d[a-z0-9.]*|[a-z]+-\d[\w.\-]*b)", re.IGNORECASE)
_NOT_NAMES = re.compile(
    r"(?:[kb]v?\d?|batch-?\d+|tp\d+|(?:int|fp|bf|mxfp|nvfp|tf)\d+|top\d+|p\d+|q\d|t\d)", re.IGNORECASE
)


def _note_unknown(word: str, question: str, tokens: list[re.Match[str]], at: int, zoo: Zoo, found: Linked) -> None:
    bare = _unplural(word).rstrip(".-")
    if not _CHIPLIKE.fullmatch(bare) or _NOT_NAMES.fullmatch(bare):
        return
    near: list[str] = []
    for kind in ("hardware", "models"):
        try:
            entry = zoo.resolve(kind, bare).entry
            near.append(entry.id)
        except UnknownName as error:
            near += error.nearest[:2]
    found.unknown.append((bare, tuple(near[:4])))


def _link_numbers(rest: str, found: Linked) -> None:
    lowered = rest.lower()
    for name, pattern in _NUMBERS:
        if name in found.numbers:
            continue
        match = re.search(r"(?<![a-z0-9.])" + pattern, lowered)
        if match is None:
            continue
        scale = _SCALE.get(match[2] or "", 1) if match.lastindex and match.lastindex > 1 else 1
        number = int(match[1].replace(",", "").rstrip("k")) * scale
        found.numbers[name] = [number] if name == "batch_sizes" else number
        lowered = lowered[: match.start()] + " " + lowered[match.end() :]
