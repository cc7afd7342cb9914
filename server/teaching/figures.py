"""Figures of a tutorial: its calls answered when they are first needed, and prose filled from the answers.

A figure is an expression of the published grammar over ``call.field``; a placeholder is ``{expression}`` or
``{expression:digits}``. Fields are those of an answer's result (``field__2`` is the second of a list, ``field__count`` how
many), and ``share`` of the binding wall.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from typing import Any

from mlwalls.prompts import Call, Fill, Tutorial
from mlwalls.server.expression_reader import ProgramError, evaluate
from mlwalls.server.tools import Tools, call
from mlwalls.solvers.words import figure
from mlwalls.zoo import Zoo

_PLACE = re.compile(r"\{([^{}:]+)(?::(\d+))?\}")
_FIELD = re.compile(r"([a-z_][a-z0-9_]*)\.([a-z_][a-z0-9_]*)")


class FigureError(ValueError):
    """A tutorial asks for a figure that its calls do not give; says which."""


@cache
def _tools(zoo: Zoo) -> Tools:
    return Tools(zoo)


class Figures:
    """The answers of one tutorial's calls over one zoo, each computed once.

    `own` replaces the model or accelerator in the calls of the scenario; claims and exercises keep theirs. `answers` are those
    that somebody has already, by call.
    """

    def __init__(
        self,
        tutorial: Tutorial,
        zoo: Zoo,
        own: Mapping[str, str] | None = None,
        answers: Mapping[str, dict[str, Any]] | None = None,
    ) -> None:
        self.tutorial, self.zoo = tutorial, zoo
        self._own = dict(own or {})
        self._answers: dict[str, dict[str, Any]] = dict(answers or {})

    def asked(self, name: str) -> Call:
        """Return a call as it is made here."""
        asked = self.tutorial.call(name)
        if not self._own or name not in self.tutorial.data["scenario"]:
            return asked
        arguments = {key: self._own.get(key, value) for key, value in asked.arguments.items()}
        return Call(asked.name, asked.tool, arguments, asked.why)

    def answer(self, name: str) -> dict[str, Any]:
        """Return the structured answer of a call.

        Raises:
            FigureError: the call is refused; carries what the tool said.
        """
        if name not in self._answers:
            asked = self.asked(name)
            result = call(_tools(self.zoo)[asked.tool], asked.arguments)
            if result.is_error or result.structured_content is None:
                block = result.content[0]
                raise FigureError(f"tutorial {self.tutorial.number}, {name}: {getattr(block, 'text', 'no answer')}")
            self._answers[name] = dict(result.structured_content)
        return self._answers[name]

    def field(self, name: str, field: str) -> Any:
        """Return one field of an answer: a number, a list, or a word (``binding_wall`` is the wall's slug)."""
        if name == "figures":
            return self.value(self.tutorial.data["figures"][field])
        answer = self.answer(name)
        if field == "binding_wall":
            return answer["binding_wall"]["slug"]
        if field == "share":
            return answer["binding_wall"].get("share")
        if field == "feasible":
            return float(answer["feasible"])
        bare, _, place = field.partition("__")
        found = answer["result"].get(bare)
        if place == "count" and isinstance(found, list):
            return float(len(found))
        if place.isdigit() and isinstance(found, list) and 0 < int(place) <= len(found):
            found = found[int(place) - 1]
        if found is None:
            known = ", ".join(answer["result"])
            raise FigureError(f"tutorial {self.tutorial.number}: {name} has no {field}; it has {known}")
        return found

    def value(self, expression: str) -> Any:
        """Return what an expression over ``call.field`` comes to.

        Raises:
            FigureError: a field that is not there, or an expression that is not of the grammar.
        """
        bare = _FIELD.fullmatch(expression.strip())
        if bare:
            return self.field(bare[1], bare[2])
        values = {match[0]: self.field(match[1], match[2]) for match in _FIELD.finditer(expression)}
        try:
            return evaluate(expression, values)
        except ProgramError as error:
            raise FigureError(f"tutorial {self.tutorial.number}: {expression!r}: {error}") from error

    def fill(self, text: str) -> str:
        """Return prose with every placeholder replaced by its figure."""
        return _PLACE.sub(lambda match: shown(self.value(match[1]), int(match[2] or 3)), text)

    def scenario_answers(self) -> list[tuple[Call, dict[str, Any]]]:
        """Return the scenario's calls with their answers, in order."""
        return [(self.asked(name), self.answer(name)) for name in self.tutorial.data["scenario"]]


def shown(value: Any, digits: int = 3) -> str:
    """Print a figure for prose: a number with few digits, a list of them, a wall by its words."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(shown(item, digits) for item in value)
    if isinstance(value, (int, float)):
        whole = float(value).is_integer() and abs(value) < 1e6
        return f"{value:,.0f}" if whole else figure(float(value), digits)
    return str(value) if " " in str(value) else str(value).replace("_", " ")


def filler(zoo: Zoo) -> Fill:
    """Return what fills tutorials' prose over this zoo."""
    known: dict[int, Figures] = {}

    def fill(tutorial: Tutorial, text: str) -> str:
        if tutorial.number not in known:
            known[tutorial.number] = Figures(tutorial, zoo)
        return known[tutorial.number].fill(text)

    return fill
