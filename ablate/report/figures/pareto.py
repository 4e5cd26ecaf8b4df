"""What does robustness cost?  Robust against clean accuracy of every complete trial.

Colour and mark are the loss terms, or the study where there are several; a trial that another one
dominates is faint, one that violates a constraint hollow.  Once trials were confirmed, the axes are
those of the test images: marks are means over new seeds with their intervals.  An ablation has the
means of its arms.  More than two objectives have a panel a pair.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import combinations
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from plotly.graph_objects import Figure, Scatter
from plotly.subplots import make_subplots

from ablate.ablation.answer import best_point
from ablate.ablation.means import Mean, arm_means, confirmed_means
from ablate.ablation.study_source import StudySource
from ablate.analysis.drawn import MOST_OBJECTIVES
from ablate.analysis.hypervolume import as_table, maximised, staircase
from ablate.analysis.objectives import objectives_on, shared_objectives, short_metric
from ablate.analysis.pareto import ParetoInfo, ParetoPoint, reference_values, shared_references
from ablate.errors import NothingToDrawError
from ablate.files.shown import count_text, shown_if
from ablate.ledger.record import ADAPTED, NOT_FINETUNED
from ablate.report.figures import canvas
from ablate.report.figures.canvas import Sheet, marker, metric_axis
from ablate.report.figures.figure import FigureKind, FigureOptions
from ablate.report.numbers import (
    hypervolume_text,
    metric_label,
    metric_text,
    param_text,
    plain_text,
    shortened,
    signed_text,
)
from ablate.report.style import (
    FAINT_INK,
    INK,
    MIXTURES_LOOK,
    OUTSIDE_LOOK,
    SMALL_SIZE,
    Look,
    terms_look,
)
from ablate.report.words import network_label
from ablate.study.scores import Bound, Scores
from ablate.study.settings import ObjectiveSettings

if TYPE_CHECKING:
    import pandas as pd

_REFERENCES = {"baseline": ("star", 13), ADAPTED: ("star-open", 13), "plain": ("x-open", 9)}
"""Mark and size."""
_HOVER = "%{hovertext}<extra></extra>"
_LABELLED = 8
"""Up to so many trials on a front, each has its number beside it."""
_ACROSS, _PANEL_PIXELS = 3, 300
_OUTSIDE, _DOMINATED, _VIOLATING, _ON_FRONT, _MEAN = range(5)
"""States of a mark, in the order in which they are drawn over each other."""
_OF_POINTS, _OF_MEANS = (
    ("name", "loss_terms", "number", "on_front"),
    ("name", "number", "seeds", "is_point"),
)


@dataclass(frozen=True)
class FrontsInfo:
    """Searches with the same objectives, or one ablation, in the planes of objectives.

    Attributes:
        studies: with all complete trials; of an ablation none.
        objectives: of the axes: on the test images once the trials of one search were confirmed.
        table: as `frame`, and how a mark looks: state, group (of one trace), look, hover.
        references, bounds: on the images of the axes, those that are the same for all studies.
        runs: of an ablation, how many have ended.
        taken: name of what the answer of a search names first.
    """

    studies: tuple[ParetoInfo, ...]
    objectives: tuple[ObjectiveSettings, ...]
    table: pd.DataFrame
    references: Mapping[str, tuple[float, ...]]
    bounds: tuple[Bound, ...] = ()
    runs: str = ""
    taken: str = ""

    @property
    def metrics(self) -> list[str]:
        """Of the axes."""
        return [objective.metric for objective in self.objectives]

    @cached_property
    def marks(self) -> pd.DataFrame:
        """The rows of the table with numbers for all axes."""
        values = self.table[self.metrics].to_numpy(float)
        return self.table.iloc[np.flatnonzero(np.isfinite(values).all(axis=1))]

    @property
    def means(self) -> pd.DataFrame:
        """Confirmed trials and the arms beside them, or an ablation's arms."""
        return self.table.loc[self.table["mark"] == "mean"]

    @property
    def is_confirmed(self) -> bool:
        """Whether the axes are not those of the search's scores."""
        return len(self.means) > 0 and not self.runs

    def frame(self) -> pd.DataFrame:
        """One row a mark.

        Columns: mark ("trial", "mixture", "mean", "outside" of an edited space), study, name,
        loss_terms (text), number, seeds (Int64), on_front (boolean), and a float64 column an
        objective, with .low and .high of means.
        """
        return self.table.drop(columns=["state", "group", "look", "hover", "is_point"])


