"""Refit the constants of the serving-latency model on the measured rows in ``rows.csv``.

Question: how long does one token, and the first one, take on one replica at steady concurrency? With t tokens in a pass, B
sequences decoding, I and O prompt and output tokens, all per rank and in seconds:

    pass(t)  = weights/BW + overhead + t · (arithmetic/(P · eta) + all-reduce/(link · eta_link) + routed copies/BW)
               + (hit(t) − k) · expert/BW                       hit(t) = E · (1 − (1 − k/E)^t)
    overhead = (L + x_mla · L_latent + x_routed · k · L_moe) · tau · r_engine · x_gen
    step     = pass(B) + B · (attention core + cache/BW + t_sequence)
    tpot     = step + (B − 1)/O · I/n · (pass with n prompt tokens besides − step),   n = min(chunk, I · max((B − 1)/O, 1))
    ttft     = t_start + own · (collide + queued · (B − 1)) + (C/B − 1) · (O · tpot + own)

This is a second, independent writing of what the solvers ship (a test holds the two together row by row), in NumPy on all rows
at once, because a fit needs thousands of runs. ``MODEL_CARD.md`` explains the terms, the rows left out and the limits.

``python refit.py`` prints constants, errors on left-out families, chips and engines, and the intervals.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from scipy.optimize import least_squares

from mlwalls.server.accuracy import score_file
from mlwalls.server.accuracy.report import Scored
from mlwalls.zoo import Zoo
from mlwalls.zoo.entry import Entry
from mlwalls.zoo.measured import MeasuredRow, UnusedRow, read_rows

HERE = Path(__file__).resolve().parent
BYTES = {"bf16": 2.0, "fp16": 2.0, "fp8": 1.0, "nvfp4": 0.5625, "mxfp4": 0.53125}
HALVINGS = {"bf16": 0, "fp8": 1, "fp4": 2}
WIDE_LATENT = 1.1
"""Stored bytes of latent attention's projections in 4-bit checkpoints, which keep most of them at 8 or 16 bit."""

FREE = (
    "eta16",
    "rho",
    "tau",
    "x_gen_older",
    "r_engine_vllm",
    "x_mla",
    "eta_link",
    "x_routed",
    "route_bytes",
    "t_sequence_vllm",
)
"""Constants of the time per token that are fitted."""
NEUTRAL = {
    "eta16": 0.75,
    "rho": 0.7,
    "tau": 6e-5,
    "x_gen_older": 1.15,
    "r_engine_vllm": 1.15,
    "x_mla": 0.6,
    "eta_link": 0.45,
}
NEUTRAL |= {"x_routed": 0.0625, "route_bytes": 16.0, "t_sequence_vllm": 1.5e-5}
"""Where a constant stays that the rows of a fold cannot see. Written after earlier fits on part of these rows: see the card."""
NO_EFFECT = {"x_gen_older": 1.0, "r_engine_vllm": 1.0, "x_mla": 0.01, "x_routed": 0.001, "route_bytes": 0.3, "rho": 0.9}
NO_EFFECT |= {"t_sequence_vllm": 3e-7}
"""The stricter alternative: what a fold has not seen has (nearly) no effect."""
FIRST_FREE = ("t_start_vllm", "t_start_trtllm", "t_start_sglang", "collide", "queued")
FIRST_NEUTRAL = {"t_start_vllm": 0.03, "t_start_trtllm": 0.08, "t_start_sglang": 0.15, "collide": 1.4, "queued": 0.07}
PULL, SCALE = 0.1, 0.1
"""Pull to the neutral value, as the weight of one row in a hundred of misfit 0.1; scale of the soft absolute loss (log)."""

Features = dict[str, np.ndarray]
Constants = dict[str, float]


def load(zoo: Zoo, path: Path = HERE / "rows.csv") -> tuple[list[MeasuredRow], Counter[str]]:
    """Return the rows that are used, and how many are not, by reason."""
    rows: list[MeasuredRow] = []
    unused: Counter[str] = Counter()
    for row in read_rows(path.read_text(encoding="utf-8"), zoo):
        if isinstance(row, UnusedRow):
            unused[row.reason] += 1
        else:
            rows.append(row)
    return rows, unused


def features(rows: Sequence[MeasuredRow], zoo: Zoo) -> Features:
    """Count every row's FLOPs, bytes and units, an accelerator each; arrays of one number a row."""
    counted = [_features(row, zoo.get("models", row.model), zoo.get("hardware", row.hardware)) for row in rows]
    return {name: np.array([c[name] for c in counted], float) for name in counted[0]}


