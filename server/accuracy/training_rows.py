"""Predictions of published rows on training runs: calls of fleet_efficiency (:mod:`training_calls`), read in the row's unit."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from mlwalls.server.accuracy.published import Row, Scorer
from mlwalls.server.accuracy.report import Outcome, Scored, Skipped
from mlwalls.server.accuracy.training_calls import (
    Call,
    Unanswerable,
    call_of,
    hardware_of,
    known,
    model_of,
    parameters_of,
)
from mlwalls.solvers.derivation import Derivation, Value
from mlwalls.solvers.equations import collectives as net
from mlwalls.solvers.equations import reliability
from mlwalls.solvers.registry import solvers
from mlwalls.solvers.solver import Problem
from mlwalls.zoo import Zoo
from mlwalls.zoo.calibrations import calibration

HOUR = 3600
GIB, GB, TB, TERA = 2.0**30, 1e9, 1e12, 1e12
# Accelerator-hours a failure of any cause in research clusters and first big runs (OPT 7.4 k, RSC 8 to 9 k).
FIRST_RUN = "8000"
Out = Mapping[str, Value]
Reading = Callable[[Problem, Out], Any]


def problem_of(call: Call, zoo: Zoo, **more: Any) -> Problem:
    """Resolve a row's call.

    Raises:
        Unanswerable: the plan that the row states is impossible.
    """
    solver = solvers()["fleet_efficiency"]
    request = solver.request.model_validate({**call.arguments, **more})
    for text in request.define:
        zoo = zoo.with_inline(text)
    problem = solver.resolve(request, zoo)
    problem.numbers.override(request.set_)
    if problem.context.wrong:
        raise Unanswerable("; ".join(problem.context.wrong))
    return problem


def reading_of(row: Row) -> Reading:
    """Return what turns outputs (numbers or arrays) into the row's own unit.

    Raises:
        Unanswerable: a unit that is not known.
    """
    unit = str(row.get("unit", ""))
    each = re.search(r"/(gpu|chip|device|accelerator)|per (gpu|chip|device|accelerator)", unit.lower()) is not None
    if re.match(r"TFLOP", unit) and each:
        counted = "hardware" in unit or "hardware" in str(row["inputs"].get("flops_def", ""))

        def flops(p: Problem, out: Out) -> Any:
            share = out["hfu"] if "hfu" in out and (counted or not p.structure.flash) else out["mfu"]
            return share.value * p.numbers.peak.value / TERA

        return flops
    if unit.startswith("tokens/s"):
        return lambda p, out: out["throughput"].value / (p.numbers.accelerators.value if each else 1)
    if "HFU" in unit:
        return lambda p, out: 100 * out["hfu" if "hfu" in out else "mfu"].value
    if "MFU" in unit:
        return lambda p, out: 100 * out["mfu"].value
    if re.match(r"(s|seconds|sec)\b", unit):
        return lambda p, out: out["step"].value
    if unit.startswith("ms"):
        return lambda p, out: 1e3 * out["step"].value
    if re.match(r"[A-Za-z0-9]*-?hours", unit):
        return lambda p, out: out["campaign_run"].value * p.numbers.accelerators.value / HOUR
    if "activations" in unit:
        return lambda p, out: out["activations"].value / _bytes(unit)
    if "weights+grads+optimizer" in unit or unit == "GB per GPU":
        return lambda p, out: sum(out[k].value for k in ("weights", "gradients", "adam")) / _bytes(unit)
    if "peak" in unit:
        return lambda p, out: out["needed"].value / _bytes(unit)
    raise Unanswerable(f"unit {unit!r}")


def _bytes(unit: str) -> float:
    return GIB if "GiB" in unit else GB


def _paper(row: Row) -> str:
    return re.split(r",| 20\d\d|\(", str(row.get("source", "unnamed")))[0].strip()


def _scored(row: Row, predicted: float, interval: str, widen: float = 1.0) -> Scored:
    spread = float(calibration("training")["intervals"][interval]["value"]) * widen
    chip = str(row["inputs"].get("gpu") or row["inputs"].get("chip") or row["inputs"].get("cluster") or "")
    return Scored(
        row["id"],
        row["kind"],
        float(row["value"]),
        float(predicted),
        predicted * math.exp(-spread),
        predicted * math.exp(spread),
        {"paper": _paper(row), **({"chip": chip} if chip else {})},
    )


def _answering(scorer: Callable[[Row, Zoo], Outcome]) -> Scorer:
    """Turn what cannot be answered into a counted reason."""

    def score(row: Row, zoo: Zoo) -> Outcome:
        try:
            outcome = scorer(row, zoo)
        except Unanswerable as error:
            return Skipped(row["id"], row["kind"], str(error))
        except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError) as error:
            return Skipped(row["id"], row["kind"], f"inputs that cannot be read ({type(error).__name__})")
        if isinstance(outcome, Scored) and not (0 < outcome.predicted < math.inf):
            return Skipped(row["id"], row["kind"], "inputs without a finite prediction")
        return outcome

    return score


def prepared(row: Row, zoo: Zoo) -> tuple[Problem, Reading]:
    """Return the resolved call of a run's row, and what reads the outputs.

    Raises:
        Unanswerable: the row cannot be put as a call.
    """
    reading = reading_of(row)
    call = call_of(row, zoo)
    more = {}
    if row["kind"] == "training_gpu_hours":
        more["total_tokens"] = _tokens(row["inputs"])
    return problem_of(call, zoo, **more), reading


def _tokens(inputs: Mapping[str, Any]) -> float:
    text = str(inputs.get("tokens", ""))
    scale = {"T": 1e12, "B": 1e9}.get(text[-1:].upper())
    if scale is None:
        raise Unanswerable("the number of tokens is not stated")
    return float(text[:-1]) * scale


def _run(interval: str) -> Scorer:
    def score(row: Row, zoo: Zoo) -> Outcome:
        problem, reading = prepared(row, zoo)
        out = solvers()["fleet_efficiency"].evaluate(problem, {})
        known = "experts" if problem.structure.shape.moe and interval != "gpu_hours" else interval
        scored = _scored(row, reading(problem, out), known, 2.0 if problem.structure.outside else 1.0)
        if "campaign_run" not in out:
            return scored
        low, high = (float(out[f"accelerator_time_{end}"].value) / HOUR for end in ("low", "high"))
        return replace(scored, low=low, high=high)

    return _answering(score)


def _memory(row: Row, zoo: Zoo) -> Outcome:
    reading, inputs = reading_of(row), dict(row["inputs"])
    unit = str(row["unit"])
    if "peak" in unit:
        call = call_of(row, zoo)
        # The allocator's own peak does not count the driver's context.
        call.arguments["set"] = [*call.arguments["set"], "driver_context=1"]
    else:
        inputs.setdefault("gpu", "a100")
        ranks = inputs.get("tp", 1) * inputs.get("pp", 1)
        inputs |= {
            "num_gpus": ranks * inputs.get("dp", 1),
            "tp": inputs.get("tp", 1),
            "zero": inputs.get("zero_stage", 0),
        }
        inputs |= {"microbatch": inputs.get("microbatch", 1), "seq_len": inputs.get("seq_len", 1024)}
        inputs["global_batch"] = 8 * inputs["microbatch"] * inputs.get("pp", 1) * inputs.get("dp", 1)
        call = call_of({**row, "inputs": inputs}, zoo)
        if inputs.get("interleave", 1) > 1:
            call.arguments["set"] = [t for t in call.arguments["set"] if not t.startswith("interleave")]
            call.arguments["set"].append(f"interleave={inputs['interleave']}")
        if inputs.get("bytes_per_param") == 16:
            call.arguments["set"] = [*call.arguments["set"], "gradient_width=2"]
    problem = problem_of(call, zoo)
    out = solvers()["fleet_efficiency"].evaluate(problem, {})
    return _scored(row, reading(problem, out), "memory")


_PAYLOAD = {"KiB": 2.0**10, "MiB": 2.0**20, "GiB": 2.0**30}


def _collective(row: Row, zoo: Zoo) -> Outcome:
    """Bus bandwidth of one collective over clean links, by the tool's own equations."""
    inputs, text = row["inputs"], str(row["inputs"].get("gpu", ""))
    mesh = "xGMI" in text
    hardware = "amd-mi300x" if mesh else hardware_of(known(inputs), zoo)[0]
    entry = zoo.get("hardware", hardware)
    payload = re.fullmatch(r"([0-9.]+)(KiB|MiB|GiB)", str(inputs.get("payload", "")))
    if payload is None or inputs.get("collective") not in ("all_reduce", "all_gather", "reduce_scatter"):
        raise Unanswerable(f"{inputs.get('collective')} of {inputs.get('payload')}")
    c = calibration("training")["constants"]
    d = Derivation(record=False)

    def given(name: str, number: float, unit: str = "") -> Value:
        return Value(name, float(number), unit)

    def constant(name: str) -> Value:
        return given(name, c[name]["value"], c[name]["unit"])

    reduce = inputs["collective"] == "all_reduce"
    passes, ranks = given("passes", 2 if reduce else 1), given("ranks", inputs["num_gpus"])
    nodes, size = (
        given("nodes", inputs.get("nodes", 1)),
        given("size", float(payload[1]) * _PAYLOAD[payload[2]], "byte"),
    )
    link, domain = given("link", entry.number("link.bandwidth").value, "byte/s"), given("domain", 8)
    if mesh:
        inside = d.step("inside", net.mesh_bandwidth(link, constant("eta_mesh"), ranks, domain))
    else:
        share = "eta_switch" if reduce and "NVLS" in text else "eta_nvlink"
        inside = d.step("inside", net.inside_bandwidth(link, constant(share)))
    card = re.search(r"([0-9.]+) ?GB/s/GPU", text)
    nic = given("nic", float(card[1]) * GB if card else 50e9, "byte/s")
    chi = d.step("chi_in", net.chi_of_link(constant("chi"), link))
    hop = given("hop", 9.6e-6, "s")
    latency = d.step("latency", net.ring_latency(passes, ranks, nodes, chi, constant("chi"), hop))
    bandwidth = d.step("bandwidth", net.group_bandwidth(nodes, inside, constant("eta_net_clean"), nic, ranks))
    time = d.step("time", net.collective(passes, ranks, latency, size, bandwidth))
    return _scored(row, d.step("bus", net.bus_bandwidth(passes, ranks, size, time)).value / GB, "collective")


