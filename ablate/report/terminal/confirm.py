"""A confirmed front: what of each point was selection luck, and what is still on the front."""

from __future__ import annotations

import math
from typing import Any

from rich.markup import escape
from rich.table import Table

from ablate.ablation.confirm import ConfirmedPoint, ConfirmInfo
from ablate.ablation.intervals import Estimate
from ablate.report.cells import metric_heading
from ablate.report.numbers import MISSING, gain_text, json_value, metric_label, metric_text
from ablate.report.terminal.ablation import ablation_rows


def points_table(info: ConfirmInfo) -> Table:
    """A line a point and metric: as selected, luck, gap beside the baseline's; then its place."""
    table = Table(
        title=escape(f"{info.test.study}: what selection has added, and what is left"),
        caption=escape(_caption(info)),
    )
    table.add_column("point", no_wrap=True)
    table.add_column("metric", no_wrap=True)
    for heading in ("selected", "luck", "val - test", "baseline's", "on the front"):
        table.add_column(heading, justify="right")
    for point in info.points:
        for place, metric in enumerate(point.metrics):
            first = place == 0
            table.add_row(
                escape(point.name) if first else "",
                metric_heading(metric),
                metric_text(metric, point.selected.get(metric, math.nan)),
                _with_interval(metric, point.luck.get(metric)),
                _with_interval(metric, point.gaps.get(metric)),
                gain_text(metric, point.baseline_gaps.get(metric, math.nan)) or MISSING,
                _share(point.front_probability) if first else "",
            )
        table.add_section()
    return table


def confirmation_rows(info: ConfirmInfo) -> list[dict[str, Any]]:
    """One dict for JSON: `test`, `validation` (as `ablation_rows`), and `points`."""
    return [
        {
            "test": ablation_rows(info.test),
            "validation": ablation_rows(info.validation),
            "points": [_row(point) for point in info.points],
            "objectives": list(info.objectives),
        }
    ]


def _row(point: ConfirmedPoint) -> dict[str, Any]:
    named: dict[str, Any] = json_value(
        {
            "name": point.name,
            "selected": dict(point.selected),
            "luck": {name: vars(one) for name, one in point.luck.items()},
            "gaps": {name: vars(one) for name, one in point.gaps.items()},
            "baseline_gaps": dict(point.baseline_gaps),
            "front_probability": point.front_probability,
        }
    )
    return named


def _with_interval(metric: str, estimate: Estimate | None) -> str:
    if estimate is None or math.isnan(estimate.mean):
        return MISSING
    mean = gain_text(metric, estimate.mean) or f"{estimate.mean:+.3g}"
    if math.isnan(estimate.low):
        return mean
    low, high = (gain_text(metric, end) or f"{end:+.3g}" for end in (estimate.low, estimate.high))
    return f"{mean} [{low}, {high}]"


def _share(probability: float) -> str:
    return MISSING if math.isnan(probability) else f"{100 * probability:.0f} %"


def _caption(info: ConfirmInfo) -> str:
    named = " and ".join(metric_label(one).lower() for one in info.objectives) or "no objectives"
    return (
        "selected: in the search, one seed, %; luck: that less the mean of fresh seeds on the same "
        f"validation images, with its 95 % interval over {info.test.seeds} seeds, in points; "
        "val - test: of the fresh seeds, beside that of the baseline, which nothing has selected; "
        f"on the front: share of resampled seeds in which its mean {named} on the test images is "
        "on the front of these points"
    )
