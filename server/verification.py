"""Recompute an answer from the answer alone: `mlwalls verify`, and the independent check in the tests.

Reads `work` by the published grammar (docs/grammar.md) with nothing of the solvers, checks every printed number,
choice, search and check, then every number of `result`, and that every source cited is listed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from mlwalls.server.expression_reader import Number
from mlwalls.server.program_reader import Program, Report, agree, is_number, shown
from mlwalls.server.witnesses import check_searches

MAX_LINES = 400
MAX_LINE = 4000
MAX_TEXT = 1_000_000

# Unit suffixes of result fields, from the published table.
_SUFFIXES: dict[str, float] = {
    **{"s": 1, "ms": 1e-3, "us": 1e-6, "ns": 1e-9, "h": 3600, "days": 86400, "years": 31536000},
    **{"bytes": 1, "kb": 1e3, "mb": 1e6, "gb": 1e9, "tb": 1e12, "pb": 1e15},
    **{"kib": 2.0**10, "mib": 2.0**20, "gib": 2.0**30},
    **{"flop": 1, "gflop": 1e9, "tflop": 1e12, "pflop": 1e15, "eflop": 1e18, "zflop": 1e21},
    **{"bytes_per_s": 1, "gb_per_s": 1e9, "tb_per_s": 1e12},
    **{"flop_per_s": 1, "gflop_per_s": 1e9, "tflop_per_s": 1e12, "pflop_per_s": 1e15},
    **{"flop_per_byte": 1, "bytes_per_token": 1, "tokens": 1, "tokens_per_s": 1, "samples": 1, "samples_per_s": 1},
    **{"sequences": 1, "per_s": 1, "steps": 1, "percent": 0.01, "w": 1, "kw": 1e3, "mw": 1e6},
    **{"j": 1, "wh": 3600, "kwh": 3.6e6, "mwh": 3.6e9, "gwh": 3.6e12},
    **{"usd": 1, "usd_per_h": 1 / 3600, "usd_per_s": 1, "usd_per_year": 1 / 31536000, "usd_per_million_tokens": 1e-6},
    **{"kg": 1, "g": 1e-3, "t": 1e3, "g_per_kwh": 1e-3 / 3.6e6, "l": 1, "ml": 1e-3, "m3": 1e3},
}


def verify_text(text: str) -> Report:
    """Verify an answer given as JSON text. Never raises."""
    report = Report()
    if len(text) > MAX_TEXT:
        report.add(f"larger than {MAX_TEXT} characters")
        return report
    try:
        answer = json.loads(text, object_pairs_hook=_no_duplicates, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        report.add(f"not JSON: {error}")
        return report
    return verify(answer)


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key is given twice")
    return found


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is not a number")


def verify(answer: object) -> Report:
    """Verify an answer (or a tool result that holds one). Never raises, whatever it is given."""
    report = Report()
    if isinstance(answer, Mapping) and isinstance(answer.get("structuredContent"), Mapping):
        answer = answer["structuredContent"]
    if not isinstance(answer, Mapping):
        report.add("an answer is an object")
        return report
    work, result, sources = answer.get("work"), answer.get("result"), answer.get("sources")
    if not isinstance(work, list) or not work or not all(isinstance(line, str) for line in work):
        report.add("work: missing (was the answer asked for with detail=brief?)")
        return report
    if len(work) > MAX_LINES or any(len(line) > MAX_LINE for line in work):
        report.add(f"work: more than {MAX_LINES} lines or a line over {MAX_LINE} characters")
        return report
    if not isinstance(result, Mapping) or not isinstance(sources, list):
        report.add("result and sources: missing")
        return report
    program = Program(work, report)
    program.run()
    if program.complete:
        check_searches(program)
        _check_result(result, answer.get("binding_wall"), program, report)
    _check_sources(program.cited, sources, report)
    return report


def _check_result(result: Mapping[str, Any], wall: object, program: Program, report: Report) -> None:
    fields = dict(result)
    if isinstance(wall, Mapping) and "share" in wall:
        fields["binding_share"] = wall["share"]
    for name, printed in fields.items():
        numbers = printed if isinstance(printed, list) else [printed]
        if not numbers or not all(is_number(x) for x in numbers):
            if any(is_number(x) for x in numbers):
                report.add(f"result.{name}: not all numbers")
            continue
        expected = _named(str(name), isinstance(printed, list), program)
        if expected is None:
            report.add(f"result.{name}: no name of the work stands for it")
            continue
        value, factor = expected
        given: Number = [float(x) * factor for x in numbers] if isinstance(printed, list) else float(printed) * factor
        if not isinstance(printed, list) and isinstance(value, list):
            value = value[0]
        report.result_numbers += len(numbers)
        if not agree(value, given):
            report.add(f"result.{name}: {shown(given)} in SI, the work gives {shown(value)}")


def _named(name: str, many: bool, program: Program) -> tuple[Number, float] | None:
    if many and name.endswith("_list"):
        name = name.removesuffix("_list")
    for stem, factor in _stems(name):
        if stem in program.values:
            return program.values[stem], factor
        table, _, column = stem.partition("_")
        rows = (
            [program.tables[table].cells(row) for row in program.tables[table].rows] if table in program.tables else []
        )
        if many and any(column in row for row in rows):
            cells = [row.get(column, 0.0) for row in rows]
            if all(not isinstance(c, list) for c in cells):
                return [c for c in cells if not isinstance(c, list)], factor
    return None


def _stems(name: str) -> list[tuple[str, float]]:
    found = [(name, 1.0)]
    parts = name.split("_")
    for at in range(1, len(parts)):
        suffix = "_".join(parts[at:])
        if suffix in _SUFFIXES:
            found.append(("_".join(parts[:at]), _SUFFIXES[suffix]))
    return found


def _check_sources(cited: list[tuple[int, str]], sources: list[Any], report: Report) -> None:
    listed = {name for source in sources for name in str(source).partition(": ")[0].split(", ")}
    plain = {source.rstrip("?") for source in listed}
    for number, source in cited:
        if source.rstrip("?") not in plain:
            report.add(f"work[{number}]: source {source} is not listed")
        elif source.endswith("?") and source not in listed:
            report.add(f"work[{number}]: {source} is unchecked, but listed as checked")
