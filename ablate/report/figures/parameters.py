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
from itertools import chain, groupby
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray
from plotly.graph_objects import Figure, Scatter

from ablate.ablation.study_source import StudySource
from ablate.analysis.columns import PARAM, flat_param
from ablate.analysis.drawn import MOST_OBJECTIVES, fenced
from ablate.analysis.features import Feature, find_params, trial_features
from ablate.analysis.importance import Importance, importances, leading, trials_needed
from ablate.analysis.layers import TapEffects, tap_effects
from ablate.analysis.objectives import front_words, is_accuracy, objective_place, short_metric
from ablate.analysis.pareto import ParetoInfo, pareto_info
from ablate.errors import NothingToDrawError
from ablate.files.shown import few
from ablate.finetune.loss import in_order
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
    text_pixels,
    trace_type,
)
from ablate.report.figures.figure import FigureKind, FigureOptions, the_search
from ablate.report.numbers import metric_label, metric_words, plain_text, short_names, shortened
from ablate.report.style import FAINT_INK, INK, SEQUENTIAL, SMALL_SIZE, TITLE_SIZE, Look, terms_look
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
    kind: Literal["number", "choice", "subset", "mix"]
    features: tuple[Feature, ...]
    effects: tuple[TapEffects, ...] = ()


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
            key: shortened(max(short, ".".join(key.split(".")[1:][-2:]), key=len), 24)
            for key, short in short_names(sorted(keys)).items()
        }

    def frame(self) -> pd.DataFrame:
        """A row a trial, an importance and a layer (`kind`): of a trial as `ParetoInfo.frame` with
        `param.<key>` of the shown parameters; of others metric, key, and the attributes of
        `Importance` and `TapEffect`."""
        import pandas as pd

        shown = {feature.key for panel in self.panels for feature in panel.features}
        values = [
            {PARAM + name: one for key in keys for name, one in flat_param(key, of[key]).items()}
            for of in (point.params for point in self.pareto.points)
            for keys in [[key for key in of if key in shown]]
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
    by_base: dict[str, list[str]] = {}
    for feature in features:
        by_base.setdefault(feature.key, []).append(feature.name)
    keys = list(dict.fromkeys(name for base in bases for name in by_base.get(base, [base])))
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
        looks={in_order(terms): look for terms, look in looks(source).items()},
    )
    panels = list(_panels(features, pareto, places, space))
    if options.params:
        of_name = {part.name: panel for panel in panels for part in panel.features}
        of_name |= {panel.key: panel for panel in panels}
        names = find_params(options.params, keys)
        panels = list(dict.fromkeys(of_name[name] for name in names if name in of_name))
    else:
        order = [*info.ranked, *bases]
        panels.sort(key=lambda panel: order.index(panel.features[0].key))
        differ = [panel for panel in panels if any(one.varies for one in panel.features)]
        panels = differ or panels
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


# -- The drawing: cells side by side, each with an axis for every objective, one below the other ---


_MARGINS, _LEAST_CELL = 26, 196  # pixels left and right, and of a cell: as many as fit
_STRIP, _LEAST_STRIP, _BETWEEN, _FOOT, _ROW, _MOST_ROWS = 112, 50, 12, 40, 18, 24
"""Heights of an axis, and under it; under the last of a cell, for its ticks and name; of a row."""
_MOST_MARKS = 24_000  # of a figure: about 1 MB, which a browser still turns over quickly
_FAINT_LINE = {"color": FAINT_INK, "width": 1, "dash": "dot"}
_SMALL = {"size": SMALL_SIZE}

Axes = tuple[list[Any], dict[str, Any], dict[str, Any]]  # traces, and their axes x and y
Groups = Sequence[tuple[Look, bool, NDArray[np.int64]]]  # look, on the front, places in the points


