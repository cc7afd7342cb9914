"""The Inspector's command line over stdio and HTTP: a strict look at every schema, one call of every tool, a short load.

python tests/clients/inspector.py [--command path/to/mlwalls]
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from setting import arguments, examples, free_port, http_server, installed, node

PACKAGE = "@modelcontextprotocol/inspector"
VERSION = "2.12.0"
EXAMPLES = examples()


def main():
    options = arguments(__doc__, load_requests=500)
    port = free_port()
    with tempfile.TemporaryDirectory() as folder, http_server([options.command], port) as url:
        modules = installed(Path(folder), f"{PACKAGE}@{VERSION}")
        launcher = [node()[0], str(modules / PACKAGE / "clients" / "launcher" / "build" / "index.js"), "--cli"]
        home = {**os.environ, "HOME": folder, "MCP_CATALOG_PATH": str(Path(folder) / "catalog.json")}

        def inspect(target, *arguments, era="auto"):
            command = [*launcher, *target, "--protocol-era", era, "--format", "json", "-q", *arguments]
            done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=home)
            if done.returncode:
                sys.exit(f"{' '.join(arguments)}: exit {done.returncode}: {done.stdout[-1000:]} {done.stderr[-2000:]}")
            return json.loads(done.stdout)

        for target in ([options.command], [url]):
            for era in ("legacy", "modern"):
                tools = inspect(target, "--method", "tools/list", "--strict", era=era)
                names = {tool["name"] for tool in (tools.get("result") or tools)["tools"]}
                assert names == EXAMPLES.keys(), names ^ EXAMPLES.keys()
                print(f"inspector {target[0]} {era}: {len(names)} tools, every schema portable")
        for name, given in EXAMPLES.items():
            call = ("--method", "tools/call", "--tool-name", name, "--tool-args-json", json.dumps(given))
            result = inspect([options.command], *call)
            result = result.get("result") or result
            assert not result.get("isError"), f"{name}: {result}"
            assert result["structuredContent"]
            print(f"inspector tools/call {name}: {len(json.dumps(result['structuredContent']))} bytes")
        call = (
            "--method",
            "tools/call",
            "--tool-name",
            "roofline",
            "--tool-args-json",
            json.dumps(EXAMPLES["roofline"]),
        )
        load = inspect(
            [url], *call, "--load", "--load-requests", str(options.load_requests), "--load-concurrency", "16"
        )
        print(f"inspector load: {json.dumps(load)[:600]}")


main()
