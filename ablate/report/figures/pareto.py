"""What does robustness cost?  Robust against clean accuracy of every complete trial.

Colour and mark are the loss terms, or the study where there are several; a trial that another one
dominates is faint, one that violates a constraint hollow.  Once trials were confirmed, the axes are
those of the test images: marks are means over new seeds with their intervals, and the scores of the
search, on other images, grey dots.  An ablation has the means of its arms.  Three searches or more
differ as the band shows: it lies between the front that the best of them attains and the one that
all attain.  More than two objectives have a panel a pair.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain, combinations
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from plotly.colors import sample_colorscale
from plotly.graph_objects import Figure, Scatter, Scattergl
from plotly.subplots import make_subplots

from ablate.ablation.answer import best_number
from ablate.ablation.means import Mean, arm_means, confirmed_means
from ablate.ablation.study_source import StudySource
from ablate.analysis.drawn import MOST_OBJECTIVES
from ablate.analysis.features import trial_features
from ablate.analysis.frame import typed_frame
from ablate.analysis.hypervolume import as_table, maximised, staircase
from ablate.analysis.importance import network_order
from ablate.analysis.objectives import is_accuracy, objectives_on, shared_objectives, short_metric
from ablate.analysis.pareto import (
    ParetoInfo,
    ParetoPoint,
    Point,
    reference_values,
    shared_references,
)
from ablate.errors import NothingToDrawError, ParameterError
from ablate.files.shown import count_text, shown_if
from ablate.ledger.record import ADAPTED, NOT_FINETUNED, StudyRecord
from ablate.report import numbers, style
from ablate.report.figures import canvas
from ablate.report.figures.canvas import Sheet, marker, metric_axis
from ablate.report.figures.figure import FigureKind, FigureOptions
from ablate.report.numbers import plain_text, shortened
from ablate.report.style import FAINT_INK, INK, Look, terms_look
from ablate.report.words import network_label
from ablate.study.keys import meant_keys
from ablate.study.scores import Bound, Scores
from ablate.study.settings import ObjectiveSettings

if TYPE_CHECKING:
    import pandas as pd

_REFERENCES = {
    "baseline": ("star", 13),
    ADAPTED: ("star-open", 13),
    "plain": ("x-open", 9),
}
"""Mark and size."""
_LABELLED = 8
"""Up to so many trials on a front, each has its number beside it."""
_ACROSS, _PANEL_PIXELS = 3, 300
Range = tuple[float, float, float]
"""Ends of an axis, and the one that no front comes near."""


@dataclass(frozen=True)
class Coloring:
    """A searched parameter that colours the trials: its values by trial, NaN without one, as they
    are, as decimal logarithms, or as places of categories; and plotly's axis of colours."""

    label: str
    values: NDArray[np.float64]
    axis: Mapping[str, Any]


