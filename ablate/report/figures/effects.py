"""Which part earns the gain?  One forest: name, plot and numbers of a contrast in one row.

Declared contrasts come first, filled, with what they allow to be said; exploratory ones are hollow.
All intervals have the level of the declared ones.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from plotly.graph_objects import Figure, Scatter
from plotly.subplots import make_subplots

from ablate.ablation.design import COMBINED_DA
from ablate.ablation.effects import Effect
from ablate.ablation.info import AblationInfo
from ablate.ablation.interpolated import ON_CURVE
from ablate.ablation.intervals import Estimate
from ablate.ablation.significance import LEAST_SEEDS, RANKED_SEEDS
from ablate.ablation.study_source import StudySource
from ablate.analysis.objectives import is_accuracy
from ablate.errors import ParameterError, did_you_mean
from ablate.files.shown import count_text, shown_if
from ablate.report.arms import difference_cell, no_interval_text, scale, shown_name
from ablate.report.figures import canvas
from ablate.report.figures.canvas import Sheet, wrapped
from ablate.report.figures.figure import FigureKind, FigureOptions, the_ablation
from ablate.report.numbers import metric_words, plain_text, shortened
from ablate.report.style import FAINT_INK, FONT_SIZE, GRID, INK, PAPER, SMALL_SIZE, Look
from ablate.report.tables import p_text, shown_effects
from ablate.report.words import as_contribution, contrast_words, sides, verdict_words

if TYPE_CHECKING:
    import pandas as pd

_MOST_METRICS, _MOST_INTERACTIONS = 3, 6
_MOST_PIXELS, _AROUND, _LEAST_PANEL = 2000, 150, 70
"""Of all rows where the height is free; around them; of a panel."""
_LINE, _BETWEEN, _GAP, _NUMBERS = 17, 9, 64, 142
"""Pixels of a line of text, between two rows, between two panels, of the numbers at the right."""
_PLAIN = Look("of no arm", INK, "circle")


@dataclass(frozen=True)
class EffectsInfo:
    """Effects in display order.

    Attributes:
        effects: metric by metric, those with declared contrasts first; in each, declared contrasts
            first, interactions last by their size, of five seeds and more the others by their gain.
        looks: colour and mark by arm.
    """

    ablation: AblationInfo
    effects: tuple[Effect, ...]
    looks: Mapping[str, Look] = field(default_factory=dict)

    @property
    def metrics(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(effect.metric for effect in self.effects))

    def frame(self) -> pd.DataFrame:
        """One row an effect, as it is stored.

        Columns: contrast, kind, metric, method of the interval, verdict: string; primary: boolean;
        mean, sd, low, high: float64, in the metric's unit (accuracies: fractions), NaN if missing;
        n: int64, seeds; p, p_adjusted: float64, NaN if not tested or exploratory; margin: float64
        and kept: boolean, if a margin is declared for the metric.
        """
        import pandas as pd

        types = dict.fromkeys(("contrast", "kind", "metric"), "string") | {"primary": "boolean"}
        types |= dict.fromkeys(("mean", "sd", "low", "high"), "float64")
        types |= {"n": "int64", "method": "string", "p": "float64", "p_adjusted": "float64"}
        types |= {"verdict": "string", "margin": "float64", "kept": "boolean"}
        rows = [
            vars(one)
            | vars(one.estimate)
            | {"primary": one.primary, "margin": one.kept and one.kept.margin}
            | {"kept": one.kept and one.kept.kept}
            for one in self.effects
        ]
        return pd.DataFrame(rows, columns=list(types)).astype(types)


def effects_info(
    ablation: AblationInfo, effects: Iterable[Effect], looks: Mapping[str, Look] | None = None
) -> EffectsInfo:
    """Some of an ablation's effects in display order."""
    effects, ranked = list(effects), ablation.rank_metric
    primary = [effect.metric for effect in effects if effect.primary]
    order = [*([ranked] if ranked in primary else []), *primary, ranked, *ablation.metrics]
    metrics = list(dict.fromkeys([*order, *(effect.metric for effect in effects)]))
    claimed = {effect.contrast for effect in ablation.primary}
    fixed = {arm.name for arm in ablation.arms if arm.is_one_network}
    sign = 1 if ranked in ablation.minimized else -1
    gains = {
        one.contrast: sign * as_contribution(one, ablation).estimate.mean
        for one in ablation.effects
        if one.metric == ranked and one.estimate.n and ablation.seeds >= RANKED_SEEDS
    }

    def place(effect: Effect) -> tuple[Any, ...]:
        is_together, value = effect.kind == "interaction", gains.get(effect.contrast, math.inf)
        value = -abs(effect.estimate.mean) if is_together and effect.estimate.n else value
        is_last = (effect.contrast not in claimed, is_together, sides(effect, ablation)[0] in fixed)
        return metrics.index(effect.metric), *is_last, value

    return EffectsInfo(ablation, tuple(sorted(effects, key=place)), looks or {})


