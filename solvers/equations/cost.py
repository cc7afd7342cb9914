"""Formulas of serving's cost: what a query occupies, how many replicas a load takes, what an accelerator-hour costs.

`fixed` and `each` are the two parts of a step that is linear in its batch; `spent` is the time of a replica that a query takes.
"""

from __future__ import annotations

from mlwalls.solvers.derivation import Constant, equation
from mlwalls.solvers.functions import ceil, floor, maximum, where

HOUR = Constant("hour", 3600, "s/h")
YEAR = Constant("year_s", 31536000, "s/year")
PER_YEAR = Constant("seconds_a_year", 31536000, "s")
MONTH = Constant("month", 730, "h/month")
KILOWATT = Constant("kilowatt", 1000, "W/kW")
# A copy of a token goes out in FP8 and comes back in 16 bit.
EXCHANGED = Constant("exchanged", 3, "byte")
MTOKEN = Constant("mtoken", 1e6, "1/Mtoken")

SPECULATIVE = "leviathan2023"
TCO = "barroso2018"


@equation("")
def whole(slots):
    """Whole sequences that fit."""
    return floor(slots)


@equation("")
def whole_above(batch):
    """Whole sequences, not fewer than a batch."""
    return ceil(batch)


@equation("s", link="byte/s", cite="deepep", wall="communication")
def exchange(layers, top_k, domains, d_model, link, share, ranks):
    """A decoding token's copies to experts in other link domains and back, in all layers, spread over the ranks."""
    return layers * top_k * (1 - 1 / domains) * EXCHANGED * d_model / (link * share * ranks)


@equation("s", each="s", cite=SPECULATIVE)
def exchange_speculative(each, drafted, gain):
    """The same of all tokens in a verification, for each that it yields."""
    return each * (drafted + 1) / gain


@equation("s", step="s", each="s", cite="deepep", wall="communication")
def step_exchanging(step, batch, each, ranks):
    """A step whose exchange hides behind the other half of the batch, where a rank has two sequences to halve."""
    return where(batch < 2 * ranks, step + batch * each, maximum(step, batch * each))


@equation("", each="s", step="s")
def exchange_share(batch, each, step):
    """Share of a step for which its exchange lasts."""
    return batch * each / step


@equation("", plain="s", step="s", tpot="s", cite=SPECULATIVE)
def speculation(plain, step, tpot):
    """Tokens a second over those of the same batch without drafts, the prompts of the others in both."""
    return (tpot - step + plain) / tpot


@equation("", tpot="s", most="s")
def within(tpot, most):
    """Whether a time keeps its target."""
    return tpot <= most


@equation("", tpot="s", most="s", ttft="s", latest="s")
def within_both(tpot, most, ttft, latest):
    """Whether both times keep their targets."""
    return maximum(tpot / most, ttft / latest) <= 1


@equation("s", fixed="s", each="s", expert="s", cite="pope2023")
def step_of_experts(fixed, batch, each, hit, top_k, expert):
    """A step linear in its batch, and each expert that it touches beyond one token's."""
    return fixed + batch * each + (hit - top_k) * expert


@equation("", cite=SPECULATIVE)
def accepted(acceptance, drafted):
    """Tokens that one verification yields, each drafted one accepted independently."""
    return (1 - acceptance ** (drafted + 1)) / (1 - acceptance)


@equation("", cite=SPECULATIVE)
def verified(batch, drafted):
    """Tokens in a verification: the drafted ones and one more of every sequence."""
    return batch * (drafted + 1)


@equation("s", fixed="s", draft="s", cite=SPECULATIVE)
def fixed_speculative(fixed, drafted, draft, gain):
    """Fixed part of the time per token: one verification and `drafted` draft steps for `gain` tokens."""
    return (fixed + drafted * draft) / gain


@equation("s", token="s", cache="s", draft="s", cite=SPECULATIVE)
def each_speculative(token, drafted, cache, draft, gain):
    """Its part for each sequence: arithmetic of all its drafted tokens, one read of its cache, its draft steps."""
    return ((drafted + 1) * token + cache + drafted * draft) / gain


@equation("s", fixed="s")
def draft_assumed(share, fixed):
    """A draft step as a share of the model's own."""
    return share * fixed


@equation("T", expert="T")
def per_gain(expert, gain):
    """A cost of every verification, for each token that it yields."""
    return expert / gain


@equation("s", step="s", mixed="s", cite="agrawal2024", wall="serving_phases")
def prompt_share(mixed, step, fresh, tokens):
    """Time that a prompt adds to the steps which carry it."""
    return fresh / tokens * maximum(mixed - step, 0)


@equation("s", step="s", wall="batching")
def output_share(output, step, batch):
    """A query's share of the steps that generate its answer."""
    return output * step / batch


@equation("1/s", prompt="s", output="s", wall="batching")
def most_queries(prompt, output):
    """Queries a second of a full replica."""
    return 1 / (prompt + output)


