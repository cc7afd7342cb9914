"""The independent evaluator: hand-written programs with values by hand, tampering, hostile input, every answer."""

import copy
import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlwalls.server.expression_reader import ProgramError, evaluate
from mlwalls.server.verification import verify, verify_text

PROGRAM = {
    "verdict": "",
    "feasible": True,
    "binding_wall": {"slug": "x", "number": 1, "name": "x", "share": 0.75},
    "result": {"total_ms": 6000.0, "fits": True, "note": "text", "count": 5, "op_time_s": [4.0, 2.0]},
    "work": [
        "zoo chip [a_source]: rate=4 byte/s, size=16 byte",
        "you: batch=2",
        "defined: two=2",
        "calibrated [fit]: eta=0.5 (0.4..0.6)",
        "op *: weight = size",
        "op first: count = two",
        "op second: count = batch; weight = size/4; extra = batch",
        "bytes = sum(op.count*op.weight+op.extra) = 42 byte",
        "op.time = op.weight/rate-op.extra",
        "slow = sum(op.time) = 3 s",
        "fast = 6 = 6 s",
        "total = max(slow,fast) = 6 s [a_source, fit] -> fast",
        "count = 5 = search: smallest batch in 1..100 with batch*2>=9",
        "binding_share = 3/4 = 0.75",
        "check: abs(total-6)<=1e-9",
    ],
    "sources": ["a_source: A, https://example.org", "fit: B, https://example.org"],
    "warnings": [],
    "scenario": [],
}
# first: 16/4 = 4 s; second: 4/4 - 2 = -1 s, so op.time is [4, -1] and the sum is 3.
PROGRAM["result"]["op_time_s"] = [4.0, -1.0]


def changed(**replace):
    return {**copy.deepcopy(PROGRAM), **replace}


def test_a_program_by_hand_verifies():
    report = verify(PROGRAM)
    assert report.problems == []
    assert (report.lines, report.searches) == (15, 1)
    assert report.result_numbers == 5


@pytest.mark.parametrize(
    ("line", "tampered"),
    [
        (0, "zoo chip [a_source]: rate=5 byte/s, size=16 byte"),
        (7, "bytes = sum(op.count*op.weight+op.extra) = 43 byte"),
        (9, "slow = sum(op.time) = 3.0001 s"),
        (11, "total = max(slow,fast) = 6 s [a_source, fit] -> slow"),
        (11, "total = max(slow,fast) = 6 s [another] -> fast"),
        (12, "count = 4 = search: smallest batch in 1..100 with batch*2>=9"),
        (12, "count = 6 = search: smallest batch in 1..100 with batch*2>=9"),
        (12, "count = 5 = search: largest batch in 1..100 with batch*2>=9"),
        (13, "binding_share = 3/5 = 0.6"),
        (14, "check: total<6"),
    ],
)
def test_tampering_is_caught(line, tampered):
    work = list(PROGRAM["work"])
    work[line] = tampered
    assert not verify(changed(work=work)).ok


def test_a_source_beside_a_number_is_cited_too():
    def with_own(source):
        return changed(work=[f"zoo chip [a_source]: rate=4 byte/s [{source}], size=16 byte", *PROGRAM["work"][1:]])

    assert verify(with_own("fit")).ok
    assert not verify(with_own("another")).ok
    assert verify(
        {**with_own("other"), "sources": ["other, a_source: A, https://example.org", PROGRAM["sources"][1]]}
    ).ok


@pytest.mark.parametrize("result", [{"total_ms": 6001.0}, {"total_s": 6000.0}, {"other_ms": 1.0}, {"op_time_s": [4.0]}])
def test_a_wrong_result_is_caught(result):
    assert not verify(changed(result=result)).ok


RERUNS = {
    **PROGRAM,
    "result": {"vary_elasticity": [-0.8, -0.2], "vary_rows": ["a", "b"], "at_once_s": 2.5},
    "binding_wall": {},
    "work": [
        "you: a=2 1/s, b=8 1/s, k=1.0001, two=2",
        "answer other: c=1",
        # 1/2 + 1/8 = 0.625; the shares 0.8 and 0.2 are minus the elasticities.
        "time = c/a+c/b = 0.625 s",
        "vary a: base = a",
        "vary b: base = b",
        "need = 4 1/s = search: smallest a in 0.001..1000 within 0.0001 with time<=0.375",
        "listed = 4 = search: smallest a in [1,2,4,8] with time<=0.375",
        "joint = 2.5 = search: smallest joint in 0.01..100 within 0.001 with time<=0.25 where a=a*joint, b=b*joint",
        "vary.up = rerun: time with row=row*k",
        "vary.down = rerun: time with row=row/k",
        "vary.elasticity = log(vary.up/vary.down)/(two*log(k))",
        "half = 0.3125 s = rerun: time with a=a*two, b=b*two",
        "at_once = half*8 = 2.5 s",
    ],
}


