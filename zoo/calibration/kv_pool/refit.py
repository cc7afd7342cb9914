"""Refit the constants of the KV-pool model on the published start-up logs in ``rows.yaml``.

Question: how many bytes does vLLM leave for the KV cache of one rank? Every number is per rank, in byte.

    pool       = utilization * driver bytes - weights - activation - non-torch
    weights    = sharded parameters / TP + replicated parameters, each at its stored width, + rotary table
    activation = max(forward, sampler) + expert workspace
    forward    = 2 * T * (residual_copies * d_model + 3 * ffn / TP)          (2 * ffn if not gated)
    sampler    = logit_bytes * R * vocabulary + 2 * T * sampler_copies * d_model
    workspace  = 2 * T * k * (max(f, d_model) + max(2 * f, d_model)),  f = expert intermediate / TP

T: profiled tokens (max_num_batched_tokens), R: profiled sequences (min of max_num_seqs and T). CUDA graphs are not
in it: those versions capture them after the pool is set. ``MODEL_CARD.md`` explains each term and its limits.

A row is in the calibration half when the SHA-256 of its id is even, in the test half otherwise. Constants are medians
or least squares over the calibration half only; ranges span every row. ``python refit.py`` prints constants and errors.
"""

from __future__ import annotations

import hashlib
import statistics
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

HERE = Path(__file__).resolve().parent
MODELS = HERE.parents[1] / "models"
GIB = float(2**30)
WIDE = 2.0
"""Bytes per parameter of the 16-bit tensors."""

LINEAR_BYTES = {
    None: 2.0,
    "fp8": 1.0,
    "int8": 1.0,
    "fp8_block": 1.0 + 4 / 128**2,
    "int4_g128": 0.5 + 2 / 128 + 0.5 / 128,
    "mxfp4": 2.0,
}
"""Stored bytes per linear parameter: values, 16-bit scales and packed zeros per group of 128."""

PADDING = {"mxfp4_padding": 3072 / 2880, "mxfp4_padding_marlin": 3072 / 2880 * 2944 / 2880}
"""Resident over stored bytes of gpt-oss experts: the intermediate, and in Marlin also the hidden size, is padded."""

NVLINK = ("sxm", "h200", "b200")

Row = dict[str, Any]
Constants = dict[str, float]


@dataclass(frozen=True)
class Shape:
    """The numbers of one configuration that memory depends on."""

    parameters: float
    layers: int
    d_model: int
    kv_heads: int
    head_dim: int
    ffn: int
    vocab: int
    max_context: int
    gated: bool
    tied: bool
    experts: int
    experts_per_token: int
    expert_ffn: int
    expert_layers: int
    shared_ffn: int
    expert_bytes: float
    heads: int
    q_rank: int
    kv_rank: int
    qk_nope: int
    qk_rope: int
    v_head: int
    window_layers: int
    full_layers: int

    @property
    def mla(self) -> bool:
        """True for latent attention."""
        return self.kv_rank > 0


def load() -> list[tuple[Row, Shape]]:
    """Return the rows, each with its architecture (from the zoo or from ``rows.yaml``)."""
    data = yaml.safe_load((HERE / "rows.yaml").read_text(encoding="utf-8"))
    return [(row, _shape(row, data["architectures"])) for row in data["rows"]]


def _shape(row: Row, architectures: dict[str, Any]) -> Shape:
    if row.get("architecture"):
        entry = architectures[row["architecture"]]
        config, parameters = entry, float(entry["parameters"])
        native: dict[str, Any] = {}
    else:
        entry = yaml.safe_load((MODELS / f"{row['zoo_model']}.yaml").read_text(encoding="utf-8"))
        config, parameters = entry["config"], float(entry["parameters"]["value"])
        native = entry.get("checkpoint", {})
    moe, mla = entry.get("moe", {}), entry.get("mla", {})
    return Shape(
        parameters=parameters,
        layers=config["layers"],
        d_model=config["d_model"],
        kv_heads=config.get("kv_heads", 0),
        head_dim=config.get("head_dim", 0),
        ffn=config.get("ffn", 0),
        vocab=config["vocab"],
        max_context=config["max_context"],
        gated=bool(config.get("gated_ffn", False)),
        tied=bool(config.get("tied_embeddings", False)),
        experts=moe.get("experts", 0),
        experts_per_token=moe.get("experts_per_token", 0),
        expert_ffn=moe.get("ffn", 0),
        expert_layers=moe.get("layers", 0),
        shared_ffn=moe.get("shared_ffn", 0),
        expert_bytes=native.get("experts_bytes_per_parameter", {}).get("value", 0.0),
        heads=config["heads"],
        q_rank=mla.get("q_rank", 0),
        kv_rank=mla.get("kv_rank", 0),
        qk_nope=mla.get("qk_nope", 0),
        qk_rope=mla.get("qk_rope", 0),
        v_head=mla.get("v_head", 0),
        window_layers=config.get("window_layers", 0),
        full_layers=config.get("full_layers", config["layers"]),
    )


