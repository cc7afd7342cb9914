"""Shared fixtures. The bare folder names must never be importable: that would load every module twice."""

import contextlib
import importlib.util
import json
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

import pytest

from mlwalls.server.verification import verify
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

    def call(tool, /, detail="default", **arguments):
        solver = solvers()[tool]
        request = solver.request.model_validate({**arguments, "detail": detail})
        return answer_data(solver.run(request, zoo), zoo, detail)

    return call


@pytest.fixture(scope="session")
def verified(ask):
    """As `ask`, and every line of the answer is recomputed."""

    def call(tool, /, **arguments):
        answer = ask(tool, **arguments)
        assert verify(json.loads(json.dumps(answer))).problems == []
        return answer

    return call


def pytest_addoption(parser):
    parser.addoption(
        "--update-golden", action="store_true", help="rewrite server/definitions: what clients see of the tools"
    )


def _free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextlib.contextmanager
def _http_server(*options):
    """Run `mlwalls serve --http` and yield its base URL; it must end cleanly on SIGTERM."""
    port = _free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "mlwalls.server.cli", "serve", "--http", "--port", str(port), *options],
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(400):
            if process.poll() is not None:
                raise AssertionError(process.stderr.read().decode())
            with contextlib.suppress(urllib.error.URLError, ConnectionError):
                urllib.request.urlopen(f"{url}/healthz", timeout=5).read()
                break
            time.sleep(0.05)
        yield url
    finally:
        process.send_signal(signal.SIGTERM)
        output, complaint = process.communicate(timeout=20)
        assert b"Traceback" not in complaint, complaint.decode()
        assert output == b""


@pytest.fixture(scope="session")
def http_server():
    """A context manager: a server process over HTTP, its base URL."""
    return _http_server
