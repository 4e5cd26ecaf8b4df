"""The bars of the timeline: thick lines, so that ten thousand of them are a few traces."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ablate.analysis.timeline import ENDS, Span, TimelineInfo
from ablate.report.numbers import duration_text, plain_text
from ablate.report.style import FONT_SIZE, GRID, INK, PAPER, SERIES

_LABELS = {
    "complete": ("Complete", SERIES[0]),
    "pruned": ("Pruned", SERIES[5]),
    "fail": ("Failed", SERIES[4]),
    "raised": ("Raised, tried again", SERIES[1]),
    "lost": ("Lost by a worker", SERIES[3]),
    "left": ("Left by its driver", SERIES[6]),
    "running": ("Running", SERIES[2]),
}
_BAR_FRACTION = 0.62
"""Of a row's height."""
_MOST_SVG = 2000
_MOST_TEXTS, _TEXTS_OF_MANY = 2000, 200
"""Attempts that each say all of themselves; of more, those that ended in a way that few did, and
crosses and triangles."""
_MOST_MARK_TEXTS = 500
_LONGEST_REASON = 90
_GRIPS = 30
"""Points in a bar over the whole axis: only at a point does a line say what it is."""
_PIXELS = 900
"""Width of the axis, about: a bar is a pixel wide at the least, and ends one before the next."""


def bars(info: TimelineInfo, unit: float, row_pixels: float) -> list[Any]:
    """A trace an end, in the order of `ENDS`; failures have a cross beside.

    Args:
        unit: of the axis, how many in an hour: 1, 60 or 3600.
        row_pixels: height of a row.
    """
    traces = []
    many = len(info.spans) > _MOST_TEXTS
    for end in ENDS:
        spans = [span for span in info.spans if span.end == end]
        if not spans:
            continue
        label, color = _LABELS[end]
        which, x = _grips(info, spans, 0 if many else _GRIPS)
        texts = None if many and len(spans) > _TEXTS_OF_MANY else _texts(info, spans)
        traces.append(
            _trace_type(len(which))(
                x=(x * unit).astype(np.float32),
                y=np.array([span.worker for span in spans], np.int16)[which],
                customdata=[spans[place].number for place in which],
                mode="lines",
                name=f"{label} ({len(spans)})",
                legendgroup=end,
                showlegend=True,
                line={"color": color, "width": _BAR_FRACTION * row_pixels},
                **(
                    {"hovertemplate": f"<b>Trial %{{customdata}}</b>, {end}<extra></extra>"}
                    if texts is None
                    else {"hovertext": [texts[place] for place in which], "hoverinfo": "text"}
                ),
            )
        )
    failed = [span for span in info.spans if span.end == "fail"]
    middles = [(span.started_hours + span.ended_hours) / 2 for span in failed]
    if failed:
        traces.append(_marks(info, failed, middles, unit, ("fail", "x-thin", "Failed")))
    return traces


def again_marks(info: TimelineInfo, unit: float) -> list[Any]:
    """A triangle where a trial was begun again."""
    again = [span for span in info.spans if span.attempt > 1]
    if not again:
        return []
    starts = [span.started_hours for span in again]
    trace = _marks(info, again, starts, unit, ("again", "triangle-right", "Begun again"))
    return [trace.update(showlegend=True, name=f"Begun again ({len(again)})")]


def drive_lines(info: TimelineInfo, unit: float) -> list[Any]:
    """A dotted line over all rows where a driver began."""
    from plotly.graph_objects import Scatter

    if not info.drives:
        return []
    foot = max(1, len(info.workers)) - 0.4
    hovers = [
        f"<b>Drive {drive.drive}</b> on {plain_text(drive.host)}<br>"
        + _lasted(drive.started_hours, drive.ended_hours)
        + (f", {plain_text(drive.end)}" if drive.end else "")
        for drive in info.drives
    ]
    starts = [drive.started_hours * unit for drive in info.drives]
    return [
        Scatter(
            x=[x for start in starts for x in (start, start, None)],
            y=[y for _ in starts for y in (-0.6, foot, None)],
            mode="lines",
            name=f"Driver begins ({len(starts)})",
            showlegend=True,
            line={"color": INK, "width": 1.2, "dash": "dot"},
            hovertext=[hover for hover in hovers for _ in range(3)],
            hoverinfo="text",
        )
    ]


