"""The call printed under an answer, given to the command again, gives the same answer; lists are read as they are typed."""

import json
import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlwalls.server import cli
from mlwalls.server.again import AgainError, compared
from mlwalls.server.terminal import answer_text
from mlwalls.server.tools import call, solver_tool
from mlwalls.solvers.assignments import list_items, read_assignments, written
from mlwalls.solvers.registry import solvers
from mlwalls.zoo import Zoo

ZOO = Zoo.builtin()
TOOLS = {name: solver_tool(solver, ZOO) for name, solver in solvers().items()}
INNER = ["model=llama-3.1-8b", "hardware=h100"]
LISTS = [
    ("sweep", {"tool": "roofline", "scenario": INNER, "over": ["batch_sizes=1,8,64", "seq_len=1024,4096"]}),
    ("sweep", {"tool": "roofline", "scenario": INNER, "over": ["hardware=zoo where memory_capacity_gb>=80"]}),
    (
        "inverse_spec",
        {
            "tool": "roofline",
            "scenario": [*INNER, "batch_sizes=[8]", "set=[bandwidth=3e12]"],
            "metric": "floor_ms",
            "target": 4,
            "solve_for": ["bandwidth", "peak"],
            "jointly": True,
        },
    ),
    ("sensitivity", {"tool": "roofline", "scenario": [*INNER, "batch_sizes=[16]"], "metric": "floor_ms"}),
    ("roofline", {"model": "llama-3.1-8b", "hardware": "h100", "batch_sizes": [1, 8], "set": ["bandwidth=3e12"]}),
]


@pytest.mark.parametrize(
    ("tool", "arguments"),
    [*((name, dict(solver.example)) for name, solver in solvers().items()), *LISTS],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_repeat_line_gives_the_same_answer(tool, arguments, capsys):
    first = call(TOOLS[tool], arguments)
    assert not first.is_error, first.content[0].text
    text = answer_text(tool, arguments, first.structured_content, first.content[0].text)
    line = next(line.strip() for line in text.splitlines() if line.strip().startswith("mlwalls call"))
    assert cli.main([*shlex.split(line)[1:], "--json"]) == 0
    again = json.loads(capsys.readouterr().out)
    kept = json.loads(json.dumps(first.structured_content))
    assert {**told(again), "scenario": sorted(again["scenario"])} == {
        **told(kept),
        "scenario": sorted(kept["scenario"]),
    }
    assert again["work"] == kept["work"]
    assert not compared(tool, kept, ZOO)
    for name, other in (("verdict", "Nothing."), ("feasible", not kept["feasible"]), ("warnings", ["none"])):
        assert compared(tool, {**kept, name: other}, ZOO)[0].startswith(f"differs: {name}")
    walls = compared(tool, {**kept, "binding_wall": {**kept["binding_wall"], "name": "None"}}, ZOO)
    assert len(walls) == 1 and walls[0].startswith('differs: binding_wall.name: "None", asked again ')


PLANS = [
    {"model": "llama-3.1-8b", "hardware": "h100", "n_accelerators": 64, "total_tokens": 1e12},
    {"model": "llama-3.1-70b", "hardware": "h100", "n_accelerators": 1024, "tensor_parallel": 4},
    {"model": "llama-3.1-405b", "hardware": "h100", "n_accelerators": 16},
    {"model": "llama-3.1-8b", "hardware": "h100", "n_accelerators": 64, "tensor_parallel": 3},
    {"model": "llama-3.1-8b", "hardware": "h100", "n_accelerators": 64, "curve": [128, 256]},
    {"model": "deepseek-v3", "hardware": "h100", "n_accelerators": 2048, "set": ["ep=8"]},
]


@pytest.mark.parametrize("arguments", PLANS, ids=lambda x: f"{x['model']}-{len(x)}")
def test_a_plan_is_searched_again(arguments):
    """Asked again with its scenario, a searched plan is searched, a given one given: every field is the same."""
    kept = call(TOOLS["fleet_efficiency"], arguments).structured_content
    assert compared("fleet_efficiency", json.loads(json.dumps(kept)), ZOO) == []


def told(answer):
    """An answer without its work, and without what it says of names as the caller wrote them."""
    taken = [w for w in answer["warnings"] if "taken as" not in w]
    return {**{k: v for k, v in answer.items() if k != "work"}, "warnings": taken}


@pytest.mark.parametrize(
    "typed",
    [
        ['over=["batch_sizes=1,8,64","seq_len=1024,4096"]'],
        ["over=['batch_sizes=1,8,64', 'seq_len=1024,4096']"],
        ["over=[batch_sizes=1,8,64,seq_len=1024,4096]"],
        ["over=batch_sizes=1,8,64", "over=seq_len=1024,4096"],
        ["over=batch_sizes=1,8,64,seq_len=1024,4096"],
    ],
)
def test_a_list_of_lists_is_read_however_it_is_typed(typed):
    schema = {"over": {"type": "array", "items": {"type": "string"}}}
    assert read_assignments(typed, schema) == {"over": ["batch_sizes=1,8,64", "seq_len=1024,4096"]}


@given(st.lists(st.text(max_size=12) | st.sampled_from(["a=1,2", "b=[3,4]", '"x", y', "it's", "[", "id: m\nname: n"])))
def test_what_is_written_is_read_back(items):
    assert list_items(written(items)) == items


@pytest.mark.parametrize(
    ("tool", "answer", "says"),
    [
        ("rooflin", {"scenario": []}, "roofline"),
        ("roofline", [], "no scenario"),
        ("roofline", {"scenario": ["model"]}, "not argument=value"),
        ("roofline", {"scenario": ["model=llama-3.1-8b", "hardware=h10O"]}, "h10O"),
    ],
)
def test_what_cannot_be_asked_again_says_why(tool, answer, says):
    with pytest.raises(AgainError, match=says):
        compared(tool, answer, ZOO)


def test_verify_again_lists_what_was_changed(tmp_path, capsys):
    kept = call(TOOLS["roofline"], {"model": "llama-3.1-8b", "hardware": "h100"}).structured_content
    file = tmp_path / "answer.json"
    file.write_text(json.dumps(kept), encoding="utf-8")
    assert cli.main(["verify", str(file), "--again", "roofline"]) == 0
    said = capsys.readouterr().out
    assert "not the sentence" in said and "same in every field" in said
    file.write_text(json.dumps({**kept, "feasible": False}), encoding="utf-8")
    assert cli.main(["verify", str(file)]) == 0
    assert cli.main(["verify", str(file), "--again", "roofline"]) == 1
    assert "differs: feasible: false, asked again true" in capsys.readouterr().out
