"""The arms of an ablation: each arm's scores, with intervals over seeds.

A row is an arm, a panel a metric; the axis has the range of the scores.  Colour and mark are the
loss terms; of several arms with the same terms, the first has a filled mark.  The baseline, from
which all runs start, is a dotted line; if it is far from all arms, its value is in the axis title.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from plotly.graph_objects import Figure, Scatter

from ablate.ablation.figure_infos import ArmsInfo, arms_info
from ablate.ablation.info import AblationInfo, ArmInfo
from ablate.ablation.intervals import Estimate
from ablate.ablation.study_source import StudySource
from ablate.report.arms import (
    NOTHING,
    basis_notes,
    decimals,
    difference_cell,
    leading_metrics,
    minimized_notes,
    runs_text,
    scale,
    shown_name,
)
from ablate.report.figures.figure import FigureKind, FigureOptions, the_ablation
from ablate.report.figures.parts.ablations import (
    EMPTY_PIXELS,
    NOT_YET,
    ablation_facts,
    ablation_meta,
    asked_metric,
    finite_or_none,
    interval_bars,
    stacked,
)
from ablate.report.figures.parts.canvas import (
    COLUMN_PIXELS,
    RIGHT,
    WIDE_PIXELS,
    finish,
    metric_axis,
)
from ablate.report.figures.parts.rows import (
    NAME_CHARACTERS,
    WIDE_CHARACTERS,
    Row,
    add_rows,
    placed_rows,
    rows_height,
)
from ablate.report.figures.parts.window import metric_range
from ablate.report.numbers import MISSING, metric_text, metric_unit, metric_words, plain_text
from ablate.report.style import INK, PAPER, line_styles, terms_style

_GAP = 64
"""Between two panels, in pixels."""
_MOST = 2300
"""Pixels of all rows: the image stays below 3000."""
_MOST_METRICS = 3
"""For a custom training loop, whose metrics have one panel each."""


def plot_arms(info: ArmsInfo) -> Figure:
    """Draw every arm as a mark with its interval.

    Args:
        info: without finished runs the figure says so.

    Returns:
        A figure for one column of print, as high as its arms need, two columns wide for very many:
        a panel a metric.  Of arms that have no room the last are left out, and counted.
    """
    is_begun = any(
        math.isfinite(arm.estimates.get(metric, NOTHING).mean)
        for arm, _ in info.arms
        for metric in info.metrics
    )
    width, characters = COLUMN_PIXELS[0], NAME_CHARACTERS
    panels = {metric: _rows(info, metric, characters) for metric in info.metrics}
    if sum(map(rows_height, panels.values())) > _MOST:
        width, characters = WIDE_PIXELS[0], WIDE_CHARACTERS
        panels = {metric: _rows(info, metric, characters) for metric in info.metrics}
    room = _MOST / max(1, len(panels))
    panels = {metric: [row for row in rows if row.foot <= room] for metric, rows in panels.items()}
    heights = [rows_height(rows) or EMPTY_PIXELS for rows in panels.values()]
    domains, inside = stacked(heights if is_begun else [EMPTY_PIXELS], _GAP)
    figure = Figure()
    if is_begun:
        for place, (metric, rows) in enumerate(panels.items()):
            window, baseline = _window(info, metric), info.baseline(metric)
            axis = metric_axis(metric) | {"range": window}
            if metric in info.ablation.minimized:
                axis["title"]["text"] += " (less is better)"
            if math.isfinite(baseline) and not window[0] <= baseline <= window[1]:
                text = metric_text(metric, baseline) + metric_unit(metric)
                axis["title"]["text"] += f"; baseline: {text}"
            add_rows(figure, rows, _marks(info, metric, rows), axis, domains[place], place + 1)
    facts = _facts(info)
    left_out = len(info.arms) - min(map(len, panels.values()), default=0)
    if is_begun and left_out:
        facts.append(f"{left_out} arms not shown, for want of room")
    return finish(
        figure,
        title=f"Arms of {info.ablation.study}",
        facts=facts,
        meta=ablation_meta(info.ablation, "Arms"),
        pixels=(width, 0),
        inside=inside,
        left=RIGHT,
        nothing="" if is_begun else NOT_YET,
    )


def _rows(info: ArmsInfo, metric: str, characters: int) -> list[Row]:
    return placed_rows(
        [
            (arm.name, "<b>{}</b>", _said(info, metric, arm, terms), False)
            for arm, terms in info.arms
        ],
        characters,
    )


def _said(info: ArmsInfo, metric: str, arm: ArmInfo, terms: str) -> list[str]:
    """The value with its interval; loss terms; runs that are missing."""
    small = [plain_text(terms_style(terms).label)] if terms else []
    small += [runs] if (runs := runs_text(info.ablation, arm)) else []
    value = _value_text(metric, arm.estimates.get(metric, NOTHING))
    return [value, *([", ".join(small)] if small else [])]


def _value_text(metric: str, one: Estimate) -> str:
    """ "77.3 % [76.5, 78.1]"; a dash of no value."""
    if math.isnan(one.mean):
        return MISSING
    factor, digits = scale(metric), decimals(metric, [one.mean])
    text = f"{factor * one.mean:.{digits}f}{metric_unit(metric)}"
    if math.isfinite(one.low):
        text += f" [{factor * one.low:.{digits}f}, {factor * one.high:.{digits}f}]"
    return text


def _marks(info: ArmsInfo, metric: str, rows: Sequence[Row]) -> list[Scatter]:
    """A mark an arm, and the line of the baseline."""
    traces = []
    styles = line_styles([terms for _, terms in info.arms])
    for (arm, terms), row, style in zip(info.arms, rows, styles, strict=False):
        one = arm.estimates.get(metric, NOTHING)
        color = style.color
        traces.append(
            Scatter(
                x=[finite_or_none(one.mean)],
                y=[row.at],
                mode="markers",
                name=plain_text(arm.name),
                showlegend=False,
                marker={
                    "color": PAPER if style.alike else color,
                    "symbol": style.symbol,
                    "size": 11,
                    "line": {"color": color, "width": 2},
                },
                error_x=interval_bars([one], color=color, thickness=2, width=0),
                hovertext=[_hover(info, arm, terms, metric)],
                hoverinfo="text",
                cliponaxis=False,
            )
        )
    baseline = info.baseline(metric)
    low, high = _window(info, metric)
    if low <= baseline <= high:
        traces.append(
            Scatter(
                x=[baseline, baseline],
                y=[0, rows_height(rows)],
                mode="lines",
                name="Baseline",
                line={"color": INK, "width": 1.5, "dash": "dot"},
                hoverinfo="skip",
            )
        )
    return traces


def _window(info: ArmsInfo, metric: str) -> list[float]:
    """All intervals; and the baseline, unless it is further away than they are wide."""
    found = [arm.estimates.get(metric, NOTHING) for arm, _ in info.arms]
    ends = [end for one in found for end in (one.low, one.mean, one.high)]
    low, high = metric_range(metric, ends)
    baseline = info.baseline(metric)
    if 2 * low - high <= baseline <= 2 * high - low:
        low, high = metric_range(metric, [*ends, baseline])
    return [low, high]


def _hover(info: ArmsInfo, arm: ArmInfo, terms: str, metric: str) -> str:
    """The arm, its value with the interval, and its difference to the reference."""
    one = arm.estimates.get(metric, NOTHING)
    lines = [f"{metric_words(metric)}: {_value_text(metric, one)}", f"{one.n} seeds"]
    effect = info.ablation.to_reference(arm.name, metric)
    if effect is not None:
        printed = difference_cell(info.ablation, metric, effect.estimate).printed
        lines.append(f"less {info.ablation.reference}: {printed}")
    lines = [terms, *lines] if terms else lines
    return "<br>".join([f"<b>{plain_text(arm.name)}</b>", *map(plain_text, lines)])


def _facts(info: ArmsInfo) -> list[str]:
    ablation = info.ablation
    notes = basis_notes(ablation, info.metrics)
    if ablation.seeds > 1:
        on = "" if ablation.n_images is None else ", on these images"
        notes.append(f"marks: mean over seeds; lines: 95 % interval, t over seeds{on}")
    else:
        notes.append("one seed: no interval")
    baseline = {
        metric: value for metric in info.metrics if math.isfinite(value := info.baseline(metric))
    }
    if baseline:
        said = (
            f"{shown_name(ablation, one)} {metric_text(one, baseline[one])}" for one in baseline
        )
        notes.append(f"dotted: baseline, {', '.join(said)}")
    notes += [*minimized_notes(ablation), *ablation.marks]
    left_out = [one for one in leading_metrics(ablation) if one not in info.metrics]
    if not ablation.families and left_out:
        notes.append(f"not shown: {', '.join(left_out)}")
    return ablation_facts(ablation, notes)


def _read(sources: Sequence[StudySource], options: FigureOptions) -> ArmsInfo:
    ablation = the_ablation(sources, "arms")
    record = sources[0].record
    if options.objective:
        return arms_info(record, ablation, [asked_metric(ablation, options.objective)])
    return arms_info(record, ablation, _usual_metrics(ablation))


def _usual_metrics(ablation: AblationInfo) -> list[str]:
    """The one by which arms are ranked, then the first others: robust and clean."""
    ranked = ablation.rank_metric
    leading = leading_metrics(ablation)
    others = [metric for metric in leading if metric != ranked]
    return [ranked] * (ranked in leading) + others[: _MOST_METRICS - 1]


FIGURE = FigureKind(
    name="arms",
    title="Arms",
    says="Each arm's accuracy with its 95 % interval over seeds; the dotted line is the baseline.",
    read=_read,
    draw=plot_arms,
    takes=("objective",),
)
