"""The layers figure: what each tap brings, and how each subset of taps scores.

Above a tap's difference with its interval; below a row a subset, its taps as filled dots (as in
UpSet plots, Lex et al. 2014), its trials in the colours of their terms, mean and interval in black.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ablate.ablation.study_source import StudySource
from ablate.analysis.fence import fenced
from ablate.analysis.layers import LayersInfo, SubsetScore, layers_info
from ablate.analysis.metrics import is_accuracy, metric_split
from ablate.analysis.objective_choice import objective_place
from ablate.report.figures.figure import FigureKind, FigureOptions, the_search
from ablate.report.figures.parts.canvas import COLUMN_PIXELS, finish
from ablate.report.figures.parts.heading import basis_facts, basis_meta
from ablate.report.figures.parts.layers_marks import (
    effect_traces,
    matrix_traces,
    mean_trace,
    tap_labels,
    trial_traces,
    untold_note,
)
from ablate.report.numbers import metric_label, plain_text
from ablate.report.style import FONT_SIZE, base_axis

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

MOST_SUBSETS = 16
"""Drawn: those with the most trials."""
_ROW_PIXELS, _GAP_PIXELS = 24, 72
_LEFT = 20


def plot_layers(info: LayersInfo) -> Figure:
    """Draw taps and their subsets.

    Args:
        info: without a trial it is said that there is none.

    Returns:
        A figure of one column of print, as high as taps and subsets are many.
    """
    from plotly.subplots import make_subplots

    names = tap_labels(info.taps)
    subsets = _most_tried(info.subsets)
    heights = [_ROW_PIXELS * max(len(rows), 2) for rows in (info.taps, subsets)]
    height = sum(heights) + _GAP_PIXELS
    width = COLUMN_PIXELS[0] - _LEFT - 20
    longest = 0.56 * FONT_SIZE * max(map(len, names), default=0) + 12
    left = max(longest, 22.0 * len(names), 60.0)
    figure = make_subplots(
        rows=2,
        cols=2,
        specs=[[None, {}], [{}, {}]],
        column_widths=[left, width - left],
        row_heights=heights,
        horizontal_spacing=10 / width,
        vertical_spacing=_GAP_PIXELS / height,
    )
    figure.update_xaxes(base_axis())
    figure.update_yaxes(base_axis() | {"ticks": "", "showgrid": False, "visible": bool(subsets)})
    figure.add_traces(effect_traces(info), rows=1, cols=2)
    for row, effect in enumerate(info.effects):
        if math.isnan(effect.low):
            figure.add_annotation(untold_note(effect, row))
    figure.update_xaxes(_difference_axis(info), row=1, col=2)
    figure.update_yaxes(_rows_axis(len(names)) | {"ticktext": names}, row=1, col=2)
    figure.add_traces(matrix_traces(info, subsets), rows=2, cols=1)
    bare = {"showline": False, "showgrid": False, "ticks": ""}
    figure.update_xaxes(
        {
            **bare,
            "tickvals": list(range(len(names))),
            "ticktext": names,
            "tickangle": -90,
            "range": [-0.6, len(names) - 0.4],
            "visible": bool(subsets),
        },
        row=2,
        col=1,
    )
    figure.update_yaxes(_rows_axis(len(subsets)) | bare | {"showticklabels": False}, row=2, col=1)
    figure.add_traces(trial_traces(info, subsets), rows=2, cols=2)
    figure.add_trace(mean_trace(info, subsets), row=2, col=2)
    figure.update_xaxes(_score_axis(info, subsets), row=2, col=2)
    figure.update_yaxes(_rows_axis(len(subsets)) | {"showticklabels": False}, row=2, col=2)
    return finish(
        figure,
        title=info.question or f"Layers of {info.study}",
        facts=_facts(info, len(subsets)),
        meta=basis_meta(info, FIGURE.title),
        pixels=(COLUMN_PIXELS[0], height),
        inside=height,
        left=_LEFT,
        right=20,
        bottom=max(longest, 40) + 30,
        nothing="" if subsets else "no complete trial yet",
    )


def _most_tried(subsets: Sequence[SubsetScore]) -> list[SubsetScore]:
    """The best first."""
    most = sorted(range(len(subsets)), key=lambda at: (-len(subsets[at].scores), at))
    return [subsets[at] for at in sorted(most[:MOST_SUBSETS])]


def _rows_axis(count: int) -> dict[str, Any]:
    return {"tickvals": list(range(count)), "range": [count - 0.4, -0.6]}


def _difference_axis(info: LayersInfo) -> dict[str, Any]:
    is_percent = is_accuracy(info.metric)
    points = ", percentage points" if is_percent else ""
    title = plain_text(f"{metric_label(info.metric)}: with minus without{points}")
    told = any(math.isfinite(one.low) for one in info.effects)
    return {
        "title": _title(title),
        "tickformat": "+.3~%" if is_percent else "+.3~g",
        "nticks": 6,
        "showticklabels": told,
        "visible": bool(info.effects),
    }


def _score_axis(info: LayersInfo, subsets: Sequence[SubsetScore]) -> dict[str, Any]:
    split = metric_split(info.metric)
    label = metric_label(info.metric) + (f" ({split})" if split else "")
    scores = np.array([score for subset in subsets for score in subset.scores])
    axis: dict[str, Any] = {"title": _title(plain_text(label)), "visible": bool(subsets)}
    if is_accuracy(info.metric):
        axis["tickformat"] = ".3~%"
    if len(scores):
        inside = scores[scores == fenced(scores, maximize=info.direction == "maximize")]
        low, high = inside.min(), inside.max()
        pad = 0.05 * (high - low) or 0.01 * abs(high) or 1.0
        axis["range"] = [low - pad, high + pad]
    return axis


def _title(text: str) -> dict[str, Any]:
    return {"text": text, "standoff": 8, "font": {"size": FONT_SIZE}}


def _facts(info: LayersInfo, shown: int) -> list[str]:
    said = basis_facts(info, complete=sum(len(subset.scores) for subset in info.subsets))
    said[0] = said[0].replace("trials complete", "trials complete with fma")
    if not info.subsets:
        return said
    said.append("association over the trials of a search, no paired effect")
    said.append(f"{info.level:.0%} t intervals")
    said.append("a tap's difference: the other taps held, by least squares")
    if info.adjusted:
        said.append(f"adjusted for {', '.join(info.adjusted)}")
    if info.unadjusted:
        said.append(f"too few trials to adjust for {', '.join(info.unadjusted)}")
    others = len(info.subsets) - shown
    if others:
        said.append(f"{others} subset{'s' * (others > 1)} with fewer trials not shown")
    return said


def _read(sources: Sequence[StudySource], options: FigureOptions) -> LayersInfo:
    record = the_search(sources, "layers").record
    return layers_info(record, objective_place(options.objective, record.study.objectives))


FIGURE = FigureKind(
    name="layers",
    title="Layers to match",
    says="Above, how much higher trials with a tap score than those without it; below, every "
    "subset of taps, its filled dots, with its trials and their mean.",
    read=_read,
    draw=plot_layers,
    takes=("objective",),
)
