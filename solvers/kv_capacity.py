"""How many tokens and sequences fit in the KV-cache of a serving engine, and what takes the rest of the memory?

pool = utilization · driver bytes − weights of a rank − activation peak of the profile run − memory outside the allocator
[Kwon 2023], with constants calibrated on the cache sizes that vLLM prints at start-up. Keys and values are counted from the
true attention: grouped heads are split until each rank has one, then replicated; a latent [DeepSeek-V2] is whole on every
rank; windowed layers save capacity only under the hybrid allocator; recurrent layers keep a state of one size for each
sequence. The cache is handed out in whole blocks.

Not modelled: CUDA graphs after release 0.19, vision towers, LoRA, draft models, other processes on the accelerator.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from pydantic import Field

from mlwalls.solvers.derivation import Derivation, Value
from mlwalls.solvers.equations import capacity as eq
from mlwalls.solvers.equations import common, operators
from mlwalls.solvers.equations import memory as memory_eq
from mlwalls.solvers.errors import CallError
from mlwalls.solvers.formats import KvFormat, WeightFormat
from mlwalls.solvers.links import group, link_domain, splittable
from mlwalls.solvers.lookup import find
from mlwalls.solvers.numbers import Numbers
from mlwalls.solvers.shapes import ModelShape, check_ranks, resolve_model
from mlwalls.solvers.solver import Binding, Outcome, Presentation, Problem, Solver, SolverRequest, SolverResult
from mlwalls.solvers.speed import Speed, decode_speed, resolve_speed
from mlwalls.solvers.words import figure, first, fit_result, seconds
from mlwalls.zoo import Entry, Zoo
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
    gpu_memory_utilization: float = Field(default=0.9, gt=0, le=1, description="Engine's share.")
    max_num_batched_tokens: int | None = Field(default=None, ge=1, le=1_000_000, description="Profiled.")
    max_num_seqs: int | None = Field(default=None, ge=1, le=100_000, description="Profiled.")
    block_size: int = Field(default=16, ge=1, le=1024, description="Tokens a block.")
    hybrid_allocator: bool = Field(default=True, description="Windows only.")
    concurrency: int | None = Field(default=None, ge=1, le=100_000, description="Adds length.")
    speed: bool = Field(default=False, description="Adds decode speed.")


class KvCapacityResult(SolverResult):
    """Typed outputs, an accelerator each unless they count tokens or sequences."""

    cache_tokens: float | None = Field(default=None, description="Tokens that the cache holds.")
    cache_low_tokens: float | None = Field(default=None, description="Low end of the 80 % interval.")
    cache_high_tokens: float | None = Field(default=None, description="High end.")
    max_sequences: float | None = Field(default=None, description="Sequences of seq_len at once.")
    longest: int | None = Field(default=None, description="Tokens a sequence at that concurrency.")
    decode_expected_ms: float | None = Field(default=None, description="Decode step at max_sequences, expected.")
    throughput_tokens_per_s: float | None = Field(default=None, description="Of all sequences together.")
    kv_token_bytes: float = Field(description="Keys and values of a token, all layers.")
    state_mb: float | None = Field(default=None, description="Recurrent state of a sequence.")
    sequence_gb: float = Field(description="Cache of one sequence of seq_len.")
    pool_gib: float = Field(description="Left for keys and values; negative: short by.")
    weights_gib: float = Field(description="Resident weights.")
    activation_gib: float = Field(description="Peak of the profile run.")
    non_torch_gib: float = Field(description="Outside the allocator.")
    driver_gib: float = Field(description="Memory that the driver shows.")


@dataclass(frozen=True, slots=True)
class Structure:
    """Which rows and equations apply."""

    shape: ModelShape
    hybrid: bool
    driver_known: bool
    padded: bool
    concurrency: bool
    longest_context: int
    speed: Speed | None


def resolve(request: KvCapacityRequest, zoo: Zoo) -> Problem:
    """Take every branch of the request and read its numbers from the zoo.

    Raises:
        CallError: an argument names nothing, or what it names has no cache to size.
    """
    n = Numbers()
    warnings: list[str] = []
    model = find(zoo, "models", "model", request.model, warnings)
    hardware = find(zoo, "hardware", "hardware", request.hardware, warnings)
    if not hardware.has("memory.capacity"):
        raise CallError(
            "hardware",
            f"the zoo has no memory capacity for {hardware.name}.",
            repair={"hardware": "nvidia-h100-sxm-80gb"},
        )
    ranks = request.n_accelerators
    n.you("tp", ranks)
    n.defined("one", 1)
    n.defined("zero", 0)
    shape = resolve_model(n, model, request.weight_dtype, request.kv_dtype, ranks)
    if not shape.has_head:
        raise CallError("model", f"{model.name} keeps no cache between tokens.", repair={"model": "llama-3.1-8b"})
    check_ranks(ranks, n)
    if shape.linear:
        warnings.append("extrapolated: no start-up log of a model with recurrent layers was in the calibration")
        if not shape.dense and not shape.moe:
            n.zoo("expand", model, "linear.expand", "")
    constants = calibration("kv_pool")["constants"]
    for name in ("residual_copies", "sampler_copies", "logit_bytes"):
        n.calibrated(constants, name)
    for name in ("pool_below", "pool_above"):
        n.calibrated(calibration("kv_pool")["intervals"], name)
    linked = hardware.has("link.bandwidth")
    n.calibrated(
        constants,
        "non_torch_single" if ranks == 1 else "non_torch_group" if linked else "non_torch_group_pcie",
        "non_torch",
    )
    driver_known = hardware.has("memory.driver")
    if driver_known:
        n.zoo("driver", hardware, "memory.driver", "byte")
    else:
        n.zoo("capacity", hardware, "memory.capacity", "byte")
        n.assumed("driver_part", 0.985, 0.92, 0.995, source="cal_kv_pool")
        warnings.append(f"{hardware.name}: driver memory not in the zoo, 98.5 % of the nominal capacity assumed")
    padded = shape.expert_format == "mxfp4"
    if padded:
        hopper = hardware.text("family") == "hopper"
        n.calibrated(constants, "mxfp4_padding" if hopper else "mxfp4_padding_marlin", "padding")
    _profile(request, hardware, n)
    n.you("utilization", request.gpu_memory_utilization)
    n.you("context", request.seq_len, "token")
    n.you("block", request.block_size, "token")
    if model.has("config.max_context"):
        n.zoo("max_context", model, "config.max_context", "token")
        if request.seq_len > model.number("config.max_context").value:
            warnings.append(f"seq_len {request.seq_len} is beyond the model's published context")
    else:
        n.alias("max_context", "zero")
    if hardware.id not in calibration("kv_pool")["domain"]["hardware"]:
        warnings.append(f"extrapolated: no start-up log of {hardware.name} was in the calibration")
    hybrid = request.hybrid_allocator and shape.windowed and shape.full
    if request.concurrency is not None:
        n.you("concurrency", request.concurrency)
    limit = int(n.max_context.value) or MAX_CONTEXT
    speed = resolve_speed(n, shape, hardware, ranks, warnings) if request.speed else None
    structure = Structure(shape, hybrid, driver_known, padded, request.concurrency is not None, limit, speed)
    scenario = request.model_dump(by_alias=True, exclude_none=True, exclude_defaults=True) | {
        "model": model.id,
        "hardware": hardware.id,
        "seq_len": request.seq_len,
    }
    scenario.pop("detail", None)
    return Problem(structure, n, warnings, scenario, (model, hardware, request))


def _profile(request: KvCapacityRequest, hardware: Entry, n: Numbers) -> None:
    """The engine's default batch: larger on accelerators with 70 GiB and more, but the A100."""
    large = hardware.number("memory.capacity").value >= 70 * 2**30 and hardware.text("family") != "ampere"
    tokens, sequences = (8192, 1024) if large else (2048, 256)
    for symbol, given, default in (
        ("profiled_tokens", request.max_num_batched_tokens, tokens),
        ("profiled_sequences", request.max_num_seqs, sequences),
    ):
        if given is not None:
            n.you(symbol, given)
        else:
            n.assumed(symbol, default, default / 4, default * 4, source="cal_kv_pool")


