"""How large a model, on how many tokens, for a compute budget; what loss; and what changes when it will serve many tokens?

Laws: Hoffmann et al. 2022, approaches 1 and 2 (power laws through published points) and 3 (a parametric loss), Besiroglu et
al. 2024 (approach 3 fitted again; the default, since the published fit contradicts the other two approaches) and Kaplan et
al. 2020. Any one of compute, parameters, tokens or loss gives the compute-optimal rest; parameters and tokens together give
that run's loss beside the optimum of its budget. With tokens to serve, the smallest lifetime compute at equal loss
(Sardana et al. 2024).

The range of the optimal size is the spread of the fitted exponent, the law turning about the middle of its data.

Not modelled: data quality and repetition, tokenizers, mixtures of experts (their active and total parameters scale
differently), post-training, other architectures than the papers'.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from pydantic import Field

from mlwalls.solvers.derivation import Derivation, Value
from mlwalls.solvers.equations import common
from mlwalls.solvers.equations import scaling as eq
from mlwalls.solvers.errors import CallError
from mlwalls.solvers.numbers import Numbers
from mlwalls.solvers.solver import Binding, Outcome, Presentation, Problem, Solver, SolverRequest, SolverResult
from mlwalls.solvers.words import count, figure, first, fit_result
from mlwalls.zoo import Zoo

Law = Literal["besiroglu", "hoffmann_1", "hoffmann_2", "hoffmann_3", "kaplan"]
_ENTRIES: dict[str, str] = {
    "besiroglu": "besiroglu-2024",
    "hoffmann_1": "hoffmann-2022-approach-1",
    "hoffmann_2": "hoffmann-2022-approach-2",
    "hoffmann_3": "hoffmann-2022-approach-3",
    "kaplan": "kaplan-2020",
}
_PARAMETRIC = ("irreducible", "a_coefficient", "b_coefficient", "alpha", "beta")
_POWER = ("anchor_compute", "anchor_parameters", "exponent")
# Budgets of the models that the laws were fitted on (Hoffmann: 6e18 to 3e21; Kaplan below 1e21).
MIDDLE, SMALLEST, LARGEST = 1.3e20, 6e18, 3e21
MAX_MILLIONS = 10**10


class ScalingLawRequest(SolverRequest):
    """Arguments of the scaling_law tool."""

    compute_flop: float | None = Field(default=None, ge=1e12, le=1e35, description="Budget, 5.76e23.")
    parameters: float | None = Field(default=None, ge=1e3, le=1e16, description="Size, 7e9.")
    tokens: float | None = Field(default=None, ge=1e3, le=1e18, description="Data, 1.4e12.")
    target_loss: float | None = Field(default=None, gt=0, le=12, description="Nats a token.")
    served_tokens: float | None = Field(default=None, ge=1, le=1e20, description="Lifetime demand: adds the best size.")
    law: Law = Field(default="besiroglu", description="Fit.")


class ScalingLawResult(SolverResult):
    """Typed outputs; `optimal_` is compute-optimal, `lifetime_` minimal over training and serving at equal loss."""

    loss: float | None = Field(default=None, description="Of this run, nats a token.")
    compute_flop: float = Field(description="Training budget.")
    optimal_parameters: float
    optimal_parameters_low: float = Field(description="80 % of the exponent's spread.")
    optimal_parameters_high: float
    optimal_tokens: float
    optimal_ratio: float = Field(description="Tokens a parameter.")
    optimal_loss: float | None = None
    run_ratio: float | None = Field(default=None, description="Tokens a parameter of this run.")
    over_training: float | None = Field(default=None, description="This run's tokens over the optimum of its size.")
    lifetime_parameters: float | None = None
    lifetime_tokens: float | None = None
    lifetime_flop: float | None = Field(default=None, description="Training and serving.")
    plain_lifetime_flop: float | None = Field(default=None, description="The same of the compute-optimal model.")
    saved_percent: float | None = None


@dataclass(frozen=True, slots=True)
class Structure:
    """Which law, from what, and whether serving counts."""

    form: Literal["parametric", "power", "kaplan"]
    given: Literal["compute", "parameters", "tokens", "loss", "run"]
    served: bool


def resolve(request: ScalingLawRequest, zoo: Zoo) -> Problem:
    """Take every branch of the request.

    Raises:
        CallError: nothing, or too much, is given; the law has no loss; the loss cannot be reached.
    """
    n = Numbers()
    study = zoo.get("studies", _ENTRIES[request.law])
    form: Any = "kaplan" if request.law == "kaplan" else "parametric" if study.has("irreducible") else "power"
    given = _given(request)
    if form != "parametric" and (given == "loss" or request.served_tokens is not None):
        raise CallError(
            "law",
            f"{request.law} has no loss to solve for.",
            choices=("besiroglu", "hoffmann_3"),
            repair={"law": "besiroglu"},
        )
    for symbol in _PARAMETRIC if form == "parametric" else _POWER:
        n.zoo(symbol, study, symbol)
    if form == "kaplan":
        for symbol in ("critical_parameters", "critical_tokens", "alpha", "beta"):
            n.zoo(symbol, study, symbol)
    for symbol in ("exponent_low", "exponent_high"):
        n.zoo(symbol, study, symbol)
    n.assumed("pivot", MIDDLE, SMALLEST, LARGEST, "FLOP", source="hoffmann2022")
    if form == "parametric" and request.target_loss is not None:
        least = n.irreducible.value
        if request.target_loss <= least * 1.0001:
            raise CallError(
                "target_loss",
                f"{request.target_loss} is not above {least}, which this law reaches with endless compute only.",
                repair={"target_loss": round(least + 0.2, 2)},
            )
        n.you("target", request.target_loss)
    for symbol, number, unit in (
        ("compute", request.compute_flop, "FLOP"),
        ("parameters", request.parameters, ""),
        ("tokens", request.tokens, ""),
        ("served", request.served_tokens, ""),
    ):
        if number is not None:
            n.you(symbol, number, unit)
    warnings = ["parameters without embeddings; superseded by hoffmann and besiroglu"] if form == "kaplan" else []
    scenario = request.model_dump(by_alias=True, exclude_none=True, exclude_defaults=True)
    scenario.pop("detail", None)
    return Problem(Structure(form, given, request.served_tokens is not None), n, warnings, scenario, request)


def _given(request: ScalingLawRequest) -> Any:
    names = [
        name
        for name, number in (
            ("compute", request.compute_flop),
            ("parameters", request.parameters),
            ("tokens", request.tokens),
            ("loss", request.target_loss),
        )
        if number is not None
    ]
    if not names:
        raise CallError(
            "compute_flop",
            "give one of compute_flop, parameters, tokens or target_loss, or two of the first three.",
            repair={"compute_flop": 5.76e23},
        )
    if len(names) == 1:
        return names[0]
    if len(names) > 2 or "loss" in names:
        extra = "target_loss" if "loss" in names else "compute_flop"
        raise CallError(extra, f"{' and '.join(names)} together say too much; drop one.", repair={extra: None})
    return "run"


def compute(s: Structure, n: Numbers, d: Derivation) -> dict[str, Value]:
    """Step out budget, optimum, loss and the lifetime optimum; keys are the results' symbols."""
    form = s.form
    exponent, scale = _shape(s, n, d)
    budget, parameters, tokens = _budget(s, n, d, exponent, scale)
    out = {"compute": budget}
    if form == "parametric":
        best = eq.best_size(scale, budget, exponent)
    else:
        best = eq.power_size(n.anchor_parameters, budget, n.anchor_compute, exponent)
    size = out["optimal_parameters"] = d.step("optimal_parameters", best)
    for end in ("low", "high"):
        turned = eq.size_at_exponent(size, budget, n.pivot, exponent, n[f"exponent_{end}"])
        out[f"optimal_parameters_{end}"] = d.step(f"optimal_parameters_{end}", turned)
    enough = out["optimal_tokens"] = d.step("optimal_tokens", eq.affordable(budget, size))
    out["optimal_ratio"] = d.step("optimal_ratio", common.ratio(enough, size))
    if form != "power":
        out["optimal_loss"] = d.step("optimal_loss", _loss(s, n, size, enough))
    if parameters is not None and tokens is not None:
        out["run_ratio"] = d.step("run_ratio", common.ratio(tokens, parameters))
        own = d.step("own_budget", _budget_of_size(s, n, parameters, exponent, scale))
        own_tokens = d.step("own_tokens", eq.affordable(own, parameters))
        out["over_training"] = d.step("over_training", common.ratio(tokens, own_tokens))
        if form != "power":
            out["loss"] = d.step("loss", _loss(s, n, parameters, tokens))
    if s.served and d.record:
        run = (parameters, tokens) if parameters is not None and tokens is not None else (size, enough)
        out |= _lifetime(n, d, out.get("loss", out["optimal_loss"]), run)
    return out


