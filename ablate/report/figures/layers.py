"""The layers figure: the difference with each tap, and the scores of each subset of taps.

Above a tap's difference with its interval; below a row a subset, its taps as filled dots (as in
UpSet plots, Lex et al. 2014), its trials in the colours of their terms, mean and interval in black.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from plotly.graph_objects import Figure, Scatter, Scattergl
from plotly.subplots import make_subplots

from ablate.ablation.study_source import StudySource
from ablate.analysis.layers import LayersInfo, SubsetScore, TapEffect, layers_info
from ablate.analysis.objectives import is_accuracy, objective_place
from ablate.report.arms import scale
from ablate.report.figures.figure import FigureKind, FigureOptions, the_search
from ablate.report.figures.parts.canvas import (
    COLUMN_PIXELS,
    NO_TRIAL,
    axis_title,
    basis_facts,
    basis_meta,
    finish,
    metric_axis,
    trace_type,
    violating_facts,
)
from ablate.report.figures.parts.point_hover import score_template
from ablate.report.figures.parts.window import scores_window
from ablate.report.numbers import gain_text, metric_label, metric_text, plain_text, shortened
from ablate.report.style import FAINT_INK, FONT_SIZE, GRID, INK, SMALL_SIZE, base_axis, terms_style

MOST_SUBSETS = 16
"""Drawn: those with the most trials."""
_ROW_PIXELS, _GAP_PIXELS = 24, 72
_LEFT = 20


def plot_layers(info: LayersInfo) -> Figure:
    """Draw taps and their subsets.

    Args:
        info: without trials the figure says so.

    Returns:
        A figure for one column of print, as high as taps and subsets need.
    """
    names = tap_labels(info.taps)
    subsets = _most_tried(info.subsets)
    told = [one for one in info.effects if math.isfinite(one.low)]
    shown = (info.taps, subsets) if told else (subsets,)
    heights = [_ROW_PIXELS * max(len(rows), 2) for rows in shown]
    height = sum(heights) + _GAP_PIXELS * (len(heights) - 1)
    last = len(heights)
    width = COLUMN_PIXELS[0] - _LEFT - 20
    longest = 0.56 * FONT_SIZE * max(map(len, names), default=0) + 12
    left = max(longest, 22.0 * len(names), 60.0)
    figure = make_subplots(
        rows=last,
        cols=2,
        specs=[[None, {}], [{}, {}]][-last:],
        column_widths=[left, width - left],
        row_heights=heights,
        horizontal_spacing=10 / width,
        vertical_spacing=_GAP_PIXELS / height if told else 0,
    )
    figure.update_xaxes(base_axis())
    figure.update_yaxes(base_axis() | {"ticks": "", "showgrid": False, "visible": bool(subsets)})
    if told:
        figure.add_traces(effect_traces(info), rows=1, cols=2)
        for row, effect in enumerate(info.effects):
            if math.isnan(effect.low):
                figure.add_annotation(untold_note(effect, row))
        figure.update_xaxes(_difference_axis(info), row=1, col=2)
        figure.update_yaxes(_rows_axis(len(names)) | {"ticktext": names}, row=1, col=2)
    figure.add_traces(matrix_traces(info, subsets), rows=last, cols=1)
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
        row=last,
        col=1,
    )
    figure.update_yaxes(
        _rows_axis(len(subsets)) | bare | {"showticklabels": False}, row=last, col=1
    )
    figure.add_traces(trial_traces(info, subsets), rows=last, cols=2)
    figure.add_trace(mean_trace(info, subsets), row=last, col=2)
    figure.update_xaxes(_score_axis(info, subsets), row=last, col=2)
    figure.update_yaxes(_rows_axis(len(subsets)) | {"showticklabels": False}, row=last, col=2)
    return finish(
        figure,
        title=f"Layers of {info.study}",
        facts=_facts(info, len(subsets)),
        meta=basis_meta(FIGURE.title, info),
        pixels=(COLUMN_PIXELS[0], height),
        inside=height,
        left=_LEFT,
        right=20,
        bottom=max(longest, 40) + 30,
        nothing="" if subsets else NO_TRIAL,
    )


def _most_tried(subsets: Sequence[SubsetScore]) -> list[SubsetScore]:
    """The best first."""
    most = sorted(range(len(subsets)), key=lambda at: (-len(subsets[at].scores), at))
    return [subsets[at] for at in sorted(most[:MOST_SUBSETS])]


def _rows_axis(count: int) -> dict[str, Any]:
    return {"tickvals": list(range(count)), "range": [count - 0.4, -0.6]}


def _difference_axis(info: LayersInfo) -> dict[str, Any]:
    is_percent = is_accuracy(info.metric)
    unit = " (points)" if is_percent else ""
    return {
        "title": axis_title(f"{metric_label(info.metric)}, with minus without{unit}"),
        "tickformat": "+.3~g",
        "nticks": 6,
        "visible": bool(info.effects),
    }


def _score_axis(info: LayersInfo, subsets: Sequence[SubsetScore]) -> dict[str, Any]:
    axis = metric_axis(info.metric) | {"visible": bool(subsets)}
    if subsets:
        window = scores_window(info, [score for one in subsets for score in one.scores])
        axis["range"] = [window.low, window.high]
    return axis


def _facts(info: LayersInfo, shown: int) -> list[str]:
    said = basis_facts(info, complete=sum(len(subset.scores) for subset in info.subsets))
    said[0] = said[0].replace("trials complete", "trials complete with fma")
    if not info.subsets:
        return said
    said += violating_facts([info])
    said.append("association over the trials of a search, not a paired effect")
    said.append(f"{info.level:.0%} t intervals")
    if not any(math.isfinite(one.low) for one in info.effects):
        said.append("too few trials for the difference with each layer")
    else:
        said.append("difference of a layer: by least squares, with the other layers fixed")
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
    says="Each subset of layers (filled dots), with its trials and their mean; over them, if there "
    "are enough trials, the difference between trials with and without a layer.",
    read=_read,
    draw=plot_layers,
    takes=("objective",),
)


# -- The marks of the layers figure: taps' differences, the dots of subsets, trials and means


_MOST_CHARACTERS = 18
"""Of a tap's name."""


