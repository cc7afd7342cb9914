"""A tool's arguments from what stands in a sentence, by the places of ``prompts/routes.yaml``."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mlwalls import prompts
from mlwalls.server.linking import KINDS, Linked, families
from mlwalls.server.quantities import Quantity
from mlwalls.solvers.solver import Solver
from mlwalls.zoo import Zoo

_FORMATS = {
    "int4": r"int-?4|4[- ]?bits?|q4(?:_\w+)?|awq|gptq",
    "int8": r"int-?8|8[- ]?bits?|q8(?:_\w+)?",
    "fp8": r"fp-?8|float8|e4m3",
    "nvfp4": "nvfp4",
    "mxfp4": "mxfp4",
    "bf16": r"bf-?16|bfloat16|16[- ]?bits?|half precision|unquanti[sz]ed",
    "fp16": r"fp-?16|float16",
}
# What a number counts where it is the size of a format: `4 bit`.
_BITS = re.compile(r"[- ]?bits?(?![a-z/])")
_KV = r"(?:kv|cache)"
_FILTERS = {
    "bytes": ("memory_capacity_gb", 1e9),
    "bytes_per_s": ("memory_bandwidth_gb_per_s", 1e9),
    "watts": ("power_tdp_w", 1.0),
}
_LESS = re.compile(r"\b(?:under|less|below|at most|fewer|up to|within)\b")
_NEAR, _FAR = 28, 14
# Words this long are known with an ending too.
LONG_WORD = 5
# From so many tokens on they are a training run's.
CORPUS = 5e8


@dataclass(slots=True)
class Said:
    """A sentence as it was read: its names, its numbers, its words in lower case, names taken out and not, its models' types."""

    linked: Linked
    numbers: list[Quantity]
    text: str
    asked: str = ""
    types: tuple[str, ...] = ()


@dataclass(slots=True)
class Filled:
    """Arguments of a call, which of them nobody named, what was left unused (`others`: names by kind), and what is missing.

    `within`: what nobody named inside an argument, such as a scenario, and how a size became a model.
    """

    arguments: dict[str, Any] = field(default_factory=dict)
    assumed: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    unused_names: int = 0
    unused_numbers: list[str] = field(default_factory=list)
    left: list[Quantity] = field(default_factory=list)
    others: dict[str, tuple[str, ...]] = field(default_factory=dict)
    within: dict[str, Any] = field(default_factory=dict)


def fill(takes: Mapping[str, Any], said: Said, zoo: Zoo, required: tuple[str, ...] = ()) -> Filled:
    """Fill one tool's places. `required`: arguments without which it cannot be called."""
    filler = _Filler(said, zoo)
    for name, place in takes.items():
        filler.place(name, place)
    filled = filler.filled
    filled.missing = [name for name in required if name not in filled.arguments]
    filled.others = {kind: tuple(id for id in said.linked.of(kind) if id not in filler.used_names) for kind in KINDS}
    filled.unused_names = sum(map(len, filled.others.values()))
    counted = [i for i, q in enumerate(said.numbers) if q.kind or not _says_nothing(q, said.text)]
    left = [said.numbers[i] for i in counted if i not in filler.used_numbers]
    filled.left = left
    filled.unused_numbers = [said.text[q.start : q.end].strip().replace("chip", "accelerator") for q in left]
    return filled


def _says_nothing(q: Quantity, text: str) -> bool:
    """Whether a number without a unit is none: `which 1 is faster`, the bits of a format, which words stand for."""
    return q.value == 1 or _BITS.match(text, q.end) is not None


def takes_of(route: Mapping[str, Any], said: Said) -> Mapping[str, Any]:
    """Return a route's places: of its first variant of which a word or a kind of number stands in the sentence, else its own."""
    kinds = {f"<{q.kind}>" for q in said.numbers} | ({"<corpus>"} if is_corpus(said) else set())
    for variant in route.get("variants", ()):
        here = [
            word for word in (*variant["if"], *variant.get("unless", ())) if word in kinds or stands(word, said.text)
        ]
        if here and not set(here) & set(variant.get("unless", ())):
            chosen: Mapping[str, Any] = variant["takes"]
            return chosen
    own: Mapping[str, Any] = route["takes"]
    return own


