"""The numbers of a training job: chip, network, calibrated constants; and those that a plan's variant changes."""

from __future__ import annotations

from typing import Any

from mlwalls.solvers.errors import CallError
from mlwalls.solvers.fleet_plans import SIZES
from mlwalls.solvers.fleet_structure import Structure
from mlwalls.solvers.formats import formats_of
from mlwalls.solvers.links import bridged, link_domain, usual_domain, usual_network
from mlwalls.solvers.lookup import find
from mlwalls.solvers.numbers import Numbers
from mlwalls.solvers.shapes import ModelShape
from mlwalls.zoo import Entry, Zoo
from mlwalls.zoo.calibrations import calibration

# Best shape's share of the peak of the boards of a generation that were measured.
BEST_SHAPE = {"ampere": 0.869, "hopper": 0.803, "blackwell": 0.776}
BEST_SHAPE_ELSEWHERE = 0.775
BEST_SHAPE_RANGE = (0.65, 0.87)
MESH = ("cdna2", "cdna3", "cdna4")
FLASH_GAIN = {"ampere": 1.6, "tpu": 2.0}
CONSTANTS = ("s_gemm", "kappa", "eta_fa", "eta_hbm", "w_dp", "eta_net", "align", "imb", "sigma", "chi")


def fixed_numbers(
    n: Numbers, hardware: Entry, shape: ModelShape, options: set[str], touched: set[str], warnings: list[str]
) -> Structure:
    """Read the chip and the constants, which no plan changes; return the structure of whatever plan.

    Raises:
        CallError: the chip lacks a figure that training needs.
    """
    tpu = hardware.text("type") == "tpu"
    family = hardware.text("family")
    formats = formats_of(hardware)
    usable = [f for f in ("bf16", "fp16", "fp32") if f in formats]
    if not usable or not hardware.has("memory.bandwidth") or not hardware.has("memory.capacity"):
        raise CallError(
            "hardware",
            f"the zoo lacks a peak, bandwidth or capacity of {hardware.name}.",
            repair={"hardware": "nvidia-h100-sxm-80gb"},
        )
    if "fp8" in options and "fp8" not in formats:
        raise CallError("options", f"{hardware.name} has no fp8 unit.", repair={"options": sorted(options - {"fp8"})})
    n.zoo("peak", hardware, f"peak.{usable[0]}", "FLOP/s")
    n.zoo("bandwidth", hardware, "memory.bandwidth", "byte/s")
    driver = hardware.has("memory.driver")
    n.zoo("driver" if driver else "capacity", hardware, "memory.driver" if driver else "memory.capacity", "byte")
    constants: dict[str, Any] = calibration("training")["constants"]
    tuned = "tuned" in options
    for name in CONSTANTS:
        n.calibrated(constants, f"{name}_tuned" if tuned and name == "eta_fa" else name, name)
    if shape.moe:
        n.calibrated(constants, "route_bytes")
        n.assumed("w_ep", 0, 0, 1, source="cal_training")
        n.defined("expert_tp", 1)
        n.defined("dispatch", 1)
    n.calibrated(constants, "eta_nvlink", "eta_ring")
    for name in ("eta_switch", "eta_mesh"):
        n.calibrated(constants, name)
    if "fp8" in options:
        n.zoo("peak8", hardware, "peak.fp8", "FLOP/s")
        n.calibrated(constants, "s_fp8_tuned" if tuned else "s_fp8", "s_fp8")
    measured = hardware.has("measured.matmul_bf16") and usable[0] != "fp32" and not tpu
    if tpu:
        n.calibrated(constants, "eta_tpu", "eta_dev")
    elif measured:
        n.zoo("matmul", hardware, "measured.matmul_bf16", "FLOP/s")
    else:
        own = BEST_SHAPE if hardware.text("form") == "sxm" else {}
        share = own.get(family, BEST_SHAPE_ELSEWHERE)
        n.assumed("eta_dev", share, *BEST_SHAPE_RANGE, source="mleng")
        warnings.append(f"{hardware.name}: no published matmul rate, {share:g} of the peak assumed")
    gain = FLASH_GAIN["tpu"] if tpu else FLASH_GAIN.get(family, 1.0)
    n.assumed("flash_gain", gain, 1.0, 2.0, source="cal_training")
    n.assumed("fused", 0.5 if tpu else 1, 0.5, 1, source="cal_training")
    n.assumed("dropout", 0, 0, 1)
    if tuned:
        n.calibrated(constants, "w_tp_tuned", "w_tp")
    else:
        n.assumed("w_tp", 0, 0, 0.65, source="cal_training")
    n.assumed("frag", 1.08, 1, 1.2, source="cal_training")
    n.assumed("driver_context", 1.1e9, 0.5e9, 3e9, "byte", source="cal_training")
    n.defined("gradient_width", 4, "byte")
    n.assumed("buckets", 16, 1, 64, source="cal_training")
    n.defined("hop_across", 9.6e-6, "s", "nccl")
    n.defined("two", 2)
    n.defined("cp_gathers", 3)
    n.calibrated(calibration("training")["intervals"], "experts" if shape.moe else "step_time", "spread")
    outside = hardware.id not in calibration("training")["domain"]["experts" if shape.moe else "hardware"]
    if outside:
        n.assumed("widen", 2, 1, 3, source="cal_training")
        runs = "runs with experts" if shape.moe else "runs"
        warnings.append(f"extrapolated: no {runs} on {hardware.name} among those fitted; the range is twice as wide")
    whole = "no_sequence_parallel" in options
    return Structure(
        shape,
        flash="no_flash" not in options,
        fp8="fp8" in options,
        measured=measured,
        split_norms=not whole,
        switch=whole and family in ("hopper", "blackwell"),
        mesh=family in MESH,
        collective=next((c for c in ("ring", "tree", "hierarchical") if c in options), "railed"),
        checkpoint=next((o.removesuffix("_checkpoint") for o in sorted(options) if o.endswith("_checkpoint")), ""),
        gain=gain != 1 or "flash_gain" in touched,
        fused=tpu or "fused" in touched,
        hidden_tp=tuned or "w_tp" in touched,
        hidden_ep="w_ep" in touched,
        dropout="dropout" in touched,
        outside=outside,
    )


