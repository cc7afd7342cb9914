"""The same request gives the same bytes: in another process, with other hash seeds, in both eras, over every transport."""

import json
import os
import subprocess
import sys
from pathlib import Path

import anyio
from mcp import Client, StdioServerParameters

from mlwalls.server.app import build_server

from .hostile import tools

PROGRAM = Path(__file__).parent / "answers.py"
COMMAND = StdioServerParameters(command=sys.executable, args=["-m", "mlwalls.server.cli"])


def test_other_processes_with_other_hash_seeds():
    processes = [
        subprocess.Popen(
            [sys.executable, PROGRAM],
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONHASHSEED": seed, "TZ": zone, "LC_ALL": "C"},
        )
        for seed, zone in (("0", "UTC"), ("4242", "Asia/Tokyo"))
    ]
    one, two = (process.communicate(timeout=120)[0] for process in processes)
    assert len(one.splitlines()) >= 3 * (len(tools()) - 1)
    assert one == two


async def told(target, mode):
    """Every tool's answer to its example, as bytes."""
    async with Client(target, mode=mode) as client:
        said = []
        for name, tool in tools().items():
            result = await client.call_tool(name, dict(tool.example))
            said.append(json.dumps([name, result.structured_content, [block.text for block in result.content]]))
        return said


def test_transports_and_eras(http_server):
    with http_server() as url:
        runs = [
            anyio.run(told, target, mode)
            for target in (build_server(), COMMAND, f"{url}/mcp")
            for mode in ("auto", "legacy")
        ]
    for run in runs[1:]:
        assert run == runs[0]
