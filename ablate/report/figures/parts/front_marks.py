"""The marks of a front: trials, the step line, the knee, the references."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from plotly.graph_objects import Scatter, Scattergl

from ablate.analysis.fronts import ConfirmedMean, FrontsInfo
from ablate.analysis.hypervolume import staircase
from ablate.analysis.pareto import ParetoInfo, ParetoPoint
from ablate.ledger.record import ADAPTED, NOT_FINETUNED
from ablate.report.figures.parts.beside_marks import front_label
from ablate.report.figures.parts.canvas import MANY, objectives_facts, several_facts, several_marks
from ablate.report.figures.parts.confirmed import drawn_means
from ablate.report.figures.parts.point_hover import plane_template, point_hover, reference_hover
from ablate.report.figures.parts.window import (
    Window,
    is_inside,
    not_collapsed,
    outside_facts,
)
from ablate.report.numbers import (
    count_text,
    hypervolume_text,
    metric_text,
    metric_words,
    plain_text,
)
from ablate.report.style import (
    FAINT_INK,
    INK,
    PAPER,
    SMALL_SIZE,
    TermsStyle,
    open_symbol,
    terms_style,
    trial_marker,
)
from ablate.robustness.measures import LEVEL

_TOLD = 200
"""Of so many trials, the front's own still have every parameter at hand."""
REFERENCES = {
    "baseline": ("Baseline", "star", 0),
    ADAPTED: ("Adapted baseline", "star-open", 1.5),
    "plain": ("Plain finetune", "x", 1.5),
}
"""Label, mark and width of its line."""


@dataclass(frozen=True)
class Marks:
    """Trials with the same style: of one set of loss terms, or of one study.

    Attributes:
        info: their study's.
        points: on the front, or not on it; all finite.
        values: theirs, `[points, objectives]`.
        count: complete trials with this style inside the axes, on the front or not.
        many: whether there are more than `MANY` trials in the figure, each with a short word.
        of_several: whether there are marks of other studies, so that a point must name its study.
    """

    info: ParetoInfo
    style: TermsStyle
    rank: int
    on_front: bool
    points: tuple[ParetoPoint, ...]
    values: NDArray[np.float64]
    count: int
    in_legend: bool
    many: bool
    of_several: bool


def marks_of(
    infos: Sequence[ParetoInfo],
    windows: Sequence[Window],
    styles: Sequence[TermsStyle] | None = None,
) -> list[Marks]:
    """All trials of a figure, the dominated ones first.

    Args:
        windows: of the axes; styles: one per study; None: by loss terms.
    """
    many = sum(len(info.points) for info in infos) > MANY
    found = []
    for place, info in enumerate(infos):
        of_terms: dict[str, list[int]] = {}
        for at, point in enumerate(info.points):
            of_terms.setdefault(point.loss_terms, []).append(at)
        groups: dict[TermsStyle, list[int]] = {}
        for terms, at_terms in of_terms.items():
            style = terms_style(terms) if styles is None else styles[place]
            groups.setdefault(style, []).extend(at_terms)
        values, on_front = info.values, info.is_on_front
        inside = is_inside(values, dict(enumerate(windows)))
        for rank, style in enumerate(sorted(groups, key=lambda style: style.label)):
            alike = np.sort(groups[style])
            finite = alike[np.isfinite(values[alike]).all(axis=1)]
            any_on_front = bool(on_front[alike].any())
            count = int(inside[alike].sum())
            for is_front in (False, True):
                drawn = finite[on_front[finite] == is_front]
                found.append(
                    Marks(
                        info=info,
                        style=style,
                        rank=place + rank,
                        on_front=is_front,
                        points=tuple(info.points[one] for one in drawn.tolist()),
                        values=values[drawn],
                        count=count,
                        in_legend=bool(count) and (is_front or not any_on_front),
                        many=many,
                        of_several=styles is not None,
                    )
                )
    return sorted((one for one in found if one.points), key=lambda one: one.on_front)


