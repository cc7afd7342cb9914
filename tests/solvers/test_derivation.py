"""An equation is declared once; nothing can be computed beside a step; what is printed is what was computed."""

import math

import numpy as np
import pytest

from mlwalls.solvers.derivation import (
    Constant,
    Derivation,
    DerivationError,
    NonFiniteError,
    Origin,
    Value,
    bisect_integer,
    equation,
)
from mlwalls.solvers.expressions import EquationError
from mlwalls.solvers.functions import maximum, where
from mlwalls.solvers.rendering import exact, rendered, work

PER_PAIR = Constant("per_pair", 2, "FLOP")


@equation("s", traffic="byte", bandwidth="byte/s", cite="somebody2020", wall="memory_bandwidth")
def streaming_time(traffic, bandwidth):
    """Time to move bytes."""
    return traffic / bandwidth


@equation("FLOP")
def flops_of(rows, columns):
    """FLOPs of a product."""
    return PER_PAIR * rows * columns


@equation("byte", size="byte")
def row_total(count, size):
    """Bytes of a row."""
    return count * size


@equation("")
def nested(a, b, c):
    """Every kind of precedence."""
    return (a + b) * c - a / (b * c) - (a - (b - c)) + (-a) ** 2 + a**-b


@equation("T", a="T", b="T")
def larger(a, b):
    """The larger."""
    return where(a >= b, a, maximum(a, b))


def given(name, number, unit=""):
    return Value(name, number, unit, Origin("you"))


def test_a_step_prints_the_functions_own_expression_over_the_callers_names():
    d = Derivation()
    d.step("load_time", streaming_time(given("weights", 16e9, "byte"), given("hbm", 2e12, "byte/s")))
    assert work(d) == [
        "you: weights=1.6e10 byte, hbm=2e12 byte/s",
        "load_time = weights/hbm = 0.008 s [somebody2020]",
    ]


def test_constants_print_as_definitions():
    d = Derivation()
    d.step("flops", flops_of(given("m", 3), given("k", 5)))
    assert work(d) == ["you: m=3, k=5", "defined: per_pair=2 FLOP", "flops = per_pair*m*k = 30 FLOP"]


def test_precedence_survives_printing():
    d = Derivation()
    a, b, c = given("a", 2.0), given("b", 3.0), given("c", 5.0)
    value = d.step("x", nested(a, b, c))
    printed = work(d)[-1].split(" = ")[1]
    assert printed == "(a+b)*c-a/(b*c)-(a-(b-c))+(-a)**2+a**(-b)"
    assert value.value == pytest.approx(eval(printed, {"a": 2.0, "b": 3.0, "c": 5.0}))


def test_a_value_has_no_arithmetic_and_no_truth():
    v = given("x", 2.0)
    for operation in (lambda: v + v, lambda: v * 2, lambda: v < v, lambda: -v, lambda: float(v)):
        with pytest.raises(TypeError):
            operation()
    with pytest.raises(DerivationError, match="no truth"):
        bool(v)


def test_an_equation_takes_values_only():
    with pytest.raises(DerivationError, match="takes values"):
        flops_of(3, 5)
    with pytest.raises(DerivationError, match="takes values"):
        flops_of(given("m", 3))


def test_a_wrong_unit_is_refused_at_the_step():
    d = Derivation()
    with pytest.raises(DerivationError, match="hbm is in byte, not byte/s"):
        d.step("t", streaming_time(given("weights", 1, "byte"), given("hbm", 1, "byte")))


def test_a_name_is_assigned_once():
    d = Derivation()
    d.step("x", flops_of(given("m", 3), given("k", 5)))
    with pytest.raises(DerivationError, match="twice"):
        d.step("x", flops_of(given("m", 3), given("k", 5)))


def test_sums_run_over_rows_and_a_missing_cell_is_zero():
    d = Derivation()
    op = d.table("op")
    op.row("*", count=given("layers", 4))
    op.row("a", size=given("s", 10, "byte"))
    op.row("b", count=given("one", 1), size=given("z", 7, "byte"))
    op.row("c", other=given("o", 1))
    total = d.sum("bytes", row_total(op["count"], op["size"]))
    assert total.value == 4 * 10 + 1 * 7 + 4 * 0
    assert work(d)[1:] == [
        "op *: count = layers",
        "op a: size = s",
        "op b: count = one; size = z",
        "op c: other = o",
        "bytes = sum(op.count*op.size) = 47 byte",
    ]


def test_a_choice_names_what_it_took():
    d = Derivation()
    x, y = given("x", 1.0, "s"), given("y", 2.0, "s")
    assert d.choose("floor", "max", [x, y]).chosen == "y"
    assert work(d)[-1] == "floor = max(x,y) = 2 s -> y"


