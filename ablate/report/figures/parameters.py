"""The parameters figure: which settings matter, and where?

First the importance of each parameter, then a panel a parameter, the most important first: scores
against a number or a choice, with minus without a layer, or in a triangle of three ratios.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, astuple, dataclass, replace
from functools import cached_property
from itertools import chain, groupby, product
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray
from plotly.graph_objects import Figure, Scatter
from plotly.subplots import make_subplots

from ablate.ablation.study_source import StudySource
from ablate.analysis.columns import PARAM, flat_param
from ablate.analysis.drawn import MOST_OBJECTIVES, fenced
from ablate.analysis.features import Feature, find_params, trial_features
from ablate.analysis.importance import (
    Importance,
    TapEffects,
    importances,
    leading,
    tap_effects,
)
from ablate.analysis.objectives import front_words, is_accuracy, objective_place, short_metric
from ablate.analysis.pareto import ParetoInfo, pareto_info
from ablate.errors import NothingToDrawError
from ablate.files.shown import few, shown_if
from ablate.report.figures.canvas import (
    NO_TRIAL,
    Sheet,
    axis,
    basis_meta,
    finish,
    looks,
    marker,
    metric_axis,
    several_facts,
    single_precision,
    text_pixels,
    trace_type,
)
from ablate.report.figures.figure import FigureKind, FigureOptions, the_search
from ablate.report.numbers import metric_label, metric_words, plain_text, short_names, shortened
from ablate.report.style import FAINT_INK, INK, SEQUENTIAL, SMALL_SIZE, Look, terms_look
from ablate.report.words import network_label
from ablate.robustness.measures import LEVEL
from ablate.study.keys import written_domains

if TYPE_CHECKING:
    import pandas as pd


# -- The numbers ---------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Panel:
    """What one panel shows: a parameter, or a ratio of a mix that has not three.

    Attributes:
        features: one; of a subset a flag an item, of a mix three ratios; a value a point each.
        effects: of a subset, one a shown objective.
    """

    key: str
    kind: Literal["importance", "number", "choice", "subset", "mix"]
    features: tuple[Feature, ...]
    effects: tuple[TapEffects, ...] = ()

    def title(self, names: Mapping[str, str]) -> str:
        return shown_if(self.effects, "gain by ") + names.get(self.key, self.key)

    @property
    def rows(self) -> int:
        """Of a panel with names at its left: parameters, layers or choices; else 0."""
        choices = self.features[0].choices if self.kind == "choice" else ()
        return len(self.features if self.kind in ("importance", "subset") else choices)


@dataclass(frozen=True)
class ParametersInfo:
    """The complete trials of a search by its parameters.

    Attributes:
        pareto: the trials, and what their numbers stand on.
        shown: places of the shown objectives.
        keys: of all parameters, in the order of the space; of a mix of each part.
        panels: of parameters that differ between trials, the most important first; or of those that
            were named (`named`), in that order.
        compared: trials that the importances are of; importances: for each shown objective one a
            parameter, or none of too few trials.
        looks: by set of loss terms.
    """

    pareto: ParetoInfo
    shown: tuple[int, ...]
    keys: tuple[str, ...]
    panels: tuple[Panel, ...]
    named: bool
    compared: int
    importances: tuple[tuple[Importance, ...], ...]
    looks: Mapping[str, Look]

    @property
    def metrics(self) -> list[str]:
        return [self.pareto.objectives[place].metric for place in self.shown]

    @cached_property
    def ranked(self) -> list[str]:
        """Keys by how far their importance is beyond chance, over the shown objectives."""
        beyond: dict[str, float] = {}
        for one in chain.from_iterable(self.importances):
            beyond[one.key] = beyond.get(one.key, 0.0) + max(one.beyond_chance, 0.0)
        return sorted(beyond, key=lambda key: -beyond[key])

    @cached_property
    def names(self) -> dict[str, str]:
        """Of keys, as short as they differ, at most with their section: `fma.weight`."""
        keys = {*self.keys, *self.ranked, *(panel.key for panel in self.panels)}
        return {
            key: shortened(max(short, ".".join(key.split(".")[1:][-2:]), key=len), 18)
            for key, short in short_names(sorted(keys)).items()
        }

    def frame(self) -> pd.DataFrame:
        """A row a trial, an importance and a layer (`kind`): of a trial as `ParetoInfo.frame` with
        `param.<key>` of the shown parameters; of others metric, key, and the attributes of
        `Importance` and `TapEffect`."""
        import pandas as pd

        shown = {feature.key for panel in self.panels for feature in panel.features}
        values = [
            {
                PARAM + name: part
                for key, value in point.params.items()
                if key in shown
                for name, part in flat_param(key, value).items()
            }
            for point in self.pareto.points
        ]
        trials = pd.concat([self.pareto.frame(), pd.DataFrame(values)], axis=1)
        trials.insert(0, "kind", "trial")
        rows: list[dict[str, Any]] = []
        for metric, found in zip(self.metrics, self.importances, strict=True):
            rows += [{"kind": "importance", "metric": metric} | asdict(one) for one in found]
        for panel in self.panels:
            for metric, effects in zip(self.metrics, panel.effects, strict=False):
                row = {"kind": "layer", "metric": metric, "key": panel.key}
                rows += [row | asdict(one) for one in effects.taps]
        table = pd.concat([trials, pd.DataFrame(rows)], ignore_index=True)
        whole = table.columns.intersection(["number", "trials_in", "trials_out"])
        return table.astype(dict.fromkeys(whole, "Int64"))


def info_of(sources: Sequence[StudySource], options: FigureOptions) -> ParametersInfo:
    """The parameters of a search.

    Raises:
        NothingToDrawError: if the study is no search, or has no parameter.
        ParameterError: if a name is unknown, or means several.
    """
    source = the_search(sources, FIGURE.name)
    record, pareto = source.record, pareto_info(source.record)
    place = objective_place(options.objective, pareto.objectives)
    places = tuple(range(min(len(pareto.objectives), MOST_OBJECTIVES)))
    places = (place,) if options.objective else places
    space = record.study.space
    # The same terms may be written in several orders.
    params = [
        {**point.params, "loss.terms": point.loss_terms or point.params["loss.terms"]}
        if "loss.terms" in point.params
        else point.params
        for point in pareto.points
    ]
    features = trial_features(params, space)
    searched = sorted({key for row in record.rows for key in row.params})
    bases = list(dict.fromkeys([*written_domains(space), *searched]))
    names = {base: {one.name: None for one in features if one.key == base} for base in bases}
    keys = [name for base in bases for name in names[base] or [base]]
    if not keys:
        why = "needs a parameter that is searched, got none"
        raise NothingToDrawError(record.name, FIGURE.name, why, "Search one in its space.")
    is_own = np.array([point.copy_of is None for point in pareto.points], dtype=bool)
    compared = is_own & np.isfinite(pareto.values).all(axis=1)
    some = [replace(feature, values=feature.values[compared]) for feature in features]
    signs = [-1 if one.direction == "maximize" else 1 for one in pareto.objectives]
    losses = (pareto.values * signs)[compared].T
    info = ParametersInfo(
        pareto=pareto,
        shown=places,
        keys=tuple(keys),
        panels=(),
        named=bool(options.params),
        compared=int(compared.sum()),
        importances=tuple(importances(some, losses[at]) for at in places),
        looks=looks(source),
    )
    panels = list(_panels(features, pareto, places, space))
    if options.params:
        of_name = {part.name: panel for panel in panels for part in panel.features}
        of_name |= {panel.key: panel for panel in panels}
        found = find_params(options.params, keys)
        panels = list(dict.fromkeys(of_name[name] for name in found if name in of_name))
    else:
        order = [*info.ranked, *bases]
        panels.sort(key=lambda panel: order.index(panel.features[0].key))
        panels = [one for one in panels if any(part.varies for part in one.features)] or panels
    return replace(info, panels=tuple(panels))


def _panels(
    features: Sequence[Feature], pareto: ParetoInfo, places: Sequence[int], space: Any
) -> Iterator[Panel]:
    """Of all parameters that a trial has."""
    for key, group in groupby(features, key=lambda one: one.key):
        parts = tuple(group)
        if not parts[0].part:
            yield Panel(key, "choice" if parts[0].choices else "number", parts)
        elif parts[0].kind == "flag":
            effects = []
            for place in places:
                there = np.isfinite(pareto.values[:, place]) & ~np.isnan(parts[0].values)
                rows = [pareto.points[at].params for at in np.flatnonzero(there)]
                effects.append(tap_effects(rows, key, pareto.values[there, place], space))
            yield Panel(key, "subset", parts, tuple(effects))
        elif len(parts) == 3 and not any((one.values < 0).any() for one in parts):
            yield Panel(key, "mix", parts)
        else:
            yield from (Panel(one.name, "number", (one,)) for one in parts)


# -- The drawing: a row a parameter, a column an objective; on a wide sheet two parameters a row ---


_STRIP, _LEAST_STRIP, _BETWEEN, _GUTTER, _AROUND = 112, 36, 48, 56, 160
"""Pixels: height of a panel, at the least, and between two; between columns; titles and ticks."""
_ROW, _MOST_ROWS = 18, 24
_MOST_MARKS = 24_000  # of a figure: about 1 MB, which a browser still turns over quickly
_FAINT_LINE = {"color": FAINT_INK, "width": 1, "dash": "dot"}
_SMALL = {"size": SMALL_SIZE}

Axes = tuple[list[Any], dict[str, Any], dict[str, Any]]  # traces, and their axes x and y
Groups = Sequence[tuple[Look, bool, NDArray[np.int64]]]  # look, on the front, places in the points


def draw(info: ParametersInfo, sheet: Sheet) -> Figure:
    """Draw importances, then a panel a parameter; without trials the figure says so."""
    count = len(info.shown)
    aside = 2 if sheet.width >= 380 * count else 1
    legend = _legend(info)
    widest = max((text_pixels(entry.name, SMALL_SIZE) + 45 for entry in legend), default=1.0)
    around = _AROUND + 20 * math.ceil(len(legend) / max(1, (sheet.width - 100) // widest))
    room = len(info.panels) if info.named else 8 if sheet.is_wide else 6
    if sheet.height is not None:
        least = _LEAST_STRIP + _BETWEEN
        room = min(room, aside * max(1, int((sheet.height - around + _BETWEEN) // least)))
    order = info.ranked if room > 2 and not info.named else []
    panels = list(info.panels[: room - bool(order)]) if info.pareto.points else []
    for panel in info.panels[len(panels) :] if panels and not info.named else ():
        if panel.key.rpartition(".")[2] in ("learning_rate", "lr"):
            panels[-1] = panel  # it has a panel always
    groups = _groups(info, _MOST_MARKS // max(count * len(panels), 1))
    of_order = tuple(one for panel in info.panels for one in panel.features[:1])
    cells = [*([Panel("importance", "importance", of_order)] if order else []), *panels]
    rows = [cells[at : at + aside] for at in range(0, len(cells), aside)]
    most = [max(cell.rows for cell in row) for row in rows]
    strips = [float(max(_STRIP, _ROW * min(one, _MOST_ROWS))) for one in most]
    if sheet.height is not None:
        each = (sheet.height - around + _BETWEEN) / max(len(rows), 1) - _BETWEEN
        strips = [max(each, 20.0)] * len(rows)
    inside = sum(strips) + _BETWEEN * (len(strips) - 1) if rows else 200.0
    figure = Figure()
    if rows:
        figure = make_subplots(
            len(rows),
            aside * count,
            row_heights=strips,
            vertical_spacing=_BETWEEN / inside,
            horizontal_spacing=_GUTTER / sheet.width,
            specs=[[{}] * len(row) * count + [None] * (aside - len(row)) * count for row in rows],
            subplot_titles=[
                plain_text(f"{shortened(cell.title(info.names), 21)}, {_short(metric)}")
                for cell, metric in product(cells, info.metrics)
            ],
        )
        figure.update_annotations(font=_SMALL)
    figure.add_traces(legend)
    baseline = info.pareto.references.get("baseline")
    for row, (in_row, strip) in enumerate(zip(rows, strips, strict=True), 1):
        for column, (cell, at) in enumerate(product(in_row, range(count)), 1):
            traces, x_axis, y_axis = _axes(info, cell, at, groups, int(strip // _ROW))
            if cell.rows:  # their names at the sheet's edges
                side, outer = ("left", 1) if column <= count else ("right", aside * count)
                y_axis |= {"side": side, "showticklabels": column == outer}
            figure.add_traces(traces, rows=row, cols=column)
            figure.update_xaxes(x_axis | {"tickfont": _SMALL, "tickangle": 0}, row=row, col=column)
            figure.update_yaxes(y_axis | {"tickfont": _SMALL}, row=row, col=column)
            if cell.kind in ("number", "choice") and baseline:
                line = figure.add_hline if cell.kind == "number" else figure.add_vline
                line(baseline[info.shown[at]], line=_FAINT_LINE, layer="below", row=row, col=column)
            if cell.kind == "mix":
                of = figure.get_subplot(row, column)
                x, y = of.xaxis.domain[1], of.yaxis.domain[1]
                bar = {"x": x, "y": y, "len": 0.6 * strip / inside}
                figure.update_traces(marker_colorbar=bar, row=row, col=column)
    facts = _facts(info, panels, groups)
    for fits, needed in zip(strips, most, strict=True):
        facts += [f"room for {fits // _ROW:.0f} of {needed} rows"] if fits // _ROW < needed else []
    finish(
        figure,
        sheet,
        title=_title(info),
        facts=facts,
        meta=basis_meta(FIGURE.title, info.pareto),
        height=around + inside,
        nothing="" if panels else NO_TRIAL,
    )
    return figure.update_layout(margin_t=figure.layout.margin.t + 20 * bool(rows))


def _short(metric: str) -> str:
    return short_metric(metric) if is_accuracy(metric) else metric_label(metric)


def _groups(info: ParametersInfo, most: int) -> Groups:
    """Trials with numbers for all objectives, the front last; of very many others at random."""
    points, on_front = info.pareto.points, info.pareto.is_on_front
    places = np.flatnonzero(np.isfinite(info.pareto.values).all(axis=1))
    places = np.random.default_rng(0).permutation(places)
    places = places[np.argsort(~on_front[places], kind="stable")][:most]
    alike: dict[tuple[bool, str], list[int]] = {}
    for place in np.sort(places).tolist():
        alike.setdefault((points[place].on_front, points[place].loss_terms), []).append(place)
    return [
        (info.looks.get(terms, terms_look("")), is_front, np.array(of_kind))
        for (is_front, terms), of_kind in sorted(alike.items())
    ]


def _legend(info: ParametersInfo) -> list[Scatter]:
    """Entries without a point: the sets of terms, what is faint, and the baseline."""
    pareto = info.pareto
    entries: dict[str, dict[str, Any]] = {}
    for terms, count in sorted(Counter(point.loss_terms for point in pareto.points).items()):
        look = info.looks.get(terms, terms_look(""))
        entries[f"{look.label} ({count})"] = {"marker": marker(look, 10)}
    if len(pareto.front) < len(pareto.points):
        faint = marker(Look("", INK, "circle"), 10, on_front=False)
        entries[f"Not {front_words(pareto.objectives)}"] = {"marker": faint}
    if entries and "baseline" in pareto.references:
        entries[network_label("baseline")] = {"mode": "lines", "line": _FAINT_LINE}
    usual = {"x": [None], "y": [None], "mode": "markers", "showlegend": True, "hoverinfo": "skip"}
    return [Scatter(usual | {"name": plain_text(name)} | look) for name, look in entries.items()]


def _axes(info: ParametersInfo, panel: Panel, at: int, groups: Groups, most: int) -> Axes:
    """A panel for the objective `at`; with room for so many rows."""
    if panel.kind == "importance":
        of_key = {one.key: one for one in info.importances[at]}
        rows = [(info.names[key], *astuple(of_key[key])[1:]) for key in info.ranked[:most]]
        traces, x, y = _row_axes(rows, 100)
        ticks = {"tickvals": [0, 50, 100], "ticktext": ["0", "50", "100%"]}
        return traces, x | ticks | {"range": [-3, 103]}, y
    if panel.kind == "subset":
        taps = panel.effects[at].taps[:most]
        short = short_names([one.tap for one in taps])
        rows = [(short[one.tap], one.difference, one.low, one.high, math.nan) for one in taps]
        return _row_axes(rows, 100 if is_accuracy(info.metrics[at]) else 1)
    if panel.kind == "mix":
        return _mix_axes(info, panel, info.shown[at], groups)
    return _score_axes(info, panel.features[0], info.shown[at], groups, most)


def _row_axes(rows: Sequence[tuple[Any, ...]], factor: float) -> Axes:
    """Rows of a name, and times a factor a value, the ends of its interval, what chance gives."""
    known = [at for at, row in enumerate(rows) if math.isfinite(row[2])]
    value, low, high, chance = factor * np.array([rows[at][1:] for at in known]).reshape(-1, 4).T
    tick = {"symbol": "line-ns", "size": 9, "line": {"color": FAINT_INK, "width": 2}}
    whisker = {"array": high - value, "arrayminus": value - low, "color": INK, "thickness": 1.2}
    numbers = map("{:.3g}, {:.3g} to {:.3g}".format, value, low, high)
    said = [f"<b>{plain_text(rows[at][0])}</b><br>{next(numbers)}" for at in known]
    usual = {"y": known, "mode": "markers", "showlegend": False}
    dot = {"marker": {"color": INK, "size": 8}, "error_x": whisker | {"width": 0}}
    traces = [
        Scatter(x=chance, marker=tick, hoverinfo="skip", **usual),
        Scatter(x=value, hovertext=said, hoverinfo="text", **dot, **usual),
    ]
    x_axis = axis(nticks=4, tickformat="+.3~g", rangemode="tozero")
    x_axis |= {"zeroline": True, "zerolinecolor": FAINT_INK}
    # plotly.js would draw bars of NaN for a trace without points.
    return traces if known else [], x_axis, _row_axis([row[0] for row in rows])


def _row_axis(names: Sequence[str]) -> dict[str, Any]:
    texts = [plain_text(shortened(name, 16)) for name in names]
    ticks = {"tickvals": [*range(len(names))], "ticktext": texts, "ticks": "", "showgrid": False}
    return axis(range=[len(names) - 0.4, -0.6]) | ticks


def _points(
    info: ParametersInfo,
    place: int,
    groups: Groups,
    at: tuple[NDArray[Any], NDArray[Any]],
    said: str,
    *,
    texts: Sequence[str] = (),
    colors: dict[str, Any] | None = None,
) -> list[Any]:
    """Traces of the trials at x and y, except where one is NaN, with their texts for the hover,
    coloured by the objective if there is a scale for it."""
    points, traces = info.pareto.points, list[Any]()
    form = ".1%" if is_accuracy(info.pareto.objectives[place].metric) else ".4g"
    for look, on_front, places in groups:
        there = places[np.isfinite(at[0][places]) & np.isfinite(at[1][places])]
        style = marker(look, on_front=on_front)
        if colors:
            scores = single_precision(info.pareto.values[there, place])
            line = {"color": INK, "width": 1.5 if on_front else 0}
            style |= colors | {"color": scores, "line": line, "showscale": not traces}
        traces.append(
            trace_type(len(points))(
                x=at[0][there],
                y=single_precision(at[1][there]),
                customdata=[points[one].number for one in there],
                text=[texts[one] for one in there] if texts else None,
                mode="markers",
                marker=style,
                hovertemplate=f"<b>Trial %{{customdata}}</b><br>{said.format(form)}<extra></extra>",
                showlegend=False,
            )
        )
    return traces


def _score_axes(
    info: ParametersInfo, feature: Feature, place: int, groups: Groups, most: int
) -> Axes:
    """Scores against a number; of a choice a row each."""
    pareto, at, choices = info.pareto, feature.values, feature.choices
    scores, window = pareto.values[:, place], _window(info, place)
    score_axis = metric_axis(pareto.objectives[place].metric, titled=False) | {"range": window}
    if choices:  # the trials of one are spread around it evenly (Roberts 2018, the R2 sequence)
        numbers = np.array([point.number for point in pareto.points], dtype=np.int64)
        spread = at + 0.28 * (2 * ((numbers * 0.7548776662466927) % 1) - 1)
        names = dict(enumerate(map(plain_text, choices)))
        texts = [names.get(value, "") for value in at.tolist()]
        said = "%{{text}}: %{{x:{}}}"
        traces = _points(info, place, groups, (scores, spread), said, texts=texts)
        same = shown_if(all(choice.startswith("clean+") for choice in choices), "clean+")
        every = slice(None, None, math.ceil(len(choices) / max(most, 1)))
        rows = _row_axis([choice.removeprefix(same) for choice in choices])
        rows |= {key: rows[key][every] for key in ("tickvals", "ticktext")}
        return traces, score_axis | {"nticks": 4}, rows
    found = [*at[~np.isnan(at)].tolist(), *(feature.ends or ())]
    low, high = (min(found), max(found)) if found else (0.0, 1.0)
    pad = 0.05 * (high - low) or 0.1 * abs(low) or 0.5
    x_axis = axis(nticks=4, exponentformat="e", minexponent=5, range=[low - pad, high + pad])
    if feature.kind == "log":
        step = {"dtick": math.ceil((high - low) / 4)} if high - low > 1 else {}
        plain = "none" if low > -5 and high < 6 else "e"
        x_axis |= {"type": "log", "exponentformat": plain} | step
        at = 10**at
    traces = _points(info, place, groups, (at, scores), "%{{x:.4g}}: %{{y:{}}}")
    return traces, x_axis, score_axis | {"nticks": 3 + most // 4}


def _window(info: ParametersInfo, place: int) -> list[float]:
    """The range of an objective's axis: the front, the baseline, all trials but collapsed ones."""
    objective, scores = info.pareto.objectives[place], info.pareto.values[:, place]
    inside = scores == fenced(scores, maximize=objective.direction == "maximize")
    kept = scores[inside | info.pareto.is_on_front].tolist()
    kept += [values[place] for name, values in info.pareto.references.items() if name == "baseline"]
    kept = [one for one in kept if math.isfinite(one)]
    low, high = min(kept, default=0.0), max(kept, default=1.0)
    # Two points of accuracy at the least, or noise would look like a trend.
    least = 0.02 if is_accuracy(objective.metric) else 0.1 * max(abs(low), abs(high)) or 1.0
    pad = max(0.06 * (high - low), (least - (high - low)) / 2)
    return [low - pad, high + pad]


