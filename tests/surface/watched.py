"""Hostile calls under Python's own audit events; prints those that touch a file outside Python, a socket or a process."""

import json
import sys
import sysconfig
import tempfile
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

import mlwalls.zoo
from mlwalls.server import resources
from mlwalls.zoo import Zoo
from surface import hostile

HOME = [
    str(Path(mlwalls.zoo.__file__).resolve().parent.parent),
    sys.prefix,
    sys.base_prefix,
    *sysconfig.get_paths().values(),
]
# Events of the interpreter's own working.
ASIDE = (
    "import",
    "object.",
    "sys.",
    "compile",
    "exec",
    "code.",
    "cpython.",
    "builtins.id",
    "marshal.",
    "gc.",
    "signal.",
)
ASIDE += ("os.listdir", "os.scandir", "pathlib.Path.glob", "setattr", "array.", "function.", "time.sleep")
PATHS = [
    "/etc/passwd", "../../../etc/passwd", "file:///etc/passwd", "~/.ssh/id_rsa", "http://127.0.0.1:1/x", "//127.0.0.1/c$",
    "\\\\127.0.0.1\\c", "$(touch /tmp/x)", "`id`", "| id", "${jndi:ldap://127.0.0.1}", "zoo.yaml", "/dev/stdin", "@/etc/hosts",
]  # fmt: skip
YAML = [
    "!!python/object/apply:os.system ['id']",
    "!include /etc/passwd",
    "kind: hardware\nid: x\nname: !!python/name:os.system",
    "<!DOCTYPE x [<!ENTITY y SYSTEM 'file:///etc/passwd'>]>",
    "kind: models\nid: ../../x\nname: /etc/passwd",
]
seen: list[str] = []
watching = False


def hook(event, details):
    if not watching or event.startswith(ASIDE):
        return
    if event == "open":
        path, mode = str(details[0]), str(details[1] or "r")
        if path == "<unknown>" and mode == "rb":
            return  # from Python 3.13 on, the parser looks for the source of text that is no expression under that very name
        if not set(mode) & set("wax+") and any(str(Path(path).resolve()).startswith(root) for root in HOME):
            return
    seen.append(f"{event} {details!r}"[:200])


@contextmanager
def watched():
    global watching
    watching = True
    try:
        yield
    finally:
        watching = False


@settings(
    max_examples=400,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.generate],
)
@given(st.data())
def anything(data):
    name = data.draw(st.sampled_from(sorted(hostile.tools())))
    arguments = data.draw(hostile.arguments(name))
    with watched():
        hostile.call(hostile.tools()[name], arguments)


def paths_and_code(known):
    properties = known.arguments["properties"]
    texts = [n for n, s in properties.items() if s.get("type") == "string"]
    lists = [n for n, s in properties.items() if s.get("items", {}).get("type") == "string"]
    for path in PATHS:
        for name in texts:
            hostile.call(known, {**known.example, name: path})
        for name in lists:
            hostile.call(known, {**known.example, name: [path]})
    for text in YAML:
        hostile.call(known, {**known.example, "define": [text]})


def addresses():
    for path in PATHS:
        for uri in ("zoo://", "zoo://hardware/", "zoo://schema/", "zoo://sources/", "walls://", "tutorial://", ""):
            try:
                resources.read(Zoo.builtin(), f"{uri}{path}")
            except Exception as error:
                assert type(error).__name__ == "MCPError", error


hostile.answers()
sys.addaudithook(hook)
with watched():
    for tool in hostile.tools().values():
        paths_and_code(tool)
    addresses()
anything()
with tempfile.NamedTemporaryFile() as file, watched():  # the hook itself must see
    Path(file.name).read_bytes()
assert seen.pop().startswith("open")
print(json.dumps(seen))
