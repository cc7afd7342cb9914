"""Resources: the zoo, its schemas and sources, the walls, the tutorials; and completion of their ids."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import mcp_types as types
from mcp.shared.exceptions import MCPError

from mlwalls import prompts
from mlwalls.server.teaching.pages import tutorial_page
from mlwalls.solvers.walls import WALLS
from mlwalls.zoo import UnknownName, Zoo
from mlwalls.zoo.schemas import schema_text

_JSON = "application/json"


def listed(zoo: Zoo) -> list[types.Resource]:
    """Return the resources that stand by themselves."""
    kinds = [
        types.Resource(
            uri=f"zoo://{kind}", name=f"zoo-{kind}", title=f"Zoo: {kind}", description=f"All {kind}.", mime_type=_JSON
        )
        for kind in zoo.kinds
        if zoo.entries(kind)
    ]
    walls = types.Resource(
        uri="walls://", name="walls", title="The 22 walls", description="Every wall with its relation.", mime_type=_JSON
    )
    tutorials = [
        types.Resource(
            uri=f"tutorial://{t.number}",
            name=f"tutorial-{t.number}",
            title=f"Tutorial {t.number}: {t.title}",
            description=t.question,
            mime_type="text/markdown",
        )
        for t in prompts.load()
    ]
    return [*kinds, walls, *tutorials]


TEMPLATES = [
    types.ResourceTemplate(
        uri_template="zoo://{kind}/{id}",
        name="zoo-entry",
        title="Zoo entry",
        description="One entry with the source of every number.",
        mime_type=_JSON,
    ),
    types.ResourceTemplate(
        uri_template="zoo://schema/{kind}",
        name="zoo-schema",
        title="Zoo schema",
        description="JSON Schema of a kind's entries.",
        mime_type="application/schema+json",
    ),
    types.ResourceTemplate(
        uri_template="zoo://sources/{id}",
        name="zoo-source",
        title="Source",
        description="One work of the bibliography.",
        mime_type=_JSON,
    ),
    types.ResourceTemplate(
        uri_template="walls://{slug}", name="wall", title="Wall", description="One wall.", mime_type=_JSON
    ),
    types.ResourceTemplate(
        uri_template="tutorial://{n}",
        name="tutorial",
        title="Tutorial",
        description="One tutorial.",
        mime_type="text/markdown",
    ),
]


def read(zoo: Zoo, uri: str) -> types.TextResourceContents:
    """Return one resource.

    Raises:
        MCPError: there is no such resource (invalid params, with the uri and the nearest).
    """
    scheme, _, rest = uri.partition("://")
    try:
        text, mime = _text(zoo, scheme, [part for part in rest.split("/") if part])
    except UnknownName as error:
        raise MCPError(
            code=types.INVALID_PARAMS, message=f"Unknown resource: {uri}. {error}", data={"uri": uri}
        ) from error
    return types.TextResourceContents(uri=uri, text=text, mime_type=mime)


def _text(zoo: Zoo, scheme: str, parts: list[str]) -> tuple[str, str]:
    match scheme, parts:
        case "zoo", ["schema", kind]:
            return schema_text(kind), "application/schema+json"
        case "zoo", ["sources", id]:
            return _dump(asdict(zoo.source(id))), _JSON
        case "zoo", [kind]:
            entries = zoo.entries(kind)
            return _dump([{"id": e.id, "name": e.name, "uri": f"zoo://{kind}/{e.id}"} for e in entries]), _JSON
        case "zoo", [kind, id]:
            entry = zoo.get(kind, id)
            used = {number.source for _, number in entry.numbers()}
            sources = {s: asdict(zoo.source(s)) for s in sorted(used)}
            return _dump({"kind": kind, **entry.data, "sources": sources}), _JSON
        case "walls", []:
            return _dump([_wall(zoo, slug, brief=True) for slug in WALLS]), _JSON
        case "walls", [slug]:
            if slug not in WALLS:
                raise UnknownName("walls", slug, _near(slug, list(WALLS)))
            return _dump(_wall(zoo, slug)), _JSON
        case "tutorial", [number]:
            tutorial = next((t for t in prompts.load() if str(t.number) == number), None)
            if tutorial is None:
                raise UnknownName("tutorials", number, tuple(str(t.number) for t in prompts.load()))
            return tutorial_page(tutorial, zoo), "text/markdown"
        case _:
            raise UnknownName(
                "resources", f"{scheme}://{'/'.join(parts)}", ("zoo://hardware", "walls://", "tutorial://0")
            )


def _near(text: str, known: list[str]) -> tuple[str, ...]:
    from difflib import get_close_matches

    return tuple(get_close_matches(text, known, 4, 0.3))


def _wall(zoo: Zoo, slug: str, brief: bool = False) -> dict[str, Any]:
    wall = asdict(WALLS[slug])
    if not brief:
        wall["sources"] = {s: asdict(zoo.source(s)) for s in WALLS[slug].sources}
    return wall


def _dump(data: Any) -> str:
    return json.dumps(data, ensure_ascii=False, indent=1)


def complete(zoo: Zoo, reference: Any, name: str, typed: str, context: dict[str, str]) -> list[str]:
    """Return completions of a template's or prompt's argument, at most 100."""
    if isinstance(reference, types.PromptReference):
        kind = {"model": "models", "hardware": "hardware", "baseline_hardware": "hardware"}.get(name)
        if kind:
            return zoo.complete(kind, typed, 100)
        if name == "slug":
            return [slug for slug in WALLS if typed in slug]
        choices = zoo.kinds if name == "kind" else prompts.CHOICES.get(name, ())
        return [choice for choice in choices if choice.startswith(typed)]
    uri = reference.uri
    if name == "kind":
        return [k for k in zoo.kinds if k.startswith(typed)]
    if name == "id" and uri.startswith("zoo://sources"):
        return [s for s in zoo.sources if s.startswith(typed)][:100]
    if name == "id":
        kind = context.get("kind", "")
        return zoo.complete(kind, typed, 100) if kind in zoo.kinds else []
    if name == "slug":
        return [slug for slug in WALLS if typed in slug]
    if name == "n":
        return [str(t.number) for t in prompts.load() if str(t.number).startswith(typed)]
    return []
