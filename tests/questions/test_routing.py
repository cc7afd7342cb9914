"""Questions become the call that is meant, or "not sure": every tuned one, and a rate on those that were kept apart."""

from pathlib import Path

import pytest
import yaml

from mlwalls.server.ask import NotSure, Routed, route
from mlwalls.server.linking import link
from mlwalls.server.meanings import example
from mlwalls.server.quantities import grouped, quantities, spelled_out
from mlwalls.server.tools import call, solver_tool, zoo_tool
from mlwalls.solvers.registry import solvers
from mlwalls.zoo import Zoo

HERE = Path(__file__).parent
PLACED = yaml.safe_load((HERE / "placed.yaml").read_text(encoding="utf-8"))
REVIEWED = yaml.safe_load((HERE / "reviewed.yaml").read_text(encoding="utf-8"))
HELD_OUT = yaml.safe_load((HERE / "held_out.yaml").read_text(encoding="utf-8"))
ZOO = Zoo.builtin()
TOOLS = {**{name: solver_tool(solver, ZOO) for name, solver in solvers().items()}, "find_in_zoo": zoo_tool(ZOO)}
for _part in (PLACED, REVIEWED, HELD_OUT):
    assert all(case["tool"] in TOOLS for case in _part["answered"])
NAMED = {"model": "models", "hardware": "hardware", "baseline_hardware": "hardware", "compare_with": "hardware"}


def plain(name, value):
    return ZOO.resolve(NAMED[name], value).entry.id if name in NAMED and isinstance(value, str) else value


def difference(case, routed):
    """Say what is wrong with a reading, or nothing."""
    if isinstance(routed, NotSure):
        return routed.reason
    if routed.tool != case["tool"]:
        return f"read as {routed.tool}"
    for name, value in case["arguments"].items():
        got = routed.arguments.get(name)
        if name == "scenario":
            same = set(value) <= set(got or ())
        elif name == "regions":
            same = set(got or ()) == set(value)
        else:
            same = got is not None and plain(name, got) == plain(name, value)
        if not same:
            return f"{name}: {got}, not {value}"
    for name in case.get("present", ()):
        if name not in routed.arguments:
            return f"{name} is missing"
    extra = set(routed.arguments) - set(case["arguments"]) - set(case.get("may", ())) - set(case.get("present", ()))
    extra -= set(routed.assumed)
    return f"not asked for: {extra}" if extra else ""


@pytest.mark.parametrize("case", [*PLACED["answered"], *REVIEWED["answered"]], ids=lambda c: c["question"])
def test_placed_with_its_arguments_and_answered(case):
    routed = route(case["question"], ZOO)
    assert not difference(case, routed), difference(case, routed)
    result = call(TOOLS[routed.tool], routed.arguments)
    assert not result.is_error, result.content[0].text
    answer = result.structured_content
    if "answer" in case:
        got, wanted = answer["result"][case["answer"]["field"]], case["answer"]["value"]
        got, wanted = (x if isinstance(x, list) else [x] for x in (got, wanted))
        assert len(got) == len(wanted)
        for a, b in zip(got, wanted, strict=True):
            assert abs(a - b) <= case["answer"]["tolerance"] * abs(b) + 1e-9
    for text in case.get("says", ()):
        assert text in routed.reading
    for name in case.get("shows", ()):
        assert name in routed.shows
        assert name in answer["result"]
    assert set(case.get("assumed", ())) <= set(routed.assumed)
    if "wall" in case:
        assert answer["binding_wall"]["slug"] == case["wall"]
    if "feasible" in case:
        assert answer["feasible"] is case["feasible"]


@pytest.mark.parametrize("question", [*PLACED["not_sure"], *REVIEWED["not_sure"], *HELD_OUT["not_sure"]])
def test_what_cannot_be_placed_gets_the_nearest_questions(question):
    unsure = route(question, ZOO)
    assert isinstance(unsure, NotSure), unsure
    assert len(unsure.nearest) == 3
    assert not any(place in q for q in unsure.nearest for place in ("themodel", "chip ", "thegrid"))


def test_questions_that_were_kept_apart(record_property):
    right = [case for case in HELD_OUT["answered"] if not difference(case, route(case["question"], ZOO))]
    tool = [case for case in HELD_OUT["answered"] if getattr(route(case["question"], ZOO), "tool", "") == case["tool"]]
    total = len(HELD_OUT["answered"])
    record_property("right", f"{len(right)}/{total}")
    record_property("tool", f"{len(tool)}/{total}")
    assert len(right) >= 0.8 * total
    assert len(tool) >= 0.9 * total


