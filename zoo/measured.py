"""Measured serving latencies as CSV rows: how their columns are read, and which rows are not used, with the reason.

One row is one run at steady concurrency: id, backend (engine), backend_version, model_path, system (chip), precision, isl and
osl (prompt and output tokens), the formats of dense and expert matrices, batch_size, tp_size, attention_dp_size, moe_tp_size,
moe_ep_size, silicon_ttft_ms and silicon_tpot_ms (time to first token and per output token).

The columns that say how many accelerators there are contradict each other in places. What was found, and what is done:
- ``batch_size`` is of one attention rank; the concurrency of the replica stands in the id (``_c64_``); without, it is
  batch_size · dp.
- the id's ``_tp8_`` is the number of accelerators. Without it: ``moe_tp_size`` where both it and ``moe_ep_size`` are above 1
  (``tp_size`` then double counts), ``tp_size`` where expert parallelism equals tp · dp (those ranks are the same).
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from mlwalls.zoo.entry import Entry, UnknownName
from mlwalls.zoo.loader import Zoo

_FORMATS = {
    "": "bf16",
    "none": "bf16",
    "bfloat16": "bf16",
    "float16": "fp16",
    "bf16": "bf16",
    "fp16": "fp16",
    "fp8": "fp8",
    "fp8_block": "fp8",
    "fp8_static": "fp8",
    "nvfp4": "nvfp4",
    "fp4": "nvfp4",
    "int8": "int8",
    "int8_wo": "int8",
    "int4": "int4",
    "int4_wo": "int4",
    "mxfp4": "mxfp4",
    "w4a16_mxfp4": "mxfp4",
    "w4a8_mxfp4_mxfp8": "mxfp4",
}
_SUFFIX = re.compile(r"[-_ ]?(instruct|chat|fp8|fp4|nvfp4|bf16|mxfp4|awq|gptq|int4|int8|v\d|0528|0324|2507|it)$", re.I)


@dataclass(frozen=True, slots=True)
class MeasuredRow:
    """One measured run: the question that it answers, and the answer.

    Attributes:
        model, hardware: zoo ids. family: the architecture that shares kernels and errors.
        engine: vllm, trtllm, sglang, or another name as given.
        weight_format: of the stored weights; ``native`` where the checkpoint ships so.
        ranks: accelerators of the replica. data_parallel: of the attention.
        prompt, output: tokens. concurrency: requests in flight, whole replica.
        ttft, tpot: s.
    """

    id: str
    model: str
    family: str
    hardware: str
    engine: str
    version: str
    weight_format: str
    ranks: int
    data_parallel: bool
    prompt: int
    output: int
    concurrency: int
    ttft: float
    tpot: float

    @property
    def warm_up(self) -> bool:
        """Whether the time to first token holds a server's warm-up (5 to 9 s at any load): not for fits of it."""
        return self.engine == "sglang" and not self.version


@dataclass(frozen=True, slots=True)
class UnusedRow:
    """A row that is not used: `excluded` by a rule, else nobody can read it."""

    id: str
    reason: str
    excluded: bool


def read_rows(text: str, zoo: Zoo) -> Iterator[MeasuredRow | UnusedRow]:
    """Yield every row of a CSV, read or with the reason why it is not used."""
    seen: set[tuple[object, ...]] = set()
    for columns in csv.DictReader(io.StringIO(text)):
        try:
            row = _read(columns, zoo)
        except (KeyError, ValueError, TypeError) as error:
            yield UnusedRow(str(columns.get("id")), f"a column is missing or no number: {error}", False)
            continue
        if isinstance(row, MeasuredRow):
            figures = (f"{row.ttft:.3g}", f"{row.tpot:.3g}")
            key = (row.family, row.hardware, row.engine, row.prompt, row.output, *figures)
            if key in seen:
                yield UnusedRow(row.id, "repeats another row to three digits", True)
                continue
            seen.add(key)
            if reason := _excluded(row):
                yield UnusedRow(row.id, reason, True)
                continue
        yield row


