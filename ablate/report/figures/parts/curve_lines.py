"""The lines of the figure of curves: many trials in one trace, told apart by gaps."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ablate.analysis.curves import Curve, CurvesInfo
from ablate.analysis.metrics import is_accuracy
from ablate.report.figures.parts.curve_groups import Group, short_name
from ablate.report.numbers import metric_label, plain_text
from ablate.report.style import DOMINATED_OPACITY, INK

_MOST_POINTS = 40_000
"""In all lines; beyond, each is drawn through fewer of its epochs."""
_MOST_DOTTED, _MOST_SVG = 1000, 2000
_LARGEST = float(np.finfo(np.float32).max)
_Part = tuple[Sequence[int], Sequence[float], int]
"""Epochs and values of a line, and the trial's number."""


@dataclass(frozen=True)
class _Look:
    """Of the trials that ended alike; a later look is drawn over an earlier one."""

    says: str
    holds: Callable[[Curve], bool]
    opacity: float = DOMINATED_OPACITY
    width: float = 1.2
    dash: str = ""


_LOOKS = (
    _Look("unfinished", lambda curve: curve.state in ("RUNNING", "WAITING")),
    _Look("failed", lambda curve: curve.state == "FAIL", dash="dash"),
    _Look("pruned", lambda curve: curve.state == "PRUNED", dash="dot"),
    _Look("complete", lambda curve: curve.state == "COMPLETE" and not curve.on_front),
    _Look("on the front", lambda curve: curve.on_front, opacity=1.0, width=2.2),
)
_OF_ABLATION = 0.6
"""Opacity of its lines, none of which is on a front."""
_ENDS = {"PRUNED": ("Pruned", "circle-open", 1.5), "FAIL": ("Failed", "x-thin", 2.0)}
"""Label, mark and line width of a trial's last point."""


def curve_lines(info: CurvesInfo, by: dict[str, Group]) -> list[Any]:
    """A trace for each colour and look; the clearest look of a colour stands in the legend."""
    drawn = [curve for curve in info.curves if curve.epochs]
    most = _most_points(info)
    points = sum(min(most, len(curve.epochs)) for curve in drawn)
    value = "%{y:.2%}" if is_accuracy(info.metric) else "%{y:.4g}"
    label = plain_text(short_name(metric_label(info.metric)))
    traces: list[list[Any]] = [[] for _ in _LOOKS]
    for rank, (group, of_group) in enumerate(_grouped(drawn, by)):
        kept = [
            (place, [c for c in of_group if look.holds(c)]) for place, look in enumerate(_LOOKS)
        ]
        kept = [(place, of_look) for place, of_look in kept if of_look]
        for place, of_look in kept:
            look = _LOOKS[place]
            traces[place].append(
                _trace_type(points)(
                    **_joined(_thinned(curve, most) for curve in of_look),
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
                    meta=[plain_text(f"{group.label}, {look.says}"), label],
                    hovertemplate="<b>Trial %{customdata}</b>, %{meta[0]}<br>"
                    f"epoch %{{x}}, %{{meta[1]}}: {value}<extra></extra>",
                )
            )
    return [trace for of_look in traces for trace in of_look] + _end_marks(drawn)


def rung_traces(info: CurvesInfo, by: dict[str, Group]) -> list[Any]:
    """Each trial's values from rung to rung, and a mark where it was stopped."""
    compared = [curve for curve in info.curves if curve.rungs]
    points = sum(len(curve.rungs) for curve in compared)
    value = "%{y:.2%}" if is_accuracy(info.rung_metric or "") else "%{y:.4g}"
    traces = [
        _trace_type(points)(
            **_joined(
                (
                    [rung.epoch for rung in curve.rungs],
                    [rung.value for rung in curve.rungs],
                    curve.number,
                )
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
            f"rung at epoch %{{x}}: {value}<extra></extra>",
        )
        for group, of_group in _grouped(compared, by)
    ]
    stops = [
        (rung.epoch, rung.value, curve.number)
        for curve in compared
        for rung in curve.rungs
        if rung.stop and math.isfinite(rung.value)
    ]
    if stops:
        in_legend = not any(curve.state == "PRUNED" and curve.epochs for curve in info.curves)
        traces.append(_marks(stops, "PRUNED", in_legend=in_legend))
    return traces


def is_thinned(info: CurvesInfo) -> bool:
    """Whether some lines are drawn through fewer points than they have."""
    return any(len(curve.epochs) > _most_points(info) for curve in info.curves)


def _most_points(info: CurvesInfo) -> int:
    return max(2, _MOST_POINTS // max(1, len(info.curves)))


def _end_marks(curves: Sequence[Curve]) -> list[Any]:
    traces = []
    for state in _ENDS:
        ends = []
        for curve in curves:
            points = zip(curve.epochs, curve.values, strict=True)
            finite = [point for point in points if math.isfinite(point[1])]
            if curve.state == state and finite:
                ends.append((*finite[-1], curve.number))
        if ends:
            traces.append(_marks(ends, state, in_legend=True))
    return traces


def _marks(points: Sequence[tuple[int, float, int]], state: str, *, in_legend: bool) -> Any:
    epochs, values, numbers = zip(*points, strict=True)
    label, symbol, width = _ENDS[state]
    return _trace_type(len(points))(
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


def _thinned(curve: Curve, most: int) -> _Part:
    """Through so many points at the most, the first and the last among them."""
    count = len(curve.epochs)
    if count <= most:
        return curve.epochs, curve.values, curve.number
    kept = np.linspace(0, count - 1, most).round().astype(int)
    return (
        [curve.epochs[place] for place in kept],
        [curve.values[place] for place in kept],
        curve.number,
    )


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


def _trace_type(points: int) -> Any:
    from plotly.graph_objects import Scatter, Scattergl

    return Scatter if points <= _MOST_SVG else Scattergl
