"""find_in_zoo: look up hardware, models and other cited facts."""

from __future__ import annotations

import json
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from mlwalls.solvers.errors import CallError
from mlwalls.zoo import UnknownName, Zoo, ZooError


class FindRequest(BaseModel):
    """Arguments of find_in_zoo."""

    model_config = ConfigDict(extra="forbid")

    query: str = Field(default="", max_length=200, description='Words, e.g. "llama 70b", "amd".')
    kind: str = Field(default="", description="hardware, models, grids, prices …; default all.")
    where: list[str] = Field(
        default_factory=list,
        max_length=8,
        description='Filters, ["memory_capacity_gb >= 80"].',
    )
    sort: str = Field(default="", description='Number, "memory_bandwidth".')
    descending: bool = Field(default=False, description="Largest first.")
    limit: int = Field(default=10, ge=1, le=50, description="Rows.")
    full: bool = Field(default=False, description="Whole entry of the best match, sources.")


class FindResult(BaseModel):
    """What find_in_zoo returns: rows as JSON objects in text, one a line."""

    model_config = ConfigDict(extra="forbid")

    found: int = Field(description="Entries that match; rows are the first of them.")
    rows: list[str] = Field(description="One entry a row, as a JSON object.")
    sources: list[str] = Field(description="Sources of a full entry.")
    nearest: list[str] = Field(default_factory=list, description="Where nothing matches: ids that look alike.")


@dataclass(frozen=True, slots=True)
class Lookup:
    """The tool's description, models and example."""

    description: str
    request: type[BaseModel]
    result: type[BaseModel]
    example: dict[str, Any]


FIND_IN_ZOO = Lookup(
    description=(
        "Which hardware, models or other facts does the zoo have, and what are their numbers? Use it to find an exact id "
        "or a cited figure; use the other tools to calculate."
    ),
    request=FindRequest,
    result=FindResult,
    example={"query": "h100", "kind": "hardware", "limit": 5},
)


def find_in_zoo(zoo: Zoo, arguments: dict[str, Any]) -> tuple[dict[str, Any], str]:
    """Answer one lookup with structured data and text.

    Raises:
        CallError: a kind, filter or sort key that does not exist.
    """
    request = FindRequest.model_validate(arguments)
    if request.kind and request.kind not in zoo.kinds:
        near = get_close_matches(request.kind, zoo.kinds, 1, 0.4)
        kinds = [*near, *(k for k in zoo.kinds if k not in near)]
        raise CallError("kind", f"{request.kind!r} is no kind of the zoo.", choices=kinds)
    try:
        found = zoo.search(
            request.query,
            request.kind,
            request.where,
            request.sort,
            request.descending,
            1 if request.full else request.limit,
        )
    except UnknownName as error:
        argument = "sort" if error.given == request.sort else "where"
        nearest = error.nearest[0] if error.nearest else ""
        filters = [w.replace(error.given, nearest, 1) if error.given in w else w for w in request.where if nearest]
        repair = {"sort": nearest} if argument == "sort" else {"where": filters}
        text = f"{error.given!r} is no number of these entries."
        raise CallError(argument, text, choices=error.nearest, repair=repair) from error
    except ZooError as error:
        raise CallError("where", str(error), repair={"where": []}) from error
    rows, sources = found.rows, []
    if request.full and rows:
        entry = zoo.get(rows[0]["kind"], rows[0]["id"])
        rows = [entry.data]
        used = {number.source: None for _, number in entry.numbers()}
        sources = [f"{s}: {zoo.source(s).title}, {zoo.source(s).url}" for s in used]
    printed = [json.dumps(row, ensure_ascii=False) for row in rows]
    data = {"found": found.total, "rows": printed, "sources": sources, "nearest": list(found.nearest)}
    if rows:
        more = [f"{found.total - len(rows)} more match."] if found.total > len(rows) and not request.full else []
        return data, "\n".join(printed + sources + more)
    hint = f" Nearest: {', '.join(found.nearest)}." if found.nearest else ""
    return data, f"Nothing in the zoo matches.{hint}"
