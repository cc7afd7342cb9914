"""Formulas of scaling laws: loss of a model of N parameters trained on D tokens, and the best N and D for a budget.

Budgets in FLOP: 6 a parameter and training token (forward and backward), 2 a parameter and token served.
"""

from __future__ import annotations

from mlwalls.solvers.derivation import Constant, equation

TRAIN = Constant("train", 6, "FLOP")
SERVE = Constant("serve", 2, "FLOP")
MILLION = Constant("million", 1e6)
CHINCHILLA = "hoffmann2022"


@equation("FLOP", cite="kaplan2020", wall="scaling_laws")
def training_compute(parameters, tokens):
    """FLOPs of training, attention's own apart."""
    return TRAIN * parameters * tokens


@equation("", compute="FLOP", cite="kaplan2020")
def affordable(compute, count):
    """Tokens (or parameters) that a budget affords beside so many parameters (or tokens)."""
    return compute / (TRAIN * count)


@equation("", cite=CHINCHILLA, wall="scaling_laws")
def parametric_loss(irreducible, a_coefficient, parameters, alpha, b_coefficient, tokens, beta):
    """Loss of approach 3, nats a token."""
    return irreducible + a_coefficient / parameters**alpha + b_coefficient / tokens**beta


@equation("", cite=CHINCHILLA)
def balance(alpha, a_coefficient, beta, b_coefficient):
    """Size of a compute-optimal model relative to the square root of its budget, G of the paper's equation 4."""
    return (alpha * a_coefficient / (beta * b_coefficient)) ** (1 / (alpha + beta))


@equation("", cite=CHINCHILLA)
def size_exponent(alpha, beta):
    """Exponent with which the optimal size grows with compute, a of the paper's equation 4."""
    return beta / (alpha + beta)


@equation("", compute="FLOP", cite=CHINCHILLA, wall="scaling_laws")
def best_size(balance, compute, exponent):
    """Parameters of the compute-optimal model."""
    return balance * (compute / TRAIN) ** exponent


@equation("FLOP", cite=CHINCHILLA)
def budget_of_size(parameters, balance, exponent):
    """Budget for which so many parameters are compute-optimal."""
    return TRAIN * (parameters / balance) ** (1 / exponent)


@equation("FLOP", cite=CHINCHILLA)
def budget_of_tokens(tokens, balance, exponent):
    """Budget for which so many tokens are compute-optimal."""
    return TRAIN * (tokens * balance) ** (1 / (1 - exponent))


@equation("")
def frontier(a_coefficient, balance, alpha, b_coefficient, beta):
    """Reducible loss of the compute-optimal model at one pair of parameter and token."""
    return a_coefficient / balance**alpha + b_coefficient * balance**beta


@equation("FLOP", wall="scaling_laws")
def budget_of_loss(frontier, loss, irreducible, alpha, beta):
    """Smallest budget that reaches a loss: the inverse of the loss along the compute-optimal line."""
    return TRAIN * (frontier / (loss - irreducible)) ** ((alpha + beta) / (alpha * beta))


@equation("", compute="FLOP", anchor_compute="FLOP", wall="scaling_laws")
def power_size(anchor_parameters, compute, anchor_compute, exponent):
    """Parameters of the compute-optimal model by a power law through one published point."""
    return anchor_parameters * (compute / anchor_compute) ** exponent


@equation("FLOP", anchor_compute="FLOP")
def power_budget_of_size(anchor_compute, parameters, anchor_parameters, exponent):
    """Budget for which so many parameters are compute-optimal by that power law."""
    return anchor_compute * (parameters / anchor_parameters) ** (1 / exponent)


@equation("FLOP", anchor_compute="FLOP")
def power_budget_of_tokens(anchor_compute, tokens, anchor_tokens, exponent):
    """Budget for which so many tokens are compute-optimal by that power law."""
    return anchor_compute * (tokens / anchor_tokens) ** (1 / (1 - exponent))


@equation("", compute="FLOP", pivot="FLOP")
def size_at_exponent(parameters, compute, pivot, exponent, other):
    """The optimal size were the exponent another one, the law turning about the middle of its data."""
    return parameters * (compute / pivot) ** (other - exponent)


@equation("", cite="kaplan2020", wall="scaling_laws")
def kaplan_loss(critical_parameters, parameters, alpha, beta, critical_tokens, tokens):
    """Loss by Kaplan's equation 1.5, nats a token."""
    return ((critical_parameters / parameters) ** (alpha / beta) + critical_tokens / tokens) ** beta


@equation("FLOP", cite="sardana2024")
def lifetime_compute(parameters, tokens, served):
    """FLOPs of training and of all tokens ever served (read or written)."""
    return TRAIN * parameters * tokens + SERVE * parameters * served


@equation("")
def millions(count):
    """A count given in millions."""
    return MILLION * count


@equation("", cite="sardana2024")
def tokens_for_loss(b_coefficient, loss, irreducible, a_coefficient, parameters, alpha, beta):
    """Tokens on which so many parameters reach a loss."""
    return (b_coefficient / (loss - irreducible - a_coefficient / parameters**alpha)) ** (1 / beta)


@equation("", cite="sardana2024")
def least_size(a_coefficient, loss, irreducible, alpha):
    """Parameters that would reach a loss on endless data; smaller models never do."""
    return (a_coefficient / (loss - irreducible)) ** (1 / alpha)


@equation("")
def growing(tokens, served, alpha, a_coefficient, parameters, beta, b_coefficient):
    """Whether a larger model of the same loss costs more over its life: the slope of lifetime compute in size."""
    return 3 * tokens + served >= 3 * parameters * (alpha * a_coefficient / parameters ** (alpha + 1)) / (
        beta * b_coefficient / tokens ** (beta + 1)
    )
