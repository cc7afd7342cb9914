"""The protocol's own conformance suite against `mlwalls serve --http`, in both versions of the specification.

    python tests/clients/conformance.py [--command path/to/mlwalls]

Checks that fail must be in conformance.yaml, and for the reason given there; what is in there must fail.
"""

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml

sys.path.insert(0, str(Path(__file__).parent))
from setting import arguments, free_port, http_server, installed, node

PACKAGE = "@modelcontextprotocol/conformance"
BASELINE = yaml.safe_load((Path(__file__).parent / "conformance.yaml").read_text(encoding="utf-8"))


def checks(folder):
    """Return status and message of every check, by scenario/check."""
    found = {}
    for path in sorted(folder.glob("*/checks.json")):
        scenario = re.sub(r"^server-|-\d{4}-\d\d-\d\dT.*$", "", path.parent.name)
        for check in json.loads(path.read_text(encoding="utf-8")):
            name = f"{scenario}/{check['id']}"
            order = ("SUCCESS", "INFO", "SKIPPED", "WARNING", "FAILURE")
            status = max(check["status"], found.get(name, ("SUCCESS",))[0], key=order.index)
            found[name] = (status, check.get("errorMessage") or found.get(name, ("", ""))[1])
    return found


def judged(version, found):
    """Return what is wrong: failures that nobody expects or for another reason, and expected ones that pass."""
    expected = {}
    for reason in BASELINE["reasons"]:
        for name in reason["checks"].get(version, []):
            expected[name] = re.compile(reason["message"])
    problems = []
    for name, (status, message) in found.items():
        failed = status in ("FAILURE", "WARNING")
        if failed and name not in expected:
            problems.append(f"{name}: {status}: {message}")
        elif failed and not expected[name].search(message):
            problems.append(f"{name}: fails, but not for the reason in the baseline: {message}")
        elif not failed and name in expected:
            problems.append(f"{name}: passes; take it out of conformance.yaml")
    problems += [f"{name}: in the baseline, but was not run" for name in expected if name not in found]
    return problems


def main():
    options = arguments(__doc__)
    port = free_port()
    wrong = 0
    with tempfile.TemporaryDirectory() as folder, http_server([options.command], port) as url:
        modules = installed(Path(folder), f"{PACKAGE}@{BASELINE['suite']}")
        for version in ("2025-11-25", "2026-07-28"):
            out = Path(folder) / version
            suite = [node()[0], str(modules / PACKAGE / "dist" / "index.js"), "server", "--url", url, "--suite", "all"]
            suite += ["--spec-version", version, "-o", str(out)]
            done = subprocess.run(suite, capture_output=True, text=True, timeout=300)
            found = checks(out)
            if not found:
                sys.exit(f"the suite ran no check: {done.stdout[-500:]} {done.stderr[-500:]}")
            problems = judged(version, found)
            wrong += len(problems)
            passed, failed, warned = (
                sum(status == wanted for status, _ in found.values()) for wanted in ("SUCCESS", "FAILURE", "WARNING")
            )
            print(f"conformance {version}: {passed} pass, {failed} fail, {warned} warn, {len(problems)} unexpected")
            for problem in problems:
                print(f"  {problem}")
    return 1 if wrong else 0


sys.exit(main())
