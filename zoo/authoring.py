"""From YAML to entries: parsing with line numbers, validation, flattening. Only authors and user zoos come here."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError
from pydantic.fields import FieldInfo

from mlwalls.zoo.entries import MODELS, CitedBlock, CitedNumber, EntryModel
from mlwalls.zoo.entries.base import Block
from mlwalls.zoo.entry import ZooError

MAX_BYTES = 2_000_000
# The source that an author's own numbers may name.
GIVEN = {"you": {"title": "given by the caller", "url": "about:blank", "checked": False}}
_SOURCE_FIELDS = {"title", "url", "year", "license", "checked"}


@dataclass(slots=True)
class Problems:
    """Everything that is wrong, gathered before anything is said."""

    lines: list[str] = field(default_factory=list)

    def add(self, place: str, path: str, text: str) -> None:
        """Note one problem: where, which field, what is wrong and what is expected."""
        self.lines.append(f"{place}: {path}: {text}" if path else f"{place}: {text}")

    def raise_if_any(self) -> None:
        """Raise one ZooError that lists all problems."""
        if self.lines:
            raise ZooError("\n".join(self.lines))


@dataclass(frozen=True, slots=True)
class Document:
    """One parsed mapping with the line of every path in it."""

    file: str
    data: dict[str, Any]
    marks: Mapping[tuple[Any, ...], int]

    def place(self, path: Iterable[Any]) -> str:
        """Return ``file:line`` of the deepest known part of `path`."""
        steps = tuple(path)
        while steps and steps not in self.marks:
            steps = steps[:-1]
        return f"{self.file}:{self.marks.get(steps, 1)}"


def parse(text: str, file: str, problems: Problems) -> list[Document]:
    """Parse a YAML text holding one entry, a list of entries, or several documents."""
    if len(text) > MAX_BYTES:
        problems.add(f"{file}:1", "", f"larger than {MAX_BYTES} bytes")
        return []
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        text.encode()
    except UnicodeEncodeError:
        problems.add(f"{file}:1", "", "not Unicode text")
        return []
    try:
        if re.search(r"(^|[\s:\[{,-])[&*][A-Za-z0-9_]", text) and any(
            isinstance(t, (yaml.AnchorToken, yaml.AliasToken)) for t in yaml.scan(text, Loader=loader)
        ):
            problems.add(f"{file}:1", "", "anchors and aliases are not allowed; write the values out")
            return []
        nodes = list(yaml.compose_all(text, Loader=loader))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark else 1
        problems.add(f"{file}:{line}", "", f"not YAML: {getattr(error, 'problem', None) or error}")
        return []
    documents = []
    for node in nodes:
        items = node.value if isinstance(node, yaml.SequenceNode) else [node]
        for item in items:
            if not isinstance(item, yaml.MappingNode):
                problems.add(
                    f"{file}:{item.start_mark.line + 1}", "", "expected an entry: a mapping with kind, id, name"
                )
                continue
            marks: dict[tuple[Any, ...], int] = {}
            documents.append(Document(file, _plain(item, (), marks, file, problems), marks))
    return documents


def _plain(node: Any, path: tuple[Any, ...], marks: dict[tuple[Any, ...], int], file: str, problems: Problems) -> Any:
    marks.setdefault(path, node.start_mark.line + 1)
    if isinstance(node, yaml.MappingNode):
        mapping: dict[str, Any] = {}
        for key_node, value_node in node.value:
            name = str(key_node.value)
            line = key_node.start_mark.line + 1
            if name in mapping:
                problems.add(f"{file}:{line}", ".".join(map(str, (*path, name))), "key given twice; keep one")
            marks[*path, name] = line
            mapping[name] = _plain(value_node, (*path, name), marks, file, problems)
        return mapping
    if isinstance(node, yaml.SequenceNode):
        return [_plain(item, (*path, i), marks, file, problems) for i, item in enumerate(node.value)]
    return _scalar(node)


def _scalar(node: Any) -> Any:
    try:
        value = yaml.SafeLoader("").construct_object(node)
    except (ValueError, OverflowError, KeyError, IndexError):  # a date, number or flag in form only, e.g. 2026-02-31
        value = str(node.value)
    if isinstance(value, str) and node.style is None and re.fullmatch(r"[-+]?[0-9.]+[eE][-+]?[0-9]+", value):
        return float(value)  # YAML 1.1 reads 3.35e12 as text
    return value if isinstance(value, (str, int, float, bool)) or value is None else str(value)


def validate(document: Document, known_sources: Iterable[str], problems: Problems) -> EntryModel | None:
    """Validate one entry; adds every problem with its place and returns the entry where there is none."""
    data = document.data
    kind = data.get("kind")
    model = MODELS.get(str(kind))
    before = len(problems.lines)
    if model is None:
        problems.add(document.place(("kind",)), "kind", f"{kind!r}; expected one of {', '.join(MODELS)}")
        return None
    entry = None
    try:
        entry = model.model_validate(data)
    except ValidationError as error:
        for item in error.errors(include_url=False):
            path = tuple(p for p in item["loc"] if not (isinstance(p, str) and p.endswith("Number")))
            problems.add(document.place(path), ".".join(map(str, path)), _plainly(item, model, path))
    sources = set(known_sources)
    for path, source in _cited(data, ()):
        if not isinstance(source, str) or source not in sources:
            near = difflib.get_close_matches(str(source), sources, 1)
            hint = f"; did you mean {near[0]!r}?" if near else "; add it to sources.yaml"
            problems.add(
                document.place(path), ".".join(map(str, path)), f"source {source!r} is not in the bibliography{hint}"
            )
    if entry is not None:
        _check_ranges(document, entry, (), problems)
    return entry if len(problems.lines) == before else None


def _plainly(item: Any, model: type[Block], path: tuple[Any, ...]) -> str:
    given = item.get("input")
    match item["type"]:
        case "extra_forbidden":
            fields = _fields_at(model, path[:-1])
            near = difflib.get_close_matches(str(path[-1]), fields, 1, 0.5)
            hint = f"did you mean {near[0]!r}?" if near else f"expected one of {', '.join(fields)}"
            return f"unknown field; {hint}"
        case "missing":
            return "missing; this field is required"
        case "value_error":
            return str(item["ctx"]["error"])
        case "finite_number":
            return f"{given!r}; expected a finite number"
        case "float_type" | "int_type" | "float_parsing" | "int_parsing":
            return f"{given!r}; expected a plain number in SI units, without a unit or quotes"
        case "model_type" | "model_attributes_type":
            return f"{given!r}; expected a mapping such as {{value: 3.35e+12, source: some_id}}"
        case "literal_error":
            return f"{given!r}; expected {item['ctx']['expected']}"
        case _:
            return f"{given!r}: {item['msg'].removeprefix('Value error, ')}"


def _fields_at(model: type[Block], path: tuple[Any, ...]) -> list[str]:
    current: type[Block] | None = model
    for step in path:
        info = current.model_fields.get(str(step)) if current else None
        current = _block_of(info) if info else None
    return list(current.model_fields) if current else []


def _block_of(info: FieldInfo) -> type[Block] | None:
    annotation: Any = info.annotation
    for option in (annotation, *getattr(annotation, "__args__", ())):
        if isinstance(option, type) and issubclass(option, Block):
            return option
    return None


def _cited(data: Any, path: tuple[Any, ...]) -> Iterator[tuple[tuple[Any, ...], Any]]:
    if isinstance(data, dict):
        if "source" in data:
            yield (*path, "source"), data["source"]
        for key, value in data.items():
            yield from _cited(value, (*path, key))
    elif isinstance(data, list):
        for i, value in enumerate(data):
            yield from _cited(value, (*path, i))


def _check_ranges(document: Document, block: Block, path: tuple[Any, ...], problems: Problems) -> None:
    for name, info in type(block).model_fields.items():
        value = getattr(block, name)
        extra = info.json_schema_extra if isinstance(info.json_schema_extra, dict) else {}
        if isinstance(value, CitedNumber):
            low, high = extra.get("x-minimum"), extra.get("x-maximum")
            number = float(value.value)
            if (isinstance(low, (int, float)) and number < low) or (isinstance(high, (int, float)) and number > high):
                problems.add(
                    document.place((*path, name, "value")), ".".join((*path, name)), _range_text(number, extra)
                )
        elif isinstance(value, Block):
            _check_ranges(document, value, (*path, name), problems)


def _range_text(number: float, extra: Mapping[str, Any]) -> str:
    low, high, unit = extra.get("x-minimum"), extra.get("x-maximum"), extra.get("x-unit")
    text = f"{number:g} is outside {low:g} to {high:g} {unit}"
    for factor, prefix in ((1e3, "k"), (1e6, "M"), (1e9, "G"), (1e12, "T")):
        if low is not None and high is not None and number > 0 and low * 10 <= number * factor <= high:
            guess = f"; if it is in {prefix}{unit}, write {number * factor:.6g}"
            if factor >= 1e9:
                return text + guess
    return text


def flatten(entry: EntryModel) -> dict[str, Any]:
    """Return the record that the zoo reads: numbers, texts and flags by dotted path, units filled in."""
    numbers: dict[str, list[Any]] = {}
    texts: dict[str, str] = {}
    flags: dict[str, bool] = {}

    def walk(block: Block, path: str) -> None:
        cited = block if isinstance(block, CitedBlock) else None
        for name, info in type(block).model_fields.items():
            value = getattr(block, name)
            where = f"{path}{name}"
            if value is None or (cited and name in ("source", "checked")):
                continue
            if path == "" and name in ("kind", "id", "name", "aliases", "notes"):
                continue
            if isinstance(value, dict):
                for measured, cited_number in value.items():
                    numbers[measured] = _packed(cited_number, cited_number.unit)
            elif isinstance(value, CitedNumber):
                extra = info.json_schema_extra if isinstance(info.json_schema_extra, dict) else {}
                numbers[where] = _packed(value, str(extra.get("x-unit", "")))
            elif isinstance(value, Block):
                walk(value, f"{where}.")
            elif isinstance(value, bool):
                if value:
                    flags[where] = True
            elif isinstance(value, (int, float)):
                assert cited is not None
                numbers[where] = [value, "", cited.source, cited.checked, "published", "", ""]
            elif isinstance(value, str):
                texts[where] = value

    walk(entry, "")
    record: dict[str, Any] = {"name": entry.name, "numbers": numbers, "texts": texts, "flags": flags}
    if entry.aliases:
        record["aliases"] = entry.aliases
    if entry.notes:
        texts["notes"] = " ".join(entry.notes)
    return record


def _packed(value: CitedNumber, unit: str) -> list[Any]:
    number = int(value.value) if value.value.is_integer() and abs(value.value) < 2**53 else value.value
    return [number, unit, value.source, value.checked, value.basis, value.note, value.year]


def read_sources(text: str, file: str, problems: Problems) -> dict[str, dict[str, Any]]:
    """Parse a bibliography: id → {title, url, year, license, checked}."""
    found: dict[str, dict[str, Any]] = {}
    for document in parse(text, file, problems):
        for id, entry in document.data.items():
            if not isinstance(entry, dict) or not entry.get("title") or not entry.get("url"):
                problems.add(document.place((id,)), id, "a source needs a title and a url")
                continue
            if unknown := set(entry) - _SOURCE_FIELDS:
                problems.add(document.place((id,)), id, f"unknown field {sorted(unknown)[0]!r}")
            found[id] = {k: str(v) if k == "year" else v for k, v in entry.items() if k in _SOURCE_FIELDS}
    return found


def read_entries(
    files: Iterable[tuple[str, str]], known_sources: Iterable[str], problems: Problems
) -> dict[str, dict[str, dict[str, Any]]]:
    """Parse and validate entry texts (name, text); returns kind → id → record."""
    found: dict[str, dict[str, dict[str, Any]]] = {}
    seen: dict[tuple[str, str], str] = {}
    sources = set(known_sources)
    for file, text in files:
        for document in parse(text, file, problems):
            entry = validate(document, sources, problems)
            if entry is None:
                continue
            for taken in (entry.id, *entry.aliases):
                place = document.place(("id",) if taken == entry.id else ("aliases",))
                other = seen.setdefault((entry.kind, taken.lower()), place)
                if other != place:
                    problems.add(place, "id" if taken == entry.id else "aliases", f"{taken!r} is also at {other}")
            found.setdefault(entry.kind, {})[entry.id] = flatten(entry)
    return found


def read_directories(
    directories: Iterable[Path],
) -> tuple[dict[str, dict[str, dict[str, Any]]], dict[str, dict[str, Any]]]:
    """Read user zoos: every YAML file below each directory; ``sources.yaml`` holds their bibliography.

    Raises:
        ZooError: all problems, one a line.
    """
    from mlwalls.zoo.loader import Zoo

    problems = Problems()
    sources: dict[str, dict[str, Any]] = {}
    entry_files: list[tuple[str, str]] = []
    for directory in directories:
        if not directory.is_dir():
            problems.add(str(directory), "", "is not a directory")
            continue
        files = sorted(p for p in directory.rglob("*") if p.suffix in (".yaml", ".yml", ".json") and p.is_file())
        if not files:
            problems.add(str(directory), "", "holds no .yaml or .json file")
        for path in files:
            try:
                text = path.read_text(encoding="utf-8")
            except (OSError, UnicodeDecodeError) as error:
                problems.add(f"{path}:1", "", f"cannot be read: {error}")
                continue
            if path.stem == "sources":
                sources |= read_sources(text, str(path), problems)
            else:
                entry_files.append((str(path), text))
    found = read_entries(entry_files, {*Zoo.builtin().sources, *GIVEN, *sources}, problems)
    problems.raise_if_any()
    return found, {**GIVEN, **sources}


def read_inline(text: str) -> tuple[dict[str, dict[str, dict[str, Any]]], dict[str, dict[str, Any]]]:
    """Read entries given in a call; a number without a source counts as the caller's own, unchecked.

    Raises:
        ZooError: all problems, one a line.
    """
    from mlwalls.zoo.loader import Zoo

    problems = Problems()
    found = read_entries([("inline", text)], {*Zoo.builtin().sources, "you"}, problems)
    problems.raise_if_any()
    return found, GIVEN
