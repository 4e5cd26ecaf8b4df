"""The curves: values of each trial by epoch, and the comparisons by a pruner.

A line is a trial; its colour shows its loss terms (or its ablation cell).  Trials on the front have
full colour; a trial that was stopped or failed ends with a mark.  Training losses of other terms
or weights are drawn as shares of the loss of the first epoch.  A panel for each metric has the
scores at rungs less the rung's median; a collapsed trial does not stretch it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from plotly.graph_objects import Figure

from ablate.ablation.study_source import StudySource
from ablate.analysis.curves import TRAIN_LOSS, Curve, CurvesInfo, curves_info
from ablate.analysis.objectives import front_noun, front_words, is_accuracy
from ablate.ledger.record import Rung
from ablate.report.arms import scale
from ablate.report.figures.figure import FigureKind, FigureOptions
from ablate.report.figures.parts.ablations import stacked
from ablate.report.figures.parts.canvas import (
    axis_title,
    basis_facts,
    basis_meta,
    finish,
    trace_type,
)
from ablate.report.figures.parts.names import axis_number
from ablate.report.figures.parts.window import Window, scores_window
from ablate.report.numbers import count_text, metric_label, plain_text, shortened
from ablate.report.style import (
    DOMINATED_OPACITY,
    FAINT_INK,
    INK,
    base_axis,
    line_styles,
    terms_style,
)

_PANEL, _RUNGS_PANEL, _GAP = 240, 160, 30
"""Height of the panel of curves, of one of the rungs, and between two, in pixels."""
_MOST_RUNG_PANELS, _LEAST_INSIDE = 3, 120
_LOG_RATIO = 30
"""From this ratio of the largest to the smallest value on, an axis is logarithmic."""


def plot_curves(info: CurvesInfo) -> Figure:
    """Draw the curves of a study.

    Args:
        info: may have no curve; if curves are left out, the facts say so.

    Returns:
        A figure for one column of print; below the curves a panel for each metric at the rungs.
    """
    by, figure = groups(info), Figure()
    metrics = info.rung_metrics[:_MOST_RUNG_PANELS]
    windows = {metric: _rungs_window(info, metric) for metric in metrics}
    domains, inside = stacked([_PANEL, *[_RUNGS_PANEL] * len(metrics)], _GAP)
    figure.add_traces(curve_lines(info, by))
    axes = [_value_axis(info)]
    for place, metric in enumerate(metrics, 1):
        number = axis_number(place)
        on = {"xaxis": f"x{number}", "yaxis": f"y{number}"}
        figure.add_traces([trace.update(on) for trace in rung_traces(info, by, metric)])
        axes.append(_rungs_axis(metric, windows[metric]))
    layout: dict[str, Any] = {}
    for place, (axis, domain) in enumerate(zip(axes, domains, strict=True)):
        number, is_last = axis_number(place), place == len(metrics)
        x = _epoch_axis(info.curves) | {"anchor": f"y{number}", "showticklabels": is_last}
        x |= {"matches": "x"} if place else {}
        x |= {"title": axis_title("Epoch")} if is_last else {}
        layout[f"xaxis{number}"] = x
        layout[f"yaxis{number}"] = axis | {"anchor": f"x{number}", "domain": list(domain)}
    epochs = sorted({rung.epoch for curve in info.curves for rung in curve.rungs})
    line = {"color": FAINT_INK, "width": 1, "dash": "dot"}
    look = {"type": "line", "layer": "below", "line": line}
    layout["shapes"] = [
        look
        | {"xref": f"x{axis_number(place)}", "x0": epoch, "x1": epoch}
        | {"yref": f"y{axis_number(place)} domain", "y0": 0, "y1": 1}
        for place in range(len(axes))
        for epoch in epochs
    ]
    figure.update_layout(layout)
    return finish(
        figure,
        title=f"Curves of {info.study}",
        facts=_facts(info, windows),
        meta=basis_meta("Curves", info),
        inside=inside,
        least=None if metrics else _LEAST_INSIDE,
        nothing="" if info.curves else "no trial has ended an epoch yet",
    )


def _rungs_window(info: CurvesInfo, metric: str) -> Window:
    """The range of the differences at rungs, with the median, but without collapsed trials."""
    above = [info.above_median(rung, metric) for curve in info.curves for rung in curve.rungs]
    return scores_window(info.compared_as(metric), above, [0.0])


def _rungs_axis(metric: str, window: Window) -> dict[str, Any]:
    label, times = shortened(metric_label(metric), _LONGEST_NAME), scale(metric)
    label += ", points over median" if is_accuracy(metric) else " - median"
    return base_axis() | {
        "title": axis_title(label),
        "range": [times * window.low, times * window.high],
        "tickformat": "~g",
        "zeroline": True,
        "zerolinecolor": FAINT_INK,
    }


def _value_axis(info: CurvesInfo) -> dict[str, Any]:
    metric = info.metric
    label = "Training loss" if metric == TRAIN_LOSS else shortened(metric_label(metric), 30)
    label += ", share of epoch 1" * info.own_losses
    axis = base_axis() | {"title": axis_title(label)}
    finite = [one for curve in info.curves for one in info.shown(curve) if math.isfinite(one)]
    if not finite:
        axis["range"] = [0, 1]
    if is_accuracy(metric) or info.own_losses:
        axis["tickformat"] = ".3~%"
    if is_accuracy(metric):
        return axis
    if finite and min(finite) > 0 and max(finite) / min(finite) >= _LOG_RATIO:
        decades = math.log10(max(finite) / min(finite))
        # Between two decades plotly writes bare digits; whole numbers say more.
        ticks = {"tickmode": "array", "tickvals": _log_ticks(min(finite), max(finite), decades)}
        return axis | {"type": "log", **({} if info.own_losses else {"tickformat": "~g"}), **ticks}
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


def _facts(info: CurvesInfo, windows: Mapping[str, Window]) -> list[str]:
    said = basis_facts(info)
    if info.seeds is not None:
        said.append(f"each line is a run, {info.seeds} seeds")
    elif any(curve.on_front for curve in info.curves):
        said.append(f"full colour: {front_words(info.objectives)}")
    if windows:
        said.append("below: the scores at rungs less the median of the rung")
        shown, count = len(windows), len(info.rung_metrics)
        said += [f"the first {shown} of {count} metrics at rungs"] * (shown < count)
        fewer = {rung.images for curve in info.curves for rung in curve.rungs} - {0}
        said += [f"rungs: n = {', '.join(map(str, sorted(fewer)))} images"] * bool(fewer)
        outside = sum(
            not all(
                window.contains(info.above_median(rung, metric))
                for rung in curve.rungs
                for metric, window in windows.items()
                if math.isfinite(info.above_median(rung, metric))
            )
            for curve in info.curves
        )
        said += [f"{count_text(outside, 'trial')} outside the axes at a rung"] * bool(outside)
    if info.own_losses:
        said.append("losses as shares of the first epoch's: their terms and weights differ")
    if len(info.curves) < info.found:
        kept = front_noun(info.objectives)
        said.append(f"{len(info.curves)} of {info.found} trials drawn: {kept}, others evenly")
    if any(len(curve.epochs) > _most_points(info) for curve in info.curves):
        said.append("long lines are drawn at evenly spaced epochs")
    return said


def _read(sources: Sequence[StudySource], options: FigureOptions) -> CurvesInfo:
    (source,) = sources
    return curves_info(source.record, options.trials, options.objective)


FIGURE = FigureKind(
    name="curves",
    title="Curves",
    says="Each line is a trial by epoch.",
    read=_read,
    draw=plot_curves,
    takes=("trials", "objective"),
)


# -- The colours of the figure of curves: loss terms, or the cells of an ablation ----------


_LONGEST_NAME = 30


@dataclass(frozen=True)
class Group:
    """Trials of one colour."""

    label: str
    color: str
    symbol: str
    dash: str

    @property
    def name(self) -> str:
        return plain_text(shortened(self.label, _LONGEST_NAME))


def groups(info: CurvesInfo) -> dict[str, Group]:
    """By `Curve.group`, in the colours of the loss terms; cells with the same differ by dash."""
    terms = {curve.group: curve.loss_terms for curve in info.curves}
    labels = terms if info.seeds is not None else [terms_style(name).label for name in terms]
    looks = line_styles(list(terms.values()))
    return {
        name: Group(label, look.color, look.symbol, look.dash)
        for name, label, look in zip(terms, labels, looks, strict=True)
    }


# -- The lines of the figure of curves: many trials in one trace, told apart by gaps -------


_MOST_POINTS = 40_000
"""In all lines; beyond, each is drawn through fewer of its epochs."""
_MOST_DOTTED = 1000
_LARGEST = float(np.finfo(np.float32).max)
_Part = tuple[Sequence[int], Sequence[float], int]
"""Epochs and values of a line, and the trial's number."""


