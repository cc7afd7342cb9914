"""Is this workload limited by compute, by memory bandwidth, or by the links; how fast can it be?

floor = max(ΣF/P, ΣQ/B, link bytes/B_link) over one pass [Williams 2009]: peak rates, compulsory traffic, no latency.
expected = Σ F/(P·η) + Q/B over operators, plus links and per-layer overheads, with constants calibrated on
published serving measurements (prefill, decode) or training runs (training). For image models the shares of the
peaks follow MLPerf's ResNet-50 (`kernels.assume_shares`); a custom kernel may be anything, from the best measured
matmul or memory rate (low) to a fifth of the peak (high). low and high bound the expectation.

Not modelled here: queueing and prefill interference (serving_cost), data and pipeline parallelism
(fleet_efficiency), the cache capacity of an engine (kv_capacity), speculative decoding.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from mlwalls.solvers.devices import resolve_device, resolve_spread, serving_constants
from mlwalls.solvers.errors import CallError
from mlwalls.solvers.formats import ComputeFormat, KvFormat, WeightFormat
from mlwalls.solvers.kernels import assume_shares, resolve_kernel, resolve_sample
from mlwalls.solvers.lookup import find
from mlwalls.solvers.memory import resolve_memory
from mlwalls.solvers.numbers import Numbers
from mlwalls.solvers.roofline_compute import MAX_BATCH, Kind, Phase, Structure, compute
from mlwalls.solvers.roofline_words import Names, RooflineResult, present
from mlwalls.solvers.shapes import check_ranks, resolve_model
from mlwalls.solvers.solver import Problem, Solver, SolverRequest
from mlwalls.solvers.training_pass import resolve_training
from mlwalls.zoo import Entry, Zoo

# What the range of work without a calibration stands for: of image models or not, by kind.
UNLIKE = {
    (False, "kernel"): "custom kernels may be anything: from the best measured rates to 20 % of the peak",
    (False, "sample"): "models of samples; shares of the peaks assumed",
    (True, "sample"): "image models; shares of the peaks as ResNet-50 has them in MLPerf",
}


class RooflineRequest(SolverRequest):
    """Arguments of the roofline tool."""

    model: str = Field(default="", description='Zoo model, "llama-3.1-8b", "resnet-50"; none for a kernel.')
    hardware: str = Field(description='Zoo accelerator, "h100", "tpu v5e".')
    baseline_hardware: str = Field(default="", description='Compared with, "a100".')
    phase: Phase | None = Field(
        default=None,
        description="Default decode; training is a step, inference a request.",
    )
    batch_sizes: list[Annotated[int, Field(ge=1, le=MAX_BATCH)]] = Field(
        default=[1],
        min_length=1,
        max_length=16,
        description="Sequences or samples, [1, 8, 64].",
    )
    seq_len: int = Field(
        default=2048,
        ge=1,
        le=10_000_000,
        description="Tokens of context or prompt.",
    )
    output_tokens: int = Field(default=256, ge=1, le=1_000_000, description="Generated, for inference.")
    n_accelerators: int = Field(default=1, ge=1, le=1024, description="Tensor parallel.")
    weight_dtype: WeightFormat = Field(default="native", description="Stored weights.")
    compute_dtype: ComputeFormat | None = Field(default=None, description="Arithmetic; default: the chip's best.")
    kv_dtype: KvFormat = Field(default="bf16", description="KV-cache.")
    flops: float | None = Field(default=None, gt=0, le=1e30, description="Of a kernel, 1e12.")
    bytes: float | None = Field(default=None, gt=0, le=1e30, description="Of a kernel, 4e9.")


def resolve(request: RooflineRequest, zoo: Zoo) -> Problem:
    """Take every branch of the request and read its numbers from the zoo.

    Raises:
        CallError: an argument names nothing, or what it names cannot do what is asked.
    """
    n = Numbers()
    warnings: list[str] = []
    model = _model(request, zoo, warnings)
    names = [("hardware", request.hardware), ("baseline_hardware", request.baseline_hardware)]
    entries = [
        find(zoo, "hardware", argument, text, warnings) for argument, text in names if text or argument == "hardware"
    ]
    kind = _kind(model)
    phase = _phase(request, kind, model)
    _check_comparison(request, phase, kind)
    ranks = request.n_accelerators
    n.you("batch", request.batch_sizes)
    n.you("tp", ranks)
    n.defined("one", 1)
    n.defined("zero", 0)
    shape = kernel = memory = None
    if kind == "transformer":
        assert model is not None
        shape = resolve_model(n, model, request.weight_dtype, request.kv_dtype, ranks)
        check_ranks(ranks, n)
        if phase == "training" and shape.attention == "none":
            raise CallError(
                "phase", f"{model.name} has no attention to train by this model.", choices=("decode", "prefill")
            )
    elif kind == "sample":
        assert model is not None
        kernel = resolve_sample(n, model, request.weight_dtype, phase == "training", warnings)
    else:
        kernel = resolve_kernel(n, request.flops, request.bytes)
    stored = (
        (shape.layer_format, shape.expert_format, shape.wide_format, shape.projection_format)
        if shape
        else (kernel.format,) * 3
        if kernel
        else ()
    )
    training = phase == "training" and shape is not None
    devices = tuple(
        resolve_device(n, entry, stored, prefix, request.compute_dtype or "", warnings, ranks)
        for entry, prefix in zip(entries, ("", "base_"), strict=False)
    )
    if shape is None:
        assert kernel is not None
        assume_shares(n, kernel, entries, devices)
        warnings.append(f"not calibrated: {UNLIKE[kernel.images, kind]}, starting kernels not counted")
    else:
        n.you("context", request.seq_len, "token")
        n.defined("act_width", 2, "byte")
        n.defined("per_layer", 4 if training else 2)
        if phase == "inference":
            n.you("output", request.output_tokens, "token")
        if training:
            resolve_training(n, entries, warnings)
        else:
            serving_constants(n, shape, devices)
        if "capacity" in n:
            memory = resolve_memory(n, phase)
        else:
            warnings.append(f"{entries[0].name}: memory capacity unknown, so whether it fits was not checked")
        resolve_spread(n, shape, phase, request.weight_dtype, model, devices, warnings)
    _context_limit(request, model, warnings)
    all_reduces = int(ranks > 1) and int(n.per_layer.value) if shape else 0
    structure = Structure(
        phase, kind, shape, kernel, memory, devices, all_reduces, len(request.batch_sizes) > 1, request.detail == "full"
    )
    scenario = _scenario(request, phase, model, entries)
    context = Names(
        model.name if model else "the kernel", tuple(e.name for e in entries), request, phase, model, entries[0]
    )
    return Problem(structure, n, warnings, scenario, context)


def _model(request: RooflineRequest, zoo: Zoo, warnings: list[str]) -> Entry | None:
    if not request.model:
        return None
    if request.flops is not None or request.bytes is not None:
        extra = "flops" if request.flops is not None else "bytes"
        text = "give either a model or flops and bytes of a kernel, not both."
        whole = request.flops is not None and request.bytes is not None
        raise CallError(extra, text, repair={"model": None} if whole else {"flops": None, "bytes": None})
    return find(zoo, "models", "model", request.model, warnings)


def _kind(model: Entry | None) -> Kind:
    if model is None:
        return "kernel"
    return "transformer" if model.has("config.d_model") else "sample"


def _phase(request: RooflineRequest, kind: str, model: Entry | None) -> Phase:
    if kind == "transformer":
        encoder = model is not None and model.text("type") == "encoder"
        phase: Phase = request.phase or ("prefill" if encoder else "decode")
        if encoder and phase in ("decode", "inference"):
            if request.phase == "decode":
                raise CallError("phase", "an encoder has no decode phase.", choices=("prefill", "training"))
            phase = "prefill"
        return phase
    phase = request.phase or "inference"
    if phase in ("decode", "prefill") and (model is not None or request.flops is not None):
        raise CallError("phase", f"{phase} is a phase of language models.", choices=("inference", "training"))
    return phase


def _check_comparison(request: RooflineRequest, phase: Phase, kind: str) -> None:
    if request.baseline_hardware and phase == "inference" and kind == "transformer":
        raise CallError(
            "phase",
            "two chips are compared one phase at a time, since different walls may bind.",
            choices=("decode", "prefill", "training"),
        )


def _context_limit(request: RooflineRequest, model: Entry | None, warnings: list[str]) -> None:
    if model is not None and model.has("config.max_context"):
        limit = model.number("config.max_context").value
        if request.seq_len > limit:
            warnings.append(f"seq_len {request.seq_len} is beyond {model.name}'s published context of {limit:g}")


def _scenario(request: RooflineRequest, phase: Phase, model: Entry | None, entries: list[Entry]) -> dict[str, object]:
    given = request.model_dump(by_alias=True, exclude_none=True, exclude_defaults=True)
    given["hardware"] = entries[0].id
    if len(entries) > 1:
        given["baseline_hardware"] = entries[1].id
    if model is not None:
        given["model"] = model.id
    given["phase"] = phase
    given["batch_sizes"] = request.batch_sizes
    if model is not None and model.has("config.d_model"):
        given["seq_len"] = request.seq_len
    given.pop("detail", None)
    return given


SOLVER = Solver(
    name="roofline",
    question="How fast can this model or kernel run on this chip, and is it compute-, memory- or link-bound?",
    guidance=(
        "One pass on one accelerator or one tensor-parallel group: prefill, decode, training step, whole request, or a "
        "custom kernel. baseline_hardware compares two chips (why N x FLOPS is not N x speed)."
    ),
    walls=("compute_throughput", "memory_bandwidth", "serving_phases"),
    request=RooflineRequest,
    result=RooflineResult,
    resolve=resolve,
    compute=compute,
    present=present,
    per_replica=frozenset({"throughput"}),
    example={
        "model": "llama-3.1-8b",
        "hardware": "h100",
        "phase": "decode",
        "batch_sizes": [1],
        "seq_len": 2048,
    },
)
