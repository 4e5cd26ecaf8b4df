"""Headings and cells that several tables share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.markup import escape
from rich.text import Text

from ablate.analysis.objectives import is_accuracy
from ablate.report.numbers import metric_label, param_text


def metric_heading(metric: str) -> str:
    """ "robust %" for `val_robust_accuracy`; a metric nobody knows as it is."""
    label = metric_label(metric)
    if label != metric:
        label = label.lower().replace(" accuracy", "")
    return escape(label) + metric_unit(metric)


def metric_unit(metric: str) -> str:
    return " %" if is_accuracy(metric) else ""


def params_cell(params: Mapping[str, Any], short: Mapping[str, str]) -> Text:
    """Parameters by their short names, in the order of their keys; those without one left out."""
    shown = [(short[key], param_text(params[key])) for key in sorted(params) if key in short]
    return Text("; ").join(Text.assemble((name, "dim"), f" {value}") for name, value in shown)


def copy_cell(copy_of: int | None, params: Text) -> Text:
    """Parameters under the trial that was this point before; as they are where it was run."""
    if copy_of is None:
        return params
    said = Text(f"copy of trial {copy_of}", style="yellow")
    return Text("\n").join([said, params] if params else [said])