def compute(s: Structure, n: Numbers, d: Derivation) -> dict[str, Value]:
    """Step out weights, reserves, pool, tokens and sequences; keys are the results' symbols."""
    out = {"weights": _weights(s, n, d), "non_torch": n.non_torch}
    out["activation"] = _activation(s, n, d)
    driver = n.driver if s.driver_known else d.step("driver", eq.driver_share(n.capacity, n.driver_part))
    out["driver"] = driver
    pool = eq.cache_pool(n.utilization, driver, out["weights"], out["activation"], n.non_torch)
    out["pool"] = d.step("pool", pool)
    if s.shape.sparse:
        latent = (n.layers, n.kv_rank, n.rope, n.kv_width)
        token = eq.sparse_token_bytes(*latent, n.index_dim, n.index_width)
    elif s.shape.attention == "mla":
        token = eq.latent_token_bytes(n.layers, n.kv_rank, n.rope, n.kv_width)
    elif s.shape.attention == "none":
        token = eq.cache_token_bytes(n.zero, n.one, n.one, n.kv_width, n.tp)
    else:
        layers = n.full_layers if s.shape.linear else n.layers
        token = eq.cache_token_bytes(layers, n.kv_heads, n.head_dim, n.kv_width, n.tp)
    out["kv_token"] = d.step("kv_token", token)
    if s.shape.linear:
        _states(n, d, out)
    else:
        out["sequence"] = d.step("sequence", eq.sequence_cache(n.context, out["kv_token"]))
        _tokens(s, n, d, out)
    if s.speed is not None:
        out |= decode_speed(s.speed, s.shape, n.bound("batch", out["max_sequences"]), d)
    if s.concurrency and d.record and (longest := _longest(s, n, d, out)) is not None:
        out["longest"] = longest
    return out