def mark_trace(
    marks: Marks, x: int, y: int, sides: Mapping[int, str], in_legend: bool
) -> Scatter | Scattergl:
    """Trials in the plane of two objectives; each point's customdata is its trial's number.

    Args:
        sides: from `label_sides`.
    """
    style, on_front = marks.style, marks.on_front
    look: dict[str, Any] = {
        "mode": "markers",
        "name": f"{plain_text(style.label)} ({marks.count})",
        "legendgroup": style.label,
        "legendrank": 4 + marks.rank,
        "showlegend": in_legend and marks.in_legend,
        "marker": trial_marker(
            style, on_front, (8 if on_front else 5) if marks.many else (11 if on_front else 9)
        ),
    }
    if any(point.violation for point in marks.points):
        look["marker"]["symbol"] = [
            open_symbol(style.symbol) if point.violation else style.symbol for point in marks.points
        ]
    at, numbers = marks.values, [point.number for point in marks.points]
    if not marks.many or (on_front and len(marks.points) <= _TOLD):
        texts = [point_hover(marks.info, point) for point in marks.points]
        told: dict[str, Any] = {"customdata": numbers, "hovertext": texts}
        if on_front and sides:
            told |= {
                "mode": "markers+text",
                "text": [front_label(marks.info, point) for point in marks.points],
                "textposition": [sides[number] for number in numbers],
                "cliponaxis": False,  # the best stand at the edge
                "textfont": {"size": SMALL_SIZE, "color": FAINT_INK},
            }
        told["hoverinfo"] = "text+name" if marks.of_several else "text"
        return Scatter(x=at[:, x].tolist(), y=at[:, y].tolist(), **(look | told))
    short = at.astype(np.float32)
    return Scattergl(
        x=np.ascontiguousarray(short[:, x]),
        y=np.ascontiguousarray(short[:, y]),
        customdata=np.array(numbers, dtype=np.int32),
        hovertemplate=f"{plane_template(marks.info.objectives, x, y)}"
        f"<extra>{plain_text(style.label)}</extra>",
        **look,
    )


def front_line(info: ParetoInfo, x: int, y: int, windows: Sequence[Window], **look: Any) -> Scatter:
    """The steps of a study's own front in this plane, to the edges of the axes."""
    line_x, line_y = staircase(
        info.counted[:, x],
        info.counted[:, y],
        (info.objectives[x], info.objectives[y]),
        (windows[x].worst, windows[y].worst),
    )
    showlegend = look.pop("showlegend") and bool(line_x)
    look["line"] = {"simplify": False, **look["line"]}  # or low steps become slopes
    return Scatter(
        x=line_x, y=line_y, mode="lines", hoverinfo="skip", showlegend=showlegend, **look
    )


def knee_trace(info: ParetoInfo, x: int, y: int, color: str, *, is_one: bool) -> Scatter | None:
    """A ring around the knee; None for a front without one.

    Args:
        is_one: whether it is the figure's only study, and the legend names the trial.
    """
    knee = info.knee
    if knee is None:
        return None
    return Scatter(
        x=[knee.values[x]],
        y=[knee.values[y]],
        mode="markers",
        name=f"Knee (trial {knee.number})" if is_one else "Knee",
        legendgroup="knee",
        legendrank=3,
        marker={"color": color, "symbol": "circle-open", "size": 20, "line": {"width": 1.5}},
        customdata=[knee.number],
        hoverinfo="skip",
    )


def reference_marker(name: str) -> dict[str, Any]:
    """plotly's marker of a reference: the plain cross is white, and visible on the black star."""
    _, symbol, width = REFERENCES[name]
    color = INK if name in NOT_FINETUNED else PAPER
    return {"color": color, "symbol": symbol, "line": {"color": INK, "width": width}}


def reference_traces(
    info: ParetoInfo, x: int, y: int, windows: Sequence[Window], *, in_legend: bool
) -> list[Scatter]:
    """Baseline, the same adapted, and plain finetune, where they have both values."""
    traces = []
    for name, (label, _, _) in REFERENCES.items():
        values = info.references.get(name)
        if values is None or not (
            windows[x].contains(values[x]) and windows[y].contains(values[y])
        ):
            continue
        traces.append(
            Scatter(
                x=[values[x]],
                y=[values[y]],
                mode="markers",
                name=label,
                legendgroup=name,
                legendrank=2,
                showlegend=in_legend,
                marker=reference_marker(name) | {"size": 13 if name in NOT_FINETUNED else 9},
                hovertext=[reference_hover(info, name, label)],
                hoverinfo="text",
                cliponaxis=False,
            )
        )
    return traces


def stopped_inside(info: FrontsInfo) -> NDArray[np.float64]:
    """Values of stopped trials that the axes must show, `[trial, objective]`: not of those that are
    far worse in an objective than the other stopped trials, or than all trials, which would press
    these into a corner."""
    stopped = np.array([one.values for one in info.stopped]).reshape(-1, len(info.objectives))
    inside = np.ones(len(stopped), dtype=bool)
    for place, kind in enumerate(info.objectives):
        kept = not_collapsed(kind, stopped[:, place])
        complete = [study.values[:, place] for study in info.studies]
        inside &= np.isin(stopped[:, place], kept)
        inside &= np.isin(stopped[:, place], not_collapsed(kind, np.concatenate([kept, *complete])))
    found: NDArray[np.float64] = stopped[inside]
    return found


