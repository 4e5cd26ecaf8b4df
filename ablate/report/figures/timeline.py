"""The timeline: the attempts of each worker, how they ended, and times without a driver.

A bar is an attempt, on the row of its worker, coloured by how it ended.  A triangle marks the
restart of a trial, a dotted line the start of a driver; grey marks times without a driver.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from plotly.graph_objects import Figure, Scatter

from ablate.ablation.study_source import StudySource
from ablate.analysis.timeline import ENDS, Span, TimelineInfo, timeline_info
from ablate.report.figures.figure import FigureKind, FigureOptions
from ablate.report.figures.parts.canvas import (
    BOTTOM,
    WIDE_PIXELS,
    axis_title,
    basis_facts,
    basis_meta,
    finish,
    trace_type,
)
from ablate.report.numbers import (
    count_text,
    duration_text,
    moment_text,
    plain_text,
    share_text,
    shortened,
)
from ablate.report.style import (
    FAINT_INK,
    FONT_SIZE,
    GRID,
    INK,
    PAPER,
    SERIES,
    SMALL_SIZE,
    base_axis,
)

_ROW_PIXELS, _LEAST_ROW_PIXELS, _ROWS_PIXELS = 26, 4, 700
"""Height of a row; where there are many, of one and of all."""
_NAMED = 36
"""Rows with a name; of more, every so manieth."""
_NAME_SHARE = 30
"""Pixels of the image for each character of a worker's name."""
_UNITS = ((2 / 60, 3600.0, "s"), (2.0, 60.0, "min"), (math.inf, 1.0, "h"))
"""Up to so many hours: how many of which unit in an hour."""
_LABELLED_FRACTION = 0.1
"""Of the axis: a pause that is as wide has its length written into it."""


def plot_timeline(info: TimelineInfo, width: float = WIDE_PIXELS[0]) -> Figure:
    """Draw the timeline of a study.

    Args:
        info: may be without an attempt.
        width: of the image, in pixels.

    Returns:
        A figure that is higher with more workers.
    """
    rows = max(1, len(info.workers))
    row_pixels = max(_LEAST_ROW_PIXELS, min(_ROW_PIXELS, _ROWS_PIXELS / rows))
    unit, unit_name = next((one, name) for most, one, name in _UNITS if info.last_hours <= most)
    figure = Figure()
    figure.add_traces(bars(info, unit, row_pixels))
    figure.add_traces([*again_marks(info, unit), *drive_lines(info, unit), *pause_key(info)])
    _add_pauses(figure, info, unit)
    names = [shortened(name, int(width // _NAME_SHARE)) for name in info.workers]
    every = math.ceil(rows / _NAMED)
    room = 0.02 * info.last_hours * unit or 0.1
    figure.update_xaxes(
        base_axis()
        | {
            "range": [-room, info.last_hours * unit + room],
            "title": axis_title(f"Time since the first start ({unit_name})"),
        }
    )
    figure.update_yaxes(
        base_axis()
        | {
            "range": [rows - 0.4, -0.6],
            "showgrid": False,
            "ticks": "",
            "tickvals": list(range(0, len(names), every)),
            "ticktext": [plain_text(name) for name in names[::every]],
            "tickfont": {"size": SMALL_SIZE},
        }
    )
    left = 30 + 0.56 * SMALL_SIZE * max(map(len, names), default=4)
    return finish(
        figure,
        title=f"Timeline of {info.study}",
        facts=_facts(info),
        meta=basis_meta("Timeline", info),
        pixels=(width, max(320, 190 + BOTTOM + rows * row_pixels)),
        left=left,
        nothing="" if info.spans else "no trial has started yet",
    )


def _add_pauses(figure: Figure, info: TimelineInfo, unit: float) -> None:
    for start, end in info.pauses:
        figure.add_vrect(start * unit, end * unit, fillcolor=GRID, line={"width": 0}, layer="below")
        if end - start > _LABELLED_FRACTION * info.last_hours:
            figure.add_annotation(
                x=(start + end) / 2 * unit,
                y=0.5,
                yref="paper",
                text=duration_text(3600 * (end - start)),
                showarrow=False,
                font={"size": SMALL_SIZE, "color": FAINT_INK},
            )


def _facts(info: TimelineInfo) -> list[str]:
    said = basis_facts(info)
    if info.began is None:
        return said
    broken = [
        f"{count} {end}"
        for end in ("raised", "lost", "left")
        if (count := sum(span.end == end for span in info.spans))
    ]
    said.append(", ".join([count_text(len(info.spans), "attempt"), *broken]))
    total = duration_text(3600 * info.last_hours)
    said.append(f"started {moment_text(info.began)}, {total} in total")
    if info.busy_fraction is not None:
        said.append(f"trials at work for {share_text(info.busy_fraction)} of the available time")
    return said


def _read(sources: Sequence[StudySource], _: FigureOptions) -> TimelineInfo:
    (source,) = sources
    return timeline_info(source.record)


FIGURE = FigureKind(
    name="timeline",
    title="Timeline",
    says="Each bar is an attempt at a trial, in the row of its worker, coloured by how it ended. "
    "A grey area, where there is one, is time in which the study was not running.",
    read=_read,
    draw=plot_timeline,
    width=900,
)


# -- The bars of the timeline: thick lines, so that ten thousand of them are a few traces --


_LABELS = {
    "complete": ("Complete", SERIES[0]),
    "pruned": ("Pruned", SERIES[5]),
    "fail": ("Failed", SERIES[4]),
    "raised": ("Failed, retried", SERIES[1]),
    "lost": ("Lost with its worker", SERIES[3]),
    "left": ("Interrupted", SERIES[6]),
    "running": ("Running", SERIES[2]),
}
_BAR_FRACTION = 0.62
"""Of a row's height."""
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
    """A trace per kind of end, in the order of `ENDS`; failures have a cross.

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
            trace_type(len(which))(
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
    """A triangle at each restart of a trial."""
    again = [span for span in info.spans if span.attempt > 1]
    if not again:
        return []
    starts = [span.started_hours for span in again]
    trace = _marks(info, again, starts, unit, ("again", "triangle-right", "Restarted"))
    return [trace.update(showlegend=True, name=f"Restarted ({len(again)})")]


def drive_lines(info: TimelineInfo, unit: float) -> list[Any]:
    """A dotted line over all rows where a driver began."""
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
            name=f"Driver starts ({len(starts)})",
            showlegend=True,
            line={"color": INK, "width": 1.2, "dash": "dot"},
            hovertext=[hover for hover in hovers for _ in range(3)],
            hoverinfo="text",
        )
    ]


def pause_key(info: TimelineInfo) -> list[Any]:
    """The legend entry for the grey areas."""
    if not info.pauses:
        return []
    marker = {"symbol": "square", "size": 13, "color": GRID}
    return [
        Scatter(x=[None], y=[None], mode="markers", name="Not running", marker=marker).update(
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
    return trace_type(len(spans))(
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
