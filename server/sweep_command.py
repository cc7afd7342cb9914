"""`mlwalls sweep`: the whole table of a sweep as CSV or JSON, in parts, on this machine or on a Dask cluster, resumable.

A part is a plain description (tool, scenario, axes) and gives an array of figures. Parts are cut in the product's order and do
not depend on where they run, so every engine gives the same numbers. With a folder to keep them in, parts that are there are
not computed again.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from mlwalls.solvers.axes import Axis, blocks, read_axes
from mlwalls.solvers.errors import CallError
from mlwalls.solvers.inner import Inner, figures, find_metric, resolve_inner
from mlwalls.solvers.sweep import SOLVER, first_answer
from mlwalls.solvers.sweeping import sweep_figures

if TYPE_CHECKING:
    from mlwalls.zoo import Zoo

RETRIES = 5
Spec = Mapping[str, Any]


class SweepError(RuntimeError):
    """A sweep that cannot go on: a folder of another sweep, no engine, a cluster that gave up."""


def run(parsed: argparse.Namespace, zoo: Zoo, zoo_paths: Sequence[Path]) -> int:
    """Run the command; returns its exit status.

    Raises:
        CallError: the request is wrong.
        SweepError: it cannot go on.
    """
    if parsed.engine == "dask" and not parsed.scheduler:
        raise SweepError("--engine dask needs --scheduler ADDRESS")
    spec: dict[str, Any] = {
        "tool": parsed.tool,
        "scenario": list(parsed.arguments),
        "over": list(parsed.over),
        "metrics": list(parsed.metric),
        "zoo": [str(path.resolve()) for path in zoo_paths],
        "part": max(1, parsed.part),
    }
    inner, axes = _read(spec, zoo)
    first = first_answer(inner, axes)
    metrics = [find_metric(first, figures(first), name) for name in spec["metrics"] or [""]]
    spec["metrics"] = [name or metric.symbol for name, metric in zip(spec["metrics"] or [""], metrics, strict=True)]
    spec["symbols"] = [metric.symbol for metric in metrics]
    parts = blocks(axes, spec["part"])
    with contextlib.ExitStack() as stack:
        folder = parsed.keep or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        kept = _Kept(folder, spec)
        missing = [i for i in range(len(parts)) if not kept.path(i).exists()]
        work = [(i, [_plain(axis) for axis in parts[i]]) for i in missing]
        done = _on_dask(parsed.scheduler, spec, work) if parsed.engine == "dask" else _here(spec, work, zoo)
        for at, (i, numbers) in enumerate(done, 1):
            kept.save(i, numbers)
            sys.stderr.write(
                f"\r{len(parts) - len(missing) + at} of {len(parts)} parts"
            ) if sys.stderr.isatty() else None
        factors = [metric.factor for metric in metrics]
        out = stack.enter_context(parsed.out.open("w", encoding="utf-8", newline="")) if parsed.out else sys.stdout
        as_json = parsed.out is not None and parsed.out.suffix == ".json"
        (_write_json if as_json else _write_csv)(out, spec, axes, _rows(parts, kept, factors))
    return 0


def _read(spec: Spec, zoo: Zoo) -> tuple[Inner, list[Axis]]:
    inner = resolve_inner(spec["tool"], spec["scenario"], zoo)
    return inner, read_axes(spec["over"], inner)


def _plain(axis: Axis) -> tuple[Any, ...]:
    return (axis.name, axis.values, axis.symbol, axis.listed, axis.numeric)


@lru_cache(maxsize=4)
def _inner_of(text: str) -> Inner:
    """Return a spec's inner request, resolved once a process."""
    from mlwalls.zoo import Zoo

    spec = json.loads(text)
    zoo = Zoo.layered([Path(p) for p in spec["zoo"]]) if spec["zoo"] else Zoo.builtin()
    return resolve_inner(spec["tool"], spec["scenario"], zoo)


def part_figures(spec: Spec, part: Sequence[tuple[Any, ...]], zoo: Zoo | None = None) -> Any:
    """Compute one part: an array of figures by points, in SI, NaN where there is no answer."""
    import numpy

    inner = _read(spec, zoo)[0] if zoo is not None else _inner_of(json.dumps(spec, sort_keys=True))
    swept = sweep_figures(inner, [Axis(*axis) for axis in part], spec["symbols"])
    return numpy.array([swept.figures[symbol] for symbol in spec["symbols"]])


