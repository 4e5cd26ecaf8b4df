"""The parameters figure: which settings matter, and where?

First the importance of each parameter, then a panel a parameter, the most important first: scores
against a number, a ratio of a mix or a choice; of layers the gain with minus without.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
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
from ablate.analysis.hypervolume import maximised
from ablate.analysis.importance import Importance, TapEffects, importances, leading, tap_effects
from ablate.analysis.objectives import front_words, is_accuracy, objective_place, short_metric
from ablate.analysis.pareto import ParetoInfo, pareto_info
from ablate.errors import NothingToDrawError
from ablate.files.shown import few, shown_if
from ablate.report.figures import canvas
from ablate.report.figures.canvas import Sheet, axis
from ablate.report.figures.figure import FigureKind, FigureOptions, the_search
from ablate.report.numbers import metric_label, metric_words, plain_text, short_names, shortened
from ablate.report.style import FAINT_INK, INK, SMALL_SIZE, Look, terms_look
from ablate.robustness.measures import LEVEL
from ablate.study.keys import written_domains

if TYPE_CHECKING:
    import pandas as pd


# -- The numbers ---------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Panel:
    """What one panel shows: the importances, a parameter, or a ratio of a mix.

    Attributes:
        features: one a panel; of a subset a flag an item; of the importances none.
        effects: of a subset, one a shown objective.
    """

    key: str
    kind: Literal["importance", "number", "choice", "subset"]
    features: tuple[Feature, ...] = ()
    effects: tuple[TapEffects, ...] = ()

    @property
    def feature(self) -> Feature:
        return self.features[0]

    def title(self, names: Mapping[str, str]) -> str:
        return shown_if(self.effects, "gain by ") + names.get(self.key, self.key)


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
            parameter, or none of too few trials; ranked: their keys, over all objectives.
        looks: by set of loss terms.
    """

    pareto: ParetoInfo
    shown: tuple[int, ...]
    keys: tuple[str, ...]
    panels: tuple[Panel, ...]
    named: bool
    compared: int
    importances: tuple[tuple[Importance, ...], ...]
    ranked: Sequence[str]
    looks: Mapping[str, Look]

    @property
    def metrics(self) -> list[str]:
        return [self.pareto.objectives[place].metric for place in self.shown]

    @cached_property
    def names(self) -> dict[str, str]:
        """Of keys, as short as they differ, at most with their section: `fma.weight`."""
        keys = {*self.keys, *self.ranked, *(panel.key for panel in self.panels)}
        return {
            key: shortened(max(short, ".".join(key.split(".")[1:][-2:]), key=len), 18)
            for key, short in short_names(sorted(keys)).items()
        }

    def rows(self, panel: Panel) -> int:
        """Of a panel with names at its left: parameters, layers or choices; else 0."""
        if panel.kind == "importance":
            return len(self.ranked)
        choices = panel.feature.choices if panel.kind == "choice" else ()
        return len(panel.features if panel.kind == "subset" else choices)

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
        for metric, importances_of in zip(self.metrics, self.importances, strict=True):
            row = {"kind": "importance", "metric": metric}
            rows += [row | asdict(importance) for importance in importances_of]
        for panel in self.panels:
            for metric, effects in zip(self.metrics, panel.effects, strict=False):
                row = {"kind": "layer", "metric": metric, "key": panel.key}
                rows += [row | asdict(tap) for tap in effects.taps]
        table = pd.concat([trials, pd.DataFrame(rows)], ignore_index=True)
        whole = table.columns.intersection(["number", "trials_in", "trials_out"])
        return table.astype(dict.fromkeys(whole, "Int64"))


