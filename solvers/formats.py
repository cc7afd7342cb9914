"""Number formats: bytes stored, and which unit of a chip computes with them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from mlwalls.solvers.errors import CallError
from mlwalls.zoo import Entry

WeightFormat = Literal["native", "fp32", "bf16", "fp16", "fp8", "int8", "int4", "mxfp4", "nvfp4"]
ComputeFormat = Literal["fp32", "tf32", "bf16", "fp16", "fp8", "int8", "fp4", "int4"]
KvFormat = Literal["bf16", "fp16", "fp8", "int8", "int4"]

# Block formats carry their scales: MXFP4 one byte for 32, NVFP4 one byte for 16, INT4 two bytes for 64.
STORED_BYTES = {
    "fp32": 4.0,
    "bf16": 2.0,
    "fp16": 2.0,
    "fp8": 1.0,
    "int8": 1.0,
    "int4": 0.53125,
    "mxfp4": 0.53125,
    "nvfp4": 0.5625,
}
KV_BYTES = {"bf16": 2.0, "fp16": 2.0, "fp8": 1.0, "int8": 1.0, "int4": 0.5}
# Halvings of the width below 16 bit, of the unit that computes.
HALVINGS = {"fp32": 0, "tf32": 0, "bf16": 0, "fp16": 0, "fp8": 1, "int8": 1, "fp4": 2, "int4": 2}
_PREFERRED = {
    "fp32": ("fp32",),
    "bf16": ("bf16", "fp16", "fp32"),
    "fp16": ("fp16", "bf16", "fp32"),
    "fp8": ("fp8", "bf16", "fp16", "fp32"),
    "int8": ("int8", "bf16", "fp16", "fp32"),
    "int4": ("bf16", "fp16", "fp32"),
    "mxfp4": ("bf16", "fp16", "fp32"),
    "nvfp4": ("fp4", "bf16", "fp16", "fp32"),
}


@dataclass(frozen=True, slots=True)
class Unit:
    """The arithmetic unit that a tensor class computes on: its format, and a note where that is not the stored one."""

    format: str
    note: str = ""


def formats_of(hardware: Entry) -> list[str]:
    """Return the formats that `hardware` has a dense peak for."""
    return [f for f in HALVINGS if hardware.has(f"peak.{f}")]


def unit_for(stored: str, hardware: Entry, asked: str = "") -> Unit:
    """Choose the unit that computes with weights stored as `stored`.

    A format without a unit may store weights: it then computes at the next supported format and says so.

    Raises:
        CallError: `asked` (an explicit compute format) is one that the chip has no unit for.
    """
    available = formats_of(hardware)
    if asked:
        if asked not in available:
            usable = sorted(available, key=lambda f: abs(HALVINGS[f] - HALVINGS.get(asked, 0)))
            raise CallError(
                "compute_dtype",
                f"{hardware.name} has no {asked} unit; it computes in {', '.join(available)}.",
                choices=usable,
            )
        return Unit(asked)
    order = _PREFERRED[stored]
    if stored == "mxfp4" and "fp4" in available:
        order = ("fp8", *order)
    for candidate in order:
        if candidate in available:
            return Unit(candidate, _note(stored, candidate, hardware))
    raise CallError("hardware", f"{hardware.name} has no published floating-point peak in the zoo.")


def _note(stored: str, unit: str, hardware: Entry) -> str:
    if stored == unit or (stored == "nvfp4" and unit == "fp4"):
        return ""
    if stored in ("int4", "mxfp4", "nvfp4"):
        return f"{stored} weights compute in {unit} on {hardware.name} (weight-only)"
    return f"{hardware.name} has no {stored} unit: weights stored as {stored}, computed in {unit}"
