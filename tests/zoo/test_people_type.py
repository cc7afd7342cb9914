"""Names as people type them: each becomes its entry; a misspelling becomes nothing, with the nearest."""

from pathlib import Path

import pytest
import yaml

from mlwalls.zoo import UnknownName

TYPED = yaml.safe_load((Path(__file__).parent / "people_type.yaml").read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("kind", "typed", "expected"),
    [(kind, str(typed), id) for kind in ("hardware", "models") for typed, id in TYPED[kind].items()],
)
def test_resolves(zoo, kind, typed, expected):
    assert zoo.resolve(kind, typed).entry.id == expected


@pytest.mark.parametrize(("kind", "typed", "near"), TYPED["unknown"])
def test_misspelt_names_do_not_resolve(zoo, kind, typed, near):
    with pytest.raises(UnknownName) as caught:
        zoo.resolve(kind, typed)
    assert not near or near in caught.value.nearest


@pytest.mark.parametrize(("kind", "typed", "expected"), TYPED["ambiguous"])
def test_an_ambiguous_name_says_what_was_taken(zoo, kind, typed, expected):
    found = zoo.resolve(kind, typed)
    assert found.entry.id == expected
    assert expected in found.note and found.others


@pytest.mark.parametrize(("kind", "typed"), TYPED["plain"])
def test_an_exact_id_needs_no_note(zoo, kind, typed):
    assert zoo.resolve(kind, typed).note == ""


def test_every_id_name_and_alias_leads_to_its_own_entry(zoo):
    for kind in ("hardware", "models"):
        for entry in zoo.entries(kind):
            for typed in (entry.id, entry.name, *entry.aliases):
                assert zoo.resolve(kind, typed).entry.id == entry.id, typed
