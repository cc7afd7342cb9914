"""What does one token cost in each of these architectures: FLOPs, weight bytes, cache, resident memory, side by side?

Every model is lowered by the same operator rows as roofline, one decode step of `batch_size` sequences at a context: grouped
heads, latent attention (absorbed), windows, recurrent state, routed and shared experts. A mixture reads the experts that its
batch touches, so weight bytes a token fall with the batch much later than a dense model's.

Sources: Ainslie et al. 2023 (grouped heads), DeepSeek-AI 2024 (latent attention), Fedus et al. 2022 (experts), Gu and Dao 2023
(state). Not modelled: quality; two models that cost the same need not be equally good (scaling_law).
"""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import Field

from mlwalls.solvers.derivation import Derivation, Value
from mlwalls.solvers.equations import architecture as eq
from mlwalls.solvers.equations import memory as memory_eq
from mlwalls.solvers.equations import node as node_eq
from mlwalls.solvers.errors import CallError
from mlwalls.solvers.formats import KvFormat, WeightFormat
from mlwalls.solvers.lookup import find
from mlwalls.solvers.memory import resident_weights
from mlwalls.solvers.numbers import Numbers
from mlwalls.solvers.passes import pass_moved
from mlwalls.solvers.shapes import ModelShape, resolve_model
from mlwalls.solvers.solver import Binding, Outcome, Presentation, Problem, Solver, SolverRequest, SolverResult
from mlwalls.solvers.words import figure, fit_result
from mlwalls.solvers.workload import Groups, Lowering, PassPhase
from mlwalls.zoo import Entry, Zoo

SCOPES = ("a_", "b_", "c_")


class ArchitectureRequest(SolverRequest):
    """Arguments of the architecture_efficiency tool."""

    models: list[str] = Field(min_length=1, max_length=3, description='Zoo models, ["llama-3.1-70b"].')
    seq_len: int = Field(default=8192, ge=1, le=10_000_000, description="Context.")
    batch_size: int = Field(default=1, ge=1, le=65536, description="Sequences a decode step.")
    weight_dtype: WeightFormat = Field(default="native", description="Stored weights.")
    kv_dtype: KvFormat = Field(default="bf16", description="KV-cache.")


class ArchitectureResult(SolverResult):
    """Typed outputs, one place a model in the order asked."""

    models: list[str]
    each_flops_gflop: list[float] = Field(description="FLOPs of one generated token.")
    each_read_gb: list[float] = Field(description="Weights read a token, shared by the batch.")
    each_kv_kb: list[float] = Field(description="Keys and values (or state) a token of context.")
    each_cache_gb: list[float] = Field(description="Cache of one sequence of seq_len.")
    each_weights_gb: list[float] = Field(description="Resident weights.")
    each_intensity_flop_per_byte: list[float] = Field(description="FLOPs a byte of the decode step.")


@dataclass(frozen=True, slots=True)
class Structure:
    """The models' shapes."""

    shapes: tuple[ModelShape, ...]


def resolve(request: ArchitectureRequest, zoo: Zoo) -> Problem:
    """Take every branch of the request.

    Raises:
        CallError: a name names nothing, or a model has no layers to count.
    """
    n = Numbers()
    warnings: list[str] = []
    entries: list[Entry] = []
    shapes: list[ModelShape] = []
    n.you("batch", request.batch_size)
    n.you("context", request.seq_len, "token")
    n.defined("one", 1)
    n.defined("zero", 0)
    n.defined("tp", 1)
    for i, (name, scope) in enumerate(zip(request.models, SCOPES, strict=False)):
        try:
            model = find(zoo, "models", "models", name, warnings)
            shape = resolve_model(n.scope(scope), model, request.weight_dtype, request.kv_dtype, 1)
            if not shape.has_head:
                raise CallError("models", f"{model.name} is an encoder: it generates no tokens.")
        except CallError as error:
            fixed = error.repair.get("models") or error.repair.get("model") or "llama-3.1-8b"
            listed = [fixed if j == i else other for j, other in enumerate(request.models)]
            raise CallError("models", error.problem, choices=error.choices, repair={"models": listed}) from error
        if request.seq_len > (model.number("config.max_context").value if model.has("config.max_context") else 1e9):
            warnings.append(f"seq_len {request.seq_len} is beyond {model.name}'s published context")
        entries.append(model)
        shapes.append(shape)
    scenario = request.model_dump(by_alias=True, exclude_none=True, exclude_defaults=True)
    scenario |= {"models": [e.id for e in entries]}
    scenario.pop("detail", None)
    return Problem(Structure(tuple(shapes)), n, warnings, scenario, (tuple(e.name for e in entries), request))


