"""Fitted constants: read from one compiled JSON, which `python -m mlwalls.zoo.calibrations` makes from the YAML."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

_HERE = Path(__file__).parent
COMPILED = _HERE / "compiled" / "calibration.json"


@cache
def _all() -> dict[str, Any]:
    return json.loads(COMPILED.read_text(encoding="utf-8"))  # type: ignore[no-any-return]


def calibration(name: str) -> dict[str, Any]:
    """Return one model's constants, intervals, errors and domain (``"serving"``, ``"training"``, ``"kv_pool"``)."""
    return _all()[name]  # type: ignore[no-any-return]


def compiled_text() -> str:
    """Return what the compiled file must hold: every ``calibration/*/constants.yaml``, sorted."""
    import yaml

    found = {
        path.parent.name: yaml.safe_load(path.read_text(encoding="utf-8"))
        for path in sorted((_HERE / "calibration").glob("*/constants.yaml"))
    }
    return json.dumps(found, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    COMPILED.parent.mkdir(exist_ok=True)
    COMPILED.write_text(compiled_text(), encoding="utf-8")