# -- Rows of the forest --------------------------------------------------------------------


class _Mark(NamedTuple):
    """What a row has on a metric."""

    estimate: Estimate
    numbers: str
    hover: str
    is_filled: bool = False


class _Row(NamedTuple):
    """A name, lines under it, as markup, and marks by metric, of which a heading has none."""

    name: str
    said: tuple[str, ...] = ()
    marks: Mapping[str, _Mark] = {}
    look: Look = _PLAIN

    def height(self, names: float) -> float:
        """In pixels, where a name has so many pixels of width."""
        numbers = (mark.numbers.count("<br>") for mark in self.marks.values())
        lines = max(wrapped(self.name, names).count("<br>"), *numbers, 0) + 1
        return _LINE * (lines + len(self.said)) + _BETWEEN


def _rows(info: EffectsInfo, metrics: Sequence[str]) -> list[_Row]:
    """The contrasts on these metrics, the declared ones first."""
    own = [one for one in info.effects if one.metric in metrics]
    is_claim = {one.contrast for one in own if one.primary and not one.tuned}
    together = list(dict.fromkeys(one.contrast for one in own if one.kind == "interaction"))
    small = {*together[_MOST_INTERACTIONS:]} - is_claim
    rows: list[_Row] = []
    for heading, is_group in (("Declared", True), ("Exploratory", False)):
        group: dict[str, list[Effect]] = {}
        for one in own:
            if (one.contrast in is_claim) == is_group and one.contrast not in small:
                group.setdefault(one.contrast, []).append(one)
        rows += [_Row(f"<b>{heading}</b>")] if group else []
        rows += [_row(info, effects) for effects in group.values()]
    return rows


def _row(info: EffectsInfo, stored: Sequence[Effect]) -> _Row:
    """A contrast on some metrics."""
    ablation = info.ablation
    arm, to = sides(stored[0], ablation)
    name, marks = "", {}
    said: list[str] = []
    for raw in stored:
        effect = as_contribution(raw, ablation)
        name, shown = contrast_words(effect, ablation), effect.at_level or effect.estimate
        numbers = difference_cell(ablation, effect.metric, shown).printed
        is_claim = effect.primary and not effect.tuned
        said_of = f"{verdict_words(effect, ablation)}; p {p_text(effect.p_adjusted)}"
        lines = [said_of] if is_claim and effect.verdict != "too few seeds" else []
        if is_claim and effect.worst is not None:
            worst = difference_cell(ablation, effect.metric, effect.worst).printed
            lines.append(f"failed runs as the worst: {worst}")
        note = no_interval_text(shown, ablation.paired)
        if not note and shown.n < ablation.seeds:
            note = f"{shown.n} of {ablation.seeds} {ablation.paired}s"
        hover = [
            f"{raw.contrast}, {metric_words(effect.metric)}",
            f"{numbers}, {count_text(shown.n, ablation.paired)}, p {p_text(effect.p)}",
            *lines,
        ]
        marks[effect.metric] = _Mark(
            shown,
            "<br>".join(map(plain_text, filter(None, (numbers, note)))),
            "<br>".join([f"<b>{plain_text(name)}</b>", *map(plain_text, hover)]),
            is_claim,
        )
        said += map(plain_text, lines)
    look = next((info.looks[one] for one in (arm, to, name) if one in info.looks), _PLAIN)
    short = shortened(" ".join(shortened(word, 24) for word in name.split()), 72)
    return _Row(plain_text(short), tuple(said), marks, look)