def pause_key(info: TimelineInfo) -> list[Any]:
    """What stands in the legend for the grey."""
    from plotly.graph_objects import Scatter

    if not info.pauses:
        return []
    marker = {"symbol": "square", "size": 13, "color": GRID}
    return [
        Scatter(x=[None], y=[None], mode="markers", name="Nobody drove", marker=marker).update(
            showlegend=True
        )
    ]


def _grips(info: TimelineInfo, spans: Sequence[Span], grips: int) -> tuple[Any, Any]:
    """Points along each bar, after each a NaN: the place of their span, and hours."""
    pixel = (info.last_hours or 1.0) / _PIXELS
    starts = np.array([span.started_hours for span in spans])
    length = np.array([span.ended_hours for span in spans]) - starts
    length = np.maximum(length - np.minimum(pixel, 0.25 * length), pixel)
    counts = 2 + (length / (_PIXELS * pixel) * grips).astype(int)
    which = np.repeat(np.arange(len(spans)), counts + 1)
    place = np.arange(len(which)) - np.repeat(np.cumsum(counts + 1) - counts - 1, counts + 1)
    x = starts[which] + length[which] * place / (counts[which] - 1)
    x[place == counts[which]] = np.nan
    return which, x


def _texts(info: TimelineInfo, spans: Sequence[Span]) -> list[str]:
    return [_text(info, span) for span in spans]


def _text(info: TimelineInfo, span: Span) -> str:
    attempt = f", attempt {span.attempt}" if span.attempt > 1 else ""
    lines = [
        f"<b>Trial {span.number}</b>{attempt}: {span.end}",
        f"{_lasted(span.started_hours, span.ended_hours)}, on {info.workers[span.worker]}",
    ]
    if span.epochs > span.first_epoch:
        lines.append(f"epochs {span.first_epoch + 1} to {span.epochs}")
    if span.reason:
        short = " ".join(span.reason.split())
        lines.append(short if len(short) <= _LONGEST_REASON else f"{short[:_LONGEST_REASON]}…")
    return "<br>".join([lines[0], *map(plain_text, lines[1:])])


def _lasted(start: float, end: float | None) -> str:
    began = f"from {duration_text(3600 * start)}"
    return began if end is None else f"{began} for {duration_text(3600 * max(0.0, end - start))}"


def _marks(
    info: TimelineInfo,
    spans: Sequence[Span],
    hours: Sequence[float],
    unit: float,
    look: tuple[str, str, str],
) -> Any:
    """One mark a span; `look` is its legend group, symbol and name."""
    group, symbol, name = look
    few = len(spans) <= _MOST_MARK_TEXTS
    thin = symbol.endswith("-thin")
    return _trace_type(len(spans))(
        x=(np.array(hours) * unit).astype(np.float32),
        y=np.array([span.worker for span in spans], np.int16),
        customdata=[span.number for span in spans],
        mode="markers",
        name=name,
        legendgroup=group,
        showlegend=False,
        marker={
            "symbol": symbol,
            "size": FONT_SIZE // 2 if thin else 9,
            "color": INK,
            "line": {"color": INK if thin else PAPER, "width": 1.5 if thin else 1},
        },
        **(
            {"hovertext": _texts(info, spans), "hoverinfo": "text"}
            if few
            else {"hovertemplate": f"<b>Trial %{{customdata}}</b>, {name}<extra></extra>"}
        ),
    )


def _trace_type(points: int) -> Any:
    from plotly.graph_objects import Scatter, Scattergl

    return Scatter if points <= _MOST_SVG else Scattergl
