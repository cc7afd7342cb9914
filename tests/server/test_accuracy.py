"""The accuracy report: statistics by hand, rows that no solver predicts, files that are not rows."""

import json

import pytest

from mlwalls.server.accuracy import FormatError, score_file
from mlwalls.server.accuracy.report import Scored, Skipped, report_text, summary
from mlwalls.server.cli import main


def test_statistics_by_hand():
    rows = [
        Scored("a", "x", measured=100, predicted=110, low=95, high=120, groups={"chip": "h100"}),
        Scored("b", "x", measured=100, predicted=80, low=70, high=90, groups={"chip": "h100"}),
        Scored("c", "y", measured=10, predicted=10, groups={"chip": "b200"}),
        Skipped("d", "y", "no such chip"),
        Skipped("e", "y", "a copy of c", excluded=True),
    ]
    report = summary(rows)
    # Errors are +10, -20 and 0 %: mean 10, median 10, bias -3.33, P90 between 10 and 20 at 0.8 of the way.
    assert report["all"] == {"rows": 3, "mean": 10, "median": 10, "bias": -3.33, "p90": 18, "coverage": 50}
    assert report["by"]["chip"]["h100"]["mean"] == 15
    assert "coverage" not in report["by"]["kind"]["y"]
    assert report["unanswerable"] == {"y: no such chip": 1}
    assert report["excluded"] == {"y: a copy of c": 1}
    text = report_text(report)
    assert "3 of 5 rows predicted" in text
    assert "1  y: a copy of c" in text


def test_an_unknown_kind_is_counted_with_its_reason(tmp_path, capsys):
    file = tmp_path / "rows.yaml"
    file.write_text("rows: [{id: a, kind: horoscope, inputs: {}, value: 1, unit: s}]")
    assert main(["accuracy", str(file), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["scored"] == 0
    assert report["unanswerable"] == {"horoscope: no solver predicts this kind": 1}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "expected a CSV"),
        ("rows: 3", "expected a CSV"),
        ("rows: [{id: a}]", "row 1 (a): without kind, inputs, value"),
        ("rows: [{id: a, kind: b, inputs: {}, value: -1}]", "row 1 (a): value -1 is not a number above 0"),
        ("rows: [{id: a, kind: b, inputs: [], value: 1}]", "inputs is not a mapping"),
        ("rows: [}", "neither the CSV"),
    ],
)
def test_a_file_that_is_not_rows_is_refused(tmp_path, text, said):
    file = tmp_path / "rows.yaml"
    file.write_text(text)
    with pytest.raises(FormatError) as error:
        score_file(file, None)
    assert said in str(error.value)


def test_a_missing_file_is_named(tmp_path, capsys):
    assert main(["accuracy", str(tmp_path / "none.csv")]) == 2
    assert "cannot read" in capsys.readouterr().err
