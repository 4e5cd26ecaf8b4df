"""A panel of arms: bars, intervals, numbers, the baseline's line, the families' marks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from plotly.graph_objects import Bar, Figure, Scatter

from ablate.ablation.figure_infos import ArmsInfo
from ablate.ablation.info import ArmInfo
from ablate.ablation.intervals import Estimate
from ablate.analysis.objectives import is_accuracy, metric_split
from ablate.report.arms import decimals, difference_cell, runs_text, scale, shown_name
from ablate.report.figures.parts.ablations import finite_or_none, interval_bars, wrapped
from ablate.report.figures.parts.canvas import metric_axis
from ablate.report.numbers import MISSING, metric_label, metric_unit, metric_words, plain_text
from ablate.report.style import (
    FAINT_INK,
    FONT_SIZE,
    INK,
    PAPER,
    SERIES,
    SYMBOLS,
    base_axis,
    terms_style,
)

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
    """Draw arms into new axes.

    Args:
        metrics: of one unit; each arm has a bar per metric.
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
            error_x=interval_bars(found, color=INK, thickness=1.5, width=3),
            hovertext=[arm_hover(info, group, metric, one) for group, one in there],
            hoverinfo="text",
        )
    ]


def _numbers(metric: str, groups: Sequence[Group], place: int, edge: float) -> Scatter:
    """The value of each bar, in a column at the axis' end."""
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


# -- Groups of bars, one per arm: position and label


LEFT, WIDE_LEFT = 164, 400
"""Margin in pixels, for names; of very many arms each name has one line."""
_NAME_CHARACTERS, _WIDE_CHARACTERS = 22, 62
_BAR, _LANE, _BETWEEN, _LINE = 17, 15, 13, 15
"""Pixels of a bar, of the families' marks, between two arms, of a line of text."""


@dataclass(frozen=True)
class Group:
    """The bars of an arm.

    Attributes:
        label: lines of plotly's markup: its name, its loss terms, runs that are missing.
        top, height: in pixels from the top of the panel; bar: height of one bar, 0 without bars.
        bars: middle of each; lane: middle of the families' marks.
    """

    arm: ArmInfo
    loss_terms: str
    label: tuple[str, ...]
    top: float
    height: float
    bar: float
    bars: tuple[float, ...]
    lane: float


def arm_groups(
    info: ArmsInfo, bars: int, *, has_families: bool, is_wide: bool, room: float
) -> list[Group]:
    """The arms of a panel, in the order of the design.

    Args:
        bars: of each arm; is_wide: whether names have one line; room: pixels for all; if they need
            more, each gets less.
    """
    wanted = bars * _BAR + _LANE * has_families + _BETWEEN
    labels = [_label(info, arm, terms, is_wide=is_wide) for arm, terms in info.arms]
    heights = [max(wanted, len(label) * _LINE + 6) for label in labels]
    squeeze = min(1.0, room / max(1, sum(heights)))
    groups, top = [], 0.0
    for (arm, terms), label, height in zip(info.arms, labels, heights, strict=True):
        first = top + squeeze * (height - wanted + _BETWEEN) / 2
        middles = [first + squeeze * _BAR * (place + 0.5) for place in range(bars)]
        groups.append(
            Group(
                arm,
                terms,
                tuple(label[: max(1, int(squeeze * height // _LINE))]),
                top,
                squeeze * height,
                squeeze * _BAR,
                tuple(middles),
                first + squeeze * (_BAR * bars + _LANE / 2 + 1),
            )
        )
        top += squeeze * height
    return groups


def groups_height(groups: Sequence[Group]) -> float:
    """Pixels that these groups take."""
    return sum(group.height for group in groups)


def _label(info: ArmsInfo, arm: ArmInfo, terms: str, *, is_wide: bool) -> list[str]:
    small = [plain_text(terms_style(terms).label)] if terms else []
    runs = runs_text(info.ablation, arm)
    small += [runs] if runs else []
    size = FONT_SIZE - 3
    name = wrapped(arm.name, _WIDE_CHARACTERS if is_wide else _NAME_CHARACTERS, 4)
    return [
        *name,
        *(f'<span style="font-size:{size}px">{line}</span>' for line in small),
    ]


# -- Marks at the bars of arms: the baseline's line, the families' marks, the hover text


def baseline_lines(
    info: ArmsInfo, metrics: Sequence[str], groups: Sequence[Group]
) -> list[Scatter]:
    """A dotted line through every bar at what the baseline has of its metric."""
    x: list[float | None] = []
    y: list[float | None] = []
    for place, metric in enumerate(metrics):
        baseline = info.baseline(metric)
        for group in groups if math.isfinite(baseline) else ():
            x += [baseline, baseline, None]
            y += [group.bars[place] - group.bar / 2, group.bars[place] + group.bar / 2, None]
    if not x:
        return []
    return [
        Scatter(
            x=x,
            y=y,
            mode="lines",
            name="baseline",
            showlegend=True,
            line={"color": INK, "width": 2, "dash": "dot"},
            hoverinfo="skip",
        )
    ]


def family_marks(info: ArmsInfo, groups: Sequence[Group]) -> list[Scatter]:
    """Below the bars of an arm, a mark a family."""
    traces = []
    for family, symbol in zip(info.families, SYMBOLS, strict=False):
        there = [group for group in groups if family in group.arm.estimates]
        found = [group.arm.estimates[family] for group in there]
        if any(math.isfinite(one.mean) for one in found):
            traces.append(
                Scatter(
                    x=[finite_or_none(one.mean) for one in found],
                    y=[group.lane for group in there],
                    mode="markers",
                    name=plain_text(shown_name(info.ablation, family)),
                    showlegend=True,
                    marker={
                        "symbol": symbol,
                        "size": 8,
                        "color": PAPER,
                        "line": {"color": INK, "width": 1.2},
                    },
                    hovertext=[
                        arm_hover(info, group, family, one)
                        for group, one in zip(there, found, strict=True)
                    ],
                    hoverinfo="text",
                    cliponaxis=False,
                )
            )
    return traces


def arm_hover(info: ArmsInfo, group: Group, metric: str, one: Estimate) -> str:
    """The arm, its value with the interval, and its difference to the reference."""
    factor, digits = scale(metric), decimals(metric, [one.mean])
    value = f"{factor * one.mean:.{digits}f}{metric_unit(metric)}"
    if math.isfinite(one.low):
        value += f" [{factor * one.low:.{digits}f}, {factor * one.high:.{digits}f}]"
    lines = [f"{metric_words(metric)}: {value}", f"{one.n} seeds"]
    effect = info.ablation.to_reference(group.arm.name, metric)
    if effect is not None:
        printed = difference_cell(info.ablation, metric, effect.estimate).printed
        lines.append(f"less {info.ablation.reference}: {printed}")
    terms = [group.loss_terms] if group.loss_terms else []
    return "<br>".join([f"<b>{plain_text(group.arm.name)}</b>", *map(plain_text, [*terms, *lines])])
