"""Figures for the README: start to first answer and one call, against a bare server in the same run; sweep; sizes.

Run by hand: ``python benchmarks/run.py [--json] [--tools]``. Nothing here is a test. Tools are those registered; closed forms
should take less than 1 ms, searches less than 20; a tool that calls itself slow has no limit here.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

import anyio
from mcp import Client, StdioServerParameters

GOOD = {"model": "llama-3.1-8b", "hardware": "nvidia-h100-sxm-80gb"}
OURS = StdioServerParameters(command=sys.executable, args=["-m", "mlwalls.server.cli"])
BARE = StdioServerParameters(command=sys.executable, args=[str(Path(__file__).parent / "bare_server.py")])


async def first_answer(server, tool, arguments):
    start = time.perf_counter()
    async with Client(server) as client:
        await client.call_tool(tool, arguments)
        return time.perf_counter() - start


async def one_call(server, tool, arguments, repeats):
    times = []
    async with Client(server) as client:
        for _ in range(repeats):
            start = time.perf_counter()
            result = await client.call_tool(tool, arguments)
            times.append(time.perf_counter() - start)
    size = len(json.dumps(result.structured_content, ensure_ascii=False).encode())
    return statistics.median(times), size


def sweep(points):
    import numpy as np

    from mlwalls.solvers.registry import solvers
    from mlwalls.zoo import Zoo

    solver = solvers()["roofline"]
    problem = solver.resolve(solver.request(**GOOD), Zoo.builtin())
    bandwidth = np.linspace(1e12, 8e12, points)
    batch = np.tile(np.arange(1.0, 257.0), points // 256 + 1)[:points]
    start = time.perf_counter()
    out = solver.evaluate(problem, {"bandwidth": bandwidth, "batch": batch})
    assert out["expected"].value.shape == (points,)
    return time.perf_counter() - start


def plans():
    """Plans searched and seconds of it: DeepSeek-V3 on 4,096 accelerators, expert, pipeline and tensor parallelism open."""
    from mlwalls.solvers.registry import solvers
    from mlwalls.zoo import Zoo

    solver = solvers()["fleet_efficiency"]
    request = solver.request(model="deepseek-v3", hardware="h100", n_accelerators=4096, global_batch=16384)
    start = time.perf_counter()
    tried = solver.resolve(request, Zoo.builtin()).context.found.tried
    return tried, time.perf_counter() - start


def serving():
    """Milliseconds of one estimate of the serving-latency model with its derivation, and of 4,096 loads at once (best of 200)."""
    import numpy as np

    from mlwalls.solvers.derivation import Derivation
    from mlwalls.solvers.numbers import Numbers
    from mlwalls.solvers.serving import resolve_serving, serve
    from mlwalls.zoo import Zoo

    zoo, n = Zoo.builtin(), Numbers()
    n.you("prompt", 2000, "token")
    n.you("output", 500, "token")
    n.you("concurrency", 64)
    entries = zoo.get("models", "deepseek-v3"), zoo.get("hardware", "nvidia-h200-sxm-141gb")
    replica = resolve_serving(n, *entries, 8, [])
    many = n.replaced({"concurrency": np.arange(1.0, 4097.0)})
    best = []
    for numbers, record in ((n, True), (many, False)):
        times = []
        for _ in range(200):
            start = time.perf_counter()
            serve(replica, numbers, Derivation(record))
            times.append(time.perf_counter() - start)
        best.append(min(times) * 1e3)
    return best


def zoo_cost():
    """What the zoo adds to a process: milliseconds to import it and read every kind, and MB of memory."""
    code = (
        "import resource, time, json, pydantic\n"
        "rss = lambda: int(open('/proc/self/statm').read().split()[1]) * resource.getpagesize() / 1e6\n"
        "before, start = rss(), time.perf_counter()\n"
        "from mlwalls.zoo import Zoo\n"
        "zoo = Zoo.builtin()\n"
        "[zoo.entries(kind) for kind in zoo.kinds], zoo.source('williams2009'), zoo.resolve('hardware', 'h100')\n"
        "print(json.dumps([(time.perf_counter() - start) * 1e3, rss() - before]))\n"
    )
    runs = [
        json.loads(subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout)
        for _ in range(5)
    ]
    return [statistics.median(column) for column in zip(*runs, strict=True)]


def every_tool(repeats):
    """Milliseconds of one answer with its work printed, for the example of every registered tool, and its limit."""
    from mlwalls.solvers.answers import answer_data
    from mlwalls.solvers.registry import solvers
    from mlwalls.zoo import Zoo

    zoo, figures = Zoo.builtin(), {}
    for name, solver in solvers().items():
        times, searches = [], 0
        for _ in range(3 if solver.slow else repeats):
            start = time.perf_counter()
            answer = solver.run(solver.request.model_validate(dict(solver.example)), zoo)
            answer_data(answer, zoo)
            times.append(time.perf_counter() - start)
            searches = sum(getattr(step, "kind", "") == "search" for step in answer.derivation.steps)
        limit = None if solver.slow else 20.0 if searches else 1.0
        figures[name] = {
            "ms": statistics.median(times) * 1e3,
            "best_ms": min(times) * 1e3,
            "searches": searches,
            "limit_ms": limit,
        }
    return figures


def print_tools(figures):
    print("\none answer in process, work printed, the tool's own example:")
    for name, f in figures.items():
        kind = "slow" if f["limit_ms"] is None else "search" if f["searches"] else "closed form"
        over = "  OVER" if f["limit_ms"] is not None and f["ms"] > f["limit_ms"] else ""
        print(f"{name:32} {f['ms']:8.3g} ms (best {f['best_ms']:.3g})  {kind}{over}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--tools", action="store_true", help="only the tools in process")
    options = parser.parse_args()
    if options.tools:
        print_tools(every_tool(300))
        return
    first = {"ours": [], "bare": []}
    for _ in range(options.repeats):
        first["ours"].append(anyio.run(first_answer, OURS, "roofline", GOOD))
        first["bare"].append(anyio.run(first_answer, BARE, "echo", {"text": "x"}))
    ours, size = anyio.run(one_call, OURS, "roofline", GOOD, 300)
    bare, _ = anyio.run(one_call, BARE, "echo", {"text": "x" * size}, 300)
    tools, zoo = every_tool(300), zoo_cost()
    tried, took = min((plans() for _ in range(3)), key=lambda found: found[1])
    estimate, search = serving()
    begun = {k: statistics.median(v) for k, v in first.items()}
    figures = {
        "start_to_first_answer_s": begun["ours"],
        "bare_start_to_first_answer_s": begun["bare"],
        "start_ratio": begun["ours"] / begun["bare"],
        "call_ms": ours * 1e3,
        "bare_call_ms": bare * 1e3,
        "call_ratio": ours / bare,
        "in_process_answer_ms": tools["roofline"]["ms"],
        "sweep_1e6_points_s": min(sweep(1_000_000) for _ in range(3)),
        "serving_estimate_ms": estimate,
        "serving_4096_loads_ms": search,
        "plans_tried": tried,
        "plans_s": took,
        "answer_bytes": size,
        "zoo_all_kinds_ms": zoo[0],
        "zoo_all_kinds_mb": zoo[1],
        "tools": tools,
    }
    if options.json:
        print(json.dumps(figures, indent=1))
    else:
        for name, value in figures.items():
            if name != "tools":
                print(f"{name:32} {value:.4g}")
        print_tools(tools)


main()
