"""What a budget gave: of a search with a pruner the epochs that were trained, and those saved; of
tuned arms the expected best score by number of trials.

A line is an arm; if it still improves at the end, the arm needs more tuning, and a comparison at
this budget is unfair to it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from plotly.graph_objects import Bar, Figure, Scatter

from ablate.ablation.figure_infos import BudgetInfo, budget_info
from ablate.ablation.info import TuningCurve
from ablate.ablation.study_source import StudySource
from ablate.analysis.summary import SpendingInfo, spending_info
from ablate.errors import NothingToDrawError
from ablate.report.arms import basis_notes
from ablate.report.figures.figure import FigureKind, FigureOptions, the_ablation
from ablate.report.figures.parts.ablations import ablation_facts, ablation_meta
from ablate.report.figures.parts.canvas import (
    COLUMN_PIXELS,
    axis_title,
    basis_facts,
    basis_meta,
    finish,
    metric_axis,
)
from ablate.report.figures.parts.window import metric_range
from ablate.report.numbers import (
    epochs_text,
    gain_text,
    metric_text,
    metric_unit,
    metric_words,
    plain_text,
    shortened,
    work_text,
)
from ablate.report.style import FAINT_INK, INK, PAPER, SERIES, LineStyle, base_axis, line_styles

_NAME_CHARACTERS = 40
_PLOT = 300
"""Height of the axes in pixels."""


def plot_spending(info: SpendingInfo) -> Figure:
    """Draw how many trials trained each epoch, and how many would have without the pruner.

    Returns:
        A figure for one column of print; the area of the bars is the number of epochs.
    """
    account = info.account
    stopped = {rung.epoch: rung for rung in account.rungs}
    epochs = list(range(1, len(account.trained) + 1))
    hovers = [
        f"epoch {epoch}: trained by {count}"
        + (f"<br>then {rung.stopped} of {rung.reached} stopped" if rung else "")
        for epoch, count in zip(epochs, account.trained, strict=True)
        for rung in [stopped.get(epoch)]
    ]
    look: dict[str, Any] = {"x": epochs, "hoverinfo": "text", "showlegend": True}
    spent = {"name": "Trained", "y": account.trained, "hovertext": hovers}
    saved = {"name": "Saved by stopping", "y": account.saved}
    saved |= {"hovertext": [f"epoch {one}: saved in {n}" for one, n in enumerate(account.saved, 1)]}
    figure = Figure(
        [
            Bar(**look, **spent, marker={"color": SERIES[0]}),
            Bar(**look, **saved, marker={"color": PAPER, "line": {"color": FAINT_INK, "width": 1}}),
        ]
    )
    figure.update_layout(
        barmode="stack",
        xaxis=base_axis() | {"title": axis_title("Epoch"), "tickformat": "d"},
        yaxis=base_axis() | {"title": axis_title("Trials"), "rangemode": "tozero"},
    )
    facts = basis_facts(info)
    return finish(
        figure,
        title=f"Epochs of {info.study}",
        facts=[*epochs_text(account).split("; "), work_text(account), *facts],
        meta=basis_meta("Budget", info),
        inside=_PLOT,
        nothing="" if epochs else "no epoch has ended yet",
    )


def plot_budget(info: BudgetInfo | SpendingInfo) -> Figure:
    """Draw the budget of a search (`plot_spending`) or of tuned arms (`plot_tuning`)."""
    return plot_spending(info) if isinstance(info, SpendingInfo) else plot_tuning(info)


def plot_tuning(info: BudgetInfo) -> Figure:
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


def _read(sources: Sequence[StudySource], _: FigureOptions) -> BudgetInfo | SpendingInfo:
    if sources[0].is_search:
        return spending_info(sources[0].record)
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
    title="Budget",
    says="Of a search: the trials that trained each epoch, and epochs saved by stopping; of tuned "
    "arms: expected best score by number of trials, and more would help where a line still rises.",
    read=_read,
    draw=plot_budget,
)
