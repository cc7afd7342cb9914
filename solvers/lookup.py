"""Names in requests: resolved against the zoo, ambiguity said aloud, misspellings repaired by the caller."""

from __future__ import annotations

from mlwalls.solvers.errors import CallError
from mlwalls.zoo import Entry, UnknownName, Zoo


def find(zoo: Zoo, kind: str, argument: str, text: str, warnings: list[str]) -> Entry:
    """Return the entry that `text` names; an ambiguous name adds a warning that says what was taken.

    Raises:
        CallError: no entry has that name; carries the nearest ids.
    """
    try:
        resolution = zoo.resolve(kind, text)
    except UnknownName as error:
        raise CallError(argument, f"{text!r} is not in the zoo of {kind}.", choices=error.nearest[:5]) from error
    if resolution.note and resolution.note not in warnings:
        warnings.append(resolution.note)
    if resolution.entry.flag("announced_only"):
        warnings.append(f"{resolution.entry.name}: announced figures, nothing measured")
    return resolution.entry