def _shape(s: Structure, n: Numbers, d: Derivation) -> tuple[Value, Value]:
    if s.form == "parametric":
        scale = d.step("balance", eq.balance(n.alpha, n.a_coefficient, n.beta, n.b_coefficient))
        return d.step("exponent", eq.size_exponent(n.alpha, n.beta)), scale
    return n.exponent, d.step("anchor_tokens", eq.affordable(n.anchor_compute, n.anchor_parameters))


def _budget_of_size(s: Structure, n: Numbers, parameters: Value, exponent: Value, scale: Value) -> Any:
    if s.form == "parametric":
        return eq.budget_of_size(parameters, scale, exponent)
    return eq.power_budget_of_size(n.anchor_compute, parameters, n.anchor_parameters, exponent)


def _budget(
    s: Structure, n: Numbers, d: Derivation, exponent: Value, scale: Value
) -> tuple[Value, Value | None, Value | None]:
    """Return the training budget, and this run's parameters and tokens where both are known."""
    if s.given == "run":
        if "compute" not in n:
            return d.step("compute", eq.training_compute(n.parameters, n.tokens)), n.parameters, n.tokens
        if "parameters" in n:
            return n.compute, n.parameters, d.step("run_tokens", eq.affordable(n.compute, n.parameters))
        return n.compute, d.step("run_parameters", eq.affordable(n.compute, n.tokens)), n.tokens
    if s.given == "compute":
        return n.compute, None, None
    if s.given == "parameters":
        return d.step("compute", _budget_of_size(s, n, n.parameters, exponent, scale)), None, None
    if s.given == "tokens":
        law = (
            eq.budget_of_tokens(n.tokens, scale, exponent)
            if s.form == "parametric"
            else eq.power_budget_of_tokens(n.anchor_compute, n.tokens, scale, exponent)
        )
        return d.step("compute", law), None, None
    front = d.step("frontier", eq.frontier(n.a_coefficient, scale, n.alpha, n.b_coefficient, n.beta))
    return d.step("compute", eq.budget_of_loss(front, n.target, n.irreducible, n.alpha, n.beta)), None, None


