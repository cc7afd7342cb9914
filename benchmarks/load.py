"""Load and faults on loopback: many clients, slow and broken ones, a SIGTERM, several processes behind nginx, 100,000 calls.

    python benchmarks/load.py                    # a few minutes; writes benchmarks/load.json
    python benchmarks/load.py --calls 10000      # a shorter memory run

The balancer's part needs nginx on the machine and is left out, and said so, where it is not. Nothing here is a test.
"""

import argparse
import asyncio
import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import anyio
from mcp import Client, StdioServerParameters

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
from surface import traffic
from surface.hostile import tools
from surface.traffic import Connection, client, clients, payloads

COMMAND = [sys.executable, "-m", "mlwalls.server.cli"]
HOST = "127.0.0.1"
NGINX = """\
worker_processes 1; daemon off; pid {folder}/pid; error_log {folder}/error.log crit;
events {{ worker_connections 1024; }}
http {{
  access_log off; client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  upstream mlwalls {{ {servers} keepalive 64; }}
  server {{
    listen 127.0.0.1:{port};
    location / {{
      proxy_pass http://mlwalls; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host 127.0.0.1:{port};
      proxy_next_upstream error timeout http_503 non_idempotent;
    }}
  }}
}}
"""


def free_port():
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return probe.getsockname()[1]


@contextlib.contextmanager
def server(*options):
    port = free_port()
    process = subprocess.Popen([*COMMAND, "serve", "--http", "--port", str(port), *options], stderr=subprocess.PIPE)
    try:
        wait_for(port)
        yield process, port
    finally:
        if process.poll() is None:
            process.terminate()
        complaint = process.communicate(timeout=30)[1]
        assert b"Traceback" not in complaint, complaint.decode()


def wait_for(port):
    for _ in range(400):
        with contextlib.suppress(OSError):
            urllib.request.urlopen(f"http://{HOST}:{port}/healthz", timeout=5).close()
            return
        time.sleep(0.05)
    raise SystemExit(f"nothing listens on {port}")


def figures(tally, seconds):
    return {
        "calls": len(tally.latencies),
        "lost": len(tally.failures),
        "calls_per_s": round(len(tally.latencies) / seconds, 1),
        "p50_ms": round(1e3 * tally.quantile(0.5), 1),
        "p99_ms": round(1e3 * tally.quantile(0.99), 1),
    }


def timed(port, count, calls):
    begun = time.perf_counter()
    tally = asyncio.run(clients(HOST, port, count, calls))
    return tally, time.perf_counter() - begun


def http_clients():
    with server() as (_, port):
        timed(port, 4, 20)
        return figures(*timed(port, 64, 40))


def stdio_clients():
    async def one(latencies):
        async with Client(StdioServerParameters(command=COMMAND[0], args=COMMAND[1:])) as session:
            source = payloads()
            for _ in range(60):
                params = json.loads(next(source)[1])["params"]
                begun = time.perf_counter()
                result = await session.call_tool(params["name"], params["arguments"])
                latencies.append(time.perf_counter() - begun)
                assert not result.is_error

    async def every():
        latencies = []
        async with anyio.create_task_group() as group:
            for _ in range(8):
                group.start_soon(one, latencies)
        return latencies

    begun = time.perf_counter()
    tally = traffic.Tally(anyio.run(every))
    return figures(tally, time.perf_counter() - begun)


def slow_and_broken():
    """The latency of 16 ordinary clients while 64 dribble, 200 hang up and 50 send too much."""

    async def mixed(port):
        async def dribble():
            async with Connection(HOST, port) as slow:
                for byte in b"POST /mcp HTTP/1.1\r\nHost: " + b"a" * 200:
                    if slow.reader.at_eof() or slow.writer.is_closing():
                        return
                    slow.writer.write(bytes([byte]))
                    with contextlib.suppress(ConnectionError):
                        await slow.writer.drain()
                    await asyncio.sleep(0.05)

        async def hang_up():
            source = payloads()
            for cut in range(200):
                async with Connection(HOST, port) as gone:
                    body = next(source)[1]
                    head = traffic.HEAD.format(host=HOST, port=port, size=len(body)).encode()
                    gone.writer.write((head + body)[: 2 * cut + 1])
                await asyncio.sleep(0.02)

        async def oversized():
            for _ in range(50):
                async with Connection(HOST, port) as large:
                    status, _ = await large.post(b" " * (2 << 20))
                    refused.append(status)
                await asyncio.sleep(0.05)

        refused = []
        others = [asyncio.ensure_future(task) for task in (*(dribble() for _ in range(64)), hang_up(), oversized())]
        begun = time.perf_counter()
        tally = await clients(HOST, port, 16, 60)
        spent = time.perf_counter() - begun
        for task in others[:64]:
            task.cancel()
        await asyncio.wait(others)
        return figures(tally, spent) | {"oversized_refused": refused.count(413)}

    with server() as (_, port):
        alone = figures(*timed(port, 16, 60))
        return {"alone": alone, "among_slow_and_broken": asyncio.run(mixed(port))}