def _features(row: MeasuredRow, model: Entry, chip: Entry) -> dict[str, float]:
    def number(path: str, default: float = 0.0) -> float:
        return float(model.number(path).value) if model.has(path) else default

    layers, d, heads, vocab = (number(f"config.{k}") for k in ("layers", "d_model", "heads", "vocab"))
    n, parallel = row.ranks, row.data_parallel and row.ranks > 1
    layer = "bf16" if row.weight_format == "native" else row.weight_format
    routed = "mxfp4" if row.weight_format == "native" else row.weight_format
    blackwell = chip.text("family") == "blackwell"
    narrow = routed not in ("bf16", "fp16") and (blackwell or row.engine == "trtllm")
    kv = 1.0 if narrow else 2.0
    latent = model.text("config.attention") == "mla"
    projections = WIDE_LATENT if latent and layer == "nvfp4" else BYTES[layer]
    if latent:
        q, c, rope, nope, v = (number(f"mla.{k}") for k in ("q_rank", "kv_rank", "qk_rope", "qk_nope", "v_head"))
        whole, shared = layers * d * (q + c + rope), layers * heads * (q * (nope + rope) + c * (nope + v) + v * d)
        decode_core, prefill_core, element = heads * (2 * c + rope), heads * (nope + rope + v), c + rope
        copies: float = n if parallel else 1
    else:
        groups, size = number("config.kv_heads"), number("config.head_dim")
        whole, shared = 0.0, layers * (d * size * (heads + 2 * groups) + heads * size * d)
        decode_core = prefill_core = 2 * heads * size
        element = 2 * groups * size
        copies = n if parallel else min(n, groups)
    moe = model.has("moe.experts")
    moe_layers, experts, k = number("moe.layers"), number("moe.experts", 1), number("moe.experts_per_token", 1)
    dense_layers = number("moe.dense_layers") if moe else layers
    dense = 3 * d * number("config.ffn") * dense_layers + 3 * d * number("moe.shared_ffn") * moe_layers
    router = moe_layers * d * experts if moe else 0.0
    expert = 3 * d * number("moe.ffn") * moe_layers
    head, norms, parameters = vocab * d, number("config.norm_parameters"), number("parameters")
    full = number("config.full_layers", layers) if model.has("config.window_layers") else layers
    windowed, window = number("config.window_layers"), number("config.window", np.inf)
    i, o = row.prompt, row.output
    held = i + {"vllm": 0.5, "trtllm": 0.9, "sglang": 0.5}[row.engine] * o

    def read(length: float) -> float:
        return (full * length + windowed * min(length, window)) * element * kv / copies

    short = min(window, i) if windowed else 0.0
    pairs = full * i * (i + 1) / 2 + windowed * (short * i - short * (short - 1) / 2)
    middle = full * (i + o / 2) + windowed * min(i + o / 2, window)
    resident = (parameters - 2 * head - (experts * expert if moe else 0)) * BYTES[layer]
    resident = (resident + (experts * expert * BYTES[routed] if moe else 0) + 2 * head * 2) / n
    if latent:
        resident += (whole + shared) * (projections - BYTES[layer]) / n
    resident += ((whole + shared) if parallel else whole if n > 1 else 0.0) * projections * (1 - 1 / n)
    peaks = {u: float(chip.number(f"peak.{u}").value) for u in HALVINGS if chip.has(f"peak.{u}")}
    units = _unit(layer, peaks), _unit(routed, peaks)
    unit_a = "fp8" if latent and layer == "nvfp4" else units[0]
    everywhere = whole / n if parallel else whole
    return {
        "weights": (whole + shared / (1 if parallel else n)) * projections
        + (dense / n + router) * BYTES[layer]
        + expert * k / n * BYTES[routed] * moe
        + (head / n + norms) * 2,
        "expert": expert / n * BYTES[routed],
        "mac_a": everywhere + shared / n,
        "mac_d": dense / n + router,
        "mac_e": k * expert / n * moe,
        "mac_h": head / n,
        "mac_core": middle * decode_core / n,
        "mac_prompt": pairs * prefill_core / n,
        "peak_a": peaks[unit_a],
        "peak_d": peaks[units[0]],
        "peak_e": peaks[units[1]],
        "peak16": peaks["bf16"],
        "half_a": HALVINGS[unit_a],
        "half_d": HALVINGS[units[0]],
        "half_e": HALVINGS[units[1]],
        "cache": read(i + o / 2),
        "written": (full + windowed) * i * element * kv / copies,
        "each": read(held),
        "room": 0.92 * float(chip.number("memory.capacity").value) - 2.5e9 - resident,
        "sent": 0.0 if n == 1 else 2 * (n - 1) / n * d * 2 * (moe_layers if parallel else 2 * layers),
        "link": float(chip.number("link.bandwidth").value),
        "bandwidth": float(chip.number("memory.bandwidth").value),
        "layers": layers,
        "latent": layers * latent,
        "moe_layers": moe_layers,
        "experts": experts,
        "k": k,
        "moe": moe,
        "d": d,
        "older": not blackwell,
        "vllm": row.engine == "vllm",
        "trtllm": row.engine == "trtllm",
        "sglang": row.engine == "sglang",
        "prompt": i,
        "output": o,
        "load": row.concurrency,
        "tpot": row.tpot,
        "ttft": row.ttft,
    }


