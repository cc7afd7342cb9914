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
    """

    def __init__(
        self,
        argument: str,
        problem: str,
        *,
        choices: Sequence[str] = (),
        repair: dict[str, Any] | None = None,
    ) -> None:
        self.argument, self.problem = argument, problem
        self.choices = tuple(choices)
        if repair is None:
            repair = {argument: self.choices[0]} if self.choices else {}
        self.repair = repair
        super().__init__(f"{argument}: {problem}" + (f" Nearest: {', '.join(self.choices)}." if choices else ""))
