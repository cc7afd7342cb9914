"""How far the predictions are off: the project's own published rows, scored when the page is made."""

from __future__ import annotations

from pathlib import Path

import mlwalls.zoo
from mlwalls.server.accuracy import FormatError, score_file
from mlwalls.server.accuracy.report import Scored, statistics
from mlwalls.zoo import Zoo

HOME = Path(mlwalls.zoo.__file__).parent / "calibration"

MORE = {
    "rows_energy.yaml": ": energy of output tokens",
    "rows_experts.yaml": ": mixtures of experts",
    "rows_later.yaml": ": rows never fitted",
    "rows_recent.yaml": ": tuned kernels",
}


def accuracy_page(zoo: Zoo) -> str:
    """Return the page: one table a set of rows, and what is fitted on them."""
    parts = [
        "# Accuracy",
        "Published measurements that ship with mlwalls, each predicted by the tools' own computation when this page is "
        "made. Errors are of the prediction over the measured value, in percent; coverage is the share of rows inside the "
        "80 % interval. Many of these rows were fitted on: the model cards beside them say which, and give the errors "
        "with a row's paper or model family left out, which is what to expect of a new one.",
    ]
    for path in sorted([*HOME.glob("*/rows*.yaml"), *HOME.glob("*/rows.csv")]):
        parts += _set(path, zoo)
    parts.append(
        "Score a file of your own: `mlwalls accuracy FILE`; rows that no tool can predict are counted with the reason."
    )
    return "\n\n".join(parts) + "\n"


def _set(path: Path, zoo: Zoo) -> list[str]:
    name = path.parent.name
    card = (path.parent / "MODEL_CARD.md").read_text(encoding="utf-8").splitlines()
    title = card[0].lstrip("# ") + MORE.get(path.name, "")
    head = [f"## {title}", f"Rows, constants and the model card: `zoo/calibration/{name}`."]
    try:
        outcomes = score_file(path, zoo)
    except FormatError:
        return [*head, "These rows are inputs of a fit and are not scored here; the model card has the errors."]
    scored = [row for row in outcomes if isinstance(row, Scored)]
    if not scored:
        return [*head, "No tool predicts these rows yet."]
    lines = ["| rows | n | mean | median | bias | P90 | coverage |", "|---|---|---|---|---|---|---|"]
    kinds = sorted({row.kind for row in scored})
    groups = [("all", scored), *((kind, [r for r in scored if r.kind == kind]) for kind in kinds)]
    for label, rows in groups if len(kinds) > 1 else groups[:1]:
        s = statistics(rows)
        cells = [f"{s[key]:.1f}" if s.get(key) is not None else "" for key in ("mean", "median", "bias", "p90")]
        coverage = f"{s['coverage']:.0f}" if s.get("coverage") is not None else ""
        lines.append(f"| {label} | {len(rows)} | {' | '.join(cells)} | {coverage} |")
    return [*head, f"{len(scored)} of {len(outcomes)} rows predicted.", "\n".join(lines)]