def _loss(s: Structure, n: Numbers, parameters: Value, tokens: Value) -> Any:
    if s.form == "kaplan":
        return eq.kaplan_loss(n.critical_parameters, parameters, n.alpha, n.beta, n.critical_tokens, tokens)
    return eq.parametric_loss(n.irreducible, n.a_coefficient, parameters, n.alpha, n.b_coefficient, tokens, n.beta)


def _lifetime(n: Numbers, d: Derivation, goal: Value, plain: tuple[Value, Value]) -> dict[str, Value]:
    """The size of least lifetime compute at the loss `goal`; `plain` are parameters and tokens to compare with."""
    least = d.step("least_size", eq.least_size(n.a_coefficient, goal, n.irreducible, n.alpha))
    low = int(least.value * 1.0001 / 1e6) + 1
    if low >= MAX_MILLIONS:
        return {}

    def law(silent: Derivation, count: Value) -> tuple[Value, Value, Any]:
        size = silent.step("lifetime_parameters", eq.millions(count))
        goes_on = (n.b_coefficient, goal, n.irreducible, n.a_coefficient, size, n.alpha, n.beta)
        tokens = silent.step("lifetime_tokens", eq.tokens_for_loss(*goes_on))
        growing = eq.growing(tokens, n.served, n.alpha, n.a_coefficient, size, n.beta, n.b_coefficient)
        return size, tokens, growing

    def holds(count: float) -> bool:
        return bool(law(Derivation(record=False), Value("size_millions", count, ""))[2].evaluate())

    _, _, condition = law(Derivation(record=False), Value("size_millions", float(low), ""))
    count = d.search("size_millions", "smallest", "size_millions", low, MAX_MILLIONS, condition, holds)
    if count is None:
        return {}
    size, tokens, _ = law(d, count)
    found = {"lifetime_parameters": size, "lifetime_tokens": tokens}
    found["lifetime"] = d.step("lifetime", eq.lifetime_compute(size, tokens, n.served))
    found["plain_lifetime"] = d.step("plain_lifetime", eq.lifetime_compute(*plain, n.served))
    found["saved"] = d.step("saved", common.saved(found["lifetime"], found["plain_lifetime"]))
    return found


