"""Functions that equations may call: on floats without NumPy, on arrays through it.

NumPy is imported only when an array arrives, so a scalar answer never pays for it. Each
name prints in `work` as the grammar spells it (see ``PRINTED``).
"""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Any

_SCALARS = (float, int, bool)
_NORMAL = NormalDist()


def _numpy() -> Any:
    import numpy

    return numpy


def maximum(first: Any, *others: Any) -> Any:
    """Return the largest argument, element by element."""
    result = first
    for other in others:
        if isinstance(result, _SCALARS) and isinstance(other, _SCALARS):
            result = other if other > result else result
        else:
            result = _numpy().maximum(result, other)
    return result


def minimum(first: Any, *others: Any) -> Any:
    """Return the smallest argument, element by element."""
    result = first
    for other in others:
        if isinstance(result, _SCALARS) and isinstance(other, _SCALARS):
            result = other if other < result else result
        else:
            result = _numpy().minimum(result, other)
    return result


def where(condition: Any, if_true: Any, if_false: Any) -> Any:
    """Return `if_true` where `condition` holds, else `if_false`; both are evaluated."""
    if isinstance(condition, _SCALARS):
        return if_true if condition else if_false
    return _numpy().where(condition, if_true, if_false)


def ceil(number: Any) -> Any:
    """Round up to a whole number."""
    return float(math.ceil(number)) if isinstance(number, _SCALARS) else _numpy().ceil(number)


def floor(number: Any) -> Any:
    """Round down to a whole number."""
    return float(math.floor(number)) if isinstance(number, _SCALARS) else _numpy().floor(number)


def sqrt(number: Any) -> Any:
    """Return the square root."""
    return math.sqrt(number) if isinstance(number, _SCALARS) else _numpy().sqrt(number)


def log(number: Any) -> Any:
    """Return the natural logarithm."""
    return math.log(number) if isinstance(number, _SCALARS) else _numpy().log(number)


def exp(number: Any) -> Any:
    """Return e to the power of `number`."""
    return math.exp(number) if isinstance(number, _SCALARS) else _numpy().exp(number)


def absolute(number: Any) -> Any:
    """Return the magnitude."""
    return abs(number) if isinstance(number, _SCALARS) else _numpy().abs(number)


def norm_ppf(probability: Any) -> Any:
    """Return the standard normal quantile (0 < probability < 1)."""
    if isinstance(probability, _SCALARS):
        return _NORMAL.inv_cdf(probability)
    return _numpy().vectorize(_NORMAL.inv_cdf, otypes=[float])(probability)


def norm_cdf(number: Any) -> Any:
    """Return the standard normal distribution function."""
    if isinstance(number, _SCALARS):
        return _NORMAL.cdf(number)
    return _numpy().vectorize(_NORMAL.cdf, otypes=[float])(number)


def _erlang_c_scalar(servers: float, offered: float) -> float:
    blocking = 1.0
    for k in range(1, int(servers) + 1):
        blocking = offered * blocking / (k + offered * blocking)
    return blocking / (1 - (offered / servers) * (1 - blocking))


def erlang_c(servers: Any, offered: Any) -> Any:
    """Return the probability of waiting in M/M/c: `servers` c, `offered` load in erlangs < c.

    Erlang's formula through the Erlang-B recursion, which does not overflow.
    """
    if isinstance(servers, _SCALARS) and isinstance(offered, _SCALARS):
        return _erlang_c_scalar(servers, offered)
    return _numpy().vectorize(_erlang_c_scalar, otypes=[float])(servers, offered)


PRINTED = {
    maximum: "max",
    minimum: "min",
    where: "where",
    ceil: "ceil",
    floor: "floor",
    sqrt: "sqrt",
    log: "log",
    exp: "exp",
    absolute: "abs",
    norm_ppf: "norm_ppf",
    norm_cdf: "norm_cdf",
    erlang_c: "erlang_c",
}