@dataclass(frozen=True)
class _Look:
    """Style of trials with the same end; later styles are drawn over earlier ones."""

    says: str  # empty: `front_words`
    holds: Callable[[Curve], bool]
    opacity: float = DOMINATED_OPACITY
    width: float = 1.2
    dash: str = ""


_LOOKS = (
    _Look("unfinished", lambda curve: curve.state in ("RUNNING", "WAITING")),
    _Look("failed", lambda curve: curve.state == "FAIL", dash="dash"),
    _Look("pruned", lambda curve: curve.state == "PRUNED", dash="dot"),
    _Look("complete", lambda curve: curve.state == "COMPLETE" and not curve.on_front),
    _Look("", lambda curve: curve.on_front, opacity=1.0, width=2.2),
)
_OF_ABLATION = 0.6
"""Opacity of its lines, none of which is on a front."""
_ENDS = {"PRUNED": ("Pruned", "circle-open", 1.5), "FAIL": ("Failed", "x-thin", 2.0)}
"""Label, mark and line width of a trial's last point."""


def curve_lines(info: CurvesInfo, by: dict[str, Group]) -> list[Any]:
    """A trace for each colour and style; the legend has the clearest style of a colour."""
    drawn = [curve for curve in info.curves if curve.epochs]
    most = _most_points(info)
    points = sum(min(most, len(curve.epochs)) for curve in drawn)
    value = "%{y:.2%}" if is_accuracy(info.metric) or info.own_losses else "%{y:.4g}"
    label = plain_text(shortened(metric_label(info.metric), _LONGEST_NAME))
    best = front_words(info.objectives)
    traces: list[list[Any]] = [[] for _ in _LOOKS]
    for rank, (group, of_group) in enumerate(_grouped(drawn, by)):
        kept = [
            (place, [c for c in of_group if look.holds(c)]) for place, look in enumerate(_LOOKS)
        ]
        kept = [(place, of_look) for place, of_look in kept if of_look]
        for place, of_look in kept:
            look = _LOOKS[place]
            traces[place].append(
                trace_type(points)(
                    **_joined(_thinned(info, curve, most) for curve in of_look),
                    mode="lines+markers" if points <= _MOST_DOTTED else "lines",
                    name=f"{group.name} ({len(of_group)})",
                    legendgroup=group.label,
                    legendrank=1000 + rank,
                    showlegend=place == kept[-1][0],
                    opacity=look.opacity if info.seeds is None else _OF_ABLATION,
                    line={
                        "color": group.color,
                        "width": look.width,
                        "dash": look.dash or group.dash,
                    },
                    marker={"color": group.color, "size": 2 * look.width + 1},
                    meta=[plain_text(f"{group.label}, {look.says or best}"), label],
                    hovertemplate="<b>Trial %{customdata}</b>, %{meta[0]}<br>"
                    f"epoch %{{x}}, %{{meta[1]}}: {value}<extra></extra>",
                )
            )
    return [trace for of_look in traces for trace in of_look] + _end_marks(info, drawn)


