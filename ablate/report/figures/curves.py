"""The curves: what each trial said epoch by epoch, and where a pruner compared it with the others.

A line is a trial, its colour its loss terms (of an ablation its cell). Full colour is the front's;
a trial that was stopped or failed ends with a mark. Below, in a panel of their own, stand the
values that the pruner looked at, each over its rung.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ablate.ablation.study_source import StudySource
from ablate.analysis.curves import TRAIN_LOSS, Curve, CurvesInfo, curves_info
from ablate.analysis.metrics import is_accuracy
from ablate.report.figures.figure import FigureKind, FigureOptions
from ablate.report.figures.parts.canvas import COLUMN_PIXELS, finish
from ablate.report.figures.parts.curve_groups import groups, short_name
from ablate.report.figures.parts.curve_lines import curve_lines, is_thinned, rung_traces
from ablate.report.figures.parts.heading import basis_facts, basis_meta
from ablate.report.numbers import metric_label, plain_text
from ablate.report.style import FAINT_INK, FONT_SIZE, base_axis

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

_RUNGS_PIXELS = 210
"""Height that the panel of the rungs adds."""
_LEGEND_ROW_PIXELS = 30
"""Of two names; what has more than a few rows would press the panels together."""
_LOG_RATIO = 30
"""From this ratio of the largest to the smallest value on, an axis is logarithmic."""


def plot_curves(info: CurvesInfo) -> Figure:
    """Draw the curves of a study.

    Args:
        info: may be without a curve; where it has not all of them, the facts say so.

    Returns:
        A figure for one column of print, of two panels where trials were compared at rungs.
    """
    from plotly.subplots import make_subplots

    curves, has_rungs = info.curves, info.rung_metric is not None
    panels = {"row_heights": [0.62, 0.38], "shared_xaxes": True, "vertical_spacing": 0.05}
    figure = make_subplots(rows=1 + has_rungs, cols=1, **(panels if has_rungs else {}))
    by = groups(info)
    figure.add_traces(curve_lines(info, by), rows=1, cols=1)
    figure.update_yaxes(_value_axis(info.metric, _values(curves)), row=1, col=1)
    if info.rung_metric is not None:
        figure.add_traces(rung_traces(info, by), rows=2, cols=1)
        at_rungs = [rung.value for curve in curves for rung in curve.rungs]
        figure.update_yaxes(_value_axis(info.rung_metric, at_rungs), row=2, col=1)
        for epoch in sorted({rung.epoch for curve in info.curves for rung in curve.rungs}):
            line = {"color": FAINT_INK, "width": 1, "dash": "dot"}
            figure.add_vline(epoch, line=line, layer="below", row="all", col=1)
    figure.update_xaxes(_epoch_axis(curves))
    figure.update_xaxes({"title": _title("Epoch")}, row=1 + has_rungs, col=1)
    width, height = COLUMN_PIXELS
    height += has_rungs * _RUNGS_PIXELS + max(0, len(by) - 4) // 2 * _LEGEND_ROW_PIXELS
    return finish(
        figure,
        title=f"Curves of {info.study}",
        facts=_facts(info),
        meta=basis_meta(info, "Curves"),
        pixels=(width, height),
        nothing="" if curves else "no trial has ended an epoch yet",
    )


def _values(curves: Sequence[Curve]) -> list[float]:
    return [value for curve in curves for value in curve.values]


def _value_axis(metric: str, values: Sequence[float]) -> dict[str, Any]:
    label = "Training loss" if metric == TRAIN_LOSS else metric_label(metric)
    axis = base_axis() | {"title": _title(short_name(label))}
    finite = [value for value in values if math.isfinite(value)]
    if not finite:
        axis["range"] = [0, 1]
    if is_accuracy(metric):
        return axis | {"tickformat": ".3~%"}
    if finite and min(finite) > 0 and max(finite) / min(finite) >= _LOG_RATIO:
        decades = math.log10(max(finite) / min(finite))
        # Between two decades plotly writes bare digits; whole numbers say more.
        ticks = {"tickmode": "array", "tickvals": _log_ticks(min(finite), max(finite), decades)}
        return axis | {"type": "log", "tickformat": "~g", **ticks}
    return axis


def _log_ticks(low: float, high: float, decades: float) -> list[float]:
    steps = (1, 2, 5) if decades < 2 else (1, 3) if decades < 3.5 else (1,)
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    every = max(1, len(powers) // 8)
    return [step * 10.0**power for power in powers[::every] for step in steps]


def _epoch_axis(curves: Sequence[Curve]) -> dict[str, Any]:
    epochs = [epoch for curve in curves for epoch in curve.epochs]
    epochs += [rung.epoch for curve in curves for rung in curve.rungs]
    low, high = (min(epochs), max(epochs)) if epochs else (1, 4)
    room = max(0.04 * (high - low), 0.15)
    axis = base_axis() | {"range": [low - room, high + room], "tickformat": "d"}
    return axis | ({"dtick": 1} if high - low <= 12 else {})


def _title(text: str) -> dict[str, Any]:
    return {"text": plain_text(text), "standoff": 8, "font": {"size": FONT_SIZE}}


def _facts(info: CurvesInfo) -> list[str]:
    said = basis_facts(info)
    if info.seeds is not None:
        said.append(f"a line is a run, {info.seeds} seeds")
    elif any(curve.on_front for curve in info.curves):
        said.append("full colour: on the front")
    if info.own_losses:
        said.append("each loss has its own terms and weights: levels do not compare")
    if len(info.curves) < info.found:
        said.append(f"{len(info.curves)} of {info.found} trials drawn: the front, others evenly")
    if is_thinned(info):
        said.append("long lines through evenly chosen epochs")
    return said


def _read(sources: Sequence[StudySource], options: FigureOptions) -> CurvesInfo:
    (source,) = sources
    return curves_info(source.record, options.trials, options.objective)


FIGURE = FigureKind(
    name="curves",
    title="Curves",
    says="A line is a trial, epoch by epoch; what a pruner compared has a panel of its own.",
    read=_read,
    draw=plot_curves,
    takes=("trials", "objective"),
)
