"""Formulas of operating accelerators: power, energy, carbon, water and manufacture."""

from __future__ import annotations

from mlwalls.solvers.derivation import Constant, equation

KWH = Constant("kwh", 3.6e6, "J/kWh")
GRAMS = Constant("grams", 1000, "g/kg")
MILLION = Constant("million", 1e6)

WAREHOUSE = "barroso2018"
TRAINING = "patterson2021"


@equation("", cite=WAREHOUSE)
def drawn(idle, utilization):
    """Share of its rated power that a device draws: an idle part and one proportional to utilization."""
    return idle + (1 - idle) * utilization


@equation("W", rated="W", cite=WAREHOUSE, wall="energy")
def it_power(rated, draw, host, network):
    """Power an accelerator with its share of host and network, both as shares (of rated power, of the node)."""
    return rated * (draw + host) * (1 + network)


@equation("s", time="s")
def device_time(count, time):
    """Accelerator-seconds of several accelerators."""
    return count * time


@equation("J", power="W", time="s", cite=TRAINING, wall="energy")
def it_energy(power, time):
    """Energy of the machines."""
    return power * time


@equation("W", energy="J", time="s")
def mean_power(energy, time):
    """Power that an energy is over a time."""
    return energy / time


@equation("J", machines="J", cite=TRAINING, wall="energy")
def building_energy(machines, pue):
    """Energy of the building: the machines' times its power usage effectiveness."""
    return machines * pue


@equation("J", building="J", cite=TRAINING, wall="energy")
def machine_energy(building, pue):
    """Energy of the machines, where the building's is known."""
    return building / pue


@equation("kg", energy="J", intensity="g/kWh", cite=TRAINING, wall="sustainability")
def emitted(energy, intensity):
    """Carbon of electricity at a grid's carbon intensity."""
    return energy / KWH * intensity / GRAMS


@equation("kg", machines="J", intensity="g/kWh", cite=TRAINING, wall="sustainability")
def emitted_there(machines, pue, intensity):
    """Carbon of the machines' energy in another building on another grid."""
    return machines * pue / KWH * intensity / GRAMS


@equation("kg", machines="J", intensity="g/kWh")
def emitted_at(machines, share, pue, intensity):
    """The same at another power, a share of the expected one, and another figure of the grid."""
    return machines * share * pue / KWH * intensity / GRAMS


@equation("L", machines="J", usage="L/kWh", cite="li2023water", wall="sustainability")
def onsite_water(machines, usage):
    """Water that cooling evaporates: water usage effectiveness on the machines' energy."""
    return machines / KWH * usage


@equation("L", energy="J", intensity="L/kWh", cite="li2023water", wall="sustainability")
def offsite_water(energy, intensity):
    """Water that generating the electricity consumes."""
    return energy / KWH * intensity


@equation("kg", chip="kg", server="kg", time="s", life="s", cite="luccioni2023", wall="sustainability")
def manufactured(chip, server, per_server, time, life, used):
    """Carbon of manufacture for the time used, over a life in which the machines are in use for a share `used`."""
    return (chip + server / per_server) * time / (life * used)


@equation("", pue_a="", pue_b="", a="g/kWh", b="g/kWh", wall="sustainability")
def times_as_much(a, pue_a, b, pue_b):
    """Carbon of the same work in one place over that in another."""
    return a * pue_a / (b * pue_b)


@equation("T", total="T", time="s", rate="1/s")
def each(total, time, rate):
    """What one query takes of a total, at a rate for a time."""
    return total / (time * rate)


@equation("T", total="T", time="s", rate="1/s")
def each_million(total, time, rate):
    """What a million tokens take of a total, at a rate for a time."""
    return total / (time * rate) * MILLION
