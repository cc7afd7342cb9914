"""The zoo at a terminal: lists, entries, validation, schemas, as text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mlwalls.zoo.entry import UnknownName, ZooError
from mlwalls.zoo.loader import Zoo
from mlwalls.zoo.schemas import schema_text
from mlwalls.zoo.searching import search, shown_name


def list_text(zoo: Zoo, kind: str | None) -> str:
    """Return all kinds with their counts, or one line for each entry of a kind.

    Raises:
        UnknownName: no such kind.
    """
    if not kind:
        return "\n".join(f"{k:12} {len(zoo.entries(k))}" for k in zoo.kinds if zoo.entries(k))
    rows = search(zoo, "", kind, (), "", False, 10_000).rows if zoo.entries(kind) else []
    return "\n".join(f"{row['id']:34} {_line(row)}" for row in rows)


def _line(row: dict[str, Any]) -> str:
    """A row's numbers, a question mark at those that nobody checked, and what else it says."""
    doubtful = row.get("unverified", ())
    said = [f"{k}={v:.10g}{'?' * (k in doubtful)}" for k, v in row.items() if isinstance(v, (int, float))]
    return "  ".join([*said, *(str(row[k]) for k in ("method", "year", "date", "terms") if k in row)])


def show_text(zoo: Zoo, name: str) -> str:
    """Return one entry, found by name in any kind: every number with its source.

    Raises:
        UnknownName: no kind has it.
    """
    nearest: list[str] = []
    for kind in zoo.kinds:
        if not zoo.entries(kind):
            continue
        try:
            found = zoo.resolve(kind, name)
        except UnknownName as error:
            nearest += error.nearest[:2]
            continue
        entry = found.entry
        lines = [f"{entry.name}  ({kind}/{entry.id})", *([found.note] if found.note else [])]
        for path, number in entry.numbers():
            label, value = shown_name(path, number)
            marks: list[str] = [number.basis] if number.basis != "published" else []
            marks += [] if number.checked else ["unverified"]
            marks += [number.note] if number.note else []
            lines.append(f"  {label:38} {value:<14.10g} [{number.source}] {'; '.join(marks)}".rstrip())
        used = sorted({number.source for _, number in entry.numbers()})
        lines += ["Sources", *(f"  {s}: {zoo.source(s).title}, {zoo.source(s).url}" for s in used)]
        return "\n".join(lines)
    raise UnknownName("entries", name, tuple(nearest[:5]))


def validate_text(directory: Path) -> tuple[str, bool]:
    """Check a directory of entries; return what to say and whether all is well."""
    try:
        zoo = Zoo.layered([directory])
    except ZooError as error:
        problems = str(error).splitlines()
        return "\n".join([*problems, f"{len(problems)} problem{'s' if len(problems) > 1 else ''}"]), False
    count = sum(len(zoo.entries(kind)) for kind in zoo.kinds) - sum(len(Zoo.builtin().entries(k)) for k in zoo.kinds)
    return f"valid; {count} entries beside the built-in ones", True


def import_text(path: Path, id: str) -> str:
    """Return the entry, as YAML, of a Hugging Face ``config.json``; the parameters go to the notes.

    Raises:
        ZooError: the file cannot be read or its architecture is not known.
    """
    import json

    from mlwalls.zoo.import_hf import entry_yaml, import_hf

    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ZooError(f"{path}: cannot be read as JSON: {error}") from error
    return entry_yaml(import_hf(config, id or path.resolve().parent.name.lower().replace("_", "-") or "model"))


def schema(kind: str) -> str:
    """Return the JSON Schema of a kind.

    Raises:
        UnknownName: the kind has none.
    """
    return schema_text(kind)
