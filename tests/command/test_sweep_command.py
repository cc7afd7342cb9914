"""`mlwalls sweep`: CSV and JSON, parts kept and gone on from, the same numbers on a Dask cluster that loses a worker."""

import contextlib
import csv
import json
import os
import signal
import subprocess
import sys
import time

import pytest

from mlwalls.server.cli import main
from mlwalls.server.sweep_command import part_figures

CALL = ["sweep", "roofline", "model=llama-3.1-8b", "hardware=h100", "--metric", "expected_ms", "--metric", "throughput"]
OVER = ["--over", "hardware=h100,a100,no-such-chip", "--over", "batch_sizes=1..8"]


def rows_of(path):
    with path.open(encoding="utf-8") as file:
        return list(csv.reader(file))


def test_csv_and_json_say_the_same(tmp_path, ask):
    for name in ("a.csv", "a.json"):
        assert main([*CALL, *OVER, "--out", str(tmp_path / name)]) == 0
    head, *rows = rows_of(tmp_path / "a.csv")
    data = json.loads((tmp_path / "a.json").read_text())
    assert head == data["columns"] == ["hardware", "batch_sizes", "expected_ms", "throughput"]
    assert len(rows) == len(data["rows"]) == 24
    for text, row in zip(rows, data["rows"], strict=True):
        assert [
            None if t == "" else t if isinstance(r, str) else float(t) for t, r in zip(text, row, strict=True)
        ] == row
    assert rows[-1] == ["no-such-chip", "8", "", ""]
    own = ask("roofline", model="llama-3.1-8b", hardware="a100", batch_sizes=[3])["result"]
    assert float(rows[10][2]) == pytest.approx(own["expected_ms"], rel=1e-5)


def test_parts_that_are_there_are_not_computed_again(tmp_path, monkeypatch):
    call = [*CALL, *OVER, "--part", "5", "--keep", str(tmp_path / "kept")]
    assert main([*call, "--out", str(tmp_path / "whole.csv")]) == 0
    parts = sorted((tmp_path / "kept").glob("part-*.npy"))
    assert len(parts) == 6  # three chips, five and three batches each
    parts[2].unlink()
    computed = []

    def counted(*arguments):
        computed.append(arguments)
        return part_figures(*arguments)

    monkeypatch.setattr("mlwalls.server.sweep_command.part_figures", counted)
    assert main([*call, "--out", str(tmp_path / "again.csv")]) == 0
    assert len(computed) == 1
    assert (tmp_path / "again.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()


def test_a_folder_belongs_to_one_sweep(tmp_path, capsys):
    kept = ["--keep", str(tmp_path / "kept"), "--out", str(tmp_path / "a.csv")]
    assert main([*CALL, *OVER, *kept]) == 0
    assert main([*CALL, "--over", "batch_sizes=1,2", *kept]) == 2
    assert "another sweep" in capsys.readouterr().err


def test_a_wrong_call_says_how_to_repair_it(capsys):
    assert main([*CALL, "--over", "batch_size=1,2"]) == 2
    assert "batch_sizes=1,2" in capsys.readouterr().err
    assert main([*CALL, *OVER, "--engine", "dask"]) == 2
    assert "--scheduler" in capsys.readouterr().err
    assert main([*CALL, *OVER, "--engine", "dask", "--scheduler", "tcp://127.0.0.1:9"]) == 2
    assert "no Dask scheduler" in capsys.readouterr().err


@pytest.fixture
def cluster(tmp_path):
    """A Dask scheduler and two worker processes on this machine; yields its address and the workers."""
    pytest.importorskip("distributed")
    note = tmp_path / "scheduler.json"
    environment = {**os.environ, "DASK_LOGGING__DISTRIBUTED": "error", "DASK_DISTRIBUTED__WORKER__DAEMON": "False"}
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "env": environment}
    dask = [sys.executable, "-m", "distributed.cli.dask_scheduler"]
    scheduler = subprocess.Popen(
        [*dask, "--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--scheduler-file", str(note)], **quiet
    )
    worker = [sys.executable, "-m", "distributed.cli.dask_worker", "--scheduler-file", str(note), "--no-dashboard"]
    worker += ["--nthreads", "1", "--no-nanny", "--local-directory", str(tmp_path)]
    workers = [subprocess.Popen(worker, **quiet) for _ in range(2)]
    try:
        for _ in range(300):
            with contextlib.suppress(OSError, ValueError):
                address = json.loads(note.read_text())["address"]
                break
            time.sleep(0.05)
        yield address, workers
    finally:
        for process in (*workers, scheduler):
            process.kill()
            process.wait(timeout=10)


@pytest.mark.filterwarnings("ignore")
def test_a_cluster_that_loses_a_worker_gives_the_same_table(tmp_path, cluster, monkeypatch):
    address, workers = cluster
    call = [*CALL, "--over", "batch_sizes=1..64", "--over", "seq_len=1..4000:2000", "--part", "2000"]
    assert main([*call, "--out", str(tmp_path / "local.csv")]) == 0
    killed = []
    from mlwalls.server import sweep_command

    save = sweep_command._Kept.save

    def saved(self, part, numbers):
        save(self, part, numbers)
        if not killed:  # after the first part is in, with the others under way
            workers[0].send_signal(signal.SIGKILL)
            killed.append(part)

    monkeypatch.setattr(sweep_command._Kept, "save", saved)
    assert main([*call, "--engine", "dask", "--scheduler", address, "--out", str(tmp_path / "dask.csv")]) == 0
    assert killed and workers[0].wait(timeout=10) == -signal.SIGKILL
    assert (tmp_path / "dask.csv").read_bytes() == (tmp_path / "local.csv").read_bytes()
    assert len(rows_of(tmp_path / "dask.csv")) == 128_001
