"""Predictions of published rows on serving: decode and prefill rates, latencies, caches, memory.

Every prediction is a tool's answer (:func:`answer`) or the serving-latency model's, to the question that the row states. A row
that leaves a number open which the answer depends on is not predicted, and says which.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from mlwalls.server.accuracy.csv_rows import predicted
from mlwalls.server.accuracy.published import Row, Scorer
from mlwalls.server.accuracy.report import Outcome, Scored, Skipped
from mlwalls.solvers.derivation import Derivation, Value
from mlwalls.solvers.equations.fleet import sustained_of_peak
from mlwalls.solvers.fleet_numbers import BEST_SHAPE, BEST_SHAPE_ELSEWHERE, BEST_SHAPE_RANGE
from mlwalls.solvers.registry import solvers
from mlwalls.zoo import Zoo
from mlwalls.zoo.entry import Entry, UnknownName
from mlwalls.zoo.measured import MeasuredRow

# Weight formats as rows spell them: the tool's format, and the bytes a weight where they differ (llama.cpp's K-quants and
# gpt-fast's groups of 32 with a 16-bit scale and zero).
FORMATS: dict[str, tuple[str, float | None]] = {
    "bf16": ("bf16", None),
    "fp16": ("fp16", None),
    "f16": ("fp16", None),
    "int8": ("int8", None),
    "fp8": ("fp8", None),
    "fp4": ("nvfp4", None),
    "int4-g32": ("int4", 0.625),
    "q4_k_m": ("int4", 0.606),
    "q4_0": ("int4", 0.5625),
}

TERA = 1e12


def answer(tool: str, zoo: Zoo, **arguments: Any) -> Mapping[str, Any]:
    """Ask a solver; returns the typed result."""
    solver = solvers()[tool]
    run = solver.run(solver.request.model_validate(arguments), zoo)
    return run.presentation.result.model_dump()


def entry(kind: str, text: str, zoo: Zoo) -> Entry:
    """Return the entry that a row's name means; a memory size, core count or link domain at its end may be left out.

    Raises:
        UnknownName: the zoo has no such entry.
    """
    name = re.split(r"[@(]", text.rsplit("/", 1)[-1])[0].replace("_", " ").strip()
    while True:
        try:
            return zoo.resolve(kind, name).entry
        except UnknownName:
            shorter = re.sub(r"\s+(\d+\s?Gi?B|\d+-core|NVL\d+)$", "", name)
            if shorter == name:
                raise
            name = shorter


def _weights(row: Row) -> dict[str, Any]:
    stated = str(row["inputs"].get("weights") or row["inputs"].get("precision") or "").lower()
    form, width = FORMATS.get(stated, ("native", None))
    return {"weight_dtype": form, **({"set": [f"w_bytes={width}"]} if width else {})}


def _groups(model: Entry, chip: Entry, row: Row) -> dict[str, str]:
    engine = str(row["inputs"].get("engine") or row["id"].partition("_")[0]).partition(" ")[0]
    return {"model": model.id, "chip": chip.id, "engine": engine}


def _pass(row: Row, zoo: Zoo, phase: str, length: int, batch: int) -> tuple[Mapping[str, Any], dict[str, str]]:
    inputs = row["inputs"]
    named = inputs.get("gpu") or inputs["chip"]
    model, chip = entry("models", inputs["model"], zoo), entry("hardware", named, zoo)
    stated = _weights(row)
    if re.search(r"NVL\d+$", named) and chip.has("link.bandwidth"):
        # A domain as large as the row says, whatever the zoo's chip has: the group talks over its link.
        stated["set"] = [*stated.get("set", []), f"link={chip.number('link.bandwidth').value}"]
    result = answer(
        "roofline",
        zoo,
        model=model.id,
        hardware=chip.id,
        phase=phase,
        batch_sizes=[batch],
        seq_len=length,
        n_accelerators=int(inputs.get("tp") or inputs.get("num_gpus") or inputs.get("num_chips") or 1),
        **stated,
    )
    return result, _groups(model, chip, row)


def _decode_rate(row: Row, zoo: Zoo) -> Outcome:
    inputs = row["inputs"]
    if "system" in inputs:
        return Skipped(row["id"], row["kind"], "a hosted system: its machines and their number are not stated")
    batch = int(inputs.get("batch", 1))
    # Half of what is generated stands in the cache on average.
    length = inputs.get("context_tokens") or int(inputs.get("gen_tokens") or 128) // 2
    result, groups = _pass(row, zoo, "decode", int(length), batch)
    return _rate(row, result, 1, groups)


def _prefill_rate(row: Row, zoo: Zoo) -> Outcome:
    tokens = int(row["inputs"]["prompt_tokens"])
    result, groups = _pass(row, zoo, "prefill", tokens, 1)
    return _rate(row, result, tokens, groups)


def _rate(row: Row, result: Mapping[str, Any], tokens: int, groups: dict[str, str]) -> Outcome:
    rates = [tokens / (result[name] * 1e-3) for name in ("expected_ms", "high_ms", "low_ms")]
    return _scored(row, rates, groups)


def _scored(row: Row, figures: Sequence[float], groups: Mapping[str, str]) -> Scored:
    """Return a row with its expectation, low and high end, in this order."""
    expected, low, high = figures
    return Scored(row["id"], row["kind"], row["value"], expected, low, high, groups)


def _prefill_latency(row: Row, zoo: Zoo) -> Outcome:
    inputs = row["inputs"]
    result, groups = _pass(row, zoo, "prefill", int(inputs["input"]), int(inputs.get("batch", 1)))
    times = [result[name] * 1e-3 for name in ("expected_ms", "low_ms", "high_ms")]
    return _scored(row, times, groups)


def _decode_latency(row: Row, zoo: Zoo) -> Outcome:
    inputs = row["inputs"]
    result, groups = _pass(row, zoo, "decode", int(inputs["context"]), int(inputs["batch"]))
    return _scored(row, [result[f"{k}_ms"] for k in ("expected", "low", "high")], groups)


def _prefill_mfu(row: Row, zoo: Zoo) -> Outcome:
    inputs = row["inputs"]
    result, groups = _pass(row, zoo, "prefill", int(inputs["input"]), int(inputs["batch"]))
    slower, faster = (result["expected_ms"] / result[name] for name in ("high_ms", "low_ms"))
    share = result["mfu_percent"]
    return Scored(row["id"], row["kind"], row["value"], share, share * slower, share * faster, groups=groups)


def _tpot(row: Row, zoo: Zoo) -> Outcome:
    inputs = row["inputs"]
    model, chip = entry("models", inputs["model"], zoo), entry("hardware", inputs["gpu"], zoo)
    native = model.text("checkpoint.dtype") == "mxfp4"
    question = MeasuredRow(
        id=row["id"],
        model=model.id,
        family=model.id,
        hardware=chip.id,
        engine=str(inputs.get("engine", "")).partition(" ")[0],
        version="",
        weight_format="native" if native else _weights(row)["weight_dtype"],
        ranks=int(inputs.get("tp", 1)),
        data_parallel=False,
        prompt=int(inputs["isl"]),
        output=int(inputs["osl"]),
        concurrency=int(inputs["concurrency"]),
        ttft=0.0,
        tpot=0.0,
    )
    found = predicted(question, zoo)
    times = [1e3 * found[name] for name in ("tpot", "tpot_low", "tpot_high")]
    return _scored(row, times, _groups(model, chip, row))


def _cache(row: Row, zoo: Zoo) -> Outcome:
    inputs = row["inputs"]
    model, chip = entry("models", inputs["model"], zoo), entry("hardware", inputs["gpu"], zoo)
    result = answer(
        "kv_capacity",
        zoo,
        model=model.id,
        hardware=chip.id,
        n_accelerators=int(inputs.get("tp", 1)),
        gpu_memory_utilization=float(inputs.get("gpu_memory_utilization", 0.9)),
        weight_dtype=_weights(row)["weight_dtype"],
    )
    ends = [result["pool_gib"] * result[f"cache_{end}_tokens"] / result["cache_tokens"] for end in ("low", "high")]
    return _scored(row, [result["pool_gib"], *ends], _groups(model, chip, row))


def _cache_token(row: Row, zoo: Zoo) -> Outcome:
    model = entry("models", row["inputs"]["model"], zoo)
    # The bytes of a token do not depend on the chip; this one holds any model of the zoo in tensor parallel of one.
    result = answer(
        "kv_capacity", zoo, model=model.id, hardware="nvidia-gb300", kv_dtype=row["inputs"].get("dtype", "bf16")
    )
    return Scored(row["id"], row["kind"], row["value"], result["kv_token_bytes"], groups={"model": model.id})


def _memory(row: Row, zoo: Zoo) -> Outcome:
    inputs = row["inputs"]
    model = entry("models", inputs["model"], zoo)
    setup = re.search(r"inference (\w+) b(\d+) s(\d+)", str(inputs["setup"]))
    if setup is None:
        return Skipped(row["id"], row["kind"], "the setup does not state format, batch and length")
    # Weights and cache do not depend on the chip.
    result = answer(
        "roofline",
        zoo,
        model=model.id,
        hardware="nvidia-h200-sxm-141gb",
        weight_dtype=setup[1],
        batch_sizes=[int(setup[2])],
        seq_len=int(setup[3]),
    )
    return Scored(row["id"], row["kind"], row["value"], result["needed_gb"], groups={"model": model.id})


def _matmul(row: Row, zoo: Zoo) -> Outcome:
    """Predict the best shape's rate: the zoo's of this chip, else the share of the peak that its generation's boards reach."""
    chip, width = entry("hardware", row["inputs"]["gpu"], zoo), row["inputs"].get("dtype", "bf16")
    if not chip.has(f"peak.{width}"):
        return Skipped(row["id"], row["kind"], f"the zoo has no {width} peak of this chip")
    whole, peak = Value("whole", 1.0, ""), Value("peak", chip.number(f"peak.{width}").value, "FLOP/s")
    share = BEST_SHAPE.get(chip.text("family"), BEST_SHAPE_ELSEWHERE)
    rates = [
        float(Derivation(record=False).step("rate", sustained_of_peak(whole, Value("share", s, ""), peak)).value) / TERA
        for s in (share, *BEST_SHAPE_RANGE)
    ]
    if width == "bf16" and chip.has("measured.matmul_bf16"):
        rates[0] = float(chip.number("measured.matmul_bf16").value) / TERA
        if rates[0] == row["value"]:
            return Skipped(row["id"], row["kind"], "the zoo holds this very figure", True)
        rates[1:] = min(rates[0], rates[1]), max(rates[0], rates[2])
    return _scored(row, rates, {"chip": chip.id})


def _open(what: str) -> Scorer:
    return lambda row, zoo: Skipped(row["id"], row["kind"], f"the row does not state {what}")


SCORERS: dict[str, Scorer] = {
    "decode_throughput": _decode_rate,
    "decode_latency": _decode_latency,
    "prefill_throughput": _prefill_rate,
    "prefill_latency": _prefill_latency,
    "prefill_mfu": _prefill_mfu,
    "serving_tpot": _tpot,
    "kv_capacity": _cache,
    "kv_bytes_per_token": _cache_token,
    "inference_memory": _memory,
    "gemm_peak": _matmul,
    "serving_throughput": _open("the prompt length and the load"),
    "speculative_decoding": _open("how many drafted tokens are accepted"),
    "e2e_latency": _open("a model that the zoo has"),
}
