"""Pack mlwalls.mcpb: the source with a manifest, run by the host application's own uv; no network is needed to pack it.

python packages/bundle.py mlwalls.mcpb           # pack, with nothing but Python
python packages/bundle.py mlwalls.mcpb --check   # also validate and unpack it with npm's @anthropic-ai/mcpb
"""

import json
import subprocess
import sys
import tempfile
import tomllib
import zipfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
ROOMS = ("prompts", "server", "solvers", "zoo")
SUFFIXES = {".py", ".typed", ".yaml", ".json", ".csv", ".md"}
CHECKER = "@anthropic-ai/mcpb"
VERSION = "2.1.2"


def manifest():
    """Return the bundle's manifest, from pyproject.toml and the registry of tools."""
    from mlwalls import prompts
    from mlwalls.server.tools import zoo_tool
    from mlwalls.solvers.registry import solvers
    from mlwalls.zoo import Zoo

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    tools = [{"name": name, "description": solver.question} for name, solver in solvers().items()]
    lookup = zoo_tool(Zoo.builtin()).definition
    assert prompts.all_prompts()
    return {
        "manifest_version": "0.4",
        "name": project["name"],
        "display_name": "mlwalls: ML systems arithmetic",
        "version": project["version"],
        "description": project["description"],
        "author": {"name": "The mlwalls contributors"},
        "license": project["license"],
        "keywords": project["keywords"],
        "server": {
            "type": "uv",
            "entry_point": "server/cli.py",
            "mcp_config": {"command": "uv", "args": ["run", "--no-dev", "--directory", "${__dirname}", "mlwalls"]},
        },
        "tools": [*tools, {"name": lookup.name, "description": str(lookup.description).split("? ")[0] + "?"}],
        "prompts_generated": True,
        "compatibility": {
            "platforms": ["darwin", "linux", "win32"],
            "runtimes": {"python": project["requires-python"]},
        },
    }


def contents():
    """Return the bundle's files by their name in it."""
    found = {name: ROOT / name for name in ("pyproject.toml", "README.md", "LICENSE", "NOTICE")}
    for room in ROOMS:
        for path in sorted((ROOT / room).rglob("*")):
            if path.is_file() and path.suffix in SUFFIXES and "__pycache__" not in path.parts:
                found[path.relative_to(ROOT).as_posix()] = path
    return found


def pack(target):
    """Write the bundle; the same source gives the same bytes."""
    texts = {name: path.read_bytes() for name, path in contents().items()}
    texts["manifest.json"] = (json.dumps(manifest(), indent=2, ensure_ascii=False) + "\n").encode()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as bundle:
        for name in sorted(texts):
            bundle.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), texts[name], zipfile.ZIP_DEFLATED)


def check(target):
    """Validate the manifest and unpack the bundle with the format's own tool; raises where it refuses."""
    sys.path.insert(0, str(ROOT / "tests" / "clients"))
    from setting import installed, node

    with tempfile.TemporaryDirectory() as folder:
        modules = installed(Path(folder), f"{CHECKER}@{VERSION}")
        command = [node()[0], str(modules / CHECKER / "dist" / "cli" / "cli.js")]
        out = Path(folder) / "out"
        for step in (
            ["unpack", str(target), str(out)],
            ["validate", str(out / "manifest.json")],
            ["info", str(target)],
        ):
            subprocess.run([*command, *step], check=True)
        subprocess.run(
            [*command, "pack", str(out), str(Path(folder) / "again.mcpb")], check=True, stdout=subprocess.DEVNULL
        )


if __name__ == "__main__":
    bundle = Path(sys.argv[1]).resolve()
    pack(bundle)
    print(f"{bundle.name}: {len(contents()) + 1} files, {bundle.stat().st_size >> 10} KiB")
    if "--check" in sys.argv:
        check(bundle)
