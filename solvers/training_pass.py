"""The compute of one training step on one accelerator (or one tensor-parallel group), after the training model.

16-bit weights and activations, fp32 main gradients and Adam, flash attention, sequence parallelism with tensor
parallelism, no recomputation. Parallelism over data and pipeline stages, failures and stragglers are fleet_efficiency's.
"""

from __future__ import annotations

from mlwalls.solvers.derivation import Derivation, Value
from mlwalls.solvers.devices import Device
from mlwalls.solvers.equations import training as eq
from mlwalls.solvers.numbers import Numbers
from mlwalls.solvers.workload import Groups
from mlwalls.zoo import Entry
from mlwalls.zoo.calibrations import calibration

# Flash attention reaches a larger share of a peak that is smaller relative to the rest of the chip.
_FLASH_GAIN = {"ampere": 1.6, "tpu": 2.0}


def resolve_training(n: Numbers, entries: list[Entry], warnings: list[str]) -> None:
    """Read the training model's constants."""
    constants = calibration("training")["constants"]
    for name in ("s_gemm", "kappa", "eta_fa"):
        n.calibrated(constants, name)
    n.calibrated(constants, "eta_hbm", "eta_memory")
    n.calibrated(constants, "eta_nvlink", "eta_link")
    n.defined("update", 30, "byte")
    for entry, prefix in zip(entries, ("", "base_"), strict=False):
        gain = _FLASH_GAIN.get(entry.text("family"), 1.0)
        n.assumed(f"{prefix}flash_gain", gain, 1.0, 2.0, source="cal_training")
        if entry.has("measured.matmul_bf16") and entry.has("peak.bf16"):
            n.zoo(f"{prefix}matmul", entry, "measured.matmul_bf16", "FLOP/s")
            n.zoo(f"{prefix}peak_bf16", entry, "peak.bf16", "FLOP/s")
        else:
            n.assumed(f"{prefix}eta_dev", 0.775, 0.65, 0.87, source="mleng")
            warnings.append(f"{entry.name}: no published matmul rate, 0.775 of the peak assumed")


def training_groups(d: Derivation, n: Numbers, devices: tuple[Device, ...]) -> Groups:
    """Step out the sustained shares of matmuls and attention, for all devices."""
    layer: dict[str, Value] = {}
    attention: dict[str, Value] = {}
    for device in devices:
        p = device.prefix
        if f"{p}eta_dev" in n:
            share = d.step(f"{p}eta_matmul", eq.sustained_matmul(n.s_gemm, n[f"{p}eta_dev"]))
        else:
            share = d.step(f"{p}eta_matmul", eq.sustained_measured(n.s_gemm, n[f"{p}matmul"], n[f"{p}peak_bf16"]))
        layer[f"{p}peak"], layer[f"{p}eta"] = n[device.layer], share
        attention[f"{p}peak"] = n[device.layer]
        attention[f"{p}eta"] = d.step(f"{p}eta_flash", eq.flash_share(n.eta_fa, n[f"{p}flash_gain"]))
    return Groups(layer, layer, layer, attention)
