"""The examples work from their README alone: every command of it is run, in a copy, in an environment of its own."""

import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
EXAMPLES = ROOT / "examples"
pytestmark = pytest.mark.skipif(not EXAMPLES.exists(), reason="runs from the repository only")


def commands(folder):
    text = (folder / "README.md").read_text(encoding="utf-8")
    return [line for block in re.findall(r"^```\n(.*?)^```$", text, re.M | re.S) for line in block.splitlines() if line]


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """An environment that has mlwalls and what its tests need, in which a package can be installed without the network."""
    home = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", home], check=True)
    python = home / "bin" / "python"
    inside = subprocess.run(
        [python, "-c", "import sysconfig; print(sysconfig.get_paths()['purelib'])"],
        capture_output=True,
        text=True,
        check=True,
    )
    beside = sysconfig.get_paths()["purelib"]
    (Path(inside.stdout.strip()) / "beside.pth").write_text(f"import site; site.addsitedir({beside!r})\n")
    command = home / "bin" / "mlwalls"
    command.write_text(f'#!/bin/sh\nexec {python} -m mlwalls.server.cli "$@"\n')
    command.chmod(0o755)
    return home


def run(line, folder, environment):
    return subprocess.run(
        line,
        shell=True,
        cwd=folder,
        env={
            "PATH": f"{environment / 'bin'}:/usr/bin:/bin",
            "PIP_NO_INDEX": "1",
            "PIP_NO_BUILD_ISOLATION": "0",  # pip reads 0 as: no isolation
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "HOME": str(environment),
        },
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("chip", ["1 entr", "Example X1", "Example X1", "sequences"]),
        ("speculative_decoding", ["", "3.", "", "recomputed", "3.", "passed"]),
    ],
)
def test_every_command_of_the_readme_works(name, says, environment, tmp_path):
    folder = tmp_path / name
    shutil.copytree(EXAMPLES / name, folder)
    listed = commands(folder)
    assert len(listed) == len(says)
    for line, expected in zip(listed, says, strict=True):
        done = run(line, folder, environment)
        assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
        assert expected in done.stdout, f"{line}\n{done.stdout}"
        assert "Traceback" not in done.stderr


def test_the_chip_is_slower_by_the_ratio_of_the_bandwidths(ask):
    from mlwalls.solvers.answers import answer_data
    from mlwalls.solvers.registry import solvers
    from mlwalls.zoo import Zoo

    zoo = Zoo.layered([EXAMPLES / "chip" / "zoo"])
    solver = solvers()["roofline"]
    request = solver.request(model="llama-3.1-8b", hardware="x1", baseline_hardware="h100-sxm", phase="decode")
    result = answer_data(solver.run(request, zoo), zoo)["result"]
    assert result["floor_speedup"] == pytest.approx(1.6 / 3.35, rel=1e-5)


def test_a_mistake_in_the_chip_is_named_with_its_line(environment, tmp_path):
    folder = tmp_path / "zoo"
    shutil.copytree(EXAMPLES / "chip" / "zoo", folder)
    text = (folder / "hardware.yaml").read_text()
    (folder / "hardware.yaml").write_text(text.replace("1.6e+12", "1600"))
    done = run(f"mlwalls zoo validate {folder}", tmp_path, environment)
    line = text[: text.index("1.6e+12")].count("\n") + 1
    assert done.returncode == 1 and f"hardware.yaml:{line}" in done.stdout
