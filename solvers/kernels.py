"""Work that is not a transformer: vision and recommendation models by FLOPs a sample, kernels by FLOPs and bytes.

Activation traffic is that of a fused network: outputs of convolution and linear layers are written and read once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mlwalls.solvers.derivation import Derivation, Table, Value
from mlwalls.solvers.equations import kernels as eq
from mlwalls.solvers.errors import CallError
from mlwalls.solvers.formats import STORED_BYTES
from mlwalls.solvers.numbers import Numbers
from mlwalls.solvers.shapes import stored_formats
from mlwalls.zoo import Entry

_EXAMPLE = {"flops": 1e12, "bytes": 4e9}


@dataclass(frozen=True, slots=True)
class KernelShape:
    """What is known of the work: `sample` has FLOPs and activations a sample, else total FLOPs and bytes.

    `tables`: most parameters are embedding tables of which a sample reads a few rows.
    """

    sample: bool
    activations: bool
    training: bool
    format: str
    tables: bool = False


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
    return KernelShape(True, activations, training, stored, tables)


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


def assume_shares(n: Numbers) -> None:
    """State the sustained shares of the peaks for work without a calibration of its own."""
    for symbol, number, worst, best in (("compute", 0.5, 0.2, 0.8), ("memory", 0.85, 0.7, 0.95)):
        n.assumed(f"eta_{symbol}", number, worst, best, source="mleng")
        n.assumed(f"worst_{symbol}", worst, worst, number, source="mleng")
        n.assumed(f"best_{symbol}", best, number, best, source="mleng")
