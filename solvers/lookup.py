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
        listed = "" if error.nearest else f" List them: find_in_zoo kind={kind}."
        raise CallError(
            argument, f"{text!r} is not in the zoo of {kind}.{listed}", choices=error.nearest[:5]
        ) from error
    if resolution.note and resolution.note not in warnings:
        warnings.append(resolution.note)
    if resolution.entry.flag("announced_only"):
        warnings.append(f"{resolution.entry.name}: announced figures, nothing measured")
    return resolution.entry


def parameters_of(zoo: Zoo, text: str) -> float | None:
    """Return the parameters of the model that `text` names, where the zoo has both."""
    try:
        entry = zoo.resolve("models", text).entry
    except UnknownName:
        return None
    return entry.number("parameters").value if entry.has("parameters") else None
