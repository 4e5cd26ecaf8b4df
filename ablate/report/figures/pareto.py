"""The Pareto figure: robust against clean accuracy, and the region that the search attained.

A point is a complete trial, its colour and mark are its loss terms (`report.style`), pale if
another trial dominates it.  The step line is the boundary of the attained region, the ring its
knee; the baseline is a black star, the plain finetune a white cross.  A trial that violates a
constraint is open; where the constraint is on an axis, its side is shaded.  If the front was
confirmed, a white mark is the mean over a trial's new seeds with its interval, joined to the value
in the search.  Angles beside the front are as long as one image, and one training seed, are
worth.  Several studies share one plane; then colour, mark and dash show the study.  With more than
two objectives each pair has a panel, axes linked, and each panel's step line is the front in its
plane; trials on the front of all objectives have full colour.  At most the first `MOST_OBJECTIVES`
objectives have panels.  Thin lines go from the baseline to the trials of the front, through the
networks between them, if these were scored (`finetune.interpolation`).  Trials that were stopped at
a rung are drawn only on request, as small grey rings at their scores there.  The history of one
objective is drawn as the front of trials and values (`analysis/fronts.py`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations
from typing import Any

from plotly.graph_objects import Figure, Scatter
from plotly.subplots import make_subplots

from ablate.ablation.study_source import StudySource
from ablate.analysis.drawn import MOST_OBJECTIVES
from ablate.analysis.fronts import FrontsInfo, fronts_info
from ablate.analysis.objectives import ENDED
from ablate.analysis.pareto import ParetoInfo
from ablate.report.figures.figure import FigureKind, FigureOptions, the_search
from ablate.report.figures.parts.beside_marks import label_sides, scale_traces
from ablate.report.figures.parts.canvas import (
    COLUMN_PIXELS,
    NO_TRIAL,
    basis_meta,
    finish,
    metric_axis,
    several_title,
    study_labels,
    study_styles,
)
from ablate.report.figures.parts.confirmed import confirmed_means, confirmed_traces
from ablate.report.figures.parts.front_marks import (
    front_facts,
    front_line,
    knee_trace,
    mark_trace,
    marks_of,
    reference_traces,
    shared_references,
    stopped_inside,
    stopped_trace,
)
from ablate.report.figures.parts.window import (
    Window,
    joint_window,
    shared_bounds,
)
from ablate.report.numbers import plain_text
from ablate.report.style import DASHES, FAINT_INK, INK, TermsStyle

_GRID_PANEL_PIXELS = (330, 300)
_INSIDE_PIXELS, _LEAST_INSIDE = 290, 80


def plot_fronts(info: FrontsInfo) -> Figure:
    """Draw the fronts of studies.

    Args:
        info: of two or more objectives, or a history; the first objective is the x axis. Studies
            may have no points: the references are drawn, and the figure says that no trial is
            complete.

    Returns:
        A figure that fills its page; as an image it fits one column of print, or two with several
        panels. `layout.meta` holds the study's name, fingerprint, split, images, seed and N; for
        several studies, lists of them.
    """
    studies, objectives = info.studies, info.objectives
    count = min(len(objectives), MOST_OBJECTIVES)
    side = count - 1
    figure = make_subplots(
        rows=side,
        cols=side,
        shared_xaxes="columns",
        shared_yaxes="rows",
        horizontal_spacing=0.06,
        vertical_spacing=0.06,
        specs=[[{} if column <= row else None for column in range(side)] for row in range(side)],
    )
    means = [mean.values for of_study in info.confirmed for mean in of_study]
    stopped = stopped_inside(info)
    windows = [
        joint_window(
            studies,
            place,
            stopped[:, place],
            others=[values[place] for values in means],
        )
        for place in range(count)
    ]
    if info.is_history:
        windows[0] = joint_window(studies, 0, [study.trials for study in studies])
    labels = study_labels([study.study for study in studies])
    styles = study_styles(labels) if len(studies) > 1 else None
    marks = marks_of(studies, windows, styles)
    for x, y in combinations(range(count), 2):
        first = (x, y) == (0, 1)
        traces: list[Any] = _curves(studies, styles, x, y, in_legend=first)
        traces += _lines(studies, styles, x, y, windows, in_legend=first)
        traces += [stopped_trace(info, x, y, windows, in_legend=first)] * bool(info.stopped)
        sides = label_sides(info, x, y, windows)
        traces += [mark_trace(one, x, y, sides, first) for one in marks]
        traces += _over(info, styles, x, y, windows, in_legend=first)
        figure.add_traces(traces, rows=y, cols=x + 1)
        for update, place, titled in (
            (figure.update_xaxes, x, y == side),
            (figure.update_yaxes, y, x == 0),
        ):
            axis = metric_axis(objectives[place].metric, titled=titled)
            update(axis | {"range": [windows[place].low, windows[place].high]}, row=y, col=x + 1)
        _add_baseline_lines(figure, studies, x, y)
        _shade_violations(figure, studies, x, y, windows)
    panel = COLUMN_PIXELS if side == 1 else _GRID_PANEL_PIXELS
    what = "Best so far" if info.is_history else "Pareto front" + "s" * (styles is not None)
    return finish(
        figure,
        title=several_title(what, labels),
        facts=front_facts(info, windows),
        meta=basis_meta(what, *studies),
        pixels=(side * panel[0], side * panel[1]),
        inside=_INSIDE_PIXELS if side == 1 else None,
        least=_LEAST_INSIDE,
        nothing="" if any(study.points for study in studies) else NO_TRIAL,
    )


def _curves(
    studies: Sequence[ParetoInfo],
    styles: Sequence[TermsStyle] | None,
    x: int,
    y: int,
    *,
    in_legend: bool,
) -> list[Scatter]:
    """Thin lines through the networks between the baseline and each trial of a front, if any."""
    found: list[Scatter] = []
    for place, study in enumerate(studies):
        if not study.curves:
            continue
        at = [one for curve in study.curves for one in (*curve.values, None)]
        found.append(
            Scatter(
                x=[None if one is None or math.isnan(one[x]) else one[x] for one in at],
                y=[None if one is None or math.isnan(one[y]) else one[y] for one in at],
                mode="lines",
                name="From the baseline",
                legendgroup="curves",
                legendrank=2,
                showlegend=in_legend and not found,
                line={"color": FAINT_INK if styles is None else styles[place].color, "width": 0.75},
                opacity=0.6,
                hoverinfo="skip",
            )
        )
    return found


def _lines(
    studies: Sequence[ParetoInfo],
    styles: Sequence[TermsStyle] | None,
    x: int,
    y: int,
    windows: Sequence[Window],
    *,
    in_legend: bool,
) -> list[Scatter]:
    """The steps of each study; of several each in its colour and dash, without a line in the
    legend: it goes with the study's marks."""
    if styles is None:
        name = "Best so far" if studies[0].objectives[0].metric == ENDED else "Front"
        look = {"name": name, "legendgroup": "front", "legendrank": 1, "showlegend": in_legend}
        line = {"color": INK, "width": 1.5}
        return [front_line(studies[0], x, y, windows, line=line, **look)]
    lines = []
    for place, (study, style) in enumerate(zip(studies, styles, strict=True)):
        dash = DASHES[place % len(DASHES)]
        line = {"color": style.color, "width": 2, "dash": dash}
        look = {"name": plain_text(style.label), "legendgroup": style.label, "showlegend": False}
        lines.append(front_line(study, x, y, windows, line=line, **look))
    return lines


