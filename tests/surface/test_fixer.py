"""A script that reads nothing but the error's text repairs, in one step, over every tool: a misspelt id, a misspelt argument,
a slip of units, a format that is none or that the chip has not."""

import json

import pytest

from mlwalls.server.tools import call
from mlwalls.zoo import UnknownName, Zoo

from .hostile import bases, check_error, fixed, tools

TOOLS = sorted(tools())


def answered(tool, arguments):
    return call(tools()[tool], arguments)


def one_step(tool, arguments):
    """The answer after one repair; the call must have been wrong."""
    first = answered(tool, arguments)
    assert first.is_error, f"taken as it is: {arguments}"
    check_error(first.content[0].text, arguments)
    named, repaired = fixed(first.content[0].text)
    assert named == tool
    second = answered(named, repaired)
    assert not second.is_error, f"{first.content[0].text}\n{second.content[0].text}"
    return repaired, second


def properties(tool):
    return tools()[tool].arguments["properties"]


def misspelt(text):
    """The same text with two neighbouring characters exchanged, or one left out."""
    middle = len(text) // 2
    for at in (*range(middle, len(text) - 1), *range(middle - 1, 0, -1)):
        if text[at] != text[at + 1] and text[at].isalnum() and text[at + 1].isalnum():
            return text[:at] + text[at + 1] + text[at] + text[at + 2 :]
    return text[:middle] + text[middle + 1 :]


def entry_id(text):
    """The id of the entry that a text names exactly, in whichever kind."""
    zoo = Zoo.builtin()
    for kind in zoo.kinds:
        try:
            return zoo.resolve(kind, text).entry.id
        except UnknownName:
            continue
    return None


def with_ids(tool):
    """Calls that work, every zoo name in them its id, and the places where an id stands: (argument, index or None)."""
    for base in bases(tool):
        arguments, places = dict(base), []
        for name, value in base.items():
            schema = properties(tool)[name]
            if name in ("query", "set", "define") or "enum" in schema:
                continue
            if isinstance(value, str) and (id := entry_id(value)):
                arguments[name] = id
                places.append((name, None))
            elif isinstance(value, list) and all(isinstance(v, str) and entry_id(v) for v in value):
                arguments[name] = [entry_id(v) for v in value]
                places += [(name, i) for i in range(len(value))]
        if places and not answered(tool, arguments).is_error:
            yield arguments, places


@pytest.mark.parametrize("tool", TOOLS)
def test_misspelt_ids(tool):
    calls = list(with_ids(tool))[:4]
    for arguments, places in calls:
        for name, index in places:
            right = arguments[name] if index is None else arguments[name][index]
            wrong = misspelt(right)
            changed = wrong if index is None else [*arguments[name][:index], wrong, *arguments[name][index + 1 :]]
            if entry_id(wrong):
                continue  # still a name of something
            repaired, _ = one_step(tool, {**arguments, name: changed})
            assert repaired[name] == arguments[name], f"{wrong} became {repaired[name]}"
    texts = [n for n, s in properties(tool).items() if s.get("type") == "string" and "enum" not in s]
    assert calls or not {"model", "hardware", "models", "regions"} & set(texts), "no id of this tool was tried"


@pytest.mark.parametrize("tool", TOOLS)
def test_misspelt_arguments(tool):
    for base in bases(tool)[:3]:
        wanted = answered(tool, base).structured_content
        for name in base:
            wrong = misspelt(name) if len(name) > 4 else name + "s"
            if wrong in properties(tool):
                continue
            changed = {wrong if k == name else k: v for k, v in base.items()}
            repaired, second = one_step(tool, changed)
            assert repaired == base, f"{wrong}: {repaired}"
            assert second.structured_content == wanted


def outside(schema, value):
    low = schema.get("minimum", schema.get("exclusiveMinimum", 0))
    return value > schema.get("maximum", float("inf")) or value < low


def usual(tool, name):
    """Whether the tool says what a number usually is: a default, its example, or "e.g." in the description."""
    schema = properties(tool)[name]
    return "default" in schema or name in tools()[tool].example or "e.g. " in schema["description"]


def slips(tool):
    """Calls in which one number, given in another unit, leaves its range."""
    for base in bases(tool)[:4]:
        for name, value in base.items():
            schema = properties(tool)[name]
            if schema.get("type") != "number" or value == 0:
                continue
            for scale in (1e2, 1e3, 1e6, 1e9, 1e12, 1e-2, 1e-3, 1e-6, 1e-9, 1e-12):
                if outside(schema, value * scale):
                    yield base, name, value * scale


@pytest.mark.parametrize("tool", TOOLS)
def test_slips_of_units(tool):
    for base, name, slipped in slips(tool):
        repaired, _ = one_step(tool, {**base, name: slipped})
        assert not outside(properties(tool)[name], repaired[name])
        if usual(tool, name):
            assert 0.999e-3 <= repaired[name] / base[name] <= 1.001e3, (
                f"{slipped:g} became {repaired[name]:g}, not {base[name]:g}"
            )


def test_slips_of_units_are_found_in_many_tools():
    assert sum(1 for tool in TOOLS for _ in slips(tool)) >= 50
    assert sum(any(True for _ in slips(tool)) for tool in TOOLS) >= 5


@pytest.mark.parametrize("tool", TOOLS)
def test_whole_numbers(tool):
    for base in bases(tool)[:2]:
        for name, schema in properties(tool).items():
            if schema.get("type") == "integer" and name in base:
                one_step(tool, {**base, name: 10**12})
                one_step(tool, {**base, name: base[name] + 0.25})
                one_step(tool, {**base, name: str(base[name])})


@pytest.mark.parametrize("tool", TOOLS)
def test_choices(tool):
    for base in bases(tool)[:2]:
        for name, schema in properties(tool).items():
            for value in schema.get("enum", ()):
                if not answered(tool, {**base, name: value}).is_error:
                    repaired, _ = one_step(tool, {**base, name: value.upper() + "_"})
                    assert repaired[name] == value
            if "enum" in schema and base is bases(tool)[0]:
                one_step(tool, {**base, name: "fp7"})


@pytest.mark.parametrize("tool", [t for t in TOOLS if "hardware" in tools()[t].arguments["properties"]])
@pytest.mark.parametrize("chip", ["nvidia-a100-sxm-80gb", "nvidia-v100-sxm2-32gb", "amd-mi300x", "nvidia-t4"])
def test_formats_that_the_chip_has_not(tool, chip):
    formats = {
        n: s["enum"]
        for n, s in properties(tool).items()
        if "enum" in s and n.endswith(("dtype", "scheme", "precision"))
    }
    for base in bases(tool)[:1]:
        arguments = {**base, "hardware": [chip] if properties(tool)["hardware"]["type"] == "array" else chip}
        for name, values in formats.items():
            for value in values:
                if answered(tool, {**arguments, name: value}).is_error:
                    one_step(tool, {**arguments, name: value})


def test_the_script_reads_json_and_nothing_else():
    name, arguments = fixed('roofline: x: no. Call again with: roofline {"hardware": "h100"}')
    assert (name, arguments) == ("roofline", json.loads('{"hardware": "h100"}'))