def effect_traces(info: LayersInfo) -> list[Scatter]:
    """Zero, and the difference of each tap that has an interval."""
    if not info.effects:
        return []
    told = [at for at, one in enumerate(info.effects) if not math.isnan(one.low)]
    effects = [info.effects[at] for at in told]
    factor = scale(info.metric)
    return [
        Scatter(
            x=[0, 0],
            y=[-0.6, len(info.taps) - 0.4],
            mode="lines",
            line={"color": FAINT_INK, "width": 1, "dash": "dot"},
            showlegend=False,
            hoverinfo="skip",
        ),
        Scatter(
            x=[factor * one.difference for one in effects],
            y=told,
            mode="markers",
            marker={"color": INK, "symbol": "diamond", "size": 10},
            error_x={
                "array": [factor * (one.high - one.difference) for one in effects],
                "color": INK,
                "thickness": 1.5,
                "width": 4,
            },
            showlegend=False,
            hovertext=[_effect_hover(info, one) for one in effects],
            hoverinfo="text",
        ),
    ]


def tap_labels(taps: Sequence[str]) -> list[str]:
    """Names that fit: for long ones, the common prefix of all paths is left out first."""
    paths = [tap.split(".") for tap in taps]
    if max(map(len, taps), default=0) > _MOST_CHARACTERS:
        while min(map(len, paths)) > 1 and len({path[0] for path in paths}) == 1:
            paths = [path[1:] for path in paths]
    return [plain_text(shortened(".".join(path), _MOST_CHARACTERS)) for path in paths]


def untold_note(one: TapEffect, row: int) -> dict[str, Any]:
    """Why a tap has no interval, shown instead of its mark."""
    if not one.trials_out:
        text = "in every trial"
    elif math.isnan(one.difference):
        text = "cannot be separated from other layers"
    else:
        text = "too few trials"
    return {
        "text": text,
        "font": {"color": FAINT_INK, "size": SMALL_SIZE},
        "x": 0.98,
        "xanchor": "right",
        "xref": "x domain",
        "y": row,
        "yref": "y",
        "showarrow": False,
    }