def version(row: Row) -> tuple[int, ...]:
    """Return the release as numbers: ``0.6.4.post1`` is (0, 6, 4)."""
    return tuple(int(part) for part in row["vllm_version"].split(".") if part.isdigit())


def weights(row: Row, shape: Shape) -> float:
    """Return resident weight bytes of one rank."""
    tp, linear = row["tensor_parallel"], LINEAR_BYTES[row["quantization"]]
    tables = shape.vocab * shape.d_model * (1 if shape.tied else 2)
    router = shape.expert_layers * shape.experts * shape.d_model
    expert = 3.0 * shape.expert_layers * shape.experts * shape.expert_ffn * shape.d_model
    down = shape.layers * shape.d_model * (shape.q_rank + shape.kv_rank + shape.qk_rope) if shape.mla else 0
    keys = 0 if shape.mla else 2 * shape.layers * shape.d_model * shape.kv_heads * shape.head_dim
    copies = max(1.0, tp / shape.kv_heads) if shape.kv_heads else 1.0
    rest = shape.parameters - tables - router - expert - down - keys
    marlin = "h100" not in row["gpu"] or version(row) < (0, 12)
    padding = PADDING["mxfp4_padding_marlin" if marlin else "mxfp4_padding"]
    expert_width = shape.expert_bytes * padding if row["quantization"] == "mxfp4" else linear
    total = (tables * WIDE + expert * expert_width + (rest + keys * copies) * linear) / tp
    total += router * WIDE + down * linear
    if shape.mla:  # the absorbed form keeps 16-bit copies of the two up-projections
        total += WIDE * shape.layers * shape.heads / tp * shape.kv_rank * (shape.qk_nope + shape.v_head)
    rotary = shape.qk_rope if shape.mla else shape.head_dim
    return float(total + WIDE * shape.max_context * rotary)


def kv_bytes(row: Row, shape: Shape, layers: int) -> float:
    """Return KV bytes per token and rank over that many layers."""
    width = 1.0 if row["kv_dtype"] == "fp8" else 2.0
    if shape.mla:
        return float(layers * (shape.kv_rank + shape.qk_rope) * width)
    heads = max(1.0, shape.kv_heads / row["tensor_parallel"])
    return float(layers * 2 * heads * shape.head_dim * width)


