"""The attainment figure: trade-offs reached by the best run, half of the runs and all runs.

A run is a search.  The band lies between the regions attained by some run and by all runs: if it is
narrow, another run would find a similar front.  Of an ablation, each arm has the line of what half
of its runs attain, and its runs, in one colour.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from plotly.graph_objects import Figure, Scatter, Scattergl

from ablate.ablation.study_source import StudySource
from ablate.analysis.attainment import AttainmentInfo, Surface, attainment_info
from ablate.analysis.hypervolume import staircase
from ablate.report.figures.figure import FigureKind, FigureOptions
from ablate.report.figures.parts.canvas import (
    COLUMN_PIXELS,
    NO_TRIAL,
    basis_meta,
    finish,
    metric_axis,
    several_facts,
    several_marks,
    several_title,
    study_labels,
    trace_type,
)
from ablate.report.figures.parts.front_marks import (
    reference_facts,
    reference_traces,
    shared_references,
)
from ablate.report.figures.parts.point_hover import plane_template
from ablate.report.figures.parts.window import Window, is_inside, outside_facts, value_window
from ablate.report.numbers import plain_text, shortened
from ablate.report.style import (
    DOMINATED_OPACITY,
    FAINT_INK,
    SERIES,
    LineStyle,
    line_styles,
    open_symbol,
)

_DASHES = {"best": "dot", "median": "solid", "worst": "dash"}
_BAND_OPACITY = 0.15
_LONGEST = 24
"""Characters of an arm's name."""
_INSIDE_PIXELS, _LEAST_INSIDE = 290, 80


def plot_attainment(info: AttainmentInfo) -> Figure:
    """Draw the attainment surfaces of several searches, or of one ablation's seeds.

    Args:
        info: of two objectives; without surfaces the figure says so.

    Returns:
        Step lines to the edges of the axes, over studies a band between best and worst, and all
        trials included, with their numbers as customdata.
    """
    studies, objectives = info.studies, info.objectives
    shared = replace(studies[0], references=shared_references(studies))
    references = list(shared.references.values())
    kept = np.array(
        [corner for one in info.surfaces for corner in one.corners.tolist()] + references
    )
    values = np.concatenate([np.empty((0, 2)), *(one.values for one in info.sets)])
    windows = [
        value_window(objective, kept.reshape(-1, 2)[:, place], values[:, place])
        for place, objective in enumerate(objectives)
    ]
    labels = study_labels([study.study for study in studies])
    figure = Figure(
        [*_band(info, windows), *_points(info, labels, windows), *_lines(info, windows)]
    )
    figure.add_traces(reference_traces(shared, 0, 1, windows, in_legend=True))
    for update, objective, window in zip(
        (figure.update_xaxes, figure.update_yaxes), objectives, windows, strict=True
    ):
        update(metric_axis(objective.metric) | {"range": [window.low, window.high]})
    return finish(
        figure,
        title=several_title("Attainment", labels),
        facts=_facts(info, windows),
        meta=basis_meta("Attainment", *studies),
        pixels=COLUMN_PIXELS,
        inside=_INSIDE_PIXELS,
        least=_LEAST_INSIDE,
        nothing="" if info.surfaces else _nothing(info),
    )


def _steps(
    info: AttainmentInfo, surface: Surface, windows: Sequence[Window]
) -> tuple[list[float], list[float]]:
    corner = (windows[0].worst, windows[1].worst)
    return staircase(surface.corners[:, 0], surface.corners[:, 1], info.objectives, corner)


def _band(info: AttainmentInfo, windows: Sequence[Window]) -> list[Scatter]:
    """Between best and worst; where no region is attained by all, down to the edges."""
    if not info.surfaces or info.over == "arms":
        return []
    best_x, best_y = _steps(info, info.surfaces[0], windows)
    worst_x, worst_y = _steps(info, info.surfaces[-1], windows)
    if not worst_x:
        worst_x, worst_y = [windows[0].worst], [windows[1].worst]
    return [
        Scatter(
            x=best_x + worst_x[::-1],
            y=best_y + worst_y[::-1],
            mode="none",
            fill="toself",
            fillcolor=SERIES[0],
            # Of the trace, not in the colour, which the dark form exchanges by its name.
            opacity=_BAND_OPACITY,
            showlegend=False,
            hoverinfo="skip",
        )
    ]


