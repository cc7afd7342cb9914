"""User zoos: layered over the built-in one; every mistake is named with its line, and nothing is half loaded."""

import subprocess
import sys

import pytest

from mlwalls.zoo import Zoo, ZooError

GOOD = """\
kind: hardware
id: my-chip
name: My Chip
aliases: [mychip]
vendor: Mine
type: asic
family: mine
year: {value: 2026, source: my_sheet}
peak:
  bf16: {value: 5.0e+14, source: my_sheet}
memory:
  label_gb: {value: 64, source: my_sheet}
  capacity: {value: 68719476736, source: my_sheet, basis: derived, note: label read as GiB}
  bandwidth: {value: 2.0e+12, source: my_sheet}
"""
SOURCES = 'my_sheet: {title: "My datasheet", url: "https://example.org/sheet.pdf"}\n'

BAD = """\
kind: hardware
id: Bad Chip
name: Bad
vendor: Mine
type: gpus
family: mine
familly: mine
form: 7
year: {value: "2026", source: my_sheet}
peak:
  bf16: {value: 5.0e+14, source: mysheet}
  fp8: {value: .nan, source: my_sheet}
  fp16: {value: -1, source: my_sheet}
  int8: {value: 1.0e+15, source: my_sheet, basis: derived}
memory:
  bandwidth: {value: 2000, source: my_sheet}
  bandwith: {value: 2.0e+12, source: my_sheet}
  bandwidth: {value: 2.0e+12, source: my_sheet}
"""


def folder(tmp_path, **files):
    for name, text in files.items():
        (tmp_path / f"{name}.yaml").write_text(text, encoding="utf-8")
    return tmp_path


def test_a_user_zoo_is_laid_over_the_built_in_one(tmp_path):
    zoo = Zoo.layered([folder(tmp_path, chip=GOOD, sources=SOURCES)])
    assert zoo.resolve("hardware", "mychip").entry.number("peak.bf16").value == 5e14
    assert zoo.get("hardware", "nvidia-h100-sxm-80gb")
    assert zoo.source("my_sheet").title == "My datasheet"


def test_ten_mistakes_give_ten_precise_errors(tmp_path):
    with pytest.raises(ZooError) as caught:
        Zoo.layered([folder(tmp_path, chip=BAD, sources=SOURCES)])
    problems = str(caught.value).splitlines()
    expected = [
        (2, "id", "Bad Chip"),
        (5, "type", "expected 'gpu'"),
        (7, "familly", "did you mean 'family'"),
        (8, "form", "string"),
        (9, "year.value", "plain number"),
        (11, "peak.bf16.source", "did you mean 'my_sheet'"),
        (12, "peak.fp8.value", "finite"),
        (14, "peak.int8", "says from what"),
        (17, "memory.bandwith", "did you mean 'bandwidth'"),
        (18, "memory.bandwidth", "given twice"),
    ]
    for line, field, hint in expected:
        assert any(f"chip.yaml:{line}: {field}: " in p and hint in p for p in problems), (line, field, problems)
    assert len(problems) == len(expected) == 10


@pytest.mark.parametrize(
    ("change", "line", "hint"),
    [
        (("bandwidth: {value: 2.0e+12", "bandwidth: {value: 2000"), 14, "outside"),
        (("bf16: {value: 5.0e+14", "bf16: {value: 500"), 10, "outside"),
        (("capacity: {value: 68719476736", "capacity: {value: 34359738368"), 1, "times memory.label_gb"),
        (("bf16: {value: 5.0e+14", "bf16: {value: -5.0e+14"), 10, "outside"),
        (("kind: hardware", "kind: hardwares"), 1, "expected one of"),
        (("id: my-chip", "id: my-chip\nid: other"), 3, "given twice"),
        (("aliases: [mychip]", "aliases: &a [mychip]"), 1, "anchors"),
        (("vendor: Mine\n", ""), 1, "missing"),
    ],
)
def test_each_mistake_by_itself(tmp_path, change, line, hint):
    with pytest.raises(ZooError) as caught:
        Zoo.layered([folder(tmp_path, chip=GOOD.replace(*change), sources=SOURCES)])
    assert any(f"chip.yaml:{line}: " in p and hint in p for p in str(caught.value).splitlines()), str(caught.value)


def test_aliases_are_unique(tmp_path):
    other = GOOD.replace("id: my-chip", "id: my-other-chip")
    with pytest.raises(ZooError, match="is also at"):
        Zoo.layered([folder(tmp_path, one=GOOD, two=other, sources=SOURCES)])


@pytest.mark.parametrize("text", ["[", "a: b: c", "just text", "- 1", "\x00", "? {}", "kind: hardware", "&a [*a, *a]"])
def test_hostile_texts_are_errors_and_nothing_else(text):
    with pytest.raises(ZooError):
        Zoo.builtin().with_inline(text)


def test_inline_entries_serve_clients_without_files():
    zoo = Zoo.builtin().with_inline(GOOD.replace("my_sheet", "you"))
    assert zoo.resolve("hardware", "my chip").entry.id == "my-chip"
    assert "my-chip" not in [e.id for e in Zoo.builtin().entries("hardware")]


def test_the_server_does_not_start_half_loaded(tmp_path):
    folder(tmp_path, chip=BAD, sources=SOURCES)
    done = subprocess.run(
        [sys.executable, "-m", "mlwalls.server.cli", "serve", "--zoo", str(tmp_path)],
        input="",
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert "nothing was started" in done.stderr and "chip.yaml:7" in done.stderr
    assert done.stdout == ""


def test_a_user_chip_answers_a_question(tmp_path, ask):
    from mlwalls.solvers.answers import answer_data
    from mlwalls.solvers.registry import solvers

    zoo = Zoo.layered([folder(tmp_path, chip=GOOD, sources=SOURCES)])
    solver = solvers()["roofline"]
    data = answer_data(solver.run(solver.request(model="llama-3.1-8b", hardware="mychip"), zoo), zoo)
    # 15.0098 GB of weights and 0.2684 GB of cache over 2 TB/s.
    assert data["result"]["floor_ms"] == pytest.approx((2 * 7_504_924_672 + 2048 * 131_072) / 2e12 * 1e3, rel=1e-5)
    assert any(s.startswith("my_sheet: My datasheet") for s in data["sources"])
