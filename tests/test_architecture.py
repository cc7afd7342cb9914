"""Imports point one way, packages are listed, names stay inside the namespace."""

import ast
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import mlwalls.prompts
import mlwalls.server
import mlwalls.solvers
import mlwalls.zoo

ROOMS = {
    name: Path(package.__file__).parent
    for name, package in {
        "server": mlwalls.server,
        "solvers": mlwalls.solvers,
        "zoo": mlwalls.zoo,
        "prompts": mlwalls.prompts,
    }.items()
}
MAY_IMPORT = {
    "server": {"server", "solvers", "zoo", "prompts"},
    "solvers": {"solvers", "zoo"},
    "prompts": {"prompts"},
    "zoo": {"zoo"},
}
PURE = (
    "derivation.py",
    "expressions.py",
    "functions.py",
    "units.py",
    "rendering.py",
    "compacting.py",
    "words.py",
    "values.py",
    "bisection.py",
)


def imports(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        yield from names


@pytest.mark.parametrize("room", ROOMS)
def test_imports_point_one_way(room):
    for path in ROOMS[room].rglob("*.py"):
        if path.name == "refit.py":  # a program beside its data, which may use everything
            continue
        ours = {n.split(".")[1] for n in imports(path) if n.startswith("mlwalls.")}
        assert ours <= MAY_IMPORT[room], path


def test_the_core_imports_only_itself():
    core = {f"mlwalls.solvers.{name[:-3]}" for name in PURE} | {"mlwalls.solvers.solver"}
    for name in PURE:
        ours = {n for n in imports(ROOMS["solvers"] / name) if n.startswith("mlwalls.")}
        assert ours <= core, name
    for path in (ROOMS["solvers"] / "equations").glob("*.py"):
        ours = {n for n in imports(path) if n.startswith("mlwalls.")}
        assert all(n in core or n.startswith("mlwalls.solvers.equations") for n in ours), path


def test_solvers_know_neither_the_protocol_nor_files():
    for path in ROOMS["solvers"].rglob("*.py"):
        outside = {n.split(".")[0] for n in imports(path)}
        assert not outside & {"mcp", "anyio", "yaml", "os", "socket", "urllib"}, path
        if path.name != "arguments.py":
            assert "json" not in outside, path
        if path.name != "expressions.py":
            assert "pathlib" not in outside, path


def test_every_package_is_listed():
    project = Path(__file__).parent.parent / "pyproject.toml"
    if not project.exists():
        pytest.skip("runs from the repository only")
    listed = set(tomllib.loads(project.read_text())["tool"]["setuptools"]["packages"])
    found = {
        ".".join(("mlwalls", *path.parent.relative_to(project.parent).parts))
        for room in ROOMS
        for path in (project.parent / room).rglob("*.py")
        if path.parts[-2] not in {"calibration", "serving", "training", "kv_pool", "wafer"}
    }
    assert found == listed


def test_a_scalar_answer_needs_no_numpy():
    code = (
        "import sys\n"
        "from mlwalls.solvers.registry import solvers\n"
        "from mlwalls.zoo import Zoo\n"
        "s = solvers()['roofline']\n"
        "s.run(s.request(**s.example), Zoo.builtin())\n"
        "print(sorted({'numpy', 'yaml', 'jsonschema', 'rapidfuzz'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