def _lines(info: AttainmentInfo, windows: Sequence[Window]) -> list[Scatter]:
    traces = []
    styles = dict(zip((one.name for one in info.sets), _styles(info), strict=True))
    for surface in info.surfaces:
        x, y = _steps(info, surface, windows)
        style = styles[surface.arm] if surface.arm else None
        is_median = surface.name == "median"
        name = plain_text(shortened(surface.arm, _LONGEST)) or surface.name.capitalize()
        runs = "runs" if surface.arm else "searches"
        traces.append(
            Scatter(
                x=x,
                y=y,
                mode="lines",
                name=f"{name} ({surface.attained_by} of {surface.sets} {runs})",
                legendgroup=surface.arm or None,
                legendrank=1,
                showlegend=bool(x),
                line={
                    "color": style.color if style else SERIES[0],
                    "width": 3 if is_median and not surface.arm else 1.75,
                    "dash": style.dash if style else _DASHES[surface.name],
                    "simplify": False,  # or low steps become slopes
                },
                hoverinfo="skip",
            )
        )
    return traces


def _styles(info: AttainmentInfo) -> list[LineStyle]:
    """Of the sets: of arms by their loss terms, as in every figure."""
    return line_styles([one.loss_terms for one in info.sets])


def _points(
    info: AttainmentInfo, labels: Sequence[str], windows: Sequence[Window]
) -> list[Scatter | Scattergl]:
    """Every trial that counts: faintly, a mark a study; of an ablation in the colour of its arm.
    Those inside the axes are counted."""
    by_arm = info.over == "arms"
    template = plane_template(info.objectives, 0, 1, "Run" if by_arm else "Trial")
    trace = trace_type(sum(len(one.numbers) for one in info.sets))
    if by_arm:
        labels = [one.name for one in info.sets]
    drawn = {surface.arm for surface in info.surfaces}
    traces = []
    sets = zip(labels, info.sets, _styles(info), strict=True)
    for place, (label, one, style) in enumerate(sets):
        inside = int(is_inside(one.values, dict(enumerate(windows))).sum())
        traces.append(
            trace(
                x=one.values[:, 0].astype(np.float32),
                y=one.values[:, 1].astype(np.float32),
                mode="markers",
                name=f"{plain_text(shortened(label, _LONGEST))} ({inside})",
                legendgroup=label,
                legendrank=5 + place,
                showlegend=label not in drawn,
                marker={
                    "color": style.color if by_arm else FAINT_INK,
                    "symbol": open_symbol(style.symbol) if by_arm and style.alike else style.symbol,
                    "size": 7 if by_arm else 6,
                    "opacity": DOMINATED_OPACITY,
                },
                customdata=one.numbers.tolist(),
                hovertemplate=f"{template}<extra>{plain_text(label)}</extra>",
            )
        )
    return traces


def _facts(info: AttainmentInfo, windows: Sequence[Window]) -> list[str]:
    studies = info.studies
    marks = several_marks(studies)
    said = several_facts(studies)
    if info.over == "arms":
        said.append("steps: what half of an arm's runs attain")
        if len(info.sets) < info.arms:
            said.append(f"{len(info.sets)} of {info.arms} arms have ended runs and a colour")
    else:
        said.append(f"{len(info.sets)} searches; the band shows how much they differ")
    if info.left_out:
        runs = "run has" if info.left_out == 1 else "runs have"
        said.append(f"{info.left_out} {runs} not ended")
    if info.over == "studies" and info.surfaces and not len(info.surfaces[-1].corners):
        said.append("no region is attained by all")
    what = "run" if info.over == "arms" else "trial"
    values = [point for one in info.sets for point in one.values.tolist()]
    said += outside_facts(values, dict(enumerate(windows)), what)
    return said + reference_facts(studies) + marks


def _nothing(info: AttainmentInfo) -> str:
    if info.over == "arms" and info.sets:
        return "fewer than two runs of every arm have ended"
    return NO_TRIAL


def _read(sources: Sequence[StudySource], _: FigureOptions) -> AttainmentInfo:
    return attainment_info([source.record for source in sources])


FIGURE = FigureKind(
    name="attainment",
    title="Attainment",
    says="What lies behind a line is attained by so many searches, or by half of an arm's runs.",
    read=_read,
    draw=plot_attainment,
    several=True,
)