@dataclass(frozen=True)
class FrontsInfo:
    """Searches with the same objectives, or one ablation, in the planes of objectives.

    Attributes:
        studies: with all complete trials; of an ablation none.
        objectives: of the axes: on the test images once the trials of one search were confirmed.
        references, bounds: on the images of the axes, those that are the same for all studies.
        means: confirmed trials and the arms beside them, or an ablation's arms; looks: of each.
        runs: of an ablation, how many have ended.
        taken: number of the trial that the answer of a search names first.
        surfaces: what the "best" and what all ("worst") of several searches attain: corners
            `[n, 2]`.
        stopped: trials that were scored at a rung as after the last epoch, by "trial 7 after epoch
            1", if asked for.
    """

    studies: tuple[ParetoInfo, ...]
    objectives: tuple[ObjectiveSettings, ...]
    references: Mapping[str, tuple[float, ...]]
    bounds: tuple[Bound, ...] = ()
    means: tuple[Mean, ...] = ()
    looks: Mapping[str, Look] = field(default_factory=dict)
    runs: str = ""
    taken: int | None = None
    surfaces: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    stopped: Mapping[str, ParetoPoint] = field(default_factory=dict)
    coloring: Coloring | None = None

    @property
    def is_confirmed(self) -> bool:
        """Whether the axes are not those of the search's scores."""
        return bool(self.means) and not self.runs

    def frame(self) -> pd.DataFrame:
        """One row a mark.

        Columns: mark ("trial", "mean", "stopped"), study, name, loss_terms (text), number, seeds
        (Int64), on_front (boolean), color (float64, as in `Coloring`), and a float64 column an
        objective, with .low and .high of means.
        """
        metrics = [one.metric for one in self.objectives]
        ends = [f"{metric}{end}" for end in ("", ".low", ".high") for metric in metrics]
        searched = [one.metric for one in self.studies[0].objectives]
        types = dict.fromkeys(["mark", "study", "name", "loss_terms"], "string")
        types |= {"number": "Int64", "seeds": "Int64", "on_front": "boolean", "color": "float64"}
        types |= dict.fromkeys([*searched, *(ends if self.means else metrics)], "float64")
        rows: list[dict[str, Any]] = []
        for study in self.studies:
            points = [("trial", one.name, one) for one in study.points]
            for mark, name, one in points + [("stopped", *of) for of in self.stopped.items()]:
                row = {"mark": mark, "study": study.study, "name": name, "number": one.number}
                row |= {"loss_terms": one.loss_terms, "on_front": one.on_front}
                rows.append(row | dict(zip(searched, one.values, strict=True)))
        for row, color in zip(rows, self.coloring.values if self.coloring else (), strict=False):
            row["color"] = color
        for mean in self.means:
            row = {"mark": "mean", "name": mean.name, "number": mean.number, "seeds": mean.seeds}
            values = mean.values + mean.low + mean.high
            rows.append(row | dict(zip(ends, values, strict=True)))
        return typed_frame(types, [tuple(row.get(name) for name in types) for row in rows])


# -- Reading ---------------------------------------------------------------------------------


def info_of(sources: Sequence[StudySource], options: FigureOptions) -> FrontsInfo:
    """Searches with the same objectives, or one ablation.

    Raises:
        NothingToDrawError: for one objective, an ablation among others, and an option of several
            studies or of an ablation.
        ParameterError: if objectives differ, or the parameter of `color` is unknown.
    """
    record, source, several = sources[0].record, sources[0], len(sources) > 1
    objectives = shared_objectives([one.record for one in sources])
    if len(objectives) < 2:
        rule, fix = "needs two objectives, got one", "Draw history."
        raise NothingToDrawError(record.name, "pareto", rule, fix)
    studies = tuple(one.front for one in sources)
    if several or not source.is_search:
        option = "`rungs`" if options.rungs else "`color`" if options.color else ""
        is_mixed = several and not all(one.is_search for one in sources)
        if option or is_mixed:
            got = f"{len(sources)} studies" if several else "an ablation"
            reason = f"with {option or 'other studies'} needs one search, got {got}"
            raise NothingToDrawError(record.name, "pareto", reason, "Draw one at a time.")
        return _of_several(studies) if several else _of_arms(source)
    taken = best_number(record, studies[0])
    info = FrontsInfo(studies, objectives, studies[0].references, studies[0].bounds, taken=taken)
    if options.rungs:
        info = replace(info, stopped=_stopped(record))
    if options.color:
        return replace(info, coloring=_coloring(options.color, record, studies[0]))
    return _confirmed(info, source)


def _of_several(studies: tuple[ParetoInfo, ...]) -> FrontsInfo:
    objectives = studies[0].objectives
    kept = [study.counted[np.isfinite(study.counted).all(axis=1)] for study in studies]
    return FrontsInfo(
        studies,
        objectives,
        shared_references(studies),
        bounds=studies[0].bounds if len({study.bounds for study in studies}) == 1 else (),
        # The lines of two fronts are their own band.
        surfaces=surfaces(kept, objectives) if len(studies) > 2 and len(objectives) == 2 else {},
    )


