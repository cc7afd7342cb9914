"""Predictions of cache pools that an engine printed at start-up, of decode rates published for wafer-scale systems, of
compute-optimal sizes, and of image rates.

Two calibrations keep their rows in a form of their own; `as_published` writes them as {id, kind, inputs, value}.
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
    return _scored(row, predicted, groups, low, high)


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
    arguments = {
        "model": given.get("same_layers_as", given["model"]),
        "execution": "resident",
        "weight_dtype": "native",
        "draft_model": given["software"] == "drafted",
    }
    result = _result("wafer_scale", arguments, zoo)
    groups = {"model": given["model"], "source": given["source"]}
    return _scored(row, result.user_rate_tokens_per_s, groups, 1e3 / result.high_ms, 1e3 / result.low_ms)


def optimum(row: Row, zoo: Zoo) -> Outcome:
    """Predict the tokens (in billions) on which a budget is best spent, by the approach that the row's table is of."""
    law = "hoffmann_1" if "Approach 1" in str(row.get("source", "")) else "besiroglu"
    result = _result("scaling_law", {"compute_flop": float(row["inputs"]["flops"]), "law": law}, zoo)
    return _scored(row, result.optimal_tokens / 1e9, {"law": law})


def vision(row: Row, zoo: Zoo) -> Outcome:
    """Predict the images a second of a system of accelerators that share nothing."""
    given = row["inputs"]
    number = given.get("num_gpus", 1)
    arguments = {
        "model": given["model"],
        "hardware": given["gpu"],
        "phase": "inference",
        "batch_sizes": [given.get("batch", OFFLINE_BATCH)],
        "weight_dtype": given.get("precision", "bf16"),
    }
    result = _result("roofline", arguments, zoo)
    rate = result.throughput_samples_per_s
    low, high = (number * rate * result.expected_ms / bound for bound in (result.high_ms, result.low_ms))
    return _scored(row, number * rate, {"model": given["model"]}, low, high)


def pipeline(row: Row, zoo: Zoo) -> Outcome:
    """Predict what accelerators demand of a loader; what cores and storage deliver are inputs of the tool."""
    given = row["inputs"]
    if "num_gpus" not in given or "vcpus" in given:
        return Skipped(row["id"], row["kind"], "what a core or the storage delivers is an input of the tool")
    model, chip = given["model"].split()[0], given["gpu"]
    arguments = {"model": model, "hardware": chip, "n_accelerators": given["num_gpus"], "cpu_workers": 1}
    solver = solvers()["pipeline_bottleneck"]
    assumed = solver.resolve(solver.request.model_validate(arguments), zoo).numbers.mfu.origin
    assert assumed.low is not None and assumed.high is not None
    bounds = [
        _result("pipeline_bottleneck", {**arguments, **mfu}, zoo).accelerator_rate_samples_per_s
        for mfu in ({}, {"mfu_percent": 100 * assumed.low}, {"mfu_percent": 100 * assumed.high})
    ]
    return _scored(row, bounds[0], {"stage": "accelerators"}, bounds[1], bounds[2])


def _result(tool: str, arguments: dict[str, Any], zoo: Zoo) -> Any:
    solver = solvers()[tool]
    return solver.run(solver.request.model_validate(arguments), zoo).presentation.result


def _scored(
    row: Row, predicted: float, groups: dict[str, str], low: float | None = None, high: float | None = None
) -> Scored:
    return Scored(row["id"], row["kind"], float(row["value"]), predicted, low, high, groups)


# Of an offline run that does not state it.
OFFLINE_BATCH = 2048
SCORERS: dict[str, Scorer] = {
    POOL: pool,
    RATE: rate,
    "scaling_law": optimum,
    "vision_throughput": vision,
    "data_pipeline": pipeline,
}
