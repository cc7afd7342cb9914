"""The scenario format: load, and judge an answer against what is expected."""

from pathlib import Path

import yaml

SCENARIOS = [
    scenario
    for path in sorted(Path(__file__).parent.glob("*.yaml"))
    for scenario in yaml.safe_load(path.read_text(encoding="utf-8"))
]


def judge(scenario, answer):
    """Assert that an answer's structured content meets the scenario."""
    assert answer["feasible"] is scenario.get("feasible", True)
    assert answer["binding_wall"]["slug"] == scenario["binding_wall"]
    listed = {id.rstrip("?") for source in answer["sources"] for id in source.partition(": ")[0].split(", ")}
    assert set(scenario["sources"]) <= listed
    for expected in scenario["expect"]:
        got = answer["result"][expected["field"]]
        got = got[expected["at"]] if "at" in expected else got
        slack = expected["tolerance"] * abs(expected["value"])
        assert abs(got - expected["value"]) <= slack + 1e-12, f"{expected['field']}: {got}"
