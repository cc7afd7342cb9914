"""Every known call on every Python that the project supports and this machine has: equal parsed values, whatever the interpreter.

python tests/clients/interpreters.py            # looks for python3.11, 3.12, 3.13 on PATH and among pyenv's
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
WANTED = ("3.11", "3.12", "3.13")


def interpreters():
    """Return one interpreter for each version that is there."""
    found = {}
    for version in WANTED:
        pyenv = sorted(
            (Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions").glob(f"{version}.*/bin/python")
        )
        for candidate in (*map(str, reversed(pyenv)), shutil.which(f"python{version}")):
            if candidate and version in subprocess.run([candidate, "-V"], capture_output=True, text=True).stdout:
                found[version] = candidate
                break
    return found


def main():
    found = interpreters()
    missing = [version for version in WANTED if version not in found]
    print(f"interpreters: {', '.join(found)}; not on this machine: {', '.join(missing) or 'none'}")
    answers, texts = {}, {}
    for version, interpreter in found.items():
        with tempfile.TemporaryDirectory() as folder:
            subprocess.run([interpreter, "-m", "venv", f"{folder}/venv"], check=True)
            subprocess.run([f"{folder}/venv/bin/pip", "install", "--quiet", str(ROOT)], check=True)
            program = ROOT / "tests" / "surface" / "answers.py"
            done = subprocess.run(
                [f"{folder}/venv/bin/python", program], capture_output=True, text=True, check=True, cwd=folder
            )
            texts[version] = done.stdout
            answers[version] = [json.loads(line) for line in done.stdout.splitlines()]
    first, *rest = answers
    wrong = 0
    for version in rest:
        pairs = list(zip(answers[first], answers[version], strict=True))
        unequal = [f"{a[0]} {a[1]}" for a, b in pairs if a != b]
        same = "same bytes" if texts[first] == texts[version] else "other bytes"
        print(f"{first} and {version}: {len(pairs)} answers, {len(unequal)} unequal, {same}")
        print("\n".join(unequal[:10]))
        wrong += len(unequal)
    return 1 if wrong or len(found) < 2 else 0


sys.exit(main())
