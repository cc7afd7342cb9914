"""Resources, templates, completion and prompts, in both eras."""

import json

import anyio
import jsonschema
import mcp_types as types
import pytest
from mcp import Client
from mcp.shared.exceptions import MCPError

from mlwalls.server.app import build_server


def using(function, mode="auto"):
    async def run():
        async with Client(build_server(), mode=mode) as client:
            return await function(client)

    return anyio.run(run)


@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_every_listed_resource_can_be_read(mode):
    async def read_all(client):
        listed = (await client.list_resources()).resources
        return {str(r.uri): (await client.read_resource(str(r.uri))).contents[0].text for r in listed}

    found = using(read_all, mode)
    assert {"zoo://hardware", "zoo://models", "walls://", "tutorial://0", "tutorial://1", "tutorial://2"} <= set(found)
    assert len(json.loads(found["walls://"])) == 22


def test_an_entry_carries_the_source_of_every_number():
    async def read(client):
        return json.loads((await client.read_resource("zoo://hardware/nvidia-h100-sxm-80gb")).contents[0].text)

    entry = using(read)
    assert entry["memory"]["bandwidth"]["value"] == 3.35e12
    assert entry["memory"]["bandwidth"]["source"] in entry["sources"]


def test_schemas_are_published_and_hold():
    async def read(client):
        return json.loads((await client.read_resource("zoo://schema/hardware")).contents[0].text)

    jsonschema.Draft202012Validator.check_schema(using(read))


@pytest.mark.parametrize(
    "uri", ["zoo://hardware/h10o", "zoo://nonsense", "walls://wall", "tutorial://99", "zoo://schema/x", "other://x"]
)
def test_what_is_not_there_is_the_protocols_error(uri):
    async def read(client):
        with pytest.raises(MCPError) as caught:
            await client.read_resource(uri)
        return caught.value

    assert using(read).code == types.INVALID_PARAMS


@pytest.mark.parametrize(
    ("uri", "name", "typed", "context", "expected"),
    [
        ("zoo://{kind}/{id}", "kind", "ha", {}, "hardware"),
        ("zoo://{kind}/{id}", "id", "h100", {"kind": "hardware"}, "nvidia-h100-sxm-80gb"),
        ("zoo://sources/{id}", "id", "will", {}, "williams2009"),
        ("walls://{slug}", "slug", "band", {}, "memory_bandwidth"),
        ("tutorial://{n}", "n", "", {}, "1"),
    ],
)
def test_completion(uri, name, typed, context, expected):
    async def complete(client):
        reference = types.ResourceTemplateReference(uri=uri)
        return await client.complete(reference, {"name": name, "value": typed}, context or None)

    assert expected in using(complete).completion.values


@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_prompts_work_without_arguments_and_teach_by_predicting_first(mode):
    async def get_all(client):
        listed = (await client.list_prompts()).prompts
        return {p.name: (await client.get_prompt(p.name)).messages[0].content.text for p in listed}

    texts = using(get_all, mode)
    assert {"tutorial_0", "tutorial_1", "tutorial_2", "compare_hardware", "explain_wall"} <= set(texts)
    assert "ask the learner for a prediction" in texts["tutorial_1"]
    assert "3.2x" in texts["tutorial_1"]


def test_prompt_arguments_replace_the_pinned_ones():
    async def get(client):
        return (await client.get_prompt("tutorial_1", {"model": "mixtral", "reveal": "yes"})).messages[0].content.text

    text = using(get)
    assert '"model": "mixtral"' in text and "Go straight" in text
