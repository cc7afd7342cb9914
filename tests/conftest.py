"""Shared fixtures. The bare folder names must never be importable: that would load every module twice."""

import importlib.util

import pytest

from mlwalls.solvers.answers import answer_data
from mlwalls.solvers.registry import solvers
from mlwalls.zoo import Zoo

for _name in ("server", "solvers", "zoo", "prompts"):
    assert importlib.util.find_spec(_name) is None, f"{_name} is importable by its bare name"


@pytest.fixture(scope="session")
def zoo():
    return Zoo.builtin()


@pytest.fixture(scope="session")
def ask(zoo):
    """Call a solver by name with plain arguments; returns the answer's data."""

    def call(tool, detail="default", **arguments):
        solver = solvers()[tool]
        request = solver.request.model_validate({**arguments, "detail": detail})
        return answer_data(solver.run(request, zoo), zoo, detail)

    return call