def _weights(s: Structure, n: Numbers, d: Derivation) -> Value:
    tables = d.step("tables", memory_eq.wide_parameters(n.wide_matrices, n.vocab, n.d_model))
    latent = s.shape.attention == "mla"
    keys, copies = n.zero, n.one
    if not latent and s.shape.sharded:
        keys = d.step("keys", eq.key_value_parameters(n.layers, n.d_model, n.kv_heads, n.head_dim))
        copies = d.step("key_copies", eq.copies_of_keys(n.tp, n.kv_heads))
    positions = n.zero if s.shape.linear else n.max_context
    rotary = d.step("rotary", eq.rotary_table(positions, n.rope if latent else n.one if s.shape.linear else n.head_dim))
    if not s.shape.moe:
        share = eq.dense_share(n.parameters, tables, keys, copies, n.w_bytes, n.wide_bytes, n.tp)
        return d.step("weights", common.sum_of_two(d.step("share", share), rotary))
    routed = d.step("routed", memory_eq.routed_parameters(n.moe_layers, n.experts, n.matrices, n.d_model, n.expert_ffn))
    width = d.step("expert_width", eq.padded(n.e_bytes, n.padding)) if s.padded else n.e_bytes
    router = d.step("router", memory_eq.wide_parameters(n.moe_layers, n.experts, n.d_model))
    down = n.zero
    if latent:
        rank = n.q_rank if s.shape.compressed_query else n.zero
        a_layer = d.step("latent_in", operators.latent_in_elements(n.d_model, rank, n.kv_rank, n.rope))
        down = d.step("down", common.product(n.layers, a_layer))
    whole = d.step("whole", common.total(router, down))
    share = eq.moe_share(n.parameters, tables, routed, whole, keys, copies, n.w_bytes, width, n.wide_bytes, n.tp)
    held = d.step("held_whole", eq.held_whole(router, down, n.w_bytes, n.wide_bytes))
    parts = [d.step("share", share), held, rotary]
    if not latent:
        return d.step("weights", common.sum_of_three(*parts))
    copied = eq.absorbed_copies(n.layers, n.heads, n.kv_rank, n.nope, n.v_dim, n.tp)
    return d.step("weights", common.sum_of_four(*parts, d.step("absorbed", copied)))


