"""What does robustness cost?  Robust against clean accuracy of every complete trial.

Colour and mark are the loss terms, or the study where there are several; a trial that another one
dominates is faint, one that violates a constraint hollow.  Behind the step line lies what the
search attained.  Once trials were confirmed, the axes are those of the test images: marks are means
over new seeds with their intervals, and the scores of the search, on other images, grey dots.  An
ablation has the means of its arms.  Three searches or more, or the seeds of an ablation, differ as
the band shows: it lies between the front that the best of them attains and the one that all attain.
More than two objectives have a panel a pair.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, combinations
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from plotly.colors import sample_colorscale
from plotly.graph_objects import Figure, Scatter, Scattergl
from plotly.subplots import make_subplots

from ablate.ablation.answer import best_number
from ablate.ablation.means import Mean, arm_means, confirmed_means, on_test, seed_values
from ablate.ablation.study_source import StudySource
from ablate.analysis.drawn import MOST_OBJECTIVES
from ablate.analysis.features import trial_features
from ablate.analysis.frame import typed_frame
from ablate.analysis.hypervolume import maximised, staircase
from ablate.analysis.layers import network_order
from ablate.analysis.objectives import is_accuracy, shared_objectives, short_metric
from ablate.analysis.pareto import (
    ParetoInfo,
    ParetoPoint,
    Point,
    reference_values,
    shared_references,
)
from ablate.errors import NothingToDrawError, ParameterError
from ablate.ledger.record import ADAPTED, NOT_FINETUNED, StudyRecord
from ablate.report import numbers, style
from ablate.report.figures import canvas
from ablate.report.figures.canvas import Sheet, marker, metric_axis
from ablate.report.figures.figure import FigureKind, FigureOptions
from ablate.report.numbers import count_text, plain_text, shortened
from ablate.report.style import FAINT_INK, INK, Look, terms_look
from ablate.study.keys import meant_keys
from ablate.study.scores import Bound, Scores
from ablate.study.settings import ObjectiveSettings

if TYPE_CHECKING:
    import pandas as pd

_REFERENCES = {
    "baseline": ("Baseline", "star", 13),
    ADAPTED: ("Adapted baseline", "star-open", 13),
    "plain": ("Plain finetune", "x", 9),
}
"""Label, mark and size."""
_SEARCH = Look("Search", FAINT_INK, "circle")
_LABELLED, _TOLD = 8, 200
"""Up to so many trials on a front, each has its number beside it, or every parameter at hand."""
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
        surfaces: what the best, half and all of `sets` searches or seeds attain: "best", "median",
            "worst", each with its corners `[n, 2]`.
        stopped: trials that were scored at a rung as after the last epoch, by "trial 7 after epoch
            1"; unlike: number of others; None: not asked for.
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
    sets: int = 0
    stopped: Mapping[str, ParetoPoint] = field(default_factory=dict)
    unlike: int | None = None
    coloring: Coloring | None = None

    @property
    def is_confirmed(self) -> bool:
        """Whether the axes are not those of the search's scores."""
        return bool(self.means) and not self.runs

    def frame(self) -> pd.DataFrame:
        """One row a mark.

        Columns: mark ("trial", "mean", "stopped", "best", "median", "worst"), study, name,
        loss_terms (text), number, seeds (Int64), on_front (boolean), color (float64, as in
        `Coloring`), and a float64 column an objective, with .low and .high of means.
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
        for name, corners in self.surfaces.items():
            rows += [{"mark": name, **dict(zip(metrics, at, strict=True))} for at in corners]
        return typed_frame(types, [tuple(row.get(name) for name in types) for row in rows])


# -- Reading ---------------------------------------------------------------------------------


def info_of(sources: Sequence[StudySource], options: FigureOptions) -> FrontsInfo:
    """Searches with the same objectives, or one ablation.

    Raises:
        NothingToDrawError: for one objective, an ablation among others, and an option of several
            studies or of an ablation.
        ParameterError: if objectives differ, or the parameter of `color` is unknown.
    """
    record, several = sources[0].record, len(sources) > 1
    objectives = shared_objectives([source.record for source in sources])
    if len(objectives) < 2:
        rule, fix = "needs two objectives, got one", "Draw history."
        raise NothingToDrawError(record.name, "pareto", rule, fix)
    option = "--rungs" if options.rungs else "--color" if options.color else ""
    studies = tuple(source.front for source in sources)
    ablation = next((source for source in sources if not source.is_search), None)
    if (several or ablation is not None) and (option or (several and ablation is not None)):
        got = "an ablation" if ablation is not None else f"{len(sources)} studies"
        reason = f"with {option or 'other studies'} needs one search, got {got}"
        raise NothingToDrawError(record.name, "pareto", reason, "Draw one at a time.")
    if several:
        return _of_several(studies)
    if ablation is not None:
        return _of_arms(ablation)
    taken = best_number(record, studies[0])
    info = FrontsInfo(studies, objectives, studies[0].references, studies[0].bounds, taken=taken)
    if options.rungs:
        info = _with_stopped(info, record)
    if options.color:
        return replace(info, coloring=_coloring(options.color, record, studies[0]))
    return _confirmed(info, sources[0])


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
        sets=len(studies),
    )


def _confirmed(info: FrontsInfo, source: StudySource) -> FrontsInfo:
    """On the test images, once trials were confirmed there; the limits of constraints, which are
    those of the validation images, are left out."""
    means = confirmed_means(source)
    if source.confirming is None or source.confirmed is None or not means:
        return info
    looks = {**canvas.looks(source.confirmed)}
    looks |= {one.name: terms_look(one.loss_terms) for one in info.studies[0].points}
    objectives = on_test(info.objectives)
    references = _unchanged(source.confirming.test_references, objectives)
    means = tuple(mean for mean in means if mean.name in looks)
    return replace(
        info, objectives=objectives, references=references, bounds=(), means=means, looks=looks
    )


def _with_stopped(info: FrontsInfo, record: StudyRecord) -> FrontsInfo:
    stopped, unlike = {}, 0
    for row in record.rows:
        if row.state == "PRUNED" and row.rungs:
            rung, terms = row.rungs[-1], record.loss_terms(row)
            values = tuple(rung.scores.get(one.metric, math.nan) for one in info.objectives)
            name = f"trial {row.number} after epoch {rung.epoch}"
            if rung.images or not all(map(math.isfinite, values)):
                unlike += 1
            else:
                point = ParetoPoint(Point(row.number), values, {}, None, terms, on_front=False)
                stopped[name] = point
    return replace(info, stopped=stopped, unlike=unlike)


def _of_arms(source: StudySource) -> FrontsInfo:
    """The arms of an ablation: on the test images if it is a confirmation."""
    ablation, study = source.ablation, source.front
    assert ablation is not None
    record, objectives, references = source.record, study.objectives, source.record.references
    if ablation.split == "test":
        objectives, references = on_test(objectives), record.test_references
    sets = seed_values(record, objectives)
    facts = {
        name: getattr(ablation, name) for name in ("split", "n_images", "n_corrupted", "marks")
    }
    facts |= {"points": (), "hypervolume": None, "objectives": objectives}
    seeds = count_text(ablation.seeds, "seed")
    return FrontsInfo(
        (replace(study, **facts),),
        objectives,
        _unchanged(references, objectives),
        means=arm_means(ablation, objectives),
        looks=canvas.looks(source),
        runs=f"{ablation.ended} of {count_text(ablation.runs, 'run')} ended, {seeds}",
        surfaces=surfaces(sets, objectives) if len(objectives) == 2 else {},
        sets=len(sets),
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
    """What the best, at least half and all of these sets attain in the plane of two objectives.

    Source: Grunert da Fonseca, Fonseca and Hall 2001, computed by moocore (exact).

    Args:
        sets: `[points, 2]` each, finite; one without points attains nothing, but still counts.

    Returns:
        The corners of each border, none where fewer sets have any value; of two sets no "median",
        because it would be the best; of fewer, or without any value, nothing.
    """
    full = [one for one in sets if len(one)]
    if len(sets) < 2 or not full:
        return {}
    import moocore

    signs = np.where(maximised(objectives), -1.0, 1.0)
    points = np.concatenate(full) * signs
    owner = np.repeat(np.arange(len(full)), [len(values) for values in full])
    levels = {"best": 1, "median": (len(sets) + 1) // 2, "worst": len(sets)}
    found = dict.fromkeys(levels, np.empty((0, 2)))
    for name, level in levels.items():
        if level <= len(full):
            corners = moocore.eaf(points, owner, percentiles=[100.0 * level / len(full)])
            found[name] = corners[:, :2] * signs
    return {name: found[name] for name in levels if name != "median" or len(sets) > 2}


def _coloring(key: str, record: StudyRecord, study: ParetoInfo) -> Coloring:
    params = [point.params for point in study.points]
    features = [one for one in trial_features(params, record.study.space) if one.varies]
    known = list(dict.fromkeys(one.name for one in features))
    if not known:
        reason = "with --color needs complete trials that differ in a parameter, got none"
        raise NothingToDrawError(record.name, "pareto", reason, "Leave --color out.")
    meant = meant_keys(key.replace("/", "."), known)
    if len(meant) != 1:
        names = ", ".join(known)
        raise ParameterError(f"--color: must be one of {names}, got {key}. Name one of them.")
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
    """The plane of two objectives.

    Attributes:
        roomy: whether names in the legend have counts, and trials of a short front numbers.
    """

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
        table = np.asarray(values, dtype=float).reshape(-1, len(self.ranges))
        return {"x": table[:, self.x].tolist(), "y": table[:, self.y].tolist()}

    def steps(self, values: ArrayLike) -> dict[str, Any]:
        """The step line of the front of these points, to the edges of the axes."""
        pair = [self.info.objectives[at] for at in (self.x, self.y)]
        corner = self.ranges[self.x][2], self.ranges[self.y][2]
        table = np.asarray(values, dtype=float).reshape(-1, len(self.ranges))
        x, y = staircase(table[:, [self.x, self.y]], pair, corner)
        return {"x": x, "y": y}

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
        is_short = self.roomy and len(info.means or info.studies[0].front) <= _LABELLED
        named = {one.number for one in trials if is_short or one.number == info.taken} - {None}
        texts = [f"{one.number}" if one.number in named else "" for one in trials]
        if not any(texts) or len(info.studies) > 1 or not self.first:
            return {}
        right, up = (info.objectives[at].direction == "maximize" for at in (self.x, self.y))
        side = f"{'top' if up else 'bottom'} {'right' if right else 'left'}"
        font = {"size": style.SMALL_SIZE, "color": INK}
        look = {"mode": "markers+text", "text": texts, "textposition": side, "textfont": font}
        return look | {"cliponaxis": False}  # the best stand at the edge

    def count(self, values: ArrayLike) -> str:
        """ " (12)": how many points are within the axes."""
        return f" ({_inside(values, self.ranges).sum()})" * self.roomy


def draw(info: FrontsInfo, sheet: Sheet) -> Figure:
    """The figure; a study may have no trial, then it has the references alone and says so."""
    pairs = list(combinations(range(min(len(info.objectives), MOST_OBJECTIVES)), 2))
    across = min(len(pairs), _ACROSS) if sheet.is_wide else 1
    rows = canvas.rows_that_fit(sheet, math.ceil(len(pairs) / across), 0.6 * _PANEL_PIXELS)
    height = 170 + rows * (_PANEL_PIXELS if len(pairs) > 1 or not sheet.is_wide else 380)
    gaps = {"horizontal_spacing": 0.12 / across, "vertical_spacing": 70 / (sheet.height or height)}
    figure = make_subplots(rows, across, **gaps if len(pairs) > 1 else {})
    # A number beside a trial takes more of a small plot.
    ranges = _ranges(info, 0.06 if sheet.height is None else 0.14)
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
    return canvas.finish(
        figure,
        sheet,
        title=_title(info),
        facts=_facts(info, ranges, max(0, len(pairs) - rows * across)),
        meta=canvas.basis_meta("Pareto front" + "s" * (len(info.studies) > 1), *info.studies),
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
    references = np.array([*info.references.values()]).reshape(-1, len(info.objectives))
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


def _inside(values: ArrayLike, ranges: Sequence[Range]) -> NDArray[np.bool_]:
    """Which points are within all axes; one with a NaN is not."""
    table = np.asarray(values, dtype=float).reshape(-1, len(ranges))
    low, high, _ = np.array(ranges).T
    inside: NDArray[np.bool_] = ((table >= low) & (table <= high)).all(axis=1)
    return inside


def _lines(panel: _Panel) -> list[Any]:
    """The band, the networks between baseline and finetuned weights, the fronts."""
    info, traces = panel.info, list[Any]()
    lines = {name: panel.steps(corners) for name, corners in info.surfaces.items()}
    if lines:
        best, worst = lines["best"], lines["worst"]
        if not worst["x"]:  # no region is attained by all
            worst = panel.at([end for _, _, end in panel.ranges])
        band = {way: best[way] + worst[way][::-1] for way in "xy"}
        # The opacity is the trace's: the dark form exchanges colours by their names.
        look = {"mode": "none", "fill": "toself", "fillcolor": style.SERIES[0], "opacity": 0.15}
        traces.append(panel.trace(band, "Best to worst", **look))
    if lines.get("median", {}).get("x"):
        look = {"mode": "lines", "line": {"color": INK, "width": 2}}
        traces.append(panel.trace(lines["median"], "Median", **look))
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
    """All trials, those off the front first; the legend counts those within the axes."""
    info, drawn, several = panel.info, list[tuple[int, Any]](), len(panel.info.studies) > 1
    looks = canvas.study_looks([study.study for study in info.studies])
    for study, own in zip(info.studies, looks, strict=True):
        terms = np.array([point.loss_terms for point in study.points])
        known = {one: terms_look(one) for one in set(terms.tolist())}
        if several or info.coloring or info.is_confirmed:
            one_look = own if several else Look("Trials", INK, "circle")
            known = dict.fromkeys(known, _SEARCH if info.is_confirmed else one_look)
        finite = np.isfinite(study.values).all(axis=1)
        if info.coloring is not None:
            finite &= np.isfinite(info.coloring.values)
        states = 2 * study.is_on_front + [point.violation > 0 for point in study.points]
        for look in sorted(set(known.values()), key=lambda look: look.label):
            alike = finite & np.isin(terms, [one for one in known if known[one] == look])
            shown = np.unique(states[alike]).tolist()
            for state in shown:
                trace = _trial_trace(panel, study, look, alike & (states == state), state)
                trace.name = plain_text(look.label) + panel.count(study.values[alike])
                trace.legendgroup = look.label
                is_seen = not info.coloring and _inside(study.values[alike], panel.ranges).any()
                trace.showlegend = panel.first and state == shown[-1] and bool(is_seen)
                drawn.append((state, trace))
    if info.stopped:
        values = [one.values for one in info.stopped.values()]
        mark = {"symbol": "circle-open", "size": 5, "color": FAINT_INK}
        told = {"customdata": [one.number for one in info.stopped.values()], "marker": mark}
        name = "Stopped early" + panel.count(values)
        trace = panel.trace(panel.at(values), name, hovertext=[*info.stopped], **told)
        drawn.append((-1, trace))
    return [trace for _, trace in sorted(drawn, key=lambda one: one[0])]


def _trial_trace(
    panel: _Panel, study: ParetoInfo, look: Look, chosen: NDArray[np.bool_], state: int
) -> Any:
    """Args: chosen: by trial; state: 0 off the front, 1 violating a constraint, 2 on the front."""
    info, on_front = panel.info, state == 2 and not panel.info.is_confirmed
    many = sum(len(of.points) for of in info.studies) > canvas.MANY
    size = 5 if info.is_confirmed else (8 if on_front else 6) if many else 11
    mark = marker(look, size, on_front=on_front, hollow=state == 1)
    if info.coloring is not None:
        mark |= {"color": info.coloring.values[chosen], "coloraxis": "coloraxis"}
        mark["line"] = {"color": INK if on_front else FAINT_INK, "width": 1.5 if on_front else 0.5}
    points, table = [study.points[at] for at in np.flatnonzero(chosen)], study.values[chosen]
    trials = [point.number for point in points]
    if not many or (on_front and len(points) <= _TOLD):
        told = {"customdata": trials, "hovertext": [_hover(study, point) for point in points]}
        told |= panel.numbered(points if on_front else ())
        return panel.trace(panel.at(table), "", marker=mark, **{"hoverinfo": "text+name"} | told)
    return Scattergl(
        x=table[:, panel.x].astype(np.float32),
        y=table[:, panel.y].astype(np.float32),
        mode="markers",
        marker=mark,
        customdata=np.array(trials, dtype=np.int32),
        hovertemplate="Trial %{customdata}: %{x:.4g}, %{y:.4g}",
    )


def _over(panel: _Panel) -> list[Any]:
    """Means with their intervals, and references."""
    info, traces, alike = panel.info, list[Any](), dict[Look, list[Mean]]()
    for mean in info.means:
        alike.setdefault(info.looks[mean.name], []).append(mean)
    for look, means in alike.items():
        is_trial = means[0].number is not None
        told: dict[str, Any] = {"customdata": [one.number for one in means] if is_trial else None}
        for way, place in (("error_x", panel.x), ("error_y", panel.y)):
            middle, low, high = np.array([mean[2:5] for mean in means])[:, :, place].T
            above, below = np.nan_to_num(high - middle), np.nan_to_num(middle - low)
            bar = {"type": "data", "array": above.tolist(), "arrayminus": below.tolist()}
            told[way] = bar | {"color": look.color, "thickness": 1, "width": 0}
        told["hovertext"] = [
            "<br>".join([f"<b>{plain_text(one.name)}</b>", *_told(info, one.values, one)])
            for one in means
        ]
        told |= panel.numbered(means)
        count = f" ({len(means)})" * (panel.roomy and is_trial)
        name = plain_text(shortened(look.label, 24)) + count
        at = panel.at([mean.values for mean in means])
        traces.append(panel.trace(at, name, marker=marker(look, 11), **told))
    for name, (label, symbol, size) in _REFERENCES.items():
        values = info.references.get(name, (math.nan,) * len(panel.ranges))
        if math.isfinite(values[panel.x]) and math.isfinite(values[panel.y]):
            color = INK if name in NOT_FINETUNED else style.PAPER
            mark = {"color": color, "symbol": symbol, "size": size}
            mark["line"] = {"color": INK, "width": 0 if name == "baseline" else 1.5}
            told = {"hovertext": ["<br>".join([label, *_told(info, values)])], "legendrank": 2}
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
    taken = [one.values for one in points if one.number == info.taken is not None]
    if not taken or "baseline" not in info.references:
        return canvas.several_title("Fronts" if len(names) > 1 else "Front", names)
    pairs = zip(taken[0], info.references["baseline"], strict=True)
    names = [short_metric(one.metric) for one in info.objectives]
    gains = dict(zip(names, (100 * (after - before) for after, before in pairs), strict=True))
    robust = next(name for name in names if name.startswith("robust"))
    gained, lost = (numbers.signed_text(gains[name], 1) for name in (robust, "clean"))
    joined = "for" if gains[robust] > 0 > gains["clean"] else "and"
    images = " (test)" * info.is_confirmed
    return f"Trial {info.taken}: {gained} {robust} {joined} {lost} clean{images}"


def _facts(info: FrontsInfo, ranges: Sequence[Range], left_out: int) -> list[str]:
    """Counts, data and seeds; what the marks are; what is outside the axes."""
    studies, first, facts = info.studies, info.studies[0], canvas.several_facts(info.studies)
    facts[0] = info.runs or facts[0]
    volume = numbers.hypervolume_text(first.hypervolume, first.objectives, first.reference_point)
    facts += [f"hypervolume {volume}"] * (len(studies) == 1 and bool(volume))
    facts += canvas.several_marks(studies)
    if len(ranges) > MOST_OBJECTIVES:
        facts.append(f"the first {MOST_OBJECTIVES} of {len(ranges)} objectives")
    if info.is_confirmed:
        facts.append("axes: test images; grey: the search, on validation images")
    if info.means:
        seeds = sorted({mean.seeds for mean in info.means})
        over = f"{seeds[0]}" + f" to {seeds[-1]}" * (len(seeds) > 1)
        facts.append(f"means over {over} seeds, bars: 95 % interval")
    elif not all(study.is_on_front.all() for study in studies):
        violating = any(point.violation for study in studies for point in study.points)
        facts.append("faint: dominated" + "; hollow: violates a constraint" * violating)
    scored = {name for study in studies for name in study.references}
    if len(studies) > 1 and scored > info.references.keys():
        facts.append("baselines differ: not drawn")
    if info.surfaces:
        of = f"{info.sets} {'seeds' if info.runs else 'searches'}"
        none = "; no region is reached by all" * (not len(info.surfaces["worst"]))
        facts.append(f"band: what the best and what all of {of} reach, median: half of them{none}")
    if info.unlike == 0 and not info.stopped:
        facts.append("no trial was stopped at a rung")
    values = np.concatenate([study.values for study in studies])
    finite, stopped = np.isfinite(values).all(axis=1), [of.values for of in info.stopped.values()]
    counts = {
        "pairs of objectives not shown": left_out,
        "trials outside the axes": (finite & ~_inside(values, ranges)).sum(),
        "trials with a value that is not a number": (~finite).sum(),
        "trials without this parameter, not shown": (
            np.isnan(info.coloring.values).sum() if info.coloring else 0
        ),
        "stopped trials outside the axes": (~_inside(stopped, ranges)).sum(),
        "stopped trials scored on fewer images or metrics, not drawn": info.unlike,
    }
    return facts + [f"{what}: {count}" for what, count in counts.items() if count]


def _hover(study: ParetoInfo, point: ParetoPoint) -> str:
    """A trial in lines of plotly's markup: objectives and parameters."""
    head = f"<b>{point.name.capitalize()}</b>" + ", on the front" * point.on_front
    head += ", violates a constraint" * (point.violation > 0)
    head += "" if point.copy_of is None else f", copy of trial {point.copy_of}"
    texts = {key: numbers.param_text(value) for key, value in sorted(point.params.items())}
    params = [f"{plain_text(key)}: {plain_text(text)}" for key, text in texts.items()]
    return "<br>".join([head, *_told(study, point.values), "", *params])


def _told(
    info: FrontsInfo | ParetoInfo, values: Sequence[float], mean: Mean | None = None
) -> list[str]:
    """Values with their gains over the baseline, and the intervals of a mean, by objective."""
    lines, nothing = [], (math.nan,) * len(values)
    before = info.references.get("baseline", nothing)
    low, high = (nothing, nothing) if mean is None else (mean.low, mean.high)
    for place, (objective, value) in enumerate(zip(info.objectives, values, strict=True)):
        metric, sign = objective.metric, 1 if objective.direction == "maximize" else -1
        value_text, *ends = (
            numbers.metric_text(metric, of) for of in (value, low[place], high[place])
        )
        gain = numbers.gain_text(metric, sign * (value - before[place]))
        line = f"{plain_text(numbers.metric_label(metric))}: <b>{value_text}</b>"
        line += f" ({gain} against the baseline)" * bool(gain)
        lines.append(line + f", {' to '.join(ends)}" * math.isfinite(low[place]))
    return lines


FIGURE = FigureKind(
    name="pareto",
    title="What does robustness cost?",
    says="Each mark is a trial, or the mean of an arm; no trial lies beyond the step line.",
    read=info_of,
    draw=draw,
    several=True,
    takes=("rungs", "color"),
)