def _confirmed(info: FrontsInfo, source: StudySource) -> FrontsInfo:
    """On the test images, once trials were confirmed there; the limits of constraints, which are
    those of the validation images, are left out."""
    means = confirmed_means(source)
    if source.confirming is None or source.confirmed is None or not means:
        return info
    looks = {**canvas.looks(source.confirmed)}
    looks |= {one.name: terms_look(one.loss_terms) for one in info.studies[0].points}
    objectives = objectives_on(info.objectives, "test")
    references = _unchanged(source.confirming.test_references, objectives)
    means = tuple(mean for mean in means if mean.name in looks)
    return replace(
        info, objectives=objectives, references=references, bounds=(), means=means, looks=looks
    )


def _stopped(record: StudyRecord) -> dict[str, ParetoPoint]:
    """Those with all objectives on all images."""
    found = {}
    for row in record.rows:
        if row.state == "PRUNED" and row.rungs:
            rung = row.rungs[-1]
            values = tuple(rung.scores.get(of.metric, math.nan) for of in record.study.objectives)
            if not rung.images and all(map(math.isfinite, values)):
                point, terms = Point(row.number), record.loss_terms(row)
                name = f"trial {row.number} after epoch {rung.epoch}"
                found[name] = ParetoPoint(point, values, {}, None, terms, on_front=False)
    return found


def _of_arms(source: StudySource) -> FrontsInfo:
    """The arms of an ablation: on the test images if it is a confirmation."""
    ablation, study = source.ablation, source.front
    assert ablation is not None
    objectives, references = study.objectives, source.record.references
    if ablation.split == "test":
        objectives, references = objectives_on(objectives, "test"), source.record.test_references
    names = ("split", "n_images", "n_corrupted", "marks")
    facts: dict[str, Any] = {name: getattr(ablation, name) for name in names}
    facts |= {"points": (), "hypervolume": None, "objectives": objectives}
    seeds = count_text(ablation.seeds, "seed")
    return FrontsInfo(
        (replace(study, **facts),),
        objectives,
        _unchanged(references, objectives),
        means=arm_means(ablation, objectives),
        looks=canvas.looks(source),
        runs=f"{ablation.ended} of {count_text(ablation.runs, 'run')} ended, {seeds}",
    )


def _unchanged(
    references: Mapping[str, Scores], objectives: tuple[ObjectiveSettings, ...]
) -> dict[str, tuple[float, ...]]:
    """The values of the baseline, and of the same adapted."""
    kept = {name: scores for name, scores in references.items() if name in NOT_FINETUNED}
    return {name: reference_values(name, scores, objectives) for name, scores in kept.items()}


def surfaces(
    sets: Sequence[NDArray[np.float64]], objectives: Sequence[ObjectiveSettings]
) -> dict[str, NDArray[np.float64]]:
    """What the best and what all of these sets attain in the plane of two objectives.

    Source: Grunert da Fonseca, Fonseca and Hall 2001, computed by moocore (exact).

    Args:
        sets: `[points, 2]` each, finite; one without points attains nothing, but still counts.

    Returns:
        The corners of both borders; of fewer than two sets, or without any value, nothing.
    """
    full = [one for one in sets if len(one)]
    if len(sets) < 2 or not full:
        return {}
    import moocore

    signs = np.where(maximised(objectives), -1.0, 1.0)
    owner = np.repeat(np.arange(len(full)), [len(values) for values in full])
    best, worst = (
        moocore.eaf(np.concatenate(full) * signs, owner, percentiles=[percent])[:, :2] * signs
        for percent in (100.0 / len(full), 100.0)
    )
    return {"best": best, "worst": worst if len(full) == len(sets) else np.empty((0, 2))}


