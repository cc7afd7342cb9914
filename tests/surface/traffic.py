"""Many small HTTP clients in one event loop, to loopback only: calls with their latencies, and what was lost."""

import asyncio
import contextlib
import itertools
import json
import time
from dataclasses import dataclass, field

from .hostile import tools

HEAD = (
    "POST /mcp HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Type: application/json\r\n"
    "Accept: application/json, text/event-stream\r\nContent-Length: {size}\r\n\r\n"
)


@dataclass
class Tally:
    """What a run of calls came to."""

    latencies: list[float] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def quantile(self, share):
        """A quantile of the latencies, in seconds."""
        ordered = sorted(self.latencies)
        return ordered[min(int(share * len(ordered)), len(ordered) - 1)] if ordered else float("nan")


def payloads(names=None):
    """Calls of every quick tool's example, over and over, each with its own id."""
    quick = [name for name, tool in tools().items() if not tool.slow and (names is None or name in names)]
    for number in itertools.count():
        name = quick[number % len(quick)]
        params = {"name": name, "arguments": dict(tools()[name].example)}
        yield number, json.dumps({"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": params}).encode()


class Connection:
    """One keep-alive connection."""

    def __init__(self, host, port):
        self.host, self.port = host, port
        self.reader = self.writer = None

    async def __aenter__(self):
        self.reader, self.writer = await asyncio.open_connection(self.host, self.port, limit=1 << 22)
        return self

    async def __aexit__(self, *_):
        self.writer.close()
        with contextlib.suppress(ConnectionError):
            await self.writer.wait_closed()

    async def post(self, body):
        """Send one body; returns the status and the reply's body."""
        head = HEAD.format(host=self.host, port=self.port, size=len(body)).encode()
        self.writer.write(head + body)
        await self.writer.drain()
        return await self.reply()

    async def reply(self):
        """Read one reply."""
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin1").lower()
        size = int(head.split("content-length: ")[1].split("\r\n")[0])
        return int(head.split()[1]), await self.reader.readexactly(size)


async def client(host, port, calls, source, tally, seconds=60):
    """Make some calls on one connection and check that each is answered with its own id."""
    try:
        async with Connection(host, port) as connection:
            for _ in range(calls):
                number, body = next(source)
                begun = time.perf_counter()
                status, reply = await asyncio.wait_for(connection.post(body), seconds)
                tally.latencies.append(time.perf_counter() - begun)
                answer = json.loads(reply)
                if status != 200 or answer.get("id") != number or answer["result"].get("isError"):
                    tally.failures.append(f"{status} {reply[:200]!r}")
    except (OSError, asyncio.IncompleteReadError, TimeoutError) as error:
        tally.failures.append(repr(error))


async def clients(host, port, count, calls, names=None):
    """Make `calls` calls from each of `count` clients at once."""
    tally, source = Tally(), payloads(names)
    await asyncio.gather(*(client(host, port, calls, source, tally) for _ in range(count)))
    return tally
