"""Axes of metrics, alike in every figure that has one."""

from __future__ import annotations

from typing import Any

from ablate.analysis.metrics import is_accuracy, metric_split
from ablate.report.numbers import metric_label, plain_text
from ablate.report.style import FONT_SIZE, base_axis


def metric_axis(metric: str, *, titled: bool = True) -> dict[str, Any]:
    """plotly's axis of a metric: its label with the split, in percent where it is an accuracy."""
    split = metric_split(metric)
    axis = base_axis()
    if is_accuracy(metric):
        axis["tickformat"] = ".3~%"
    if titled:
        label = f"{metric_label(metric)} ({split})" if split else metric_label(metric)
        axis["title"] = {"text": plain_text(label), "standoff": 8, "font": {"size": FONT_SIZE}}
    return axis