# -- Reading ---------------------------------------------------------------------------------


def info_of(sources: Sequence[StudySource], _: FigureOptions) -> FrontsInfo:
    """Searches with the same objectives, or one ablation.

    Raises:
        NothingToDrawError: for one objective, and an ablation among others.
        ParameterError: if objectives differ.
    """
    source, several = sources[0], len(sources) > 1
    record = source.record
    objectives = shared_objectives([each.record for each in sources])
    if len(objectives) < 2:
        rule, fix = "needs two objectives, got one", "Draw history."
        raise NothingToDrawError(record.name, "pareto", rule, fix)
    if several and not all(each.is_search for each in sources):
        reason = f"with other studies needs one search, got {len(sources)} studies"
        raise NothingToDrawError(record.name, "pareto", reason, "Draw one at a time.")
    if several:
        return _of_several(tuple(each.front for each in sources))
    if not source.is_search:
        return _of_arms(source)
    front, best = source.front, best_point(record, source.front)
    taken = best.name if best else ""
    means = confirmed_means(source)
    if source.confirming is not None and source.confirmed is not None and means:
        objectives = objectives_on(objectives, "test")
        looks = {**canvas.looks(source.confirmed)}
        looks |= {point.name: terms_look(point.loss_terms) for point in front.points}
        looks |= {point.name: MIXTURES_LOOK for point in front.mixtures}
        return FrontsInfo(
            (front,),
            objectives,
            _table((front,), objectives, [mean for mean in means if mean.name in looks], looks),
            _unchanged(source.confirming.test_references, objectives),
            taken=taken,
        )
    table = _table((front,), objectives)
    return FrontsInfo((front,), objectives, table, front.references, front.bounds, taken=taken)


def _of_several(studies: tuple[ParetoInfo, ...]) -> FrontsInfo:
    objectives = studies[0].objectives
    return FrontsInfo(
        studies,
        objectives,
        _table(studies, objectives),
        shared_references(studies),
        bounds=studies[0].bounds if len({study.bounds for study in studies}) == 1 else (),
    )


def _of_arms(source: StudySource) -> FrontsInfo:
    """The arms of an ablation: on the test images if it is a confirmation."""
    ablation, study = source.ablation, source.front
    assert ablation is not None
    objectives, references = study.objectives, source.record.references
    if ablation.split == "test":
        objectives, references = objectives_on(objectives, "test"), source.record.test_references
    names = ("split", "n_images", "n_corrupted", "cell_share", "marks")
    facts: dict[str, Any] = {name: getattr(ablation, name) for name in names}
    studies = (replace(study, points=(), hypervolume=None, objectives=objectives, **facts),)
    means = arm_means(ablation, objectives)
    ended = f"{ablation.ended} of {count_text(ablation.runs, 'run')} ended"
    return FrontsInfo(
        studies,
        objectives,
        _table(studies, objectives, means, canvas.looks(source)),
        _unchanged(references, objectives),
        runs=f"{ended}, {count_text(ablation.seeds, 'seed')}",
    )


def _unchanged(
    references: Mapping[str, Scores], objectives: tuple[ObjectiveSettings, ...]
) -> dict[str, tuple[float, ...]]:
    """The values of the baseline, and of the same adapted."""
    return {
        name: reference_values(name, scores, objectives)
        for name, scores in references.items()
        if name in NOT_FINETUNED
    }


