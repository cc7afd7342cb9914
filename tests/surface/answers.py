"""Print every tool's answers to its example and to the scenarios, one JSON line each; other processes and interpreters run it."""

import json
import sys
from pathlib import Path

import yaml

from mlwalls.server.tools import call, solver_tool, zoo_tool
from mlwalls.solvers.registry import solvers
from mlwalls.zoo import Zoo


def every():
    """Yield (tool, arguments, result) for all calls that the project knows to work."""
    zoo = Zoo.builtin()
    tools = {name: solver_tool(solver, zoo) for name, solver in solvers().items()} | {"find_in_zoo": zoo_tool(zoo)}
    for name, tool in tools.items():
        for detail in ("brief", "default", "full") if "detail" in tool.arguments["properties"] else (None,):
            arguments = {**tool.example, **({"detail": detail} if detail else {})}
            yield name, arguments, call(tool, arguments)
    for path in sorted((Path(__file__).parent.parent / "scenarios").glob("*.yaml")):
        for scenario in yaml.safe_load(path.read_text(encoding="utf-8")):
            yield scenario["tool"], scenario["arguments"], call(tools[scenario["tool"]], scenario["arguments"])


def main():
    for name, arguments, result in every():
        line = [name, arguments, result.structured_content, result.content[0].text]
        sys.stdout.write(json.dumps(line, ensure_ascii=True) + "\n")


if __name__ == "__main__":
    main()
