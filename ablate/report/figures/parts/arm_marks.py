"""What stands at the bars of arms: the baseline's line, the families' marks, the hover text."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ablate.ablation.arms_info import ArmsInfo
from ablate.ablation.intervals import Estimate
from ablate.report.arms import decimals, difference_cell, metric_words, scale, shown_name
from ablate.report.cells import metric_unit
from ablate.report.figures.parts.ablations import finite_or_none
from ablate.report.figures.parts.bars import Group
from ablate.report.numbers import plain_text
from ablate.report.style import INK, PAPER, SYMBOLS

if TYPE_CHECKING:
    from plotly.graph_objects import Scatter


def baseline_lines(
    info: ArmsInfo, metrics: Sequence[str], groups: Sequence[Group]
) -> list[Scatter]:
    """A dotted line through every bar at what the baseline has of its metric."""
    from plotly.graph_objects import Scatter

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
    from plotly.graph_objects import Scatter

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
    """The arm, its value with the interval, and what it is more than the reference."""
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