def test_there_are_enough_questions_of_every_tool():
    for tool in TOOLS:
        assert sum(case["tool"] == tool for case in PLACED["answered"]) >= 3, tool
    assert not {c["question"] for c in PLACED["answered"]} & {c["question"] for c in HELD_OUT["answered"]}


def test_a_reading_says_what_was_assumed():
    routed = route("how fast is decoding on an H100", ZOO)
    assert isinstance(routed, Routed)
    assert "model" in routed.assumed
    assert "assumed: model llama-3.1-8b" in routed.reading


def test_a_question_that_lacks_something_is_told_what():
    unsure = route("how long do requests wait on 4 servers with 8 requests per second", ZOO)
    assert isinstance(unsure, NotSure)
    assert "service_time_s" in unsure.reason


@pytest.mark.parametrize(
    ("text", "value", "kind"),
    [
        ("128k context", 131072, "tokens"),
        ("a context of 8,192", 8192, "tokens"),
        ("80 gig", 80e9, "bytes"),
        ("1.5 TB", 1.5e12, "bytes"),
        ("50 ms", 0.05, "seconds"),
        ("two weeks", 1209600, "seconds"),
        ("$2/hour", 2, "usd_per_h"),
        ("1.41 dollars an hour", 1.41, "usd_per_h"),
        ("40 %", 40, "percent"),
        ("3.35 TB/s", 3.35e12, "bytes_per_s"),
        ("15T tokens", 15e12, "tokens"),
        ("a 70B model", 70e9, "parameters"),
        ("1e24 FLOPs", 1e24, "flop"),
        ("p99.9", 99.9, "percentile"),
        ("200 users", 200, "users"),
        ("tp 8", 8, "tp"),
        ("8x gpus", 8, "accelerators"),
        ("batch of 64", 64, "batch"),
        ("20 requests per second", 20, "per_s"),
        ("90 tokens/s", 90, "tokens_per_s"),
        ("3k prompts", 3000, "tokens"),
        ("how many 4k chats", 4096, "tokens"),
        ("one 32k conversation", 32768, "tokens"),
        ("3000 requests a minute", 50, "per_s"),
        ("99.9th percentile", 99.9, "percentile"),
        ("12 cents per kWh", 0.12, "usd_per_kwh"),
        ("94 g/kWh", 94, "g_per_kwh"),
        ("100 gpu-days", 100, "chip_hours"),
        ("3.2x more flops", 3.2, "ratio"),
        ("zero 3", 3, "zero"),
        ("a loss of 2.1", 2.1, "loss"),
        ("global batch of 4M tokens", 4e6, "batch_tokens"),
        ("pue of 1.2", 1.2, "pue"),
        ("80 GiB", 80 * 1024**3, "bytes"),
        ("half of the prompt", 50, "percent"),
    ],
)
def test_numbers_with_units(text, value, kind):
    found = [q for q in quantities(spelled_out(text)) if q.kind]
    assert [(q.value, q.kind) for q in found] == [(pytest.approx(value), kind)]


@pytest.mark.parametrize(
    ("text", "count"),
    [("32 chip nodes of 8", 256), ("4 nodes with 8 gpus each", 32), ("1 8 x chip node", 8), ("2 dgx chip boxes", 16)],
)
def test_accelerators_are_counted_in_all(text, count):
    assert [q.value for q in quantities(grouped(text)) if q.kind == "accelerators"] == [count]


@pytest.mark.parametrize("text", ["5 servers of 200 ms", "4 servers with 8 requests per second"])
def test_servers_are_no_accelerators(text):
    assert grouped(text) == text


@pytest.mark.parametrize(
    ("text", "roles"),
    [
        ("2000 tokens in and 500 out", ["in", "out"]),
        ("900 prompt tokens, 350 completion tokens", ["in", "out"]),
        ("generate 400 tokens from an 800-token prompt", ["out", "in"]),
        ("decoding at 8k context", ["in"]),
    ],
)
def test_tokens_read_and_tokens_made(text, roles):
    assert [q.role for q in quantities(text)] == roles


