"""The hypervolume figure: how the front grew, by trials, by epochs and by time at work.

A line is a study's hypervolume after each complete trial, a mark on it the trial that raised it.
Values are those of one seed each, so a line also rises by luck; where the front was confirmed, a
diamond is the hypervolume of the means over fresh seeds, on the same images.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ablate.ablation.study_source import StudySource
from ablate.analysis.history import HypervolumeCurve, HypervolumeInfo, hypervolume_info
from ablate.report.figures.figure import FigureKind, FigureOptions, the_search
from ablate.report.figures.parts.ablations import (
    several_facts,
    several_marks,
    several_meta,
    several_title,
    study_labels,
    study_styles,
)
from ablate.report.figures.parts.canvas import WIDE_PIXELS, basis_facts, basis_meta, finish
from ablate.report.figures.parts.confirmed import confirmed_means
from ablate.report.numbers import plain_text, reference_text
from ablate.report.style import DASHES, FONT_SIZE, INK, TermsStyle, base_axis

if TYPE_CHECKING:
    from plotly.graph_objects import Figure, Scatter, Scattergl

_PANELS = (
    ("trials", "Trials that ended", "%{x} trials"),
    ("epochs", "Epochs trained", "%{x} epochs"),
    ("hours", "Hours at work", "%{x:.3~g} hours"),
)
_SHORTER = ((2.0, 60, "Minutes at work", "minutes"), (2 / 60, 3600, "Seconds at work", "seconds"))
"""Hours below which time is in a smaller unit: how many of it an hour has, and its names."""
_MANY = 2000
_INSIDE_PIXELS = 290


def plot_hypervolume(info: HypervolumeInfo) -> Figure:
    """Draw how the hypervolume of studies grew.

    Args:
        info: studies may be without a complete trial: their line lies at 0.

    Returns:
        A panel for trials, one for epochs and one for hours, with one y axis; a panel whose x is 0
        in all studies is left out (a study of another tool's has no epochs). The customdata of the
        marks are numbers of trials.
    """
    from plotly.subplots import make_subplots

    studies = info.studies
    panels = [panel for panel in _PANELS if _spends(studies, panel[0])] or [_PANELS[0]]
    figure = make_subplots(
        rows=1, cols=len(panels), shared_yaxes=True, horizontal_spacing=0.09 / len(panels)
    )
    labels = study_labels([study.study for study in studies])
    styles = study_styles(labels)
    several = len(studies) > 1
    for column, panel in enumerate(panels, 1):
        name, title, text, scale = _unit(studies, *panel)
        traces: list[Any] = []
        for place, (study, style) in enumerate(zip(studies, styles, strict=True)):
            line, marks = _curve(study, style, DASHES[place % len(DASHES)], name, text)
            line.name = plain_text(style.label) if several else "Front so far"
            marks.name = line.name if several else "Trial that raised it"
            line.showlegend = column == 1
            line.legendgroup = style.label if several else "front"
            marks.legendgroup = style.label if several else "raised"
            marks.showlegend = column == 1 and not several and bool(len(study.numbers))
            traces += [line, marks]
        confirmed = _confirmed(studies, styles, name, several)
        for diamond in confirmed:
            diamond.showlegend = column == 1 and diamond is confirmed[0]
        for trace in (*traces, *confirmed):
            trace.x = np.asarray(trace.x, dtype=np.float32) * np.float32(scale)
        figure.add_traces(traces + confirmed, rows=1, cols=column)
        figure.update_xaxes(
            base_axis() | {"title": _axis_title(title), "rangemode": "tozero"},
            row=1,
            col=column,
        )
        y_title = {"title": _axis_title("Hypervolume")} if column == 1 else {}
        figure.update_yaxes(base_axis() | y_title | {"rangemode": "tozero"}, row=1, col=column)
    return finish(
        figure,
        title=several_title("Hypervolume", labels),
        facts=_facts(info),
        meta=several_meta(studies, "Hypervolume")
        if several
        else basis_meta(studies[0], "Hypervolume"),
        pixels=WIDE_PIXELS if len(panels) > 1 else (WIDE_PIXELS[0] / 2, WIDE_PIXELS[1]),
        inside=_INSIDE_PIXELS,
        nothing="" if any(len(study.numbers) for study in studies) else "no complete trial yet",
    )


def _curve(
    study: HypervolumeCurve, style: TermsStyle, dash: str, panel: str, text: str
) -> tuple[Scatter | Scattergl, Scatter | Scattergl]:
    """The steps from 0 to the last trial that ended, and the trials that raised them."""
    from plotly.graph_objects import Scatter, Scattergl

    raised = np.flatnonzero(np.diff(study.hypervolume, prepend=0.0) > 0)
    x: NDArray[Any] = getattr(study.spent, panel)[raised]
    y = study.hypervolume[raised]
    last: NDArray[Any] = getattr(study.total, panel)
    trace = Scattergl if len(raised) > _MANY else Scatter
    line = trace(
        x=_short(np.concatenate([[0], x, last])),
        y=_short(np.concatenate([[0.0], y, y[-1:] if len(y) else np.zeros(len(last))])),
        mode="lines",
        line={"color": style.color, "width": 2, "dash": dash, "shape": "hv"},
        hoverinfo="skip",
    )
    told = f"<b>Trial %{{customdata}}</b><br>hypervolume %{{y:.4g}} after {text}"
    marks = trace(
        x=_short(x),
        y=_short(y),
        mode="markers",
        marker={"color": style.color, "symbol": style.symbol, "size": 7},
        customdata=study.numbers[raised].tolist(),
        hovertemplate=f"{told}<extra>{plain_text(style.label)}</extra>",
    )
    return line, marks


def _confirmed(
    studies: Sequence[HypervolumeCurve], styles: Sequence[TermsStyle], panel: str, several: bool
) -> list[Scatter]:
    """A diamond at the end of the line of each study whose front was confirmed."""
    from plotly.graph_objects import Scatter

    return [
        Scatter(
            x=getattr(study.total, panel).tolist(),
            y=[study.confirmed] * len(study.total.trials),
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
    if len(studies) == 1:
        said = basis_facts(studies[0])[: -len(marks) or None]
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


def _spends(studies: Sequence[HypervolumeCurve], panel: str) -> bool:
    return any(bool((getattr(study.total, panel) > 0).any()) for study in studies)


def _unit(
    studies: Sequence[HypervolumeCurve], name: str, title: str, text: str
) -> tuple[str, str, str, float]:
    """A panel's name, title and word at a mark, and what its x is multiplied by."""
    found = (name, title, text, 1.0)
    longest = max((float(hours) for study in studies for hours in study.total.hours), default=0.0)
    for below, in_an_hour, shorter_title, unit in _SHORTER:
        if name == "hours" and longest < below:
            found = (name, shorter_title, f"%{{x:.3~g}} {unit}", in_an_hour)
    return found


def _axis_title(text: str) -> dict[str, Any]:
    return {"text": text, "standoff": 8, "font": {"size": FONT_SIZE}}


def _short(values: NDArray[Any]) -> NDArray[Any]:
    return values.astype(np.float32)


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
