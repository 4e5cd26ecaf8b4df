"""What does robustness cost?  Robust against clean accuracy of every complete trial.

Colour and mark are the loss terms, or the study where there are several; a trial that another one
dominates is faint, one that violates a constraint hollow.  Behind the step line lies what the
search attained.  The ring is the trial of the title.  Once trials were confirmed, the axes are
those of the test images: marks are means over new seeds with their intervals, and the scores of the
search, on other images, grey dots.  An ablation has the means of its arms.  Three searches or more,
or the seeds of an ablation, differ as the band shows: it lies between the front that the best of
them attains and the one that all attain (Grunert da Fonseca, Fonseca and Hall 2001; computed by
moocore, exact).  More than two objectives have a panel a pair.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from plotly.colors import sample_colorscale
from plotly.graph_objects import Figure, Scatter
from plotly.subplots import make_subplots

from ablate.ablation.answer import best_number
from ablate.ablation.means import (
    Mean,
    arm_means,
    confirmed_means,
    on_test,
    seed_values,
    unchanged_networks,
)
from ablate.ablation.study_source import StudySource
from ablate.analysis.drawn import MOST_OBJECTIVES
from ablate.analysis.features import trial_features
from ablate.analysis.frame import typed_frame
from ablate.analysis.hypervolume import maximised, staircase
from ablate.analysis.layers import network_order
from ablate.analysis.objectives import (
    check_several,
    is_accuracy,
    shared_objectives,
    short_metric,
)
from ablate.analysis.pareto import ParetoInfo, ParetoPoint, Point
from ablate.errors import NothingToDrawError, ParameterError
from ablate.ledger.record import ADAPTED, NOT_FINETUNED, StudyRecord
from ablate.report.figures.canvas import (
    MANY,
    NO_TRIAL,
    Sheet,
    basis_meta,
    finish,
    looks,
    marker,
    metric_axis,
    rows_that_fit,
    several_facts,
    several_marks,
    several_title,
    study_labels,
    study_looks,
    trace_type,
)
from ablate.report.figures.figure import FigureKind, FigureOptions
from ablate.report.numbers import (
    count_text,
    gain_text,
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
    PAPER,
    SEQUENTIAL,
    SERIES,
    SMALL_SIZE,
    Look,
    terms_look,
)
from ablate.study.keys import meant_keys
from ablate.study.scores import Bound
from ablate.study.settings import ObjectiveSettings

if TYPE_CHECKING:
    import pandas as pd

REFERENCES = {
    "baseline": ("Baseline", "star", 13),
    ADAPTED: ("Adapted baseline", "star-open", 13),
    "plain": ("Plain finetune", "x", 9),
}
"""Label, mark and size."""
_SEARCH = Look("Search, validation images", FAINT_INK, "circle")
_LABELLED = 8
"""Up to so many trials on a front, each has its number: print has no hover."""
_TOLD = 200
"""Of many trials, so many on the front still have every parameter at hand."""
_ACROSS, _PANEL_PIXELS = 3, 300
Range = tuple[float, float, float]
"""Ends of an axis, and the one that no front comes near."""


@dataclass(frozen=True)
class Coloring:
    """A searched parameter that colours the trials: its values by trial, NaN without one, as they
    are, as decimal logarithms, or as places of categories; and texts at places of the scale."""

    label: str
    values: NDArray[np.float64]
    ticks: tuple[tuple[float, str], ...]
    is_category: bool


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
        searched = [one.metric for one in self.studies[0].objectives]
        shown = [one.metric for one in self.objectives]
        ends = [f"{metric}{end}" for end in ("", ".low", ".high") for metric in shown]
        types = dict.fromkeys(["mark", "study", "name", "loss_terms"], "string")
        types |= {"number": "Int64", "seeds": "Int64", "on_front": "boolean", "color": "float64"}
        types |= dict.fromkeys([*searched, *(ends if self.means else shown)], "float64")
        rows: list[dict[str, Any]] = []
        for study in self.studies:
            trials = [("trial", one.name, one) for one in study.points]
            for mark, name, one in [*trials, *(("stopped", *of) for of in self.stopped.items())]:
                row = {"mark": mark, "study": study.study, "name": name, "number": one.number}
                row |= {"loss_terms": one.loss_terms, "on_front": one.on_front}
                rows.append(row | dict(zip(searched, one.values, strict=True)))
        for row, color in zip(rows, self.coloring.values if self.coloring else (), strict=False):
            row["color"] = color
        for mean in self.means:
            row = {"mark": "mean", "name": mean.name, "number": mean.number, "seeds": mean.seeds}
            values = [*mean.values, *mean.low, *mean.high]
            rows.append(row | dict(zip(ends, values, strict=True)))
        for name, corners in self.surfaces.items():
            rows += [{"mark": name, **dict(zip(shown, at, strict=True))} for at in corners.tolist()]
        return typed_frame(types, [tuple(row.get(name) for name in types) for row in rows])


# -- Reading ---------------------------------------------------------------------------------


def info_of(sources: Sequence[StudySource], options: FigureOptions) -> FrontsInfo:
    """Searches with the same objectives, or one ablation.

    Raises:
        NothingToDrawError: for one objective, and for an ablation with other studies or options.
        ParameterError: if objectives differ, several studies are given with an option, or the
            parameter of `color` is unknown.
    """
    record, several = sources[0].record, len(sources) > 1
    objectives = shared_objectives([source.record for source in sources])
    check_several(record, "pareto")
    asked = "--rungs" if options.rungs else "--color" if options.color else "several studies"
    ablation = next((source for source in sources if not source.is_search), None)
    if ablation is not None:
        if several or options.rungs or options.color:
            reason = f"with {asked} needs a search, got an ablation"
            raise NothingToDrawError(ablation.record.name, "pareto", reason, "Draw it alone.")
        return _of_arms(ablation)
    if several and (options.rungs or options.color):
        raise ParameterError(f"{asked}: needs one study, got {len(sources)}. Draw one at a time.")
    studies = tuple(source.front for source in sources)
    if several:
        return _of_several(studies)
    info = FrontsInfo(studies, objectives, studies[0].references, studies[0].bounds)
    info = replace(info, taken=best_number(record, studies[0]))
    if options.rungs:
        info = _with_stopped(info, record)
    if options.color:
        return replace(info, coloring=_coloring(options.color, record, studies[0]))
    return _confirmed(info, sources[0])


def _of_several(studies: tuple[ParetoInfo, ...]) -> FrontsInfo:
    objectives, shared = studies[0].objectives, {}
    for name in dict.fromkeys(name for study in studies for name in study.references):
        values = [study.references[name] for study in studies if name in study.references]
        if np.allclose(values, values[0], rtol=0, atol=1e-9, equal_nan=True):
            shared[name] = values[0]
    bounds = {study.bounds for study in studies}
    kept = [study.counted[np.isfinite(study.counted).all(axis=1)] for study in studies]
    return FrontsInfo(
        studies,
        objectives,
        shared,
        bounds=bounds.pop() if len(bounds) == 1 else (),
        # The lines of two fronts are their own band.
        surfaces=surfaces(kept, objectives) if len(studies) > 2 and len(objectives) == 2 else {},
        sets=len(studies),
    )


def _confirmed(info: FrontsInfo, source: StudySource) -> FrontsInfo:
    """On the test images, once trials were confirmed there; the limits of constraints, which are
    those of the validation images, are left out."""
    drawn = {**looks(source.confirmed)} if source.confirmed else {}
    drawn |= {one.name: terms_look(one.loss_terms) for one in info.studies[0].points}
    means = tuple(mean for mean in confirmed_means(source) if mean.name in drawn)
    if not means or source.confirmation is None:
        return info
    objectives = on_test(info.objectives)
    references = unchanged_networks(source.confirmation.test, objectives)
    shown = replace(info, objectives=objectives, references=references, bounds=())
    return replace(shown, means=means, looks=drawn)


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
    objectives = on_test(study.objectives) if ablation.split == "test" else study.objectives
    sets = seed_values(source.record, objectives)
    facts = {
        name: getattr(ablation, name) for name in ("split", "n_images", "n_corrupted", "marks")
    }
    facts |= {"points": (), "hypervolume": None, "objectives": objectives}
    seeds = count_text(ablation.seeds, "seed")
    return FrontsInfo(
        (replace(study, **facts),),
        objectives,
        unchanged_networks(ablation, objectives),
        means=arm_means(ablation, objectives),
        looks=looks(source),
        runs=f"{ablation.ended} of {count_text(ablation.runs, 'run')} ended, {seeds}",
        surfaces=surfaces(sets, objectives) if len(objectives) == 2 else {},
        sets=len(sets),
    )


def surfaces(
    sets: Sequence[NDArray[np.float64]], objectives: Sequence[ObjectiveSettings]
) -> dict[str, NDArray[np.float64]]:
    """What the best, at least half and all of these sets attain in the plane of two objectives.

    Args:
        sets: `[points, 2]` each, finite; one without points attains nothing, but still counts.

    Returns:
        The corners of each border, without a row where fewer sets have any value; of two sets no
        "median", because it would be the best; of fewer, or without any value, nothing.
    """
    full = [one for one in sets if len(one)]
    if len(sets) < 2 or not full:
        return {}
    import moocore

    signs = np.where(maximised(objectives), -1.0, 1.0)
    points = np.concatenate(full) * signs
    owner = np.repeat(np.arange(len(full)), [len(values) for values in full])
    found = {}
    levels = {"best": 1, "median": (len(sets) + 1) // 2, "worst": len(sets)}
    for name, level in levels.items():
        if name != "median" or level > 1:
            shares = [100.0 * level / len(full)] if level <= len(full) else []
            corners = [moocore.eaf(points, owner, percentiles=shares)[:, :2] * signs] * len(shares)
            found[name] = np.concatenate([np.empty((0, 2)), *corners])
    return found


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
    if feature.kind == "flag" and feature.part:
        chosen = [of_trial.get(name) for of_trial in params]
        parts = sorted({tap for subset in chosen for tap in subset or ()}, key=network_order)
        deepest = [max(map(parts.index, subset)) if subset else math.nan for subset in chosen]
        ticks = tuple((float(at), part) for at, part in enumerate(parts))
        return Coloring(f"deepest of {name}", np.array(deepest, dtype=float), ticks, True)
    if feature.choices:
        ticks = tuple((float(at), text) for at, text in enumerate(feature.choices))
        return Coloring(name, feature.values, ticks, True)
    places = np.linspace(np.nanmin(feature.values), np.nanmax(feature.values), 5).tolist()
    is_log = feature.kind == "log"
    ticks = tuple((at, f"{10.0**at if is_log else at:.2g}") for at in places)
    return Coloring(name, feature.values, ticks, False)


# -- Drawing ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Panel:
    """The plane of two objectives; `labels` are the numbers that stand beside trials of a front."""

    info: FrontsInfo
    x: int
    y: int
    ranges: Sequence[Range]
    labels: Mapping[int, str]

    @property
    def pair(self) -> list[ObjectiveSettings]:
        return [self.info.objectives[at] for at in (self.x, self.y)]

    def at(self, values: ArrayLike) -> dict[str, Any]:
        """x and y of points with all objectives."""
        table = np.asarray(values, dtype=float).reshape(-1, len(self.ranges))
        return {"x": table[:, self.x].tolist(), "y": table[:, self.y].tolist()}

    def steps(self, values: ArrayLike) -> dict[str, Any]:
        """The step line of the front of these points, to the edges of the axes."""
        corner = self.ranges[self.x][2], self.ranges[self.y][2]
        x, y = staircase(**self.at(values), objectives=self.pair, corner=corner)
        return {"x": x, "y": y}

    def line(self, at: Mapping[str, Any], name: str, color: str, width: float, **more: Any) -> Any:
        shape = {"mode": "lines", "showlegend": (self.x, self.y) == (0, 1), "hoverinfo": "skip"}
        line = {"color": color, "width": width, "simplify": False}  # or low steps become slopes
        return Scatter(**at, name=name, **shape | {"line": line | more.pop("line", {})} | more)

    def marks(self, values: ArrayLike, name: str, mark: Mapping[str, Any], **more: Any) -> Any:
        """Marks with the `numbers` of trials, which stand beside those of a front on the side that
        it leaves free: the better one of both axes."""
        numbers, is_front = more.pop("numbers", None), more.pop("is_front", False)
        shape = {"mode": "markers", "showlegend": (self.x, self.y) == (0, 1), "hoverinfo": "text"}
        texts = [self.labels.get(one, "") for one in numbers or () if is_front]
        if any(texts):
            right, up = (one.direction == "maximize" for one in self.pair)
            shape |= {"mode": "markers+text", "text": texts, "cliponaxis": False}
            shape["textposition"] = f"{'top' if up else 'bottom'} {'right' if right else 'left'}"
            shape["textfont"] = {"size": SMALL_SIZE, "color": INK}
        at = self.at(values)
        return Scatter(**at, name=name, marker=mark, customdata=numbers, **shape | more)


def draw(info: FrontsInfo, sheet: Sheet) -> Figure:
    """The figure; a study may have no trial, then it has the references alone and says so."""
    pairs = list(combinations(range(min(len(info.objectives), MOST_OBJECTIVES)), 2))
    across = min(len(pairs), _ACROSS) if sheet.is_wide else 1
    rows = rows_that_fit(sheet, math.ceil(len(pairs) / across), 0.6 * _PANEL_PIXELS)
    height = 170 + rows * (_PANEL_PIXELS if len(pairs) > 1 or not sheet.is_wide else 380)
    gaps = {"horizontal_spacing": 0.12 / across, "vertical_spacing": 70 / (sheet.height or height)}
    figure = make_subplots(rows, across, **gaps if len(pairs) > 1 else {})
    ranges, labels = _ranges(info), _labels(info, sheet)
    for place, (x, y) in enumerate(pairs[: rows * across]):
        panel = _Panel(info, x, y, ranges, {} if place else labels)
        cell = {"row": place // across + 1, "col": place % across + 1}
        traces = [*_lines(panel), *_trials(panel), *_over(panel)]
        figure.add_traces(traces, rows=cell["row"], cols=cell["col"])
        for update, at in ((figure.update_xaxes, x), (figure.update_yaxes, y)):
            update(metric_axis(info.objectives[at].metric) | {"range": ranges[at][:2]}, **cell)
        _add_limits(figure, panel, cell)
    if info.coloring is not None:
        figure.update_layout(coloraxis=_color_axis(info.coloring))
    is_empty = not info.means and not any(study.points for study in info.studies)
    return finish(
        figure,
        sheet,
        title=_title(info),
        facts=_facts(info, ranges, max(0, len(pairs) - rows * across)),
        meta=basis_meta("Pareto front" + "s" * (len(info.studies) > 1), *info.studies),
        height=height,
        nothing=("no successful run yet" if info.runs else NO_TRIAL) * is_empty,
    )


def _ranges(info: FrontsInfo) -> list[Range]:
    """Axes with every front, mean and reference inside, and limits that a trial violates.

    A value that is worse than all of these by more than their spread is left outside: one collapsed
    training would compress everything else into a corner.
    """
    trials = np.concatenate([study.values for study in info.studies])
    on_front = np.concatenate([study.is_on_front for study in info.studies])
    kept = trials[on_front if on_front.any() else slice(None)]
    if info.means:
        trials, kept = trials[:0], np.array([end for one in info.means for end in one[2:5]])
    count, ranges = len(info.objectives), []
    more = [np.array([*info.references.values()]).reshape(-1, count), *info.surfaces.values()]
    kept = np.concatenate([kept, *more])
    for objective, inside, values in zip(info.objectives, kept.T, trials.T, strict=True):
        metric, is_up = objective.metric, objective.direction == "maximize"
        limits = [
            bound.limit
            for bound in info.bounds
            if bound.metric == metric and any(bound.excess({metric: one}) > 0 for one in values)
        ]
        shown = np.array([*inside[np.isfinite(inside)], *limits])
        if not len(shown):
            ranges.append((0.0, 1.0, 0.0 if is_up else 1.0))
            continue
        # Nearly equal values are not blown up, or noise would look like a trend.
        least = 0.02 if is_accuracy(metric) else 0.1 * float(np.abs(shown).max()) or 1.0
        low, high, room = shown.min(), shown.max(), max(np.ptp(shown), least)
        near = np.isfinite(values) & (values >= low - room if is_up else values <= high + room)
        low, high = values[near].min(initial=low), values[near].max(initial=high)
        wider = 0.06 * max(high - low, least) + max(0.0, least - (high - low)) / 2
        ends = float(low - wider), float(high + wider)
        ranges.append((*ends, ends[0] if is_up else ends[1]))
    return ranges


def _inside(values: ArrayLike, ranges: Sequence[Range]) -> NDArray[np.bool_]:
    """Which points are within all axes; one with a NaN is not."""
    table = np.asarray(values, dtype=float).reshape(-1, len(ranges))
    low, high, _ = np.array(ranges).T
    inside: NDArray[np.bool_] = ((table >= low) & (table <= high)).all(axis=1)
    return inside


def _labels(info: FrontsInfo, sheet: Sheet) -> dict[int, str]:
    """The numbers beside a front; of equal trials all at the first, of a long front the title's."""
    front: Sequence[Any] = info.means if info.is_confirmed else info.studies[0].front
    alike: dict[tuple[float, ...], list[int]] = {}
    for one in front if len(info.studies) == 1 else ():
        alike.setdefault(one.values, []).extend([one.number] if one.number is not None else [])
    if len(alike) > (_LABELLED if sheet.height is None else _LABELLED // 2):
        alike = {values: own for values, own in alike.items() if info.taken in own}
    return {min(own): ", ".join(map(str, sorted(own))) for own in alike.values() if own}


def _lines(panel: _Panel) -> list[Any]:
    """The band, the networks between baseline and finetuned weights, the fronts."""
    info, traces = panel.info, list[Any]()
    if info.surfaces:
        of = f"of {info.sets} {'seeds' if info.runs else 'searches'}"
        best, worst = (panel.steps(info.surfaces[name]) for name in ("best", "worst"))
        if not worst["x"]:  # no region is attained by all
            worst = panel.at([end for _, _, end in panel.ranges])
        band = {way: best[way] + worst[way][::-1] for way in "xy"}
        # The opacity is the trace's: the dark form exchanges colours by their names.
        fill = {"mode": "none", "fill": "toself", "fillcolor": SERIES[0], "opacity": 0.15}
        traces.append(panel.line(band, f"Best to worst {of}", SERIES[0], 1, **fill))
        median = info.surfaces.get("median", ())
        if len(median):
            traces.append(panel.line(panel.steps(median), f"Half {of}", INK, 2))
    between, names = list[Any](), list[str]()
    for curve in (one for study in info.studies for one in study.curves if not info.is_confirmed):
        between += [*curve.values, [math.nan] * len(panel.ranges)]
        names += [*(f"Trial {curve.number}, alpha {alpha:g}" for alpha in curve.alphas), ""]
    if between:
        told = {"hovertext": names, "hoverinfo": "text", "mode": "lines+markers"}
        dots = {"marker": {"color": FAINT_INK, "size": 3}}
        at = panel.at(between)
        traces.append(panel.line(at, "Weights between", FAINT_INK, 0.75, **told, **dots))
    several = len(info.studies) > 1
    if info.is_confirmed:
        own = [one.values for one in info.means if one.number is not None]
        traces.append(panel.line(panel.steps(own), "Front", INK, 1.5))
    elif not info.runs:
        of_studies = study_looks([study.study for study in info.studies])
        for study, look in zip(info.studies, of_studies, strict=True):
            at, name = panel.steps(study.counted), plain_text(look.label) if several else "Front"
            color, dash = (look.color, look.dash) if several else (INK, "solid")
            line = panel.line(at, name, color, 2 if several else 1.5, line={"dash": dash})
            line.legendgroup = look.label if several else None
            line.showlegend = line.showlegend and not several and bool(at["x"])
            traces.append(line)
    return traces


def _trials(panel: _Panel) -> list[Any]:
    """All trials, those off the front first; the legend counts those within the axes."""
    info, drawn = panel.info, list[tuple[int, Any]]()
    of_studies = study_looks([study.study for study in info.studies])
    for place, study in enumerate(info.studies):
        known = {one.loss_terms: terms_look(one.loss_terms) for one in study.points}
        if len(info.studies) > 1 or info.coloring or info.is_confirmed:
            own = of_studies[place] if len(info.studies) > 1 else Look("Trials", INK, "circle")
            known = dict.fromkeys(known, _SEARCH if info.is_confirmed else own)
        terms = np.array([point.loss_terms for point in study.points])
        finite = np.isfinite(study.values).all(axis=1)
        states = 2 * study.is_on_front + [point.violation > 0 for point in study.points]
        inside = _inside(study.values, panel.ranges)
        for look in sorted(set(known.values()), key=lambda look: look.label):
            alike = np.isin(terms, [one for one in known if known[one] == look])
            shown = np.unique(states[alike & finite]).tolist()
            for state in shown:
                trace = _trial_trace(panel, place, look, alike & finite & (states == state), state)
                trace.name = f"{plain_text(look.label)} ({(inside & alike).sum()})"
                trace.legendgroup = look.label
                trace.showlegend &= state == shown[-1] and bool((inside & alike).any())
                trace.showlegend &= info.coloring is None
                drawn.append((state, trace))
    if info.stopped:
        points = [*info.stopped.values()]
        values, numbers = [one.values for one in points], [one.number for one in points]
        name = f"Stopped at a rung ({_inside(values, panel.ranges).sum()})"
        mark = {"symbol": "circle-open", "size": 5, "color": FAINT_INK}
        told = {"numbers": numbers, "hovertext": [*info.stopped]}
        drawn.append((-1, panel.marks(values, name, mark, **told)))
    return [trace for _, trace in sorted(drawn, key=lambda one: one[0])]


def _trial_trace(
    panel: _Panel, place: int, look: Look, chosen: NDArray[np.bool_], state: int
) -> Any:
    """Args: chosen: by trial; state: 0 off the front, 1 violating a constraint, 2 on the front."""
    info, study = panel.info, panel.info.studies[place]
    many = sum(len(study.points) for study in info.studies) > MANY
    on_front = state == 2 and not info.is_confirmed
    size = 5 if info.is_confirmed else (8 if on_front else 6) if many else 11
    mark = marker(look, size, on_front=on_front, hollow=state == 1)
    if info.coloring is not None:
        chosen = chosen & np.isfinite(info.coloring.values)
        mark |= {"color": info.coloring.values[chosen], "coloraxis": "coloraxis"}
        mark["line"] = {"color": INK if on_front else FAINT_INK, "width": 1.5 if on_front else 0.5}
    points, table = [study.points[at] for at in np.flatnonzero(chosen)], study.values[chosen]
    numbers = [point.number for point in points]
    if not many or (on_front and len(points) <= _TOLD):
        hover = {"hovertext": [_hover(study, point) for point in points], "hoverinfo": "text+name"}
        return panel.marks(table, "", mark, numbers=numbers, is_front=on_front, **hover)
    return trace_type(MANY + 1)(
        x=table[:, panel.x].astype(np.float32),
        y=table[:, panel.y].astype(np.float32),
        mode="markers",
        marker=mark,
        showlegend=(panel.x, panel.y) == (0, 1),
        customdata=np.array(numbers, dtype=np.int32),
        hovertemplate="Trial %{customdata}: %{x:.4g}, %{y:.4g}",
    )


def _over(panel: _Panel) -> list[Any]:
    """Means with their intervals, and references."""
    info, traces, alike = panel.info, list[Any](), dict[Look, list[Mean]]()
    for mean in info.means:
        alike.setdefault(info.looks[mean.name], []).append(mean)
    for look, means in alike.items():
        values, bars = [mean.values for mean in means], {}
        for way, place in (("error_x", panel.x), ("error_y", panel.y)):
            middle, low, high = np.array([mean[2:5] for mean in means])[:, :, place].T
            above, below = np.nan_to_num(high - middle), np.nan_to_num(middle - low)
            ends = {"array": above.tolist(), "arrayminus": below.tolist()}
            bars[way] = {"type": "data", "color": look.color, "thickness": 1, "width": 0, **ends}
        numbers = [mean.number for mean in means]
        name = plain_text(shortened(look.label, 24)) + f" ({len(means)})" * (numbers[0] is not None)
        hover = [
            "<br>".join(
                [
                    f"<b>{plain_text(mean.name)}</b>, mean over {count_text(mean.seeds, 'seed')}",
                    *_told(info.objectives, mean.values, info.references, mean.low, mean.high),
                ]
            )
            for mean in means
        ]
        told = {"numbers": numbers, "is_front": True, "hovertext": hover}
        traces.append(panel.marks(values, name, marker(look, 11), **told, **bars))
    for name, (label, symbol, size) in REFERENCES.items():
        found = info.references.get(name, [math.nan] * len(panel.ranges))
        if math.isfinite(found[panel.x]) and math.isfinite(found[panel.y]):
            color = INK if name in NOT_FINETUNED else PAPER
            mark = {"color": color, "symbol": symbol, "size": size}
            mark["line"] = {"color": INK, "width": 0 if name == "baseline" else 1.5}
            hover = ["<br>".join([label, *_told(info.objectives, found, info.references)])]
            traces.append(panel.marks(found, label, mark, hovertext=hover, legendrank=2))
    return traces


def _add_limits(figure: Figure, panel: _Panel, cell: Mapping[str, int]) -> None:
    """Dotted lines through the baseline, beyond which is a gain; a side that violates a constraint
    is shaded, if its limit is within the axes."""
    for place, line, rectangle in (
        (panel.x, figure.add_vline, figure.add_vrect),
        (panel.y, figure.add_hline, figure.add_hrect),
    ):
        low, high, _ = panel.ranges[place]
        baseline = panel.info.references.get("baseline", [math.nan] * len(panel.ranges))[place]
        if math.isfinite(baseline):
            line(baseline, line={"color": FAINT_INK, "width": 1, "dash": "dot"}, **cell)
        for bound in panel.info.bounds:
            metric = panel.info.objectives[place].metric
            if bound.metric == metric and low <= bound.limit <= high:
                shade = {"fillcolor": FAINT_INK, "opacity": 0.12, "line_width": 0, "layer": "below"}
                rectangle(bound.limit, low if bound.is_least else high, **shade, **cell)
                line(bound.limit, line={"color": INK, "width": 1, "dash": "dash"}, **cell)


def _color_axis(coloring: Coloring) -> dict[str, Any]:
    """Cividis; of categories in steps."""
    places, count = [place for place, _ in coloring.ticks], len(coloring.ticks)
    scale: Any = SEQUENTIAL
    low, high = places[0], places[-1]
    if coloring.is_category:
        colors = sample_colorscale(SEQUENTIAL, count) if count > 1 else [INK]
        scale = [((at + end) / count, colors[at]) for at in range(count) for end in (0, 1)]
        low, high = -0.5, count - 0.5
    name = ".".join(coloring.label.split(".")[-2:])
    bar = {
        "title": {"text": plain_text(shortened(name, 20)), "side": "right"},
        "thickness": 12,
        "tickvals": places,
        "ticktext": [plain_text(shortened(text, 16)) for _, text in coloring.ticks],
        "tickfont": {"size": SMALL_SIZE},
    }
    return {"colorscale": scale, "cmin": low, "cmax": high, "colorbar": bar}


# -- Texts -----------------------------------------------------------------------------------


def _title(info: FrontsInfo) -> str:
    """What the trial that the answer names gains and loses; else the question."""
    labels, baseline = (
        study_labels([of.study for of in info.studies]),
        info.references.get("baseline"),
    )
    if info.coloring is not None:
        return f"{info.coloring.label} along the {several_title('front', labels)}"
    if info.runs:
        return f"What does robustness cost? Arms of {labels[0]}"
    points: Sequence[Any] = info.means if info.is_confirmed else info.studies[0].points
    taken = [one.values for one in points if one.number == info.taken is not None]
    if not taken or baseline is None:
        return several_title("Fronts" if len(labels) > 1 else "Front", labels)
    gains = {
        short_metric(one.metric): 100 * (after - before)
        for one, after, before in zip(info.objectives, taken[0], baseline, strict=True)
        if "_robust_accuracy" in one.metric or one.metric.endswith("_clean_accuracy")
    }
    robust, lost = next(name for name in gains if name != "clean"), gains["clean"]
    joined = "for" if gains[robust] > 0 > lost else "and"
    gained, images = signed_text(gains[robust], 1), " (test)" * info.is_confirmed
    return f"Trial {info.taken}: {gained} {robust} {joined} {signed_text(lost, 1)} clean{images}"


def _facts(info: FrontsInfo, ranges: Sequence[Range], left_out: int) -> list[str]:
    """Counts, data and seeds; what the marks are; what is outside the axes."""
    studies, first, facts = info.studies, info.studies[0], several_facts(info.studies)
    facts[0] = info.runs or facts[0]
    volume = hypervolume_text(first.hypervolume, first.objectives, first.reference_point)
    facts += [f"hypervolume {volume}"] * (len(studies) == 1 and bool(volume))
    facts += several_marks(studies)
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
    if info.surfaces and not len(info.surfaces["worst"]):
        facts.append("no region is reached by all")
    values = np.concatenate([of.values for of in studies])
    finite = np.isfinite(values).all(axis=1)
    rungs = [one.values for one in info.stopped.values()]
    counts = {
        "pair of objectives not shown": left_out,
        "trial outside the axes": (finite & ~_inside(values, ranges)).sum(),
        "trial with a value that is not a number": (~finite).sum(),
        "trial without this parameter, not shown": info.coloring
        and np.isnan(info.coloring.values).sum(),
        "stopped trial as scored at its last rung: a ring": len(rungs),
        "stopped trial outside the axes": (~_inside(rungs, ranges)).sum(),
        "stopped trial scored on fewer images or metrics, not drawn": info.unlike or 0,
    }
    if info.unlike == 0 and not rungs:
        facts.append("no trial was stopped at a rung")
    for what, count in counts.items():
        noun = "stopped trial" if what.startswith("stopped") else what.split()[0]
        facts += [f"{count_text(int(count), noun)}{what.removeprefix(noun)}"] if count else []
    return facts


def _hover(study: ParetoInfo, point: ParetoPoint) -> str:
    """A trial in lines of plotly's markup: objectives and parameters."""
    head = f"<b>{point.name.capitalize()}</b>" + ", on the front" * point.on_front
    head += ", violates a constraint" * (point.violation > 0)
    head += "" if point.copy_of is None else f", copy of trial {point.copy_of}"
    params = sorted((plain_text(key), param_text(value)) for key, value in point.params.items())
    lines = _told(study.objectives, point.values, study.references)
    return "<br>".join(
        [head, *lines, "", *(f"{key}: {plain_text(value)}" for key, value in params)]
    )


def _told(
    objectives: Sequence[ObjectiveSettings],
    values: Sequence[float],
    references: Mapping[str, Sequence[float]],
    *interval: Sequence[float],
) -> list[str]:
    """Values with their gains over the baseline and their intervals, by objective."""
    lines = []
    for place, (objective, value) in enumerate(zip(objectives, values, strict=True)):
        metric, sign = objective.metric, 1 if objective.direction == "maximize" else -1
        before = references["baseline"][place] if "baseline" in references else math.nan
        gain, ends = gain_text(metric, sign * (value - before)), [end[place] for end in interval]
        line = f"{plain_text(metric_label(metric))}: <b>{metric_text(metric, value)}</b>"
        line += f" ({gain} against the baseline)" * bool(gain)
        if ends and all(map(math.isfinite, ends)):
            line += f", {' to '.join(metric_text(metric, end) for end in ends)}"
        lines.append(line)
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