def tokens(row: Row, shape: Shape, pool: float) -> int:
    """Return the cache size that vLLM prints for a pool of that many byte.

    V1 gives layers with and without a window tables of their own: they fall in groups of one common size, padded, and
    a token takes one slot in each group.
    """
    groups, layers = 1, shape.layers
    if row["engine"] == "v1" and shape.window_layers and shape.full_layers:
        layers = min(shape.window_layers, shape.full_layers)
        groups = -(-shape.window_layers // layers) + -(-shape.full_layers // layers)
    blocks = int(pool // (kv_bytes(row, shape, layers) * row["block_size"]))
    return max(0, blocks // groups * int(row["block_size"]))


def terms(row: Row, shape: Shape) -> dict[str, float]:
    """Return the multiplicands of the activation model: logits, hidden state, feed-forward and expert workspace."""
    tp, n = row["tensor_parallel"], row["max_num_batched_tokens"]
    profiled = min(row["max_num_seqs"], n)
    chunked_v0 = row["engine"] == "v0" and row["max_model_len"] > 32768 and version(row) >= (0, 6)
    f = -(-shape.expert_ffn // tp)
    workspace = 0.0
    if shape.experts and row["quantization"] != "mxfp4":
        k, d = shape.experts_per_token, shape.d_model
        workspace = 2.0 * n * k * (max(f, d) + max(2 * f, d))
    return {
        "logits": 0.0 if chunked_v0 else float(profiled * shape.vocab),
        "hidden": 2.0 * n * shape.d_model,
        "ffn": 2.0 * n * (3 if shape.gated else 2) * (shape.ffn if not shape.experts else shape.shared_ffn) / tp,
        "workspace": workspace,
    }


def logit_constant(row: Row) -> str:
    """Name the bytes per logit of that release."""
    return "logit_bytes" if version(row) >= (0, 17) else "logit_bytes_before_0_17"


def runtime_constant(row: Row) -> str:
    """Name the non-torch constant of that release, engine and link."""
    if row["engine"] == "v0" and version(row) < (0, 6, 4):
        return "slack_before_0_6_4"
    late = version(row) >= (0, 18)
    if row["tensor_parallel"] == 1:
        return "non_torch_single" if late else "non_torch_single_before_0_18"
    if not any(word in row["gpu"] for word in NVLINK):
        return "non_torch_group_pcie"
    return "non_torch_group" if late else "non_torch_group_before_0_18"


def activation(row: Row, shape: Shape, c: Constants) -> float:
    """Return the peak of the profile run above the weights, byte."""
    t = terms(row, shape)
    forward = c["residual_copies"] * t["hidden"] + t["ffn"]
    sampler = c[logit_constant(row)] * t["logits"] + c["sampler_copies"] * t["hidden"]
    return max(forward, sampler) + t["workspace"]


def predict(row: Row, shape: Shape, c: Constants) -> float:
    """Return the pool of one rank, byte (negative: nothing left)."""
    budget = row["total_gpu_gib"] * GIB * row["gpu_memory_utilization"]
    reserve = activation(row, shape, c) + c[runtime_constant(row)]
    return float(budget - weights(row, shape) - reserve)


def printed(row: Row, shape: Shape) -> float | None:
    """Return the pool that the log shows, byte: the printed size, else printed blocks times bytes per block."""
    if row["available_kv_gib"] is not None:
        return float(row["available_kv_gib"]) * GIB
    if row["gpu_blocks"]:
        return float(row["gpu_blocks"] * row["block_size"] * kv_bytes(row, shape, shape.layers))
    return None


def half(row: Row) -> str:
    """Return ``calibration`` or ``test``, from the id alone."""
    return "test" if int(hashlib.sha256(row["id"].encode()).hexdigest(), 16) % 2 else "calibration"


def sampler_binds(row: Row, shape: Shape) -> bool:
    """Tell which peak binds, with round numbers: 4 and 2 copies, 14 (before 0.17: 38) byte a logit."""
    t = terms(row, shape)
    width = 14.0 if version(row) >= (0, 17) else 38.0
    return width * t["logits"] + 2 * t["hidden"] > 4 * t["hidden"] + t["ffn"]


def fit_peak(used: list[tuple[Row, Shape]]) -> Constants:
    """Fit bytes per logit and copies of the hidden state to the printed activation peaks."""
    matrix, goal = [], []
    for r, s in used:
        if r.get("activation_gib") is None:
            continue
        t, sampler, late = terms(r, s), sampler_binds(r, s), version(r) >= (0, 17)
        columns = [t["logits"] * late * sampler, t["logits"] * (not late) * sampler]
        columns += [t["hidden"] * sampler, t["hidden"] * (not sampler)]
        matrix.append([x / GIB for x in columns])
        goal.append(r["activation_gib"] - (t["workspace"] + (0.0 if sampler else t["ffn"])) / GIB)
    solved = np.linalg.lstsq(np.array(matrix), np.array(goal), rcond=None)[0]
    names = ("logit_bytes", "logit_bytes_before_0_17", "sampler_copies", "residual_copies")
    return {name: float(value) for name, value in zip(names, solved, strict=True)}


def runtime_samples(used: list[tuple[Row, Shape]], c: Constants) -> dict[str, list[float]]:
    """Return the non-torch bytes that each row prints or, where it prints none, leaves unexplained."""
    seen: dict[str, list[float]] = {}
    for r, s in used:
        pool, value = printed(r, s), r.get("non_torch_gib")
        if value is not None:
            sample = value * GIB
        elif pool is None or r["outcome"] == "refused":
            continue
        else:
            budget = r["total_gpu_gib"] * GIB * r["gpu_memory_utilization"]
            sample = budget - weights(r, s) - activation(r, s, c) - pool
        seen.setdefault(runtime_constant(r), []).append(sample)
    return seen


def fit(used: list[tuple[Row, Shape]]) -> Constants:
    """Fit all constants on these rows."""
    c = fit_peak(used)
    c.update({name: statistics.median(values) for name, values in runtime_samples(used, c).items()})
    return c


def ranges(used: list[tuple[Row, Shape]], everything: list[tuple[Row, Shape]], c: Constants) -> dict[str, list[float]]:
    """Return low and high: leave-one-row-out for the peak, the samples of every row for the rest."""
    peaks = [fit_peak(used[:i] + used[i + 1 :]) for i in range(len(used))] + [fit_peak(everything)]
    found = {name: [min(p[name] for p in peaks), max(p[name] for p in peaks)] for name in peaks[0]}
    found.update({k: [min(v), max(v)] for k, v in runtime_samples(everything, c).items()})
    return found


def errors(data: Iterable[tuple[Row, Shape]], c: Constants, keep: Callable[[Row], bool]) -> Iterator[tuple[Row, Any]]:
    """Yield each kept row with predicted and printed pool (GiB), predicted tokens and predicted outcome."""
    for row, shape in data:
        if not keep(row) or row.get("max_num_seqs") is None or row.get("gpu_memory_utilization") is None:
            continue
        if row.get("max_num_batched_tokens") is None:
            continue
        pool, actual = predict(row, shape, c), printed(row, shape)
        size = tokens(row, shape, pool)
        yield (
            row,
            {
                "predicted": pool / GIB,
                "printed": None if actual is None else actual / GIB,
                "tokens": size,
                "outcome": "started" if pool > 0 and size >= row["max_model_len"] else "refused",
                "weights": weights(row, shape) / GIB,
                "activation": activation(row, shape, c) / GIB,
            },
        )


def main() -> None:
    """Print constants with ranges, and the errors of both halves."""
    data = load()
    scored = [(r, s) for r, s in data if not r.get("excluded")]
    used = [(r, s) for r, s in scored if half(r) == "calibration"]
    c = fit(used)
    span = ranges(used, scored, c)
    for name, value in sorted(c.items()):
        low, high = span[name]
        sys.stdout.write(f"{name:29s} {value:.6g}  [{low:.6g}, {high:.6g}]\n")
    for title in ("calibration", "test"):
        _show(title, list(errors(scored, c, lambda r, t=title: half(r) == t)))  # type: ignore[misc]
    _show("excluded", list(errors(data, c, lambda r: bool(r.get("excluded")))))


def _show(title: str, found: list[tuple[Row, Any]]) -> None:
    write = sys.stdout.write
    write(f"\n{title}: {len(found)} rows\n")
    relative, gaps = [], []
    for row, e in found:
        line = f"  {row['id']:34s} "
        if e["printed"] is not None:
            gap = e["predicted"] - e["printed"]
            line += f"{e['predicted']:7.2f} {e['printed']:7.2f} GiB {gap:+6.2f}"
            if row["outcome"] == "started":
                line += f" {gap / e['printed']:+7.2%}"
                relative.append(abs(gap) / e["printed"])
                gaps.append(gap)
        line += f"  weights {e['weights']:6.2f}/{row.get('model_loading_gib')}"
        line += f"  activation {e['activation']:5.2f}/{row.get('activation_gib')}"
        line += "" if e["outcome"] == row["outcome"] else f"  OUTCOME {e['outcome']} not {row['outcome']}"
        write(line + (f"  tokens {e['tokens']}/{row['cache_tokens']}" if row["cache_tokens"] else "") + "\n")
    right = sum(e["outcome"] == row["outcome"] for row, e in found)
    write(f"  outcomes right: {right} of {len(found)}\n")
    if relative:
        p10, p90 = np.quantile(gaps, [0.1, 0.9])
        write(f"  started: n {len(relative)}, median {statistics.median(relative):.2%}, worst {max(relative):.2%}\n")
        write(f"  predicted minus printed: 80 % within {p10:+.2f} .. {p90:+.2f} GiB\n")


if __name__ == "__main__":
    main()
