"""Numbers with units in a sentence: what was counted or measured, in SI, and the words beside it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise

SCALES = {
    "k": 1e3,
    "thousand": 1e3,
    "m": 1e6,
    "million": 1e6,
    "b": 1e9,
    "bn": 1e9,
    "billion": 1e9,
    "t": 1e12,
    "trillion": 1e12,
}
# Lengths that are meant in binary: `128k context`, but not `3k prompts`.
_POWERS = frozenset(2.0**power for power in range(11))
_WORDS = {
    word: str(number)
    for number, word in enumerate(
        ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"), 1
    )
} | {
    "sixteen": "16",
    "twenty": "20",
    "thirty": "30",
    "thirty-two": "32",
    "forty": "40",
    "fifty": "50",
    "sixty-four": "64",
    "dozen": "12",
    "hundred": "100",
    "thousand": "1000",
}
# Parts in words, and what they are parts of.
_PARTS = {"half": 50, "(?:a |one )?third": 33.3, "(?:a |one )?quarter": 25}
_PARTED = r"(?:prompts?|tokens|requests|queries|users|traffic|load|layers|context|time|input)"
_PREFIX = {"": 1.0, "k": 1e3, "m": 1e6, "g": 1e9, "t": 1e12, "p": 1e15, "e": 1e18, "z": 1e21}
_TIMES = (
    (r"ms|milliseconds?|millis", 1e-3),
    (r"us|µs|microseconds?", 1e-6),
    (r"seconds?|secs?|s", 1.0),
    (r"minutes?|mins?", 60.0),
    (r"hours?|hrs?|h", 3600.0),
    (r"days?|d", 86400.0),
    (r"weeks?", 604800.0),
    (r"months?", 2592000.0),
    (r"years?|yrs?", 31536000.0),
)
_EACH = r"(?:/|per |an? |each |every )"
_REQUESTS = rf"(?:requests?|reqs?|queries|calls|users|prompts|jobs|messages|hits)? ?(?:arrive |come in )?{_EACH}"
# kind (and a factor), what follows the number (after an optional scale); groups named `p` carry a decimal prefix.
_UNITS: tuple[tuple[str, str], ...] = (
    ("usd_per_h", r"(?:dollars?|usd|bucks)? ?(?:/|per |an? )\s?(?:(?:chip|gpu|card|accelerator)[-/ ])?(?:h|hr|hour)"),
    ("usd_per_kwh", r"(?:dollars?|usd|bucks)? ?(?:/|per |an? )\s?kwh"),
    ("usd_per_kwh:0.01", r"(?:cents?|ct|c) ?(?:/|per |an? )\s?kwh"),
    ("g_per_kwh", r"(?:g|grams?) ?(?:of )?(?:co2e?q?)? ?(?:/|per |an? )\s?kwh"),
    ("chip_hours", r"(?:chip|gpu|card|accelerator|device)s?[- ]?(?:h|hrs?|hours?|days?|months?|years?)"),
    ("ratio", r"(?:x|×|times|-?fold)(?! (?:chip|gpus?|accelerators?|tpus?|cards?|devices?))"),
    ("percentile", r"(?:th|st|nd|rd)?[- ]percentile"),
    ("usd", r"dollars?|usd|bucks"),
    ("percent", r"%|percent|pct"),
    ("tokens_per_s", r"(?:tokens?|toks?|tok) ?(?:/|per |a )\s?(?:s|sec|second)"),
    ("samples_per_s", r"(?:images?|imgs?|samples?|frames?|pictures?) ?(?:/|per |a )\s?(?:s|sec|second)"),
    ("tokens_per_s", r"tps"),
    ("per_s", rf"{_REQUESTS}\s?(?:s|secs?|seconds?)"),
    (f"per_s:{1 / 60!r}", rf"{_REQUESTS}\s?(?:m|mins?|minutes?)|rpm|qpm"),
    (
        f"per_s:{1 / 3600!r}",
        rf"(?:requests?|reqs?|queries|calls|prompts|jobs|messages|hits) ?{_EACH}\s?(?:h|hr|hours?)",
    ),
    (f"per_s:{1 / 86400!r}", rf"(?:requests?|reqs?|queries|calls|prompts|jobs|messages|hits) ?{_EACH}\s?days?"),
    ("per_s", r"(?:rps|qps|req/s|hz)"),
    ("bits_per_s", r"(?P<p>[kmgt])(?:bps|bits?/s(?:ec)?|bits? per second)"),
    ("gbe", r"gbe|g(?= ethernet)"),
    ("bytes_per_s", r"(?P<p>[kmgtp]?)i?b(?:ytes?)?(?:/| per )s(?:ec(?:ond)?)?"),
    ("flop_per_s", r"(?P<p>[kmgtpez])flops?/s(?:ec)?|(?P<q>[tp])flops"),
    ("flop", r"(?P<p>[kmgtpez]?) ?flops?(?:-days)?"),
    ("bytes", r"(?P<p>[kmgtp])(?:i?b(?:ytes?)?)|(?P<g>gigs?|gigabytes?)"),
    ("draft", r"(?:draft|drafted|speculative|speculated) tokens?"),
    (
        "tokens",
        r"[- ]?(?:of )?(?:(?:input|output|prompt|generated|training|context|new|completion)[- ])?"
        r"(?:tokens?|toks?|context|ctx|prompts?|sequence|seq|input|output|completions?)",
    ),
    ("parameters", r"(?:parameters?|params?|model|weights)"),
    ("tokens", r"(?:in(?=.{1,40}\bout\b)|out(?![a-z]))"),
    ("watts", r"(?P<p>[km]?)w(?:atts?)?"),
    ("kwh", r"(?P<p>[kmg]?)wh"),
    ("accelerators", r"(?:x |× ?)?(?:chip|gpus?|accelerators?|tpus?|cards?|devices?)"),
    (
        "users",
        r"(?:(?:concurrent|simultaneous|parallel) )?"
        r"(?:users?|people|chats?|sessions?|conversations?|sequences?|requests?|customers?)",
    ),
    ("workers", r"(?:cpu )?(?:(?:data )?(?:loading |loader )?workers?|cores?|cpus?|threads?)"),
    ("servers", r"servers?|replicas?|instances?|slots?"),
    ("hosts", r"hosts?|nodes?|machines?"),
    ("wafers", r"wafers?|systems?"),
    ("steps", r"(?:reasoning |thinking )?(?:steps?|thoughts?)"),
    ("pp", r"(?:pipeline[- ])?stages?|pp"),
    *((f"seconds:{factor!r}", rf"-?(?:{names})") for names, factor in _TIMES),
)
_NUMBER = re.compile(
    r"(?:(?<![\w.])|(?<=\bp))(?P<usd>\$ ?)?(?P<n>(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?:e[+-]?\d+)?)", re.IGNORECASE
)
_SCALE = re.compile(r"[ -]?(k|m|bn|b|t|thousand|million|billion|trillion)(?![a-z])", re.IGNORECASE)
_LEADING: tuple[tuple[str, str], ...] = (
    ("users", r"\bconcurrency(?: of|=| =|:)? ?$"),
    ("microbatch", r"micro[- ]?batch(?:es)?(?:[ _-]?sizes?)?(?: of|=| =|:)? ?$"),
    ("zero", r"\bzero(?:[ -]?stage)?[ -]?$"),
    ("cv", r"\b(?:cv|coefficient of variation)(?: of|=| =|:)? ?$"),
    ("pue", r"\bpue(?: of|=| =|:| is)? ?$"),
    ("loss", r"\bloss(?: of|=| =|:| below| under| to)? ?$"),
    ("memory_share", r"(?:(?:gpu[_ ])?memory[_ -])?(?<![a-z])util(?:i[sz]ation)?(?: of|=| =|:| at| to)? ?$"),
    ("draft", r"\bdraft(?:ing|s)?(?: of|=|:)? ?$"),
    ("batch", r"batch(?:es)?(?:[ _-]?sizes?)?(?: of| from|=| =|:)? ?$"),
    ("tp", r"(?:tp|tensor[ -]parallel(?:ism)?)(?: of|=|-)? ?$"),
    ("pp", r"(?:pp|pipeline(?:[ -]parallel(?:ism)?)?)(?: of|=|-)? ?$"),
    ("percentile", r"(?<![a-z])p$"),
    (
        "tokens",
        r"(?:context|ctx|\bseq(?:uences?)?(?:[ _-]?len(?:gth)?)?|prompts?|\binput|\boutputs?|\banswers?|\bresponses?"
        r"|\bcompletions?|\breplies)(?: (?:length|window|tokens?))?(?: of|=| =|:)? ?$",
    ),
)
_BINARY_BYTES = {prefix: 1024.0**power for power, prefix in enumerate("kmgtp", 1)}
_HOW_MANY = re.compile(r"\b(?:many|number of|max(?:imum)?)(?: (?:concurrent|parallel|simultaneous|more))? $")
# Tokens that are read or made, by the words right before and right after: `128 output`, `generates 500 tokens`.
_OUT = r"(?:outputs?|out|answers?|responses?|repl(?:y|ies)|completions?|generated|generation|new)"
_MADE = re.compile(rf"\b(?:{_OUT}|(?:generat|decod|produc|writ)(?:e|es|ing))(?: (?:length|tokens?))?(?: of|=|:)? ?$")
_MADE_AFTER = re.compile(rf"[- ]?(?:tokens?[- ])?(?:of )?{_OUT}\b(?! of themodel)")
_READ = re.compile(r"\b(?:prompts?|inputs?|context|isl)(?: (?:length|tokens?))?(?: of|=|:)? ?$")
_READ_AFTER = re.compile(
    r"[- ]?(?:tokens?[- ])?(?:of )?(?:prompts?|inputs?|in|context)\b"
    r"(?! (?:(?:total|the|one|a|an)\b|int|fp|bf|\d+ (?:day|hour|week|month)))"
)
# What follows a length that is said without its unit: `at 32k`.
_ALONE = re.compile(r" ?(?:$|[?!.,;:)]|(?:on|with|for|and|at|or|vs|versus|using|in)\b)")
_WINDOW = 28


@dataclass(frozen=True, slots=True)
class Quantity:
    """One number: its value in SI, what it counts or measures, where it stands, the words on both sides.

    `role`: of tokens, `in` where they are read and `out` where they are made.
    """

    value: float
    kind: str
    start: int
    end: int
    before: str
    after: str
    role: str = ""


def spelled_out(text: str) -> str:
    """Return the text with numbers written as words as digits, and ``8xH100`` as ``8 x H100``."""
    text = re.sub(
        r"\b(" + "|".join(_WORDS) + r")\b(?! phases| hundred| thousand| million)",
        lambda m: _WORDS[m[1].lower()],
        text,
        flags=re.I,
    )
    text = re.sub(r"\b(?:an? )(million|billion|trillion|thousand)\b", r"1 \1", text, flags=re.I)
    text = re.sub(r"\b(?:half )(?:an? )?(million|billion|trillion)\b", r"0.5 \1", text, flags=re.I)
    text = re.sub(r"\bin (?:an? )(week|month|year|day)\b", r"in 1 \1", text, flags=re.I)
    text = re.sub(r"\bfor (?:an? )(week|month|year|day)\b", r"for 1 \1", text, flags=re.I)
    for word, percent in _PARTS.items():
        text = re.sub(rf"\b{word} (?:of )?(?=(?:the |my |our |all )?{_PARTED}\b)", f"{percent} % of ", text, flags=re.I)
    text = re.sub(r"\bmedian (?=wait|delay|latency|queue)", "p50 ", text, flags=re.I)
    return re.sub(r"(?<![\w.])(\d+) ?[x×] ?(?=[a-z])", r"\1 x ", text, flags=re.I)


_NODE = r"(?:nodes?|hosts?|machines?|servers?|boxes|box)"
_CARDS = r"(?: x)? (?:chips?|gpus?|accelerators?|cards?)\b"
_GROUPS = (
    # `4 nodes with 8 gpus each`, `2 nodes of 8 x chip`
    re.compile(rf"(\d+) (?:x )?(?:chip )?{_NODE},? (?:of|with|each with|having|x) (\d+){_CARDS}(?: each)?", re.I),
    # `32 chip nodes of 8`
    re.compile(rf"(\d+) (?:x )?chip {_NODE} of (\d+)(?= ?(?:each|$|[.,;?!]))", re.I),
    # `1 8 x chip node`, `4 8-gpu chip nodes`
    re.compile(rf"(\d+) (?:x )?(\d+)[ -](?:x|gpu) ?(?:chip )?{_NODE}\b", re.I),
)
_BOX = re.compile(
    r"(?:(?<![\w.])(\d+) (?:x )?)?\b(?:dgx|hgx) chip(?: (?:nodes?|box(?:es)?|servers?|systems?))?\b", re.I
)
_EIGHT = re.compile(rf"\b(\d+)[ -](?:x|gpu)[ -](?:chip )?{_NODE}\b", re.I)


def grouped(text: str) -> str:
    """Return the text with accelerators counted in all: ``4 chip nodes of 8`` as ``32 chip``."""
    for pattern in _GROUPS:
        text = pattern.sub(lambda m: f"{int(m[1]) * int(m[2])} chip", text)
    text = _BOX.sub(lambda m: f"{int(m[1] or 1) * 8} chip", text)
    return _EIGHT.sub(r"\1 chip", text)


def quantities(text: str) -> list[Quantity]:
    """Return the numbers of a sentence in order. Names must have been taken out; an accelerator's stands as `chip`."""
    lowered = text.lower()
    found: list[Quantity] = []
    for match in _NUMBER.finditer(lowered):
        if found and match.start() < found[-1].end:
            continue
        found.append(_quantity(lowered, match))
    return _listed(found, lowered)