@pytest.mark.parametrize(
    ("text", "models", "hardware", "grids"),
    [
        ("llama3 70b on 8xH100s", ["llama-3.1-70b"], ["nvidia-h100-sxm-80gb"], []),
        ("DeepSeek-V3's cache", ["deepseek-v3"], [], []),
        ("is 3.2x faster", [], [], []),
        ("RTX 4090 against an M3 Max", [], ["nvidia-rtx-4090", "apple-m3-max"], []),
        ("between Iowa and Quebec", [], [], ["us-iowa", "ca-quebec"]),
        ("qwen2.5 32b, 2 h100", ["qwen2.5-32b"], ["nvidia-h100-sxm-80gb"], []),
        ("qwen2.5 32b 2 h100", ["qwen2.5-32b"], ["nvidia-h100-sxm-80gb"], []),
        ("a 100 hour run", [], [], []),
        ("llama 3 in the UK", [], [], ["united-kingdom"]),
    ],
)
def test_names_in_a_sentence(text, models, hardware, grids):
    linked = link(spelled_out(text), ZOO)
    assert (list(linked.models), list(linked.hardware), list(linked.grids)) == (models, hardware, grids)
    assert not linked.unknown


@pytest.mark.parametrize("text", ["an H10O", "llama 9b", "the RTX 6090", "GPT-6", "a100x"])
def test_what_looks_like_a_name_and_is_none_is_noted(text):
    assert link(text, ZOO).unknown


def test_hostile_text_is_only_text():
    for text in ("'; drop table models; --", "\x00\x1b[31m", "9" * 400, "tokens " * 200, "🤖 🤖", "$(reboot) on H100"):
        assert isinstance(route(text, ZOO), (NotSure, Routed))


def test_a_number_that_would_not_be_used_is_not_left_out():
    routed = route("how fast is llama 8b on an H100 with 12 servers", ZOO)
    assert isinstance(routed, NotSure)
    assert "no place for 12 servers" in routed.reason


@pytest.mark.parametrize("question", ["what is MFU", "why is my training slow", "how fast is decoding"])
def test_a_question_that_names_nothing_is_not_answered_with_assumptions_alone(question):
    assert isinstance(route(question, ZOO), NotSure)


@pytest.mark.parametrize("tool", sorted(TOOLS))
def test_what_is_suggested_is_a_whole_question_that_the_tool_answers(tool):
    routed = route(example(tool), ZOO)
    assert isinstance(routed, Routed), routed
    assert routed.tool == tool
    assert not call(TOOLS[tool], routed.arguments).is_error


def test_what_is_set_side_by_side_gets_a_call_for_each():
    unsure = route("how many users with 8k context on one H100 or one A100 with llama 8b", ZOO)
    assert isinstance(unsure, NotSure)
    assert [any(chip in text for text in unsure.calls) for chip in ("h100", "a100")] == [True, True]


@pytest.mark.parametrize(
    "question",
    [
        "how fast is llama 8b on an H100 with 17",  # a number without a unit
        "qwen on h100 throughput",  # of which size
        "mamba 2.8b vs a transformer at 100k tokens",  # one side only
        "mixtral 8x7b: h100 at batch 8 or a100 at batch 32?",  # two setups
        "how does llama 70b on 8 a100 compare to 4 h100 in speed",
        "does PCIe slow down llama 70b on four 4090s",  # a manner without a place
        "cheapest gpu to serve mistral 7b",  # what is asked would be assumed
        "how long to quantize llama 70b",  # a figure that the tool does not have
        "what would a chip with twice the HBM do for llama 8b",
        "CO2 of an 8xA100 box in Narnia for a month",
        "how loud is a dgx h100",  # not a misspelt `load`
    ],
)
def test_what_would_be_left_out_makes_it_not_sure(question):
    assert isinstance(route(question, ZOO), NotSure)


def test_a_misspelt_word_is_said_to_have_been_read():
    routed = route("how long to trian a llama 8b on 15T tokens wiht 1024 H100s", ZOO)
    assert isinstance(routed, Routed)
    assert routed.tool == "fleet_efficiency"
    assert "'trian' as 'train'" in routed.reading


def test_what_the_tool_takes_by_itself_counts_as_assumed():
    routed = route("what does serving llama 8b on one H100 cost", ZOO)
    assert isinstance(routed, Routed)
    assert {"prompt_tokens", "output_tokens"} <= set(routed.assumed)