def _failure_call(count: int, failures: list[str], *sets: str, **more: Any) -> Call:
    plan = {"model": "llama-3.1-8b", "hardware": "h100", "n_accelerators": count, "tensor_parallel": 1, **more}
    return Call(plan | {"pipeline_parallel": 1, "microbatch": 1, "zero": 1, "failures": failures, "set": list(sets)})


def _reliability(row: Row, zoo: Zoo) -> Outcome:
    """Failures of dedicated fleets at the default rate, of research clusters and first runs at theirs, or by a stated rate."""
    inputs, unit = row["inputs"], str(row.get("unit", ""))
    count = int(inputs.get("num_gpus") or inputs.get("num_chips") or inputs.get("job_gpus") or 0)
    if not count:
        raise Unanswerable("the number of accelerators is not stated")
    if "HBM" in unit:
        raise Unanswerable("failures by cause are not computed")
    rate = inputs.get("rate_per_1000_node_days")
    projected = rate is not None and "projected" in str(row.get("note", ""))
    first = rate is not None or "OPT" in str(row.get("source", ""))
    hours = f"{8 * 24 * 1000 / float(rate):.6g}" if projected else FIRST_RUN if first else "50000"
    sets = ["save=0.001"] if "uptime" in unit else []
    out = solvers()["fleet_efficiency"].evaluate(problem_of(_failure_call(count, [hours], *sets), zoo), {})
    if "interruptions" in unit:
        return _scored(row, float(inputs["days"]) * 24 * HOUR / out["mtbf"].value, "failures")
    if "uptime" in unit:
        return _scored(row, 100 * out["goodput"].value, "failures")
    if "hours" in unit:
        return _scored(row, out["mtbf"].value / HOUR, "failures")
    raise Unanswerable(f"unit {unit!r}")


