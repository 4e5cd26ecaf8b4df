"""What a confirmation says of a front's trials, as figures of searches draw it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from plotly.graph_objects import Scatter

from ablate.ablation.info import ArmInfo
from ablate.ablation.intervals import NONE, Estimate
from ablate.ablation.study_source import StudySource
from ablate.analysis.fronts import ConfirmedMean
from ablate.analysis.objectives import ENDED
from ablate.analysis.pareto import ParetoInfo, ParetoPoint, Point
from ablate.report.figures.parts.point_hover import mean_hover
from ablate.report.figures.parts.window import Window
from ablate.report.style import FAINT_INK, PAPER, SMALL_SIZE, TermsStyle, terms_style
from ablate.study.scores import violation


def confirmed_means(source: StudySource) -> tuple[ConfirmedMean, ...]:
    """The trials of a search that were confirmed, in the order of its front.

    The means are those on the validation images, on which the trials were selected: those on test
    would lie in another plane. A trial is left out while no run of it has ended well, and where a
    confirmation does not compare one of the objectives (a single severity).
    """
    if source.confirmation is None:
        return ()
    arms = {arm.name: arm for arm in source.confirmation.validation.arms}
    metrics = [objective.metric for objective in source.record.study.objectives]
    found = []
    for point in source.confirmation.points:
        estimates = [_estimate(arms[point.name], metric) for metric in metrics]
        bounds = source.record.bounds
        judged = {one.metric: _estimate(arms[point.name], one.metric).mean for one in bounds}
        if all(math.isfinite(one.mean) for one in estimates):
            found.append(
                ConfirmedMean(
                    number=Point.of_name(point.name).trial,
                    values=tuple(one.mean for one in estimates),
                    low=tuple(one.low for one in estimates),
                    high=tuple(one.high for one in estimates),
                    sds=tuple(one.sd for one in estimates),
                    seeds=min((one.n for one in estimates if one.n), default=0),
                    violation=violation(bounds, judged),
                )
            )
    return tuple(found)


def confirmed_traces(
    info: ParetoInfo,
    means: Sequence[ConfirmedMean],
    x: int,
    y: int,
    windows: Sequence[Window],
    *,
    color: str | None,
    in_legend: bool,
) -> list[Scatter]:
    """Means of confirmed trials, each joined to what the search had chosen it by; those of one
    study are numbered.

    Args:
        windows: of the axes; a mean outside has its line alone, which leads there.
        color: of all, as one of several studies; None: each in that of its trial's loss terms.
    """
    points = _points(info)
    chosen = {number: point.values for number, point in points.items()}
    means = drawn_means(info, means)
    if not means:
        return []
    line_x, line_y = (
        [at for mean in means for at in (chosen[mean.number][axis], mean.values[axis], None)]
        for axis in (x, y)
    )
    joined = Scatter(
        x=line_x,
        y=line_y,
        mode="lines",
        line={"color": FAINT_INK, "width": 1},
        legendgroup="confirmed",
        showlegend=False,
        hoverinfo="skip",
    )
    of_style: dict[TermsStyle, list[ConfirmedMean]] = {}
    for mean in means:
        if not all(windows[axis].contains(mean.values[axis]) for axis in (x, y)):
            continue
        style = terms_style(points[mean.number].loss_terms)
        style = style if color is None else replace(style, color=color)
        of_style.setdefault(style, []).append(mean)
    crosses = [
        Scatter(
            x=[mean.values[x] for mean in alike],
            y=[mean.values[y] for mean in alike],
            error_x=_bars(alike, x, style.color),
            error_y=_bars(alike, y, style.color),
            mode="markers+text" if color is None else "markers",
            name="Confirmed mean",
            legendgroup="confirmed",
            legendrank=3,
            showlegend=in_legend and place == 0,
            marker={
                "color": PAPER,
                "symbol": style.symbol,
                "size": 11,
                "line": {"color": style.color, "width": 2},
            },
            text=[str(mean.number) for mean in alike] if color is None else None,
            textposition="bottom right",
            textfont={"size": SMALL_SIZE, "color": style.color},
            customdata=[mean.number for mean in alike],
            hovertext=[mean_hover(info, mean) for mean in alike],
            hoverinfo="text",
        )
        for place, (style, alike) in enumerate(of_style.items())
    ]
    return [joined, *crosses]


def _points(info: ParetoInfo) -> dict[int, ParetoPoint]:
    is_history = info.objectives[0].metric == ENDED
    return {point.number: point for point in (info.points if is_history else info.front)}


def drawn_means(info: ParetoInfo, means: Sequence[ConfirmedMean]) -> list[ConfirmedMean]:
    """Those of trials that are still on the front; of a history, of any trial."""
    points = _points(info)
    return [mean for mean in means if mean.number in points]


def _estimate(arm: ArmInfo, metric: str) -> Estimate:
    """Of a cost a mean without an interval, over a number of seeds that is not kept: 0."""
    cost = Estimate(arm.costs.get(metric, math.nan), math.nan, math.nan, math.nan, 0, NONE)
    return arm.estimates.get(metric, cost)


def _bars(means: Sequence[ConfirmedMean], axis: int, color: str) -> dict[str, Any]:
    """The interval of each mean; of one without an interval no bar."""
    values, low, high = (
        np.array([getattr(mean, name)[axis] for mean in means])
        for name in ("values", "low", "high")
    )
    return {
        "type": "data",
        "array": np.nan_to_num(high - values).tolist(),
        "arrayminus": np.nan_to_num(values - low).tolist(),
        "color": color,
        "thickness": 1,
        "width": 0,
    }
