"""What an error offers to call instead is answered, has nothing changed that the error does not speak of, and its numbers are
the caller's or called examples."""

import json
import re

import pytest

from mlwalls.server.tools import call

from .hostile import bases, check_error, fixed, tools
from .test_fixer import misspelt

TOOLS = sorted(tools())
# A call that answers takes a tenth of a second and more: fewer of them.
SLOW = ("audit", "inverse_spec", "fleet_efficiency")
LISTED = ("scenario", "over", "set")


def properties(tool):
    return tools()[tool].arguments["properties"]


def wrong_values(name, schema):
    """Values that an argument does not take, and some that it may."""
    match schema.get("type"):
        case "array":
            yield from ("zzzz", 7, [], ["zzzz"], [-1], [0], [1e308], ["a=1", "a=2"], [["x"]], {"a": 1})
        case "number" | "integer":
            yield from (-1, 0, 1e308, 1e-300, 0.5, "many", "5 apples", "7B", [3], True, 2**53)
        case "boolean":
            yield from ("yes", 1, "maybe")
        case _:
            yield from ("zzzz-unknown", 5, ["h100"], True)


@pytest.fixture(scope="module")
def usual():
    """A value for each argument of each tool that some call that works gives it."""
    found = {}
    for tool in TOOLS:
        for base in bases(tool):
            for name, value in base.items():
                found.setdefault((tool, name), value)
        for name, schema in properties(tool).items():
            said = re.search(r"e\.g\. \[?([0-9][0-9.e+]*)", schema.get("description", ""))
            if said:
                found.setdefault((tool, name), float(said[1].rstrip(".")))
    return found


def faults(tool, usual):
    """Calls that are wrong in one way, mostly."""
    broken = ["kind: models\nid: toy\nname: Toy\n", "kind: [\nid: toy", "kind: nothing\nid: toy"]
    for base in bases(tool)[: 1 if tool in SLOW else 2]:
        for name, schema in properties(tool).items():
            for value in list(wrong_values(name, schema))[:: 3 if tool in SLOW else 1]:
                yield {**base, name: value}
        for name in base:
            yield {k: v for k, v in base.items() if k != name}
            yield {name: base[name]}
            yield {(misspelt(name) if len(name) > 4 else name + "s") if k == name else k: v for k, v in base.items()}
            if isinstance(base[name], str):
                yield {**base, name: misspelt(base[name])}
            if isinstance(base[name], (int, float)) and not isinstance(base[name], bool):
                yield {**base, name: str(base[name])}
                yield {**base, name: -base[name]}
        for name in properties(tool):
            if name not in base and (tool, name) in usual and tool not in SLOW:
                yield {**base, name: usual[tool, name]}
        if "set" in properties(tool):
            for line in (
                "nonsense=1",
                "bandwidth",
                "bandwidht=1e12",
                "bandwidth=-1",
                "peak=0",
                "peak=1e308",
                "eta16=7",
                "context=9",
                "=",
                "tp=2",
            ):
                yield {**base, "set": [line]}
                yield {**base, "set": ["bandwidth=2e12", line]}
            for text in broken:
                yield {**base, "define": [text]}
                for name in ("model", "hardware"):
                    if name in base:
                        yield {**base, name: "toy", "define": [text]}
        if "scenario" in base:
            own = base["scenario"]
            for line in (
                "modle=llama-3.1-8b",
                "model",
                "seq_len=-1",
                "batch_sizes=0",
                "n_accelerators=3",
                "flops=1e12",
                "hardware=zzzz",
                "model=lama-3.1-8b",
                "detail=brief",
                "nonsense=1",
                "set=[nonsense=1]",
            ):
                yield {**base, "scenario": [*own, line]}
            yield {**base, "scenario": own[1:]}
            yield {**base, "scenario": own[:1]}
            yield {**base, "scenario": " ".join(own)}
            yield {**base, "metric": "hours"}
            yield {**base, "metric": "expcted_ms"}
            yield {**base, "tool": "rofline"}
            yield {**base, "tool": "kv_capacity"}
            yield {**base, "tool": "tail_latency"}
        if "over" in base:
            for line in (
                "batch=1,2",
                "nonsense=1,2",
                "batch_sizes",
                "batch_sizes=1,-2",
                "seq_len=0",
                "bandwidth=1e308,1",
                "hardware=h100,zzzz",
            ):
                yield {**base, "over": [line]}
    yield {}


