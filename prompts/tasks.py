"""Prompts for tasks: sizing, comparing, explaining, extending."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

_QUOTE = "Quote verdicts with their ranges and sources; say what was assumed. State no figure that a tool did not give."


@dataclass(frozen=True, slots=True)
class Task:
    """One task prompt; every argument has a default."""

    name: str
    title: str
    description: str
    arguments: Mapping[str, str]
    render: Callable[[Mapping[str, str]], str]


def _size(a: Mapping[str, str]) -> str:
    model, hardware = a.get("model") or "llama-3.1-70b", a.get("hardware") or "h100"
    load = f"{a.get('users') or '(ask)'} users at once, {a.get('context') or '(ask)'} tokens each"
    return (
        f"Size a deployment of {model} on {hardware} for {load}. Ask for what is marked (ask) and for the time a token may "
        "take, before any call. Then:\n"
        "1. kv_capacity with n_accelerators 1, 2, 4 or 8 and seq_len, until the model starts; concurrency says the longest "
        "context for that many users.\n"
        "2. roofline phase=decode at that batch: time per token; phase=prefill: time to first token without a queue.\n"
        "3. serving_cost for the same load: the operating point, what it costs and which limit it meets first.\n"
        "4. tail_latency when the load is a rate of requests: replicas that keep the wait within a target.\n"
        "5. inverse_spec when no size meets the target: what would.\n"
        f"End with one line: accelerators, replicas, what binds, what to watch. {_QUOTE}"
    )


def _compare(a: Mapping[str, str]) -> str:
    return (
        f"Compare {a.get('hardware') or 'h100'} with {a.get('baseline_hardware') or 'a100'} for "
        f"{a.get('model') or 'llama-3.1-8b'}. Call roofline with baseline_hardware for phase=decode and for phase=prefill. "
        "Say which wall binds in each phase, and what that means for a chat service and for a batch job. "
        f"Where prices are known, serving_cost says which is cheaper a token. {_QUOTE}"
    )


def _wall(a: Mapping[str, str]) -> str:
    return (
        f"Read walls://{a.get('slug') or 'memory_bandwidth'}. Explain the relation and each symbol, then run the wall's tool on "
        f"a model and accelerator the user cares about, and point to the step of the work where the wall shows. {_QUOTE}"
    )


def _zoo(a: Mapping[str, str]) -> str:
    kind = a.get("kind") or "hardware"
    return (
        f"Help to add an entry of kind {kind} to the user's own zoo. Read zoo://schema/{kind} first. Needed for an accelerator: "
        "name, year, dense peaks by format (halve a figure that is for 2:4 sparsity), memory capacity in bytes, memory "
        "bandwidth, link bandwidth in one direction, power, and for each number the primary source with its date. "
        "Ask for the data sheet; never fill a number from memory: leave it out instead, and the tools will say what they "
        "miss. Write one YAML file a kind in a folder and a sources.yaml beside it; check with `mlwalls zoo validate "
        "FOLDER`; use it with `mlwalls --zoo FOLDER`, or pass the same text in a tool's `define`. Then run roofline on it and "
        "compare with a known chip: does the verdict make sense?"
    )


def _solver(a: Mapping[str, str]) -> str:
    return (
        f"Help to write a solver{' about ' + a['question'] if a.get('question') else ''} as a package of its own. It needs: a "
        "docstring with question, equations and sources, assumptions, what is not modelled; a typed request and result; "
        "equations declared with @equation, unit and citation; resolve (every branch), compute (no branch on a number), "
        "present; a SOLVER record; the entry point group mlwalls.solvers. It is done when one published number is "
        "reproduced by a test, a property test holds (monotone, a limit), and `mlwalls verify` accepts its answer. "
        "Infeasible is an answer, not an error. The extension guide of the documentation has a complete example of each."
    )


TASKS: tuple[Task, ...] = (
    Task(
        "size_my_deployment",
        "Size a deployment",
        "How many accelerators a model needs for your users, what binds and what it costs.",
        {
            "model": "zoo model",
            "hardware": "zoo accelerator",
            "users": "users at once, e.g. 200",
            "context": "tokens of context each, e.g. 8192",
        },
        _size,
    ),
    Task(
        "compare_hardware",
        "Compare two accelerators",
        "Which of two accelerators is faster for a model, by how much, and why.",
        {"model": "zoo model", "hardware": "zoo accelerator", "baseline_hardware": "zoo accelerator to compare with"},
        _compare,
    ),
    Task(
        "explain_wall",
        "Explain a wall",
        "What one of the 22 walls is, with a calculation that shows it.",
        {"slug": "slug of the wall, e.g. memory_bandwidth"},
        _wall,
    ),
    Task(
        "extend_zoo",
        "Add your own hardware or model",
        "Write a zoo entry with a source for every number, check it, use it.",
        {"kind": "hardware, models or another kind of the zoo"},
        _zoo,
    ),
    Task(
        "extend_solver",
        "Write your own solver",
        "A solver as a package of its own: what it must bring and how it is checked.",
        {"question": "what it should answer"},
        _solver,
    ),
)