def _ranked(importances_of: Iterable[Iterable[Importance]]) -> list[str]:
    """Keys by how far their importance is beyond chance, over the shown objectives."""
    beyond: dict[str, float] = {}
    for importance in chain.from_iterable(importances_of):
        share = max(importance.beyond_chance, 0.0)
        beyond[importance.key] = beyond.get(importance.key, 0.0) + share
    return sorted(beyond, key=lambda key: -beyond[key])


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
    searched = sorted({key for row in record.rows if not row.outside for key in row.params})
    bases = list(dict.fromkeys([*written_domains(space), *searched]))
    names_of: dict[str, dict[str, None]] = {}
    for feature in features:
        names_of.setdefault(feature.key, {})[feature.name] = None
    keys = [name for base in bases for name in names_of.get(base, [base])]
    if not keys:
        why = "needs a parameter that is searched, got none"
        raise NothingToDrawError(record.name, FIGURE.name, why, "Search one in its space.")
    is_own = np.array([point.copy_of is None for point in pareto.points], dtype=bool)
    compared = is_own & np.isfinite(pareto.values).all(axis=1)
    some = [replace(feature, values=feature.values[compared]) for feature in features]
    signs = [-1 if is_maximised else 1 for is_maximised in maximised(pareto.objectives)]
    losses = (pareto.values * signs)[compared].T
    by_objective = tuple(importances(some, losses[at]) for at in places)
    by_importance = _ranked(by_objective)
    panels = list(_panels(features, pareto, places, space))
    if options.params:
        of_name = {part.name: panel for panel in panels for part in panel.features}
        of_name |= {panel.key: panel for panel in panels}
        named = find_params(options.params, keys)
        panels = list(dict.fromkeys(of_name[name] for name in named if name in of_name))
    else:
        order = [*by_importance, *bases]
        panels.sort(key=lambda panel: order.index(panel.features[0].key))
        varying = [panel for panel in panels if any(part.varies for part in panel.features)]
        panels = varying or panels
    return ParametersInfo(
        pareto=pareto,
        shown=places,
        keys=tuple(keys),
        panels=tuple(panels),
        named=bool(options.params),
        compared=int(compared.sum()),
        importances=by_objective,
        ranked=by_importance,
        looks=canvas.looks(source),
    )


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
        else:  # ratios of a mix
            yield from (Panel(ratio.name, "number", (ratio,)) for ratio in parts)


# -- The drawing: a row a parameter, a column an objective; on a wide sheet two parameters a row ---


_STRIP = 112  # pixels: height of a panel
_BETWEEN, _GUTTER = 48, 56  # between two panels of a column, and between columns
_AROUND = 200  # of titles, ticks and legend
_ROW, _MOST_ROWS = 18, 24  # height of a row of a panel; rows that make a panel higher
_MOST_WIDE, _MOST_NARROW = 10, 8  # panels of a sheet whose height is free
_FAINT_LINE = {"color": FAINT_INK, "width": 1, "dash": "dot"}
_SMALL = {"size": SMALL_SIZE}

Drawn = tuple[list[Any], dict[str, Any], dict[str, Any]]  # traces, and their axes x and y