def lines_by_name(lines):
    """Lines by what stands before the "=": what is no text is spoken of by its place."""
    return {line.partition("=")[0]: line for line in lines if isinstance(line, str)} if isinstance(lines, list) else {}


def unspoken(given, offered, said):
    """What the offered call changes without the error saying so."""
    found = []
    for name in {*given, *offered}:
        old, new = given.get(name), offered.get(name)
        if old == new or (name not in offered and old in (None, "")):
            continue
        if name in LISTED and isinstance(old, list) and isinstance(new, list):
            before, after = lines_by_name(old), lines_by_name(new)
            found += [
                f"{name}: {before.get(line)} became {after.get(line)}"
                for line in {*before, *after}
                if before.get(line) != after.get(line) and line not in said
            ]
        elif not re.search(rf"\b{re.escape(name)}\b", said):
            found.append(f"{name}: {old} became {new}")
    return found


def invented(given, offered, said):
    """Numbers that the caller never gave and that the error does not call an example."""
    values = [x for v in given.values() for x in (v if isinstance(v, list) else [v])]
    typed = [str(line).partition("=")[2] for line in values]
    values += [float(x) for x in typed if re.fullmatch(r"-?[0-9.]+(e[+-]?[0-9]+)?", x)]
    return [
        f"{name}={value}"
        for name, value in offered.items()
        if name not in given
        and isinstance(value, (int, float))
        and not isinstance(value, bool)
        and value not in values
        and not re.search(rf"only an example, put in your own:[^;]*\b{name}=", said)
    ]


@pytest.mark.parametrize("tool", TOOLS)
def test_suggestions(tool, usual):
    wrong, errors = [], 0
    for given in faults(tool, usual):
        result = call(tools()[tool], given)
        if not result.is_error:
            continue
        errors += 1
        text = result.content[0].text
        check_error(text, given)
        named, offered = fixed(text)
        said = text.partition(" Call again with: ")[0]
        again = call(tools()[named], offered)
        problems = [*unspoken(given, offered, said), *invented(given, offered, said)]
        if again.is_error:
            problems.append(f"fails: {again.content[0].text[:200]}")
        if problems:
            wrong.append(f"{json.dumps(given)}\n   {text}\n   {problems}")
    assert errors > 20
    assert not wrong, f"{len(wrong)} of {errors}:\n" + "\n".join(wrong)


def offered(asked, /, **given):
    result = call(tools()[asked], given)
    assert result.is_error
    text = result.content[0].text
    named, arguments = fixed(text)
    assert not call(tools()[named], arguments).is_error
    return arguments, text.partition(" Call again with: ")[0]


def test_a_word_for_hours_is_the_time_of_the_run_in_hours():
    scenario = ["model=llama-3.1-8b", "hardware=h100", "n_accelerators=64", "total_tokens=1e12"]
    given = {"tool": "fleet_efficiency", "scenario": scenario, "metric": "hours", "target": 100}
    arguments, said = offered("inverse_spec", **given, solve_for=["n_accelerators"])
    assert arguments == {**given, "metric": "run_h", "solve_for": ["n_accelerators"]}
    _, said = offered("inverse_spec", **{**given, "scenario": scenario[:3]}, solve_for=["n_accelerators"])
    assert "Not with these arguments: run_days" in said


def test_a_models_name_becomes_its_parameters():
    # 8,030,261,248: 8.03 billion in Meta's model card.
    arguments, said = offered("scaling_law", model="llama-3.1-8b", tokens=15e12)
    assert arguments == {"parameters": 8_030_261_248, "tokens": 15e12}
    assert "example" not in said
    inner = {"tool": "scaling_law", "scenario": ["model=llama-3.1-8b", "tokens=15e12"], "over": ["tokens=1e12,2e12"]}
    arguments, _ = offered("sweep", **{**inner, "metric": "loss"})
    assert "parameters=8030261248" in arguments["scenario"]