def _mix_axes(info: ParametersInfo, panel: Panel, place: int, groups: Groups) -> Axes:
    """A triangle whose corners are one part alone, its trials coloured by their scores."""
    objective = info.pareto.objectives[place]
    parts = np.stack([feature.values for feature in panel.features])
    shares = parts / np.where(parts.sum(axis=0) > 0, parts.sum(axis=0), math.nan)
    names = [plain_text(shortened(feature.part, 11)) for feature in panel.features]
    outline = Scatter(
        x=[0, 0.5, 1, 0],
        y=[0, 1, 0, 0],
        mode="lines+text",
        line={"color": INK, "width": 1},
        text=[names[1], names[0], names[2], ""],
        textposition=["bottom left", "top center", "bottom center", "top center"],
        cliponaxis=False,
        textfont=_SMALL,
        hoverinfo="skip",
        showlegend=False,
    )
    low, high = _window(info, place)
    best = min(high, 1.0) if is_accuracy(objective.metric) else high
    bar = {"thickness": 8, "outlinewidth": 0, "tickfont": _SMALL, "tickvals": [low, best]}
    bar |= {"xanchor": "right", "yanchor": "top"}
    bar |= {"tickformat": ".1%"} if is_accuracy(objective.metric) else {}
    colors = {"colorscale": SEQUENTIAL, "cmin": low, "cmax": best, "colorbar": bar}
    colors |= {"reversescale": objective.direction == "minimize"}
    texts = [
        ", ".join(f"{name} {share:.0%}" for name, share in zip(names, of_trial, strict=True))
        for of_trial in shares.T.tolist()
    ]
    at, said = (shares[2] + shares[0] / 2, shares[0]), "%{{text}}: %{{marker.color:{}}}"
    traces = [outline, *_points(info, place, groups, at, said, texts=texts, colors=colors)]
    bare: dict[str, Any] = {"showline": False, "showgrid": False, "ticks": ""}
    bare |= {"tickvals": [], "ticktext": []}
    return traces, axis(range=[-0.6, 2.5], **bare), axis(range=[-0.22, 1.25], **bare)


