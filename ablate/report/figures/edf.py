"""The empirical distribution of each objective: which share of the trials reaches which value.

A panel is an objective, a line a study or, of one study, a set of loss terms.  At a value, the line
is at the share of complete trials that have at most this value.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from plotly.graph_objects import Figure, Scatter

from ablate.ablation.study_source import StudySource
from ablate.analysis.edf import EdfInfo, edf_info
from ablate.report.figures.figure import FigureKind, FigureOptions, the_search
from ablate.report.figures.parts.ablations import stacked
from ablate.report.figures.parts.canvas import (
    NO_TRIAL,
    axis_title,
    basis_meta,
    finish,
    metric_axis,
    objectives_facts,
    several_facts,
    several_marks,
    several_title,
    study_labels,
    study_styles,
    violating_facts,
)
from ablate.report.figures.parts.front_marks import shared_references
from ablate.report.figures.parts.names import axis_number
from ablate.report.figures.parts.window import scores_window
from ablate.report.numbers import plain_text
from ablate.report.style import DASHES, INK, base_axis, terms_style

_PANEL, _GAP, _LEAST_INSIDE = 210, 66, 120
"""Pixels of a panel's height, and between two."""


def plot_edf(info: EdfInfo) -> Figure:
    """Draw the distributions.

    Args:
        info: without trials the figure says so.

    Returns:
        A figure for one column of print, a panel an objective.
    """
    studies, objectives = info.studies, info.objectives
    labels = study_labels([study.study for study in studies])
    styles = study_styles(labels)
    if len(studies) == 1:
        styles = [terms_style(one.loss_terms) for one in info.distributions]
    references = shared_references(studies)
    domains, inside = stacked([_PANEL] * len(objectives), _GAP)
    figure = Figure()
    for place, objective in enumerate(objectives):
        number = axis_number(place)
        axes = {"xaxis": f"x{number}", "yaxis": f"y{number}"}
        for rank, (one, style) in enumerate(zip(info.distributions, styles, strict=True)):
            values = one.values[place]
            if len(values):
                figure.add_trace(
                    Scatter(
                        x=np.append(values[:1], values),
                        y=np.linspace(0, 1, len(values) + 1),
                        mode="lines",
                        name=f"{plain_text(style.label)} ({len(values)})",
                        legendgroup=str(rank),
                        showlegend=place == 0,
                        line={
                            "color": style.color,
                            "width": 2,
                            "shape": "hv",
                            "dash": DASHES[rank % len(DASHES)],
                        },
                        hovertemplate="%{y:.0%} have at most %{x}<extra></extra>",
                        **axes,
                    )
                )
        if "baseline" in references and np.isfinite(references["baseline"][place]):
            figure.add_trace(
                Scatter(
                    x=[references["baseline"][place]] * 2,
                    y=[0, 1],
                    mode="lines",
                    name="Baseline",
                    legendgroup="baseline",
                    legendrank=2000,
                    showlegend=not any(one.legendgroup == "baseline" for one in figure.data),
                    line={"color": INK, "width": 1.5, "dash": "dot"},
                    hoverinfo="skip",
                    **axes,
                )
            )
        columns = [one.values[place] for one in info.distributions]
        kept = [values[place] for values in references.values()]
        window = scores_window(objective, np.concatenate([np.empty(0), *columns]), kept)
        better = "better →" if objective.direction == "maximize" else "← better"
        x = metric_axis(objective.metric) | {"range": [window.low, window.high], "showgrid": True}
        x["title"]["text"] += f", {better}"
        y = base_axis() | {"range": [0, 1.02], "tickformat": ".0%", "showgrid": True}
        y |= {"title": axis_title("Share of trials"), "domain": list(domains[place])}
        figure.update_layout(
            {
                f"xaxis{number}": x | {"anchor": f"y{number}"},
                f"yaxis{number}": y | {"anchor": f"x{number}"},
            }
        )
    count = len(studies[0].objectives)
    facts = [*several_facts(studies), *objectives_facts(len(objectives), count)]
    return finish(
        figure,
        title=several_title("Distribution of the scores", labels),
        facts=[*facts, "only complete trials", *several_marks(studies), *violating_facts(studies)],
        meta=basis_meta("Distribution of the scores", *studies),
        inside=inside,
        least=None if len(objectives) > 1 else _LEAST_INSIDE,
        nothing="" if any(study.points for study in studies) else NO_TRIAL,
    )


def _read(sources: Sequence[StudySource], _: FigureOptions) -> EdfInfo:
    return edf_info([the_search([source], "edf").record for source in sources])


FIGURE = FigureKind(
    name="edf",
    title="Distribution of the scores",
    says="At each value, a line is at the share of complete trials with at most this value; a line "
    "further on the better side is a better search space.",
    read=_read,
    draw=plot_edf,
    several=True,
)
