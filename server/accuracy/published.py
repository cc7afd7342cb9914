"""Published measurements of many kinds: YAML, ``rows:`` a list of {id, kind, inputs, value, unit, source, checked}."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from mlwalls.server.accuracy.report import Outcome, Skipped
from mlwalls.solvers.errors import CallError
from mlwalls.zoo import Zoo, ZooError

Row = Mapping[str, Any]
Scorer = Callable[[Row, Zoo], Outcome]


def scorers() -> dict[str, Scorer]:
    """Return what predicts each kind of row."""
    from mlwalls.server.accuracy import node_rows, operations_rows, serving_rows, training_rows

    return {**training_rows.SCORERS, **serving_rows.SCORERS, **operations_rows.SCORERS, **node_rows.SCORERS}


def score(text: str, zoo: Zoo) -> list[Outcome]:
    """Predict every row of a file's text.

    Raises:
        FormatError: no list of rows, or a row without id, kind, inputs or a value above 0.
    """
    known = scorers()
    outcomes: list[Outcome] = []
    for row in _rows(text):
        scorer = known.get(row["kind"])
        if scorer is None:
            outcomes.append(Skipped(row["id"], row["kind"], "no solver predicts this kind"))
            continue
        try:
            outcomes.append(scorer(row, zoo))
        except (CallError, ZooError) as error:
            outcomes.append(Skipped(row["id"], row["kind"], " ".join(str(error).split())))
    return outcomes


def _rows(text: str) -> list[dict[str, Any]]:
    import yaml

    from mlwalls.server.accuracy import FormatError
    from mlwalls.server.accuracy.node_rows import as_published

    try:
        loaded = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise FormatError(f"neither the CSV of serving latencies nor YAML: {error}") from error
    rows = loaded.get("rows") if isinstance(loaded, dict) else None
    if not isinstance(rows, list) or not rows:
        raise FormatError("expected a CSV of serving latencies (id,backend,…) or YAML with a list under `rows:`")
    rows = [as_published(row) for row in rows]
    for at, row in enumerate(rows, 1):
        problem = _problem(row)
        if problem:
            raise FormatError(f"row {at}{_named(row)}: {problem}")
    return rows


def _problem(row: Any) -> str:
    if not isinstance(row, dict):
        return "not a mapping of id, kind, inputs, value"
    missing = [name for name in ("id", "kind", "inputs", "value") if name not in row]
    if missing:
        return f"without {', '.join(missing)}"
    if not isinstance(row["inputs"], dict):
        return "inputs is not a mapping"
    value = row["value"]
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < float("inf"):
        return f"value {value!r} is not a number above 0"
    row["id"], row["kind"] = str(row["id"]), str(row["kind"])
    return ""


def _named(row: Any) -> str:
    return f" ({row['id']})" if isinstance(row, dict) and "id" in row else ""