def _here(spec: Spec, work: Sequence[tuple[int, Any]], zoo: Zoo) -> Iterator[tuple[int, Any]]:
    for i, part in work:
        yield i, part_figures(spec, part, zoo)


def _on_dask(address: str, spec: Spec, work: Sequence[tuple[int, Any]]) -> Iterator[tuple[int, Any]]:
    """Run the parts on a cluster; what a lost worker had is run again on another."""
    try:
        distributed: Any = import_module("distributed")
    except ImportError as error:
        raise SweepError("--engine dask needs the extra: pip install 'mlwalls[dask]'") from error
    if not work:
        return
    try:
        client = distributed.Client(address, timeout="5s", set_as_default=False)
    except (OSError, TimeoutError, ValueError) as error:
        raise SweepError(f"no Dask scheduler answers at {address}: {error}") from error
    with client:
        waiting = {client.submit(part_figures, spec, part, pure=False, retries=RETRIES): i for i, part in work}
        for future in distributed.as_completed(waiting, loop=client.loop):
            try:
                yield waiting[future], future.result()
            except Exception as error:
                raise SweepError(f"part {waiting[future]} failed on the cluster: {error}") from error
            future.release()


class _Kept:
    """Finished parts in a folder, which belongs to one sweep."""

    def __init__(self, folder: Path, spec: Spec) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        own = json.dumps(spec, sort_keys=True)
        self.name = hashlib.sha256(own.encode()).hexdigest()[:12]
        note = folder / "sweep.json"
        if note.exists() and note.read_text(encoding="utf-8") != own:
            raise SweepError(f"{folder} holds parts of another sweep; give another folder")
        note.write_text(own, encoding="utf-8")

    def path(self, part: int) -> Path:
        """Return where a part is or would be."""
        return self.folder / f"part-{part:06d}.npy"

    def save(self, part: int, numbers: Any) -> None:
        """Write a part whole or not at all."""
        import numpy

        unfinished = self.path(part).with_suffix(f".{os.getpid()}.tmp")
        with unfinished.open("wb") as file:
            numpy.save(file, numbers)
        unfinished.replace(self.path(part))

    def load(self, part: int) -> Any:
        """Read a part."""
        import numpy

        return numpy.load(self.path(part))


def _rows(parts: Sequence[Sequence[Axis]], kept: _Kept, factors: Sequence[float]) -> Iterator[list[Any]]:
    """Yield every point: its axis values, then its figures in the units asked for, None where there is none."""
    import itertools

    import numpy

    for i, axes in enumerate(parts):
        scaled = kept.load(i) / numpy.array(factors)[:, None]
        columns = [[None if x != x else x for x in line] for line in scaled.tolist()]
        for at, point in enumerate(itertools.product(*(axis.values for axis in axes))):
            yield [*point, *(column[at] for column in columns)]


def _write_csv(out: TextIO, spec: Spec, axes: Sequence[Axis], rows: Iterator[list[Any]]) -> None:
    import csv

    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([*(axis.name for axis in axes), *spec["metrics"]])
    writer.writerows(rows)


def _write_json(out: TextIO, spec: Spec, axes: Sequence[Axis], rows: Iterator[list[Any]]) -> None:
    head = {"tool": spec["tool"], "scenario": spec["scenario"], "columns": [*(a.name for a in axes), *spec["metrics"]]}
    out.write(json.dumps(head, ensure_ascii=False)[:-1] + ', "rows": [\n')
    for at, row in enumerate(rows):
        out.write((",\n" if at else "") + json.dumps(row, ensure_ascii=False, allow_nan=False))
    out.write("\n]}\n")


def command(
    parsed: argparse.Namespace, facts: Callable[[], Zoo], zoo_paths: Sequence[Path], complain: Callable[[str], int]
) -> int:
    """Run the command and say what is wrong as other commands do."""
    from mlwalls.server.errors import error_text, repaired, said
    from mlwalls.zoo import ZooError

    try:
        return run(parsed, facts(), zoo_paths)
    except CallError as error:
        given = {"tool": parsed.tool, "scenario": parsed.arguments, "over": parsed.over}
        return complain(
            error_text("sweep", [said(error)], given, repaired(given, error, SOLVER.example), SOLVER.example)
        )
    except (SweepError, ZooError, OSError) as error:
        return complain(f"mlwalls sweep: {error}")