def _quantity(text: str, match: re.Match[str]) -> Quantity:
    number = float(match["n"].replace(",", ""))
    start, at = match.start(), match.end()
    scale_match = _SCALE.match(text, at)
    letter = scale_match[1] if scale_match else ""
    after_scale = scale_match.end() if scale_match else at
    before = text[max(0, start - _WINDOW) : start]
    unscaled = _unit(text, at)
    kind, factor, end = unscaled if unscaled[0] and not letter else _unit(text, after_scale)
    if kind == "bytes" and "ib" in text[at:end]:
        factor = _BINARY_BYTES[text[at:end].strip(" -")[0]]
    if (
        unscaled[0]
        and len(letter) == 1
        and unscaled[0] in ("bytes", "bytes_per_s", "flop", "flop_per_s", "watts", "kwh")
    ):
        kind, factor, end, letter = *unscaled, ""
    leading = next((name for name, pattern in _LEADING if re.search(pattern, before)), "")
    if match["usd"] and kind not in ("usd_per_h",):
        kind, end = "usd", max(end, after_scale)
    elif leading in ("batch", "microbatch") and kind == "tokens" and "tok" in text[at:end]:
        kind = "batch_tokens"
    elif leading == "memory_share" and (number > 1 or kind):
        pass
    elif leading and (leading != "tokens" or kind in ("", "tokens")) and not (leading == "loss" and kind):
        kind, factor, end = leading, 1.0, max(end, after_scale)
    if kind == "users" and letter == "k" and (_HOW_MANY.search(before) or not text[:end].endswith("s")):
        kind = "tokens"  # `how many 4k chats`, `one 32k conversation`
    if not kind and letter == "k" and _ALONE.match(text, after_scale):
        kind, factor, end = "tokens", 1.0, after_scale
    if not kind:
        kind, factor, end = ("parameters" if letter in ("b", "bn", "billion") else ""), 1.0, after_scale
    size = number * _scale(number, letter, kind) * factor
    if kind == "percentile":
        size = number
    role = _role(text, at, before) if kind == "tokens" else ""
    return Quantity(size, kind, start, end, before, text[end : end + _WINDOW], role)