# -- Drawing -------------------------------------------------------------------------------


def plot_effects(info: EffectsInfo, sheet: Sheet) -> Figure:
    """Draw rows of intervals: metrics side by side on a wide sheet, else one below the other.

    What has no room is left out from the end, exploratory contrasts first, and counted.
    """
    metrics = info.metrics[:_MOST_METRICS]
    lines = [metrics] if sheet.is_wide else [(metric,) for metric in metrics]
    every = [_rows(info, line) for line in lines if line]
    names = 150.0 if sheet.is_wide else 0.3 * sheet.width
    room = _MOST_PIXELS if sheet.height is None else sheet.height - _AROUND
    shown = _fitting(every, names, room)
    heights = [sum(row.height(names) for row in rows) for rows in shown]
    whole = sum(heights) + _GAP * (len(shown) - 1)
    figure = Figure()
    if shown:
        plot = max(100.0, sheet.width - 26 - names - _NUMBERS)
        figure = make_subplots(
            len(shown),
            len(lines[0]),
            row_heights=heights,
            vertical_spacing=_GAP / max(whole, _GAP),
            horizontal_spacing=_NUMBERS / (plot + _NUMBERS),
            specs=[[{"secondary_y": True}] * len(lines[0])] * len(shown),
        )
    for place, rows in enumerate(shown, 1):
        for column, metric in enumerate(lines[place - 1], 1):
            _draw(figure, info, rows, metric, names=names, at={"row": place, "col": column})
    facts = _facts(info)
    count = sum(bool(row.marks) for rows in every for row in rows)
    left_out = count - sum(bool(row.marks) for rows in shown for row in rows)
    facts[1:1] = [f"{count_text(left_out, 'row')} not shown, for want of room"] if left_out else []
    return canvas.finish(
        figure,
        sheet,
        title=_title(info),
        facts=facts,
        meta=canvas.basis_meta("Effects", info.ablation),
        height=whole + _AROUND if shown else 300,
        nothing="" if shown else "no successful run yet",
    )


