"""The rank figure: where the best trials of an objective lie, a panel for each pair of parameters.

A mark is a complete trial in the colour of its rank, the best in the brightest and on top. Ranks
and not scores: a trial that collapsed, or one that stands out, does not take the colours.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ablate.ablation.study_source import StudySource
from ablate.analysis.rank import RankInfo, rank_info
from ablate.report.figures.figure import FigureKind, FigureOptions, the_search
from ablate.report.figures.parts.canvas import COLUMN_PIXELS, basis_meta, finish
from ablate.report.figures.parts.drawn_trials import (
    GL_TRIALS,
    drawn_trials,
    trial_facts,
    trial_numbers,
)
from ablate.report.figures.parts.parameter_axis import (
    dots_facts,
    level_width,
    lines_under,
    param_axis,
    param_names,
    params_hover,
    placed,
)
from ablate.report.figures.parts.score_axis import colour_bar
from ablate.report.numbers import metric_label, plain_text
from ablate.report.style import FONT_SIZE, INK, SEQUENTIAL

if TYPE_CHECKING:
    from plotly.graph_objects import Figure, Scatter, Scattergl

_PANEL_PIXELS = (240, 220)
_ONE_PANEL_HEIGHT = 330
_LINE_HEIGHT = 14
_BAR_PIXELS, _BAR_ROOM = 190, 110
_GAP = 0.035


def plot_rank(info: RankInfo) -> Figure:
    """Draw the ranks over each pair of parameters.

    Args:
        info: may be without a point: the axes are drawn, and a line says so.

    Returns:
        A triangle of panels; one panel, for one column of print, where there are two parameters.
    """
    from plotly.subplots import make_subplots

    names = param_names(info)
    side = len(info.columns) - 1
    drawn = drawn_trials(info, panels=side * (side + 1) // 2)
    better = _better(info)
    # The best last, and so on top.
    places = drawn.places[np.argsort(better[drawn.places], kind="stable")]
    figure = make_subplots(
        rows=side,
        cols=side,
        shared_xaxes="columns",
        shared_yaxes="rows",
        horizontal_spacing=_GAP,
        vertical_spacing=_GAP,
        specs=[[{} if column <= row else None for column in range(side)] for row in range(side)],
    )
    for x, y in combinations(range(side + 1), 2):
        figure.add_trace(_marks(info, names, (x, y), places, better), row=y, col=x + 1)
        _set_axes(figure, info, names, (x, y))
    metric = info.objectives[info.objective].metric
    facts = trial_facts(info, *drawn.facts)
    for at, column in enumerate(info.columns):
        readings = ["top down"] * (at < side) + ["left to right"] * (at > 0)
        facts += dots_facts([column], info.keys, " and ".join(readings))
    left = 56 + max(map(level_width, info.columns[1:]))
    bottom = 44 + _LINE_HEIGHT * max(map(lines_under, info.columns[:-1]))
    # One panel has the bar at its side; of several one corner is free.
    right = _BAR_ROOM if side == 1 else 24
    width = COLUMN_PIXELS[0] if side == 1 else side * _PANEL_PIXELS[0] + left + right
    figure.update_layout(coloraxis=_colours(info, metric, side))
    return finish(
        figure,
        title=info.question or f"Ranks of {info.study}",
        facts=facts,
        meta=basis_meta(info, "Ranks over pairs of parameters"),
        pixels=(round(width), COLUMN_PIXELS[1]),
        inside=_ONE_PANEL_HEIGHT if side == 1 else side * _PANEL_PIXELS[1],
        left=left,
        right=right,
        bottom=bottom,
        nothing="" if info.points else "no complete trial yet",
    )


def _better(info: RankInfo) -> NDArray[np.float32]:
    """The share of the other trials that each one ranks before: 1 of the best, 0 of the worst."""
    ranks = np.array(info.ranks, dtype=np.float32)
    others = int(np.isfinite(ranks).sum()) - 1
    better = (others + 1 - ranks) / others if others > 0 else np.ones_like(ranks)
    return better.astype(np.float32)


def _marks(
    info: RankInfo,
    names: list[str],
    pair: tuple[int, int],
    places: NDArray[np.int64],
    better: NDArray[np.float32],
) -> Scatter | Scattergl:
    from plotly.graph_objects import Scatter, Scattergl

    numbers = trial_numbers(info)
    columns = [info.columns[at] for at in pair]
    x, y = (placed(column, numbers, axis) for column, axis in zip(columns, "xy", strict=True))
    here = places[np.isfinite(x[places]) & np.isfinite(y[places])]
    of_params, text = params_hover(columns, [names[at] for at in pair], here.tolist())
    return (Scattergl if len(places) > GL_TRIALS else Scatter)(
        x=x[here],
        y=y[here],
        mode="markers",
        name="Trials",
        showlegend=False,
        customdata=numbers[here].tolist(),
        text=text,
        hovertemplate="<b>Trial %{customdata}</b><br>"
        f"ranks before %{{marker.color:.0%}} of the others<br>{of_params}<extra></extra>",
        marker={
            "color": better[here],
            "coloraxis": "coloraxis",
            "size": 8 if len(places) <= GL_TRIALS else 5,
            "line": {"color": INK, "width": 0.6 if len(places) <= GL_TRIALS else 0},
        },
    )


def _set_axes(figure: Figure, info: RankInfo, names: list[str], pair: tuple[int, int]) -> None:
    x, y = pair
    lowest, leftmost = y == len(info.columns) - 1, x == 0
    font = {"size": FONT_SIZE - 1}
    for at, shown, update, upright in (
        (x, lowest, figure.update_xaxes, True),
        (y, leftmost, figure.update_yaxes, False),
    ):
        title = {"text": plain_text(names[at]) if shown else "", "standoff": 8, "font": font}
        axis = param_axis(info.columns[at], upright=upright)
        update(axis | {"title": title, "showticklabels": shown}, row=y, col=x + 1)


def _colours(info: RankInfo, metric: str, side: int) -> dict[str, Any]:
    place: dict[str, Any] = {}
    if side > 1:
        corner = 0.5 * (1 + 1 / side)
        place = {"x": corner, "y": 1, "yanchor": "top", "len": _BAR_PIXELS, "lenmode": "pixels"}
    return {
        "colorscale": SEQUENTIAL,
        "cmin": 0,
        "cmax": 1,
        "showscale": bool(info.points),
        "colorbar": colour_bar(f"Rank in {metric_label(metric)}")
        | {"tickvals": [0, 0.5, 1], "ticktext": ["worst", "middle", "best"]}
        | place,
    }


def _read(sources: Sequence[StudySource], options: FigureOptions) -> RankInfo:
    record = the_search(sources, "rank").record
    return rank_info(record, params=options.params, objective=options.objective)


FIGURE = FigureKind(
    name="rank",
    title="Ranks over pairs of parameters",
    says="Each marker is a complete trial, coloured by rank (best: brightest), for each pair of "
    "parameters.",
    read=_read,
    draw=plot_rank,
    takes=("params", "objective"),
)