def present(problem: Problem, out: Outcome, d: Derivation) -> Presentation:
    """Word the answer: the run against the optimum of its budget, or the optimum with its range; then the lifetime."""
    s: Structure = problem.structure
    r: ScalingLawRequest = problem.context
    size, low, high = (first(out[f"optimal_parameters{end}"]) for end in ("", "_low", "_high"))
    low, high = min(low, high, size), max(low, high, size)
    spread = f"{count(size)} parameters ({count(low)} to {count(high)})"
    loss = f", loss {figure(first(out['optimal_loss']))} nats/token" if "optimal_loss" in out else ""
    best = f"{spread} on {count(first(out['optimal_tokens']))} tokens, {figure(first(out['optimal_ratio']))} a parameter{loss}"
    law = problem.context.law.replace("_", " approach ").capitalize()
    if s.given == "run":
        over = first(out["over_training"])
        kind = "over-trained" if over > 1.05 else "under-trained" if over < 0.95 else "about compute-optimal"
        reach = f" and reaches {figure(first(out['loss']))} nats/token" if "loss" in out else ""
        sentence = (
            f"By {law} this run is {kind}: it sees {figure(first(out['run_ratio']))} tokens a parameter, {figure(over)}x "
            f"the compute-optimal number for its size{reach}. The same {figure(first(out['compute']))} FLOP are best spent on "
            f"{best}."
        )
    else:
        what = {
            "compute": f"{figure(first(out['compute']))} FLOP are best spent on",
            "parameters": f"{count(r.parameters or 0)} parameters are compute-optimal at {figure(first(out['compute']))} FLOP:",
            "tokens": f"{count(r.tokens or 0)} tokens are compute-optimal at {figure(first(out['compute']))} FLOP:",
            "loss": f"a loss of {figure(r.target_loss or 0)} takes at least {figure(first(out['compute']))} FLOP:",
        }[s.given]
        sentence = f"By {law}, {what} {best}."
    if "lifetime" in out:
        sentence += (
            f" With {count(r.served_tokens or 0)} tokens to serve, {count(first(out['lifetime_parameters']))} parameters on "
            f"{count(first(out['lifetime_tokens']))} tokens reach the same loss with {figure(100 * first(out['saved']))} % "
            f"less compute over the model's life ({figure(first(out['lifetime']))} FLOP)."
        )
    warnings = []
    if not SMALLEST <= first(out["compute"]) <= LARGEST and s.form != "kaplan":
        warnings.append("extrapolated: the law was fitted on budgets of 6e18 to 3e21 FLOP")
    result = fit_result(ScalingLawResult, out, {}, set())
    return Presentation(sentence, True, Binding("scaling_laws"), result, warnings)


SOLVER = Solver(
    name="scaling_law",
    question="How many parameters on how many tokens for a compute budget, what loss, and is this model over-trained?",
    guidance=(
        "Compute-optimal by Chinchilla or Kaplan, from one of compute, parameters, tokens or loss; two describe a run."
    ),
    walls=("scaling_laws",),
    request=ScalingLawRequest,
    result=ScalingLawResult,
    resolve=resolve,
    compute=compute,
    present=present,
    example={"compute_flop": 5.76e23},
)