def _unit(stored: str, peaks: Mapping[str, float]) -> str:
    if stored == "fp16":
        return "bf16"
    if stored == "mxfp4":
        return "fp8" if "fp4" in peaks else "bf16"
    if stored == "nvfp4":
        return "fp4" if "fp4" in peaks else "bf16"
    return stored


def predict(f: Features, c: Mapping[str, float]) -> dict[str, np.ndarray]:
    """Predict `tpot`, `ttft`, `step` and `own` (s) and `decoding` (sequences) of every row."""
    bandwidth = f["bandwidth"]

    def share(halvings: np.ndarray) -> np.ndarray:
        return np.asarray(c["eta16"] * c["rho"] ** halvings)

    def hit(tokens: np.ndarray) -> np.ndarray:
        return np.asarray(f["moe"] * (f["experts"] * (1 - (1 - f["k"] / f["experts"]) ** tokens) - f["k"]))

    units = f["layers"] + c["x_mla"] * f["latent"] + c["x_routed"] * f["k"] * f["moe_layers"]
    engine = 1 + (c["r_engine_vllm"] - 1) * f["vllm"]
    overhead = units * c["tau"] * engine * (1 + (c["x_gen_older"] - 1) * f["older"])
    fixed = f["weights"] / bandwidth + overhead
    arithmetic = sum(2 * f[f"mac_{g}"] / (f[f"peak_{g}"] * share(f[f"half_{g}"])) for g in "ade")
    head = 2 * f["mac_h"] / (f["peak16"] * c["eta16"])
    carried = f["sent"] / (f["link"] * c["eta_link"]) + c["route_bytes"] * f["moe_layers"] * f["k"] * f["d"] / bandwidth
    core = f["peak16"] * 0.6
    sequence = arithmetic + head + 2 * f["mac_core"] / core + carried + f["cache"] / bandwidth
    sequence = sequence + c["t_sequence_vllm"] * (1 - f["trtllm"])
    prompt = f["prompt"] * (arithmetic + carried) + head + 2 * f["mac_prompt"] / core + f["written"] / bandwidth
    expert = f["expert"] / bandwidth
    decoding = np.minimum(f["load"], np.maximum(1, f["room"] / f["each"]))
    step = fixed + decoding * sequence + hit(decoding) * expert
    arrivals = (decoding - 1) / f["output"]
    tokens = np.minimum(8192, f["prompt"] * np.maximum(arrivals, 1))
    mixed = step + tokens / f["prompt"] * prompt + (hit(tokens + decoding) - hit(decoding)) * expert
    tpot = step + arrivals * f["prompt"] / tokens * (mixed - step)
    alone = np.minimum(f["prompt"], 8192)
    own = (fixed + hit(alone) * expert) * f["prompt"] / alone + prompt
    start = sum(c[f"t_start_{e}"] * f[e] for e in ("vllm", "trtllm", "sglang"))
    waiting = (f["load"] / decoding - 1) * (f["output"] * tpot + own)
    ttft = start + own * (c["collide"] + c["queued"] * (decoding - 1)) + waiting
    return {"tpot": tpot, "ttft": ttft, "step": step, "own": own, "decoding": decoding}


def fit(
    f: Features, target: str, free: Sequence[str], neutral: Mapping[str, float], fixed: Mapping[str, float]
) -> Constants:
    """Fit constants to a target (`tpot` or `ttft`): soft absolute error of the logarithm, weak pull to the neutral values."""
    start = np.log([neutral[name] for name in free])
    measured = np.log(f[target])
    pull = PULL * SCALE * np.sqrt(len(measured))
    scale = SCALE if target == "tpot" else 3 * SCALE

    def constants(x: np.ndarray) -> Constants:
        return {**fixed, **dict(zip(free, np.exp(x).tolist(), strict=True))}

    def residuals(x: np.ndarray) -> np.ndarray:
        z = (measured - np.log(predict(f, constants(x))[target])) / scale
        soft = scale * np.sign(z) * np.sqrt(2 * (np.sqrt(1 + z * z) - 1))
        return np.concatenate([soft, pull * (x - start)])

    return constants(least_squares(residuals, start).x)


