"""The JSON Schemas of the zoo's entries, as committed."""

from __future__ import annotations

from pathlib import Path

from mlwalls.zoo.entry import UnknownName

FOLDER = Path(__file__).parent / "schemas"


def schema_text(kind: str) -> str:
    """Return the JSON Schema (2020-12) of one kind.

    Raises:
        UnknownName: the kind has none.
    """
    known = sorted(path.stem for path in FOLDER.glob("*.json"))
    if kind not in known:
        raise UnknownName("schemas", kind, tuple(known))
    return (FOLDER / f"{kind}.json").read_text(encoding="utf-8")