def stopped_trace(
    info: FrontsInfo, x: int, y: int, windows: Sequence[Window], *, in_legend: bool
) -> Scatter:
    """Trials that were stopped, at the scores of their last rung; the legend counts those inside
    the axes."""
    values = [one.values for one in info.stopped]
    inside = int(is_inside(values, dict(enumerate(windows))).sum())
    (metric_x, metric_y) = (info.objectives[place].metric for place in (x, y))
    return Scatter(
        x=[one.values[x] for one in info.stopped],
        y=[one.values[y] for one in info.stopped],
        mode="markers",
        name=f"Stopped at a rung ({inside})",
        legendgroup="stopped",
        legendrank=3,
        showlegend=in_legend,
        marker={"symbol": "circle-open", "size": 5, "color": FAINT_INK, "opacity": 0.7},
        customdata=[one.number for one in info.stopped],
        hovertext=[
            f"trial {one.number}, stopped after epoch {one.epoch}: "
            f"{metric_words(metric_x)} {metric_text(metric_x, one.values[x])}, "
            f"{metric_words(metric_y)} {metric_text(metric_y, one.values[y])}"
            for one in info.stopped
        ],
        hoverinfo="text",
    )


def stopped_facts(info: FrontsInfo, windows: Sequence[Window]) -> list[str]:
    """What the marks of stopped trials are, and which are missing; nothing unless asked for."""
    if info.unlike is None:
        return []
    if not info.stopped and not info.unlike:
        return ["no trial was stopped at a rung"]
    said = []
    if info.stopped:
        epochs = " or ".join(map(str, sorted({one.epoch for one in info.stopped})))
        never = "never the best" if info.is_history else "on no front"
        said.append(f"rings: stopped trials as they were after epoch {epochs}, {never}")
        values = [one.values for one in info.stopped]
        said += outside_facts(values, dict(enumerate(windows)), "stopped trial")
    unlike = count_text(info.unlike, "stopped trial")
    why = "scored there on fewer images, or in other metrics, than after the last epoch"
    return said + [f"{unlike} not drawn: {why}"] * bool(info.unlike)


# -- What the numbers of a front stand on, of one study or several -------------------------


def front_facts(info: FrontsInfo, windows: Sequence[Window]) -> list[str]:
    """Counts, data and seeds; hypervolume with its reference; meaning of pale marks; trials
    outside; confirmed means."""
    studies = info.studies
    marks = several_marks(studies)
    said = several_facts(studies)
    if len(studies) == 1:
        (study,) = studies
        volume = hypervolume_text(study.hypervolume, study.objectives, study.reference_point)
        said += [f"hypervolume {volume}"] if volume else []
    else:
        said += reference_facts(studies)
    said += [*marks, *objectives_facts(len(windows), len(info.objectives))]
    values = np.concatenate([study.values for study in studies])
    on_front = np.concatenate([study.is_on_front for study in studies])
    finite = np.isfinite(values).all(axis=1)
    dominated = values[finite & ~on_front]
    violates = any(point.violation for study in studies for point in study.points)
    if len(dominated):
        faint = "not the best so far" if info.is_history else "dominated"
        said.append(f"faint: {faint}" + "; open: violates a constraint" * violates)
        off = ("trial", "trials") if info.is_history else ("dominated trial", "dominated trials")
        if violates and not info.is_history:
            off = ("trial off the front", "trials off the front")
        said += outside_facts(dominated.tolist(), dict(enumerate(windows)), *off)
    if not finite.all():
        said.append(f"{int((~finite).sum())} with a value that is not a number")
    said += stopped_facts(info, windows)
    means = [
        mean
        for study, of_study in zip(studies, info.confirmed, strict=True)
        for mean in drawn_means(study, of_study)
    ]
    outside = [mean.values for mean in means]
    said += outside_facts(outside, dict(enumerate(windows)), "confirmed mean")
    return said + confirmed_facts(means)


def confirmed_facts(means: Sequence[ConfirmedMean]) -> list[str]:
    """What the crosses of confirmed trials are; nothing without one."""
    if not means:
        return []
    seeds = sorted({mean.seeds for mean in means})
    over = f"{seeds[0]}" if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]}"
    over += " fresh seed" + "s" * (seeds != [1])
    if seeds == [1]:
        return [f"white marks: {over}, joined to the selected value"]
    return [
        f"white marks: mean of {over}, {100 * LEVEL:.0f} % t interval, joined to the selected value"
    ]


def shared_references(studies: Sequence[ParetoInfo]) -> Mapping[str, tuple[float, ...]]:
    """Baseline and plain finetune, if all studies that have scored them agree: then one mark is
    used for all."""
    shared = {}
    for name in dict.fromkeys(name for study in studies for name in study.references):
        values = [study.references[name] for study in studies if name in study.references]
        if np.allclose(values, values[0], rtol=0, atol=1e-9, equal_nan=True):
            shared[name] = values[0]
    return shared


def reference_facts(studies: Sequence[ParetoInfo]) -> list[str]:
    """That baselines are not drawn, where studies have different ones."""
    scored = {name for study in studies for name in study.references}
    differ = scored > shared_references(studies).keys()
    return ["baselines differ: not drawn"] if differ else []