def resolve_network(n: Numbers, hardware: Entry, network: str, zoo: Zoo, warnings: list[str]) -> str:
    """Read the links inside a scale-up domain and across; returns the id of the network named, if any.

    Raises:
        CallError: the network names nothing, or has no bandwidth.
    """
    tpu = hardware.text("type") == "tpu"
    if bridged(hardware):
        # Cards of a server are taken to talk over PCIe: a bridge joins few of them.
        n.zoo("link", hardware, "host.bandwidth", "byte/s")
        warnings.append(
            f"a bridge joins only {link_domain(hardware)} of {hardware.name}: links inside a server taken as PCIe"
        )
    elif hardware.has("link.bandwidth"):
        n.zoo("link", hardware, "link.bandwidth", "byte/s")
    elif hardware.has("host.bandwidth"):
        n.zoo("link", hardware, "host.bandwidth", "byte/s")
    else:
        n.assumed("link", 31e9, 15e9, 63e9, "byte/s", source="pcisig")
    if hardware.has("link.domain") and not bridged(hardware):
        n.zoo("domain", hardware, "link.domain", "")
    else:
        n.assumed("domain", usual_domain(hardware), 2, 9216, source="mlnet")
    if network:
        return _named_network(n, network, zoo, warnings)
    if tpu:
        n.alias("nic", "link")
    else:
        usual = usual_network(hardware)
        n.assumed("nic", usual, usual / 2, usual * 2, "byte/s", source="mlnet")
    return ""


def _named_network(n: Numbers, network: str, zoo: Zoo, warnings: list[str]) -> str:
    entry = find(zoo, "fabrics", "network", network, warnings)
    rates = {path: number for path, number in entry.numbers() if number.unit == "byte/s"}
    kind = entry.text("type")
    path = next((p for p in rates if not p.endswith("per_nic")), None)
    if kind not in ("scale_out", "node_scale_out") or path is None:
        known = [
            e.id
            for e in zoo.entries("fabrics")
            if e.text("type") in ("scale_out", "node_scale_out") and any(m.unit == "byte/s" for _, m in e.numbers())
        ]
        raise CallError("network", f"{entry.name} is no network between nodes with a bandwidth.", choices=known[:6])
    if kind == "node_scale_out":
        n.zoo("node_network", entry, path, "byte/s")
    else:
        n.zoo("nic", entry, path, "byte/s")
    if entry.id.startswith("ethernet"):
        n.assumed("hop_across", 11.6e-6, 9.6e-6, 2e-5, "s", source="nccl")
    return entry.id


def variant_numbers(n: Numbers, s: Structure) -> Numbers:
    """Return a copy with what recomputation changes, and places for the plan's sizes."""
    numbers = n.replaced({})
    numbers.defined("all_reduces", 6 if s.recompute == "full" else 4)
    for symbol in SIZES:
        numbers.defined(symbol, 1)
    return numbers
