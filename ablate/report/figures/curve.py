"""Robust against clean accuracy on the way from the baseline to the finetuned network.

A line is a trial's curve, or the mean curve of an arm: a mark an alpha, from the star of the
baseline to the finetuned network.  A ring is round the network that stands for the trial.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean
from typing import Any

from plotly.graph_objects import Figure, Scatter

from ablate.ablation.alpha_curves import (
    AlphaCurve,
    AlphaCurvesInfo,
    AlphaPoint,
    alpha_curves,
    has_interval,
)
from ablate.ablation.study_source import StudySource
from ablate.report.arms import printed
from ablate.report.figures.figure import FigureKind, FigureOptions
from ablate.report.figures.parts.ablations import interval_bars
from ablate.report.figures.parts.canvas import (
    COLUMN_PIXELS,
    basis_facts,
    basis_meta,
    finish,
    metric_axis,
)
from ablate.report.numbers import count_text, metric_text, plain_text
from ablate.report.style import INK, SMALL_SIZE, LineStyle, line_styles, terms_style
from ablate.study.interpolation import CURVE_METRICS

_TITLE = "From the baseline to the finetuned network"
_NO_CURVE = "no complete trial with a curve"
_NONE_COUNTS = "no trial is on the front"
_CLEAN, _ROBUST = CURVE_METRICS
_INSIDE_PIXELS, _LEAST_INSIDE = 290, 80
_MOST_COMPARED = 3
"""Trials whose network is compared with the finetuned one in the caption; hover has all."""


def plot_curve(info: AlphaCurvesInfo) -> Figure:
    """Draw the curves of trials, or of arms.

    Args:
        info: may have no curve; the figure says so.

    Returns:
        A figure for one column of print: a line a trial or arm, with an interval over seeds of an
        arm's means; of a trial, customdata is its number.
    """
    figure = Figure()
    styles = line_styles([curve.loss_terms for curve in info.curves])
    lowest = min(info.curves, key=_mean_robust, default=None)
    for place, (curve, style) in enumerate(zip(info.curves, styles, strict=True)):
        figure.add_trace(_line(info, curve, style, is_lowest=curve is lowest))
        if info.is_search:
            figure.add_trace(_ring(curve, in_legend=place == 0))
    baseline = info.curves[0].points[0] if info.curves else None
    if baseline is not None:
        figure.add_trace(_star(baseline))
    figure.update_xaxes(metric_axis(_CLEAN))
    figure.update_yaxes(metric_axis(_ROBUST))
    return finish(
        figure,
        title=_TITLE,
        facts=_facts(info),
        meta=basis_meta("Curve", info),
        pixels=COLUMN_PIXELS,
        inside=_INSIDE_PIXELS,
        least=_LEAST_INSIDE,
        nothing=_nothing(info),
    )


def _nothing(info: AlphaCurvesInfo) -> str:
    if info.curves:
        return ""
    return _NONE_COUNTS if info.is_search and info.complete else _NO_CURVE


def _mean_robust(curve: AlphaCurve) -> float:
    return fmean(point.robust.mean for point in curve.points)


def _line(
    info: AlphaCurvesInfo, curve: AlphaCurve, style: LineStyle, *, is_lowest: bool
) -> Scatter:
    points = curve.points
    terms = "" if curve.number is None else plain_text(terms_style(curve.loss_terms).label)
    name = plain_text(curve.name if curve.number is None else curve.name.capitalize())
    bars: dict[str, Any] = {"color": style.color, "thickness": 1, "width": 0}
    # Print has no hover, and the alphas are the same for all: those of one curve are enough.
    clean = [point.clean.mean for curve in info.curves for point in curve.points]
    middle = (min(clean) + max(clean)) / 2
    sides = ["left" if point.clean.mean > middle else "right" for point in points]
    alphas = [f"{'alpha ' * (at == 1)}{point.alpha:g}" for at, point in enumerate(points)]
    return Scatter(
        x=[point.clean.mean for point in points],
        y=[point.robust.mean for point in points],
        error_x=interval_bars([point.clean for point in points], **bars),
        error_y=interval_bars([point.robust for point in points], **bars),
        mode="lines+markers+text" if is_lowest else "lines+markers",
        text=["", *alphas[1:]] if is_lowest else None,
        textposition=[f"bottom {side}" for side in sides],
        textfont={"size": SMALL_SIZE, "color": INK},
        name=f"{name}, {terms}" if terms else name,
        showlegend=True,
        line={"color": style.color, "width": 2, "dash": style.dash},
        # The first mark is the baseline, which has its star.
        marker={
            "color": style.color,
            "symbol": style.symbol,
            "opacity": 1,
            "size": [0, *[8] * (len(points) - 1)],
            "line": {"color": INK, "width": 1},
        },
        customdata=None if curve.number is None else [curve.number] * len(points),
        hovertext=[_hover(curve, point, name, terms) for point in points],
        hoverinfo="text",
        cliponaxis=False,
    )


def _ring(curve: AlphaCurve, *, in_legend: bool) -> Scatter:
    chosen = [point for point in curve.points if point.alpha in curve.chosen]
    return Scatter(
        x=[point.clean.mean for point in chosen],
        y=[point.robust.mean for point in chosen],
        mode="markers",
        name="Stands for the trial",
        legendgroup="chosen",
        showlegend=in_legend,
        marker={
            "symbol": "circle-open",
            "color": INK,
            "size": 17,
            "line": {"color": INK, "width": 1.5},
        },
        customdata=[curve.number] * len(chosen),
        hoverinfo="skip",
    )


def _star(baseline: AlphaPoint) -> Scatter:
    return Scatter(
        x=[baseline.clean.mean],
        y=[baseline.robust.mean],
        mode="markers",
        name="Baseline (alpha 0)",
        showlegend=True,
        marker={"symbol": "star", "color": INK, "size": 13},
        hoverinfo="skip",
    )


def _hover(curve: AlphaCurve, point: AlphaPoint, name: str, terms: str) -> str:
    head = f"<b>{name}</b>" + f", {terms}" * bool(terms)
    lines = [f"{head}, alpha {point.alpha:g}"]
    for metric, one in ((_CLEAN, point.clean), (_ROBUST, point.robust)):
        text = f"{'Clean' if metric == _CLEAN else 'Robust'} accuracy: <b>"
        text += f"{metric_text(metric, one.mean)}</b>"
        if has_interval(one):
            text += f", {metric_text(metric, one.low)} to {metric_text(metric, one.high)}"
        lines.append(text)
    if curve.number is not None and point.alpha in curve.chosen:
        lines += ["stands for the trial", *_less_finetuned(point)]
    return "<br>".join(lines)


def _less_finetuned(point: AlphaPoint) -> list[str]:
    """The network that stands for a trial against its finetuned one."""
    if point.less_finetuned is None:
        return []
    clean, robust = map(printed, point.less_finetuned)
    return [f"alpha {point.alpha:g} less alpha 1: {clean} points clean, {robust} robust"]


def _facts(info: AlphaCurvesInfo) -> list[str]:
    facts = basis_facts(info)
    facts.append("alpha from 0, the baseline, to 1, the finetuned network")
    points = 100 * info.clean_margin
    margin = f"{points:g} point{'s' * (points != 1)} of clean accuracy"
    if info.is_search:
        facts.append(f"ring: the most robust that loses at most {margin}, else the least")
        if len(info.curves) < info.on_front:
            of = "trials on the front" if len(info.objectives) > 1 else "best trials"
            facts.append(f"{len(info.curves)} of the {info.on_front} {of}")
        facts += [f"{curve.name}: {curve.note}" for curve in info.curves if curve.note]
        less = [
            f"{curve.name}, {text}"
            for curve in info.curves[:_MOST_COMPARED]
            for point in curve.points
            for text in _less_finetuned(point)
        ]
        facts += [*less, "brackets: 95 % interval, t over images"] if less else []
    elif info.curves:
        seeds = max(curve.seeds for curve in info.curves)
        facts.append(
            f"mean over {count_text(seeds, 'seed')}"
            + ", bars: 95 % interval, t over seeds" * (seeds > 1)
        )
        facts += [
            f"{curve.name}: barrier of up to {100 * curve.barrier:.1f} points"
            for curve in info.curves
            if curve.barrier > info.clean_margin
        ]
    return facts


def _read(sources: Sequence[StudySource], options: FigureOptions) -> AlphaCurvesInfo:
    (source,) = sources
    return alpha_curves(source.record, source.ablation, source.read_bits, options.trials)


FIGURE = FigureKind(
    name="curve",
    title="Curve from the baseline to the finetuned network",
    says="Each line goes from the baseline to a finetuned network, a mark at each alpha.",
    read=_read,
    draw=plot_curve,
    takes=("trials",),
)
