"""A solver that another package brings through the entry point becomes a tool with nothing else changed."""

import json

import anyio
import pytest
from mcp import Client
from pydantic import Field

from mlwalls.server.app import build_server
from mlwalls.server.verification import verify
from mlwalls.solvers import registry
from mlwalls.solvers.equations.node import link_floor
from mlwalls.solvers.numbers import Numbers
from mlwalls.solvers.solver import Binding, Presentation, Problem, Solver, SolverRequest, SolverResult
from mlwalls.solvers.words import first, fit_result


class CopyRequest(SolverRequest):
    size_gb: float = Field(gt=0, le=1e6, description="Bytes to send, e.g. 10.")
    link_gb_per_s: float = Field(gt=0, le=1e4, description="Link rate, e.g. 50.")


class CopyResult(SolverResult):
    copy_ms: float


def resolve(request, zoo):
    n = Numbers()
    n.you("size", request.size_gb * 1e9, "byte")
    n.you("link", request.link_gb_per_s * 1e9, "byte/s")
    return Problem(None, n, scenario={"size_gb": request.size_gb, "link_gb_per_s": request.link_gb_per_s})


def compute(structure, n, d):
    return {"copy": d.step("copy", link_floor(n.size, n.link), cite=("thakur2005",))}


def present(problem, out, d):
    return Presentation(
        f"{first(out['copy'])} s.", True, Binding("communication"), fit_result(CopyResult, out, {}, set())
    )


SOLVER = Solver(
    name="copy_time",
    question="How long does a copy take?",
    guidance="",
    walls=("communication",),
    request=CopyRequest,
    result=CopyResult,
    resolve=resolve,
    compute=compute,
    present=present,
    example={"size_gb": 10, "link_gb_per_s": 50},
)


class Point:
    name, value, group = "copy_time", "somebody:SOLVER", "mlwalls.solvers"

    def __init__(self, loaded):
        self._loaded = loaded

    def load(self):
        if isinstance(self._loaded, Exception):
            raise self._loaded
        return self._loaded


@pytest.fixture
def installed(monkeypatch):
    def install(*loaded):
        registry.solvers.cache_clear()
        monkeypatch.setattr(registry, "entry_points", lambda group: [Point(x) for x in loaded])
        return registry.solvers()

    yield install
    registry.solvers.cache_clear()


def test_it_is_listed_called_and_verified(installed):
    found = installed(SOLVER)

    async def run():
        async with Client(build_server(solvers=found)) as client:
            names = [t.name for t in (await client.list_tools()).tools]
            good = await client.call_tool("copy_time", {"size_gb": 10, "link_gb_per_s": 50})
            bad = await client.call_tool("copy_time", {"size_gb": -1, "link_gb_per_s": 50})
            return names, good, bad

    names, good, bad = anyio.run(run)
    assert "copy_time" in names and "roofline" in names
    assert good.structured_content["result"]["copy_ms"] == pytest.approx(200)
    assert verify(json.loads(json.dumps(good.structured_content))).ok
    assert bad.is_error and "out of range" in bad.content[0].text


def test_what_cannot_be_used_is_named(installed):
    with pytest.raises(registry.RegistryError, match=r"somebody:SOLVER.*does not load: nothing there"):
        installed(ImportError("nothing there"))
    with pytest.raises(registry.RegistryError, match="not a mlwalls Solver"):
        installed(42)
    with pytest.raises(registry.RegistryError, match="is taken"):
        installed(SOLVER, SOLVER)
