"""Whatever text is put before `verify`, the zoo's loader or `define`: a report, never an exception, and in time."""

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlwalls.server.verification import MAX_TEXT, verify, verify_text
from mlwalls.zoo import Zoo, ZooError

from .hostile import JUNK, WORDS, answers, broken_entries, changed_answers, check_report, within

QUICK = settings(max_examples=150, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))


@QUICK
@given(st.text() | JUNK.map(lambda junk: json.dumps(junk, default=str)))
def test_verify_reads_any_text(text):
    with within(5):
        assert not verify_text(text).ok


@QUICK
@given(JUNK)
def test_verify_reads_any_object(junk):
    with within(5):
        assert not verify({"work": junk, "result": junk, "sources": junk}).ok
        assert not verify({"work": ["a = 1"], "result": {"x": junk}, "sources": [junk]}).ok


@QUICK
@given(changed_answers())
def test_verify_reads_answers_that_somebody_changed(changed):
    with within(10):
        check_report(verify(changed))


@pytest.mark.parametrize(
    "line",
    [
        "a = " + "(" * 400 + "1" + ")" * 400 + " = 1",
        "a = 9**9**9**9 = 1",
        "a = " + "+".join(["1"] * 249) + " = 249",
        "a = 2 = search: smallest a in 1..1e300 with a>1",
        "a = 1 = search: lowest a of 9 tried; next {\"a\": 1e309} 1",
        "op x: " + "; ".join(f"c{i} = 1" for i in range(300)),
        "a = erlang_c(1e5,99999) = 1",
        "you: a=[" + ",".join(["1"] * 65) + "]",
        "zoo \x00 [x]: a=1",
        "a=1" * 1300,
    ],
    ids=lambda line: line[:20],
)  # fmt: skip
def test_costly_lines_are_refused_or_read_in_time(line):
    with within(5):
        check_report(verify({"work": [line] * 3, "result": {}, "sources": []}))


def test_a_text_of_a_million_characters_is_refused_at_once():
    with within(5):
        assert not verify_text("[" * (MAX_TEXT + 1)).ok
        assert not verify_text("[" * (MAX_TEXT - 1)).ok
        assert not verify_text('{"work":' * 1000).ok


def test_every_unchanged_answer_verifies():
    for answer in answers():
        assert verify(answer).ok


@QUICK
@given(broken_entries() | st.text(max_size=300) | st.sampled_from(WORDS))
def test_the_loader_reads_any_entry(text):
    with within(5):
        try:
            Zoo.builtin().with_inline(text)
        except ZooError as error:
            assert str(error)
            assert "Traceback" not in str(error) and "pydantic" not in str(error)


@pytest.mark.parametrize(
    "text",
    [
        "[" * 5000,
        "{a: " * 2000,
        "- " * 3000,
        "a: &a [*a, *a]",
        "&a a: {<<: *a}",
        "!!python/object/apply:os.system [ls]",
        "? !!binary x",
        "%YAML 9.9\n---\nx: 1",
        "kind: hardware\nid: x\nname: !!set {a}",
        "kind: hardware\nid: 2001-01-01\nname: 12:30:45",
        "kind: [hardware]\nid: {a: 1}",
        "kind: hardware\nid: x\nname: x\nmemory: {bandwidth: .inf}",
        "kind: hardware\nid: x\nname: x\nmemory: {bandwidth: {value: .nan}}",
        "kind: hardware\nid: x\nname: x\nmemory: {bandwidth: {value: 1e999}}",
        "\ufeffkind: models",
        "\x00",
        "\ud800",
        "kind: models\nid: x\nname: x\nconfig: {layers: {value: " + "9" * 5000 + "}}",
    ],
    ids=lambda text: ascii(text[:24]),
)
def test_the_loader_reads_hostile_yaml(text):
    with within(5), pytest.raises(ZooError):
        Zoo.builtin().with_inline(text)


def test_hostile_directories(tmp_path):
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00kind")
    (tmp_path / "deep.yaml").write_text("[" * 5000, encoding="utf-8")
    (tmp_path / "large.yaml").write_text("x: 1\n" * 500_000, encoding="utf-8")
    (tmp_path / "sources.yaml").write_text("- 1\n- {a: b}\nx: [", encoding="utf-8")
    (tmp_path / "folder.yaml").mkdir()
    with within(20), pytest.raises(ZooError) as caught:
        Zoo.layered([tmp_path])
    for name in ("binary", "deep", "large", "sources"):
        assert f"{name}.yaml:" in str(caught.value)
