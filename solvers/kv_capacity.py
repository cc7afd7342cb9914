"""How many tokens and sequences fit in the KV-cache of a serving engine, and what takes the rest of the memory?

pool = utilization · driver bytes − weights of a rank − activation peak of the profile run − memory outside the allocator
[Kwon 2023], with constants calibrated on the cache sizes that vLLM prints at start-up. Keys and values are counted from the
true attention: grouped heads are split until each rank has one, then replicated; a latent [DeepSeek-V2] is whole on every
rank; windowed layers save capacity only under the hybrid allocator; recurrent layers keep a state of one size for each
sequence. The cache is handed out in whole blocks.

Not modelled: CUDA graphs after release 0.19, vision towers, LoRA, draft models, other processes on the accelerator.
"""

from __future__ import annotations

from pydantic import Field

from mlwalls.solvers.errors import CallError
from mlwalls.solvers.formats import KvFormat, WeightFormat
from mlwalls.solvers.kv_capacity_compute import Structure, compute
from mlwalls.solvers.kv_capacity_words import KvCapacityResult, present
from mlwalls.solvers.lookup import find
from mlwalls.solvers.numbers import Numbers
from mlwalls.solvers.pool import BLOCK, UTILIZATION, resolve_pool
from mlwalls.solvers.shapes import check_ranks, resolve_model
from mlwalls.solvers.solver import Problem, Solver, SolverRequest
from mlwalls.solvers.speed import resolve_speed
from mlwalls.zoo import Zoo
from mlwalls.zoo.calibrations import calibration

MAX_CONTEXT = 10_000_000


class KvCapacityRequest(SolverRequest):
    """Arguments of the kv_capacity tool."""

    model: str = Field(description='Zoo model, "llama-3.1-8b".')
    hardware: str = Field(description='Zoo accelerator, "h100".')
    seq_len: int = Field(default=8192, ge=1, le=10_000_000, description="Tokens a sequence.")
    n_accelerators: int = Field(default=1, ge=1, le=1024, description="Tensor parallel.")
    weight_dtype: WeightFormat = Field(default="native", description="Stored weights.")
    kv_dtype: KvFormat = Field(default="bf16", description="KV-cache.")
    gpu_memory_utilization: float = Field(default=UTILIZATION, gt=0, le=1, description="Engine's share.")
    max_num_batched_tokens: int | None = Field(default=None, ge=1, le=1_000_000, description="Profiled.")
    max_num_seqs: int | None = Field(default=None, ge=1, le=100_000, description="Profiled.")
    block_size: int = Field(default=BLOCK, ge=1, le=1024, description="Tokens a block.")
    hybrid_allocator: bool = Field(default=True, description="Windows only.")
    concurrency: int | None = Field(default=None, ge=1, le=100_000, description="Adds length.")
    speed: bool = Field(default=False, description="Adds decode speed.")


def resolve(request: KvCapacityRequest, zoo: Zoo) -> Problem:
    """Take every branch of the request and read its numbers from the zoo.

    Raises:
        CallError: an argument names nothing, or what it names has no cache to size.
    """
    n = Numbers()
    warnings: list[str] = []
    model = find(zoo, "models", "model", request.model, warnings)
    hardware = find(zoo, "hardware", "hardware", request.hardware, warnings)
    ranks = request.n_accelerators
    n.you("tp", ranks)
    n.defined("one", 1)
    n.defined("zero", 0)
    shape = resolve_model(n, model, request.weight_dtype, request.kv_dtype, ranks)
    if not shape.has_head:
        raise CallError("model", f"{model.name} keeps no cache between tokens.", repair={"model": "llama-3.1-8b"})
    check_ranks(ranks, n)
    if shape.linear:
        warnings.append("extrapolated: no start-up log of a model with recurrent layers in the calibration")
    pool = resolve_pool(
        n,
        shape,
        model,
        hardware,
        ranks,
        profiled_tokens=request.max_num_batched_tokens,
        profiled_sequences=request.max_num_seqs,
        hybrid_allocator=request.hybrid_allocator,
    )
    if not pool.driver_known:
        warnings.append("driver memory not in the zoo: 98.5 % of the nominal capacity assumed")
    for name in ("pool_below", "pool_above"):
        n.calibrated(calibration("kv_pool")["intervals"], name)
    n.you("utilization", request.gpu_memory_utilization)
    n.you("context", request.seq_len, "token")
    n.you("block", request.block_size, "token")
    if model.has("config.max_context") and request.seq_len > model.number("config.max_context").value:
        warnings.append(f"seq_len {request.seq_len} is beyond the model's published context")
    if hardware.id not in calibration("kv_pool")["domain"]["hardware"]:
        warnings.append(f"extrapolated: no start-up log of {hardware.name} in the calibration")
    if request.concurrency is not None:
        n.you("concurrency", request.concurrency)
    limit = int(n.max_context.value) or MAX_CONTEXT
    speed = resolve_speed(n, shape, hardware, ranks, warnings) if request.speed else None
    structure = Structure(pool, request.concurrency is not None, limit, speed)
    scenario = request.model_dump(by_alias=True, exclude_none=True, exclude_defaults=True) | {
        "model": model.id,
        "hardware": hardware.id,
        "seq_len": request.seq_len,
    }
    scenario.pop("detail", None)
    return Problem(structure, n, warnings, scenario, (model, hardware, request))


SOLVER = Solver(
    name="kv_capacity",
    question="How many tokens and users fit in the KV-cache on this hardware, and does the model start at all?",
    guidance="As a paged engine (vLLM) sizes it.",
    walls=("memory_capacity", "batching"),
    request=KvCapacityRequest,
    result=KvCapacityResult,
    resolve=resolve,
    compute=compute,
    present=present,
    per_replica=frozenset({"max_sequences", "cache", "throughput"}),
    example={"model": "llama-3.1-8b", "hardware": "h100", "seq_len": 8192},
)
