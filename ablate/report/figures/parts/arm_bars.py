"""A panel of arms: bars, intervals, numbers, the baseline's line, the families' marks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ablate.ablation.arms_info import ArmsInfo
from ablate.analysis.metrics import is_accuracy, metric_split
from ablate.report.arms import decimals, scale, shown_name
from ablate.report.figures.parts.ablations import finite_or_none
from ablate.report.figures.parts.arm_marks import arm_hover, baseline_lines, family_marks
from ablate.report.figures.parts.axes import metric_axis
from ablate.report.figures.parts.bars import Group, groups_height
from ablate.report.numbers import MISSING, metric_label, plain_text
from ablate.report.style import (
    FAINT_INK,
    FONT_SIZE,
    INK,
    SERIES,
    base_axis,
    terms_style,
)

if TYPE_CHECKING:
    from plotly.graph_objects import Bar, Figure, Scatter

_PALE = 0.4
"""Opacity of all bars of an arm but the last."""
_NUMBERS = 0.13
"""Room for the numbers, as a share of the axis."""


def add_arms(  # noqa: PLR0917 (what is drawn, and where)
    figure: Figure,
    info: ArmsInfo,
    metrics: Sequence[str],
    groups: Sequence[Group],
    domain: tuple[float, float],
    number: int,
) -> None:
    """Draw arms into axes of their own.

    Args:
        metrics: of one unit; each arm has a bar for each.
        domain: of the y axis; number: of both axes, from 1.
    """
    axis = str(number) if number > 1 else ""
    traces: list[Any] = []
    x_axis = _x_axis(info, metrics, groups)
    for place, metric in enumerate(metrics):
        is_pale = place < len(metrics) - 1
        traces += _bars(info, metric, groups, place, is_pale=is_pale)
        traces.append(_numbers(metric, groups, place, x_axis["range"][1]))
        if len(metrics) > 1:
            traces.append(_legend_bar(info, metric, is_pale=is_pale))
    traces += baseline_lines(info, metrics, groups)
    if is_accuracy(metrics[0]):
        traces += family_marks(info, groups)
    for trace in traces:
        trace.update(xaxis=f"x{axis}", yaxis=f"y{axis}")
    figure.add_traces(traces)
    figure.update_layout(
        {
            "barmode": "overlay",
            f"xaxis{axis}": x_axis | {"anchor": f"y{axis}"},
            f"yaxis{axis}": base_axis()
            | {
                "anchor": f"x{axis}",
                "domain": list(domain),
                "range": [groups_height(groups), 0],
                "tickvals": [group.top + group.height / 2 for group in groups],
                "ticktext": ["<br>".join(group.label) for group in groups],
                "tickfont": {"size": FONT_SIZE - 2},
                "ticks": "",
                "showgrid": False,
            },
        }
    )


def _bars(
    info: ArmsInfo, metric: str, groups: Sequence[Group], place: int, *, is_pale: bool
) -> list[Bar]:
    """The bars of a metric; none where no arm has it."""
    from plotly.graph_objects import Bar

    there = [
        (group, one)
        for group in groups
        if (one := group.arm.estimates.get(metric)) is not None and math.isfinite(one.mean)
    ]
    if not there:
        return []
    found = [one for _, one in there]
    return [
        Bar(
            x=[one.mean for one in found],
            y=[group.bars[place] for group, _ in there],
            width=[0.9 * group.bar for group, _ in there],
            orientation="h",
            name=plain_text(metric_label(metric)),
            showlegend=False,
            marker={
                "color": [_color(info, group) for group, _ in there],
                "opacity": _PALE if is_pale else 1,
                "line": {"width": 0},
            },
            error_x={
                "type": "data",
                "symmetric": False,
                "array": [finite_or_none(one.high - one.mean) for one in found],
                "arrayminus": [finite_or_none(one.mean - one.low) for one in found],
                "color": INK,
                "thickness": 1.5,
                "width": 3,
            },
            hovertext=[arm_hover(info, group, metric, one) for group, one in there],
            hoverinfo="text",
        )
    ]


def _numbers(metric: str, groups: Sequence[Group], place: int, edge: float) -> Scatter:
    """The value of each bar, in a column at the axis' end."""
    from plotly.graph_objects import Scatter

    found = [group.arm.estimates.get(metric) for group in groups]
    means = [math.nan if one is None else one.mean for one in found]
    digits = decimals(metric, means)
    return Scatter(
        x=[edge] * len(groups),
        y=[group.bars[place] for group in groups],
        mode="text",
        text=[
            MISSING if math.isnan(mean) else f"{scale(metric) * mean:.{digits}f}" for mean in means
        ],
        textposition="middle left",
        textfont={"size": FONT_SIZE - 2, "color": INK},
        showlegend=False,
        hoverinfo="skip",
    )


def _legend_bar(info: ArmsInfo, metric: str, *, is_pale: bool) -> Bar:
    """A swatch in grey: bars have the colours of their arms."""
    from plotly.graph_objects import Bar

    return Bar(
        x=[None],
        y=[None],
        orientation="h",
        name=plain_text(shown_name(info.ablation, metric)),
        showlegend=True,
        marker={"color": FAINT_INK},
        opacity=_PALE if is_pale else 1,  # of the trace: a legend knows no other
    )


def _color(info: ArmsInfo, group: Group) -> str:
    if group.loss_terms:
        return terms_style(group.loss_terms).color
    return FAINT_INK if any(info.loss_terms) else SERIES[0]


def _x_axis(info: ArmsInfo, metrics: Sequence[str], groups: Sequence[Group]) -> dict[str, Any]:
    ends = [0.0]
    for metric in metrics:
        ends.append(info.baseline(metric))
        for group in groups:
            one = group.arm.estimates.get(metric)
            ends += [] if one is None else [one.low, one.mean, one.high]
    if is_accuracy(metrics[0]):
        found = (group.arm.estimates.get(family) for group in groups for family in info.families)
        ends += [one.mean for one in found if one is not None]
    ends = [end for end in ends if math.isfinite(end)]
    span = max(ends) - min(ends) or 1.0
    low = min(ends) - (0.04 * span if min(ends) < 0 else 0)
    axis = metric_axis(metrics[0]) | {"range": [low, max(ends) + _NUMBERS * span], "nticks": 7}
    if len(metrics) > 1:
        split = metric_split(metrics[0])
        axis["title"] = axis["title"] | {"text": f"Accuracy ({split})" if split else "Accuracy"}
    elif metrics[0] in info.ablation.minimized:
        axis["title"] = axis["title"] | {"text": f"{axis['title']['text']} (less is better)"}
    return axis
