"""What a tensor-parallel group talks over: the scale-up link, PCIe where there is none, the network beyond one domain."""

from __future__ import annotations

from typing import Literal

from mlwalls.solvers.errors import CallError
from mlwalls.solvers.numbers import Numbers
from mlwalls.zoo import Entry

Path = Literal["", "link", "pcie", "network"]
# Network of one accelerator in usual clusters of its generation, byte/s.
NIC = {"volta": 6.25e9, "ampere": 25e9, "hopper": 50e9, "blackwell": 50e9}
OTHER_NIC = 25e9
# Accelerators of a scale-up domain where the zoo has no number: those of a server, or of a TPU's torus.
SERVER, TORUS = 8, 4096


def usual_network(hardware: Entry) -> float:
    """Return the usual network bandwidth of an accelerator, byte/s."""
    return NIC.get(hardware.text("family"), OTHER_NIC)


def usual_domain(hardware: Entry) -> int:
    """Return how many accelerators share a scale-up domain where the zoo does not say."""
    return TORUS if hardware.text("type") == "tpu" else SERVER


def link_domain(hardware: Entry) -> int:
    """Return how many accelerators share a scale-up link domain, or a server."""
    if hardware.has("link.domain"):
        return int(hardware.number("link.domain").value)
    return usual_domain(hardware)


def bridged(hardware: Entry) -> bool:
    """Whether the scale-up link is a bridge between a few cards of a server, so that the others talk over PCIe."""
    return hardware.has("link.bandwidth") and hardware.has("host.bandwidth") and link_domain(hardware) < SERVER


def reach(hardware: Entry) -> int:
    """Return how many accelerators talk without a network: those of a link domain, or of a server of bridged cards."""
    return SERVER if bridged(hardware) else link_domain(hardware)


def splittable(hardware: Entry) -> bool:
    """Whether the zoo has anything that a tensor-parallel group of this accelerator could talk over."""
    return hardware.has("link.bandwidth") or hardware.has("host.bandwidth")


def resolve_link(n: Numbers, hardware: Entry, ranks: int, prefix: str) -> Path:
    """Read ``link``, byte/s of one accelerator, into `n`, and return what it is; empty where there is none to read.

    Raises:
        CallError: several ranks, and nothing in the zoo that they could talk over.
    """
    symbol = f"{prefix}link"
    if not splittable(hardware):
        if ranks > 1:
            text = f"the zoo has neither a scale-up link nor a PCIe rate of {hardware.name} to split a model over."
            raise CallError("n_accelerators", text, repair={"n_accelerators": 1})
        return ""
    path = path_of(hardware, ranks)
    if path == "network":
        usual = usual_network(hardware)
        n.assumed(symbol, usual, usual / 2, usual * 2, "byte/s", "mlnet")
        return path
    n.zoo(symbol, hardware, "link.bandwidth" if path == "link" else "host.bandwidth", "byte/s")
    return path


def path_of(hardware: Entry, ranks: int) -> Path:
    """Return what a group of so many ranks talks over, where the zoo has anything."""
    if ranks > reach(hardware):
        return "network"
    return "link" if hardware.has("link.bandwidth") and ranks <= link_domain(hardware) else "pcie"


def said(
    path: Path, name: str, ranks: int, domain: int, rate: float, exchanged: bool, ranged: bool = True
) -> list[str]:
    """Word the warnings for a group whose links were never in the calibration data.

    Args:
        exchanged: whether all-reduces run over the link, rather than an exchange that is taken as hidden.
        ranged: whether the answer has a range, which is then wider.
    """
    if path == "network":
        whole = f"{SERVER} of one server" if domain < SERVER else f"{domain} of one scale-up link domain"
        far = f"extrapolated: {ranks} accelerators are more than the {whole}"
        between = f"links taken at {rate / 1e9:g} GB/s an accelerator, as between nodes"
        return [far + ("; the range is twice as wide" if ranged else ""), *([between] if exchanged else [])]
    if path == "pcie" and ranks > 1:
        lacks = f"a bridge joins only {domain} of {name}" if ranks > domain else f"{name} has no scale-up link"
        over = f"extrapolated: {lacks}; tensor parallel taken over PCIe at {rate / 1e9:g} GB/s"
        return [over + ("; the range is twice as wide" if ranged else "")]
    return []


def group(ranks: int, hardware: Entry) -> str:
    """Word a remedy by more accelerators, and what it would run over."""
    domain = link_domain(hardware)
    if ranks > reach(hardware):
        beyond = f" (over the network: a {'link domain' if domain >= SERVER else 'server'} has {max(domain, SERVER)})"
    else:
        beyond = f" (over PCIe: a bridge joins {domain})" if ranks > domain else ""
    return f"n_accelerators={ranks}{beyond}"