def _checkpoint(row: Row, zoo: Zoo) -> Outcome:
    inputs = dict(row["inputs"])
    count = int(inputs.get("num_gpus") or 8 * int(inputs.get("num_nodes", 0)) or 8)
    call = _failure_call(count, [], options=["storage_checkpoint"])
    if row["kind"] == "checkpoint_time":
        n = problem_of(call, zoo).numbers
        size = Value("size", float(inputs["size_tb"]) * TB, "byte")
        law = reliability.write_time(size, n.accelerators, n.domain, n.write, n.store)
        return _scored(row, Derivation(record=False).step("save", law).value, "memory")
    call.arguments["model"], _ = model_of(inputs, str(row.get("source", "")), zoo, call)
    out = solvers()["fleet_efficiency"].evaluate(problem_of(call, zoo), {"parameters": parameters_of(inputs)})
    return _scored(row, out["checkpoint_size"].value / TB, "memory")


SCORERS: dict[str, Scorer] = {
    "training_throughput": _run("step_time"),
    "training_step_time": _run("step_time"),
    "training_mfu": _run("mfu"),
    "training_gpu_hours": _run("gpu_hours"),
    "training_memory": _answering(_memory),
    "training_memory_states": _answering(_memory),
    "collective_busbw": _answering(_collective),
    "reliability": _answering(_reliability),
    "checkpoint_time": _answering(_checkpoint),
    "checkpoint_size": _answering(_checkpoint),
}
