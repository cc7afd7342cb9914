"""The MCP server, built from the solver registry, the zoo and the prompts."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from importlib.metadata import version
from typing import Any

import anyio
import mcp_types as types
from mcp.server.lowlevel import Server
from mcp.shared.exceptions import MCPError

from mlwalls import prompts
from mlwalls.server import resources
from mlwalls.server.teaching.figures import filler
from mlwalls.server.tools import Tools, call
from mlwalls.solvers.solver import Solver
from mlwalls.zoo import Zoo

INSTRUCTIONS = """\
mlwalls calculates answers to quantitative questions about ML systems: every number has a source, the work is shown, the \
error is stated.

Each tool's description is the question that it answers, better than an estimate; find_in_zoo has exact ids and cited figures \
of hardware, models, grids, prices and more.

Names may be typed as people say them ("h100", "llama3 70b"). In an answer, quote the verdict with its range, name the \
binding wall, and cite the sources. feasible=false comes first: it says what is missing and what would work. floor is the \
textbook bound, expected the calibrated figure; they are different things. `set` replaces any number printed in work. An \
error names the corrected call."""


def build_server(zoo: Zoo | None = None, solvers: Mapping[str, Solver] | None = None) -> Server[Any]:
    """Return a server whose tools are the registered solvers and find_in_zoo.

    Args:
        zoo: the facts; the built-in ones by default.
        solvers: the solvers by tool name; all registered ones by default.
    """
    facts = zoo or Zoo.builtin()
    tools = Tools(facts, solvers)
    defined = tools.definitions()

    async def list_tools(_: Any, __: types.PaginatedRequestParams | None) -> types.ListToolsResult:
        return types.ListToolsResult(tools=defined)

    async def call_tool(_: Any, params: types.CallToolRequestParams) -> types.CallToolResult:
        if params.name not in tools:
            near = ", ".join(get_close_matches(params.name, tools, 3, 0.3) or tools)
            raise MCPError(code=types.INVALID_PARAMS, message=f"Unknown tool: {params.name}. Nearest: {near}")
        tool = tools[params.name]
        if tool.slow:
            return await anyio.to_thread.run_sync(call, tool, params.arguments or {}, abandon_on_cancel=True)
        return call(tool, params.arguments or {})

    async def list_resources(_: Any, __: types.PaginatedRequestParams | None) -> types.ListResourcesResult:
        return types.ListResourcesResult(resources=resources.listed(facts))

    async def list_templates(_: Any, __: types.PaginatedRequestParams | None) -> types.ListResourceTemplatesResult:
        return types.ListResourceTemplatesResult(resource_templates=resources.TEMPLATES)

    async def read_resource(_: Any, params: types.ReadResourceRequestParams) -> types.ReadResourceResult:
        uri = str(params.uri)
        if uri.startswith("tutorial:"):  # a page is computed when it is read
            return types.ReadResourceResult(contents=[await anyio.to_thread.run_sync(resources.read, facts, uri)])
        return types.ReadResourceResult(contents=[resources.read(facts, uri)])

    async def list_prompts(_: Any, __: types.PaginatedRequestParams | None) -> types.ListPromptsResult:
        return types.ListPromptsResult(prompts=[_prompt(p) for p in prompts.all_prompts()])

    async def get_prompt(_: Any, params: types.GetPromptRequestParams) -> types.GetPromptResult:
        found = {p.name: p for p in prompts.all_prompts()}
        prompt = found.get(params.name)
        if prompt is None:
            near = ", ".join(get_close_matches(params.name, found, 3, 0.3) or found)
            raise MCPError(code=types.INVALID_PARAMS, message=f"Unknown prompt: {params.name}. Nearest: {near}")
        text = await anyio.to_thread.run_sync(prompt.render, params.arguments or {}, filler(facts))
        message = types.PromptMessage(role="user", content=types.TextContent(text=text))
        return types.GetPromptResult(description=prompt.description, messages=[message])

    async def complete(_: Any, params: types.CompleteRequestParams) -> types.CompleteResult:
        context = dict(params.context.arguments or {}) if params.context else {}
        values = resources.complete(facts, params.ref, params.argument.name, params.argument.value, context)
        return types.CompleteResult(completion=types.Completion(values=values[:100], total=len(values)))

    return Server(
        "mlwalls",
        version=version("mlwalls"),
        title="mlwalls: ML systems arithmetic",
        instructions=INSTRUCTIONS,
        on_list_tools=list_tools,
        on_call_tool=call_tool,
        on_list_resources=list_resources,
        on_list_resource_templates=list_templates,
        on_read_resource=read_resource,
        on_list_prompts=list_prompts,
        on_get_prompt=get_prompt,
        on_completion=complete,
    )


def _prompt(prompt: prompts.Prompt) -> types.Prompt:
    arguments = [
        types.PromptArgument(name=name, description=text, required=False) for name, text in prompt.arguments.items()
    ]
    return types.Prompt(name=prompt.name, title=prompt.title, description=prompt.description, arguments=arguments)


async def serve_stdio(server: Server[Any]) -> None:
    """Serve on standard input and output until the input ends."""
    from mcp.server.stdio import stdio_server

    async with stdio_server() as (read, write):
        await server.run(read, write, server.create_initialization_options())