def test_a_kernel_without_bytes_is_told_so_and_may_be_a_model():
    arguments, said = offered("roofline", hardware="h100", flops=1e12)
    assert "bytes is missing" in said and "name a model instead" in said
    assert re.search(r"only an example, put in your own: bytes=", said)
    assert arguments["flops"] == 1e12


def test_too_many_servers_stay_as_many_as_there_may_be():
    arguments, _ = offered("tail_latency", arrivals_per_s=8, service_time_s=0.4, servers=10**9)
    assert arguments == {"arrivals_per_s": 8, "service_time_s": 0.4, "servers": 5000}


def test_an_entry_that_is_none_gives_way_to_the_examples_not_to_what_sounds_alike():
    entry = "kind: models\nid: toy\nname: Toy\n"
    arguments, said = offered("roofline", model="toy", hardware="h100", phase="decode", define=[entry])
    assert arguments == {"model": "llama-3.1-8b", "hardware": "h100", "phase": "decode"}
    assert "type: missing" in said and "only an example, put in your own: model=llama-3.1-8b" in said


def test_a_region_like_none_lists_regions_and_keeps_the_others():
    arguments, said = offered("carbon", regions=["atlantis", "france"], hardware="h100", hours=100)
    assert arguments == {"regions": ["france"], "hardware": "h100", "hours": 100}
    assert "find_in_zoo kind=grids" in said
    _, said = offered("carbon", regions=["atlantis"], hardware="h100", hours=100)
    assert "only an example" in said


def test_a_number_that_an_argument_decides_is_given_by_it():
    good = {"model": "llama-3.1-8b", "hardware": "h100"}
    arguments, said = offered("roofline", **good, set=["context=4096", "bandwidth=3e12"])
    assert arguments == {**good, "seq_len": 4096, "set": ["bandwidth=3e12"]}
    assert "give that argument instead: seq_len" in said
    scenario = ["model=llama-3.1-8b", "hardware=h100", "set=[context=4096]"]
    arguments, _ = offered("sweep", tool="roofline", scenario=scenario, over=["batch_sizes=1,2"], metric="floor_ms")
    assert arguments["scenario"] == ["model=llama-3.1-8b", "hardware=h100", "seq_len=4096"]


SERVED = {"model": "llama-3.1-8b", "hardware": "h100"}
FED = {"model": "resnet-50", "hardware": "a100"}


@pytest.mark.parametrize(
    ("tool", "given", "name", "typed", "meant"),
    [
        ("serving_cost", SERVED, "tpot_ms", "0.04 s", 40),
        ("serving_cost", SERVED, "tpot_ms", "40ms", 40),
        ("carbon", {"regions": ["france"], "hardware": "h100"}, "hours", "30 days", 720),
        ("scaling_law", {}, "parameters", "7B", 7e9),
        ("scaling_law", {}, "tokens", "1.4T tokens", 1.4e12),
        ("tail_latency", {"service_time_s": 0.2, "servers": 300}, "arrivals_per_s", "1,000", 1000),
        ("tail_latency", {"arrivals_per_s": 1000, "servers": 300}, "service_time_s", "200 ms", 0.2),
        ("tail_latency", {"arrivals_per_s": 8, "service_time_s": 0.4}, "servers", -4, 4),
        ("pipeline_bottleneck", FED, "mfu_percent", "42%", 42),
        ("pipeline_bottleneck", {**FED, "mfu_percent": 42}, "storage_gb_per_s", "500 MB/s", 0.5),
    ],
)
def test_a_number_typed_with_its_unit_keeps_its_size(tool, given, name, typed, meant):
    arguments, said = offered(tool, **given, **{name: typed})
    assert arguments[name] == pytest.approx(meant)
    assert "example" not in said
