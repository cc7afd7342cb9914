"""How clients start mlwalls: install blocks, links and badges for README and docs/connect.md, all from one command line.

python packages/connect.py            # rewrite the marked parts
"""

import base64
import json
import re
from pathlib import Path
from urllib.parse import quote

ROOT = Path(__file__).parent.parent
NAME = "mlwalls"
COMMAND = {"command": "uvx", "args": ["mlwalls"]}


def cursor_link(name=NAME, command=COMMAND):
    """Return the link that asks Cursor to add the server; its configuration is JSON in base64."""
    config = base64.b64encode(json.dumps(command).encode()).decode()
    return f"https://cursor.com/en/install-mcp?name={name}&config={quote(config, safe='')}"


def vscode_link(name=NAME, command=COMMAND):
    """Return the link that asks VS Code to add the server; its configuration is JSON in percent-encoding."""
    config = quote(json.dumps(command, separators=(",", ":")), safe="")
    return f"https://insiders.vscode.dev/redirect/mcp/install?name={name}&config={config}"


def badges():
    """Return one line of Markdown with a badge for each client that has install links."""
    return (
        f"[![Add to Cursor](https://cursor.com/deeplink/mcp-install-dark.svg)]({cursor_link()})\n"
        f"[![Install in VS Code](https://img.shields.io/badge/VS_Code-Install_mlwalls-0098FF?logo=visualstudiocode)]({vscode_link()})"
    )


def servers(key="mcpServers", **extra):
    """Return the JSON block of clients that read a file of servers."""
    return "```json\n" + json.dumps({key: {NAME: {**extra, **COMMAND}}}) + "\n```"


def shell(name=NAME, command=COMMAND):
    """Return the command that adds the server to Claude Code."""
    return f"claude mcp add {name} -- {command['command']} {' '.join(command['args'])}"


def readme():
    """Return README's part: the two commonest ways and the badges."""
    return (
        f"{badges()}\n\n"
        f"Claude Code: `{shell()}`. Claude Desktop and others that read `mcpServers`:\n\n"
        f"{servers()}\n\n"
        "`uvx` fetches a release and runs it; from a checkout, the command is `/path/to/.venv/bin/mlwalls` or\n"
        "`uvx --from /path/to/checkout mlwalls`. More clients, HTTP, containers, trouble: [connect your client](docs/connect.md)."
    )


def page():
    """Return the part of docs/connect.md that depends on the command line."""
    return f"""\
### Claude Desktop

Open the bundle `mlwalls.mcpb` (Settings, Extensions; `python packages/bundle.py mlwalls.mcpb` makes it), or write to
`claude_desktop_config.json` (Settings, Developer, Edit config):

{servers()}

### Claude Code

```
{shell()}
```

With `--scope project` it is written to `.mcp.json`, for everybody who works on the repository.

### Cursor

[Add mlwalls to Cursor]({cursor_link()}), or write the block of Claude Desktop to `~/.cursor/mcp.json` or a project's
`.cursor/mcp.json`.

### VS Code

[Install mlwalls in VS Code]({vscode_link()}), or write to `.vscode/mcp.json`:

{servers("servers", type="stdio")}"""


def marked(text, part, new):
    """Replace what stands between ``<!-- part -->`` and ``<!-- /part -->``."""
    pattern = re.compile(rf"(<!-- {part} -->\n).*?(<!-- /{part} -->)", re.DOTALL)
    if not pattern.search(text):
        raise SystemExit(f"no <!-- {part} --> marks")
    return pattern.sub(lambda match: f"{match[1]}{new}\n{match[2]}", text)


def written():
    """Return the files that hold generated parts, as they should be."""
    parts = {"README.md": ("connect", readme()), "docs/connect.md": ("clients", page())}
    return {name: marked((ROOT / name).read_text(encoding="utf-8"), part, text) for name, (part, text) in parts.items()}


if __name__ == "__main__":
    for name, text in written().items():
        (ROOT / name).write_text(text, encoding="utf-8")
