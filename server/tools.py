"""Tools: every registered solver, and find_in_zoo. A call in, a result out; errors that say how to repair the call."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import mcp_types as types

from mlwalls.server.errors import error_text, repaired, said
from mlwalls.server.finding import FIND_IN_ZOO, find_in_zoo
from mlwalls.server.rendering import markdown
from mlwalls.server.schemas import answer_schema, shortened
from mlwalls.server.written import written
from mlwalls.solvers.answers import answer_data
from mlwalls.solvers.arguments import ArgumentsError, checked
from mlwalls.solvers.errors import CallError
from mlwalls.solvers.lookup import parameters_of
from mlwalls.solvers.registry import BUILT_IN
from mlwalls.solvers.registry import solvers as registered
from mlwalls.solvers.schemas import client_schema
from mlwalls.solvers.solver import Solver
from mlwalls.zoo import Zoo, ZooError

logger = logging.getLogger("mlwalls")
LOOKUP = "find_in_zoo"
# A corrected call that fails in its turn is corrected this often before the tool's example stands in for it.
REPAIRS = 12
_WITHOUT = "mend the entry, which the call below does without"
# Arguments that name an entry of the zoo.
_NAMING = ("model", "hardware", "baseline_hardware", "guard", "draft_model", "building", "network", "compare_with")
_ID = re.compile(r"^\s*id:\s*[\"']?([^\s\"']+)", re.MULTILINE)
_READ_ONLY = types.ToolAnnotations(
    read_only_hint=True, destructive_hint=False, idempotent_hint=True, open_world_hint=False
)


@dataclass(frozen=True, slots=True)
class Tool:
    """One tool: its definition, an example call, and what answers it (structured data and text)."""

    definition: types.Tool
    arguments: dict[str, Any]
    example: Mapping[str, Any]
    answer: Callable[[dict[str, Any]], tuple[dict[str, Any], str]]
    slow: bool = False
    size_of: Callable[[str], float | None] = lambda _: None


class Tools(Mapping[str, Tool]):
    """Every tool by name; one is made when it is first asked for, so that a server starts without the solvers' modules.

    Args:
        solvers: the solvers by tool name; all registered ones by default.
    """

    def __init__(self, zoo: Zoo, solvers: Mapping[str, Solver] | None = None) -> None:
        self._zoo, self._solvers = zoo, registered() if solvers is None else solvers
        self._written = solvers is None
        self._made: dict[str, Tool] = {}

    def __getitem__(self, name: str) -> Tool:
        if name not in self._made:
            self._made[name] = zoo_tool(self._zoo) if name == LOOKUP else solver_tool(self._solvers[name], self._zoo)
        return self._made[name]

    def __contains__(self, name: object) -> bool:
        return name == LOOKUP or name in self._solvers

    def __iter__(self) -> Iterator[str]:
        yield from self._solvers
        yield LOOKUP

    def __len__(self) -> int:
        return len(self._solvers) + 1

    def definitions(self) -> list[types.Tool]:
        """Return what a client sees of the tools; of those built in, as written down beside this module."""
        return [self._definition(name) for name in self]

    def _definition(self, name: str) -> types.Tool:
        if self._written and name in (*BUILT_IN, LOOKUP):
            return types.Tool.model_validate(written(name))
        return self[name].definition


def solver_tool(solver: Solver, zoo: Zoo) -> Tool:
    """Make a tool of a solver."""
    arguments = client_schema(solver.request)
    definition = types.Tool(
        name=solver.name,
        title=solver.name.replace("_", " ").capitalize(),
        description=f"{solver.question} {solver.guidance}",
        input_schema=shortened(arguments),
        output_schema=answer_schema(solver.result),
        annotations=_READ_ONLY,
    )

    def answer(arguments: dict[str, Any]) -> tuple[dict[str, Any], str]:
        request = solver.request.model_validate(arguments)
        facts = _with_own(zoo, request.define, arguments, solver.example)
        try:
            made = solver.run(request, facts)
        except CallError as error:
            raise _by_argument(solver, arguments, facts, error) from error
        data = answer_data(made, facts, request.detail)
        return data, markdown(solver.name, data)

    return Tool(definition, arguments, solver.example, answer, solver.slow, partial(parameters_of, zoo))


def _with_own(zoo: Zoo, entries: list[str], arguments: Mapping[str, Any], example: Mapping[str, Any]) -> Zoo:
    if not entries:
        return zoo
    try:
        return zoo.with_inline("\n---\n".join(entries))
    except ZooError as error:
        lines = [line if len(line) <= 300 else line[:297] + "…" for line in str(error).splitlines()]
        more = [f"and {len(lines) - 6} more"] if len(lines) > 6 else []
        problem = "; ".join(lines[:6] + more)
        # What names the entry is of the example instead, and nothing that merely sounds like it.
        own = {match for text in entries for match in _ID.findall(text)}
        instead = {name: example[name] for name in _NAMING if name in example and arguments.get(name) in own}
        raise CallError("define", f"{problem}; {_WITHOUT}.", repair={"define": None, **instead}) from error


def _by_argument(solver: Solver, arguments: Mapping[str, Any], zoo: Zoo, error: CallError) -> CallError:
    if error.follows is None:
        return error
    from mlwalls.solvers.inner import by_argument

    return by_argument(solver, arguments, zoo, error)


def zoo_tool(zoo: Zoo) -> Tool:
    """Make the tool that looks things up."""
    arguments = client_schema(FIND_IN_ZOO.request)
    definition = types.Tool(
        name=LOOKUP,
        title="Find in zoo",
        description=FIND_IN_ZOO.description,
        input_schema=shortened(arguments),
        output_schema=client_schema(FIND_IN_ZOO.result),
        annotations=_READ_ONLY,
    )
    return Tool(definition, arguments, FIND_IN_ZOO.example, lambda given: find_in_zoo(zoo, given))


def call(tool: Tool, arguments: Mapping[str, Any]) -> types.CallToolResult:
    """Answer one call. Never raises: what is wrong becomes an error result that says how to repair the call."""
    name = tool.definition.name
    try:
        try:
            good = checked(tool.arguments, arguments, tool.example, tool.size_of)
            data, text = tool.answer(good)
        except CallError as error:
            offered = _settled(tool, repaired(good, error, tool.example))
            return _failed(error_text(name, [said(error)], arguments, offered, tool.example))
        except ZooError as error:
            return _failed(f"{name}: {error}")
    except ArgumentsError as error:
        offered = _settled(tool, error.repaired)
        return _failed(error_text(name, error.problems, arguments, offered, tool.example))
    except Exception as error:
        logger.exception("%s failed", name)
        return _failed(
            f"{name}: internal error ({type(error).__name__}); please report it with the call that caused it."
        )
    return types.CallToolResult(content=[types.TextContent(text=text)], structured_content=data)


def _settled(tool: Tool, arguments: dict[str, Any]) -> dict[str, Any]:
    """Return a corrected call that is answered: one that still fails is corrected again, else it is the tool's example."""
    for _ in range(REPAIRS):
        try:
            good = checked(tool.arguments, arguments, tool.example, tool.size_of)
            tool.answer(good)
        except ArgumentsError as error:
            arguments = error.repaired
        except CallError as error:
            arguments = repaired(good, error, tool.example)
        except ZooError:
            break
        except Exception:
            logger.exception("%s failed on a corrected call", tool.definition.name)
            break
        else:
            return arguments
    return dict(tool.example)


def _failed(text: str) -> types.CallToolResult:
    return types.CallToolResult(content=[types.TextContent(text=text)], is_error=True)
