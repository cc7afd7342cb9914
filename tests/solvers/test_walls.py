"""The walls are the curriculum's 22, keyed by slug, each with a relation, sources that exist and a tool."""

from mlwalls.solvers.registry import solvers
from mlwalls.solvers.walls import WALLS


def test_there_are_22_in_order():
    assert [w.number for w in WALLS.values()] == list(range(1, 23))


def test_every_source_resolves(zoo):
    for wall in WALLS.values():
        for source in wall.sources:
            assert zoo.source(source).url


def test_domains_hold_the_published_counts():
    domains = [w.domain for w in WALLS.values()]
    assert {d: domains.count(d) for d in set(domains)} == {
        "node": 7,
        "data": 3,
        "algorithm": 3,
        "fleet": 3,
        "operations": 4,
        "analysis": 2,
    }


def test_solvers_answer_walls_that_exist_and_walls_name_them_back():
    for name, solver in solvers().items():
        assert set(solver.walls) <= set(WALLS), name
        assert any(name in WALLS[slug].tools for slug in solver.walls), name