def test_reruns_and_searches_over_the_reals_by_hand():
    report = verify(RERUNS)
    assert report.problems == []
    assert "1 of other" in report.text()


@pytest.mark.parametrize(
    ("line", "tampered"),
    [
        (2, "time = c/a+c/a = 1 s"),
        (5, "need = 4.1 1/s = search: smallest a in 0.001..1000 within 0.0001 with time<=0.375"),
        (5, "need = 3.9 1/s = search: smallest a in 0.001..1000 within 0.0001 with time<=0.375"),
        (5, "need = 4 1/s = search: largest a in 0.001..1000 within 0.0001 with time<=0.375"),
        (5, "need = 4 1/s = search: smallest a in 0.001..1000 within 0.5 with time<=0.375"),
        (6, "listed = 8 = search: smallest a in [1,2,4,8] with time<=0.375"),
        (6, "listed = 4 = search: smallest a in [1,2,8] with time<=0.375"),
        (7, "joint = 3 = search: smallest joint in 0.01..100 within 0.001 with time<=0.25 where a=a*joint, b=b*joint"),
        (7, "joint = 2.5 = search: smallest joint in 0.01..100 within 0.001 with time<=0.25 where a=a*joint"),
        (8, "vary.up = rerun: time with row=row*k*k"),
        (8, "vary.up = rerun: time with row=other*k"),
        (8, "vary.up = rerun: time with nothing=k"),
        (11, "half = 0.3126 s = rerun: time with a=a*two, b=b*two"),
        (11, "half = 0.3125 s = rerun: time with a=a*two"),
    ],
)
def test_tampered_reruns_are_caught(line, tampered):
    work = list(RERUNS["work"])
    work[line] = tampered
    assert not verify({**RERUNS, "work": work}).ok


def test_many_reruns_stay_bounded():
    work = ["you: a=1", *(f"vary r{i}: x = a" for i in range(60))]
    work += [f"vary.c{i} = rerun: a with a=a*2" for i in range(100)]
    assert any("reruns" in p for p in verify({"work": work, "result": {}, "sources": []}).problems)


def test_an_unlisted_or_falsely_checked_source_is_caught():
    assert not verify(changed(sources=PROGRAM["sources"][:1])).ok
    work = ["zoo chip [a_source?]: rate=4", *PROGRAM["work"][1:]]
    assert not verify(changed(work=work)).ok


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1+2*3", 7),
        ("(1+2)*3", 9),
        ("2**3**2", 512),
        ("-2**2", -4),
        ("2**-1", 0.5),
        ("7//2", 3),
        ("7%4", 3),
        ("1<2 and not 3<2", 1),
        ("where(1>2,10,20)", 20),
        ("max(1,5,3)-min(4,2)", 3),
        ("sqrt(16)+abs(-3)+ceil(1.2)+floor(1.8)", 10),
        ("exp(log(7))", 7),
        ("10-4-3", 3),
        ("100/10/2", 5),
    ],
)
def test_expressions(text, expected):
    assert evaluate(text, {}) == pytest.approx(expected)


def test_special_functions_against_published_values():
    # Erlang C for 2 servers at 1 erlang is 1/3 exactly; for 10 at 8 erlangs tables print 0.4092.
    assert evaluate("erlang_c(2,1)", {}) == pytest.approx(1 / 3)
    assert evaluate("erlang_c(10,8)", {}) == pytest.approx(0.4092, abs=5e-5)
    assert evaluate("norm_ppf(0.975)", {}) == pytest.approx(1.959964, abs=1e-6)
    assert evaluate("norm_cdf(1.959964)", {}) == pytest.approx(0.975, abs=1e-6)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1+",
        "(",
        ")",
        "f(1)",
        "1 2",
        "a",
        "1,2",
        "max()",
        "__import__('os')",
        "1/0",
        "log(-1)",
        "9**9**9",
        "1e308*10",
        "٣",
        "a.b.c",
    ],
)
def test_what_is_not_of_the_grammar_is_refused(text):
    with pytest.raises(ProgramError):
        evaluate(text, {})


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "[]",
        "{}",
        "[" * 100_000,
        '{"a":1,"a":2}',
        '{"work": NaN}',
        '{"work":["x = 1 = 1"],"result":{},"sources":null}',
        "\x00",
        "x" * 2_000_000,
        json.dumps({"work": ["a = " + "(" * 200 + "1" + ")" * 200 + " = 1"], "result": {}, "sources": []}),
        json.dumps({"work": ["a = 1 = 1"] * 1000, "result": {}, "sources": []}),
        json.dumps({"work": ["you: a=1e999"], "result": {}, "sources": []}),
    ],
)
def test_hostile_texts_give_a_report(text):
    report = verify_text(text)
    assert not report.ok
    assert report.text().startswith("NOT verified")


