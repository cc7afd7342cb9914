"""Predictions of published rows on energy, carbon, water and cost: calls of carbon and serving_cost, read in the row's unit."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from mlwalls.server.accuracy.published import Row, Scorer
from mlwalls.server.accuracy.report import Outcome, Scored, Skipped
from mlwalls.solvers.derivation import Derivation, Value
from mlwalls.solvers.equations import operations
from mlwalls.solvers.registry import solvers
from mlwalls.zoo import Zoo
from mlwalls.zoo.calibrations import calibration

# Prompt tokens of a chat benchmark whose rows do not state them. Assumed.
CHAT_PROMPT = 200
WATT_HOUR, KILOWATT_HOUR = 3600.0, 3.6e6
# Of the GPU alone: what hosts and networks draw is no part of the row.
DEVICE_ONLY = ["host=1e-9", "network=1e-9"]


def _result(tool: str, arguments: Mapping[str, Any], zoo: Zoo) -> Any:
    solver = solvers()[tool]
    return solver.run(solver.request.model_validate(arguments), zoo).presentation.result


def _scored(row: Row, predicted: float, low: float | None = None, high: float | None = None) -> Scored:
    groups = {"source": str(row.get("source", "")).split(",")[0][:30]}
    return Scored(row["id"], row["kind"], float(row["value"]), predicted, low, high, groups)


def _run(row: Row) -> dict[str, Any] | None:
    """Return the carbon call of a training run, or None where the row says too little."""
    given = row["inputs"]
    if "measured_w_per_chip" in given:
        return {
            "n_accelerators": given["num_chips"],
            "hours": 24 * given["days"],
            "power_w": given["measured_w_per_chip"],
            "pue": given["pue"],
            "grid_g_per_kwh": [1e3 * given["grid_kg_per_kwh_net"]],
        }
    if "energy_mwh" in given:
        return {"energy_kwh": 1e3 * given["energy_mwh"], "pue": 1, "grid_g_per_kwh": [given["grid_g_per_kwh"]]}
    if "gpu_hours" in given and str(row.get("source", "")).startswith("Meta"):
        # The card gives rated power and neither building nor grid: Meta's fleet on the average US grid.
        place = {"building": "pue-meta-fleet", "regions": ["united-states"]}
        return {"hours": given["gpu_hours"], "power_w": given["power_w_per_gpu"], **place}
    return None


def training(row: Row, zoo: Zoo) -> Outcome:
    """Predict a training run's energy (MWh) or carbon (t)."""
    call = _run(row)
    if call is None:
        return Skipped(row["id"], row["kind"], "neither power nor energy of the run is stated")
    result = _result("carbon", call, zoo)
    if row["kind"] == "energy_training":
        return _scored(row, result.energy_kwh / 1e3)
    return _scored(row, result.operational_t)


def prompt(row: Row, zoo: Zoo) -> Outcome:
    """Predict the carbon (g) or water (mL) of a prompt whose energy in Google's fleet is known."""
    given = row["inputs"]
    if "Gemini" not in str(given.get("workload")):
        return Skipped(row["id"], row["kind"], "the building and its electricity are not known")
    fleet = zoo.get("datacenters", "google-fleet-2024")
    used, pue = Value("used", given["energy_wh"] * WATT_HOUR, "J"), Value("pue", fleet.number("pue").value, "")
    machines = Derivation(record=False).step("machines", operations.machine_energy(used, pue))
    intensity = float(fleet.number("market_intensity").value)
    call = {"energy_kwh": float(machines.value) / KILOWATT_HOUR, "building": fleet.id, "grid_g_per_kwh": [intensity]}
    result = _result("carbon", call, zoo)
    return _scored(
        row, result.operational_t * 1e6 if row["kind"] == "carbon_inference" else result.onsite_water_l * 1e3
    )


def serving_energy(row: Row, zoo: Zoo) -> Outcome:
    """Predict the GPU energy of a million output tokens, Wh, at the batch and median time per token that the row states.

    The row's own power is not used: it is modelled. A median time leaves out the steps that carry prompts: what those add is
    serving_cost's time per token with prompts over that without. The interval holds both, by the errors of published figures.
    """
    given = row["inputs"]
    batch, chip = given["running_batch"], {"hardware": given["gpu"], "n_accelerators": given["num_gpus"]}
    serving = {"prompt_tokens": CHAT_PROMPT, "output_tokens": given["avg_output_tokens"], "concurrency": round(batch)}
    serving |= {"model": _name(given["model"]), "weight_dtype": given["precision"].lower(), "usd_per_hour": 1, **chip}
    mixed = _result("serving_cost", serving, zoo).tpot_ms
    bare = _result("serving_cost", {**serving, "disaggregated": True}, zoo).tpot_ms
    if mixed is None or bare is None:
        return Skipped(row["id"], row["kind"], "the model does not fit")
    rate = {"tokens_per_s": 1e3 * batch / given["median_itl_ms"] * bare / mixed, "grid_g_per_kwh": [1]}
    call = {"hours": 1, "pue": 1, "set": DEVICE_ONLY, **chip, **rate}

    predicted = _result("carbon", call, zoo).energy_per_million_tokens_kwh * 1e3
    spread = math.exp(float(calibration("serving")["intervals"]["energy"]["value"]))
    scored = _scored(row, predicted, predicted / spread, predicted * spread)
    return replace(scored, groups={**scored.groups, "model": serving["model"]})


def _name(model: str) -> str:
    """Return the zoo's name of a Hugging Face model; DeepSeek-V3.1 has V3's architecture."""
    name = model.partition("/")[2].removesuffix("-FP8").removesuffix("-2507")
    return "deepseek-v3" if name == "DeepSeek-V3.1" else name


def bill(row: Row, zoo: Zoo) -> Outcome:
    """Say why a bill is not predicted from the row alone."""
    reasons = {
        "cost_serving": "expert parallelism over 18 nodes was never calibrated, and the row states neither lengths nor targets",
        "cost_training": "the product of two of its own inputs",
        "cost_price": "the zoo holds this very figure",
    }
    return Skipped(row["id"], row["kind"], reasons[row["kind"]], excluded=row["kind"] != "cost_serving")


SCORERS: dict[str, Scorer] = {
    "energy_training": training,
    "carbon_training": training,
    "carbon_inference": prompt,
    "water_inference": prompt,
    "energy_inference": serving_energy,
    "cost_serving": bill,
    "cost_training": bill,
    "cost_price": bill,
}
