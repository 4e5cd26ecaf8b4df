"""What the factors of an ablation do alone and together: their effects, and the means behind them.

Above, main effects and interactions with their intervals; below, two factors a panel: lines that
are not parallel are an interaction.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ablate.ablation.interactions_info import InteractionsInfo, interactions_info
from ablate.ablation.study_source import StudySource
from ablate.errors import NothingToDrawError
from ablate.report.effects import effects_notes
from ablate.report.figures.figure import FigureKind, FigureOptions, the_ablation
from ablate.report.figures.parts.ablations import (
    EMPTY_PIXELS,
    NOT_YET,
    ablation_facts,
    ablation_meta,
    asked_metric,
    left_out_text,
    stacked,
)
from ablate.report.figures.parts.canvas import (
    BOTTOM,
    COLUMN_PIXELS,
    LEFT,
    RIGHT,
    WIDE_PIXELS,
    finish,
)
from ablate.report.figures.parts.crossing import add_crossing, crossing_window
from ablate.report.figures.parts.forest import add_forest
from ablate.report.figures.parts.forest_rows import LEFT as NAMES
from ablate.report.figures.parts.forest_rows import RIGHT as NUMBERS
from ablate.report.figures.parts.forest_rows import cut_rows, forest_rows, rows_height

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

_GAP = 78
"""Between two panels, in pixels: ticks of two lines and a title."""
_PANEL, _LABELS, _TICKS = 190, 112, 58
"""Of a crossing in pixels: its height; the room right of it, and left of all but the first."""
_MOST_CROSSINGS, _MOST = 12, 1300
"""Crossings, and pixels of effects."""
_WIDTHS = (COLUMN_PIXELS[0], 860, WIDE_PIXELS[0])
"""Of so many crossings beside one another."""


def plot_interactions(info: InteractionsInfo) -> Figure:
    """Draw the effects of factors, and a panel for each pair of them.

    Args:
        info: on one metric; may be without a run that has ended: a line says so.

    Returns:
        A figure for one column of print, or two where there are several pairs; the twelve with the
        largest interactions are drawn.
    """
    from plotly.graph_objects import Figure

    shown = info.strongest(_MOST_CROSSINGS)
    columns = max(1, min(len(_WIDTHS), len(shown)))
    width = _WIDTHS[columns - 1]
    rows = forest_rows(info.effects, info.metric)
    left_out = cut_rows({info.metric: rows}, _MOST)
    lines = -(-len(shown) // columns)
    domains, inside = stacked([rows_height(rows) or EMPTY_PIXELS, *[_PANEL] * lines], _GAP)
    figure = Figure()
    room = width - LEFT - RIGHT
    if rows:
        across = ((NAMES - LEFT) / room, 1 - (NUMBERS - RIGHT) / room)
        add_forest(figure, info.effects, info.metric, rows, domains[0], across=across)
    else:
        figure.update_xaxes(visible=False)
        figure.update_yaxes(visible=False)
    window = crossing_window(info.metric, shown)
    for place, crossing in enumerate(shown):
        line, column = divmod(place, columns)
        low = (column * room / columns + _TICKS * bool(column)) / room
        high = ((column + 1) * room / columns - _LABELS) / room
        add_crossing(
            figure, info.metric, crossing, window, (low, high), domains[1 + line], place + 2
        )
    return finish(
        figure,
        title=info.ablation.question or f"Interactions of {info.ablation.study}",
        facts=_facts(info, len(shown), left_out),
        meta=ablation_meta(info.ablation, "Interactions"),
        pixels=(width, 0),
        inside=inside,
        bottom=BOTTOM + 10,
        nothing="" if figure.data else NOT_YET,
    )


def _facts(info: InteractionsInfo, shown: int, left_out: int) -> list[str]:
    facts = ablation_facts(info.ablation, effects_notes(info.ablation, info.effects.effects))
    if shown:
        facts.append(
            "panels: means over seeds and all other factors; bars: 95 % interval over seeds"
        )
    if shown < len(info.crossings):
        facts.append(f"the {shown} largest of {len(info.crossings)} interactions as panels")
    return [*facts, left_out_text(left_out)] if left_out else facts


def _read(sources: Sequence[StudySource], options: FigureOptions) -> InteractionsInfo:
    ablation = the_ablation(sources, "interactions")
    metric = ablation.rank_metric
    if options.objective:
        metric = asked_metric(ablation, options.objective)
    record = sources[0].record
    info = interactions_info(record, ablation, metric)
    if info is None:
        raise NothingToDrawError(
            f"study {record.name}: figure interactions needs an ablation with interactions, got "
            f"design {ablation.design} without. Write design: factorial, or draw effects."
        )
    return info


FIGURE = FigureKind(
    name="interactions",
    title="Interactions",
    says="What each factor does, and what two do beyond the sum: lines that are not parallel.",
    read=_read,
    draw=plot_interactions,
    takes=("objective",),
)
