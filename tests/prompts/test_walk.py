"""A client walks every tutorial over stdio, in both protocol eras: prompt, tool calls, claims, exercises."""

import json
import sys

import anyio
import pytest
from mcp import Client, StdioServerParameters

from mlwalls import prompts
from mlwalls.server.teaching import Figures
from mlwalls.zoo import Zoo

COMMAND = StdioServerParameters(command=sys.executable, args=["-m", "mlwalls.server.cli", "serve"])


async def _walk(mode):
    walked = 0
    async with Client(COMMAND, mode=mode) as client:
        listed = {p.name for p in (await client.list_prompts()).prompts}
        for tutorial in prompts.load():
            name = f"tutorial_{tutorial.number}"
            assert name in listed
            text = (await client.get_prompt(name, {"level": "beginner"})).messages[0].content.text
            assert "wait for each" in text
            answers = {}
            for call in tutorial.calls():
                result = await client.call_tool(call.tool, dict(call.arguments))
                assert not result.is_error, result.content[0].text
                answers[call.name] = json.loads(json.dumps(result.structured_content))
                assert call.text() in text or call.name not in tutorial.data["scenario"]
            figures = Figures(tutorial, Zoo.builtin(), answers=answers)
            for claim in tutorial.data["claims"]:
                assert claim["text"] in text
                assert figures.value(claim["figure"]) is not None
                assert "{" not in figures.fill(claim["because"])
            for exercise in tutorial.data["exercises"]:
                assert exercise["prompt"] in text
                assert figures.value(f"{exercise['call']}.{exercise['answer']}") is not None
            page = (await client.read_resource(f"tutorial://{tutorial.number}")).contents[0].text
            for claim in tutorial.data["claims"]:
                assert figures.fill(claim["because"]) in page
            walked += 1
        for path in prompts.paths():
            text = (await client.get_prompt(f"path_{path.name}")).messages[0].content.text
            assert path.title in text
    return walked


@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_every_tutorial_is_walked(mode):
    assert anyio.run(_walk, mode) == len(prompts.load())
