"""The timeline: which worker ran what, and when; how each attempt ended, and when nobody drove.

A bar is an attempt, on the row of its worker, coloured by how it ended. A triangle stands where a
trial was begun again, a dotted line where a driver began; in grey time nobody drove the study.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ablate.ablation.study_source import StudySource
from ablate.analysis.timeline import TimelineInfo, timeline_info
from ablate.report.figures.figure import FigureKind, FigureOptions
from ablate.report.figures.parts.canvas import BOTTOM, WIDE_PIXELS, finish
from ablate.report.figures.parts.heading import basis_facts, basis_meta
from ablate.report.figures.parts.timeline_bars import again_marks, bars, drive_lines, pause_key
from ablate.report.numbers import duration_text, moment_text, plain_text
from ablate.report.style import FAINT_INK, FONT_SIZE, GRID, base_axis

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

_ROW_PIXELS, _LEAST_ROW_PIXELS, _ROWS_PIXELS = 26, 4, 700
"""Height of a row; where there are many, of one and of all."""
_NAMED = 36
"""Rows with a name; of more, every so manieth."""
_LONGEST_NAME = 30
_UNITS = ((2 / 60, 3600.0, "s"), (2.0, 60.0, "min"), (math.inf, 1.0, "h"))
"""Up to so many hours: how many of which unit in an hour."""
_LABELLED_FRACTION = 0.1
"""Of the axis: a pause that is as wide has its length written into it."""


def plot_timeline(info: TimelineInfo) -> Figure:
    """Draw the timeline of a study.

    Args:
        info: may be without an attempt.

    Returns:
        A figure for two columns of print, higher with more workers.
    """
    from plotly.graph_objects import Figure

    rows = max(1, len(info.workers))
    row_pixels = max(_LEAST_ROW_PIXELS, min(_ROW_PIXELS, _ROWS_PIXELS / rows))
    unit, unit_name = next((one, name) for most, one, name in _UNITS if info.last_hours <= most)
    figure = Figure()
    figure.add_traces(bars(info, unit, row_pixels))
    figure.add_traces([*again_marks(info, unit), *drive_lines(info, unit), *pause_key(info)])
    _add_pauses(figure, info, unit)
    names = [_short(name) for name in info.workers]
    every = math.ceil(rows / _NAMED)
    room = 0.02 * info.last_hours * unit or 0.1
    figure.update_xaxes(
        base_axis()
        | {
            "range": [-room, info.last_hours * unit + room],
            "title": {
                "text": f"Time since the first start ({unit_name})",
                "standoff": 8,
                "font": {"size": FONT_SIZE},
            },
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
            "tickfont": {"size": FONT_SIZE - 2},
        }
    )
    left = 30 + 0.56 * (FONT_SIZE - 2) * max(map(len, names), default=4)
    return finish(
        figure,
        title=f"Timeline of {info.study}",
        facts=_facts(info),
        meta=basis_meta(info, "Timeline"),
        pixels=(WIDE_PIXELS[0], max(320, 190 + BOTTOM + rows * row_pixels)),
        left=left,
        nothing="" if info.spans else "no trial has begun yet",
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
                font={"size": FONT_SIZE - 2, "color": FAINT_INK},
            )


def _facts(info: TimelineInfo) -> list[str]:
    said = basis_facts(info)
    if info.began is None:
        return said
    tries = len(info.spans)
    broken = [
        f"{count} {end}"
        for end in ("raised", "lost", "left")
        if (count := sum(span.end == end for span in info.spans))
    ]
    said.append(", ".join([f"{tries} {'attempt' if tries == 1 else 'attempts'}", *broken]))
    said.append(f"began {moment_text(info.began)}, {duration_text(3600 * info.last_hours)} in all")
    if info.busy_fraction is not None:
        share = f"{100 * info.busy_fraction:.0f} % of the time that the drives had for them"
        said.append(f"trials at work for {share}")
    return said


def _short(name: str) -> str:
    """The end of a long name stays: it is the process."""
    if len(name) <= _LONGEST_NAME:
        return name
    return f"{name[: _LONGEST_NAME - 10]}…{name[-9:]}"


def _read(sources: Sequence[StudySource], _: FigureOptions) -> TimelineInfo:
    (source,) = sources
    return timeline_info(source.record)


FIGURE = FigureKind(
    name="timeline",
    title="Timeline",
    says="A bar is an attempt on the row of its worker, coloured by how it ended; time in "
    "which nobody drove the study is grey.",
    read=_read,
    draw=plot_timeline,
)