def _activation(s: Structure, n: Numbers, d: Derivation) -> Value:
    if s.shape.dense and (s.shape.linear or not s.shape.moe):
        ffn = n.ffn
    elif s.shape.moe:
        ffn = n.shared_ffn
    else:
        ffn = d.step("inner", common.product(n.expand, n.d_model))
    forward = eq.forward_peak(n.profiled_tokens, n.residual_copies, n.d_model, n.matrices, ffn, n.tp)
    sampler = eq.sampler_peak(
        n.logit_bytes, n.profiled_sequences, n.vocab, n.sampler_copies, n.profiled_tokens, n.d_model
    )
    options = [d.step("forward_peak", forward), d.step("sampler_peak", sampler)]
    if not s.shape.moe or s.padded:
        return d.choose("activation", "max", options).value
    peak = d.choose("profile_peak", "max", options).value
    space = eq.expert_workspace(n.profiled_tokens, n.top_k, n.expert_ffn, n.d_model, n.tp)
    return d.step("activation", common.sum_of_two(peak, d.step("workspace", space)))


def _tokens(s: Structure, n: Numbers, d: Derivation, out: dict[str, Value]) -> None:
    low = out["pool_low"] = d.step("pool_low", common.difference(out["pool"], n.pool_below))
    high = out["pool_high"] = d.step("pool_high", common.sum_of_two(out["pool"], n.pool_above))
    unit, every = out["kv_token"], n.one
    if s.hybrid:
        size = d.step("group", eq.group_size(n.window_layers, n.full_layers))
        full = d.step("full_groups", eq.groups(n.full_layers, size))
        windowed = d.step("window_groups", eq.groups(n.window_layers, size))
        every = d.step("groups", common.total(full, windowed))
        unit = d.step("group_token", eq.cache_token_bytes(size, n.kv_heads, n.head_dim, n.kv_width, n.tp))
        each = eq.hybrid_sequence_blocks(n.context, n.window, n.block, full, windowed)
    else:
        each = eq.sequence_blocks(n.context, n.block, n.one)
    blocks = d.step("blocks", eq.blocks_of(out["pool"], n.block, unit))
    out["cache"] = d.step("cache", eq.tokens_of(blocks, n.block, every))
    for name, pool in (("cache_low", low), ("cache_high", high)):
        bound = d.step(f"{name}_blocks", eq.blocks_of(pool, n.block, unit))
        out[name] = d.step(name, eq.tokens_of(bound, n.block, every))
    out["max_sequences"] = d.step("max_sequences", eq.sequences_of(blocks, d.step("sequence_blocks", each)))


def _states(n: Numbers, d: Derivation, out: dict[str, Value]) -> None:
    """Sequences where some layers keep a state of one size: tokens are those of full sequences."""
    state = out["state"] = d.step("state", eq.recurrent_state(n.linear_layers, n.state_bytes, n.tp))
    length = d.step("rounded", eq.whole_blocks(n.context, n.block))
    out["sequence"] = d.step("sequence", eq.sequence_with_state(length, out["kv_token"], state))
    low = out["pool_low"] = d.step("pool_low", common.difference(out["pool"], n.pool_below))
    high = out["pool_high"] = d.step("pool_high", common.sum_of_two(out["pool"], n.pool_above))
    for name, pool in (("max_sequences", out["pool"]), ("sequences_low", low), ("sequences_high", high)):
        out[name] = d.step(name, eq.sequences_in(pool, out["sequence"]))
    for name, held in (("cache", "max_sequences"), ("cache_low", "sequences_low"), ("cache_high", "sequences_high")):
        out[name] = d.step(name, common.product(out[held], n.context))


def _longest(s: Structure, n: Numbers, d: Derivation, out: dict[str, Value]) -> Value | None:
    """The longest sequence of which `concurrency` fit, up to the model's context."""
    silent = replace(s, concurrency=False, speed=None)

    def holds(context: float) -> bool:
        again = compute(silent, n.replaced({"context": context}), Derivation(record=False))
        return bool(again["max_sequences"].value >= n.concurrency.value)

    condition = eq.enough_sequences(out["max_sequences"], n.concurrency)
    return d.search("longest", "largest", "context", 1, s.longest_context, condition, holds)