def take(f: Features, rows: np.ndarray) -> Features:
    """Return some rows' features."""
    return {name: column[rows] for name, column in f.items()}


def left_out(
    f: Features, groups: np.ndarray, target: str, free: Sequence[str], neutral: Mapping[str, float], fixed: Constants
) -> tuple[np.ndarray, list[Constants]]:
    """Return ln(measured/predicted) of every row by a fit that has not seen its group, and the fits' constants."""
    residuals, fits = np.zeros(len(groups)), []
    for group in np.unique(groups):
        inside = groups == group
        c = fit(take(f, ~inside), target, free, neutral, fixed)
        fits.append(c)
        residuals[inside] = np.log(f[target][inside] / predict(take(f, inside), c)[target])
    return residuals, fits


def errors(residuals: np.ndarray) -> dict[str, float]:
    """Return mean, median and P90 of the absolute relative error, and bias, from ln(measured/predicted)."""
    e = np.expm1(-residuals)
    size = np.abs(e)
    figures = {"mean": size.mean(), "median": np.median(size), "bias": e.mean(), "p90": np.quantile(size, 0.9)}
    return {name: round(float(v), 3) for name, v in figures.items()} | {"rows": len(residuals)}


def band(residuals: np.ndarray, factor: float) -> tuple[float, float]:
    """Return the half-widths below and above of an 80 % interval in ln(measured/predicted), widened by a factor."""
    low, high = np.quantile(residuals, [0.1, 0.9])
    return factor * max(-float(low), 0.02), factor * max(float(high), 0.02)


def covered(residuals: np.ndarray, widths: tuple[float, float]) -> np.ndarray:
    """Tell which residuals a band holds."""
    return np.asarray((residuals >= -widths[0]) & (residuals <= widths[1]))


def nested_coverage(residuals: np.ndarray, groups: np.ndarray, regimes: np.ndarray, factor: float) -> float:
    """Return the coverage of bands, by regime, that a group's own residuals had no part in."""
    held = np.zeros(len(residuals), bool)
    for group in np.unique(groups):
        for regime in np.unique(regimes[groups == group]):
            inside = (groups == group) & (regimes == regime)
            others = (groups != group) & (regimes == regime)
            held[inside] = covered(residuals[inside], band(residuals[others], factor))
    return float(held.mean())


def pairs(rows: Sequence[MeasuredRow], residuals: np.ndarray, differing: str) -> tuple[np.ndarray, np.ndarray]:
    """Return how far apart the residuals of two rows are that differ in one attribute alone, and what the two are.

    Args:
        differing: ``hardware`` or ``weight_format``. All else is the same but the engine's version; where several rows are,
            their median counts.
    """
    alike: dict[tuple[object, ...], dict[str, list[float]]] = {}
    for row, residual in zip(rows, residuals.tolist(), strict=True):
        same = (row.family, row.engine, row.ranks, row.data_parallel, row.prompt, row.output, row.concurrency)
        other = row.weight_format if differing == "hardware" else row.hardware
        model = row.model if differing == "hardware" else ""
        alike.setdefault((*same, model, other), {}).setdefault(getattr(row, differing), []).append(residual)
    apart, kinds = [], []
    for key, by in alike.items():
        for a, b in combinations(sorted(by), 2):
            apart.append(float(np.median(by[a]) - np.median(by[b])))
            kinds.append(f"{key[0]} {a} {b}")
    return np.array(apart), np.array(kinds)


def pair_width(apart: np.ndarray) -> float:
    """Return the half-width that holds 80 % of the pairs."""
    return float(np.quantile(np.abs(apart), 0.8))


def pairs_held(apart: np.ndarray, kinds: np.ndarray) -> float:
    """Return the share of pairs inside the half-width that pairs of other kinds give."""
    held = [abs(a) <= pair_width(apart[kinds != k]) for a, k in zip(apart, kinds, strict=True)]
    return float(np.mean(held))


def energy(zoo: Zoo) -> tuple[np.ndarray, np.ndarray]:
    """Return ln(measured/predicted) of the rows on energy, and their models."""
    outcomes = [o for o in score_file(HERE / "rows_energy.yaml", zoo) if isinstance(o, Scored)]
    return np.array([-np.log1p(o.error) for o in outcomes]), np.array([o.groups["model"] for o in outcomes])


