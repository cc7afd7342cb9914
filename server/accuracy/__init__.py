"""Predictions against published measurements: `mlwalls accuracy FILE`.

A file is read by its format (:mod:`published`: YAML rows of many kinds; :mod:`csv_rows`: serving latencies), every row is
predicted by the solvers' own computations, and the errors are reported with every row that could not be predicted.
"""

from __future__ import annotations

from pathlib import Path

from mlwalls.server.accuracy.report import Outcome
from mlwalls.zoo import Zoo

__all__ = ["FormatError", "score_file"]

MAX_BYTES = 20_000_000


class FormatError(ValueError):
    """A file is in none of the formats that can be scored; says what was expected."""


def score_file(path: Path, zoo: Zoo, first_token: bool = False) -> list[Outcome]:
    """Predict every row of a file; of serving latencies the time per output token, or to the `first_token`.

    Raises:
        FormatError: the file cannot be read as rows; names the line or row.
    """
    from mlwalls.server.accuracy import csv_rows, published

    try:
        with path.open(encoding="utf-8") as file:
            text = file.read(MAX_BYTES + 1)
    except (OSError, UnicodeDecodeError) as error:
        raise FormatError(f"cannot read {path}: {error}") from error
    if len(text) > MAX_BYTES:
        raise FormatError(f"{path} is larger than {MAX_BYTES:,} characters")
    if csv_rows.is_format(text):
        return csv_rows.score(text, zoo, "ttft" if first_token else "tpot")
    return published.score(text, zoo)