def compute(s: Structure, n: Numbers, d: Derivation) -> dict[str, Value]:
    """Step out one token of every model, then set them in one table; keys are the results' symbols."""
    rows = {scope: _one(shape, n.scope(scope), d.scope(scope)) for shape, scope in zip(s.shapes, SCOPES, strict=False)}
    each = d.table("each")
    for scope, cells in rows.items():
        each.row(scope[0], **cells)
    return {f"{scope}{name}": value for scope, cells in rows.items() for name, value in cells.items()}


def _one(shape: ModelShape, n: Numbers, d: Derivation) -> dict[str, Value]:
    lowering = Lowering(d, shape, n, Groups({}, {}, {}, {}))
    op = lowering.forward("op", [PassPhase("decode", n.batch, n.context)])
    moved = pass_moved(d, op, "", "", shape.linear)
    flops = d.sum("step_flops", node_eq.pass_flops(op["count"], n.batch, op["w"], op["flops"]))
    held = d.sum("step_cache", memory_eq.row_cache(op["count"], op["kv"]))
    touched = held
    if shape.linear:
        touched = d.sum("step_touched", node_eq.cache_touched(op["count"], op["kv"], op["write"]))
    cache = d.step("cache", eq.cache_of_sequence(held, n.batch))
    return {
        "flops": d.step("flops", eq.flops_each(flops, n.batch)),
        "read": d.step("read", eq.weights_each(moved, touched, n.batch)),
        "kv": d.step("kv", eq.cache_each(cache, n.context)),
        "cache": cache,
        "weights": resident_weights(d, shape, n),
        "intensity": d.step("intensity", node_eq.arithmetic_intensity(flops, moved)),
    }


def present(problem: Problem, out: Outcome, d: Derivation) -> Presentation:
    """Word the answer: each model's token in a clause, then the ratios to the first."""
    names, request = problem.context
    each = next(table for table in d.tables if table.name == "each")

    def column(key: str) -> list[float]:
        return [float(value) for _, value in each.cells(key)]

    flops, read, kv, weights = column("flops"), column("read"), column("kv"), column("weights")
    clauses = [
        f"{name}: {figure(flops[i] / 1e9)} GFLOP, {figure(read[i] / 1e9)} GB of weights read, {figure(kv[i] / 1e3)} kB of cache "
        f"a token of context, {figure(weights[i] / 1e9)} GB resident"
        for i, name in enumerate(names)
    ]
    sentence = f"One token at context {request.seq_len:,} and batch {request.batch_size}: " + "; ".join(clauses) + "."
    for i, name in enumerate(names[1:], 1):
        sentence += (
            f" {name} takes {figure(flops[i] / flops[0])}x the FLOPs, {figure(read[i] / read[0])}x the weight bytes and "
            f"{figure(kv[i] / kv[0])}x the cache of {names[0]}."
        )
    fields = {
        "each_flops_gflop": ("flops", 1e9),
        "each_read_gb": ("read", 1e9),
        "each_kv_kb": ("kv", 1e3),
        "each_cache_gb": ("cache", 1e9),
        "each_weights_gb": ("weights", 1e9),
        "each_intensity_flop_per_byte": ("intensity", 1),
    }
    extra: dict[str, object] = {"models": list(names)}
    extra |= {f: [float(f"{x / factor:.6g}") for x in column(key)] for f, (key, factor) in fields.items()}
    return Presentation(
        sentence, True, Binding("architecture_efficiency"), fit_result(ArchitectureResult, {}, extra, set())
    )


SOLVER = Solver(
    name="architecture_efficiency",
    question="What does one token cost in FLOPs, weight bytes and KV-cache in these models, side by side?",
    guidance="Without hardware.",
    walls=("architecture_efficiency",),
    request=ArchitectureRequest,
    result=ArchitectureResult,
    resolve=resolve,
    compute=compute,
    present=present,
    example={"models": ["llama-3.1-70b", "deepseek-v3"], "seq_len": 8192},
)