def _effect_hover(info: LayersInfo, one: TapEffect) -> str:
    return "<br>".join(
        [
            f"<b>{plain_text(one.tap)}</b>",
            f"{plain_text(metric_label(info.metric))}: {_change(info, one.difference)}",
            f"{info.level:.0%} interval {_change(info, one.low)} to {_change(info, one.high)}",
            f"{one.trials_in} trials with it, {one.trials_out} without",
        ]
    )


def _change(info: LayersInfo, difference: float) -> str:
    """Of an accuracy in points."""
    return gain_text(info.metric, difference) or f"{difference:+.3g}"


def matrix_traces(info: LayersInfo, subsets: Sequence[SubsetScore]) -> list[Scatter]:
    """Dots: one row per subset, one column per tap, filled if the subset has the tap."""
    traces = []
    for is_in, color in ((False, GRID), (True, INK)):
        dots = [
            (column, row)
            for row, subset in enumerate(subsets)
            for column, tap in enumerate(info.taps)
            if (tap in subset.taps) is is_in
        ]
        traces.append(
            Scatter(
                x=[column for column, _ in dots],
                y=[row for _, row in dots],
                mode="markers",
                marker={"color": color, "size": 11},
                showlegend=False,
                hoverinfo="skip",
            )
        )
    return traces


def trial_traces(
    info: LayersInfo, subsets: Sequence[SubsetScore]
) -> list[Scatter] | list[Scattergl]:
    """Every trial in the row of its subset, a trace a set of terms."""
    trials: dict[Any, list[tuple[float, int, int]]] = {}
    for row, subset in enumerate(subsets):
        of_subset = zip(subset.scores, subset.numbers, subset.loss_terms, strict=True)
        for score, number, terms in of_subset:
            trials.setdefault(terms_style(terms), []).append((score, row, number))
    kind = trace_type(sum(map(len, trials.values())))
    said = f"{score_template(info.metric, 'x')}<extra></extra>"
    traces = []
    for style in sorted(trials, key=lambda style: style.label):
        scores, rows, numbers = zip(*trials[style], strict=True)
        traces.append(
            kind(
                x=np.array(scores, dtype=np.float32),
                y=np.array(rows, dtype=np.int32),
                mode="markers",
                name=plain_text(f"{style.label} ({len(numbers)})"),
                marker={"color": style.color, "symbol": style.symbol, "size": 8, "opacity": 0.8},
                customdata=list(numbers),
                hovertemplate=f"<b>Trial %{{customdata}}</b><br>{said}",
                showlegend=True,
            )
        )
    return traces


def mean_trace(info: LayersInfo, subsets: Sequence[SubsetScore]) -> Scatter:
    """Mean and interval of each subset of two trials or more: that of one is the trial itself."""
    rows = [row for row, subset in enumerate(subsets) if len(subset.scores) > 1]
    several = [subsets[row] for row in rows]
    return Scatter(
        x=[subset.mean for subset in several],
        y=rows,
        mode="markers",
        name=f"Mean, {info.level:.0%} interval",
        marker={"color": INK, "symbol": "line-ns-open", "size": 13, "line": {"width": 2.5}},
        error_x={
            "array": [subset.high - subset.mean for subset in several],
            "color": INK,
            "thickness": 1.5,
            "width": 0,
        },
        hovertext=[_subset_hover(info, subset) for subset in several],
        hoverinfo="text",
        showlegend=bool(several),
    )


def _subset_hover(info: LayersInfo, subset: SubsetScore) -> str:
    best = max(subset.scores) if info.direction == "maximize" else min(subset.scores)
    mean, low, high = (
        metric_text(info.metric, value) for value in (subset.mean, subset.low, subset.high)
    )
    return "<br>".join(
        [
            f"<b>{plain_text('+'.join(subset.taps))}</b>",
            f"mean {mean} of n = {len(subset.scores)}, best {metric_text(info.metric, best)}",
            f"{info.level:.0%} interval {low} to {high}",
        ]
    )
