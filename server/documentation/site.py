"""All generated pages by their path under the documentation's folder."""

from __future__ import annotations

from mlwalls import prompts
from mlwalls.server.documentation.accuracy_page import accuracy_page
from mlwalls.server.documentation.tool_pages import tool_page, zoo_page
from mlwalls.server.documentation.wall_pages import page_name, wall_page, walls_index
from mlwalls.server.teaching.pages import paths_page, tutorial_page
from mlwalls.solvers.registry import BUILT_IN, solvers
from mlwalls.solvers.walls import WALLS
from mlwalls.zoo import Zoo

FOLDERS = ("tools", "walls", "tutorials")
_BY_HAND = (
    ("how-it-works.md", "How it works", "from a question to an answer that can be recomputed"),
    ("extending.md", "Your own hardware and solvers", "a complete example of each"),
    ("grammar.md", "The grammar of work", "what an answer's program means"),
)


def pages() -> dict[str, str]:
    """Return every generated page."""
    zoo = Zoo.builtin()
    found = {f"tools/{name}.md": tool_page(solvers()[name], zoo) for name in BUILT_IN}
    found["tools/find_in_zoo.md"] = zoo_page(zoo)
    found |= {f"walls/{slug}.md": wall_page(wall, zoo) for slug, wall in WALLS.items()}
    found |= {f"tutorials/{page_name(t)}": tutorial_page(t, zoo) for t in prompts.load()}
    found["paths.md"] = paths_page()
    found["accuracy.md"] = accuracy_page(zoo)
    found["index.md"] = _index()
    return found


def _index() -> str:
    tools = [f"| [{name}](tools/{name}.md) | {solvers()[name].question} |" for name in BUILT_IN]
    tools.append("| [find_in_zoo](tools/find_in_zoo.md) | Which hardware and models does the zoo have? |")
    lessons = [
        f"| {t.number} | [{t.title}](tutorials/{page_name(t)}) | {t.question} | {t.data['minutes']} |"
        for t in prompts.load()
    ]
    parts = [
        "# mlwalls",
        "Quantitative questions about ML systems, answered by cited calculations.",
        "\n".join(f"- [{title}]({name}): {text}" for name, title, text in _BY_HAND),
        "- [Accuracy](accuracy.md): predictions against published measurements\n- [Learning paths](paths.md)",
        "## Tools",
        "\n".join(["| tool | question |", "|---|---|", *tools]),
        "## Tutorials",
        "\n".join(["| # | tutorial | question | minutes |", "|---|---|---|---|", *lessons]),
        "## The 22 walls",
        walls_index(),
    ]
    return "\n\n".join(parts) + "\n"