def new_row(residuals: np.ndarray) -> float:
    """Return the half-width that holds a new row with 80 % probability: the quantile at ``0.8 (n + 1) / n``."""
    return float(np.quantile(np.abs(residuals), min(1.0, 0.8 * (len(residuals) + 1) / len(residuals))))


def held_by_others(residuals: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Tell which residuals lie inside the half-width that the other groups give."""
    return np.array([abs(r) <= new_row(residuals[groups != g]) for r, g in zip(residuals, groups, strict=True)])


def main() -> None:
    """Print the constants and how good they are."""
    zoo = Zoo.builtin()
    rows, unused = load(zoo)
    f = features(rows, zoo)
    start = {name: 1.0 for name in FREE} | FIRST_NEUTRAL
    c = fit(f, "tpot", FREE, NEUTRAL, start)
    by = {
        "family": np.array([row.family for row in rows]),
        "chip": np.array([row.hardware for row in rows]),
        "engine": np.array([row.engine for row in rows]),
    }
    regimes = np.where(f["moe"] > 0, "moe", "dense")
    report: dict[str, Any] = {"rows": {"used": len(rows), "unused": dict(unused.most_common())}}
    inside = np.log(f["tpot"] / predict(f, c)["tpot"])
    report["in_sample"] = errors(inside)
    spread: dict[str, list[float]] = {name: [c[name]] for name in FREE}
    for name, groups in by.items():
        residuals, fits = left_out(f, groups, "tpot", FREE, NEUTRAL, start)
        for fold in fits:
            for constant in FREE:
                spread[constant].append(fold[constant])
        report[f"left_out_{name}"] = errors(residuals) | {
            "groups": {str(g): errors(residuals[groups == g]) for g in np.unique(groups)}
        }
        if name == "family":
            families = residuals
            strict, _ = left_out(f, groups, "tpot", FREE, {**NEUTRAL, **NO_EFFECT}, start)
            report["left_out_family_no_effect_unseen"] = errors(strict)
            for factor in (1.0, 1.1, 1.2, 1.3):
                report.setdefault("nested_coverage", {})[factor] = nested_coverage(residuals, groups, regimes, factor)
        else:
            held = [
                covered(residuals[i : i + 1], band(families[regimes == regimes[i]], 1.0))[0] for i in range(len(rows))
            ]
            report[f"coverage_of_family_band_left_out_{name}"] = float(np.mean(held))
    for regime in ("dense", "moe"):
        report[f"band_{regime}"] = [round(x, 3) for x in band(families[regimes == regime], 1.0)]
    for differing in ("hardware", "weight_format"):
        apart, kinds = pairs(rows, families, differing)
        figures = {"pairs": len(apart), "half_width": pair_width(apart), "held_by_others": pairs_held(apart, kinds)}
        report[f"pairs_{differing}"] = {name: round(v, 3) for name, v in figures.items()}
    steady = np.array([not row.warm_up for row in rows]) & ~(
        (by["family"] == "llama-3.1-8b") & (by["engine"] == "trtllm")
    )
    free = steady & (predict(f, c)["decoding"] >= f["load"])
    g = fit(take(f, free), "ttft", FIRST_FREE, FIRST_NEUTRAL, c)
    first, fits = left_out(take(f, free), by["family"][free], "ttft", FIRST_FREE, FIRST_NEUTRAL, c)
    report["ttft_in_sample"] = errors(np.log(f["ttft"] / predict(f, g)["ttft"])[free])
    report["ttft_left_out_family"] = errors(first)
    report["ttft_band"] = [round(x, 3) for x in band(first, 1.0)]
    families_free = by["family"][free]
    report["ttft_nested"] = nested_coverage(first, families_free, np.full(len(first), "all"), 1.0)
    limited = steady & ~free
    report["ttft_cache_limited"] = errors(np.log(f["ttft"] / predict(f, g)["ttft"])[limited])
    for name in FIRST_FREE:
        spread[name] = [g[name], *(fold[name] for fold in fits)]
    report["constants"] = {
        name: {"value": float(f"{v[0]:.3g}"), "low": float(f"{min(v):.3g}"), "high": float(f"{max(v):.3g}")}
        for name, v in spread.items()
    }
    joules, models = energy(zoo)
    report["energy"] = errors(joules) | {"half_width": round(new_row(joules), 3)}
    report["energy"]["left_out_model"] = float(held_by_others(joules, models).mean())
    yaml.safe_dump(report, sys.stdout, sort_keys=False, width=150)


if __name__ == "__main__":
    main()