def _fitting(every: list[list[_Row]], names: float, room: float) -> list[list[_Row]]:
    """Panels that have room, each with the first of its rows."""
    if sum(row.height(names) for rows in every for row in rows) + _GAP * (len(every) - 1) <= room:
        return every
    count = max(1, min(len(every), int((room + _GAP) // (_LEAST_PANEL + _GAP))))
    each = (room + _GAP) / count - _GAP
    cut = []
    for rows in every[:count]:
        feet = np.cumsum([row.height(names) for row in rows])
        some = rows[: max(2, int((feet <= each).sum()))]  # a heading, and one row at the least
        cut.append(some if some[-1].marks else some[:-1])
    return cut


def _draw(
    figure: Figure,
    info: EffectsInfo,
    rows: Sequence[_Row],
    metric: str,
    *,
    names: float,
    at: dict[str, int],
) -> None:
    """Rows into a subplot: names are ticks at the left of the first column, with lines under their
    marks, numbers of a second axis at the right."""
    factor, is_first = scale(metric), at["col"] == 1
    is_less = metric in info.ablation.minimized
    feet = np.cumsum([row.height(names) for row in rows]).tolist()
    kept = (one.kept for one in info.effects if one.metric == metric)
    margin = factor * next((one.margin for one in kept if one is not None), 0.0)
    if margin:
        edge = margin if is_less else -margin
        band = Scatter(x=[edge, edge, 0, 0], y=[0, feet[-1], feet[-1], 0], mode="none")
        band.update(fill="toself", fillcolor=GRID, hoverinfo="skip", showlegend=True)
        figure.add_trace(band.update(name="Loss within the declared margin"), **at)
    places, numbers = [], []
    for row, top, foot in zip(rows, [0.0, *feet], feet, strict=False):
        places.append((top + foot - _LINE * len(row.said)) / 2)
        if row.said and is_first:
            figure.add_annotation(
                text="<br>".join(row.said),
                x=0.5,
                xref="x domain",
                y=foot - _BETWEEN / 2,
                **at,
                yanchor="bottom",
                showarrow=False,
                bgcolor=PAPER,
                borderpad=0,
                font={"size": SMALL_SIZE, "color": FAINT_INK},
            )
        mark = row.marks.get(metric)
        numbers.append("" if mark is None else mark.numbers)
        if mark is None or not mark.estimate.n:
            continue
        bars = {"color": row.look.color, "width": 0, "thickness": 3 if mark.is_filled else 1.5}
        figure.add_scatter(
            x=[factor * mark.estimate.mean],
            y=[places[-1]],
            mode="markers",
            name=row.name,
            showlegend=False,
            marker=canvas.marker(row.look, 9, hollow=not mark.is_filled),
            error_x=canvas.interval_bars([mark.estimate], factor, **bars),
            hovertext=[mark.hover],
            hoverinfo="text",
            **at,
        )
    # plotly draws no axis without a trace.
    figure.add_scatter(x=[None], y=[None], showlegend=False, secondary_y=True, **at)
    unit = "Points of" if is_accuracy(metric) else "Difference in"
    title = f"{unit} {metric_words(metric)}{' (less is better)' * is_less}"
    zero = {"zeroline": True, "zerolinecolor": INK, "zerolinewidth": 1.5, "showgrid": True}
    zero |= {"rangemode": "tozero", "nticks": 4, "tickangle": 0}
    words = {"text": wrapped(plain_text(title), 240, FONT_SIZE), "font": {"size": FONT_SIZE}}
    figure.update_xaxes(canvas.axis() | zero | {"title": words | {"standoff": 6}}, **at)
    ticks: dict[str, Any] = {"range": [feet[-1], 0], "tickvals": places, "showgrid": False}
    ticks |= {"tickfont": {"size": SMALL_SIZE}, "ticks": "", "showline": False}
    said = [wrapped(row.name, names) for row in rows]
    left = {"ticktext": said, "showticklabels": is_first}
    figure.update_yaxes(canvas.axis() | ticks | left, secondary_y=False, **at)
    figure.update_yaxes(canvas.axis() | ticks | {"ticktext": numbers}, secondary_y=True, **at)


# -- What is said over and under it --------------------------------------------------------


def _title(info: EffectsInfo) -> str:
    """The declared contrast that gains most, if one is shown; else that none is."""
    ablation = info.ablation
    if not any(effect.estimate.n for effect in info.effects):
        return "Which part earns the gain?"
    claims = [as_contribution(one, ablation) for one in info.effects if one.primary]
    metrics = {one.metric for one in claims} or {ablation.rank_metric}
    how = ", at equal clean accuracy" if metrics <= {*ON_CURVE} else ", as trained"
    how *= any(map(is_accuracy, metrics))
    how += shown_if(ablation.replications, f", over {ablation.seeds} baselines")
    shown = [one for one in claims if one.verdict in ("better", "worse")]
    if not shown:
        is_few = any(one.verdict == "too few seeds" for one in claims)
        few = shown_if(is_few, f": too few {ablation.paired}s, a claim needs {LEAST_SEEDS}")
        return f"No claim is supported{how}{few}"
    best = max(shown, key=lambda one: (one.verdict == "better", abs(one.estimate.mean)))
    metric, amount = best.metric, difference_cell(ablation, best.metric, best.estimate).parts.mean
    words, _, to = contrast_words(best, ablation).partition(" against ")
    part, is_worse = words.removeprefix("contribution of "), best.verdict == "worse"
    finding = f"{part[:1].upper()}{part[1:]}: {amount} in {metric_words(metric)}, {best.verdict}"
    if is_accuracy(metric):
        verb = (("gains", "loses") if part == words else ("adds", "costs"))[is_worse]
        finding = f"{part[:1].upper()}{part[1:]} {verb} {amount.lstrip('+-')} points of "
        finding += metric_words(metric).removesuffix(", interpolated")
    finding += shown_if(to, f" over {to}")
    copies = f"{COMBINED_DA} - {best.contrast.partition(' - ')[2]}"
    for one in info.effects:  # what training on distorted copies alone gains is no part's credit
        if (one.contrast, one.metric) == (copies, metric) and not is_worse:
            cell = difference_cell(ablation, metric, one.estimate)
            finding += f", distorted copies alone {cell.parts.mean.lstrip('+')}"
    _, _, kept = verdict_words(best, ablation).partition("; ")
    return finding + shown_if(kept.endswith("not excluded"), f" ({kept})") + how


def _facts(info: EffectsInfo) -> list[str]:
    """How much has run, what intervals are, what may be claimed, and what limits it."""
    ablation, primary = info.ablation, info.ablation.primary
    facts = canvas.ablation_facts(ablation)
    facts += [f"studies {ablation.study}"] if ablation.replications else []
    methods = {one.estimate.method: None for one in info.effects if math.isfinite(one.estimate.low)}
    if methods:
        together = shown_if(
            len(primary) > 1, f" (95 % for all {len(primary)} declared contrasts together)"
        )
        how = " or ".join(methods).replace("seed", ablation.paired)
        facts.append(f"intervals: {100 * ablation.level:.3g} %{together}, {how}")
    if primary:
        facts.append("filled: declared before the first run; hollow: exploratory, no claim")
        holm = f"p under rows: Holm over {count_text(len(primary), 'declared contrast')}"
        facts += [holm] if any(math.isfinite(one.p) for one in primary) else []
    else:
        facts.append("no contrast was declared before the first run: none supports a claim")
    facts += [f"aliases: {'; '.join(ablation.aliases)}"] if ablation.aliases else []
    return [*facts, *ablation.marks]


# -- What studies give ---------------------------------------------------------------------


def info_of(sources: Sequence[StudySource], options: FigureOptions) -> EffectsInfo:
    """Effects on clean, robust and all declared metrics, or on the one that is asked for.

    Raises: as `the_ablation`; ParameterError if no effect is on the asked metric.
    """
    ablation = the_ablation(sources, "effects")
    primary, others = shown_effects(ablation)
    effects = [*primary, *others]
    if options.objective:
        known = dict.fromkeys(effect.metric for effect in ablation.effects)
        names = {shown_name(ablation, metric): metric for metric in known}
        metric = names.get(options.objective, options.objective)
        if metric not in known:
            raise ParameterError(
                f"`objective`: must be one of {', '.join(names)}, got {options.objective}. "
                f"{did_you_mean(options.objective, list(names))}"
            )
        effects = [one for one in ablation.effects if one.metric == metric]
    return effects_info(ablation, effects, canvas.looks(sources[0]))


FIGURE = FigureKind(
    name="effects",
    section="part",
    title="Which part earns the gain?",
    says="Each row is a comparison with its interval. Only those declared before the first run "
    "(filled) support claims.",
    read=info_of,
    draw=plot_effects,
    several=True,
    takes=("objective",),
)