def _coloring(key: str, record: StudyRecord, study: ParetoInfo) -> Coloring:
    params = [point.params for point in study.points]
    features = [one for one in trial_features(params, record.study.space) if one.varies]
    known = list(dict.fromkeys(one.name for one in features))
    if not known:
        reason = "with `color` needs complete trials that differ in a parameter, got none"
        raise NothingToDrawError(record.name, "pareto", reason, "Leave `color` out.")
    meant = meant_keys(key.replace("/", "."), known)
    if len(meant) != 1:
        names = ", ".join(known)
        raise ParameterError(f"`color`: must be one of {names}, got {key}. Name one of them.")
    (name,) = meant
    feature = next(one for one in features if one.name == name)
    values, texts = feature.values, list(feature.choices)
    if feature.kind == "flag" and feature.part:
        chosen = [of_trial.get(name) or () for of_trial in params]
        texts, name = sorted({*chain(*chosen)}, key=network_order), f"deepest of {name}"
        values = np.array([max(map(texts.index, taps), default=math.nan) for taps in chosen])
    if texts:
        places, count = np.arange(float(len(texts))).tolist(), len(texts)
        colors = sample_colorscale(style.SEQUENTIAL, max(count, 2))
        steps = [((at + end) / count, colors[at]) for at in range(count) for end in (0, 1)]
        axis = {"colorscale": steps, "cmin": -0.5, "cmax": count - 0.5}
    else:
        places = np.linspace(np.nanmin(values), np.nanmax(values), 5).tolist()
        axis = {"colorscale": style.SEQUENTIAL, "cmin": places[0], "cmax": places[-1]}
        texts = [f"{10.0**at if feature.kind == 'log' else at:.2g}" for at in places]
    title = {"text": plain_text(".".join(name.split(".")[-2:])), "side": "right"}
    bar = {"title": title, "thickness": 12, "tickfont": {"size": style.SMALL_SIZE}}
    bar |= {"tickvals": places, "ticktext": [plain_text(shortened(one, 16)) for one in texts]}
    return Coloring(name, values, axis | {"colorbar": bar})


# -- Drawing ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Panel:
    """The plane of two objectives; where it is roomy, names in the legend have counts."""

    info: FrontsInfo
    x: int
    y: int
    ranges: Sequence[Range]
    roomy: bool

    @property
    def first(self) -> bool:
        return (self.x, self.y) == (0, 1)

    def at(self, values: ArrayLike) -> dict[str, Any]:
        """x and y of points with all objectives."""
        table = as_table(values, len(self.ranges))
        return {"x": table[:, self.x].tolist(), "y": table[:, self.y].tolist()}

    def steps(self, values: ArrayLike) -> dict[str, Any]:
        """The step line of the front of these points, to the edges of the axes."""
        pair = [self.info.objectives[at] for at in (self.x, self.y)]
        corner = self.ranges[self.x][2], self.ranges[self.y][2]
        table = as_table(values, len(self.ranges))
        return dict(zip("xy", staircase(table[:, [self.x, self.y]], pair, corner), strict=True))

    def trace(self, at: Mapping[str, Any], name: str, **look: Any) -> Any:
        usual = {"mode": "markers", "hoverinfo": "text", "showlegend": self.first}
        if look.get("mode") == "lines":
            look["line"] = {"simplify": False, **look["line"]}  # or low steps become slopes
            usual["hoverinfo"] = "skip"
        return Scatter(**at, name=name, **usual | look)

    def numbered(self, trials: Sequence[ParetoPoint | Mean]) -> dict[str, Any]:
        """Numbers beside the trials of a short front, else that of the title, on the side that the
        front leaves free: the better one of both axes."""
        info = self.info
        is_short = len(info.means or info.studies[0].front) <= _LABELLED
        named = {one.number for one in trials if is_short or one.number == info.taken} - {None}
        texts = [f"{one.number}" if one.number in named else "" for one in trials]
        if not any(texts) or len(info.studies) > 1 or not self.first:
            return {}
        right, up = (info.objectives[at].direction == "maximize" for at in (self.x, self.y))
        side = f"{'top' if up else 'bottom'} {'right' if right else 'left'}"
        font = {"size": style.SMALL_SIZE, "color": INK}
        look = {"mode": "markers+text", "text": texts, "textposition": side, "textfont": font}
        return look | {"cliponaxis": False}  # the best stand at the edge


