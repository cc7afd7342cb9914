"""The expectation of a serving pass in one line, from its floors: compute, memory, links, routed copies, overhead.

Arithmetic at its sustained share and bytes at theirs add up, with all-reduces, what routed copies of `tokens` move between
unfused kernels, the layers' overhead, and in a decode step what the engine's host does for every sequence.
"""

from __future__ import annotations

from mlwalls.solvers.derivation import equation
from mlwalls.solvers.functions import maximum, where


@equation("s", ct="s", mf="s", overhead="s")
def prompt_pass(ct, mf, eta_m, overhead):
    """A pass of prompt tokens."""
    return ct + mf / eta_m + overhead


@equation("s", ct="s", mf="s", lf="s", overhead="s")
def prompt_pass_linked(ct, mf, eta_m, lf, eta_l, overhead):
    """The same with all-reduces."""
    return ct + mf / eta_m + lf / eta_l + overhead


@equation("s", ct="s", mf="s", overhead="s", routed="byte", bandwidth="byte/s")
def prompt_pass_routed(ct, mf, eta_m, overhead, routed, tokens, bandwidth):
    """The same of a mixture of experts."""
    return ct + mf / eta_m + tokens * routed / (bandwidth * eta_m) + overhead


@equation("s", ct="s", mf="s", lf="s", overhead="s", routed="byte", bandwidth="byte/s")
def prompt_pass_linked_routed(ct, mf, eta_m, lf, eta_l, overhead, routed, tokens, bandwidth):
    """The same with both."""
    return ct + mf / eta_m + lf / eta_l + tokens * routed / (bandwidth * eta_m) + overhead


@equation("s", ct="s", mf="s", overhead="s", each="s")
def decode_pass(ct, mf, eta_m, overhead, batch, each):
    """A decode step."""
    return ct + mf / eta_m + overhead + batch * each


@equation("s", ct="s", mf="s", lf="s", overhead="s", each="s")
def decode_pass_linked(ct, mf, eta_m, lf, eta_l, overhead, batch, each):
    """The same with all-reduces."""
    return ct + mf / eta_m + lf / eta_l + overhead + batch * each


@equation("s", ct="s", mf="s", overhead="s", routed="byte", bandwidth="byte/s", each="s")
def decode_pass_routed(ct, mf, eta_m, overhead, routed, batch, bandwidth, each):
    """The same of a mixture of experts."""
    return ct + mf / eta_m + overhead + batch * (each + routed / (bandwidth * eta_m))


@equation("s", ct="s", mf="s", lf="s", overhead="s", routed="byte", bandwidth="byte/s", each="s")
def decode_pass_linked_routed(ct, mf, eta_m, lf, eta_l, overhead, routed, batch, bandwidth, each):
    """The same with both."""
    return ct + mf / eta_m + lf / eta_l + overhead + batch * (each + routed / (bandwidth * eta_m))


@equation("", cf="s", mf="s", ct="s", expected="s")
def share_of_pass(cf, mf, ct, eta_m, expected):
    """Share of the expected time that the binding wall accounts for."""
    return where(cf >= mf, ct, mf / eta_m) / expected


@equation("", cf="s", mf="s", lf="s", ct="s", expected="s")
def share_of_pass_linked(cf, mf, lf, ct, eta_m, eta_l, expected):
    """The same where links may bind."""
    return where(lf > maximum(cf, mf), lf / eta_l, where(cf >= mf, ct, mf / eta_m)) / expected
