"""What clients see of the tools: a golden file each, only keywords that every client reads, and a size budget."""

import json

import anyio
import jsonschema
import pytest
from mcp import Client
from pydantic import BaseModel

from mlwalls.server.app import INSTRUCTIONS, build_server
from mlwalls.server.tools import Tools
from mlwalls.server.written import DEFINITIONS
from mlwalls.solvers.schemas import SchemaError, client_schema
from mlwalls.zoo import Zoo

BANNED = {"$ref", "$defs", "anyOf", "oneOf", "allOf", "const", "prefixItems", "format", "pattern", "title"}


async def _listed():
    async with Client(build_server()) as client:
        return (await client.list_tools()).tools


TOOLS = [tool.definition for tool in Tools(Zoo.builtin()).values()]


def test_a_client_sees_what_the_solvers_say():
    assert anyio.run(_listed) == TOOLS
    assert {path.stem for path in DEFINITIONS.iterdir()} == {tool.name for tool in TOOLS}


def nodes(schema):
    yield schema
    for value in schema.values() if isinstance(schema, dict) else schema:
        if isinstance(value, (dict, list)):
            yield from nodes(value)


@pytest.mark.parametrize("tool", TOOLS, ids=lambda t: t.name)
def test_golden(tool, request):
    path = DEFINITIONS / f"{tool.name}.json"
    shown = tool.model_dump(mode="json", exclude_none=True, by_alias=True)
    text = json.dumps(shown, indent=1, ensure_ascii=False) + "\n"
    if request.config.getoption("--update-golden"):
        path.write_text(text, encoding="utf-8")
    assert path.read_text(encoding="utf-8") == text


@pytest.mark.parametrize("tool", TOOLS, ids=lambda t: t.name)
def test_only_keywords_that_every_client_reads(tool):
    for schema in (tool.input_schema, tool.output_schema):
        jsonschema.Draft202012Validator.check_schema(schema)
        for node in nodes(schema):
            if not isinstance(node, dict) or "properties" in node.get("properties", {}):
                continue
            keywords = node.keys() - set(node.get("properties", {})) if "type" in node else set()
            assert not keywords & BANNED
            assert node.get("default", 0) is not None
            assert not isinstance(node.get("type"), list)
            if node.get("type") == "object":
                assert node["additionalProperties"] is False


@pytest.mark.parametrize("tool", TOOLS, ids=lambda t: t.name)
def test_contract(tool):
    assert len(tool.name) <= 40
    assert len(tool.description) <= 400
    assert tool.description.split("?")[0] + "?" in tool.description
    hints = tool.annotations
    assert (hints.read_only_hint, hints.idempotent_hint, hints.destructive_hint, hints.open_world_hint) == (
        True,
        True,
        False,
        False,
    )
    for name, schema in tool.input_schema["properties"].items():
        assert schema.get("description"), name
        assert len(schema.get("enum", [])) <= 10, name


def test_sizes():
    each = {
        t.name: len(json.dumps([t.name, t.description, t.input_schema], ensure_ascii=False).encode()) for t in TOOLS
    }
    assert sum(each.values()) <= 25_000
    assert max(each.values()) <= 3_000, each
    whole = sum(len(t.model_dump_json(exclude_none=True).encode()) for t in TOOLS)
    assert whole <= 64_000
    assert len(INSTRUCTIONS) <= 2000


def test_a_union_or_pattern_is_refused():
    class Union(BaseModel):
        field: int | str

    with pytest.raises(SchemaError):
        client_schema(Union)
