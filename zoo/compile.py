"""Make what the zoo reads from what people write: ``python -m mlwalls.zoo.compile``.

Writes compiled JSON, one file a kind, the bibliography, and the JSON Schemas. All of it is committed; tests hold it
to the YAML.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mlwalls.zoo.authoring import Problems, read_entries, read_sources
from mlwalls.zoo.entries import MODELS
from mlwalls.zoo.loader import KINDS

ROOT = Path(__file__).parent


def compiled() -> dict[str, str]:
    """Return every generated file's text by path below the zoo.

    Raises:
        ZooError: all problems of the YAML, one a line.
    """
    problems = Problems()
    sources: dict[str, dict[str, Any]] = {}
    for path in sorted(ROOT.rglob("sources.yaml")):
        for id, source in read_sources(
            path.read_text(encoding="utf-8"), path.relative_to(ROOT).as_posix(), problems
        ).items():
            if id in sources and sources[id] != source:
                problems.add(path.relative_to(ROOT).as_posix(), id, "is in another sources.yaml too")
            sources[id] = source
    files = [
        (path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8"))
        for kind in KINDS
        for path in sorted((ROOT / kind).glob("*.yaml"))
        if path.name != "sources.yaml"
    ]
    found = read_entries(files, sources, problems)
    problems.raise_if_any()
    texts = {f"compiled/{kind}.json": _dump(found[kind]) for kind in KINDS if kind in found}
    texts["compiled/sources.json"] = _dump(sources)
    for kind, model in MODELS.items():
        schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", **model.model_json_schema()}
        texts[f"schemas/{kind}.json"] = json.dumps(schema, indent=2, ensure_ascii=False) + "\n"
    return texts


def _dump(records: dict[str, dict[str, Any]]) -> str:
    """One entry a line: small, and a change shows as one line."""
    lines = (f"{json.dumps(id)}: {json.dumps(record, ensure_ascii=False)}" for id, record in sorted(records.items()))
    return "{\n" + ",\n".join(lines) + "\n}\n"


if __name__ == "__main__":
    for name, text in compiled().items():
        (ROOT / name).parent.mkdir(exist_ok=True)
        (ROOT / name).write_text(text, encoding="utf-8")