def is_corpus(said: Said) -> bool:
    """Whether so many tokens are named that a model is trained on them, and nothing is served."""
    served = re.search(
        r"\b(?:serv|infer|generat|output|input|quer|request|api|per (?:day|month|year)|price|cost)", said.text
    )
    return not served and any(q.kind == "tokens" and q.value >= CORPUS for q in said.numbers)


def places_by_name(solver: Solver) -> dict[str, Any]:
    """Return places for a solver that `prompts/routes.yaml` does not know: names by kind, numbers by the words of their name."""
    found: dict[str, Any] = {}
    for name, info in solver.request.model_fields.items():
        if name in ("model", "hardware"):
            found[name] = {"entity": "models" if name == "model" else name}
        elif info.annotation in (int, float, int | None, float | None):
            found[name] = {"named": name, "whole": info.annotation in (int, int | None)}
    return found


def stands(word: str, text: str, bent: bool = False) -> bool:
    """Whether a word or phrase stands in a text by itself; `bent`: or a longer word with an ending (`prefilling`)."""
    return re.search(_bare(word, "(?:s|ed|ing)?" if bent and len(word) >= LONG_WORD else ""), text) is not None


def _bare(word: str, ending: str = "") -> str:
    return rf"(?<![a-z0-9]){re.escape(word)}{ending}(?![a-z0-9])"


