"""The generated pages are as they would be generated now; links lead somewhere; examples verify."""

import re
from pathlib import Path

import pytest

from mlwalls.server.documentation import pages
from mlwalls.server.documentation.__main__ import stale_in
from mlwalls.server.documentation.equations import equations_of
from mlwalls.server.verification import verify
from mlwalls.solvers.answers import answer_data
from mlwalls.solvers.registry import BUILT_IN, solvers
from mlwalls.solvers.walls import WALLS

DOCS = Path(__file__).parent.parent.parent / "docs"
WANTED = pages()
repository = pytest.mark.skipif(not DOCS.exists(), reason="runs from the repository only")


@repository
def test_no_page_is_stale():
    stale = stale_in(DOCS, WANTED)
    assert not stale, "python -m mlwalls.server.documentation docs"


def test_every_tool_wall_and_tutorial_has_its_page():
    assert {f"tools/{name}.md" for name in BUILT_IN} <= set(WANTED)
    assert {f"walls/{slug}.md" for slug in WALLS} <= set(WANTED)
    assert sum(name.startswith("tutorials/") for name in WANTED) >= 10


@repository
def test_links_between_pages_lead_somewhere():
    by_hand = {p.relative_to(DOCS).as_posix(): p.read_text(encoding="utf-8") for p in DOCS.glob("*.md")}
    for name, text in {**by_hand, **WANTED}.items():
        for target in re.findall(r"\]\(([^)#:]+)\)", text):
            path = (DOCS / name).parent / target
            assert path.exists(), f"{name}: {target}"


@pytest.mark.parametrize("tool", BUILT_IN)
def test_the_worked_example_verifies_and_its_equations_are_listed(tool, zoo):
    solver = solvers()[tool]
    answer = solver.run(solver.request.model_validate(dict(solver.example)), zoo)
    data = answer_data(answer, zoo)
    report = verify(data)
    assert report.ok, report.text()
    page = WANTED[f"tools/{tool}.md"]
    assert data["verdict"] in page
    assert all(line in page for line in data["work"])
    assert len(equations_of(tool, answer)) >= 3


def test_no_placeholder_and_nothing_undefined_is_left():
    for name, text in WANTED.items():
        assert not re.search(r"\{[a-z_]+\.[a-z_]+|\bNone\b|\bnan\b", text.replace("dict[str, None]", "")), name
