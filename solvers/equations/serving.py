"""Formulas of a replica that serves: what fits, what a step takes, how prompts of others delay it.

All times are of one replica at steady closed-loop concurrency. `batch` counts sequences really decoding, `prompts` prompts in a
pass (a share of one where a long prompt is cut into chunks).
"""

from __future__ import annotations

from mlwalls.solvers.derivation import equation
from mlwalls.solvers.functions import exp, maximum, minimum


@equation("byte", width="byte")
def fixed_bytes(count, w, read, width):
    """Weights of a row that a pass of one token reads."""
    return count * (w + read) * width


@equation("s", moved="byte", bandwidth="byte/s", overhead="s", wall="memory_bandwidth")
def fixed_time(moved, bandwidth, eta_m, overhead):
    """What every pass costs: its weights once, and the layers' kernel starts and tails."""
    return moved / (bandwidth * eta_m) + overhead


@equation("s", width="byte", bandwidth="byte/s")
def expert_time(layers, expert, width, bandwidth, eta_m):
    """Time to read one more expert in every layer that has experts."""
    return layers * expert * width / (bandwidth * eta_m)


@equation("s", route="byte", bandwidth="byte/s")
def routed_time(layers, route, top_k, d_model, bandwidth, eta_m):
    """What the routed copies of one token move between unfused kernels."""
    return layers * route * top_k * d_model / (bandwidth * eta_m)


@equation("s", compute="s", each="s")
def token_time(compute, each):
    """A decoding token where nothing is exchanged or routed: its arithmetic, and the host's work for its sequence."""
    return compute + each


@equation("s", compute="s", carried="s", each="s")
def token_time_carried(compute, carried, each):
    """The same with what a token carries: all-reduces, copies to experts."""
    return compute + carried + each


@equation("s", compute="s", written="byte", bandwidth="byte/s")
def prompt_time(compute, written, bandwidth, eta_m):
    """A whole prompt in a pass: its arithmetic, and its keys and values written."""
    return compute + written / (bandwidth * eta_m)


@equation("s", compute="s", carried="s", written="byte", bandwidth="byte/s")
def prompt_time_carried(compute, tokens, carried, written, bandwidth, eta_m):
    """The same with what its tokens carry."""
    return compute + tokens * carried + written / (bandwidth * eta_m)


@equation("byte", capacity="byte", reserve="byte", held="byte", wall="memory_capacity")
def cache_room(share, capacity, reserve, held):
    """What a rank has for the cache: the share an engine takes, less its reserve and the weights."""
    return share * capacity - reserve - held


@equation("")
def length_held(prompt, grown, output):
    """Tokens that a sequence holds when admission weighs it."""
    return prompt + grown * output


@equation("", room="byte", each="byte", cite="kwon2023", wall="batching")
def slots(room, each):
    """Sequences whose cache fits, at least one."""
    return maximum(1, room / each)


@equation("", cite="yu2022", wall="batching")
def decoding(concurrency, slots):
    """Sequences really decoding; the rest waits for cache."""
    return minimum(concurrency, slots)


@equation("s", fixed="s", token="s", cache="s", cite="pope2023", wall="serving_phases")
def step_time(fixed, batch, token, cache):
    """One decode step of a batch."""
    return fixed + batch * (token + cache)


@equation("s", fixed="s", token="s", cache="s", expert="s", cite="pope2023", wall="serving_phases")
def step_time_moe(fixed, batch, token, cache, hit, top_k, expert):
    """The same for a mixture: each expert touched beyond one token's is read besides."""
    return fixed + batch * (token + cache) + (hit - top_k) * expert


@equation("s", fixed="s", prompt="s")
def prefill_time(fixed, tokens, fresh, prompt):
    """A whole prompt alone, in passes of `tokens` of its `fresh` tokens."""
    return fixed * fresh / tokens + prompt


@equation("s", fixed="s", prompt="s", expert="s")
def prefill_time_moe(fixed, tokens, fresh, prompt, hit, top_k, expert):
    """The same for a mixture."""
    return (fixed + (hit - top_k) * expert) * fresh / tokens + prompt


@equation("s", step="s", prompt="s")
def mixed_time(step, tokens, fresh, prompt):
    """A decode step that carries `tokens` of prompts too."""
    return step + tokens / fresh * prompt


@equation("s", step="s", prompt="s", expert="s")
def mixed_time_moe(step, tokens, fresh, prompt, hit_mixed, hit, expert):
    """The same for a mixture: the prompts' tokens touch more experts than the step's."""
    return step + tokens / fresh * prompt + (hit_mixed - hit) * expert


@equation("")
def arrivals(batch, output):
    """Prompts of others that arrive while one token is generated."""
    return (batch - 1) / output


@equation("")
def chunk_tokens(chunk, prompt, arrivals):
    """Prompt tokens in a step that carries any."""
    return minimum(chunk, prompt * maximum(arrivals, 1))


@equation("", cite="fedus2022")
def hit_mixed(experts, top_k, tokens, batch):
    """Distinct experts that prompt tokens and a decoding batch touch together."""
    return experts * (1 - (1 - top_k / experts) ** (tokens + batch))


@equation("s", step="s", mixed="s", cite="agrawal2024", wall="serving_phases")
def time_per_token(step, arrivals, fresh, tokens, mixed):
    """Time per output token: a step, and what prompts of others add to those that carry `tokens` of them."""
    return step + arrivals * fresh / tokens * maximum(mixed - step, 0)


@equation("s", start="s", own="s", tpot="s", cite=("agrawal2024", "zhong2024"), wall="serving_phases")
def time_to_first_token(start, own, collide, queued, batch, concurrency, output, tpot):
    """Server start-up, the own prefill among running steps, a share of a wave queued before it, the wait for cache."""
    return start + own * (collide + queued * (batch - 1)) + (concurrency / batch - 1) * (output * tpot + own)


@equation("T", expected="T")
def below(expected, spread, widen):
    """Low end of the range: a log-spread below the expectation."""
    return expected * exp(-spread * widen)