def test_many_searches_stay_bounded():
    work = ["you: a=1", *(f"s{i} = 1 = search: smallest a in 1..9 with a>=1" for i in range(100))]
    assert any("searches" in p for p in verify({"work": work, "result": {}, "sources": []}).problems)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.text(max_size=60), max_size=12))
def test_random_lines_never_raise(lines):
    verify({"work": lines, "result": {"a": 1.0}, "sources": ["a: b"]})


@settings(max_examples=300, deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(max_size=9),
        lambda c: (
            st.lists(c, max_size=4)
            | st.dictionaries(st.sampled_from(["work", "result", "sources", "x", "structuredContent"]), c, max_size=4)
        ),
    )
)
def test_random_data_never_raises(data):
    assert verify(data).text()


@settings(max_examples=300, deadline=None)
@given(st.integers(0, len(PROGRAM["work"]) - 1), st.integers(0, 80), st.characters())
def test_one_changed_character_never_raises(line, at, character):
    work = list(PROGRAM["work"])
    text = work[line]
    work[line] = text[:at] + character + text[at + 1 :]
    verify(changed(work=work))


CALLS = [
    {"model": "llama-3.1-8b", "hardware": "h100"},
    {"model": "llama-3.1-8b", "hardware": "h100", "baseline_hardware": "a100"},
    {"model": "llama-3.1-8b", "hardware": "h100", "baseline_hardware": "mi300x", "phase": "prefill"},
    {"model": "llama-3.1-70b", "hardware": "h100", "n_accelerators": 4, "weight_dtype": "fp8", "batch_sizes": [1, 16]},
    {"model": "deepseek-v3", "hardware": "h200", "n_accelerators": 8, "seq_len": 4096},
    {"model": "gpt-oss-120b", "hardware": "b200", "phase": "inference"},
    {"model": "mixtral-8x7b", "hardware": "a100", "phase": "training"},
    {"model": "gemma-3-27b", "hardware": "tpu v5e", "phase": "prefill"},
    {"model": "mamba-2.8b", "hardware": "l4"},
    {"model": "bert-large", "hardware": "t4", "seq_len": 512},
    {"model": "resnet-50", "hardware": "a100"},
    {"model": "resnet-50", "hardware": "v100", "phase": "training", "batch_sizes": [256]},
    {"hardware": "rtx 4090", "flops": 1e12, "bytes": 1e9},
]


@pytest.mark.parametrize("arguments", CALLS, ids=str)
@pytest.mark.parametrize("detail", ["default", "full"])
def test_every_answer_is_recomputed(ask, arguments, detail):
    answer = ask("roofline", detail=detail, **arguments)
    report = verify(json.loads(json.dumps(answer)))
    assert report.problems == []
    assert report.result_numbers >= 8
    numbers = [v for v in answer["result"].values() if isinstance(v, float)]
    assert all(math.isfinite(v) for v in numbers)


@pytest.mark.parametrize(
    "model", ["llama-3.1-8b", "llama-3.1-70b", "mixtral-8x7b", "deepseek-v3", "gpt-oss-120b", "gemma-3-27b"]
)
@pytest.mark.parametrize("hardware", ["h100", "mi300x"])
@pytest.mark.parametrize("ranks", [1, 8])
def test_every_cache_is_recomputed(ask, model, hardware, ranks):
    report = verify(ask("kv_capacity", model=model, hardware=hardware, n_accelerators=ranks))
    assert report.problems == []


def test_a_tampered_answer_is_caught_wherever_a_step_is_changed(ask):
    answer = ask("roofline", model="llama-3.1-8b", hardware="h100")
    steps = [i for i, line in enumerate(answer["work"]) if line.count(" = ") == 2 and ": " not in line]
    assert len(steps) > 15
    for i in steps:
        work = list(answer["work"])
        head, _, tail = work[i].rpartition(" = ")
        number, _, rest = tail.partition(" ")
        work[i] = f"{head} = {float(number) * 1.001:.6g} {rest}".rstrip()
        assert not verify({**answer, "work": work}).ok, work[i]