def present(problem: Problem, out: Outcome, d: Derivation) -> Presentation:
    """Word the answer: refused first, then tokens with their range and sequences."""
    model, hardware, request = problem.context
    pool, tokens, sequences = first(out["pool"]), first(out["cache"]), first(out["max_sequences"])
    low, high = max(0.0, first(out["cache_low"])), first(out["cache_high"])
    where = hardware.name if request.n_accelerators == 1 else f"{request.n_accelerators} x {hardware.name}"
    gib = 2**30
    parts = (
        f"{figure(first(out['weights']) / gib)} GiB weights, {figure(first(out['activation']) / gib)} activations and "
        f"{figure(first(out['non_torch']) / gib)} outside the allocator of "
        f"{figure(request.gpu_memory_utilization * first(out['driver']) / gib)} GiB"
    )
    feasible = sequences >= 1
    skip: set[str] = set()
    if pool <= 0:
        sentence = f"Does not start: {model.name} on {where} is short by {figure(-pool / gib)} GiB ({parts})."
        skip = {"cache_tokens", "cache_low_tokens", "cache_high_tokens", "max_sequences"}
        skip |= {"decode_expected_ms", "throughput_tokens_per_s"}
    elif not feasible:
        sentence = (
            f"Does not start: the cache of {model.name} on {where} holds {tokens:,.0f} tokens, fewer than one sequence "
            f"of {request.seq_len:,} ({parts})."
        )
    elif problem.structure.shape.attention == "none":
        sentence = (
            f"{sequences:,.0f} sequences of any length ({first(out['sequences_low']):,.0f} to "
            f"{first(out['sequences_high']):,.0f}) for {model.name} on {where}: {figure(pool / gib)} GiB are left for states of "
            f"{figure(first(out['sequence']) / 1e6)} MB beside {parts}."
        )
        skip = {"cache_tokens", "cache_low_tokens", "cache_high_tokens", "longest"}
    else:
        sentence = (
            f"{tokens:,.0f} tokens of KV-cache ({low:,.0f} to "
            f"{high:,.0f}), {sequences:,.0f} sequences of {request.seq_len:,} tokens, for "
            f"{model.name} on {where}: {figure(pool / gib)} GiB are left beside {parts}."
        )
    if not feasible:
        sentence += _remedy(problem)
    elif "throughput" in out:
        rate, step = figure(first(out["throughput"])), seconds(first(out["decode_expected"]))
        sentence += f" With all of them decoding at full length a step takes {step}, {rate} tokens/s together."
    if request.concurrency is not None and problem.structure.shape.attention != "none":
        sentence += (
            f" {request.concurrency:,} sequences fit up to {first(out['longest']):,.0f} tokens each."
            if "longest" in out
            else f" {request.concurrency:,} sequences fit at no length."
        )
    binding = Binding("batching", "memory_capacity") if feasible else Binding("memory_capacity", "batching")
    return Presentation(sentence, feasible, binding, fit_result(KvCapacityResult, out, {}, skip))


def _remedy(problem: Problem) -> str:
    s: Structure = problem.structure
    sharded = replace(s, shape=replace(s.shape, sharded=True))
    heads = int(problem.numbers.heads.value) if "heads" in problem.numbers else 64
    ranks = problem.context[2].n_accelerators
    found = [
        group(k, link_domain(problem.context[1]))
        for k in range(2, 65)
        if splittable(problem.context[1])
        and k > ranks
        and heads % k == 0
        and _starts(sharded, problem, {"tp": float(k)})
    ][:1]
    if problem.context[2].kv_dtype == "bf16" and _starts(s, problem, {"kv_width": 1.0}):
        found.append("kv_dtype=fp8")
    for name, width in (("fp8", 1.0), ("int4", 0.53125)):
        narrower = {k: width for k in ("w_bytes", "e_bytes") if k in problem.numbers}
        if first(problem.numbers.w_bytes) > width and _starts(s, problem, narrower):
            found.append(f"weight_dtype={name}")
            break
    return (
        f" It would with {' or '.join(found)}."
        if found
        else (
            " No tensor-parallel group of up to 64 holds it."
            if splittable(problem.context[1])
            else " The zoo has no link to split it over."
        )
    )


def _starts(s: Structure, problem: Problem, change: dict[str, float]) -> bool:
    out = compute(s, problem.numbers.replaced(change), Derivation(record=False))
    return first(out["max_sequences"]) >= 1


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