def _title(info: ParametersInfo) -> str:
    """What matters most, where an order is shown; else the question."""
    names, study = info.names, info.pareto.study
    most: dict[str, list[str]] = {}
    for metric, found in zip(info.metrics, info.importances, strict=True):
        if one := leading(found):
            most.setdefault(names[one.key], []).append(metric_words(metric))
    if most:
        said = (f"{name} for {' and '.join(words)}" for name, words in most.items())
        return f"What matters most: {', '.join(said)}"
    return f"Which settings of {study} matter, and where?"


def _facts(info: ParametersInfo, panels: Sequence[Panel], groups: Groups) -> list[str]:
    """What the numbers stand on, which order is not shown, what is left out, how to read it."""
    pareto, count = info.pareto, info.compared
    basis, *others = [*several_facts([pareto]), *pareto.marks]
    said = [basis]
    has_shares = any(info.importances) and not info.named
    if has_shares and not all(map(leading, info.importances)):
        said.append("order not shown")
    if not any(info.importances) and count:
        said.append(f"{count} trials are too few for importance")
    said += others
    numbers = int(np.isfinite(pareto.values).all(axis=1).sum())
    drawn = sum(len(places) for *_, places in groups)
    counts = {
        "trials with a value that is not a number": len(pareto.points) - numbers,
        f"not drawn, at random, none {front_words(pareto.objectives)}": numbers - drawn,
    }
    said += [f"{number:,} {what}" for what, number in counts.items() if number]
    said += ["trials that violate a constraint are among those shown"] if pareto.violating else []
    if len(pareto.objectives) > MOST_OBJECTIVES:
        said.append(f"the first {MOST_OBJECTIVES} of {len(pareto.objectives)} objectives")
    if left := [info.names[one.key] for one in info.panels if one not in panels]:
        said.append(f"no room for {few(left)}" + shown_if(not info.named, ": `params` draws them"))
    if has_shares:
        interval = f"{LEVEL:.0%} intervals by bootstrap; grey ticks: what chance gives"
        said.append(f"importance: PED-ANOVA of {count} trials, {interval}")
    for effects in (one.effects[0] for one in panels if one.effects and one.effects[0].taps):
        said.append(
            f"layers: with minus without, least squares with {LEVEL:.0%} intervals, the others "
            "fixed, not a tested effect; no mark: in all trials, or too few"
        )
        said += [f"adjusted for {', '.join(effects.adjusted)}"] if effects.adjusted else []
    return list(dict.fromkeys(said))


FIGURE = FigureKind(
    name="parameters",
    section="settings",
    title="Which settings matter, and where",
    says="First the importance of each setting with its interval, then each setting with the "
    "scores of all trials, the most important first.",
    read=info_of,
    draw=draw,
    takes=("params", "objective"),
)