def draw(info: ParametersInfo, sheet: Sheet) -> Figure:
    """Draw importances, then a panel a parameter; without trials the figure says so."""
    count, width = len(info.shown), sheet.width - _MARGINS
    across = max(1, width // _LEAST_CELL)
    legend, title = _legend(info), _title(info)
    lines = 1 + (text_pixels(title, 1.1 * TITLE_SIZE) > sheet.width - 20)
    entries = sum(text_pixels(entry.name, SMALL_SIZE) + 44 for entry in legend)
    around = (42 + 19 * lines if sheet.titled else 16) + 12 + 20 * math.ceil(entries / width)
    room = len(info.panels) if info.named else 8 if sheet.is_wide else 6
    if sheet.height is not None:
        least = count * (_LEAST_STRIP + _BETWEEN) + _FOOT
        room = min(room, across * max(1, int((sheet.height - around) // least)))
    order = info.ranked if room > 2 and not info.named else []
    panels = list(info.panels[: room - bool(order)]) if info.pareto.points else []
    for panel in info.panels[len(panels) :] if panels and not info.named else ():
        if panel.key.rpartition(".")[2] in ("learning_rate", "lr"):
            panels[-1] = panel  # it has a panel always
    cells = [*[None] * bool(order), *panels]
    rows = [cells[at : at + across] for at in range(0, len(cells), across)]
    heights = [np.max([_heights(one, len(order)) for one in row], axis=0).tolist() for row in rows]
    if sheet.height is not None:
        spare = (sheet.height - around - sum(foot for *_, foot in heights)) / max(len(rows), 1)
        heights = [(max(spare / count - gap, 20.0), gap, foot) for _, gap, foot in heights]
    inside = sum(count * (strip + gap) + foot for strip, gap, foot in heights) or 300.0
    groups = _groups(info, _MOST_MARKS // max(count * len(panels), 1))
    layout: dict[str, Any] = {}
    top, shown = 0.0, list[Any](legend)
    for row, (strip, gap, foot) in zip(rows, heights, strict=True):
        for column, cell in enumerate(row):
            for at in range(count):
                number = len(layout) // 2 + 1
                traces, x_axis, y_axis = _axes(info, cell, at, groups, int(strip // _ROW))
                texts = [*y_axis.get("ticktext", ["1000%"]), ""]
                gutter = 28 + max(text_pixels(text, SMALL_SIZE) for text in texts)
                left = column / across + min(0.6 / across, gutter / width)
                under = top + at * (strip + gap)
                right, low = (column + 1) / across - 8 / width, 1 - (under + strip) / inside
                for trace in traces:
                    if trace.marker.showscale:
                        bar = {"x": right, "y": 1 - under / inside, "len": 0.7 * strip / inside}
                        trace.marker.colorbar.update(bar)
                    shown.append(trace.update(xaxis=f"x{number}", yaxis=f"y{number}"))
                x_axis |= {"domain": [left, right], "anchor": f"y{number}"}
                y_axis |= {"domain": [max(low, 0), 1 - under / inside], "anchor": f"x{number}"}
                layout |= {f"xaxis{number}": x_axis, f"yaxis{number}": y_axis}
        top += count * (strip + gap) + foot
    facts = _facts(info, panels, groups)
    for row, (strip, *_) in zip(rows, heights, strict=True):
        for cell in row:
            most, fits = _rows(cell, len(order)), int(strip // _ROW)
            facts += [f"room for {fits} of {most} rows"] * (fits < most)
    return finish(
        Figure(shown, layout),
        sheet,
        title=title,
        facts=facts,
        meta=basis_meta(FIGURE.title, info.pareto),
        height=around + inside,
        nothing="" if panels else NO_TRIAL,
    )


def _heights(panel: Panel | None, parameters: int) -> tuple[float, float, float]:
    """Of an axis where it is free, between two, and under a cell: for its ticks and name."""
    strip = max(_STRIP, _ROW * min(_rows(panel, parameters), _MOST_ROWS))
    if panel is not None and panel.effects:  # ticks for each axis, and two lines of a name
        return strip, 2 * _BETWEEN, _FOOT + 16
    return strip, _BETWEEN, _FOOT + 50 * (panel is not None and _is_turned(panel.features[0]))


def _rows(panel: Panel | None, parameters: int) -> int:
    return parameters if panel is None else len(panel.features) * bool(panel.effects)


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
        entries[f"Faint: not {front_words(pareto.objectives)}"] = {"marker": faint}
    if entries and "baseline" in pareto.references:
        entries["Baseline"] = {"mode": "lines", "line": _FAINT_LINE}
    usual = {"x": [None], "y": [None], "mode": "markers", "showlegend": True, "hoverinfo": "skip"}
    return [Scatter(usual | {"name": plain_text(name)} | look) for name, look in entries.items()]


def _axes(info: ParametersInfo, panel: Panel | None, at: int, groups: Groups, most: int) -> Axes:
    """A panel, or the importances, for the objective `at`; with room for so many rows."""
    metric, is_last = info.metrics[at], at == len(info.shown) - 1
    has_ticks, name = is_last, "importance, share"
    if panel is None:
        of_key = {one.key: one for one in info.importances[at]}
        rows = [(info.names[key], *astuple(of_key[key])[1:]) for key in info.ranked[:most]]
        traces, x, y = _row_axes(rows, 100)
        x |= {"range": [-3, 103], "tickvals": [0, 50, 100], "ticktext": ["0", "50", "100%"]}
    elif panel.kind == "subset":
        taps = panel.effects[at].taps[:most]
        short = short_names([one.tap for one in taps])
        rows = [(short[one.tap], one.difference, one.low, one.high, math.nan) for one in taps]
        traces, x, y = _row_axes(rows, 100 if is_accuracy(metric) else 1)
        x |= {"tickformat": "+.3~g", "zeroline": True, "zerolinecolor": FAINT_INK}
        has_ticks, name = True, f"{plain_text(info.names[panel.key])}<br>with minus without"
    else:
        trials = int((~np.isnan(panel.features[0].values)).sum())
        rare = f" (n = {trials})" * (trials < len(info.pareto.points))
        name = plain_text(info.names[panel.key]) + rare
        if panel.kind == "mix":
            traces, x, y = _mix_axes(info, panel, info.shown[at], groups)
        else:
            traces, x, y = _score_axes(info, panel.features[0], info.shown[at], groups)
            y["nticks"] = 3 + most // 4
    label = short_metric(metric) if is_accuracy(metric) else metric_label(metric)
    own = {"automargin": False, "tickangle": 0, "tickfont": _SMALL}
    small = {"font": _SMALL, "standoff": 4}
    x = own | x | {"showticklabels": has_ticks, "title": small | {"text": name * is_last}}
    return traces, x, own | y | {"title": small | {"text": plain_text(label)}}


def _row_axes(rows: Sequence[tuple[Any, ...]], factor: float) -> Axes:
    """Rows of a name, and times a factor a value, the ends of its interval, what chance gives."""
    known = [at for at, row in enumerate(rows) if math.isfinite(row[2])]
    value, low, high, chance = factor * np.array([rows[at][1:] for at in known]).reshape(-1, 4).T
    ends = min([0.0, *low]), max([0.0, *high]) or 1.0
    pad = 0.06 * (ends[1] - ends[0])
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
    if not known:
        word = {"mode": "text", "text": ["too few trials"], "textfont": _SMALL, "showlegend": False}
        traces.append(Scatter(x=[sum(ends) / 2], y=[len(rows) / 2 - 0.5], **word))
    texts = [plain_text(shortened(row[0], 16)) for row in rows]
    x_axis = axis(range=[ends[0] - pad, ends[1] + pad], nticks=4)
    y_axis = axis(range=[len(rows) - 0.4, -0.6], tickvals=[*range(len(rows))], ticktext=texts)
    return traces, x_axis, y_axis | {"showgrid": False, "ticks": ""}


def _points(
    info: ParametersInfo,
    place: int,
    groups: Groups,
    *,
    at: Sequence[NDArray[Any]],
    texts: Sequence[str] | None = None,
    colors: dict[str, Any] | None = None,
) -> list[Any]:
    """Traces of the trials at x and y, except where x is NaN, with their texts for the hover (None:
    the value is read from x), coloured by the objective if there is a scale for it."""
    points, metric = info.pareto.points, info.pareto.objectives[place].metric
    form, of_value = ".1%" if is_accuracy(metric) else ".4g", "marker.color" if colors else "y"
    said = f"<b>Trial %{{customdata}}</b><br>{plain_text(metric_label(metric))}: "
    said += f"%{{{of_value}:{form}}}<br>{'%{x:.4g}' if texts is None else '%{text}'}<extra></extra>"
    traces: list[Any] = []
    for look, on_front, places in groups:
        there = places[np.isfinite(at[0][places])]
        style = marker(look, on_front=on_front)
        if colors:
            scores = info.pareto.values[there, place].astype(np.float32)
            line = {"color": INK, "width": 1.5 if on_front else 0}
            style |= colors | {"color": scores, "line": line, "showscale": not traces}
        traces.append(
            trace_type(len(points))(
                x=at[0][there],
                y=at[1][there].astype(np.float32),
                customdata=[points[one].number for one in there],
                text=None if texts is None else [texts[one] for one in there],
                mode="markers",
                marker=style,
                hovertemplate=said,
                showlegend=False,
            )
        )
    return traces


def _score_axes(info: ParametersInfo, feature: Feature, place: int, groups: Groups) -> Axes:
    """Scores against a number, or in a strip a choice."""
    pareto, at, choices = info.pareto, feature.values, feature.choices
    found = [*at[~np.isnan(at)].tolist(), *(feature.ends or ())]
    low, high = (min(found), max(found)) if found else (0.0, 1.0)
    pad = 0.05 * (high - low) or 0.1 * abs(low) or 0.5
    ends = [low - pad, high + pad]
    x_axis = axis(nticks=4, exponentformat="e", minexponent=5)
    if choices:  # the trials of one are spread around it evenly (Roberts 2018, the R2 sequence)
        numbers = np.array([point.number for point in pareto.points], dtype=np.int64)
        at = at + 0.28 * (2 * ((numbers * 0.7548776662466927) % 1) - 1)
        ends, every = [-0.5, len(choices) - 0.5], math.ceil(len(choices) / 9)
        ticks = list(range(0, len(choices), every))
        x_axis |= {"tickvals": ticks, "ticktext": _choice_texts(choices)[::every]}
        x_axis |= {"tickangle": -90} if _is_turned(feature) else {}
    x_axis |= {"range": ends}
    if feature.kind == "log":
        step = {"dtick": math.ceil((high - low) / 4)} if high - low > 1 else {}
        plain = "none" if low > -5 and high < 6 else "e"
        x_axis |= {"type": "log", "exponentformat": plain} | step
        at, ends = 10**at, (10 ** np.clip(ends, -300, 300)).tolist()
    traces: list[Any] = []
    if baseline := pareto.references.get("baseline"):
        dotted = {"x": ends, "y": [baseline[place]] * 2, "mode": "lines", "line": _FAINT_LINE}
        traces.append(Scatter(**dotted, hoverinfo="skip", showlegend=False))
    names = dict(enumerate(map(plain_text, choices)))
    texts = [names.get(value, "") for value in feature.values.tolist()] if choices else None
    traces += _points(info, place, groups, at=(at, pareto.values[:, place]), texts=texts)
    y_axis = metric_axis(pareto.objectives[place].metric) | {"range": _window(info, place)}
    return traces, x_axis, y_axis


def _choice_texts(choices: Sequence[str]) -> list[str]:
    """Short names of choices; sets of loss terms without the "clean" that all have."""
    same = "clean+" * all(choice.startswith("clean+") for choice in choices)
    return [plain_text(shortened(choice.removeprefix(same), 10)) for choice in choices]


def _is_turned(feature: Feature) -> bool:
    """Whether the names of its choices are too long to stand side by side."""
    return sum(map(len, _choice_texts(feature.choices))) + len(feature.choices) > 18


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
        textposition=["bottom center", "top center", "bottom center", "top center"],
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
    at = shares[2] + shares[0] / 2, shares[0]
    traces = [outline, *_points(info, place, groups, at=at, texts=texts, colors=colors)]
    bare: dict[str, Any] = {"showline": False, "showgrid": False, "ticks": ""}
    bare |= {"tickvals": [], "ticktext": []}
    return traces, axis(range=[-0.3, 1.7], **bare), axis(range=[-0.22, 1.25], **bare)


def _title(info: ParametersInfo) -> str:
    """What matters most, where an order is shown; else the question."""
    names, study = info.names, info.pareto.study
    if info.named:
        return f"Scores of {study} by {few([names[one.key] for one in info.panels])}"
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
    open_orders = {
        metric_words(metric): trials_needed(found, count) - count
        for metric, found in zip(info.metrics, info.importances, strict=True)
        if has_shares and not leading(found)
    }
    if open_orders:
        of = "" if len(open_orders) == len(info.shown) else f" for {' and '.join(open_orders)}"
        more = max(open_orders.values())  # in one digit
        known = f": some {float(f'{more:.0e}'):,.0f} trials more" if math.isfinite(more) else ""
        said.append(f"order not shown{of}{known}")
    if not any(info.importances) and count:
        said.append(f"{count} trials are too few for importance")
    said += others
    values = pareto.values[np.isfinite(pareto.values).all(axis=1)][:, info.shown]
    ends = np.array([_window(info, place) for place in info.shown]).T
    outside = int(((values < ends[0]) | (values > ends[1])).any(axis=1).sum())
    drawn = sum(len(places) for *_, places in groups)
    counts = {
        "trials with a value that is not a number": len(pareto.points) - len(values),
        "outside the axes": outside,
        f"not drawn, at random, none {front_words(pareto.objectives)}": len(values) - drawn,
    }
    said += [f"{number:,} {what}" for what, number in counts.items() if number]
    said += ["trials that violate a constraint are among those shown"] * (pareto.violating > 0)
    if left := [info.names[one.key] for one in info.panels if one not in panels]:
        said.append(f"no room for {few(left)}" + ": --params draws them" * (not info.named))
    if 1 < len(info.shown) < len(pareto.objectives):
        said.append(f"the first {len(info.shown)} of {len(pareto.objectives)} objectives")
    if has_shares:
        interval = f"{LEVEL:.0%} intervals by bootstrap; grey ticks: what chance gives"
        said.append(f"importance: PED-ANOVA of {count} trials, {interval}")
    for effects in (one.effects[0] for one in panels if one.effects and one.effects[0].taps):
        said.append(
            f"layers: least squares with {LEVEL:.0%} intervals, the others fixed, not a tested "
            "effect; no mark: in all trials, or too few"
        )
        said += [f"adjusted for {', '.join(effects.adjusted)}"] * bool(effects.adjusted)
    return list(dict.fromkeys(said))


FIGURE = FigureKind(
    name="parameters",
    title="Which settings matter, and where",
    says="First the importance of each setting with its interval, then each setting with the "
    "scores of all trials, the most important first.",
    read=info_of,
    draw=draw,
    takes=("params", "objective"),
)