def draw(info: FrontsInfo, sheet: Sheet) -> Figure:
    """The figure; a study may have no trial, then it has the references alone and says so."""
    pairs = list(combinations(range(min(len(info.objectives), MOST_OBJECTIVES)), 2))
    across = min(len(pairs), _ACROSS) if sheet.is_wide else 1
    rows = canvas.rows_that_fit(sheet, math.ceil(len(pairs) / across), 0.6 * _PANEL_PIXELS)
    height = 170 + rows * (_PANEL_PIXELS if len(pairs) > 1 or not sheet.is_wide else 380)
    gaps = {"horizontal_spacing": 0.25 / across, "vertical_spacing": 70 / (sheet.height or height)}
    figure = make_subplots(rows, across, **gaps if len(pairs) > 1 else {})
    ranges = _ranges(info, 0.08 if sheet.height is None else 0.14)
    for place, (x, y) in enumerate(pairs[: rows * across]):
        panel = _Panel(info, x, y, ranges, sheet.height is None)
        cell = {"row": place // across + 1, "col": place % across + 1}
        traces = [*_lines(panel), *_trials(panel), *_over(panel)]
        figure.add_traces(traces, rows=cell["row"], cols=cell["col"])
        for update, at in ((figure.update_xaxes, x), (figure.update_yaxes, y)):
            update(metric_axis(info.objectives[at].metric) | {"range": ranges[at][:2]}, **cell)
        _add_limits(figure, panel, cell)
    if info.coloring is not None:
        figure.update_layout(coloraxis=info.coloring.axis)
    is_empty = not info.means and not any(study.points for study in info.studies)
    left_out = math.comb(len(info.objectives), 2) - min(rows * across, len(pairs))
    return canvas.finish(
        figure,
        sheet,
        title=_title(info),
        facts=_facts(info, ranges, left_out),
        meta=canvas.basis_meta("Pareto front" + shown_if(len(info.studies) > 1, "s"), *info.studies)
        | {"key": _key(info)},
        height=height,
        nothing=("no successful run yet" if info.runs else canvas.NO_TRIAL) * is_empty,
    )


def _ranges(info: FrontsInfo, pad: float) -> list[Range]:
    """Axes with every front, mean and reference inside, and limits that a trial violates.

    A value that is worse than all of these by more than their spread is left outside: one collapsed
    training would compress everything else into a corner.
    """
    trials = np.concatenate([study.values for study in info.studies])
    on_front = np.concatenate([study.is_on_front for study in info.studies])
    kept = trials[on_front if on_front.any() else slice(None)]
    if info.means:
        trials, kept = trials[:0], np.array([end for one in info.means for end in one[2:5]])
    references = as_table([*info.references.values()], len(info.objectives))
    kept, ranges = np.concatenate([kept, references, *info.surfaces.values()]), []
    for objective, inside, values in zip(info.objectives, kept.T, trials.T, strict=True):
        metric, is_up = objective.metric, objective.direction == "maximize"
        own = [bound for bound in info.bounds if bound.metric == metric]
        violated = [one for one in own if any(one.excess({metric: value}) > 0 for value in values)]
        shown = np.array([*inside[np.isfinite(inside)], *(one.limit for one in violated)])
        if not len(shown):
            ranges.append((0.0, 1.0, 0.0 if is_up else 1.0))
            continue
        # Nearly equal values are not blown up, or noise would look like a trend.
        least = 0.02 if is_accuracy(metric) else 0.1 * float(np.abs(shown).max()) or 1.0
        low, high, room = shown.min(), shown.max(), max(np.ptp(shown), least)
        near = np.isfinite(values) & (values >= low - room if is_up else values <= high + room)
        low, high = values[near].min(initial=low), values[near].max(initial=high)
        wider = pad * max(high - low, least) + max(0.0, least - (high - low)) / 2
        low, high = float(low - wider), float(high + wider)
        ranges.append((low, high, low if is_up else high))
    return ranges


def _outside(values: ArrayLike, ranges: Sequence[Range]) -> int:
    """How many points with all objectives are not within all axes."""
    table, (low, high, _) = as_table(values, len(ranges)), np.array(ranges).T
    outside = ((table < low) | (table > high)).any(axis=1) & np.isfinite(table).all(axis=1)
    return int(outside.sum())


def _lines(panel: _Panel) -> list[Any]:
    """The band, the networks between baseline and finetuned weights, the fronts."""
    info, traces = panel.info, list[Any]()
    if info.surfaces:
        best, worst = (panel.steps(info.surfaces[name]) for name in ("best", "worst"))
        if not worst["x"]:  # no region is attained by all
            worst = panel.at([end for _, _, end in panel.ranges])
        band = {way: best[way] + worst[way][::-1] for way in "xy"}
        # The opacity is the trace's: the dark form exchanges colours by their names.
        look = {"mode": "none", "fill": "toself", "fillcolor": style.SERIES[0], "opacity": 0.15}
        traces.append(panel.trace(band, "Best to worst", **look))
    between, gap = list[Any](), [math.nan] * len(panel.ranges)
    for study in info.studies:
        between += [at for curve in study.curves.values() for at in (*curve, gap)]
    if between and not info.is_confirmed:
        look = {"line": {"color": FAINT_INK, "width": 0.75}, "hoverinfo": "name"}
        look |= {"mode": "lines+markers", "marker": {"color": FAINT_INK, "size": 3}}
        traces.append(panel.trace(panel.at(between), "Weights between", **look))
    if info.runs:
        return traces
    fronts, looks = [study.counted for study in info.studies], [Look("Front", INK, "circle")]
    if info.is_confirmed:
        fronts = [np.array([one.values for one in info.means if one.number is not None])]
    if len(fronts) > 1:
        looks = canvas.study_looks([study.study for study in info.studies])
    for values, own in zip(fronts, looks, strict=True):
        line = {"color": own.color, "width": 2, "dash": own.dash}
        trace = panel.trace(panel.steps(values), plain_text(own.label), mode="lines", line=line)
        trace.legendgroup = own.label
        trace.showlegend &= len(fronts) == 1 and bool(trace.x)
        traces.append(trace)
    return traces


def _trials(panel: _Panel) -> list[Any]:
    """Stopped trials, then those off the front, those that violate a constraint, the front."""
    info, traces = panel.info, list[Any]()
    if info.is_confirmed:  # the axes are of test images, the search's own scores are not
        return traces
    several = canvas.study_looks([study.study for study in info.studies])
    if info.stopped:
        values, stopped = [one.values for one in info.stopped.values()], [*info.stopped.values()]
        told = {"hovertext": [*info.stopped], "customdata": [one.number for one in stopped]}
        told["marker"] = {"symbol": "circle-open", "size": 5, "color": FAINT_INK}
        traces.append(panel.trace(panel.at(values), "Stopped early", **told))
    for state in range(3):
        for study, own in zip(info.studies, several, strict=True):
            is_shown = np.isfinite(study.values).all(axis=1)
            if info.coloring is not None:
                is_shown &= np.isfinite(info.coloring.values)
            terms = np.array(["" if info.coloring else point.loss_terms for point in study.points])
            states = 2 * study.is_on_front + [point.violation > 0 for point in study.points]
            for one in sorted({*terms}) if len(several) == 1 else [None]:
                alike = is_shown if one is None else is_shown & (terms == one)
                look = own if one is None else terms_look(one)
                if (chosen := alike & (states == state)).any():
                    trace = _trial_trace(panel, study, look, chosen, state)
                    trace.name = plain_text(look.label) + shown_if(panel.roomy, f" ({alike.sum()})")
                    trace.update(legendgroup=look.label, showlegend=False)
                    traces.append(trace)
    for trace in {trace.name: trace for trace in traces}.values():
        trace.showlegend = panel.first and info.coloring is None
    return traces


def _trial_trace(
    panel: _Panel, study: ParetoInfo, look: Look, chosen: NDArray[np.bool_], state: int
) -> Any:
    """Args: chosen: by trial; state: 0 off the front, 1 violating a constraint, 2 on the front."""
    info, on_front = panel.info, state == 2
    count = sum(len(of.points) for of in info.studies)
    size = 11 if count <= canvas.MANY else 8 if on_front else 6
    mark = marker(look, size, on_front=on_front, hollow=state == 1)
    if info.coloring is not None:
        mark |= {"color": info.coloring.values[chosen], "coloraxis": "coloraxis"}
        mark["line"] = {"color": INK if on_front else FAINT_INK, "width": 1.5 if on_front else 0.5}
    points, table = [study.points[at] for at in np.flatnonzero(chosen)], study.values[chosen]
    if count > canvas.MANY:
        return Scattergl(
            x=canvas.single_precision(table[:, panel.x]),
            y=canvas.single_precision(table[:, panel.y]),
            mode="markers",
            marker=mark,
            customdata=np.array([point.number for point in points], dtype=np.int32),
            hovertemplate="Trial %{customdata}: %{x:.4g}, %{y:.4g}",
        )
    told: dict[str, Any] = {"customdata": [point.number for point in points]}
    told["hovertext"] = [_hover(info, one.name, one.values, params=one.params) for one in points]
    told |= panel.numbered(points if on_front else ())
    return panel.trace(panel.at(table), "", marker=mark, **told)


def _over(panel: _Panel) -> list[Any]:
    """Means with their intervals, and references."""
    info, traces, alike = panel.info, list[Any](), dict[tuple[Look, bool], list[Mean]]()
    for mean in info.means:
        alike.setdefault((info.looks[mean.name], mean.number is not None), []).append(mean)
    for (look, is_trial), means in alike.items():
        told: dict[str, Any] = {"customdata": [one.number for one in means] if is_trial else None}
        for way, place in (("error_x", panel.x), ("error_y", panel.y)):
            middle, low, high = np.array([mean[2:5] for mean in means])[:, :, place].T
            above, below = np.nan_to_num(high - middle), np.nan_to_num(middle - low)
            bar = {"type": "data", "array": above.tolist(), "arrayminus": below.tolist()}
            told[way] = bar | {"color": look.color, "thickness": 1, "width": 0}
        told["hovertext"] = [_hover(info, one.name, one.values, one.low, one.high) for one in means]
        told |= panel.numbered(means)
        name = plain_text(shortened(look.label, 24))
        at = panel.at([mean.values for mean in means])
        traces.append(panel.trace(at, name, marker=marker(look, 11), **told))
    for name, (symbol, size) in _REFERENCES.items():
        label = network_label(name)
        values = info.references.get(name, (math.nan,) * len(panel.ranges))
        if math.isfinite(values[panel.x]) and math.isfinite(values[panel.y]):
            mark = {"color": INK, "symbol": symbol, "size": size}
            told = {"hovertext": [_hover(info, label, values)], "legendrank": 1001}
            traces.append(panel.trace(panel.at(values), label, marker=mark, **told))
    return traces


def _add_limits(figure: Figure, panel: _Panel, cell: Mapping[str, int]) -> None:
    """Dotted lines through the baseline, beyond which is a gain; a side that violates a constraint
    is shaded, if its limit is within the axes."""
    for place, line, rectangle in (
        (panel.x, figure.add_vline, figure.add_vrect),
        (panel.y, figure.add_hline, figure.add_hrect),
    ):
        (low, high, _), metric = panel.ranges[place], panel.info.objectives[place].metric
        baseline = panel.info.references.get("baseline", (math.nan,) * len(panel.ranges))[place]
        if math.isfinite(baseline):
            line(baseline, line={"color": FAINT_INK, "width": 1, "dash": "dot"}, **cell)
        for bound in panel.info.bounds:
            if bound.metric == metric and low <= bound.limit <= high:
                shade = {"fillcolor": FAINT_INK, "opacity": 0.12, "line_width": 0, "layer": "below"}
                rectangle(bound.limit, low if bound.is_least else high, **shade, **cell)
                line(bound.limit, line={"color": INK, "width": 1, "dash": "dash"}, **cell)


# -- Texts -----------------------------------------------------------------------------------


def _title(info: FrontsInfo) -> str:
    """What the trial that the answer names gains and loses; else the question."""
    names = [look.label for look in canvas.study_looks([study.study for study in info.studies])]
    if info.coloring is not None:
        return f"{info.coloring.label} along the {canvas.several_title('front', names)}"
    if info.runs:
        return f"What does robustness cost? Arms of {names[0]}"
    points: Sequence[Any] = info.means if info.is_confirmed else info.studies[0].points
    is_named = info.taken is not None
    taken = [one.values for one in points if is_named and one.number == info.taken]
    if not taken or "baseline" not in info.references:
        return canvas.several_title("Fronts" if len(names) > 1 else "Front", names)
    pairs = zip(taken[0], info.references["baseline"], strict=True)
    names = [short_metric(one.metric) for one in info.objectives]
    gains = dict(zip(names, (100 * (after - before) for after, before in pairs), strict=True))
    robust = next(name for name in names if name.startswith("robust"))
    gained, lost = (numbers.signed_text(gains[name], 1) for name in (robust, "clean"))
    joined = "for" if gains[robust] > 0 > gains["clean"] else "and"
    images = shown_if(info.is_confirmed, " (test)")
    return f"Trial {info.taken}: {gained} {robust} {joined} {lost} clean{images}"


def _facts(info: FrontsInfo, ranges: Sequence[Range], left_out: int) -> list[str]:
    """Counts, data and seeds; what the marks are; what is outside the axes."""
    studies, first, facts = info.studies, info.studies[0], canvas.several_facts(info.studies)
    facts[0] = info.runs or facts[0]
    volume = numbers.hypervolume_text(first.hypervolume, first.objectives, first.reference_point)
    facts += [f"hypervolume {volume}"] if len(studies) == 1 and bool(volume) else []
    facts += canvas.several_marks(studies)
    if info.is_confirmed:
        facts.append("axes: test images")
    if info.means:
        seeds = sorted({mean.seeds for mean in info.means})
        over = f"{seeds[0]}" + shown_if(len(seeds) > 1, f" to {seeds[-1]}")
        facts.append(f"means over {over} seeds, bars: 95 % interval")
    elif not all(study.is_on_front.all() for study in studies):
        violating = any(study.violating for study in studies)
        facts.append("faint: dominated" + shown_if(violating, "; hollow: violates a constraint"))
    if info.surfaces:
        facts.append(f"band: between what the best and what all of {len(studies)} searches reach")
    shown = [] if info.is_confirmed else [study.values for study in studies]
    values = np.concatenate([np.empty((0, len(info.objectives))), *shown])
    stopped = [of.values for of in info.stopped.values()]
    counts = {
        "pairs of objectives not shown": left_out,
        "trials outside the axes": _outside(values, ranges) + _outside(stopped, ranges),
        "trials with a value that is not a number": (~np.isfinite(values).all(axis=1)).sum(),
        "trials without this parameter, not shown": (
            np.isnan(info.coloring.values).sum() if info.coloring else 0
        ),
    }
    return facts + [f"{what}: {count}" for what, count in counts.items() if count]


def _key(info: FrontsInfo) -> str:
    """What bars and lines are, in short sentences."""
    is_line = len(info.studies) == 1 and len(info.objectives) == 2 and not info.runs
    shown = (
        shown_if(info.means, "Bars: 95 % intervals."),
        shown_if(is_line, "Black line: no other is better in both."),
        shown_if("baseline" in info.references, "Dotted: before finetuning."),
    )
    return " ".join(filter(None, shown))


def _hover(
    info: FrontsInfo,
    name: str,
    values: Sequence[float],
    low: Sequence[float] = (),
    high: Sequence[float] = (),
    *,
    params: Mapping[str, Any] | None = None,
) -> str:
    """Name, objectives with the ends of their intervals, and parameters: lines of markup."""
    lines = [f"<b>{plain_text(name)}</b>"]
    for place, (objective, value) in enumerate(zip(info.objectives, values, strict=True)):
        text = partial(numbers.metric_text, objective.metric)
        line = f"{plain_text(numbers.metric_label(objective.metric))}: <b>{text(value)}</b>"
        if low and math.isfinite(low[place]):
            line += f", {text(low[place])} to {text(high[place])}"
        lines.append(line)
    texts = {key: numbers.param_text(value) for key, value in sorted((params or {}).items())}
    return "<br>".join(
        [*lines, *(f"{plain_text(key)}: {plain_text(text)}" for key, text in texts.items())]
    )


FIGURE = FigureKind(
    name="pareto",
    section="cost",
    title="What does robustness cost?",
    says="Each mark is a trial, or the mean of an arm; no trial lies beyond the step line.",
    read=info_of,
    draw=draw,
    several=True,
    takes=("rungs", "color"),
)