def _table(
    studies: Sequence[ParetoInfo],
    objectives: Sequence[ObjectiveSettings],
    means: Sequence[Mean] = (),
    looks: Mapping[str, Look] | None = None,
) -> pd.DataFrame:
    """`FrontsInfo.table` of trials and means, whose looks are given by name."""
    import pandas as pd

    metrics = [objective.metric for objective in objectives]
    ends = [f"{metric}{end}" for end in ("", ".low", ".high") for metric in metrics]
    searched = [objective.metric for objective in studies[0].objectives]
    types = dict.fromkeys(["mark", "study", "name", "loss_terms"], "string")
    types |= {"number": "Int64", "seeds": "Int64", "on_front": "boolean"}
    types |= dict.fromkeys([*searched, *(ends if means else metrics)], "float64")
    types |= {"state": "int64", "group": "string", "look": "object", "hover": "string"}
    types["is_point"] = "boolean"
    frames = []
    is_alone = len(studies) == 1
    columns: dict[str, Any]
    study_looks = canvas.study_looks([study.study for study in studies])
    for place, (study, look) in enumerate(zip(studies, study_looks, strict=True)):
        mixtures = [each for each in study.mixtures if each.on_front]
        points = (*study.points, *mixtures, *study.outside)
        marks = ["trial"] * len(study.points) + ["mixture"] * len(mixtures)
        marks += ["outside"] * len(study.outside)
        violating = np.array([each.violation > 0 for each in points])
        is_on_front = np.array([each.on_front for each in points], dtype=bool)
        state = np.where(is_on_front, _ON_FRONT, np.where(violating, _VIOLATING, _DOMINATED))
        state[len(points) - len(study.outside) :] = _OUTSIDE
        columns = {"study": study.study, "state": state, "mark": marks}
        columns |= {name: [getattr(point, name) for point in points] for name in _OF_POINTS}
        columns["number"] = [None if each.is_mixture else each.number for each in points]
        own = [
            point.loss_terms if mark == "trial" else mark
            for point, mark in zip(points, marks, strict=True)
        ]
        shared = {"outside": OUTSIDE_LOOK}
        columns["group"] = [each if is_alone or each in shared else f"{place:03}" for each in own]
        if is_alone:
            shared |= {each: terms_look(each) for each in {*own} - {"mixture", "outside"}}
            shared["mixture"] = MIXTURES_LOOK
        columns["look"] = [shared.get(each, look) for each in own]
        is_light = len(points) <= canvas.MANY
        columns["hover"] = [_hover(study.objectives, point) for point in points] if is_light else ""
        values = as_table([each.values for each in points], len(searched))
        frames.append(pd.DataFrame(columns | dict(zip(searched, values.T, strict=True))))
    if means:
        mean_looks = [(looks or {})[mean.name] for mean in means]
        alike = [(look, mean.is_point) for look, mean in zip(mean_looks, means, strict=True)]
        groups = list(dict.fromkeys(alike))
        columns = {"mark": "mean", "state": _MEAN, "look": mean_looks}
        columns |= {name: [getattr(mean, name) for mean in means] for name in _OF_MEANS}
        columns["group"] = [f"{groups.index(key):03}" for key in alike]
        columns["hover"] = [_hover(objectives, mean) for mean in means]
        values = np.array([mean.values + mean.low + mean.high for mean in means])
        frames.append(pd.DataFrame(columns | dict(zip(ends, values.T, strict=True))))
    typed = [frame.reindex(columns=list(types)).astype(types) for frame in frames]
    return pd.concat(typed, ignore_index=True)


def _hover(objectives: Sequence[ObjectiveSettings], network: ParetoPoint | Mean) -> str:
    """Name, objectives with the ends of their intervals, and parameters: lines of markup."""
    lines = [f"<b>{plain_text(network.name)}</b>"]
    for place, objective in enumerate(objectives):
        metric = objective.metric
        text = f"<b>{metric_text(metric, network.values[place])}</b>"
        if isinstance(network, Mean) and math.isfinite(network.low[place]):
            ends = (metric_text(metric, end[place]) for end in (network.low, network.high))
            text += f", {' to '.join(ends)}"
        lines.append(f"{plain_text(metric_label(metric))}: {text}")
    if isinstance(network, ParetoPoint):
        params = sorted(network.params.items())
        lines += [f"{plain_text(key)}: {plain_text(param_text(value))}" for key, value in params]
    return "<br>".join(lines)


# -- Drawing ---------------------------------------------------------------------------------


class Range(NamedTuple):
    """An axis, and its end that no front comes near."""

    low: float
    high: float
    worst: float


