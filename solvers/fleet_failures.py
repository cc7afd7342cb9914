"""Failures and checkpoints of a training job, for fleet_efficiency: inputs, steps and what they are called."""

from __future__ import annotations

import math
import re

from mlwalls.solvers.derivation import Derivation, Value
from mlwalls.solvers.equations import reliability as eq
from mlwalls.solvers.errors import CallError
from mlwalls.solvers.fleet_structure import Structure
from mlwalls.solvers.lookup import find
from mlwalls.solvers.numbers import Numbers
from mlwalls.zoo import Entry, Zoo

_PART = re.compile(r"\s*(\d{1,6})\s*x\s*([0-9.]+(?:e[+-]?\d{1,2})?)\s*h?\s*", re.ASCII | re.IGNORECASE)
MAX_PARTS = 12
EXAMPLES = '["50000"], ["llama3-405b-54day"] or ["8x50000","8x150000","2x100000"]'


def resolve_failures(n: Numbers, given: list[str], zoo: Zoo, warnings: list[str]) -> bool:
    """Read how often accelerators fail; tells whether a node's parts were given.

    Args:
        given: nothing; accelerator-hours a failure; a zoo fleet; or parts of a node as "count x hours each".

    Raises:
        CallError: none of these.
    """
    if not given:
        n.assumed("mtbf_each", 50_000 * 3600, 8_000 * 3600, 80_000 * 3600, "s", source="cal_training")
        return False
    parts = [_PART.fullmatch(text) for text in given]
    if all(parts) and len(given) <= MAX_PARTS:
        for i, part in enumerate(parts, 1):
            assert part is not None
            n.you(f"parts_{i}", float(part[1]))
            n.you(f"mtbf_{i}", _hours(part[2], given) * 3600, "s")
        return True
    if len(given) > 1:
        raise CallError("failures", f"{given!r} mixes or misspells. Give {EXAMPLES}.", repair={"failures": ["50000"]})
    if re.fullmatch(r"\s*[0-9.]+(e[+-]?\d{1,2})?\s*h?\s*", given[0], re.ASCII | re.IGNORECASE):
        n.you("mtbf_each", _hours(given[0].strip().rstrip("h"), given) * 3600, "s")
        return False
    try:
        entry = find(zoo, "reliability", "failures", given[0], warnings)
    except CallError as error:
        near = [error.choices[0]] if error.choices else ["50000"]
        raise CallError(
            "failures", f"{given!r} is no known fleet. Give {EXAMPLES}.", repair={"failures": near}
        ) from error
    measure = next((path for path, number in entry.numbers() if number.unit == "GPU-hours"), None)
    if measure is None:
        known = [e.id for e in zoo.entries("reliability") if any(m.unit == "GPU-hours" for _, m in e.numbers())]
        raise CallError(
            "failures",
            f"{entry.name} has no accelerator-hours a failure in the zoo; {', '.join(known)} have.",
            repair={"failures": known[:1]},
        )
    _fleet(n, entry, measure)
    return False


def _fleet(n: Numbers, entry: Entry, measure: str) -> None:
    n.zoo("fleet_hours", entry, measure, "")
    n.defined("hour", 3600, "s")


def _hours(text: str, given: list[str]) -> float:
    try:
        hours = float(text)
    except ValueError:
        hours = math.nan
    if not (math.isfinite(hours) and 0 < hours <= 1e10):
        raise CallError(
            "failures", f"{given!r}: hours must be above 0. Give {EXAMPLES}.", repair={"failures": ["50000"]}
        )
    return hours


def resolve_checkpoint(n: Numbers, mode: str, hardware: Entry) -> None:
    """Read what a checkpoint takes: assumed seconds, or what storage and host links give."""
    n.assumed("restart", 300 if mode == "memory" else 600, 60, 10800, "s", source="cal_training")
    if not mode:
        n.assumed("save", 10, 5, 60, "s", source="cal_training")
        return
    if mode in ("storage", "async"):
        n.assumed("write", 1.2e9, 0.5e9, 5e9, "byte/s", source="ckptB")
        n.assumed("store", 1e12, 5e10, 1e13, "byte/s", source="narayanan2021")
    if mode != "storage":
        if hardware.has("host.bandwidth"):
            n.zoo("copy", hardware, "host.bandwidth", "byte/s")
        else:
            n.assumed("copy", 31e9, 15e9, 63e9, "byte/s", source="pcisig")


def step_failures(s: Structure, n: Numbers, d: Derivation) -> dict[str, Value]:
    """Step out MTBF, checkpoint intervals and the share of the time that is useful."""
    out: dict[str, Value] = {}
    if s.parts:
        part = d.table("part")
        i = 1
        while f"parts_{i}" in n:
            part.row(f"r{i}", count=n[f"parts_{i}"], mtbf=n[f"mtbf_{i}"])
            i += 1
        rate = d.sum("node_rate", eq.component_rate(part["count"], part["mtbf"]))
        out["node_mtbf"] = d.step("node_mtbf", eq.mtbf_of_rate(rate))
        each = d.step("mtbf_each", eq.mtbf_of_share(out["node_mtbf"], n.domain))
    elif "fleet_hours" in n:
        each = d.step("mtbf_each", eq.hours(n.fleet_hours, n.hour))
    else:
        each = n.mtbf_each
    mtbf = out["mtbf"] = d.step("mtbf", eq.job_mtbf(each, n.accelerators))
    save = _save(s, n, d, out)
    young = out["young_interval"] = d.step("young_interval", eq.young_interval(save, mtbf))
    law = eq.daly_interval(young, save, mtbf)
    interval = d.step("checkpoint_interval" if s.checkpoint != "async" else "daly", law)
    if s.checkpoint == "async":
        interval = d.step("checkpoint_interval", eq.not_before_written(interval, out["written"]))
    out["checkpoint_interval"] = interval
    out["goodput"] = d.step("goodput", eq.goodput(interval, mtbf, n.restart, save))
    return out


def _save(s: Structure, n: Numbers, d: Derivation, out: dict[str, Value]) -> Value:
    if not s.checkpoint:
        return n.save
    size = out["checkpoint_size"] = d.step("checkpoint_size", eq.checkpoint_size(n.parameters))
    if s.checkpoint in ("storage", "async"):
        written = eq.write_time(size, n.accelerators, n.domain, n.write, n.store)
        out["written"] = d.step("save" if s.checkpoint == "storage" else "written", written)
    if s.checkpoint == "storage":
        out["save"] = out["written"]
    else:
        out["save"] = d.step("save", eq.copy_time(size, n.accelerators, n.copy))
    return out["save"]
