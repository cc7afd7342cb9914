"""The TypeScript SDK's client against mlwalls: every tool, resource and prompt, over stdio and HTTP, in both protocol eras.

python tests/clients/typescript.py [--command path/to/mlwalls]
"""

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from setting import arguments, examples, free_port, http_server, installed, node

PACKAGE = "@modelcontextprotocol/client@2.4.0"


def main():
    options = arguments(__doc__)
    port = free_port()
    with tempfile.TemporaryDirectory() as folder, http_server([options.command], port) as url:
        installed(Path(folder), PACKAGE)
        shutil.copy(Path(__file__).parent / "typescript.mjs", folder)
        command = [node()[0], "typescript.mjs", options.command, url, json.dumps(examples())]
        return subprocess.run(command, cwd=folder, timeout=300, check=False).returncode


sys.exit(main())