def sigterm():
    """64 calls under way when the process is told to end: all are answered."""

    async def interrupted(process, port):
        source = payloads(["roofline", "kv_capacity", "wafer_scale"])
        async with contextlib.AsyncExitStack() as stack:
            connections = [await stack.enter_async_context(Connection(HOST, port)) for _ in range(64)]
            sent = [next(source) for _ in connections]
            waiting = [asyncio.ensure_future(c.post(b)) for c, (_, b) in zip(connections, sent, strict=True)]
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            begun = time.perf_counter()
            process.send_signal(signal.SIGTERM)
            replies = await asyncio.gather(*waiting, return_exceptions=True)
        answered = [r for r in replies if isinstance(r, tuple) and r[0] == 200]
        while process.poll() is None:
            await asyncio.sleep(0.01)
        return {"under_way": len(sent), "answered": len(answered), "end_s": round(time.perf_counter() - begun, 2)}

    with server() as (process, port):
        timed(port, 4, 5)
        return asyncio.run(interrupted(process, port))


def balanced():
    """64 clients through nginx over 3 processes, one of which is ended on the way."""
    if shutil.which("nginx") is None:
        return "nginx is not on this machine"

    async def run(port, processes):
        tally, source = traffic.Tally(), payloads()
        begun = time.perf_counter()
        calls = [asyncio.ensure_future(client(HOST, port, 40, source, tally)) for _ in range(64)]
        while len(tally.latencies) < 800:
            await asyncio.sleep(0.01)
        processes[0].send_signal(signal.SIGTERM)
        await asyncio.gather(*calls)
        return figures(tally, time.perf_counter() - begun)

    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        port = free_port()
        started = [stack.enter_context(server()) for _ in range(3)]
        upstream = " ".join(f"server {HOST}:{p} max_fails=1 fail_timeout=30s;" for _, p in started)
        config = Path(folder) / "nginx.conf"
        config.write_text(NGINX.format(folder=folder, servers=upstream, port=port))
        nginx = subprocess.Popen(["nginx", "-c", str(config), "-p", folder], stderr=subprocess.PIPE)
        try:
            wait_for(port)
            whole = asyncio.run(clients(HOST, port, 64, 2))
            assert not whole.failures, whole.failures[:3]
            return asyncio.run(run(port, [process for process, _ in started])) | {"processes": 3, "ended_on_the_way": 1}
        finally:
            nginx.terminate()
            nginx.wait(20)


def resident(pid):
    """Resident memory of a process, in bytes (Linux)."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def memory(calls):
    """Resident memory of one process over many calls: samples, and the slope of the second half by least squares."""
    with server() as (process, port):
        begun, samples, lost = time.perf_counter(), [], 0
        source = payloads()

        async def some(count):
            tally = traffic.Tally()
            await asyncio.gather(*(client(HOST, port, count // 8, source, tally) for _ in range(8)))
            return len(tally.failures)

        step = max(calls // 20, 8)
        for done in range(step, calls + 1, step):
            lost += asyncio.run(some(step))
            samples.append((done, resident(process.pid)))
        half = samples[len(samples) // 2 :]
        mean_x, mean_y = (sum(column) / len(half) for column in zip(*half, strict=True))
        spread = sum((x - mean_x) ** 2 for x, _ in half)
        slope = sum((x - mean_x) * (y - mean_y) for x, y in half) / spread
        return {
            "calls": calls,
            "lost": lost,
            "calls_per_s": round(calls / (time.perf_counter() - begun), 1),
            "first_mib": round(samples[0][1] / 2**20, 1),
            "last_mib": round(samples[-1][1] / 2**20, 1),
            "slope_bytes_per_call": round(slope, 2),
            "samples_mib": [round(rss / 2**20, 1) for _, rss in samples],
        }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=100_000)
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "load.json")
    options = parser.parse_args()
    assert tools()
    found = {"cores": os.cpu_count(), "load_before": round(os.getloadavg()[0], 1)}
    for part in (http_clients, stdio_clients, slow_and_broken, sigterm, balanced):
        found[part.__name__] = part()
        print(part.__name__, json.dumps(found[part.__name__]), flush=True)
    found["memory"] = memory(options.calls)
    print("memory", json.dumps(found["memory"]), flush=True)
    options.output.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


main()