class _Filler:
    def __init__(self, said: Said, zoo: Zoo) -> None:
        self.said, self.zoo = said, zoo
        self.filled = Filled()
        self.used_names: set[str] = set()
        self.used_numbers: set[int] = set()

    def place(self, name: str, place: Mapping[str, Any]) -> None:
        """Fill one argument where the sentence, or an assumption, says it."""
        given = self.filled.arguments
        text = self.said.text
        if any(stands(w, text) for w in place.get("when_not", ())) and not any(
            stands(w, text) for w in place.get("but_when", ())
        ):
            return
        if place.get("unless") in given or ("with" in place and place["with"] not in given):
            return
        if "literal" in place:
            self._assume(name, place["literal"])
            return
        value = self._said(place)
        if value is not None:
            given[name] = value
            return
        if any(other in given for other in place.get("or_unless", ())):
            return
        other = place.get("default_with")
        if other and all(given.get(k) == v for k, v in other.items() if k != "value"):
            self._assume(name, other["value"])
        elif "or" in place and self._wanted(place):
            self._assume(name, place["or"])

    def _wanted(self, place: Mapping[str, Any]) -> bool:
        if "or_with" in place:
            return place["or_with"] in self.filled.arguments
        return "or_when" not in place or any(stands(word, self.said.text) for word in place["or_when"])

    def _assume(self, name: str, value: Any) -> None:
        self.filled.arguments[name] = list(value) if isinstance(value, list) else value
        self.filled.assumed.append(name)

    def _said(self, place: Mapping[str, Any]) -> Any:
        if "entity" in place:
            named = self._entity(place)
            if named is not None or "words" not in place:
                return named
        if "quantity" in place:
            number = self._quantity(place)
            if number is not None and "symbol" in place:
                return [f"{place['symbol']}={number:g}"]
            if number is not None or not {"flag", "words"} & set(place):
                return number
        if "words" in place:
            word = self._words(place["words"], place.get("apart", False))
            if word:
                self.used_numbers.update(
                    i for i, q in enumerate(self.said.numbers) if q.kind in place.get("takes_numbers", ())
                )
            return [word] if word and place.get("list") else word
        if "flag" in place:
            return place["value"] if any(stands(word, self.said.text, True) for word in place["flag"]) else None
        if "named" in place:
            return self._named(place)
        if "format" in place:
            return self._format(place["format"])
        if "filters" in place:
            return self._filters()
        if "axes" in place:
            return self._axes()
        if "inner" in place:
            return self._inner(place["inner"], place.get("without", ()), place.get("or", {}))
        return None

    def _entity(self, place: Mapping[str, Any]) -> Any:
        kinds = place["entity"] if isinstance(place["entity"], list) else [place["entity"]]
        ids = [id for kind in kinds for id in self.said.linked.of(kind)]
        ids = [id for id in ids if place.get("only", "") in id and (not place.get("skip") or place["skip"] not in id)]
        if not ids and kinds == ["models"]:
            return self._by_size(place)
        if not ids and place.get("family"):
            return next((word for word in self.said.asked.split() if word in families(self.zoo)), None)
        at = place.get("at", 0)
        if at == "all":
            self.used_names.update(ids)
            return ids or None
        if len(ids) <= at:
            return None
        self.used_names.add(ids[at])
        return ids[at]

    def _by_size(self, place: Mapping[str, Any]) -> Any:
        """Take a usual model of the size that is said: `a 70B model`."""
        sizes: Mapping[float, str] = prompts.routes()["sizes"]
        for i, quantity in enumerate(self.said.numbers):
            model = sizes.get(quantity.value / 1e9) if quantity.kind == "parameters" else None
            if model and i not in self.used_numbers:
                self.used_numbers.add(i)
                self.filled.within[f"{quantity.value / 1e9:g}B"] = model
                return [model] if place.get("at") == "all" else model
        return None

    def _quantity(self, place: Mapping[str, Any]) -> Any:
        kinds = place["quantity"]
        near, far = place.get("near", ()), place.get("not_near", ())
        found = []
        for i, q in enumerate(self.said.numbers):
            if (
                i in self.used_numbers
                or q.kind not in kinds
                or q.before.rstrip().endswith(" per")
                or (q.role and place.get("role", q.role) != q.role)
                or not place.get("least", 0) <= q.value <= place.get("most", q.value)
            ):
                continue
            beside = f"{q.before[-_NEAR:]} {self._own(q)} {'' if place.get('limit') else q.after[:_NEAR]}"
            close = f"{q.before[-_FAR:]} {self._own(q)} {q.after[:_FAR]}"
            is_role = q.role != "" and place.get("role") == q.role
            if not is_role and any(stands(word, close) for word in far):
                continue
            is_near = is_role or any(stands(word, beside) for word in near)
            if is_near or not place.get("strict"):
                found.append((0 if is_role else self._distance(q, near), not is_near, kinds.index(q.kind), i))
        if not found and place.get("model_size") and self.said.linked.models:
            model = self.said.linked.models[0]
            self.used_names.add(model)
            return self.zoo.get("models", model).number("parameters").value
        if not found:
            return None
        found.sort()
        if place.get("list"):
            self.used_numbers.update(f[-1] for f in found)
            return [self._plain(self.said.numbers[i].value, place) for i in sorted(f[-1] for f in found)]
        chosen = found[0][-1]
        self.used_numbers.add(chosen)
        return self._plain(self.said.numbers[chosen].value, place)

    def _distance(self, q: Quantity, near: Sequence[str]) -> int:
        """Return how many letters lie between a number and the nearest of some words; 0 where its unit is one."""
        if not near or any(stands(word, self._own(q)) for word in near):
            return 0
        behind = [m.start() for word in near if (m := re.search(_bare(word), q.after))]
        ahead = [len(q.before) - m.end() for word in near for m in re.finditer(_bare(word), q.before)]
        return 1 + min([*behind, *ahead], default=_NEAR)

    def _named(self, place: Mapping[str, Any]) -> Any:
        """Take the number that stands nearest to the words of an argument's name."""
        parts = place["named"].split("_")
        words = [part[:5] for part in parts if len(part) > 2 and part != "percent"]
        best, chosen = 0, -1
        for i, q in enumerate(self.said.numbers):
            if i in self.used_numbers or ("percent" in parts) != (q.kind == "percent"):
                continue
            beside = f"{q.before[-_FAR:]} {self._own(q)} {q.after[:_FAR]}"
            hits = sum(re.search(rf"\b{re.escape(word)}", beside) is not None for word in words)
            if hits > best:
                best, chosen = hits, i
        if chosen < 0:
            return None
        self.used_numbers.add(chosen)
        return self._plain(self.said.numbers[chosen].value, place)

    def _own(self, q: Quantity) -> str:
        return self.said.text[q.start : q.end]

    @staticmethod
    def _plain(value: float, place: Mapping[str, Any]) -> float | int:
        value = value / place.get("over", 1)
        if place.get("share") and value > 1:
            value /= 100
        if place.get("whole"):
            return round(value)
        return float(f"{value:.12g}")

    def _words(self, words: Mapping[str, list[str]], apart: bool) -> str | None:
        text = self.said.text
        for q in self.said.numbers if apart else ():
            if q.kind == "tokens":  # `100 output tokens` says nothing of what is checked
                text = f"{text[: q.start]}{' ' * (q.end - q.start)}{text[q.end :]}"
        return next((value for value, signs in words.items() if any(stands(s, text, True) for s in signs)), None)

    def _format(self, what: str) -> str | None:
        """Return the one format of the weights or of the cache (`what`: kv) that is said, and count its number as used."""
        text = self.said.text
        found = {}
        for name, pattern in _FORMATS.items():
            after = rf"{_KV}(?:(?!themodel|chip)[^.,;]){{0,20}}?\b(?:{pattern})"
            if match := re.search(rf"(?<![a-z0-9])(?:(?:{pattern})[ -]*{_KV}|{after})(?![a-z0-9])", text):
                found[name] = match
        if what != "kv":
            for match in found.values():
                text = text[: match.start()] + "," * len(match[0]) + text[match.end() :]
            searched = {name: re.search(rf"(?<![a-z0-9])(?:{p})(?![a-z0-9])", text) for name, p in _FORMATS.items()}
            found = {name: match for name, match in searched.items() if match}
        if len(found) != 1:
            return None
        ((name, match),) = found.items()
        self.used_numbers.update(i for i, q in enumerate(self.said.numbers) if match.start() <= q.start < match.end())
        return name

    def _filters(self) -> list[str] | None:
        found = []
        for i, q in enumerate(self.said.numbers):
            if q.kind in _FILTERS:
                column, factor = _FILTERS[q.kind]
                sign = "<=" if _LESS.search(q.before) else ">="
                found.append(f"{column} {sign} {q.value / factor:g}")
                self.used_numbers.add(i)
        return found or None

    def _axes(self) -> list[str] | None:
        """Return what is named more than once as axes: accelerators, models, batches, lengths, groups."""
        found = []
        for name in ("hardware", "model"):
            ids = self.said.linked.of("models" if name == "model" else name)
            if len(ids) > 1:
                self.used_names.update(ids)
                found.append(f"{name}=[{','.join(ids)}]")
        for kind, name in (("batch", "batch_sizes"), ("tokens", "seq_len"), ("accelerators", "n_accelerators")):
            at = [i for i, q in enumerate(self.said.numbers) if q.kind == kind and q.role != "out"]
            if len(at) < 2:
                continue
            self.used_numbers.update(at)
            first, last = self.said.numbers[at[0]], self.said.numbers[at[-1]]
            between = self.said.text[first.end : last.start]
            if len(at) == 2 and re.fullmatch(r"k? ?(?:to|-|\.\.\.?|…|through|until|up to) ?", between.strip() + " "):
                found.append(f"{name}={first.value:.0f}..{last.value:.0f}:log8")
            else:
                found.append(f"{name}=[{','.join(f'{self.said.numbers[i].value:.0f}' for i in at)}]")
        return found[:3] or None

    def _inner(self, tool: str, without: tuple[str, ...], other: Mapping[str, Any]) -> list[str]:
        """Return another tool's arguments as a scenario; `scenario` counts as assumed where nothing of it is named."""
        inner = _Filler(self.said, self.zoo)
        swept = {text.partition("=")[0] for text in self.filled.arguments.get("over", ())}
        inner.used_numbers = set(self.used_numbers)
        for name, place in prompts.routes()["tools"][tool]["takes"].items():
            if name not in without and name not in swept - {"model", "hardware"}:
                inner.place(name, place)
        for name, value in other.items():
            if name not in inner.filled.arguments:
                inner._assume(name, value)
        self.filled.within |= inner.filled.within
        self.filled.within |= {k: v for k, v in inner.filled.arguments.items() if k in inner.filled.assumed}
        self.used_names |= inner.used_names
        self.used_numbers |= inner.used_numbers
        if set(inner.filled.arguments) <= set(inner.filled.assumed):
            self.filled.assumed.append("scenario")
        return [f"{name}={_typed(value)}" for name, value in inner.filled.arguments.items()]


def _typed(value: Any) -> str:
    if isinstance(value, list):
        return "[" + ",".join(_typed(item) for item in value) + "]"
    return f"{value:g}" if isinstance(value, float) else str(value)
