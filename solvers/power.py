"""What an accelerator draws in a node, where nobody measured it: a share of its rated power, the host and the network."""

from __future__ import annotations

from mlwalls.solvers.derivation import Derivation, Value
from mlwalls.solvers.equations import operations as eq
from mlwalls.solvers.numbers import Numbers
from mlwalls.zoo import Entry

# Power over the expected power at the ends of the assumptions: (0.685 + 0.2) and (1 + 0.82) over 0.82 + 0.3 where the
# utilization is assumed; the host alone where it is given.
UNKNOWN, LOADED = (0.79, 1.63), (0.91, 1.46)


def rated_path(hardware: Entry) -> str:
    """Return where an accelerator's rated power stands: its own, a whole system's, or ``""`` where there is none."""
    return next((path for path in ("power.tdp", "power.system") if hardware.has(path)), "")


def resolve_power(n: Numbers, hardware: Entry, rated: str, utilization: float | None) -> None:
    """Read what :func:`modelled_power` needs, and ``least`` and ``most``: its ends as shares of it."""
    whole = rated == "power.system"
    n.zoo("rated", hardware, rated, "W")
    n.assumed("idle", 0.1, 0.05, 0.2)
    if utilization is not None:
        n.you("utilization", utilization)
    else:
        n.assumed("utilization", 0.8, 0.65, 1, source="mlenergy2026")
    n.assumed("host", 0 if whole else 0.3, 0 if whole else 0.2, 0.1 if whole else 0.82, source="ecolog_doc")
    n.assumed("network", 0.05, 0.02, 0.1)
    least, most = (0.95, 1.1) if whole else UNKNOWN if utilization is None else LOADED
    n.assumed("least", least, least, 1)
    n.assumed("most", most, 1, most)


def modelled_power(n: Numbers, d: Derivation) -> Value:
    """Step out `power`: W an accelerator, with its share of host and network."""
    draw = d.step("draw", eq.drawn(n.idle, n.utilization))
    return d.step("power", eq.it_power(n.rated, draw, n.host, n.network))