def _read(columns: Mapping[str, str], zoo: Zoo) -> MeasuredRow | UnusedRow:
    id = columns["id"]
    model, hardware = _model(columns["model_path"], zoo), _hardware(columns["system"], zoo)
    if model is None:
        return UnusedRow(id, f"no model {columns['model_path']} in the zoo", False)
    if hardware is None:
        return UnusedRow(id, f"no accelerator {columns['system']} in the zoo", False)
    stored = columns.get("gemm_quant_mode") or columns.get("precision") or ""
    if stored.lower() not in _FORMATS:
        return UnusedRow(id, f"no format {stored}", False)
    native = model.text("checkpoint.dtype") == "mxfp4"
    if "_c_" in id:
        return UnusedRow(id, "the concurrency is not known", True)
    load = re.search(r"_c(\d+)_", id)
    if int(columns.get("pp_size") or 1) > 1:
        return UnusedRow(id, "pipeline parallelism is not modelled", False)
    ranks, attention = _ranks(columns)
    if ranks == 0:
        return UnusedRow(id, "attention and expert ranks disagree, so the load of a rank is not known", True)
    concurrency = int(load[1]) if load else int(float(columns["batch_size"]) * attention)
    ttft, tpot = float(columns["silicon_ttft_ms"]) / 1e3, float(columns["silicon_tpot_ms"]) / 1e3
    if not (0 < ttft < 1e6 and 0 < tpot < 1e6):
        return UnusedRow(id, "a time that is not above 0", False)
    return MeasuredRow(
        id=id,
        model=model.id,
        family={"deepseek-r1": "deepseek-v3"}.get(model.id, model.id),
        hardware=hardware.id,
        engine=columns["backend"],
        version=columns.get("backend_version") or "",
        weight_format="native" if native else _FORMATS[stored.lower()],
        ranks=ranks,
        data_parallel=attention > 1,
        prompt=int(columns["isl"]),
        output=int(columns["osl"]),
        concurrency=concurrency,
        ttft=ttft,
        tpot=tpot,
    )


def _ranks(columns: Mapping[str, str]) -> tuple[int, int]:
    """Return accelerators and attention's data-parallel size; 0 accelerators where the columns disagree."""
    tensor, data = int(columns["tp_size"]), int(columns.get("attention_dp_size") or 1)
    sliced, spread = int(columns.get("moe_tp_size") or 1) or 1, int(columns.get("moe_ep_size") or 1) or 1
    if not columns.get("attention_dp_size") and sliced * spread > 1 and tensor != sliced * spread:
        return 0, data
    if named := re.search(r"_tp(\d+)_", columns["id"]):
        return int(named[1]), data
    if sliced > 1 and spread > 1:
        return sliced, data
    if tensor == data and spread == tensor * data:
        return tensor, data
    return max(tensor, sliced * spread), data


def _model(path: str, zoo: Zoo) -> Entry | None:
    name = path.rsplit("/", 1)[-1]
    while True:
        found = _resolved("models", name, zoo)
        shorter = _SUFFIX.sub("", name)
        if found is not None or shorter == name:
            return found
        name = shorter


def _hardware(system: str, zoo: Zoo) -> Entry | None:
    name, _, _ = system.partition("_")
    return _resolved("hardware", system.replace("_", " "), zoo) or _resolved("hardware", name, zoo)


def _resolved(kind: str, name: str, zoo: Zoo) -> Entry | None:
    try:
        return zoo.resolve(kind, name).entry
    except UnknownName:
        return None


def _excluded(row: MeasuredRow) -> str:
    """Return why a row that can be read must not be used; see MODEL_CARD.md beside the calibration for the evidence."""
    dated = row.id.startswith("20")
    blackwell = row.hardware.startswith("nvidia-b200")
    if row.family == "deepseek-v3" and (
        row.version == "1.2.0rc6.post3"
        or (dated and row.version == "1.1.0rc2.post2")
        or (dated and blackwell and row.engine == "sglang" and row.weight_format == "fp8")
    ):
        return "speculative decoding that is not labelled (about 0.6 times the time of the same run without)"
    if row.model == "qwen3-32b" and row.engine == "sglang":
        return "one wave of requests, no steady state"
    if row.model == "gpt-oss-120b" and row.hardware.startswith("nvidia-h100"):
        if row.concurrency == 512:
            return "faster than the hardware's floor"
        if row.version == "1.3.0rc1":
            return "the id's concurrency and batch_size disagree, and the time does not depend on either"
    if row.model == "llama-3.1-8b" and row.hardware.startswith("nvidia-h200") and row.engine == "vllm":
        return "arithmetic and memory floors add up to more than the elapsed time in half of this set: a prefix cache"
    return ""
