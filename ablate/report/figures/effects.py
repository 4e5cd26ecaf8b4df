"""The effects of an ablation: every contrast with its interval and verdict.

A row is a contrast, a panel a metric, the one by which arms are ranked first.  Primary contrasts
come first, filled and bold, with the verdict; exploratory ones are hollow and have no verdict.
"""

from __future__ import annotations

from collections.abc import Sequence

from plotly.graph_objects import Figure, Scatter

from ablate.ablation.figure_infos import EffectsInfo, effects_info
from ablate.ablation.study_source import StudySource
from ablate.report.effects import effects_notes, shown_effects
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
from ablate.report.figures.parts.canvas import COLUMN_PIXELS, RIGHT, WIDE_PIXELS, finish
from ablate.report.figures.parts.rows import (
    WIDE_CHARACTERS,
    add_forest,
    cut_rows,
    forest_height,
    forest_rows,
)
from ablate.report.style import GRID

_GAP = 64
"""Between two panels, in pixels."""
_MOST = 2300
"""Pixels of all rows: the image stays below 3000."""


def plot_effects(info: EffectsInfo) -> Figure:
    """Draw contrasts as rows of intervals.

    Args:
        info: without effects the figure says that no run has ended.

    Returns:
        A figure for one column of print, as high as its rows need.  For very many rows it is two
        columns wide, so that names take one line; if there is still too little room, exploratory
        rows are left out, the last first, and counted in the facts.
    """
    width = COLUMN_PIXELS[0]
    panels = {metric: forest_rows(info, metric) for metric in info.metrics}
    if sum(map(forest_height, panels.values())) > _MOST:
        width = WIDE_PIXELS[0]
        panels = {metric: forest_rows(info, metric, WIDE_CHARACTERS) for metric in info.metrics}
    left_out = cut_rows(panels, _MOST)
    figure = Figure()
    domains, inside = stacked(
        [forest_height(rows) for rows in panels.values()] or [EMPTY_PIXELS], _GAP
    )
    for number, (metric, rows) in enumerate(panels.items(), start=1):
        add_forest(figure, info, metric, rows, domains[number - 1], number)
    facts = ablation_facts(
        info.ablation, effects_notes(info.ablation, info.effects, of_figure=True)
    )
    if any(info.margin_on(metric) for metric in panels):
        figure.add_trace(
            Scatter(
                x=[None],
                y=[None],
                mode="markers",
                name="Loss within the margin",
                legendrank=99,
                marker={"symbol": "square", "size": 12, "color": GRID},
                showlegend=True,
            )
        )
    if left_out:
        facts.append(left_out_text(left_out))
    title = f"Effects in {info.ablation.study}"
    if info.ablation.replications:
        title = f"Effects over {info.ablation.seeds} baselines"
        facts.append(f"studies {info.ablation.study}")
    return finish(
        figure,
        title=title,
        facts=facts,
        meta=ablation_meta(info.ablation, "Effects"),
        pixels=(width, 0),
        inside=inside,
        left=RIGHT,
        nothing="" if figure.data else NOT_YET,
    )


def _read(sources: Sequence[StudySource], options: FigureOptions) -> EffectsInfo:
    ablation = the_ablation(sources, "effects")
    if not options.objective:  # as a table of effects: the primary ones, others on clean and robust
        primary, others = shown_effects(ablation)
        return effects_info(ablation, [*primary, *others])
    metric = asked_metric(ablation, options.objective)
    return effects_info(ablation, [one for one in ablation.effects if one.metric == metric])


FIGURE = FigureKind(
    name="effects",
    title="Effects",
    says="Each row is a contrast with its 95 % interval. Only contrasts declared before the first "
    "run (filled, bold) support claims.",
    read=_read,
    draw=plot_effects,
    several=True,
    takes=("objective",),
)
