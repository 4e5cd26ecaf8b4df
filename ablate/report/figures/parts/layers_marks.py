"""The marks of the layers figure: taps' differences, the dots of subsets, trials and means."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ablate.analysis.layers import LayersInfo, SubsetScore, TapEffect
from ablate.analysis.metrics import is_accuracy
from ablate.report.figures.parts.parameter_axis import shortened
from ablate.report.numbers import gain_text, metric_label, metric_text, plain_text
from ablate.report.style import FAINT_INK, FONT_SIZE, GRID, INK, terms_style

if TYPE_CHECKING:
    from plotly.graph_objects import Scatter, Scattergl

MANY_POINTS = 2000
_MOST_CHARACTERS = 18
"""Of a tap's name."""


def effect_traces(info: LayersInfo) -> list[Scatter]:
    """Zero, and the difference of each tap that has an interval."""
    from plotly.graph_objects import Scatter

    if not info.effects:
        return []
    told = [at for at, one in enumerate(info.effects) if not math.isnan(one.low)]
    effects = [info.effects[at] for at in told]
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
            x=[one.difference for one in effects],
            y=told,
            mode="markers",
            marker={"color": INK, "symbol": "diamond", "size": 10},
            error_x={
                "array": [one.high - one.difference for one in effects],
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
    """Names that fit: of long ones what all paths begin with is left out first."""
    paths = [tap.split(".") for tap in taps]
    if max(map(len, taps), default=0) > _MOST_CHARACTERS:
        while min(map(len, paths)) > 1 and len({path[0] for path in paths}) == 1:
            paths = [path[1:] for path in paths]
    return [plain_text(shortened(".".join(path), _MOST_CHARACTERS)) for path in paths]


def untold_note(one: TapEffect, row: int) -> dict[str, Any]:
    """Why a tap has no interval, in place of its mark."""
    if not one.trials_out:
        text = "in every trial"
    elif math.isnan(one.difference):
        text = "not told apart from other taps"
    else:
        text = "too few trials"
    return {
        "text": text,
        "font": {"color": FAINT_INK, "size": FONT_SIZE - 1},
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
    """Dots: a row a subset, a column a tap, filled where the tap is in."""
    from plotly.graph_objects import Scatter

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
    from plotly.graph_objects import Scatter, Scattergl

    trials: dict[Any, list[tuple[float, int, int]]] = {}
    for row, subset in enumerate(subsets):
        of_subset = zip(subset.scores, subset.numbers, subset.loss_terms, strict=True)
        for score, number, terms in of_subset:
            trials.setdefault(terms_style(terms), []).append((score, row, number))
    kind = Scattergl if sum(map(len, trials.values())) > MANY_POINTS else Scatter
    form = ".1%" if is_accuracy(info.metric) else ".4g"
    said = f"{plain_text(metric_label(info.metric))}: %{{x:{form}}}<extra></extra>"
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
    from plotly.graph_objects import Scatter

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
