"""The command as people run it: answers, honest refusals, one-paragraph errors, exit codes."""

import json
import subprocess
import sys

import pytest


def mlwalls(*arguments, text=None):
    return subprocess.run(
        [sys.executable, "-m", "mlwalls.server.cli", *arguments],
        input=text,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_headline_question_end_to_end():
    done = mlwalls("ask", "Why doesn't 3.2x more FLOPS give 3.2x speedup?")
    assert done.returncode == 0, done.stderr
    for part in (
        "1.64x at the floor",
        "range",
        "Binding wall: Memory bandwidth",
        "memory_floor = ",
        "https://",
        "mlwalls call roofline",
    ):
        assert part in " ".join(done.stdout.split()), part


def test_the_printed_call_repeats_the_answer():
    done = mlwalls("ask", "is llama-3.1-8b decode on an H100 memory bound?")
    line = next(line.strip() for line in done.stdout.splitlines() if line.strip().startswith("mlwalls call"))
    import shlex

    again = mlwalls(*shlex.split(line)[1:])
    assert again.returncode == 0
    assert again.stdout.split("Repeat")[0] in done.stdout


def test_an_answer_verifies_through_a_pipe_and_a_changed_one_does_not():
    answer = mlwalls("call", "roofline", "model=llama-3.1-8b", "hardware=h100", "--json").stdout
    assert mlwalls("verify", "-", text=answer).returncode == 0
    changed = json.loads(answer)
    changed["result"]["expected_ms"] *= 1.01
    done = mlwalls("verify", "-", text=json.dumps(changed))
    assert done.returncode == 1 and "result.expected_ms" in done.stdout


def test_not_sure_has_its_own_exit_code():
    done = mlwalls("ask", "What is the capital of France?")
    assert done.returncode == 3 and "Not sure" in done.stdout and "Did you mean" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["call", "roofline", "hardware=H10O", "model=llama-3.1-8b"], "nvidia-h100-sxm-80gb"),
        (["call", "rooflin", "hardware=h100"], "roofline"),
        (["call", "roofline", "hardware=h100", "modl=llama-3.1-8b"], "nearest valid: model"),
        (["call", "roofline", "hardware=h100", "model=llama-3.1-8b", "seq_len=nan"], "seq_len"),
        (["call", "roofline", "hardware=h100", "model=llama-3.1-8b", "n_accelerators=-1"], "out of range"),
        (["call", "roofline", "hardware=h100", "model=llama-3.1-8b", "seq_len=1e308"], "out of range"),
        (["call", "roofline", "h100"], "argument=value"),
        (["verify", "no-such-file.json"], "cannot read"),
        (["zoo", "show", "h10o"], "nvidia-h100"),
        (["zoo", "list", "hardwar"], "hardware"),
        (["tutorial", "99"], "no tutorial"),
        (["tutorial", "1", "--model", "no-such"], "is not in the zoo"),
        (["path", "z"], "no path"),
        (["serve", "--http", "--host", "0.0.0.0"], "--allow-host"),
        (["serve", "--zoo", "no-such-folder"], "nothing was started"),
    ],
)
def test_nonsense_gets_one_paragraph_and_exit_code_2(arguments, says):
    done = mlwalls(*arguments)
    assert done.returncode == 2
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("arguments", "shows"),
    [
        (["zoo", "list"], "hardware"),
        (["zoo", "list", "hardware"], "nvidia-h100-sxm-80gb"),
        (["zoo", "list", "prices"], "usd=2800"),
        (["zoo", "show", "h100"], "[klock]"),
        (["zoo", "schema", "hardware"], "json-schema.org"),
        (["tutorial", "1"], "3.2x"),
        (["tutorial", "1", "--model", "mixtral"], "Mixtral-8x7B"),
        (["tutorial"], "Full-Stack Audit"),
        (["path", "d"], "90 minutes"),
        (["path"], "Path D+"),
        (["call", "find_in_zoo", "query=h200"], "nvidia-h200"),
        (["call", "roofline", "model=resnet-50", "hardware=a100", "batch_sizes=1,8"], "ResNet-50"),
        (["--version"], "mlwalls 0."),
        (["--help"], "mlwalls ask"),
    ],
)
def test_reading(arguments, shows):
    done = mlwalls(*arguments)
    assert done.returncode == 0, done.stderr
    assert shows in done.stdout


def test_a_tutorial_is_taught_and_ends_when_nobody_answers():
    done = mlwalls("tutorial", "1", "--interactive", text="3.2\n3.2\n3.17\n1.43\n")
    assert done.returncode == 0, done.stderr
    text = " ".join(done.stdout.split())
    assert "would be right if compute bound" in text
    assert "2 of 2 exercises right" in text
    left = mlwalls("tutorial", "1", "--interactive", text="")
    assert left.returncode == 0 and "Traceback" not in left.stderr
