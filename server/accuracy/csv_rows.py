"""Serving latencies as CSV: id, backend, model_path, system, precision, isl, osl, …, silicon_ttft_ms, silicon_tpot_ms.

How the columns are read and which rows are left out with what reason: :mod:`mlwalls.zoo.measured`. Times are predicted by the
serving-latency model as it ships (:mod:`mlwalls.solvers.serving`), in milliseconds.
"""

from __future__ import annotations

from typing import Literal

from mlwalls.server.accuracy.report import Outcome, Scored, Skipped
from mlwalls.solvers.derivation import Derivation, NonFiniteError
from mlwalls.solvers.errors import CallError
from mlwalls.solvers.numbers import Numbers
from mlwalls.solvers.serving import ENGINES, resolve_serving, serve
from mlwalls.zoo import Zoo, ZooError
from mlwalls.zoo.measured import MeasuredRow, UnusedRow, read_rows

Quantity = Literal["tpot", "ttft"]


def is_format(text: str) -> bool:
    """Whether a text begins with this format's header."""
    return text.startswith("id,backend,")


def score(text: str, zoo: Zoo, quantity: Quantity = "tpot") -> list[Outcome]:
    """Predict the time per output token of every row, or the time to the first one."""
    return [_outcome(row, zoo, quantity) for row in read_rows(text, zoo)]


def _outcome(row: MeasuredRow | UnusedRow, zoo: Zoo, quantity: Quantity) -> Outcome:
    if isinstance(row, UnusedRow):
        return Skipped(row.id, quantity, row.reason, row.excluded)
    if quantity == "ttft" and row.warm_up:
        return Skipped(row.id, quantity, "holds the server's warm-up", True)
    try:
        found = predicted(row, zoo)
    except (CallError, ZooError, NonFiniteError) as error:
        return Skipped(row.id, quantity, " ".join(str(error).split()))
    measured = row.tpot if quantity == "tpot" else row.ttft
    return Scored(
        row.id,
        quantity,
        measured * 1e3,
        1e3 * found[quantity],
        1e3 * found[f"{quantity}_low"],
        1e3 * found[f"{quantity}_high"],
        {"model": row.family, "chip": row.hardware, "engine": row.engine},
    )


def predicted(row: MeasuredRow, zoo: Zoo) -> dict[str, float]:
    """Return the model's figures for a row: `tpot`, `ttft` and their intervals (s), `decoding` (sequences)."""
    n = Numbers()
    n.you("prompt", row.prompt, "token")
    n.you("output", row.output, "token")
    n.you("concurrency", row.concurrency)
    replica = resolve_serving(
        n,
        zoo.get("models", row.model),
        zoo.get("hardware", row.hardware),
        row.ranks,
        [],
        weight_format=row.weight_format,
        engine=row.engine if row.engine in ENGINES else "",
        data_parallel=row.data_parallel,
    )
    out = serve(replica, n, Derivation(record=False))
    return {name: float(value.value) for name, value in out.items()}
