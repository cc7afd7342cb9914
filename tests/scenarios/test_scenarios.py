"""Every scenario over memory, stdio and HTTP, in both protocol eras."""

import json
import sys

import anyio
import pytest
from mcp import Client, StdioServerParameters

from mlwalls.server.app import build_server
from mlwalls.server.verification import verify

from .scenarios import SCENARIOS, judge

COMMAND = StdioServerParameters(command=sys.executable, args=["-m", "mlwalls.server.cli", "serve"])


async def _walk(target, mode):
    answers = []
    async with Client(target, mode=mode) as client:
        for scenario in SCENARIOS:
            result = await client.call_tool(scenario["tool"], scenario["arguments"])
            assert not result.is_error, result.content[0].text
            judge(scenario, result.structured_content)
            report = verify(result.structured_content)
            assert report.ok, report.text()
            assert result.structured_content["verdict"] in result.content[0].text
            answers.append(json.dumps(result.structured_content, sort_keys=True))
    return answers


@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_in_memory(mode):
    anyio.run(_walk, build_server(), mode)


@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_over_stdio(mode):
    anyio.run(_walk, COMMAND, mode)


@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_over_http(mode, http_server):
    with http_server() as url:
        anyio.run(_walk, f"{url}/mcp", mode)


def test_the_same_request_gives_the_same_bytes_everywhere(http_server):
    with http_server() as url:
        runs = [
            anyio.run(_walk, target, mode)
            for target in (build_server(), COMMAND, f"{url}/mcp")
            for mode in ("auto", "legacy")
        ]
    assert all(run == runs[0] for run in runs)
