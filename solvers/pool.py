"""The KV-cache pool of a paged serving engine (vLLM): the one rule by which every solver sizes how many sequences run.

pool = utilization · driver bytes − weights of a rank − activation peak of the profile run − memory outside the allocator
[Kwon 2023], with constants calibrated on the cache sizes that vLLM prints at start-up. kv_capacity steps it out. Solvers to
which it is one number among many quote it: :func:`quote_pool` computes it by the same equations and names the call of
kv_capacity that shows how. What a sequence takes of it, in whole blocks, all of them step out with :func:`sequence_bytes`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from mlwalls.solvers.assignments import write_assignments
from mlwalls.solvers.derivation import Derivation, Value
from mlwalls.solvers.equations import capacity as eq
from mlwalls.solvers.equations import common, operators
from mlwalls.solvers.equations import memory as memory_eq
from mlwalls.solvers.errors import CallError
from mlwalls.solvers.links import path_of
from mlwalls.solvers.numbers import Numbers
from mlwalls.solvers.shapes import ModelShape, resolve_model
from mlwalls.zoo import Entry
from mlwalls.zoo.calibrations import calibration

# vLLM's defaults: the share of the memory that it takes, tokens in a block.
UTILIZATION, BLOCK = 0.9, 16


@dataclass(frozen=True, slots=True)
class Pool:
    """Which equations apply to a rank's pool.

    Attributes:
        hybrid: windowed layers keep no more than their window, in groups of layers [vLLM's hybrid allocator].
        driver_known: the zoo has the memory that the driver shows.
        padded: the expert kernels pad their weights.
        copied: ranks outnumber the key-value heads, which are then held several times.
    """

    shape: ModelShape
    hybrid: bool
    driver_known: bool
    padded: bool
    copied: bool


def resolve_pool(
    n: Numbers,
    shape: ModelShape,
    model: Entry,
    hardware: Entry,
    ranks: int,
    *,
    profiled_tokens: int | None = None,
    profiled_sequences: int | None = None,
    hybrid_allocator: bool = True,
) -> Pool:
    """Read everything into `n` that a rank's pool rests on, but for ``utilization``, ``block`` and what the shape has.

    Raises:
        CallError: the zoo has no memory of this accelerator.
    """
    if not hardware.has("memory.capacity"):
        raise CallError(
            "hardware",
            f"the zoo has no memory capacity for {hardware.name}.",
            repair={"hardware": "nvidia-h100-sxm-80gb"},
        )
    if shape.linear and not shape.dense and not shape.moe:
        n.zoo("expand", model, "linear.expand", "")
    constants = calibration("kv_pool")["constants"]
    for name in ("residual_copies", "sampler_copies", "logit_bytes"):
        n.calibrated(constants, name)
    n.calibrated(constants, _outside(hardware, ranks), "non_torch")
    driver_known = hardware.has("memory.driver")
    if driver_known:
        n.zoo("driver", hardware, "memory.driver", "byte")
    else:
        n.zoo("capacity", hardware, "memory.capacity", "byte")
        n.assumed("driver_part", 0.985, 0.92, 0.995, source="cal_kv_pool")
    padded = shape.expert_format == "mxfp4"
    if padded:
        hopper = hardware.text("family") == "hopper"
        n.calibrated(constants, "mxfp4_padding" if hopper else "mxfp4_padding_marlin", "padding")
    _profile(profiled_tokens, profiled_sequences, hardware, n)
    if model.has("config.max_context"):
        n.zoo("max_context", model, "config.max_context", "token")
    else:
        n.alias("max_context", "zero")
    return Pool(shape, uses_hybrid(shape, hybrid_allocator), driver_known, padded, copies_keys(shape, n, ranks))


def _outside(hardware: Entry, ranks: int) -> str:
    group = "group_pcie" if path_of(hardware, ranks) == "pcie" else "group"
    return f"non_torch_{'single' if ranks == 1 else group}"


def at_ranks(p: Pool, n: Numbers, hardware: Entry, ranks: int) -> tuple[Pool, Numbers]:
    """Return the structure and the numbers of the same pool on another number of ranks."""
    outside = float(calibration("kv_pool")["constants"][_outside(hardware, ranks)]["value"])
    shape = replace(p.shape, sharded=ranks > 1)
    numbers = n.replaced({"tp": float(ranks), "non_torch": outside})
    return replace(p, shape=shape, copied=copies_keys(shape, n, ranks)), numbers


def uses_hybrid(shape: ModelShape, allocator: bool = True) -> bool:
    """Whether windowed layers keep no more than their window."""
    return allocator and shape.windowed and shape.full


def copies_keys(shape: ModelShape, n: Numbers, ranks: float) -> bool:
    """Whether so many ranks hold key-value heads several times."""
    return shape.attention == "gqa" and ranks > float(n.kv_heads.value)


def _profile(tokens: int | None, sequences: int | None, hardware: Entry, n: Numbers) -> None:
    """The engine's default batch: larger on accelerators with 70 GiB and more, but the A100."""
    large = hardware.number("memory.capacity").value >= 70 * 2**30 and hardware.text("family") != "ampere"
    usual = (8192, 1024) if large else (2048, 256)
    for symbol, given, default in (
        ("profiled_tokens", tokens, usual[0]),
        ("profiled_sequences", sequences, usual[1]),
    ):
        if given is not None:
            n.you(symbol, given)
        else:
            n.assumed(symbol, default, default / 4, default * 4, source="cal_kv_pool")


def pool_of(p: Pool, n: Numbers, d: Derivation) -> dict[str, Value]:
    """Step out a rank's memory.

    Returns:
        Keys `weights`, `activation`, `non_torch`, `driver` and `pool`, in bytes; a negative pool is short by so much.
    """
    out = {"weights": _weights(p, n, d), "non_torch": n.non_torch}
    out["activation"] = _activation(p, n, d)
    driver = n.driver if p.driver_known else d.step("driver", eq.driver_share(n.capacity, n.driver_part))
    out["driver"] = driver
    law = eq.cache_pool(n.utilization, driver, out["weights"], out["activation"], n.non_torch)
    return out | {"pool": d.step("pool", law)}


def _weights(p: Pool, n: Numbers, d: Derivation) -> Value:
    tables = d.step("tables", memory_eq.wide_parameters(n.wide_matrices, n.vocab, n.d_model))
    latent = p.shape.attention == "mla"
    keys, copies = n.zero, n.one
    if p.copied:
        keys = d.step("keys", eq.key_value_parameters(n.attention_layers, n.d_model, n.kv_heads, n.head_dim))
        copies = d.step("key_copies", eq.copies_of_keys(n.tp, n.kv_heads))
    positions = n.zero if p.shape.linear else n.max_context
    rotary = d.step("rotary", eq.rotary_table(positions, n.rope if latent else n.one if p.shape.linear else n.head_dim))
    if not p.shape.moe:
        share = eq.dense_share(n.parameters, tables, keys, copies, n.w_bytes, n.wide_bytes, n.tp)
        return d.step("weights", common.sum_of_two(d.step("share", share), rotary))
    routed = d.step("routed", memory_eq.routed_parameters(n.moe_layers, n.experts, n.matrices, n.d_model, n.expert_ffn))
    width = d.step("expert_width", eq.padded(n.e_bytes, n.padding)) if p.padded else n.e_bytes
    router = d.step("router", memory_eq.wide_parameters(n.moe_layers, n.experts, n.d_model))
    down = n.zero
    if latent:
        rank = n.q_rank if p.shape.compressed_query else n.zero
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


def _activation(p: Pool, n: Numbers, d: Derivation) -> Value:
    if p.shape.dense and (p.shape.linear or not p.shape.moe):
        ffn = n.ffn
    elif p.shape.moe:
        ffn = n.shared_ffn
    else:
        ffn = d.step("inner", common.product(n.expand, n.d_model))
    forward = eq.forward_peak(n.profiled_tokens, n.residual_copies, n.d_model, n.matrices, ffn, n.tp)
    sampler = eq.sampler_peak(
        n.logit_bytes, n.profiled_sequences, n.vocab, n.sampler_copies, n.profiled_tokens, n.d_model
    )
    options = [d.step("forward_peak", forward), d.step("sampler_peak", sampler)]
    if not p.shape.moe or p.padded:
        return d.choose("activation", "max", options).value
    peak = d.choose("profile_peak", "max", options).value
    space = eq.expert_workspace(n.profiled_tokens, n.top_k, n.expert_ffn, n.d_model, n.tp)
    return d.step("activation", common.sum_of_two(peak, d.step("workspace", space)))


def token_bytes(shape: ModelShape, n: Numbers, d: Derivation, cited: bool = False) -> Value:
    """Step out keys and values of one token on one rank, `kv_token`, every layer keeping it."""
    work = "deepseekv32" if shape.sparse else "deepseekv2" if shape.attention == "mla" else "kwon2023"
    if shape.sparse:
        latent = (n.layers, n.kv_rank, n.rope, n.kv_width)
        token = eq.sparse_token_bytes(*latent, n.index_dim, n.index_width)
    elif shape.attention == "mla":
        token = eq.latent_token_bytes(n.layers, n.kv_rank, n.rope, n.kv_width)
    elif shape.attention == "none":
        token = eq.cache_token_bytes(n.zero, n.one, n.one, n.kv_width, n.tp)
    else:
        layers = n.full_layers if shape.linear else n.layers
        token = eq.cache_token_bytes(layers, n.kv_heads, n.head_dim, n.kv_width, n.tp)
    return d.step("kv_token", token, (work,) if cited else ())


@dataclass(frozen=True, slots=True)
class Grouped:
    """What the hybrid allocator hands out: a token's bytes in a group of layers, and the groups that keep all and a window."""

    token: Value
    full: Value
    windowed: Value


def grouped(n: Numbers, d: Derivation) -> Grouped:
    """Step out the hybrid allocator's groups of layers, and one token's bytes in one of them."""
    size = d.step("group", eq.group_size(n.window_layers, n.full_layers))
    full = d.step("full_groups", eq.groups(n.full_layers, size))
    windowed = d.step("window_groups", eq.groups(n.window_layers, size))
    token = eq.cache_token_bytes(size, n.kv_heads, n.head_dim, n.kv_width, n.tp)
    return Grouped(d.step("group_token", token), full, windowed)


def sequence_bytes(shape: ModelShape, n: Numbers, d: Derivation, length: Value) -> Value:
    """Step out `held`: bytes that a sequence of `length` tokens takes of a rank's pool, in whole blocks.

    ⌊pool / held⌋ are the sequences that kv_capacity fits.
    """
    if uses_hybrid(shape):
        g = grouped(n, d)
        blocks = d.step("held_blocks", eq.hybrid_sequence_blocks(length, n.window, n.block, g.full, g.windowed))
        return d.step("held", eq.bytes_of_blocks(blocks, n.block, g.token))
    if shape.attention == "none":
        return d.step("held", eq.recurrent_state(n.linear_layers, n.state_bytes, n.tp))
    token = token_bytes(shape, n, d)
    rounded = d.step("held_tokens", eq.whole_blocks(length, n.block))
    if shape.linear:
        state = d.step("state", eq.recurrent_state(n.linear_layers, n.state_bytes, n.tp))
        return d.step("held", eq.sequence_with_state(rounded, token, state))
    return d.step("held", eq.sequence_cache(rounded, token))


def quote_pool(
    n: Numbers,
    model: Entry,
    hardware: Entry,
    ranks: int,
    weight_format: str,
    set_: Sequence[str] = (),
    symbol: str = "pool",
) -> str:
    """Put the pool that kv_capacity answers with into `n`, as its answer, and return the call that it answers.

    What the caller replaced by `set_` holds for the pool too, where its work has such a number.

    Raises:
        CallError: the zoo has no memory of this accelerator.
    """
    pool, known = pool_at(model, hardware, ranks, weight_format, set_)
    n.answered(symbol, pool, "kv_capacity", ("kwon2023",))
    arguments: dict[str, object] = {"model": model.id, "hardware": hardware.id}
    if ranks > 1:
        arguments["n_accelerators"] = ranks
    if weight_format != "native":
        arguments["weight_dtype"] = weight_format
    if known:
        arguments["set"] = known
        n.settle(name for text in known if (name := text.partition("=")[0].strip()) not in n)
    return " ".join(["kv_capacity", *write_assignments(arguments)])


def pool_at(
    model: Entry, hardware: Entry, ranks: int, weight_format: str, set_: Sequence[str] = ()
) -> tuple[Value, list[str]]:
    """Return a rank's pool as kv_capacity computes it by default, and those of `set_` that its work has."""
    pool, known = _pool_at(model, hardware, ranks, weight_format, tuple(set_))
    return pool, list(known)


@lru_cache(maxsize=256)
def _pool_at(
    model: Entry, hardware: Entry, ranks: int, weight_format: str, set_: tuple[str, ...]
) -> tuple[Value, tuple[str, ...]]:
    n = Numbers()
    n.you("tp", ranks)
    n.defined("one", 1)
    n.defined("zero", 0)
    shape = resolve_model(n, model, weight_format, "bf16", ranks)
    p = resolve_pool(n, shape, model, hardware, ranks)
    n.assumed("utilization", UTILIZATION, UTILIZATION, UTILIZATION)
    known = tuple(t for t in set_ if (name := t.partition("=")[0].strip()) in n and n[name].origin.kind != "you")
    try:
        n.override(known)
    except CallError:
        known = ()  # the caller's own numbers refuse it, and say why
    return pool_of(p, n, Derivation(record=False))["pool"], known


def pool_short(
    model: Entry,
    hardware: Entry,
    ranks: int,
    formats: tuple[str, str],
    length: float,
    batch: float,
    set_: Sequence[str] = (),
) -> float:
    """Return the bytes by which `batch` sequences of `length` tokens exceed a rank's pool; below 0 they fit.

    Args:
        formats: of the stored weights and of the cache.
    """
    weights, cache = formats
    pool, _ = pool_at(model, hardware, ranks, weights, set_)
    n, d = Numbers(), Derivation(record=False)
    n.you("tp", ranks)
    n.defined("one", 1)
    n.defined("zero", 0)
    n.you("block", BLOCK)
    shape = resolve_model(n, model, weights, cache, ranks)
    each = sequence_bytes(shape, n, d, Value("length", length, "token"))
    return float(batch * each.value - pool.value)
