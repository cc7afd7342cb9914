"""The numbers of the device that a pass runs on, with the calibrated constants of the operator model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mlwalls.solvers.derivation import Derivation, Value
from mlwalls.solvers.equations import node as eq
from mlwalls.solvers.errors import CallError
from mlwalls.solvers.formats import HALVINGS, Unit, unit_for
from mlwalls.solvers.links import Path, link_domain, resolve_link, said
from mlwalls.solvers.numbers import Numbers
from mlwalls.solvers.shapes import ModelShape
from mlwalls.solvers.workload import Groups
from mlwalls.zoo import Entry
from mlwalls.zoo.calibrations import calibration

# The best-shape matmul share of the calibrated chips, to which a published rate of another chip is relative.
REFERENCE_SHARE = 0.79


@dataclass(frozen=True, slots=True)
class Device:
    """One device's branches: symbols of its peaks per tensor class and whether its matmul share is its own.

    `related`: of a generation and form that was measured, or measured itself (`calibrated`).
    `link` is what its group of `ranks` talks over, `domain` how many share a scale-up link.
    `prefix` precedes its symbols (empty for the device asked about, ``base_`` for the one compared with).
    """

    prefix: str
    name: str
    layer: str
    experts: str
    wide: str
    halvings: tuple[tuple[str, int], ...]
    measured: bool
    calibrated: bool
    projections: str = ""
    related: bool = False
    link: Path = ""
    ranks: int = 1
    domain: int = 1

    @property
    def far(self) -> bool:
        """Whether its group talks over anything but a scale-up link."""
        return self.ranks > 1 and self.link != "link"


def resolve_device(
    n: Numbers,
    entry: Entry,
    stored: tuple[str, ...],
    prefix: str,
    compute_format: str,
    warnings: list[str],
    ranks: int = 1,
) -> Device:
    """Read a device's peaks, bandwidth, capacity and link into `n`.

    `stored` are the formats of layers, experts, embedding and head, and the attention's projections where they differ.

    Raises:
        CallError: the chip has no unit for an explicitly asked compute format, or several ranks and nothing to link them.
    """
    constants = calibration("serving")
    formats = {g: f for g, f in zip(("layer", "experts", "wide", "projections"), stored, strict=False) if f}
    symbols: dict[str, str] = {}
    units: dict[str, Unit] = {}
    for group, stored_as in formats.items():
        unit = unit_for(stored_as, entry, compute_format if group in ("layer", "experts") else "")
        if unit.note and unit.note not in warnings:
            warnings.append(unit.note)
        units[group] = unit
    plain = units["layer"].format
    for group, unit in units.items():
        symbols[group] = f"{prefix}peak" if unit.format == plain else f"{prefix}peak_{unit.format}"
        if symbols[group] not in n:
            n.zoo(symbols[group], entry, f"peak.{unit.format}", "FLOP/s")
    if not entry.has("memory.bandwidth"):
        raise CallError(
            "baseline_hardware" if prefix else "hardware",
            f"the zoo has no memory bandwidth for {entry.name}"
            + (": its weights live in SRAM or are streamed" if entry.text("type") in ("wafer", "asic") else "")
            + (", which wafer_scale computes." if entry.text("type") == "wafer" else "."),
            repair={"baseline_hardware" if prefix else "hardware": "nvidia-h100-sxm-80gb"},
        )
    n.zoo(f"{prefix}bandwidth", entry, "memory.bandwidth", "byte/s")
    if entry.has("memory.capacity"):
        n.zoo(f"{prefix}capacity", entry, "memory.capacity", "byte")
    link = resolve_link(n, entry, ranks, prefix)
    known = entry.id in constants["domain"]["hardware"]
    measured = not known and entry.has("measured.matmul_bf16") and entry.has("peak.bf16")
    if measured:
        n.zoo(f"{prefix}matmul", entry, "measured.matmul_bf16", "FLOP/s")
        if f"{prefix}peak_bf16" not in n and units["layer"].format != "bf16":
            n.zoo(f"{prefix}peak_bf16", entry, "peak.bf16", "FLOP/s")
    generation = constants["generation"]
    family = entry.text("family")
    x_gen = "newer" if family in generation["newer"] else "older" if family in generation["older"] else "unknown"
    n.calibrated(constants["constants"], f"x_gen_{x_gen}", f"{prefix}x_gen")
    halvings = tuple(sorted({(symbols[g], HALVINGS[u.format]) for g, u in units.items()}))
    return Device(
        prefix,
        entry.name,
        symbols["layer"],
        symbols["experts"],
        symbols["wide"],
        halvings,
        measured,
        known,
        symbols.get("projections", ""),
        known or (family in constants["domain"]["families"] and entry.text("form") in constants["domain"]["forms"]),
        link,
        ranks,
        link_domain(entry),
    )


def sustained_shares(d: Derivation, n: Numbers, device: Device, known: dict[int, Value]) -> dict[str, Value]:
    """Step out the sustained matmul share for each of the device's peaks; keys are the peaks' symbols.

    `known` are shares by halvings that hold for any chip without a rate of its own; new ones are added.
    """
    p = device.prefix
    eta16 = n.eta16
    if device.measured:
        peak16 = n[f"{p}peak_bf16"] if f"{p}peak_bf16" in n else n[f"{p}peak"]
        eta16 = d.step(f"{p}eta_chip", eq.measured_share(n.eta16, n[f"{p}matmul"], peak16, n.reference_share))
    shares: dict[str, Value] = {}
    for symbol, halvings in device.halvings:
        if halvings == 0:
            shares[symbol] = eta16
        elif not device.measured and halvings in known:
            shares[symbol] = known[halvings]
        else:
            name = f"{p}eta_{symbol.removeprefix(p)}"
            shares[symbol] = d.step(name, eq.sustained_share(eta16, n.rho, n[f"halvings_{halvings}"]))
            if not device.measured:
                known[halvings] = shares[symbol]
    return shares


def groups_of(d: Derivation, n: Numbers, devices: tuple[Device, ...]) -> Groups:
    """Return the peak and share cells of every tensor class, for all devices side by side."""
    cells: dict[str, dict[str, Value]] = {"layer": {}, "experts": {}, "wide": {}, "attention": {}, "projections": {}}
    known: dict[int, Value] = {}
    for device in devices:
        shares = sustained_shares(d, n, device, known)
        p = device.prefix
        for group, symbol in (("layer", device.layer), ("experts", device.experts), ("wide", device.wide)):
            cells[group][f"{p}peak"], cells[group][f"{p}eta"] = n[symbol], shares[symbol]
        own = device.projections or device.layer
        cells["projections"][f"{p}peak"], cells["projections"][f"{p}eta"] = n[own], shares[own]
        cells["attention"][f"{p}peak"], cells["attention"][f"{p}eta"] = n[device.wide], n.eta_attention
    return Groups(**cells)


def serving_constants(n: Numbers, shape: ModelShape, devices: tuple[Device, ...], engine: str = "unknown") -> None:
    """Read the calibrated constants that the operator pass uses, of an engine."""
    constants: dict[str, Any] = calibration("serving")["constants"]
    n.calibrated(constants, "eta16")
    if any(device.measured for device in devices):
        n.assumed("reference_share", REFERENCE_SHARE, 0.75, 0.82, source="cal_serving")
    for name in ("rho", "tau", "eta_link", "eta_attention"):
        n.calibrated(constants, name)
    for device in devices:
        name = "eta_memory" if device.related else "eta_memory_other"
        if device.prefix and device.related == devices[0].related:
            n.alias(f"{device.prefix}eta_memory", "eta_memory")
        else:
            n.calibrated(constants, name, f"{device.prefix}eta_memory")
    for name in ("r_engine", "t_sequence"):
        n.calibrated(constants, f"{name}_{engine}", name)
    if shape.sparse:
        n.assumed("x_mla", 1.4, 0.6, 2, source="cal_serving")
    elif shape.attention == "mla":
        n.calibrated(constants, "x_mla")
    elif shape.linear:
        n.assumed("x_linear", 0.2, 0, 1, source="cal_serving")
    if shape.moe:
        n.calibrated(constants, "x_routed")
        n.calibrated(constants, "route_bytes")
    for halvings in (1, 2):
        n.defined(f"halvings_{halvings}", halvings)


def resolve_spread(
    n: Numbers,
    shape: ModelShape,
    phase: str,
    weight_format: str,
    model: Entry | None,
    devices: tuple[Device, ...],
    warnings: list[str],
) -> None:
    """Read the half-widths of the 80 % interval (log), and how much wider it is outside the calibrated domain."""
    if phase == "training":
        intervals = calibration("training")["intervals"]
        low = high = "step_time"
    else:
        intervals = calibration("serving")["intervals"]
        stem = "prefill" if phase == "prefill" else "moe" if shape.moe else "dense"
        low, high = f"{stem}_low", f"{stem}_high"
    n.calibrated(intervals, low, "spread_low")
    n.calibrated(intervals, high, "spread_high")
    if phase not in ("training", "prefill") and len(devices) > 1:
        n.calibrated(intervals, "chips", "spread_pair")
    serving = phase != "training"
    odd = serving and (shape.linear or shape.sparse or shape.attention == "none")
    for device in devices:
        if odd or device.far or (serving and not device.related):
            n.assumed(f"{device.prefix}widen", 2, 1, 3, source="cal_serving")
        else:
            n.defined(f"{device.prefix}widen", 1)
    for device in devices:
        if device.far:
            rate = float(n[f"{device.prefix}link"].value)
            warnings += said(device.link, device.name, device.ranks, device.domain, rate, not shape.data_parallel)
    if serving and (far := ", ".join(d.name for d in devices if not d.related)):
        warnings.append(f"extrapolated: {far} not among the calibrated chips; the range is twice as wide")
    if serving and (near := ", ".join(d.name for d in devices if d.related and not d.calibrated)):
        warnings.append(
            f"extrapolated: {near} not measured, but chips of its generation; left-out ones kept to the range"
        )
    if odd:
        warnings.append("extrapolated: this kind of attention was never in the calibration data")
    elif phase != "training" and model is not None and model.id not in calibration("serving")["domain"]["models"]:
        warnings.append(
            f"extrapolated: no measurement of {model.name}; the range is that of families left out of the fit"
        )
