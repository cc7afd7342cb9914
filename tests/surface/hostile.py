"""Arguments that nobody wrote, made from each tool's own schema, and what must hold whatever they are.

Tools are read from the registry, so a new one is attacked without a line here.
"""

import contextlib
import json
import math
import re
import signal
from functools import cache

import jsonschema
import yaml
from hypothesis import strategies as st

from mlwalls.server.tools import call, solver_tool, zoo_tool
from mlwalls.server.verification import verify
from mlwalls.solvers.registry import solvers
from mlwalls.zoo import Zoo

SECONDS = 10
# Bytes of JSON that no answer passes, however many cases were asked for at once; usual answers are far below.
LARGEST = {"brief": 6_000, "default": 16_000, "full": 40_000}
LARGEST_ERROR = 3_000
STEPS_TO_REPAIR = 24

WORDS = (
    "", " ", "h100", "H10O", "llama-3.1-8b", "llama", "nvidia-h100-sxm-80gb", "native", "fp7", "null", "nan", "1e999",
    "-1", "../../etc/passwd", "file:///etc/passwd", "${HOME}", "{{7*7}}", "<script>", "'; DROP TABLE", "%s%n", "\x00",
    "\u202e", "\ud800", "🦙" * 8, "=" * 50, "a" * 5000, "h100\nh100", "zoo://hardware", "[", "{", "&a *a", "!!python/name:os",
)  # fmt: skip
NUMBERS = (
    0, -1, 1, 2, 0.5, -0.0, 1e-320, 5e-324, 1e-9, 3, 7, 1e9, 1e18, 2**53 + 1, 2**63, -(2**63), 1e300, 1.7e308, -1.7e308,
    10**400, math.nan, math.inf, -math.inf, True, False,
)  # fmt: skip


class TooSlowError(AssertionError):
    """A call took longer than anything should."""


@contextlib.contextmanager
def within(seconds):
    """Interrupt what hangs (main thread only)."""

    def stop(*_):
        raise TooSlowError(f"no answer within {seconds} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@cache
def tools():
    """Every tool by name, as the server has them."""
    zoo = Zoo.builtin()
    return {name: solver_tool(solver, zoo) for name, solver in solvers().items()} | {"find_in_zoo": zoo_tool(zoo)}


@cache
def _validator(tool):
    return jsonschema.Draft202012Validator(tools()[tool].definition.output_schema)


@cache
def bases(tool):
    """Calls that work: the tool's example and what the scenarios ask of it."""
    from pathlib import Path

    found = [dict(tools()[tool].example)]
    for path in sorted((Path(__file__).parent.parent / "scenarios").glob("*.yaml")):
        for scenario in yaml.safe_load(path.read_text(encoding="utf-8")):
            if scenario["tool"] == tool:
                found.append(scenario["arguments"])
    return found


@cache
def _names():
    zoo = Zoo.builtin()
    return [entry.id for kind in zoo.kinds for entry in zoo.entries(kind)]


def _text(schema):
    quoted = re.findall(r'"([^"]{1,60})"', schema.get("description", ""))
    plausible = [*schema.get("enum", ()), *quoted]
    return st.one_of(
        st.sampled_from(plausible) if plausible else st.sampled_from(_names()),
        st.sampled_from(_names()),
        st.sampled_from(WORDS),
        st.text(max_size=30),
    )


def _number(schema):
    low = schema.get("minimum", schema.get("exclusiveMinimum", 0))
    high = schema.get("maximum", 1e12)
    edges = st.sampled_from([low, high, (low + high) / 2, math.nextafter(low, math.inf), low + 1])
    spread = st.floats(math.log(max(low, 1e-12)), math.log(max(high, 1e-12))).map(math.exp)
    inside = st.one_of(edges, spread, st.integers(1, 16))
    if schema["type"] == "integer":
        inside = inside.map(lambda x: max(math.ceil(low), min(math.floor(high), round(x))))
    return inside


def plausible(schema):
    """Values of the kind that a property's schema asks for."""
    match schema.get("type"):
        case "array":
            return st.lists(plausible(schema["items"]), min_size=schema.get("minItems", 0), max_size=5)
        case "boolean":
            return st.booleans()
        case "number" | "integer":
            return _number(schema)
        case _:
            return _text(schema)


def _assignment(symbols):
    return st.builds("{}={}".format, st.sampled_from(symbols), st.sampled_from(NUMBERS) | st.floats(1e-3, 1e3))


JUNK = st.recursive(
    st.none() | st.booleans() | st.sampled_from(NUMBERS) | st.floats() | st.sampled_from(WORDS) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(WORDS), inner, max_size=3),
    max_leaves=6,
)


@cache
def _symbols(tool):
    """Names that a `set` may replace: those printed before the steps of calls that work, and a few that are none."""
    found = {"bandwidth", "nonsense", "", "a b", "eta16"}
    for base in bases(tool):
        result = call(tools()[tool], base)
        for line in (result.structured_content or {}).get("work", []):
            if re.match(r"(zoo|you|defined|calibrated|assumed)\b", line):
                found |= set(re.findall(r"(\w+)=", line))
    return sorted(found)


