"""The hypervolume figure: how the front of a search grew, trial by trial.

A line is a study's hypervolume after each trial that ended, a mark on it the trial that raised it.
Values are those of one seed each, so a line also rises by luck; where the front was confirmed, a
diamond is the hypervolume of the means over fresh seeds, on the same images.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from plotly.graph_objects import Figure, Scatter, Scattergl

from ablate.ablation.study_source import StudySource
from ablate.analysis.history import HypervolumeCurve, HypervolumeInfo, hypervolume_info
from ablate.analysis.objectives import is_accuracy
from ablate.report.figures.figure import FigureKind, FigureOptions, the_search
from ablate.report.figures.parts.canvas import (
    NO_TRIAL,
    axis_title,
    basis_meta,
    finish,
    several_facts,
    several_marks,
    several_title,
    study_labels,
    study_styles,
    trace_type,
)
from ablate.report.figures.parts.confirmed import confirmed_means
from ablate.report.numbers import plain_text, reference_text
from ablate.report.style import DASHES, INK, TermsStyle, base_axis

_INSIDE_PIXELS, _LEAST_INSIDE = 290, 80


def plot_hypervolume(info: HypervolumeInfo) -> Figure:
    """Draw the hypervolume of studies over trials.

    Args:
        info: a study without complete trials has its line at 0.

    Returns:
        A figure for one column of print. The customdata of the marks are numbers of trials.
    """
    studies = info.studies
    labels = study_labels([study.study for study in studies])
    styles = study_styles(labels)
    several = len(studies) > 1
    traces: list[Any] = []
    for place, (study, style) in enumerate(zip(studies, styles, strict=True)):
        line, marks = _curve(study, style, DASHES[place % len(DASHES)])
        line.name = plain_text(style.label) if several else "Front so far"
        marks.name = line.name if several else "Trial that raised it"
        line.showlegend = True
        line.legendgroup = style.label if several else "front"
        marks.legendgroup = style.label if several else "raised"
        marks.showlegend = not several and bool(len(study.numbers))
        traces += [line, marks]
    confirmed = _confirmed(studies, styles, several)
    for diamond in confirmed:
        diamond.showlegend = diamond is confirmed[0]
    figure = Figure([*traces, *confirmed])
    figure.update_xaxes(base_axis() | {"title": axis_title("Trials that ended")})
    figure.update_yaxes(base_axis() | {"title": axis_title(_axis_text(info))})
    figure.update_layout(xaxis_rangemode="tozero", yaxis_rangemode="tozero")
    return finish(
        figure,
        title=several_title("Hypervolume", labels),
        facts=_facts(info),
        meta=basis_meta("Hypervolume", *studies),
        inside=_INSIDE_PIXELS,
        least=_LEAST_INSIDE,
        nothing="" if any(len(study.numbers) for study in studies) else NO_TRIAL,
    )


def _axis_text(info: HypervolumeInfo) -> str:
    """With the unit that accuracies enter by."""
    metrics = [objective.metric for objective in info.studies[0].objectives]
    return "Hypervolume" + ", accuracies as fractions" * any(map(is_accuracy, metrics))


def _curve(
    study: HypervolumeCurve, style: TermsStyle, dash: str
) -> tuple[Scatter | Scattergl, Scatter | Scattergl]:
    """The steps from 0 to the last trial that ended, and the trials that raised them."""
    raised = np.flatnonzero(np.diff(study.hypervolume, prepend=0.0) > 0)
    x = study.ended[raised].astype(np.float32)
    y = study.hypervolume[raised].astype(np.float32)
    last = y[-1] if len(y) else 0.0
    trace = trace_type(len(raised))
    line = trace(
        x=np.concatenate([[0], x, [study.ended_in_all]], dtype=np.float32),
        y=np.concatenate([[0], y, [last]], dtype=np.float32),
        mode="lines",
        line={"color": style.color, "width": 2, "dash": dash, "shape": "hv"},
        hoverinfo="skip",
    )
    told = "<b>Trial %{customdata}</b><br>hypervolume %{y:.4g} after %{x} trials"
    marks = trace(
        x=x,
        y=y,
        mode="markers",
        marker={"color": style.color, "symbol": style.symbol, "size": 7},
        customdata=study.numbers[raised].tolist(),
        hovertemplate=f"{told}<extra>{plain_text(style.label)}</extra>",
    )
    return line, marks


def _confirmed(
    studies: Sequence[HypervolumeCurve], styles: Sequence[TermsStyle], several: bool
) -> list[Scatter]:
    """A diamond at the end of the line of each study whose front was confirmed."""
    return [
        Scatter(
            x=[study.ended_in_all],
            y=[study.confirmed],
            mode="markers",
            name="Confirmed means",
            legendgroup="confirmed",
            marker={
                "color": style.color if several else INK,
                "symbol": "diamond-open",
                "size": 12,
                "line": {"width": 2},
            },
            hovertemplate=f"hypervolume %{{y:.4g}} of {study.confirmed_trials} confirmed means"
            f"<extra>{plain_text(style.label)}</extra>",
            cliponaxis=False,
        )
        for study, style in zip(studies, styles, strict=True)
        if study.confirmed is not None
    ]


def _facts(info: HypervolumeInfo) -> list[str]:
    studies = info.studies
    marks = several_marks(studies)
    said = several_facts(studies)
    metrics = [objective.metric for objective in studies[0].objectives]
    point = reference_text(metrics, info.reference_point)
    others = ", also for studies that have another" * info.has_own_reference_points
    said.append(f"reference point {point}{others}")
    said.append("fronts of single-seed values")
    counts = sorted({study.confirmed_trials for study in studies if study.confirmed is not None})
    if counts:
        many = " and ".join(str(count) for count in counts)
        means, trials = ("mean", "trial") if counts == [1] else ("means", "trials")
        said.append(f"diamond: {means} of {many} confirmed {trials} over fresh seeds")
    return said + marks


def _read(sources: Sequence[StudySource], _: FigureOptions) -> HypervolumeInfo:
    searches = [the_search([source], "hypervolume") for source in sources]
    return hypervolume_info(
        [source.record for source in searches], [confirmed_means(source) for source in searches]
    )


FIGURE = FigureKind(
    name="hypervolume",
    title="Hypervolume",
    says="Hypervolume dominated by the front after each trial; where the line is flat, the search "
    "found no better trials.",
    read=_read,
    draw=plot_hypervolume,
    several=True,
)
