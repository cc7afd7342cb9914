"""What a solver is, and what one run of it gives.

A solver module reads top-down: docstring with the question and the sources, `Request`, `Result`,
`resolve`, `compute`, `present`, and a `SOLVER` record at the bottom. `resolve` takes every branch and yields
structure and numbers; `compute` runs on scalars (recorded) or arrays (not recorded) without a branch on a
number; `present` words the answer from what was computed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from mlwalls.solvers.derivation import Derivation, NonFiniteError, Value
from mlwalls.solvers.errors import CallError
from mlwalls.solvers.numbers import Numbers
from mlwalls.zoo import Zoo

Detail = Literal["brief", "default", "full"]


class SolverRequest(BaseModel):
    """Arguments that every solver takes; solvers add their own before these."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    set_: list[str] = Field(
        default_factory=list,
        alias="set",
        description='["eta16=0.7"]',
    )
    define: list[Annotated[str, Field(max_length=100_000)]] = Field(
        default_factory=list,
        max_length=4,
        description="YAML.",
    )
    detail: Detail = Field(default="default", description="brief: no work.")


class SolverResult(BaseModel):
    """Typed outputs of a solver: flat, optional fields absent where they do not apply.

    `MAIN` is the figure that an analysis takes where none is named (else the first). `BRIEF_LEAVES` are absent from brief
    answers; `FULL_ALONE` from all but those in full detail and those that say why not.
    """

    MAIN: ClassVar[str] = ""
    FULL_ALONE: ClassVar[frozenset[str]] = frozenset()
    BRIEF_LEAVES: ClassVar[frozenset[str]] = frozenset()
    model_config = ConfigDict(extra="forbid")


@dataclass(frozen=True, slots=True)
class Problem:
    """A resolved request: which rows and equations apply, the numbers, and what to say about them.

    Attributes:
        structure: everything that `compute` may branch on; hashable.
        numbers: symbols with values and origins.
        warnings: substitutions and extrapolations.
        scenario: the resolved request, as arguments that make the same call again.
        context: names for wording, and what `present` needs besides numbers.
    """

    structure: Any
    numbers: Numbers
    warnings: list[str] = field(default_factory=list)
    scenario: dict[str, Any] = field(default_factory=dict)
    context: Any = None


@dataclass(frozen=True, slots=True)
class Binding:
    """The wall that binds (the floor's), its share of the total, and the next one: what takes more than it, if a wall does."""

    slug: str
    runner_up: str = ""
    share: float | None = None


@dataclass(frozen=True, slots=True)
class Presentation:
    """An answer in words and typed figures; `unsaid` names steps that it does not speak of."""

    verdict: str
    feasible: bool
    binding: Binding
    result: SolverResult
    warnings: Sequence[str] = ()
    unsaid: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Answer:
    """One answered request."""

    solver: Solver
    problem: Problem
    presentation: Presentation
    derivation: Derivation


Outcome = Mapping[str, Value]


@dataclass(frozen=True, slots=True)
class Solver:
    """One tool.

    Attributes:
        name: tool name, snake_case.
        question: the user's question, in the user's words; first sentence of the description.
        guidance: when to use it and when another tool; at most 300 characters.
        walls: slugs of the walls that it answers.
        request, result: typed arguments and outputs.
        resolve, compute, present: see the module docstring.
        example: arguments of a call that works, shown in errors and docs.
        slow: whether a call may take longer than a few milliseconds.
        per_replica: figures that add up over copies of the accelerators asked about, each with work of its own.
        pinned: numbers assumed by other arguments that an analysis keeps as the request has them, by argument of the same name.
        sources: works that it cites beside those of the zoo's bibliography: id to title, year, url.
        analysis: whether it asks other solvers, and so cannot itself be asked about.
    """

    name: str
    question: str
    guidance: str
    walls: tuple[str, ...]
    request: type[SolverRequest]
    result: type[SolverResult]
    resolve: Callable[[Any, Zoo], Problem]
    compute: Callable[[Any, Numbers, Derivation], Outcome]
    present: Callable[[Problem, Outcome, Derivation], Presentation]
    example: Mapping[str, Any]
    slow: bool = False
    analysis: bool = False
    per_replica: frozenset[str] = frozenset()
    pinned: tuple[str, ...] = ()
    sources: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    ENTRY_POINTS: ClassVar[str] = "mlwalls.solvers"

    def run(self, request: SolverRequest, zoo: Zoo) -> Answer:
        """Answer one request with its work recorded.

        Raises:
            CallError: an argument has no answer; says which and how to repair the call.
        """
        try:
            problem = self.resolve(request, zoo)
        except NonFiniteError as error:
            argument, repair = ("set", {"set": []}) if request.set_ else (next(iter(self.example)), dict(self.example))
            text = f"these arguments make the step {error.name!r} infinite or undefined. Give realistic numbers."
            raise CallError(argument, text, repair=repair) from error
        problem.numbers.override(request.set_)
        derivation = Derivation()
        try:
            outcome = self.compute(problem.structure, problem.numbers, derivation)
            return Answer(self, problem, self.present(problem, outcome, derivation), derivation)
        except NonFiniteError as error:
            raise _out_of_range(error, problem, self) from error

    def evaluate(self, problem: Problem, vary: Mapping[str, Any]) -> Outcome:
        """Run the same computation unrecorded with arrays in place of some numbers (broadcast together)."""
        return self.compute(problem.structure, problem.numbers.replaced(vary), Derivation(record=False))


def _out_of_range(error: NonFiniteError, problem: Problem, solver: Solver) -> CallError:
    """Blame the caller's own most extreme number for a step that is not finite."""
    given = [v for v in problem.numbers.values() if v.origin.kind == "you" and isinstance(v.value, float)]
    replaced = {text.partition("=")[0].strip() for text in problem.scenario.get("set", [])}
    given = [v for v in given if v.name in replaced] or given
    far = max(given, key=lambda v: abs(math.log10(abs(v.value))) if v.value else 0.0, default=None)
    what = f"{far.name}={far.value:g} makes" if far is not None else "these arguments make"
    problem_text = f"{what} the step {error.name!r} infinite or undefined. Give a realistic number."
    assignments = problem.scenario.get("set", [])
    kept = [a for a in assignments if far is None or a.partition("=")[0].strip() != far.name]
    if kept != assignments:
        return CallError("set", problem_text, repair={"set": kept})
    name = next((k for k in problem.scenario if far is not None and k.startswith(far.name)), "set")
    default = solver.example.get(name)
    return CallError(name, problem_text, repair={name: default} if default is not None else {})
