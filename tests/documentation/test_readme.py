"""The first answer that README shows is the one that its first command gives."""

import re
import shlex
from pathlib import Path

import pytest

from mlwalls.server.cli import main

README = Path(__file__).parents[2] / "README.md"


@pytest.mark.skipif(not README.exists(), reason="the tests stand without the project's folder")
def test_the_answer_shown_is_the_answer_given(capsys):
    command, shown = re.findall(r"^```\n(.+?)^```$", README.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)[:2]
    words = shlex.split(command)
    assert main(words[words.index(".venv/bin/mlwalls") + 1 :]) == 0
    # However wide the terminal is.
    assert " ".join(capsys.readouterr().out.split()).startswith(" ".join(shown.split()))
