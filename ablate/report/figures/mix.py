"""The mix figure: what the trials score, by the ratios in which they mix.

Three parts make a triangle, each corner one part alone, coloured by score; two parts or more than
three make panels of score against one ratio each, coloured by loss terms.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ablate.ablation.study_source import StudySource
from ablate.analysis.mix import MixInfo, mix_info
from ablate.analysis.objective_choice import objective_place
from ablate.report.figures.figure import FigureKind, FigureOptions, the_search
from ablate.report.figures.parts.canvas import COLUMN_PIXELS, WIDE_PIXELS, finish
from ablate.report.figures.parts.heading import basis_facts, basis_meta
from ablate.report.figures.parts.mix_panels import draw_panels
from ablate.report.figures.parts.mix_ternary import MOST_POINTS, draw_ternary
from ablate.report.figures.parts.score_axis import beyond_facts
from ablate.report.numbers import metric_label

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

_PANEL_PIXELS = 240
_TRIANGLE_RIGHT = 108
"""Margin for the colour bar."""


def plot_mix(info: MixInfo) -> Figure:
    """Draw a mix.

    Args:
        info: without a trial it is said that there is none.

    Returns:
        A figure of one column of print; of five parts or more of two columns.
    """
    count = len(info.parts)
    is_triangle = count == 3
    figure = draw_ternary(info) if is_triangle else draw_panels(info)
    width, height = WIDE_PIXELS if count > 4 else COLUMN_PIXELS
    if count > 3:
        height = 220 + _PANEL_PIXELS * -(-count // (4 if count > 4 else 2))
    return finish(
        figure,
        title=info.question or f"{info.key} of {info.study}",
        facts=_facts(info, is_triangle=is_triangle),
        meta=basis_meta(info, FIGURE.title),
        pixels=(width, height),
        **({"left": 60, "right": _TRIANGLE_RIGHT} if is_triangle else {}),
        nothing="" if info.points else "no complete trial yet",
    )


def _facts(info: MixInfo, *, is_triangle: bool) -> list[str]:
    said = basis_facts(info, complete=len(info.points))
    if info.points:
        said.append("ringed: on the front of all objectives")
        said.append("trials differ in more than their mix")
        said.append(f"ratios: {info.key}")
    if is_triangle and info.points:
        said.append(f"colour: {metric_label(info.metric).lower()}")
        scores = [point.score for point in info.points]
        said += beyond_facts(scores, maximize=info.direction == "maximize")
    if is_triangle and len(info.points) > MOST_POINTS:
        said.append(f"{MOST_POINTS:,} trials drawn: those on the front, others at random")
    if info.not_finite:
        said.append(f"{info.not_finite} with a value that is no number")
    if info.others:
        said.append(f"other mixes: {', '.join(info.others)}")
    return said


def _read(sources: Sequence[StudySource], options: FigureOptions) -> MixInfo:
    record = the_search(sources, "mix").record
    place = objective_place(options.objective, record.study.objectives)
    return mix_info(record, place, options.params)


FIGURE = FigureKind(
    name="mix",
    title="Mix of augmentations",
    says="Where a trial lies says how it mixes; in a triangle each corner is one part alone, and "
    "the colour is the score.",
    read=_read,
    draw=plot_mix,
    takes=("params", "objective"),
)
