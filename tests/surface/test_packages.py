"""What people install from: links that decode to the command, blocks that are current, a bundle, a registry entry, an image."""

import base64
import io
import json
import re
import shlex
import sys
import tomllib
import urllib.parse
import zipfile
from importlib import import_module
from pathlib import Path

import jsonschema
import pytest

from mlwalls.server.cli import _parser
from mlwalls.solvers.registry import solvers

ROOT = Path(__file__).parent.parent.parent
if not (ROOT / "packages").is_dir():
    pytest.skip("only in a checkout", allow_module_level=True)
sys.path.insert(0, str(ROOT / "packages"))
bundle, connect = import_module("bundle"), import_module("connect")
sys.path.remove(str(ROOT / "packages"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
TEXTS = {name: (ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "docs/connect.md")}


def test_the_generated_parts_are_current():
    assert connect.written() == TEXTS, "run python packages/connect.py"


def decoded(link):
    """The name and configuration that an install link carries, read as the clients read it."""
    query = urllib.parse.parse_qs(urllib.parse.urlsplit(link).query)
    config = query["config"][0]
    text = config if config.startswith("{") else base64.b64decode(config, validate=True).decode()
    return query["name"][0], json.loads(text)


@pytest.mark.parametrize("name", sorted(TEXTS))
def test_every_install_link_decodes_to_the_command(name):
    links = re.findall(
        r"\]\((https://(?:cursor\.com/en/install-mcp|insiders\.vscode\.dev/redirect/mcp)[^)]*)\)", TEXTS[name]
    )
    assert len(links) == 2
    for link in links:
        assert decoded(link) == ("mlwalls", connect.COMMAND)


@pytest.mark.parametrize("name", sorted(TEXTS))
def test_every_block_names_the_command(name):
    blocks = [json.loads(block) for block in re.findall(r"```json\n(.*?)\n```", TEXTS[name], re.DOTALL)]
    found = [block.get("mcpServers") or block.get("servers") for block in blocks]
    assert found
    for servers in found:
        server = {k: v for k, v in servers["mlwalls"].items() if k != "type"}
        assert server == connect.COMMAND
    added = re.search(r"claude mcp add mlwalls -- ([^`\n]*)", TEXTS[name])[1]
    assert shlex.split(added) == [connect.COMMAND["command"], *connect.COMMAND["args"]]


def test_the_command_is_what_the_project_installs():
    assert connect.COMMAND["args"] == [PROJECT["name"]] and PROJECT["name"] in PROJECT["scripts"]


@pytest.mark.parametrize("name", [*sorted(TEXTS), "SECURITY.md", "Dockerfile"])
def test_every_option_that_the_pages_name_exists(name):
    text = (ROOT / name).read_text(encoding="utf-8")
    for line in re.findall(r"mlwalls (serve --http[^`\n#]*)", text):
        words = shlex.split(line.replace("…", "x").replace("NAME", "x").split(" on ")[0])
        options = [word for word in words if word.startswith("--")]
        assert set(options) <= {"--http", "--host", "--port", "--allow-host", "--allow-origin", "--token-env", "--zoo"}
        if words[-1] not in ("--allow-host", "--token-env"):
            _parser().parse_args(words)


SCHEMAS = Path(__file__).parent / "schemas"
REGISTRY = json.loads((SCHEMAS / "registry-server-2025-12-11.schema.json").read_text(encoding="utf-8"))
BUNDLES = json.loads((SCHEMAS / "mcpb-manifest-v0.4.schema.json").read_text(encoding="utf-8"))


def named(schema):
    """Return every field that a definition of the registry's schema names: it lets unknown ones pass, misspelt ones too."""
    names = set(schema.get("properties", ()))
    for part in (*schema.get("allOf", ()), *schema.get("anyOf", ())):
        names |= named(REGISTRY["definitions"][part["$ref"].rpartition("/")[2]] if "$ref" in part else part)
    return names


def registry_faults(entry):
    """Return what the registry's schema finds in an entry, and the fields that it does not know."""
    defined = {name: named(schema) for name, schema in REGISTRY["definitions"].items()}
    faults = [error.message for error in jsonschema.Draft7Validator(REGISTRY).iter_errors(entry)]
    faults += sorted(set(entry) - defined["ServerDetail"])
    for package in entry.get("packages", ()):
        faults += sorted(set(package) - defined["Package"])
        faults += sorted(set(package.get("transport", ())) - defined["LocalTransport"])
        for variable in package.get("environmentVariables", ()):
            faults += sorted(set(variable) - defined["KeyValueInput"])
    return faults


def test_the_registry_entry_satisfies_the_registrys_schema_and_says_the_same_as_the_project():
    entry = json.loads((ROOT / "server.json").read_text(encoding="utf-8"))
    assert registry_faults(entry) == []
    assert entry["$schema"] == REGISTRY["$id"]
    assert entry["version"] == PROJECT["version"] == entry["packages"][0]["version"]
    assert entry["packages"][0]["identifier"] == PROJECT["name"]
    assert f"mcp-name: {entry['name']}" in TEXTS["README.md"]  # how the registry knows who owns a package of PyPI


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("name",), "mlwalls"),  # no namespace
        (("description",), "x" * 101),
        (("version",), None),
        (("packages", 0, "version"), "latest"),
        (("packages", 0, "transport"), {"type": "pipe"}),
        (("packages", 0, "registry_type"), "pypi"),  # the spelling of before 2025-09-16
        (("packages", 0, "environmentVariables", 0, "format"), "path"),
        (("packages", 0, "environmentVariables", 0, "required"), True),
    ],
)
def test_the_registrys_schema_refuses_what_is_wrong(path, value):
    entry = json.loads((ROOT / "server.json").read_text(encoding="utf-8"))
    place = entry
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    assert registry_faults(entry)


def test_the_bundle_holds_the_project_and_a_true_manifest():
    one, two = io.BytesIO(), io.BytesIO()
    bundle.pack(one)
    bundle.pack(two)
    assert one.getvalue() == two.getvalue()
    packed = zipfile.ZipFile(one)
    manifest = json.loads(packed.read("manifest.json"))
    assert [error.message for error in jsonschema.Draft7Validator(BUNDLES).iter_errors(manifest)] == []
    assert manifest["manifest_version"] == "0.4" and manifest["server"]["type"] == "uv"
    assert {tool["name"] for tool in manifest["tools"]} == {*solvers(), "find_in_zoo"}
    assert manifest["version"] == PROJECT["version"]
    names = set(packed.namelist())
    assert manifest["server"]["entry_point"] in names
    assert {"pyproject.toml", "LICENSE", "NOTICE", "README.md", "zoo/compiled/hardware.json"} <= names
    assert not [name for name in names if name.startswith(("tests/", ".")) or name.endswith(".pyc")]
    project = tomllib.loads(packed.read("pyproject.toml").decode())["project"]
    assert manifest["server"]["mcp_config"]["args"][-1] in project["scripts"]
    assert sum(item.file_size for item in packed.infolist()) < 12_000_000


def test_the_image_copies_what_exists_and_runs_as_nobody_special():
    lines = (ROOT / "Dockerfile").read_text(encoding="utf-8").splitlines()
    for line in lines:
        if line.startswith("COPY ") and "--from" not in line:
            for name in line.split()[1:-1]:
                assert (ROOT / name).exists(), name
                assert f"!{name}" in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert any(line.startswith("USER ") for line in lines)
    assert set(bundle.ROOMS) <= {line.split()[1] for line in lines if line.startswith("COPY ")}
