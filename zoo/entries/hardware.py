"""Accelerators, hosts and microcontrollers. Peaks are dense; links are one direction, summed over all links."""

from __future__ import annotations

from typing import Literal

from pydantic import model_validator

from mlwalls.zoo.entries.base import Block, Cited, EntryModel, quantity


class Peak(Block):
    """Dense peak rates by format, accumulated in fp32 unless the name says otherwise."""

    fp64: Cited = quantity("FLOP/s", 1e7, 1e16)
    fp64_tensor: Cited = quantity("FLOP/s", 1e7, 1e16)
    fp32: Cited = quantity("FLOP/s", 1e7, 1e16)
    tf32: Cited = quantity("FLOP/s", 1e7, 1e17)
    bf16: Cited = quantity("FLOP/s", 1e7, 1e17)
    fp16: Cited = quantity("FLOP/s", 1e7, 1e17)
    fp16_accumulate_fp16: Cited = quantity("FLOP/s", 1e7, 1e17)
    fp8: Cited = quantity("FLOP/s", 1e7, 1e17)
    fp6: Cited = quantity("FLOP/s", 1e7, 1e17)
    fp4: Cited = quantity("FLOP/s", 1e7, 1e17)
    int8: Cited = quantity("FLOP/s", 1e7, 1e17)
    int4: Cited = quantity("FLOP/s", 1e7, 1e17)

    @model_validator(mode="after")
    def _narrower_is_not_slower_by_much(self) -> Peak:
        if self.bf16 and self.fp8 and self.fp8.value > 4.5 * self.bf16.value:
            raise ValueError("fp8 is more than 4.5 times bf16: is one of them a sparse figure?")
        return self


class Memory(Block):
    """Device memory: the label as printed, the nominal bytes behind it, what the driver shows."""

    label_gb: Cited = quantity("GB as printed", 0.0001, 5000)
    capacity: Cited = quantity("byte", 1e4, 1e13)
    driver: Cited = quantity("byte", 1e4, 1e13)
    bandwidth: Cited = quantity("byte/s", 1e6, 1e15)
    type: str | None = None


class Link(Block):
    """The scale-up link between accelerators, one direction, all links of one accelerator."""

    bandwidth: Cited = quantity("byte/s", 1e9, 1e13)
    domain: Cited = quantity("accelerator", 2, 10000)
    kind: str | None = None


class Rate(Block):
    """A rate in one direction and what carries it."""

    bandwidth: Cited = quantity("byte/s", 1e5, 1e17)
    kind: str | None = None


class Power(Block):
    """Board limit and whole-system power."""

    tdp: Cited = quantity("W", 0.001, 5000)
    system: Cited = quantity("W", 1, 1e6)


class Price(Block):
    """What one costs to buy."""

    purchase: Cited = quantity("USD", 0.1, 1e8)


class Measured(Block):
    """Best rates that somebody measured."""

    matmul_bf16: Cited = quantity("FLOP/s", 1e9, 1e17)
    matmul_fp8: Cited = quantity("FLOP/s", 1e9, 1e17)


class Sram(Block):
    """On-chip memory."""

    capacity: Cited = quantity("byte", 1e3, 1e12)
    bandwidth: Cited = quantity("byte/s", 1e6, 1e18)


class Silicon(Block):
    """The die."""

    area: Cited = quantity("mm^2", 1, 1e5)
    process: str | None = None


class Hardware(EntryModel):
    """One accelerator, host or microcontroller."""

    kind: Literal["hardware"]
    vendor: str
    type: Literal["gpu", "tpu", "asic", "wafer", "cpu", "soc", "mcu"]
    family: str
    form: str | None = None
    announced_only: bool = False
    year: Cited = quantity("year", 1990, 2035)
    peak: Peak
    memory: Memory | None = None
    link: Link | None = None
    nic: Rate | None = None
    host: Rate | None = None
    injection: Rate | None = None
    fabric: Rate | None = None
    power: Power | None = None
    price: Price | None = None
    measured: Measured | None = None
    sram: Sram | None = None
    silicon: Silicon | None = None

    @model_validator(mode="after")
    def _sane(self) -> Hardware:
        measured, peak = self.measured, self.peak
        if measured and measured.matmul_bf16 and peak.bf16 and measured.matmul_bf16.value > peak.bf16.value:
            raise ValueError("measured.matmul_bf16 is above peak.bf16")
        memory = self.memory
        if memory and memory.capacity and memory.label_gb:
            ratio = memory.capacity.value / (memory.label_gb.value * 1e9)
            if not 0.88 < ratio < 1.08:
                raise ValueError(f"memory.capacity is {ratio:.2f} times memory.label_gb; expected about 0.93 to 1.074")
        if memory and memory.capacity and memory.bandwidth and self.type != "mcu" and memory.bandwidth.value > 1e6:
            seconds = memory.capacity.value / memory.bandwidth.value
            if not 1e-4 < seconds < 10:
                raise ValueError(f"reading all memory once would take {seconds:.2g} s; is bandwidth in byte/s?")
        return self