def rung_traces(info: CurvesInfo, by: dict[str, Group], metric: str) -> list[Any]:
    """Each trial's scores by rung over the median, with a mark where it was stopped."""
    compared = [curve for curve in info.curves if curve.rungs]
    points = sum(len(curve.rungs) for curve in compared)
    times = scale(metric)
    value = "%{y:+.1f} points" if is_accuracy(metric) else "%{y:+.4g}"

    def above(rung: Rung) -> float:
        return times * info.above_median(rung, metric)

    traces = [
        trace_type(points)(
            **_joined(
                ([rung.epoch for rung in curve.rungs], list(map(above, curve.rungs)), curve.number)
                for curve in of_group
            ),
            mode="lines+markers",
            name=group.name,
            legendgroup=group.label,
            showlegend=False,
            opacity=0.7,
            line={"color": group.color, "width": 1},
            marker={"color": group.color, "symbol": group.symbol, "size": 6},
            meta=plain_text(group.label),
            hovertemplate="<b>Trial %{customdata}</b>, %{meta}<br>"
            f"rung at epoch %{{x}}: {value} to the median<extra></extra>",
        )
        for group, of_group in _grouped(compared, by)
    ]
    stops = [
        (rung.epoch, above(rung), curve.number)
        for curve in compared
        for rung in curve.rungs
        if rung.stop and math.isfinite(above(rung))
    ]
    if stops:
        has_ends = any(curve.state == "PRUNED" and curve.epochs for curve in info.curves)
        is_first = metric == info.rung_metrics[0]
        traces.append(_marks(stops, "PRUNED", in_legend=is_first and not has_ends))
    return traces


