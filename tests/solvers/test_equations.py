"""Every equation: printable, cited ids known, and dimensionally right with pint quantities."""

import importlib
import pkgutil
import types

import numpy as np
import pint
import pytest

import mlwalls.solvers.equations as package
from mlwalls.solvers.derivation import Constant, Equation
from mlwalls.solvers.units import COUNTS, reduce_unit
from mlwalls.solvers.walls import WALLS


def _equations():
    for module in pkgutil.iter_modules(package.__path__):
        loaded = importlib.import_module(f"{package.__name__}.{module.name}")
        for item in vars(loaded).values():
            if isinstance(item, Equation) and item.function.__module__ == loaded.__name__:
                yield item


EQUATIONS = sorted(_equations(), key=lambda e: (e.function.__module__, e.name))
UNITS = pint.UnitRegistry()
for _word in ("FLOP", "byte_", "USD", "Mtoken"):
    UNITS.define(f"{_word} = [{_word}]")


def quantity(number, unit):
    text = reduce_unit(unit).replace("byte", "byte_").replace("^", "**") or "dimensionless"
    return UNITS.Quantity(number, text)


@pytest.mark.parametrize("eq", EQUATIONS, ids=lambda e: f"{e.function.__module__.rsplit('.', 1)[-1]}.{e.name}")
def test_dimensions(eq):
    letters = {"T": "s", "U": "byte", "V": "FLOP"}
    constants = {
        name: quantity(float(c), c.unit) for name, c in eq.function.__globals__.items() if isinstance(c, Constant)
    }
    function = types.FunctionType(eq.function.__code__, {**eq.function.__globals__, **constants})
    arguments = [quantity(2.0 + 0.5 * i, letters.get(unit, unit)) for i, unit in enumerate(eq.units.values())]
    with np.errstate(all="ignore"):  # only the dimension is looked at
        result = function(*arguments)
    expected = quantity(1.0, letters.get(eq.unit, eq.unit))
    if isinstance(result, (bool, np.bool_)):
        assert eq.unit == ""
        return
    result = UNITS.Quantity(result) if not hasattr(result, "dimensionality") else result
    assert result.dimensionality == expected.dimensionality, f"{result.units} where {eq.unit or 'a count'} is declared"
    assert result.to(expected.units).units == expected.units


@pytest.mark.parametrize("eq", EQUATIONS, ids=lambda e: f"{e.function.__module__.rsplit('.', 1)[-1]}.{e.name}")
def test_prints_and_cites(eq, zoo):
    assert "".join(eq.template.parts)
    assert eq.function.__doc__
    for cited in eq.cite:
        assert zoo.source(cited).url
    assert eq.wall == "" or eq.wall in WALLS


def test_a_hidden_unit_fails_the_dimension_check():
    def hours(seconds):
        return seconds / 3600

    eq = Equation(hours, "", (), "", {"seconds": "s"})
    with pytest.raises(AssertionError):
        test_dimensions(eq)


def test_reducing_units():
    assert reduce_unit("byte*token/s") == "byte/s"
    assert reduce_unit("token/s") == "1/s"
    assert reduce_unit("W*s") == "J"
    assert all(reduce_unit(word) == "" for word in COUNTS)
