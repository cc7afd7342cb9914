"""Coverage-guided fuzzing of what the suite attacks briefly: every tool, `verify`, the zoo's loader, `ask`.

    pip install atheris
    python tests/surface/fuzz.py roofline -max_total_time=600
    python tests/surface/fuzz.py --all 60            # every target for so many seconds, one process each

A failure prints the arguments and leaves the input in the working folder, to be read back as ``fuzz.py TARGET crash-…``.
"""

import contextlib
import json
import logging
import random
import re
import subprocess
import sys
import tempfile
from importlib import import_module
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))
# Imported before the fuzzing starts, since only what is imported then is instrumented.
MODULES = (
    "mlwalls.server.ask",
    "mlwalls.server.tools",
    "mlwalls.server.verification",
    "mlwalls.zoo.authoring",
    "mlwalls.zoo.searching",
)


def targets():
    """Every target by name: a hypothesis test, given arguments drawn from bytes."""
    from hypothesis import HealthCheck, given, settings
    from hypothesis import strategies as st

    from mlwalls.server.ask import route
    from mlwalls.server.verification import verify, verify_text
    from mlwalls.zoo import Zoo, ZooError
    from surface import hostile

    quiet = settings(deadline=None, suppress_health_check=list(HealthCheck), database=None)

    def tool(name):
        @quiet
        @given(hostile.arguments(name))
        def attack(arguments):
            try:
                hostile.attack(name, arguments)
            except BaseException:
                print(f"{name} {json.dumps(arguments, default=str)}", file=sys.stderr)
                raise

        return attack

    @quiet
    @given(hostile.changed_answers())
    def changed(answer):
        with hostile.within(10):
            hostile.check_report(verify(answer))

    @quiet
    @given(st.text() | hostile.JUNK.map(lambda junk: json.dumps(junk, default=str)))
    def text(given):
        with hostile.within(10):
            assert not verify_text(given).ok

    @quiet
    @given(hostile.broken_entries() | st.text(max_size=400))
    def loader(entry):
        with hostile.within(10), contextlib.suppress(ZooError):
            Zoo.builtin().with_inline(entry)

    @quiet
    @given(
        st.lists(
            st.sampled_from([*hostile.WORDS, "fast", "batch", "8", "tokens", "cost", "a100"]) | st.text(max_size=9)
        )
    )
    def question(words):
        with hostile.within(10):
            route(" ".join(words), Zoo.builtin())

    return {name: tool(name) for name in hostile.tools()} | {
        "verify_answer": changed,
        "verify_text": text,
        "loader": loader,
        "question": question,
    }


def seeded(folder):
    """Fill a corpus with long random inputs: short ones end before the arguments are drawn."""
    chance = random.Random(0)
    for i in range(200):
        (Path(folder) / f"seed{i}").write_bytes(chance.randbytes(chance.choice([256, 1024, 4096])))
    return folder


def fuzz(name):
    """Fuzz one target until it fails or its time is over."""
    import atheris

    logging.disable(logging.CRITICAL)
    with atheris.instrument_imports(include=["mlwalls"]):
        for module in MODULES:
            import_module(module)
    chosen = targets()[name]
    ran = 0

    def one(data):
        nonlocal ran
        if chosen.hypothesis.fuzz_one_input(data) is not None:
            ran += 1
            if ran % 100 == 0:
                print(f"executed {ran}", file=sys.stderr)

    with tempfile.TemporaryDirectory() as folder:
        atheris.Setup([sys.argv[0], seeded(folder), "-max_len=8192", "-len_control=0", *sys.argv[2:]], one)
        atheris.Fuzz()


def main():
    """Fuzz one target, or all of them for some seconds each."""
    if sys.argv[1] != "--all":
        fuzz(sys.argv[1])
        return 0
    total, failed = 0, []
    for name in targets():
        command = [sys.executable, __file__, name, f"-max_total_time={sys.argv[2]}"]
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
        ran = int((re.findall(r"^executed (\d+)", done.stderr, re.MULTILINE) or ["0"])[-1])
        covered = (re.findall(r"cov: (\d+)", done.stderr) or ["0"])[-1]
        total += ran
        print(f"{name:26} {ran:>9} executions, {covered} edges{'  FAILED' if done.returncode else ''}", flush=True)
        if done.returncode:
            failed.append(name)
            told = [line for line in done.stderr.splitlines() if not line.startswith(("INFO", "executed", "#"))]
            print("\n".join(told)[-3000:], flush=True)
    print(f"{total} executions; failed: {', '.join(failed) or 'none'}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
