"""The effect of tuning: the expected best score of each arm by number of trials.

A line is an arm; if it still improves at the end, the arm needs more tuning, and a comparison at
this budget is unfair to it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from plotly.graph_objects import Figure, Scatter

from ablate.ablation.figure_infos import BudgetInfo, budget_info
from ablate.ablation.info import TuningCurve
from ablate.ablation.study_source import StudySource
from ablate.errors import NothingToDrawError
from ablate.report.arms import basis_notes
from ablate.report.figures.figure import FigureKind, FigureOptions, the_ablation
from ablate.report.figures.parts.ablations import ablation_facts, ablation_meta
from ablate.report.figures.parts.canvas import COLUMN_PIXELS, axis_title, finish, metric_axis
from ablate.report.figures.parts.window import metric_range
from ablate.report.numbers import (
    gain_text,
    metric_text,
    metric_unit,
    metric_words,
    plain_text,
    shortened,
)
from ablate.report.style import INK, LineStyle, base_axis, line_styles

_NAME_CHARACTERS = 40
_PLOT = 300
"""Height of the axes in pixels."""


def plot_budget(info: BudgetInfo) -> Figure:
    """Draw the expected best score of every arm against the trials of its search.

    Args:
        info: of one or more arms; an arm whose trials all failed has no line.

    Returns:
        A figure for one column of print; trials are on a logarithmic axis.
    """
    styles = line_styles(info.loss_terms)
    figure = Figure([_line(info, *one) for one in zip(info.curves, styles, strict=True)])
    longest = max(len(curve.scores) for curve in info.curves)
    ends = [score for curve in info.curves for score in curve.scores if math.isfinite(score)]
    if ends and math.isfinite(info.baseline):
        figure.add_trace(_baseline_line(info, longest))
        ends.append(info.baseline)
    counts = _counts(longest)
    figure.update_layout(
        xaxis=base_axis()
        | {
            "type": "log",
            "range": [-0.05, math.log10(max(2, longest)) + 0.05],
            "tickvals": counts,
            "ticktext": [str(count) for count in counts],
            "title": axis_title("Trials of an arm's search"),
        },
        yaxis=_y_axis(info, ends),
    )
    return finish(
        figure,
        title=f"Tuning of {info.ablation.study}",
        facts=_facts(info),
        meta=ablation_meta(info.ablation, "Tuning budget"),
        pixels=COLUMN_PIXELS,
        inside=_PLOT,
        nothing="" if ends else "no search has a complete trial",
    )


def _line(info: BudgetInfo, curve: TuningCurve, style: LineStyle) -> Scatter:
    shown = _shown(curve)
    return Scatter(
        x=shown,
        y=[
            curve.scores[count - 1] if math.isfinite(curve.scores[count - 1]) else None
            for count in shown
        ],
        mode="lines+markers",
        name=plain_text(shortened(curve.arm, _NAME_CHARACTERS)),
        showlegend=True,
        line={"color": style.color, "dash": style.dash, "width": 2},
        marker={"symbol": style.symbol, "size": 7, "color": style.color},
        hovertext=[_hover(info, curve, count) for count in shown],
        hoverinfo="text",
    )


def _shown(curve: TuningCurve) -> list[int]:
    """Numbers of trials that have a mark: all of few, else evenly on the axis."""
    longest = len(curve.scores)
    if longest <= 16:
        return list(range(1, longest + 1))
    spread = np.geomspace(1, longest, 40).round().astype(int)
    return sorted(set(spread.tolist()))


def _counts(longest: int) -> list[int]:
    """Ticks: powers of two, and the budget unless it is too near to the last."""
    counts = [2**power for power in range(longest.bit_length())]
    if longest >= 1.2 * counts[-1]:
        counts.append(longest)
    return counts


def _baseline_line(info: BudgetInfo, longest: int) -> Scatter:
    return Scatter(
        x=[0.9, 1.12 * max(2, longest)],
        y=[info.baseline] * 2,
        mode="lines",
        name="Baseline",
        showlegend=True,
        line={"color": INK, "width": 1.5, "dash": "dot"},
        hoverinfo="skip",
    )


def _y_axis(info: BudgetInfo, ends: Sequence[float]) -> dict[str, Any]:
    axis = metric_axis(info.metric)
    better = ", less is better" * (info.metric in info.ablation.minimized)
    label = f"Expected best {metric_words(info.metric)}{better}"
    axis["title"] = axis["title"] | {"text": plain_text(label)}
    if ends:
        axis["range"] = list(metric_range(info.metric, ends))
    return axis


def _hover(info: BudgetInfo, curve: TuningCurve, count: int) -> str:
    score = curve.scores[count - 1]
    gain = gain_text(info.metric, score - info.baseline)
    lines = [
        f"<b>{plain_text(curve.arm)}</b>",
        f"best of {count} trial" + "s" * (count != 1),
        f"{plain_text(metric_words(info.metric))}: "
        f"{metric_text(info.metric, score)}{metric_unit(info.metric)}",
    ]
    return "<br>".join([*lines, *([f"{gain} against the baseline"] if gain else [])])


def _facts(info: BudgetInfo) -> list[str]:
    notes = [
        *basis_notes(info.ablation, [info.metric]),
        "one seed per trial; expected best of n trials drawn from the arm's trials, biased low "
        "near the end",
    ]
    if not all(curve.is_random for curve in info.curves):
        notes.append("an approximation: the sampler was not random, so trials are not independent")
    return ablation_facts(info.ablation, [*notes, *info.ablation.marks])


def _read(sources: Sequence[StudySource], _: FigureOptions) -> BudgetInfo:
    ablation = the_ablation(sources, "budget")
    record = sources[0].record
    info = budget_info(record, ablation)
    if info is None:
        raise NothingToDrawError(
            record.name,
            "budget",
            "needs tuned arms, got none",
            "Write tune: {trials: T} below ablation: in the study file.",
        )
    return info


FIGURE = FigureKind(
    name="budget",
    title="Tuning budget",
    says="Expected best score of each arm's search by number of trials; a line that is still "
    "rising means that more tuning would help.",
    read=_read,
    draw=plot_budget,
)
