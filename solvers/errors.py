"""What is said when a call cannot be answered: which argument, why, and how to repair it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


class CallError(ValueError):
    """A call whose arguments have no answer.

    Attributes:
        argument: the argument at fault.
        problem: what is wrong with it, a sentence.
        choices: valid values, nearest first.
        repair: arguments of the call to change so that it is valid, or empty where only the caller knows.
        follows: a number that an argument decides and that was given otherwise: its name, and what was given.
    """

    def __init__(
        self,
        argument: str,
        problem: str,
        *,
        choices: Sequence[str] = (),
        repair: dict[str, Any] | None = None,
        follows: tuple[str, float] | None = None,
    ) -> None:
        self.argument, self.problem = argument, problem
        self.choices = tuple(choices)
        if repair is None:
            repair = {argument: self.choices[0]} if self.choices else {}
        self.repair = repair
        self.follows = follows
        super().__init__(f"{argument}: {problem}" + (f" Nearest: {', '.join(self.choices)}." if choices else ""))