def test_choices_over_lists_name_one_for_each_case():
    d = Derivation()
    x, y = given("x", np.array([1.0, 5.0]), "s"), given("y", 2.0, "s")
    assert d.choose("floor", "max", [x, y]).chosen == ["y", "x"]
    assert work(d)[-1] == "floor = max(x,y) = [2,5] s -> [y,x]"


def test_the_same_code_runs_on_arrays_without_recording():
    d = Derivation(record=False)
    sizes = np.linspace(1e9, 2e9, 1001)
    times = d.step("t", streaming_time(given("w", sizes, "byte"), given("hbm", 1e12, "byte/s")))
    assert times.value == pytest.approx(sizes / 1e12)
    assert d.steps == []


def test_an_infinite_step_names_itself():
    d = Derivation()
    with pytest.raises(NonFiniteError) as caught:
        d.step("t", streaming_time(given("w", 1e308, "byte"), given("hbm", 1e-300, "byte/s")))
    assert caught.value.name == "t"
    with pytest.raises(NonFiniteError):
        d.step("u", streaming_time(given("w", 1.0, "byte"), given("hbm", 0.0, "byte/s")))


@pytest.mark.parametrize("threshold", [1, 2, 17, 99, 100])
def test_bisection_finds_the_edge_of_a_monotone_condition(threshold):
    assert bisect_integer("smallest", 1, 100, lambda n: n >= threshold) == threshold
    assert bisect_integer("largest", 1, 100, lambda n: n <= threshold) == threshold


def test_bisection_says_when_nothing_holds_and_works_element_by_element():
    assert math.isnan(bisect_integer("smallest", 1, 100, lambda n: n > 100))
    limits = np.array([3.0, 50.0, 101.0])
    found = bisect_integer("largest", np.ones(3), np.full(3, 100.0), lambda n: n <= limits)
    assert found.tolist() == [3, 50, 100]


@pytest.mark.parametrize(
    ("number", "printed"),
    [
        (3, "3"),
        (70553706496.0, "70553706496"),
        (9.894e14, "9.894e14"),
        (0.1, "0.1"),
        (6e-05, "6e-5"),
        (85899345920, "85899345920"),
    ],
)
def test_inputs_print_exactly(number, printed):
    assert exact(number) == printed
    assert float(printed) == number


def test_an_equation_outside_the_grammar_is_refused():
    @equation("")
    def two_lines(a):
        b = a + 1
        return b

    @equation("")
    def unknown_name(a):
        return a + math.pi

    d = Derivation()
    for bad in (two_lines, unknown_name):
        with pytest.raises(EquationError):
            d.step(bad.name, bad(given("a", 1.0)))
            work(d)


@equation("FLOP", first="FLOP", second="FLOP")
def both(first, second):
    """Sum."""
    return first + second


def test_the_short_program_takes_in_what_is_used_once_and_leaves_out_factors_of_one():
    d = Derivation()
    one = Value("one", 1, "", Origin("defined"))
    product = d.step("product", flops_of(given("m", 3), one))
    d.step("pass", both(product, d.step("kept", flops_of(given("k", 5), one))))
    assert rendered(d, kept={"pass", "kept"}.__contains__).work == [
        "you: m=3, k=5",
        "defined: per_pair=2 FLOP",
        "kept = per_pair*k = 10 FLOP",
        "pass = per_pair*m+kept = 16 FLOP",
    ]
    assert "product = per_pair*m*one = 6 FLOP" in rendered(d).work


def test_one_origin_line_an_entry_with_the_source_at_each_number_that_has_another():
    d = Derivation()
    a, b, c = (
        Value(n, 2, "FLOP", Origin("zoo", "chip", s, checked))
        for n, s, checked in [("a", "x", True), ("b", "x", True), ("c", "y", False)]
    )
    d.step("s", both(a, b))
    d.step("t", both(a, c))
    assert work(d)[0] == "zoo chip [x]: a=2 FLOP, b=2 FLOP, c=2 FLOP [y?]"


@equation("s", part="s")
def same(part):
    """A part as it is."""
    return part * 1


def test_a_sum_of_numbers_is_bit_for_bit_that_of_arrays():
    # 0.1 ten times is 0.9999999999999999 term by term, and 1.0 where lost bits are carried along.
    found = []
    for record, cell in ((True, 0.1), (False, np.array([0.1, 0.1]))):
        d = Derivation(record)
        table = d.table("op")
        for i in range(10):
            table.row(f"r{i}", part=given(f"part{i}", cell, "s"))
        found.append(d.sum("whole", same(table["part"])).value)
    assert found[0] == found[1][0] == 0.9999999999999999
