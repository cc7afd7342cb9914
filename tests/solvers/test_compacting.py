"""The short program: where steps go, what they carry with them, and that it does not depend on what was printed before."""

import pytest

from mlwalls.server.verification import verify
from mlwalls.solvers import compacting
from mlwalls.solvers.answers import answer_data
from mlwalls.solvers.derivation import Derivation, Origin, Value, equation
from mlwalls.solvers.functions import where
from mlwalls.solvers.registry import solvers
from mlwalls.solvers.rendering import rendered
from mlwalls.zoo import Zoo


@equation("s", time="s", cite="amdahl1967")
def half(time, two):
    """Half a time."""
    return time / two


@equation("s", a="s", b="s")
def both(a, b):
    """Two times."""
    return a + b


@equation("s", a="s")
def twice(a):
    """A time, twice over."""
    return a * 2


TIME = Value("time", 8.0, "s", Origin("you"))
TWO = Value("two", 2.0, "", Origin("defined"))


def program(*kept):
    d = Derivation()
    first = d.step("first", half(Value("time", 8.0, "s", Origin("you")), TWO))
    second = d.step("second", both(first, TIME))
    d.step("third", twice(second))
    return rendered(d, kept=set(kept).__contains__).work


def test_a_step_used_once_stands_where_it_is_used_and_brings_its_work():
    assert program("third") == ["you: time=8 s", "third = (time/2+time)*2 = 24 s [amdahl1967]"]


def test_a_name_that_is_kept_keeps_its_line():
    assert program("first", "third") == [
        "you: time=8 s",
        "first = time/2 = 4 s [amdahl1967]",
        "third = (first+time)*2 = 24 s",
    ]


def test_the_whole_program_names_everything():
    d = Derivation()
    d.step("first", half(TIME, TWO))
    assert rendered(d).work == ["you: time=8 s", "defined: two=2", "first = time/two = 4 s [amdahl1967]"]


@equation("s", a="s", b="s")
def folded(a, b, none, single):
    """What is left of it is a + b."""
    return where(single > none, (a * single + none * (b - single * a)) ** single, b) + b / single


def test_factors_of_one_and_terms_of_nothing_are_left_out():
    d = Derivation()
    none, single = Value("none", 0.0, "", Origin("defined")), Value("single", 1.0, "", Origin("defined"))
    d.step("all", folded(TIME, Value("more", 3.0, "s", Origin("you")), none, single))
    assert rendered(d, kept={"all"}.__contains__).work == ["you: time=8 s, more=3 s", "all = time+more = 11 s"]


@pytest.mark.parametrize("name", solvers())
def test_what_was_printed_before_changes_nothing(name):
    zoo, solver = Zoo.builtin(), solvers()[name]
    answer = solver.run(solver.request.model_validate(dict(solver.example)), zoo)
    again = answer_data(answer, zoo)
    compacting._KNOWN.clear()
    fresh = answer_data(answer, zoo)
    assert again == fresh == answer_data(answer, zoo)
    assert verify(fresh).ok
    # The short program's figures are the whole one's.
    whole = answer_data(answer, zoo, "full")
    assert {k: v for k, v in whole["result"].items() if k in fresh["result"]} == fresh["result"]
    assert len(fresh["work"]) <= len(whole["work"])