@st.composite
def arguments(draw, tool):
    """Arguments for a tool: a call that works, with some of them replaced, left out, misspelt or nonsense."""
    properties = tools()[tool].arguments["properties"]
    given = dict(draw(st.sampled_from(bases(tool))))
    for name in draw(st.lists(st.sampled_from(sorted(properties)), max_size=5, unique=True)):
        if name == "set" and draw(st.booleans()):
            given[name] = draw(st.lists(_assignment(_symbols(tool)), max_size=3))
        else:
            given[name] = draw(plausible(properties[name]))
    fault = draw(st.integers(0, 9))
    if fault == 0:
        given[draw(st.sampled_from(sorted(properties)))] = draw(JUNK)
    elif fault == 1 and given:
        name = draw(st.sampled_from(sorted(given)))
        given[draw(st.sampled_from([name[:-1], name + "s", name[::-1], name.upper(), ""]))] = given.pop(name)
    elif fault == 2 and given:
        del given[draw(st.sampled_from(sorted(given)))]
    elif fault == 3:
        given = draw(st.dictionaries(st.sampled_from([*properties, *WORDS]), JUNK, max_size=4))
    return given


def fixed(text):
    """What a script that reads nothing but the error text would call."""
    match = re.search(r"Call again with: (\w+) (\{.*\})$", text, re.DOTALL)
    assert match, f"no repaired call: {text[:400]}"
    return match[1], json.loads(match[2], parse_constant=_refuse)


def _refuse(constant):
    raise AssertionError(f"{constant} in JSON")


def _finite(node, path="result"):
    if isinstance(node, dict):
        for key, value in node.items():
            _finite(value, f"{path}.{key}")
    elif isinstance(node, list):
        for i, value in enumerate(node):
            _finite(value, f"{path}[{i}]")
    elif isinstance(node, float):
        assert math.isfinite(node), f"{path} is {node}"


def check_error(text, given):
    """One paragraph for the reader who made the call: no insides, no more than it takes (and the call again)."""
    assert "internal error" not in text, text
    for inside in ("Traceback", "pydantic", 'File "', "object at 0x", "errors.pydantic"):
        assert inside not in text, text
    assert "\n" not in text, text
    echoed = len(json.dumps(given, default=str).encode())
    assert len(text.encode()) <= LARGEST_ERROR + echoed, f"an error of {len(text)} characters: {text[:300]}"


def check_answer(tool, result, detail):
    """A finite, bounded, valid answer whose numbers can be recomputed from its own work."""
    data, text = result.structured_content, result.content[0].text
    _finite(data)
    printed = json.dumps(data, ensure_ascii=False, allow_nan=False)
    assert len(printed.encode("utf-8", "replace")) <= LARGEST[detail], f"{len(printed)} characters of JSON"
    assert len(text.encode("utf-8", "replace")) <= LARGEST[detail]
    if tool != "find_in_zoo":
        for said in (data["verdict"], *data["warnings"], *data.get("work", [])):
            assert not re.search(r"(?<![\w-])-?(nan|inf)(?![\w-])", said, re.IGNORECASE), said
    error = next(_validator(tool).iter_errors(data), None)
    assert error is None, error.message
    if "work" in data:
        report = verify(data)
        assert report.ok, report.text()


def attack(tool, given):
    """Make one call, hold everything to it, and follow its repairs to an answer. Returns the number of repairs taken."""
    for step in range(STEPS_TO_REPAIR + 1):
        with within(SECONDS):
            result = call(tools()[tool], given)
        if not result.is_error:
            detail = given.get("detail")
            check_answer(tool, result, detail if detail in LARGEST and tool != "find_in_zoo" else "default")
            return step
        text = result.content[0].text
        check_error(text, given)
        named, given = fixed(text)
        assert named == tool
    raise AssertionError(f"not repaired after {STEPS_TO_REPAIR} steps: {text}")


@cache
def answers():
    """One answer of every solver, to its example."""
    return [call(tool, tool.example).structured_content for name, tool in tools().items() if name != "find_in_zoo"]


@st.composite
def changed_answers(draw):
    """Answers in which some lines are cut, doubled, exchanged or spoilt."""
    answer = json.loads(json.dumps(draw(st.sampled_from(answers()))))
    work = answer["work"]
    for _ in range(draw(st.integers(1, 4))):
        at, other = (draw(st.integers(0, len(work) - 1)) for _ in range(2))
        line = work[at]
        cut = draw(st.integers(0, len(line)))
        splice = draw(
            st.sampled_from([*WORDS, "=", " = ", "**", "(", ")", "search: ", "1e308", "-1", work[other], "[1,2]"])
        )
        work[at] = draw(st.sampled_from([line[:cut], line + line, work[other], line[:cut] + splice + line[cut:]]))
    if draw(st.booleans()):
        answer["result"][draw(st.sampled_from(sorted(answer["result"])))] = draw(JUNK)
    return answer


def check_report(report):
    """A report says something bounded, whatever was read."""
    text = report.text()
    assert text.startswith(("verified", "NOT verified"))
    assert len(text) < 60_000 and "Traceback" not in text


@st.composite
def broken_entries(draw):
    """Entries in YAML with fields misplaced, mistyped and misnamed."""
    fields = [
        "kind",
        "id",
        "name",
        "aliases",
        "notes",
        "memory",
        "peak",
        "power",
        "config",
        "parameters",
        "price",
        "source",
    ]
    junk = JUNK | st.fixed_dictionaries({"value": JUNK, "source": JUNK | st.just("you")})
    entry = {"kind": draw(st.sampled_from(["hardware", "models", "grids", "prices", "x"])), "id": "x", "name": "X"}
    for name in draw(st.lists(st.sampled_from(fields), max_size=4)):
        entry[name] = draw(
            junk | st.dictionaries(st.sampled_from(["bandwidth", "bf16", "layers", "tdp", ""]), junk, max_size=3)
        )
    text = json.dumps(entry, default=str)
    return text if draw(st.booleans()) else text[: draw(st.integers(0, len(text)))]