def _role(text: str, at: int, before: str) -> str:
    """Return whether tokens are read or made: what follows the number counts before what precedes it."""
    after = _SCALE.sub("", text[at : at + 3], 1) + text[at + 3 : at + _WINDOW]
    for role, pattern in (("out", _MADE_AFTER), ("in", _READ_AFTER)):
        if pattern.match(after):
            return role
    return "out" if _MADE.search(before) else "in" if _READ.search(before) else ""


def _unit(text: str, at: int) -> tuple[str, float, int]:
    """Return the kind, factor and end of the unit that stands at a place; an empty kind where none does."""
    gap = re.compile(r"[ -]?").match(text, at)
    begin = gap.end() if gap else at
    for kind, pattern in _UNITS:
        match = re.compile(rf"(?:{pattern})(?![a-z0-9])").match(text, begin)
        if match is None:
            continue
        name, _, own = kind.partition(":")
        factor = float(own) if own else 1.0
        groups = match.groupdict()
        prefix = groups.get("p") or groups.get("q") or ("g" if groups.get("g") else "")
        return name, factor * _PREFIX[prefix], match.end()
    return "", 1.0, at


def _scale(number: float, letter: str, kind: str) -> float:
    if not letter:
        return 1.0
    if kind == "tokens" and letter == "k" and number in _POWERS:
        return 1024.0
    return SCALES[letter]


def _listed(found: list[Quantity], text: str) -> list[Quantity]:
    """Give the numbers of a list the kind of the member that names it: `1, 8 and 64`, `2k, 8k and 32k context`."""
    kinds = [q.kind for q in found]
    joins = [
        re.fullmatch(r"k?m?(?:, ?| and | or |, and | to | up to |-|\.\.\.?|…) ?", text[a.end : b.start]) is not None
        for a, b in pairwise(found)
    ]
    for i, joined in enumerate(joins):
        if joined and not kinds[i + 1] and kinds[i] in ("batch", "tokens"):
            kinds[i + 1] = kinds[i]
    for i in reversed(range(len(joins))):
        if joins[i] and not kinds[i] and kinds[i + 1] in ("tokens", "accelerators", "batch"):
            kinds[i] = kinds[i + 1]
    result = []
    for q, kind in zip(found, kinds, strict=True):
        value = q.value
        if kind == "tokens" and q.kind == "" and re.search(r"k\b", text[q.start : q.end + 1]):
            value = q.value / 1e3 * _scale(q.value / 1e3, "k", kind)
        result.append(Quantity(value, kind, q.start, q.end, q.before, q.after, q.role))
    return result