@equation("1/s", spent="s", wall="batching")
def per_time_of(spent):
    """Queries a second of a full replica that only decodes."""
    return 1 / spent


@equation("1/s", prefill="s")
def load_at(headroom, prefill):
    """Load of a prefill station that is busy for a share `headroom` of the time."""
    return headroom / prefill


@equation("", arrivals="1/s", rate="1/s")
def utilized(arrivals, replicas, rate):
    """Share of what its replicas can do that a load takes."""
    return arrivals / (replicas * rate)


@equation("", arrivals="1/s", rate="1/s")
def replicas(arrivals, headroom, rate):
    """Replicas for a load, each loaded to `headroom` at most."""
    return ceil(arrivals / (headroom * rate))


@equation("", arrivals="1/s", spent="s")
def replicas_for(arrivals, spent, headroom):
    """Replicas of one pool for a load."""
    return ceil(arrivals * spent / headroom)


@equation("1/s", arrivals="1/s")
def arrivals_each(arrivals, replicas):
    """Load of one replica."""
    return arrivals / replicas


@equation("", arrivals="1/s", spent="s")
def occupied(arrivals, spent, replicas):
    """Share of a pool that is busy."""
    return arrivals * spent / replicas


@equation("", arrivals="1/s", prompt="s", fixed="s", each="s", cite="little1961", wall="batching")
def operating_batch(arrivals, prompt, output, fixed, each):
    """Sequences in flight at a load, by Little's law over steps linear in the batch that also carry prompts; at least one."""
    return maximum(
        1,
        arrivals
        * (prompt + (output - 1) * (fixed - prompt / output))
        / (1 - arrivals * (output - 1) * (each + prompt / output)),
    )


@equation("s", step="s", prompt="s", cite="agrawal2024")
def token_time(step, batch, output, prompt):
    """Time per token at a batch, with the prompts of the others."""
    return step + (batch - 1) / output * prompt


@equation("", arrivals="1/s", prompt="s", tpot="s", cite="little1961")
def settles(arrivals, prompt, output, tpot, batch):
    """Whether a batch is as large as its own load keeps in flight."""
    return arrivals * (prompt + (output - 1) * tpot) <= batch


@equation("s", arrivals="1/s", prefill="s", cite="allen1990", wall="tail_latency")
def prefill_wait(arrivals, prefill, spread):
    """Mean wait for the prefill station: M/G/1 by Pollaczek and Khinchine, `spread` the service times' deviation over mean."""
    return arrivals * prefill**2 * (1 + spread**2) / (2 * (1 - arrivals * prefill))


@equation("s", start="s", wait="s", prefill="s", step="s")
def first_token(start, wait, prefill, step):
    """Time to first token of an open queue: wait, own prefill, one step."""
    return start + wait + prefill + step


@equation("s", sent="byte", link="byte/s")
def moved(sent, link):
    """Time to send a rank's part of a sequence's cache from one pool to the other."""
    return sent / link


@equation("USD", price="USD/h", spent="s", cite=TCO, wall="economic_cost")
def cost_of(ranks, price, spent, utilization):
    """Price of the time a query occupies on `ranks` accelerators, idle time pro rata."""
    return ranks * price * spent / HOUR / utilization


@equation("USD", total="USD")
def per_token(total, tokens):
    """Price of one token."""
    return total / tokens


@equation("USD", query="USD", arrivals="1/s", cite=TCO, wall="economic_cost")
def of_a_year(query, arrivals):
    """Price of a year at a load."""
    return query * arrivals * PER_YEAR


@equation("")
def steps_ratio(prompt_over_step, steps):
    """What `steps` reasoning steps cost over one: the prompt is read once."""
    return (prompt_over_step + steps) / (prompt_over_step + 1)


@equation("", prompt="s", output="s")
def prompt_over_step(prompt, output, steps):
    """A prompt's time over that of one reasoning step."""
    return prompt / (output / steps)


@equation("USD", inside="USD/Mtoken", outside="USD/Mtoken")
def listed(prompt, inside, output, outside):
    """Price of a query at a list price of tokens."""
    return (prompt * inside + output * outside) / MTOKEN


@equation("USD", chip="USD", cite="epochcost")
def system_price(chip, chips, servers, links):
    """Price of an accelerator with its share of server and network, from their shares of a cluster's cost."""
    return chip * (chips + servers + links) / chips


@equation("USD/h", system="USD", life="s", upkeep="1/year", cite=TCO, wall="economic_cost")
def ownership(system, life, upkeep):
    """Amortization and maintenance of an accelerator, an hour."""
    return system * (1 / life + upkeep / YEAR) * HOUR


@equation("USD/h", power="W", electricity="USD/kWh", hosting="USD/kW/month", cite=TCO, wall="economic_cost")
def running(power, pue, electricity, hosting):
    """Electricity through the building, and hosting, of an accelerator, an hour."""
    return power / KILOWATT * (pue * electricity + hosting / MONTH)