def draw(info: ParametersInfo, sheet: Sheet) -> Figure:
    """Draw importances, then a panel a parameter; without trials the figure says so."""
    across = len(info.shown)
    aside = 2 if sheet.width >= 380 * across else 1
    most = _MOST_WIDE if sheet.is_wide else _MOST_NARROW
    room = len(info.panels) if info.named else most
    if sheet.height is not None:
        room = min(room, aside * sheet.rows_that_fit(room, 0.75 * _STRIP + _BETWEEN))
    cells = list(info.panels[:room]) if info.pareto.points else []
    if info.ranked and cells and room > 2 and not info.named:
        cells = [Panel("importance", "importance"), *cells[: room - 1]]
    left_out = [panel for panel in info.panels if panel not in cells]
    rates = [one for one in left_out if one.key.rpartition(".")[2] in ("learning_rate", "lr")]
    if cells and rates and not info.named:
        # Other settings are judged at a learning rate: whether its best lie inside its range.
        cells[-1] = rates[0]
    rows = [cells[at : at + aside] for at in range(0, len(cells), aside)]
    needed = [max((info.rows(cell) for cell in in_row), default=0) for in_row in rows]
    strips = [float(max(_STRIP, _ROW * min(count, _MOST_ROWS))) for count in needed]
    if sheet.height is not None:
        strips = [(sheet.height - _AROUND) / max(len(rows), 1)] * len(rows)
    inside = sum(strips) + _BETWEEN * max(len(rows) - 1, 0) if rows else 200.0
    figure = Figure()
    if rows:
        names = product((cell.title(info.names) for cell in cells), info.metrics)
        figure = make_subplots(
            len(rows),
            aside * across,
            row_heights=strips,
            vertical_spacing=_BETWEEN / inside,
            horizontal_spacing=_GUTTER / sheet.width,
            specs=[[{}] * len(row) * across + [None] * (aside - len(row)) * across for row in rows],
            subplot_titles=[
                plain_text(f"{shortened(name, 16)}, {_short(metric)}") for name, metric in names
            ],
        )
        figure.update_annotations(font=_SMALL)
    baseline = info.pareto.references.get("baseline")
    axes: dict[str, Any] = {}
    lines: list[dict[str, Any]] = []
    for row, (in_row, strip) in enumerate(zip(rows, strips, strict=True), 1):
        for column, (cell, at) in enumerate(product(in_row, range(across)), 1):
            traces, x_axis, y_axis = _drawn(info, cell, at, int(strip // _ROW))
            if info.rows(cell):  # their names at the sheet's edges
                side, outer = ("left", 1) if column <= across else ("right", aside * across)
                y_axis |= {"side": side, "showticklabels": column == outer}
            figure.add_traces(traces, rows=row, cols=column)
            x, y = figure.get_subplot(row, column)
            for made, drawn in ((x, x_axis | {"tickangle": 0}), (y, y_axis)):
                axes[made.plotly_name] = made.to_plotly_json() | drawn | {"tickfont": _SMALL}
            if traces and baseline is not None and cell.kind in ("number", "choice"):
                at_score, along = (y, x) if cell.kind == "number" else (x, y)
                lines.append(_line(at_score, along, baseline[info.shown[at]]))
    # All at once: plotly reads the whole layout for each that is added.
    figure.update_layout(axes | {"shapes": lines}, overwrite=True)
    facts = _facts(info, cells)
    for strip, count in zip(strips, needed, strict=True):
        fitting = int(strip // _ROW)
        facts += [f"room for {fitting} of {count} rows"] if fitting < count else []
    canvas.finish(
        figure,
        sheet,
        title=_title(info),
        facts=facts,
        meta=canvas.basis_meta(FIGURE.title, info.pareto),
        height=_AROUND + inside,
        nothing="" if cells else canvas.NO_TRIAL,
    )
    if rows:  # for the titles of panels
        figure.update_layout(margin_t=figure.layout.margin.t + 20)
    return figure


def _line(at_score: Any, along: Any, score: float) -> dict[str, Any]:
    """plotly's shape of the baseline's score: across a panel, whose two axes are given."""
    own, other = (one.plotly_name.replace("axis", "") for one in (at_score, along))
    ends = {f"{own[0]}{end}": score for end in (0, 1)} | {f"{other[0]}{end}": end for end in (0, 1)}
    refs = {f"{own[0]}ref": own, f"{other[0]}ref": f"{other} domain"}
    return {"type": "line", "line": _FAINT_LINE, "layer": "below", **refs, **ends}


def _short(metric: str) -> str:
    return short_metric(metric) if is_accuracy(metric) else metric_label(metric)


def _drawn(info: ParametersInfo, panel: Panel, at: int, most: int) -> Drawn:
    """A panel for the objective `at`; with room for so many rows."""
    if panel.kind == "importance":
        of_key = {importance.key: importance for importance in info.importances[at]}
        rows = [(info.names[key], *astuple(of_key[key])[1:]) for key in info.ranked[:most]]
        traces, x, y = _intervals(rows, 100)
        ticks = {"tickvals": [0, 50, 100], "ticktext": ["0", "50", "100%"]}
        return traces, x | ticks | {"range": [-3, 103]}, y
    if panel.kind == "subset":
        taps = panel.effects[at].taps[:most]
        short = short_names([tap.tap for tap in taps])
        rows = [(short[tap.tap], tap.difference, tap.low, tap.high, math.nan) for tap in taps]
        return _intervals(rows, 100 if is_accuracy(info.metrics[at]) else 1)
    draw_scores = _choices if panel.kind == "choice" else _numbers
    return draw_scores(info, panel.feature, info.shown[at], most)


def _intervals(rows: Sequence[tuple[Any, ...]], factor: float) -> Drawn:
    """Rows of a name, and times a factor a value, the ends of its interval, what chance gives."""
    known = [at for at, row in enumerate(rows) if math.isfinite(row[2])]
    value, low, high, chance = factor * np.array([rows[at][1:] for at in known]).reshape(-1, 4).T
    tick = {"symbol": "line-ns", "size": 9, "line": {"color": FAINT_INK, "width": 2}}
    texts = map("{:.3g}, {:.3g} to {:.3g}".format, value, low, high)
    hover = [
        f"<b>{plain_text(rows[at][0])}</b><br>{text}" for at, text in zip(known, texts, strict=True)
    ]
    bars = canvas.error_bars(low, value, high, color=INK, thickness=1.2)
    usual = {"y": known, "mode": "markers", "showlegend": False}
    dot = {"marker": {"color": INK, "size": 8}, "error_x": bars}
    traces = [
        Scatter(x=chance, marker=tick, hoverinfo="skip", **usual),
        Scatter(x=value, hovertext=hover, hoverinfo="text", **dot, **usual),
    ]
    zero: dict[str, Any] = {"zeroline": True, "zerolinecolor": FAINT_INK, "rangemode": "tozero"}
    drawn = traces if known else []  # plotly draws the axes of empty traces at NaN
    return drawn, axis(nticks=4, tickformat="+.3~g", **zero), _row_axis([row[0] for row in rows])


def _row_axis(names: Sequence[str]) -> dict[str, Any]:
    texts = [plain_text(shortened(name, 16)) for name in names]
    places = {"tickvals": [*range(len(names))], "range": [len(names) - 0.4, -0.6]}
    return axis(ticks="", showgrid=False, ticktext=texts) | places


def _trials(
    info: ParametersInfo,
    place: int,
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    *,
    hover: str,
    texts: Sequence[str] = (),
) -> Iterator[Any]:
    """Traces of the trials at x and y, except where one is NaN, the front last."""
    points, is_there = info.pareto.points, np.isfinite(info.pareto.values).all(axis=1)
    counts = Counter(point.loss_terms for point in points)
    form = ".1%" if is_accuracy(info.pareto.objectives[place].metric) else ".4g"
    alike: dict[tuple[bool, str], list[int]] = {}
    for at in np.flatnonzero(is_there & np.isfinite(x) & np.isfinite(y)).tolist():
        alike.setdefault((points[at].on_front, points[at].loss_terms), []).append(at)
    for (on_front, terms), places in sorted(alike.items()):
        look = info.looks.get(terms, terms_look(""))
        yield canvas.trace_type(len(points))(
            x=canvas.single_precision(x[places]),
            y=canvas.single_precision(y[places]),
            customdata=np.array([points[at].number for at in places], dtype=np.int32),
            text=[texts[at] for at in places] if texts else None,
            mode="markers",
            marker=canvas.marker(look, on_front=on_front),
            hovertemplate=f"<b>Trial %{{customdata}}</b><br>{hover.format(form)}<extra></extra>",
            name=f"{plain_text(look.label)} ({counts[terms]})",
        )


def _numbers(info: ParametersInfo, feature: Feature, place: int, most: int) -> Drawn:
    """Scores against a number."""
    values, scores = feature.values, info.pareto.values[:, place]
    ends = [*values[~np.isnan(values)].tolist(), *(feature.ends or ())]
    low, high = min(ends, default=0.0), max(ends, default=1.0)
    pad = 0.05 * (high - low) or 0.1 * abs(low) or 0.5
    x_axis = axis(nticks=4, exponentformat="e", minexponent=5, range=[low - pad, high + pad])
    if feature.kind == "log":
        values = 10**values
        x_axis |= {"type": "log", "exponentformat": "none" if low > -5 and high < 6 else "e"}
        x_axis |= {"dtick": math.ceil((high - low) / 4)} if high - low > 1 else {}
    traces = _trials(info, place, values, scores, hover="%{{x:.4g}}: %{{y:{}}}")
    return [*traces], x_axis, _score_axis(info, place) | {"nticks": 3 + most // 4}


def _choices(info: ParametersInfo, feature: Feature, place: int, most: int) -> Drawn:
    """Scores, a row a choice; its trials are spread around it evenly (Roberts 2018, the R2
    sequence)."""
    choices, points = feature.choices, info.pareto.points
    numbers = np.array([point.number for point in points], dtype=np.int64)
    spread = feature.values + 0.28 * (2 * ((numbers * 0.7548776662466927) % 1) - 1)
    names = dict(enumerate(map(plain_text, choices)))
    texts = [names.get(value, "") for value in feature.values.tolist()]
    scores, hover = info.pareto.values[:, place], "%{{text}}: %{{x:{}}}"
    traces = [*_trials(info, place, scores, spread, hover=hover, texts=texts)]
    same = shown_if(all(choice.startswith("clean+") for choice in choices), "clean+")
    every = slice(None, None, math.ceil(len(choices) / max(most, 1)))
    rows = _row_axis([choice.removeprefix(same) for choice in choices])
    rows |= {key: rows[key][every] for key in ("tickvals", "ticktext")}
    return traces, _score_axis(info, place) | {"nticks": 4}, rows


def _score_axis(info: ParametersInfo, place: int) -> dict[str, Any]:
    metric = info.pareto.objectives[place].metric
    return canvas.metric_axis(metric, titled=False) | {"range": _window(info, place)}


def _window(info: ParametersInfo, place: int) -> list[float]:
    """The range of an objective's axis: the front, the baseline, all trials but collapsed ones."""
    objective, scores = info.pareto.objectives[place], info.pareto.values[:, place]
    inside = scores == fenced(scores, maximize=objective.direction == "maximize")
    kept = scores[inside | info.pareto.is_on_front].tolist()
    kept += [values[place] for name, values in info.pareto.references.items() if name == "baseline"]
    kept = [value for value in kept if math.isfinite(value)]
    low, high = min(kept, default=0.0), max(kept, default=1.0)
    least = canvas.least_range(objective.metric, max(abs(low), abs(high)))
    pad = max(0.06 * (high - low), (least - (high - low)) / 2)
    return [low - pad, high + pad]


def _title(info: ParametersInfo) -> str:
    """What matters most, where an order is shown; else the question."""
    metrics_of: dict[str, list[str]] = {}
    for metric, importances_of in zip(info.metrics, info.importances, strict=True):
        if first := leading(importances_of):
            metrics_of.setdefault(info.names[first.key], []).append(metric_words(metric))
    if metrics_of:
        phrases = (f"{name} for {' and '.join(words)}" for name, words in metrics_of.items())
        return f"What matters most: {', '.join(phrases)}"
    return f"Which settings of {info.pareto.study} matter, and where?"


def _facts(info: ParametersInfo, panels: Sequence[Panel]) -> list[str]:
    """What the numbers stand on, which order is not shown, what is left out, how to read it."""
    pareto, count = info.pareto, info.compared
    facts = canvas.several_facts([pareto])
    has_shares = any(info.importances) and not info.named
    if has_shares and not all(map(leading, info.importances)):
        facts.insert(1, "order not shown")
    if not any(info.importances) and count:
        facts.insert(1, f"{count} trials are too few for importance")
    facts += pareto.marks
    if odd := len(pareto.points) - int(np.isfinite(pareto.values).all(axis=1).sum()):
        facts.append(f"{odd:,} trials with a value that is not a number")
    if pareto.violating:
        facts.append("trials that violate a constraint are among those shown")
    if len(pareto.objectives) > MOST_OBJECTIVES:
        facts.append(f"the first {MOST_OBJECTIVES} of {len(pareto.objectives)} objectives")
    if left_out := [info.names[panel.key] for panel in info.panels if panel not in panels]:
        how = shown_if(not info.named, ": `params` draws them")
        facts.append(f"no room for {few(left_out)}{how}")
    if panels:
        dotted = shown_if("baseline" in pareto.references, "; dotted: before finetuning")
        facts.append(f"faint: not {front_words(pareto.objectives)}{dotted}")
    if has_shares:
        interval = f"{LEVEL:.0%} intervals by bootstrap; grey ticks: what chance gives"
        facts.append(f"importance: PED-ANOVA of {count} trials, {interval}")
    for effects in (panel.effects[0] for panel in panels if panel.effects):
        if effects.taps:
            facts.append(
                f"layers: with minus without, least squares with {LEVEL:.0%} intervals, the others "
                "fixed, not a tested effect; no mark: in all trials, or too few"
            )
        if effects.adjusted:
            facts.append(f"adjusted for {', '.join(effects.adjusted)}")
    return list(dict.fromkeys(facts))


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