def _over(
    info: FrontsInfo,
    styles: Sequence[TermsStyle] | None,
    x: int,
    y: int,
    windows: Sequence[Window],
    *,
    in_legend: bool,
) -> list[Scatter]:
    """Traces over the trials: rings at the knees, confirmed means, references, scales."""
    knees: list[Scatter] = []
    crosses: list[Scatter] = []
    for place, (study, means) in enumerate(zip(info.studies, info.confirmed, strict=True)):
        color = None if styles is None else styles[place].color
        knee = knee_trace(study, x, y, color or INK, is_one=styles is None)
        if knee is not None and not info.is_history:
            knee.showlegend = in_legend and not knees
            knees.append(knee)
        crosses += confirmed_traces(
            study, means, x, y, windows, color=color, in_legend=in_legend and not crosses
        )
    shared = replace(info.studies[0], references=shared_references(info.studies))
    references = reference_traces(shared, x, y, windows, in_legend=in_legend)
    scales = scale_traces(info, x, y, windows)
    return [*knees, *crosses, *references, *scales]


def _add_baseline_lines(figure: Figure, studies: Sequence[ParetoInfo], x: int, y: int) -> None:
    """Dotted lines through the baseline: right of one and above the other is a gain in both."""
    baseline = shared_references(studies).get("baseline")
    if baseline is None:
        return
    look: dict[str, Any] = {
        "line": {"color": FAINT_INK, "width": 1, "dash": "dot"},
        "layer": "below",
        "row": y,
        "col": x + 1,
    }
    if not math.isnan(baseline[x]):
        figure.add_vline(baseline[x], **look)
    if not math.isnan(baseline[y]):
        figure.add_hline(baseline[y], **look)


def _shade_violations(
    figure: Figure, studies: Sequence[ParetoInfo], x: int, y: int, windows: Sequence[Window]
) -> None:
    """Shade what violates a constraint on one of the two axes, with a line at its limit; a limit
    that no trial violates is drawn only if it is inside the axes."""
    look: dict[str, Any] = {"layer": "below", "row": y, "col": x + 1}
    line = {"color": INK, "width": 1, "dash": "dash"}
    metrics = [objective.metric for objective in studies[0].objectives]
    for bound in shared_bounds(studies):
        for place, rectangle, limit in (
            (x, figure.add_vrect, figure.add_vline),
            (y, figure.add_hrect, figure.add_hline),
        ):
            if metrics[place] != bound.metric or not windows[place].contains(bound.limit):
                continue
            end = windows[place].low if bound.is_least else windows[place].high
            rectangle(bound.limit, end, fillcolor=FAINT_INK, opacity=0.12, line_width=0, **look)
            limit(bound.limit, line=line, row=y, col=x + 1)


def _read(sources: Sequence[StudySource], options: FigureOptions) -> FrontsInfo:
    searches = [the_search([source], "pareto") for source in sources]
    return fronts_info(
        [source.record for source in searches],
        [confirmed_means(source) for source in searches],
        rungs=options.rungs,
    )


FIGURE = FigureKind(
    name="pareto",
    title="Pareto front",
    says="Each marker is a complete trial; those on the front are dominated by no other.",
    read=_read,
    draw=plot_fronts,
    several=True,
    takes=("rungs",),
)
