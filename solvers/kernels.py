"""Work that is not a transformer: vision and recommendation models by FLOPs a sample, kernels by FLOPs and bytes.

Activation traffic is that of a fused network: outputs of convolution and linear layers are written and read once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mlwalls.solvers.derivation import Derivation, Table, Value
from mlwalls.solvers.devices import Device
from mlwalls.solvers.equations import kernels as eq
from mlwalls.solvers.errors import CallError
from mlwalls.solvers.formats import STORED_BYTES
from mlwalls.solvers.numbers import Numbers
from mlwalls.solvers.shapes import stored_formats
from mlwalls.zoo import Entry

_EXAMPLE = {"flops": 1e12, "bytes": 4e9}
# Where the shares of image models come from.
_INFERRED, _TRAINED = "mlperf_inference", "mlperf_training"


@dataclass(frozen=True, slots=True)
class KernelShape:
    """What is known of the work: `sample` has FLOPs and activations a sample, else total FLOPs and bytes.

    `tables`: most parameters are embedding tables of which a sample reads a few rows. `images`: an image model.
    """

    sample: bool
    activations: bool
    training: bool
    format: str
    tables: bool = False
    images: bool = False


def resolve_sample(n: Numbers, model: Entry, weight_format: str, training: bool, warnings: list[str]) -> KernelShape:
    """Read FLOPs, parameters and activation elements a sample.

    Raises:
        CallError: the zoo has no FLOPs for the model.
    """
    if not model.has("sample.flops"):
        raise CallError(
            "model",
            f"The zoo has no FLOPs a sample for {model.name}; describe the kernel by flops and bytes instead of a model.",
            repair={"model": None, "flops": 1e12, "bytes": 4e9},
        )
    n.zoo("sample_flops", model, "sample.flops", "FLOP")
    n.zoo("parameters", model, "parameters", "")
    activations = model.has("sample.activation_elements")
    tables = activations and model.has("sample.gathered_elements") and model.has("sample.dense_parameters")
    if tables:
        n.zoo("dense_parameters", model, "sample.dense_parameters", "")
        n.zoo("gathered", model, "sample.gathered_elements", "")
    if activations:
        n.zoo("act_elements", model, "sample.activation_elements", "")
    else:
        warnings.append(f"{model.name}: activation traffic unknown, only weights are counted as bytes")
    stored = stored_formats(model, weight_format)[0]
    n.defined("w_bytes", STORED_BYTES[stored], "byte")
    n.defined("act_bytes", max(1.0, STORED_BYTES[stored]), "byte")
    n.defined("passes", 3 if training else 1)
    return KernelShape(True, activations, training, stored, tables, model.text("type") == "vision")


def resolve_kernel(n: Numbers, flops: float | None, traffic: float | None) -> KernelShape:
    """Read a custom kernel's totals.

    Raises:
        CallError: one of them is missing.
    """
    if flops is None or traffic is None:
        missing = "flops" if flops is None else "bytes"
        raise CallError(
            "model" if flops is None and traffic is None else missing,
            "name a zoo model, or describe a custom kernel by flops and bytes."
            if flops is None and traffic is None
            else f"{missing} is missing: a custom kernel needs both; or name a model instead of them.",
            repair={"model": "llama-3.1-8b"} if flops is None and traffic is None else {missing: _EXAMPLE[missing]},
        )
    n.you("flops", flops, "FLOP")
    n.you("bytes", traffic, "byte")
    return KernelShape(False, False, False, "bf16")


def lower_kernel(d: Derivation, s: KernelShape, n: Numbers, cells: Mapping[str, Value]) -> Table:
    """Lower to one row, split over tensor-parallel ranks."""
    op = d.table("op")
    if not s.sample:
        op.row(
            "kernel",
            count=n.one,
            flops=eq.kernel_flops(n.batch, n.flops, n.tp),
            bytes=eq.kernel_bytes(n.batch, n.bytes, n.tp),
            **cells,
        )
        return op
    traffic = (
        eq.gathered_traffic(
            n.passes, n.dense_parameters, n.w_bytes, n.batch, n.gathered, n.act_elements, n.act_bytes, n.tp
        )
        if s.tables
        else eq.sample_traffic(n.passes, n.parameters, n.w_bytes, n.batch, n.act_elements, n.act_bytes, n.tp)
        if s.activations
        else eq.parameter_traffic(n.passes, n.parameters, n.w_bytes, n.tp)
    )
    op.row(
        "network",
        count=n.one,
        flops=eq.sample_flops(n.passes, n.batch, n.sample_flops, n.tp),
        bytes=traffic,
        **cells,
    )
    return op


def assume_shares(n: Numbers, s: KernelShape, entries: Sequence[Entry], devices: Sequence[Device]) -> None:
    """State the sustained shares of the peaks for work without a calibration of its own.

    A kernel may be anything up to the best matmul measured on its chip. The image models' shares are set by MLPerf Inference
    (ResNet-50, int8, offline): nine accelerators take 0.72 (L4) to 1.25 (T4) of the sum of the two floors, so that the
    parts overlap (`kept`); software that is tuned less takes longer. Their training: ResNet-50 in MLPerf Training v2.0 and v3.0
    and NVIDIA's PyTorch examples, 2.1 to 3.3 times that sum.
    """
    for symbol, (number, worst, best), source in shares_of(s):
        n.assumed(f"eta_{symbol}", number, worst, best, source=source)
        n.assumed(f"worst_{symbol}", worst, worst, number, source=source)
        if not s.sample:
            n.assumed(f"best_{symbol}", best, number, best, source=source)
    if s.sample:
        if s.images and s.training:
            n.assumed("kept", 1.5, 1.2, 2.1, source=_TRAINED)
        else:
            n.assumed("kept", 0.7, 0.6, 1, source=_INFERRED)
        return
    for entry, device in zip(entries, devices, strict=True):
        p = device.prefix
        if entry.has("measured.matmul_bf16") and entry.has("peak.bf16"):
            if f"{p}matmul" not in n:
                n.zoo(f"{p}matmul", entry, "measured.matmul_bf16", "FLOP/s")
            if dict(device.halvings)[device.layer] and f"{p}peak_bf16" not in n:
                n.zoo(f"{p}peak_bf16", entry, "peak.bf16", "FLOP/s")


def shares_of(s: KernelShape) -> tuple[tuple[str, tuple[float, float, float], str], ...]:
    """Return the sustained shares of both peaks: expected, worst and best, with their source."""
    if s.images and s.training:
        return (("compute", (0.35, 0.2, 0.6), _TRAINED), ("memory", (0.5, 0.3, 0.8), _TRAINED))
    if s.images:
        return (("compute", (0.7, 0.2, 0.95), _INFERRED), ("memory", (0.85, 0.7, 1), _INFERRED))
    return (("compute", (0.5, 0.2, 0.8), "mleng"), ("memory", (0.85, 0.7, 0.95), "mleng"))


def quickest(d: Derivation, n: Numbers, s: KernelShape, out: Mapping[str, Value], device: Device) -> Value:
    """Step out the least time that the work may take on a device: at the best measured rates, its parts overlapped."""
    p = device.prefix
    parts = (out[f"{p}expected"], out[f"{p}compute_floor"], out[f"{p}memory_floor"])
    name = f"{p}low"
    if s.sample:
        return d.step(name, eq.overlapped(*parts, n.kept))
    if f"{p}matmul" not in n:
        return d.step(name, eq.best_kernel(*parts, n.best_compute, n.best_memory))
    peak16 = n[f"{p}peak_bf16"] if f"{p}peak_bf16" in n else n[device.layer]
    return d.step(name, eq.best_matmul(*parts, n[f"{p}matmul"], peak16, n.best_memory))
