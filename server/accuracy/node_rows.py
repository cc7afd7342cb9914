"""Predictions of cache pools that an engine printed at start-up, and of decode rates published for wafer-scale systems.

Both calibrations keep their rows in a form of their own; `as_published` writes them as {id, kind, inputs, value}.
"""

from __future__ import annotations

from typing import Any

from mlwalls.server.accuracy.published import Row, Scorer
from mlwalls.server.accuracy.report import Outcome, Scored, Skipped
from mlwalls.solvers.derivation import Derivation
from mlwalls.solvers.registry import solvers
from mlwalls.zoo import Zoo

GIB = 2**30
POOL, RATE = "kv_cache_pool", "wafer_decode_rate"


def as_published(row: Any) -> Any:
    """Return a row of either calibration in the common form, and any other row as it is."""
    if not isinstance(row, dict) or "inputs" in row or "id" not in row:
        return row
    if "available_kv_gib" in row and "vllm_version" in row:
        value = row["available_kv_gib"]
        # A refused start printed no pool, or none above 0: such a row is skipped, whatever stands here.
        return {"id": row["id"], "kind": POOL, "inputs": row, "value": value if value and value > 0 else 1}
    if "software" in row and "rate" in row:
        return {"id": row["id"], "kind": RATE, "inputs": row, "value": row["rate"]}
    return row


def pool(row: Row, zoo: Zoo) -> Outcome:
    """Predict the GiB that vLLM printed as available for its cache."""
    given = row["inputs"]
    if reason := _not_comparable(given):
        return Skipped(row["id"], row["kind"], reason, bool(given.get("excluded")))
    arguments = {
        "model": given["zoo_model"],
        "hardware": given["gpu"],
        "seq_len": given["max_model_len"],
        "n_accelerators": given["tensor_parallel"],
        "gpu_memory_utilization": given["gpu_memory_utilization"],
        "max_num_batched_tokens": given["max_num_batched_tokens"],
        "max_num_seqs": given["max_num_seqs"],
        "kv_dtype": "fp8" if given["kv_dtype"] == "fp8" else "bf16",
        "weight_dtype": "fp8" if given["quantization"] == "fp8" else "native",
        "set": [f"driver={given['total_gpu_gib'] * GIB}"],
    }
    solver = solvers()["kv_capacity"]
    problem = solver.resolve(solver.request.model_validate(arguments), zoo)
    problem.numbers.override(arguments["set"])
    out = solver.compute(problem.structure, problem.numbers, Derivation(record=False))
    predicted, low, high = (float(out[name].value) / GIB for name in ("pool", "pool_low", "pool_high"))
    groups = {"model": given["zoo_model"], "chip": given["gpu"]}
    return Scored(row["id"], row["kind"], float(row["value"]), predicted, low, high, groups)


def _not_comparable(given: Row) -> str:
    if given.get("excluded"):
        return str(given["excluded"])
    if given["outcome"] == "refused" or not given.get("available_kv_gib"):
        return "the engine refused to start or printed no pool"
    if not given.get("zoo_model"):
        return "the model is not in the zoo"
    release = tuple(int(part) for part in str(given["vllm_version"]).split(".") if part.isdigit())
    if given["engine"] != "v1" or release < (0, 18):
        return "the tool answers for release 0.18 and later"
    return "" if given["quantization"] in (None, "fp8") else "the tool has no such checkpoint format"


def rate(row: Row, zoo: Zoo) -> Outcome:
    """Predict the tokens a second that one user of a wafer-scale system sees."""
    given = row["inputs"]
    solver = solvers()["wafer_scale"]
    arguments = {
        "model": given.get("same_layers_as", given["model"]),
        "execution": "resident",
        "weight_dtype": "native",
        "draft_model": given["software"] == "drafted",
    }
    result: Any = solver.run(solver.request.model_validate(arguments), zoo).presentation.result
    low, high = 1e3 / result.high_ms, 1e3 / result.low_ms
    groups = {"model": given["model"], "source": given["source"]}
    return Scored(row["id"], row["kind"], float(row["value"]), result.user_rate_tokens_per_s, low, high, groups)


SCORERS: dict[str, Scorer] = {POOL: pool, RATE: rate}