def _most_points(info: CurvesInfo) -> int:
    return max(2, _MOST_POINTS // max(1, len(info.curves)))


def _end_marks(info: CurvesInfo, curves: Sequence[Curve]) -> list[Any]:
    traces = []
    for state in _ENDS:
        ends = []
        for curve in curves:
            points = zip(curve.epochs, info.shown(curve), strict=True)
            finite = [point for point in points if math.isfinite(point[1])]
            if curve.state == state and finite:
                ends.append((*finite[-1], curve.number))
        if ends:
            traces.append(_marks(ends, state, in_legend=True))
    return traces


def _marks(points: Sequence[tuple[int, float, int]], state: str, *, in_legend: bool) -> Any:
    epochs, values, numbers = zip(*points, strict=True)
    label, symbol, width = _ENDS[state]
    return trace_type(len(points))(
        x=np.array(epochs, np.int32),
        y=_single(values),
        customdata=list(numbers),
        mode="markers",
        name=f"{label} ({len(points)})",
        legendgroup=label,
        legendrank=2000,
        showlegend=in_legend,
        marker={"symbol": symbol, "size": 7, "color": INK, "line": {"color": INK, "width": width}},
        hovertemplate=f"<b>Trial %{{customdata}}</b>, {label.lower()} at epoch %{{x}}"
        "<extra></extra>",
    )


def _grouped(curves: Sequence[Curve], by: dict[str, Group]) -> list[tuple[Group, list[Curve]]]:
    found: dict[Group, list[Curve]] = {}
    for curve in curves:
        found.setdefault(by[curve.group], []).append(curve)
    return sorted(found.items(), key=lambda item: list(by.values()).index(item[0]))


def _thinned(info: CurvesInfo, curve: Curve, most: int) -> _Part:
    """Through so many points at the most, the first and the last among them."""
    count, values = len(curve.epochs), info.shown(curve)
    kept = np.linspace(0, count - 1, min(most, count)).round().astype(int)
    return [curve.epochs[at] for at in kept], [values[at] for at in kept], curve.number


def _joined(parts: Iterable[_Part]) -> dict[str, Any]:
    """Lines one after the other: after each a point without a value, which plotly leaves out."""
    epochs: list[int] = []
    values: list[float] = []
    numbers: list[int] = []
    for of_line, of_values, number in parts:
        epochs += [*of_line, of_line[-1]]
        values += [*of_values, math.nan]
        numbers += [number] * (len(of_line) + 1)
    return {"x": np.array(epochs, np.int32), "y": _single(values), "customdata": numbers}


def _single(values: Sequence[float]) -> Any:
    """In half the bytes; what does not fit is left out, as NaN is."""
    table = np.array(values, dtype=np.float64)
    table[np.abs(table) > _LARGEST] = np.nan
    return table.astype(np.float32)
