"""How much faster does a draft model make generation, and at what cost in arithmetic?

Leviathan, Kalman and Matias, Fast inference from transformers via speculative decoding, 2023: with acceptance rate a and g
drafted tokens a step yields (1 - a^(g+1))/(1 - a) tokens (equation 1) and takes 1 + g*c times a step of the target alone, c
being the draft's time over the target's (theorem 3.8); arithmetic grows by (1 - a)(g*c' + g + 1)/(1 - a^(g+1)), c' being the
draft's share of arithmetic (theorem 3.11).

Assumptions: tokens are accepted independently and equally often; verifying g + 1 tokens takes as long as one, which holds while
memory bandwidth binds the target. Not modelled: batches large enough that verification is bound by arithmetic.
"""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import Field

from mlwalls.solvers.derivation import Derivation, Value, equation
from mlwalls.solvers.numbers import Numbers
from mlwalls.solvers.solver import Binding, Outcome, Presentation, Problem, Solver, SolverRequest, SolverResult
from mlwalls.solvers.words import figure, first, fit_result
from mlwalls.zoo import Zoo

SOURCES = {
    "leviathan2023": {
        "title": "Leviathan et al., Fast inference from transformers via speculative decoding, ICML",
        "year": "2023",
        "url": "https://arxiv.org/abs/2211.17192",
    }
}


class SpeculativeRequest(SolverRequest):
    """Arguments of the tool."""

    acceptance_percent: float = Field(gt=0, lt=100, description="Drafted tokens that the model accepts, e.g. 80.")
    draft_tokens: int = Field(ge=1, le=64, description="Tokens drafted a step, e.g. 5.")
    draft_time_percent: float = Field(default=5, ge=0, le=100, description="Draft's time of the model's, a token.")
    draft_flops_percent: float = Field(default=5, ge=0, le=100, description="Draft's arithmetic, likewise.")


class SpeculativeResult(SolverResult):
    """Typed outputs."""

    speedup: float = Field(description="Over the model alone.")
    step_tokens: float = Field(description="Tokens a verified step yields, on average.")
    arithmetic: float = Field(description="Factor on the arithmetic.")


@equation("", cite="leviathan2023", wall="serving_phases", acceptance="", drafted="")
def tokens_per_step(acceptance, drafted):
    """Tokens that a verified step yields: the accepted ones up to the first miss, and one more."""
    return (1 - acceptance ** (drafted + 1)) / (1 - acceptance)


@equation("", cite="leviathan2023", wall="serving_phases", tokens="", drafted="", relative_time="")
def gain(tokens, drafted, relative_time):
    """Speedup: tokens a step over the time of a step, in steps of the model alone."""
    return tokens / (1 + drafted * relative_time)


@equation("", cite="leviathan2023", tokens="", drafted="", relative_flops="")
def arithmetic_factor(tokens, drafted, relative_flops):
    """Arithmetic a token: g + 1 tokens verified and g drafted, over the tokens kept."""
    return (drafted * relative_flops + drafted + 1) / tokens


@dataclass(frozen=True, slots=True)
class Structure:
    """Nothing to branch on."""


def resolve(request: SpeculativeRequest, zoo: Zoo) -> Problem:
    """Put the arguments into SI numbers with their origin."""
    n = Numbers()
    n.you("acceptance", request.acceptance_percent / 100)
    n.you("drafted", request.draft_tokens)
    n.you("relative_time", request.draft_time_percent / 100)
    n.you("relative_flops", request.draft_flops_percent / 100)
    scenario = request.model_dump(by_alias=True, exclude_none=True, exclude_defaults=True)
    scenario.pop("detail", None)
    return Problem(Structure(), n, [], scenario, request)


def compute(s: Structure, n: Numbers, d: Derivation) -> dict[str, Value]:
    """Step out tokens, speedup and arithmetic; no branch on a number, so that it runs on arrays too."""
    tokens = d.step("step_tokens", tokens_per_step(n.acceptance, n.drafted))
    return {
        "step_tokens": tokens,
        "speedup": d.step("speedup", gain(tokens, n.drafted, n.relative_time)),
        "arithmetic": d.step("arithmetic", arithmetic_factor(tokens, n.drafted, n.relative_flops)),
    }


def present(problem: Problem, out: Outcome, d: Derivation) -> Presentation:
    """Word the answer; a draft that does not pay is an answer too."""
    request: SpeculativeRequest = problem.context
    speedup = first(out["speedup"])
    verdict = "faster" if speedup > 1 else "as fast: it does not pay"
    sentence = (
        f"{figure(speedup)}x {verdict}: with {request.draft_tokens} drafted tokens of which "
        f"{figure(request.acceptance_percent)} % are accepted a step yields {figure(first(out['step_tokens']))} tokens, "
        f"for {figure(first(out['arithmetic']))} times the arithmetic a token."
    )
    return Presentation(sentence, speedup > 1, Binding("serving_phases"), fit_result(SpeculativeResult, out, {}, set()))


SOLVER = Solver(
    name="speculative_decoding",
    question="How much faster does speculative decoding with a draft model make generation?",
    guidance="From acceptance rate and drafted tokens. For the draft's time use roofline on both models.",
    walls=("serving_phases",),
    request=SpeculativeRequest,
    result=SpeculativeResult,
    resolve=resolve,
    compute=compute,
    present=present,
    example={"acceptance_percent": 80, "draft_tokens": 5},
    sources=SOURCES,
)
