"""Short forms of benchmarks/load.py: many clients, none lost; a SIGTERM lets what is under way finish; memory stays flat."""

import asyncio
import contextlib
import gc
import json
import signal
import socket
import subprocess
import sys
import tracemalloc

import anyio
from mcp import Client, StdioServerParameters

from mlwalls.server.tools import call

from .hostile import tools
from .traffic import Connection, clients, payloads

COMMAND = [sys.executable, "-m", "mlwalls.server.cli"]


def address(url):
    host, port = url.removeprefix("http://").split(":")
    return host, int(port)


def test_64_clients_lose_nothing(http_server):
    with http_server() as url:
        tally = asyncio.run(clients(*address(url), 64, 4))
    assert tally.failures == []
    assert len(tally.latencies) == 256


def test_slow_and_broken_clients_do_not_hold_up_the_others(http_server):
    async def all_at_once(host, port):
        async with contextlib.AsyncExitStack() as stack:
            for cut in range(1, 33):
                slow = await stack.enter_async_context(Connection(host, port))
                slow.writer.write(b"POST /mcp HTTP/1.1\r\nHost: 127.0.0.1:1\r\nContent-Length: 99\r\n\r\n{"[: 3 * cut])
            large = await stack.enter_async_context(Connection(host, port))
            status, _ = await large.post(b" " * (2 << 20))
            tally = await clients(host, port, 16, 4)
        return status, tally

    with http_server() as url:
        status, tally = asyncio.run(all_at_once(*address(url)))
    assert status == 413
    assert tally.failures == []


def test_a_sigterm_lets_calls_under_way_finish():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen([*COMMAND, "serve", "--http", "--port", str(port)], stderr=subprocess.PIPE)

    async def interrupted():
        for _ in range(400):
            with contextlib.suppress(OSError):
                async with Connection("127.0.0.1", port):
                    break
            await asyncio.sleep(0.05)
        source = payloads(["roofline"])
        async with contextlib.AsyncExitStack() as stack:
            connections = [await stack.enter_async_context(Connection("127.0.0.1", port)) for _ in range(24)]
            _, body = next(source)
            await connections[0].post(body)
            sent = [next(source) for _ in connections]
            waiting = [asyncio.ensure_future(c.post(b)) for c, (_, b) in zip(connections, sent, strict=True)]
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            process.send_signal(signal.SIGTERM)
            replies = await asyncio.gather(*waiting)
        return [(status, json.loads(reply)["id"]) for status, reply in replies], [n for n, _ in sent]

    try:
        replies, numbers = asyncio.run(interrupted())
        assert replies == [(200, number) for number in numbers]
    finally:
        if process.poll() is None:
            process.terminate()
        _, complaint = process.communicate(timeout=20)
    assert b"Traceback" not in complaint, complaint.decode()
    assert process.returncode in (0, -signal.SIGTERM)


def test_8_servers_over_standard_input_and_output():
    async def one(answers):
        async with Client(StdioServerParameters(command=COMMAND[0], args=COMMAND[1:])) as session:
            for name in ("roofline", "tail_latency", "find_in_zoo"):
                result = await session.call_tool(name, dict(tools()[name].example))
                answers.append((name, json.dumps(result.structured_content)))

    async def every():
        answers = []
        async with anyio.create_task_group() as group:
            for _ in range(8):
                group.start_soon(one, answers)
        return answers

    answers = anyio.run(every)
    assert len(answers) == 24 and len(set(answers)) == 3


def test_memory_is_flat_over_a_thousand_calls():
    quick = [(tool, dict(tool.example)) for tool in tools().values() if not tool.slow]

    def round_of(count):
        for number in range(count):
            tool, arguments = quick[number % len(quick)]
            call(tool, arguments)
        gc.collect()

    round_of(20 * len(quick))
    tracemalloc.start()
    try:
        round_of(5 * len(quick))
        before = tracemalloc.get_traced_memory()[0]
        round_of(500)
        after = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert (after - before) / 500 < 100, f"{(after - before) / 500:.0f} bytes a call"