def draw(info: FrontsInfo, sheet: Sheet) -> Figure:
    """The figure; a study may have no trial, then it has the references alone and says so."""
    pairs = list(combinations(range(min(len(info.objectives), MOST_OBJECTIVES)), 2))
    across = min(len(pairs), _ACROSS) if sheet.is_wide else 1
    down = sheet.rows_that_fit(math.ceil(len(pairs) / across), 0.6 * _PANEL_PIXELS)
    pairs = pairs[: down * across]
    height = 170 + down * (_PANEL_PIXELS if down * across > 1 or not sheet.is_wide else 380)
    between = {"horizontal_spacing": 0.25 / across, "vertical_spacing": 70 / (170 + 240 * down)}
    figure = make_subplots(down, across, **between)
    ranges = [_range(info, place) for place in range(len(info.objectives))]
    for panel, (x, y) in enumerate(pairs):
        cell = {"row": panel // across + 1, "col": panel % across + 1}
        for trace in (*_lines(info, ranges, x, y), *_marks(info, x, y), *_references(info, x, y)):
            figure.add_trace(trace, **cell)
        for place, update, add_line, add_area in (
            (x, figure.update_xaxes, figure.add_vline, figure.add_vrect),
            (y, figure.update_yaxes, figure.add_hline, figure.add_hrect),
        ):
            metric, (low, high, _) = info.metrics[place], ranges[place]
            update(metric_axis(metric), range=[low, high], **cell)
            baseline = info.references.get("baseline")
            if baseline is not None and math.isfinite(baseline[place]):  # beyond it is a gain
                line = {"color": FAINT_INK, "width": 1, "dash": "dot"}
                add_line(baseline[place], line=line, **cell)
            for bound in info.bounds:  # the side that violates it is shaded
                if bound.metric == metric and low <= bound.limit <= high:
                    shade = {"fillcolor": FAINT_INK, "opacity": 0.12, "line_width": 0}
                    far = low if bound.is_least else high
                    add_area(bound.limit, far, layer="below", **shade, **cell)
                    add_line(bound.limit, line={"color": INK, "width": 1, "dash": "dash"}, **cell)
    name = "Pareto front" if len(info.studies) == 1 else "Pareto fronts"
    nothing = "no successful run yet" if info.runs else canvas.NO_TRIAL
    return canvas.finish(
        figure,
        sheet,
        title=_title(info),
        facts=_facts(info, ranges, math.comb(len(info.objectives), 2) - len(pairs)),
        meta=canvas.basis_meta(name, *info.studies) | {"key": _key(info)},
        height=height,
        nothing="" if len(info.table) else nothing,
    )


def _range(info: FrontsInfo, place: int) -> Range:
    """An axis with every front, mean and reference inside, and limits that a trial violates.

    A value that is worse than all of these by more than their spread is left outside: one collapsed
    training would compress everything else into a corner.
    """
    objective, means = info.objectives[place], info.means
    metric, is_up = objective.metric, objective.direction == "maximize"
    trials = info.table[info.table["mark"] != "mean"]
    values = trials[metric].to_numpy()
    is_kept = trials["on_front"].to_numpy(bool)
    ends = [values[is_kept] if is_kept.any() else values]
    ends += [means[f"{metric}{end}"].to_numpy() for end in ("", ".low", ".high") if len(means)]
    ends += [np.array([reference[place] for reference in info.references.values()])]
    for bound in info.bounds:
        if bound.metric == metric and any(bound.excess({metric: value}) > 0 for value in values):
            ends.append(np.array([bound.limit]))
    inside = np.concatenate(ends)
    inside = inside[np.isfinite(inside)]
    if not len(inside):
        return Range(0.0, 1.0, 0.0 if is_up else 1.0)
    least = canvas.least_range(metric, float(np.abs(inside).max()))
    low, high, room = inside.min(), inside.max(), max(np.ptp(inside), least)
    near = np.isfinite(values) & (values >= low - room if is_up else values <= high + room)
    low, high = values[near].min(initial=low), values[near].max(initial=high)
    pad = 0.1 * max(high - low, least) + max(0.0, least - (high - low)) / 2
    low, high = float(low - pad), float(high + pad)
    return Range(low, high, low if is_up else high)


def _steps(
    info: FrontsInfo, values: NDArray[np.float64], ranges: Sequence[Range], x: int, y: int
) -> dict[str, list[float]]:
    """The step line of the front of these points in a plane, to the edges of the axes."""
    pair, corner = [info.objectives[x], info.objectives[y]], (ranges[x].worst, ranges[y].worst)
    table = as_table(values, len(info.objectives))
    return dict(zip("xy", staircase(table[:, [x, y]], pair, corner), strict=True))


def _lines(info: FrontsInfo, ranges: Sequence[Range], x: int, y: int) -> Iterator[Scatter]:
    """The networks between baseline and finetuned weights, the fronts."""
    gap = (math.nan,) * len(info.objectives)
    curves = [curve for study in info.studies for curve in study.curves.values()]
    if curves and not info.is_confirmed:
        between = np.array([point for curve in curves for point in (*curve, gap)])
        yield Scatter(
            x=between[:, x].tolist(),
            y=between[:, y].tolist(),
            name="Weights between",
            mode="lines+markers",
            line={"color": FAINT_INK, "width": 0.75},
            marker={"color": FAINT_INK, "size": 3},
            hoverinfo="name",
        )
    if info.runs:
        return
    fronts, looks = [study.counted for study in info.studies], [Look("Front", INK, "circle")]
    if info.is_confirmed:
        means = info.means
        fronts = [means[info.metrics][means["is_point"]].to_numpy()]
    if len(fronts) > 1:
        looks = canvas.study_looks([study.study for study in info.studies])
    for values, look in zip(fronts, looks, strict=True):
        steps = _steps(info, values, ranges, x, y)
        if steps["x"]:
            yield Scatter(
                **steps,
                name=plain_text(look.label),
                mode="lines",
                # Simplified, low steps would become slopes.
                line={"color": look.color, "width": 2, "dash": look.dash, "simplify": False},
                hoverinfo="skip",
                legendgroup=look.label,
                showlegend=None if len(fronts) == 1 else False,
            )


def _marks(info: FrontsInfo, x: int, y: int) -> Iterator[Any]:
    """Trials off the front, those that violate a constraint, the front; means with intervals."""
    marks, front = info.marks, info.studies[0].front
    is_light = len(info.table) <= canvas.MANY
    is_numbered = marks["name"] == info.taken
    if len(info.means if info.is_confirmed else front) <= _LABELLED:
        is_numbered |= marks["state"] >= _ON_FRONT
    numbers = marks["number"].astype("string")
    right, up = maximised([info.objectives[x], info.objectives[y]])
    for state in (_OUTSIDE, _DOMINATED, _VIOLATING, _ON_FRONT, _MEAN):
        for group, rows in marks[marks["state"] == state].groupby("group"):
            look, is_best = rows["look"].iloc[0], state >= _ON_FRONT or state == _OUTSIDE
            points = rows[[info.metrics[x], info.metrics[y]]].to_numpy()
            name = plain_text(shortened(look.label, 28))
            count = (marks["group"] == group).sum()
            mark = marker(look, 11 if is_light else 7, on_front=is_best, hollow=state == _VIOLATING)
            style: dict[str, Any] = {"mode": "markers", "legendgroup": look.label, "marker": mark}
            style["name"] = name if state == _MEAN else f"{name} ({count})"
            style["hovertemplate"] = "Trial %{customdata}: %{x:.4g}, %{y:.4g}<extra></extra>"
            if rows["number"].notna().all():
                style["customdata"] = rows["number"].to_numpy(np.int32)
            if is_light:
                style |= {"hovertext": rows["hover"].tolist(), "hovertemplate": _HOVER}
            else:
                points = canvas.single_precision(points)
            if state == _MEAN:
                for error, metric in (("error_x", info.metrics[x]), ("error_y", info.metrics[y])):
                    ends = (rows[f"{metric}{end}"].to_numpy() for end in (".low", "", ".high"))
                    style[error] = canvas.error_bars(*ends, color=look.color, thickness=1)
            texts = numbers[rows.index].where(is_numbered[rows.index], "").fillna("").tolist()
            if len(info.studies) == 1 and any(texts):
                # On the side that a front leaves free: the better one of both axes.
                side = f"{'top' if up else 'bottom'} {'right' if right else 'left'}"
                style |= {"mode": "markers+text", "textposition": side}
                style |= {"textfont": {"size": SMALL_SIZE, "color": INK}}
                if is_light:
                    style["cliponaxis"] = False  # the best stand at the edge
                style["text"] = texts
            yield canvas.trace_type(len(info.table))(style, x=points[:, 0], y=points[:, 1])


def _references(info: FrontsInfo, x: int, y: int) -> Iterator[Scatter]:
    gap = (math.nan,) * len(info.objectives)
    for name, (symbol, size) in _REFERENCES.items():
        values, label = info.references.get(name), network_label(name)
        if values is not None and math.isfinite(values[x]) and math.isfinite(values[y]):
            yield Scatter(
                x=[values[x]],
                y=[values[y]],
                mode="markers",
                name=label,
                legendrank=1001,
                marker={"color": INK, "symbol": symbol, "size": size},
                hovertext=[_hover(info.objectives, Mean(label, None, values, gap, gap, 0))],
                hoverinfo="text",
            )


# -- Texts -----------------------------------------------------------------------------------


def _title(info: FrontsInfo) -> str:
    """What the network that the answer names gains and loses; else the question."""
    names = [look.label for look in canvas.study_looks([study.study for study in info.studies])]
    if info.runs:
        return f"What does robustness cost? Arms of {names[0]}"
    shown = info.means if info.is_confirmed else info.table
    taken = shown[shown["name"] == info.taken]
    baseline = info.references.get("baseline")
    if not len(taken) or baseline is None:
        return canvas.several_title("Front" if len(names) == 1 else "Fronts", names)
    gained = 100 * (taken[info.metrics].iloc[0].to_numpy(float) - np.array(baseline))
    gains = dict(zip(map(short_metric, info.metrics), gained.tolist(), strict=True))
    robust = next(name for name in gains if name.startswith("robust"))
    clean = "clean" if "clean" in gains else robust.removeprefix("robust_")
    joined = "for" if gains[robust] > 0 > gains[clean] else "and"
    texts = (f"{signed_text(gains[one], 1)} {one.replace('_', ' ')}" for one in (robust, clean))
    text = f" {joined} ".join(texts)
    return f"{info.taken.capitalize()}: {text}{shown_if(info.is_confirmed, ' (test)')}"


def _facts(info: FrontsInfo, ranges: Sequence[Range], left_out: int) -> list[str]:
    """Counts, data and seeds; what the marks are; what is outside the axes."""
    studies, first, facts = info.studies, info.studies[0], canvas.several_facts(info.studies)
    facts[0] = info.runs or facts[0]
    volume = hypervolume_text(first.hypervolume, first.objectives, first.reference_point)
    facts += [f"hypervolume {volume}"] if len(studies) == 1 and volume else []
    facts += canvas.several_marks(studies)
    if info.is_confirmed:
        facts.append("axes: test images")
    if len(info.means):
        fewest, most = info.means["seeds"].min(), info.means["seeds"].max()
        over = f"{fewest}" if fewest == most else f"{fewest} to {most}"
        facts.append(f"means over {over} seeds, bars: 95 % interval")
    elif not (info.table["state"] == _ON_FRONT).all():
        violating = any(study.violating for study in studies)
        facts.append("faint: dominated" + shown_if(violating, "; hollow: violates a constraint"))
    trials = info.table[info.table["mark"] == "trial"]
    if info.is_confirmed:  # the axes are not those of the trials
        trials = trials[:0]
    values = trials[info.metrics].to_numpy()
    finite = np.isfinite(values).all(axis=1)
    low, high, _ = np.array(ranges).T
    is_outside = ((values < low) | (values > high)).any(axis=1)
    counts = {
        "pairs of objectives not shown": left_out,
        "trials outside the axes": (is_outside & finite).sum(),
        "trials with a value that is not a number": (~finite).sum(),
    }
    return facts + [f"{what}: {count}" for what, count in counts.items() if count]


def _key(info: FrontsInfo) -> str:
    """What bars and lines are, in short sentences."""
    has_front = len(info.studies) == 1 and len(info.objectives) == 2 and not info.runs
    sentences = (
        shown_if(len(info.means), "Bars: 95 % intervals."),
        shown_if(has_front, "Black line: no other is better in both."),
        shown_if("baseline" in info.references, "Dotted: before finetuning."),
    )
    return " ".join(filter(None, sentences))


FIGURE = FigureKind(
    name="pareto",
    section="cost",
    title="What does robustness cost?",
    says="Each mark is a trial, an average of trials, or the mean of an arm; no trial or average "
    "lies beyond the step line.",
    read=info_of,
    draw=draw,
    several=True,
)
