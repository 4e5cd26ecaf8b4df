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
from ablate.ablation.intervals import Estimate
from ablate.ablation.significance import LEAST_SEEDS, RANKED_SEEDS
from ablate.ablation.study_source import StudySource
from ablate.analysis.objectives import amount_text, is_accuracy
from ablate.errors import ParameterError, did_you_mean
from ablate.files.shown import count_text, shown_if
from ablate.report.arms import difference_cell, no_interval_text, scale, shown_name
from ablate.report.figures import canvas
from ablate.report.figures.canvas import Sheet, wrapped
from ablate.report.figures.figure import FigureKind, FigureOptions, the_ablation
from ablate.report.numbers import metric_words, plain_text
from ablate.report.style import FAINT_INK, GRID, INK, PAPER, SMALL_SIZE, Look
from ablate.report.tables import p_text, shown_effects
from ablate.report.words import as_contribution, contrast_words, sides, verdict_words
from ablate.study.scores import AT_CLEAN_LOSS, base_name

if TYPE_CHECKING:
    import pandas as pd

_MOST_METRICS, _MOST_INTERACTIONS = 3, 6
_MOST_PIXELS = 2150  # height of a figure
_LEAST_PANEL = 70  # height of a panel
_AROUND = 150  # pixels around the panels
_LINE = 17  # pixels of a line of text
_BETWEEN, _GAP = 9, 64  # pixels between two rows, and between two panels
_NUMBERS = 142  # pixels of the numbers at the right
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
        and kept: boolean, if a margin is declared for the metric; equivalent_within: float64, of a
        claim of equivalence.
        """
        import pandas as pd

        types = dict.fromkeys(("contrast", "kind", "metric"), "string") | {"primary": "boolean"}
        types |= dict.fromkeys(("mean", "sd", "low", "high"), "float64")
        types |= {"n": "int64", "method": "string", "p": "float64", "p_adjusted": "float64"}
        types |= {"verdict": "string", "margin": "float64", "kept": "boolean"}
        types["equivalent_within"] = "float64"
        rows = [
            vars(effect)
            | vars(effect.estimate)
            | {"primary": effect.primary, "margin": effect.kept and effect.kept.margin}
            | {"kept": effect.kept and effect.kept.kept}
            for effect in self.effects
        ]
        return pd.DataFrame(rows, columns=list(types)).astype(types)


def info_of(sources: Sequence[StudySource], options: FigureOptions) -> EffectsInfo:
    """Effects on clean, robust and all declared metrics, or on the one that is asked for.

    Raises: as `the_ablation`; ParameterError if no effect is on the asked metric.
    """
    ablation = the_ablation(sources, "effects")
    effects = [effect for group in shown_effects(ablation) for effect in group]
    if options.objective:
        known = dict.fromkeys(effect.metric for effect in ablation.effects)
        names = {shown_name(ablation, metric): metric for metric in known}
        metric = names.get(options.objective, options.objective)
        if metric not in known:
            raise ParameterError(
                f"`objective`: must be one of {', '.join(names)}, got {options.objective}. "
                f"{did_you_mean(options.objective, list(names))}"
            )
        effects = [effect for effect in ablation.effects if effect.metric == metric]
    return effects_info(ablation, effects, canvas.looks(sources[0]))


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
        effect.contrast: sign * as_contribution(effect, ablation).estimate.mean
        for effect in ablation.effects
        if effect.metric == ranked and effect.estimate.n and ablation.seeds >= RANKED_SEEDS
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
    is_claim: bool


class _Row(NamedTuple):
    """A name and lines under it, as markup, and marks by metric, of which a heading has none."""

    name: str
    under: tuple[str, ...] = ()
    marks: Mapping[str, _Mark] = {}
    look: Look = _PLAIN

    @property
    def pixels(self) -> int:
        texts = (self.name, *(mark.numbers for mark in self.marks.values()))
        lines = 1 + max(text.count("<br>") for text in texts) + len(self.under)
        return _LINE * lines + _BETWEEN


def _rows(info: EffectsInfo, metrics: Sequence[str], names: float) -> list[_Row]:
    """The contrasts on these metrics, the declared ones first; their names have so many pixels."""
    effects = [effect for effect in info.effects if effect.metric in metrics]
    claims = {effect.contrast for effect in effects if effect.primary and not effect.tuned}
    interactions = dict.fromkeys(
        effect.contrast for effect in effects if effect.kind == "interaction"
    )
    left_out = {*list(interactions)[_MOST_INTERACTIONS:]} - claims
    rows: list[_Row] = []
    for heading, is_declared in (("Declared", True), ("Exploratory", False)):
        by_contrast: dict[str, list[Effect]] = {}
        for effect in effects:
            if (effect.contrast in claims) == is_declared and effect.contrast not in left_out:
                by_contrast.setdefault(effect.contrast, []).append(effect)
        rows += [_Row(f"<b>{heading}</b>")] if by_contrast else []
        rows += [_row(info, of_contrast, names) for of_contrast in by_contrast.values()]
    return rows


def _row(info: EffectsInfo, stored: Sequence[Effect], names: float) -> _Row:
    """A contrast on some metrics."""
    ablation = info.ablation
    marks: dict[str, _Mark] = {}
    under: list[str] = []
    name = contrast_words(as_contribution(stored[0], ablation), ablation).text
    for effect in (as_contribution(as_stored, ablation) for as_stored in stored):
        shown = effect.at_level or effect.estimate
        numbers = difference_cell(ablation, effect.metric, shown).printed
        is_claim, lines = effect.primary and not effect.tuned, list[str]()
        if is_claim and effect.verdict != "too few seeds":
            lines.append(f"{verdict_words(effect, ablation).text}; p {p_text(effect.p_adjusted)}")
        if is_claim and effect.worst is not None:
            worst = difference_cell(ablation, effect.metric, effect.worst).printed
            lines.append(f"failed runs as the worst: {worst}")
        note = no_interval_text(shown, ablation.paired)
        if not note and 0 < shown.n < ablation.seeds:
            note = f"{shown.n} of {ablation.seeds} {ablation.paired}s"
        hover = [
            f"{stored[0].contrast}, {metric_words(effect.metric)}",
            f"{numbers}, {count_text(shown.n, ablation.paired)}, p {p_text(effect.p)}",
            *lines,
        ]
        mark = _Mark(
            shown,
            "<br>".join(map(plain_text, filter(None, (numbers, note)))),
            "<br>".join([f"<b>{plain_text(name)}</b>", *map(plain_text, hover)]),
            is_claim,
        )
        marks.setdefault(effect.metric, mark)  # of two claims that of a difference, the first
        under += map(plain_text, lines)
    arms = (*sides(stored[0], ablation), name)
    look = next((info.looks[arm] for arm in arms if arm in info.looks), _PLAIN)
    return _Row(wrapped(name, names, lines=4), tuple(under), marks, look)


# -- Drawing -------------------------------------------------------------------------------


def draw(info: EffectsInfo, sheet: Sheet) -> Figure:
    """Draw rows of intervals: metrics side by side on a wide sheet, else one below the other.

    What has no room is left out from the end, exploratory contrasts first, and counted.
    """
    metrics = info.metrics[:_MOST_METRICS]
    panels = [metrics] if sheet.is_wide else [(metric,) for metric in metrics]
    names = 150.0 if sheet.is_wide else 0.3 * sheet.width
    every = [_rows(info, of_panel, names) for of_panel in panels if of_panel]
    shown = every[: sheet.rows_that_fit(len(every), _LEAST_PANEL + _GAP, _AROUND - _GAP)]
    room = ((sheet.height or _MOST_PIXELS) - _AROUND + _GAP) / max(1, len(shown)) - _GAP
    for place, rows in enumerate(shown):  # at the least a heading, and one row
        fit = rows[: max(2, int((np.cumsum([row.pixels for row in rows]) <= room).sum()))]
        shown[place] = fit if fit[-1].marks else fit[:-1]
    heights = [sum(row.pixels for row in rows) for rows in shown]
    whole = sum(heights) + _GAP * (len(shown) - 1)
    figure = Figure()
    if shown:
        plot = max(100.0, sheet.width - 26 - names - _NUMBERS)
        figure = make_subplots(
            len(shown),
            len(panels[0]),
            row_heights=heights,
            vertical_spacing=_GAP / max(whole, _GAP),
            horizontal_spacing=_NUMBERS / (plot + _NUMBERS),
            specs=[[{"secondary_y": True}] * len(panels[0])] * len(shown),
        )
    for line, rows in enumerate(shown):
        for column, metric in enumerate(panels[line]):
            _draw_panel(figure, info, rows, metric, {"row": line + 1, "col": column + 1})
    facts = _facts(info)
    count, drawn = (
        sum(bool(row.marks) for rows in some for row in rows) for some in (every, shown)
    )
    if count > drawn:
        facts.insert(1, f"{count_text(count - drawn, 'row')} not shown, for want of room")
    return canvas.finish(
        figure,
        sheet,
        title=_title(info),
        facts=facts,
        meta=canvas.basis_meta("Effects", info.ablation),
        height=whole + _AROUND if shown else 300,
        nothing="" if shown else "no successful run yet",
    )


def _draw_panel(
    figure: Figure, info: EffectsInfo, rows: Sequence[_Row], metric: str, at: dict[str, int]
) -> None:
    """Rows into a subplot: names are ticks at the left of the first column, with lines under their
    marks, numbers of a second axis at the right."""
    factor, is_first = scale(metric), at["col"] == 1
    is_less = metric in info.ablation.minimized
    feet = np.cumsum([row.pixels for row in rows]).tolist()
    margins = [
        effect.kept.margin for effect in info.effects if effect.metric == metric and effect.kept
    ]
    if margin := factor * next(filter(None, margins), 0.0):
        edge = margin if is_less else -margin
        band = {"mode": "none", "fill": "toself", "fillcolor": GRID, "hoverinfo": "skip"}
        band |= {"name": "Loss within the declared margin"}
        ends: dict[str, Any] = {"x": [edge, edge, 0, 0], "y": [0, feet[-1], feet[-1], 0]}
        figure.add_trace(Scatter(band, **ends), **at)
    middles = []
    for row, foot in zip(rows, feet, strict=True):
        middles.append(foot - (row.pixels + _LINE * len(row.under)) / 2)
        mark = row.marks.get(metric)
        if row.under and is_first:
            figure.add_annotation(
                text="<br>".join(row.under),
                x=0.5,
                xref="x domain",
                y=foot - _BETWEEN / 2,
                yanchor="bottom",
                showarrow=False,
                bgcolor=PAPER,
                borderpad=0,
                font={"size": SMALL_SIZE, "color": FAINT_INK},
                **at,
            )
        if mark is not None and mark.estimate.n:
            bars = {"color": row.look.color, "thickness": 3 if mark.is_claim else 1.5}
            figure.add_scatter(
                x=[factor * mark.estimate.mean],
                y=middles[-1:],
                mode="markers",
                name=row.name,
                showlegend=False,
                marker=canvas.marker(row.look, 9, hollow=not mark.is_claim),
                error_x=canvas.interval_bars([mark.estimate], factor, **bars),
                hovertext=[mark.hover],
                hoverinfo="text",
                **at,
            )
    # plotly draws no axis without a trace.
    figure.add_scatter(x=[None], y=[None], showlegend=False, secondary_y=True, **at)
    title = f"{'Points of' if is_accuracy(metric) else 'Difference in'} {metric_words(metric)}"
    x_axis = canvas.axis(title + shown_if(is_less, " (less is better)"), nticks=4, tickangle=0)
    x_axis |= {"zeroline": True, "zerolinecolor": INK, "zerolinewidth": 1.5, "showgrid": True}
    figure.update_xaxes(x_axis, rangemode="tozero", **at)
    y_axis = canvas.axis(range=[feet[-1], 0], tickvals=middles, tickfont={"size": SMALL_SIZE})
    y_axis |= {"ticks": "", "showline": False, "showgrid": False}
    left = {"ticktext": [row.name for row in rows], "showticklabels": is_first}
    right = [row.marks[metric].numbers if metric in row.marks else "" for row in rows]
    figure.update_yaxes(y_axis | left, secondary_y=False, **at)
    figure.update_yaxes(y_axis | {"ticktext": right}, secondary_y=True, **at)


# -- Texts over and under it ---------------------------------------------------------------


def _title(info: EffectsInfo) -> str:
    """The declared contrast that gains most, if one is shown; else that none is."""
    ablation = info.ablation
    if not any(effect.estimate.n for effect in info.effects):
        return FIGURE.title
    claims = [as_contribution(effect, ablation) for effect in info.effects if effect.primary]
    metrics = {claim.metric for claim in claims} or {ablation.rank_metric}
    shown = [claim for claim in claims if claim.verdict in ("better", "worse")]
    best = max(
        shown, key=lambda one: (one.verdict == "better", abs(one.estimate.mean)), default=None
    )
    count = best.estimate.n if best is not None and ablation.look else ablation.seeds
    basis = shown_if(ablation.replications, f", over {count} baselines")
    if any(map(is_accuracy, metrics)):
        is_equal = all(metric.endswith(AT_CLEAN_LOSS) for metric in metrics)
        basis = f", {'at equal clean accuracy' if is_equal else 'as trained'}{basis}"
    if best is not None:
        return _finding(info, best) + basis
    if same := [claim for claim in claims if claim.verdict == "equivalent"]:
        margin = amount_text(same[0].metric, same[0].equivalent_within or 0.0)
        words = contrast_words(same[0], ablation).text
        return f"{words[:1].upper()}{words[1:]}: shown to differ by no more than {margin}{basis}"
    is_few = any(claim.verdict == "too few seeds" for claim in claims)
    few = f": too few {ablation.paired}s, a claim needs {LEAST_SEEDS}"
    return f"No claim is supported{basis}{shown_if(is_few, few)}"


def _finding(info: EffectsInfo, claim: Effect) -> str:
    """ "FMA gains 16.3 points of robust accuracy over plain, distorted copies alone 14.5 (a clean
    loss is not excluded)"."""
    ablation, metric, is_better = info.ablation, claim.metric, claim.verdict == "better"
    words = contrast_words(claim, ablation)
    subject, amount = words.subject[:1].upper() + words.subject[1:], _amount(info, claim)
    if not is_accuracy(metric):
        text = f"{subject}: {amount} in {metric_words(metric)}, {claim.verdict}"
    else:
        gains, loses = ("adds", "costs") if words.is_contribution else ("gains", "loses")
        accuracy = metric_words(base_name(metric))
        verb = gains if is_better else loses
        text = f"{subject} {verb} {amount.lstrip('+-')} points of {accuracy}"
    text += shown_if(words.other, f" over {words.other}")
    copies = f"{COMBINED_DA} - {claim.contrast.partition(' - ')[2]}"
    for effect in info.effects:  # what distorted copies alone gain is no part's credit
        if is_better and (effect.contrast, effect.metric) == (copies, metric):
            text += f", distorted copies alone {_amount(info, effect).lstrip('+')}"
    verdict = verdict_words(claim, ablation)
    return text + shown_if(verdict.margin and not verdict.is_kept, f" ({verdict.margin})")


def _amount(info: EffectsInfo, effect: Effect) -> str:
    return difference_cell(info.ablation, effect.metric, effect.estimate).parts.mean


def _facts(info: EffectsInfo) -> list[str]:
    """How much has run, what intervals are, what may be claimed, and what limits it."""
    ablation, primary = info.ablation, info.ablation.primary
    facts = canvas.ablation_facts(ablation)
    facts += [f"studies {ablation.study}"] if ablation.replications else []
    estimates = [effect.estimate for effect in info.effects]
    methods = dict.fromkeys(
        estimate.method for estimate in estimates if math.isfinite(estimate.low)
    )
    if methods:
        level = f"{100 * ablation.level:.3g} %"
        if len(primary) > 1:
            level += f" (95 % for all {len(primary)} declared contrasts together)"
        if ablation.look:
            level = "95 % over all planned looks"
        how = " or ".join(methods).replace("seed", ablation.paired)
        facts.append(f"intervals: {level}, {how}")
    if primary:
        facts.append("filled: declared before the first run; hollow: exploratory, no claim")
        holm = f"p under rows: Holm over {count_text(len(primary), 'declared contrast')}"
        holm = "p under rows: by the level of the look" if ablation.look else holm
        facts += [holm] if any(math.isfinite(claim.p) for claim in primary) else []
    else:
        facts.append("no contrast was declared before the first run: none supports a claim")
    facts += [f"aliases: {'; '.join(ablation.aliases)}"] if ablation.aliases else []
    return [*facts, *ablation.marks]


FIGURE = FigureKind(
    name="effects",
    section="part",
    title="Which part earns the gain?",
    says="Each row is a comparison with its interval. Only those declared before the first run "
    "(filled) support claims.",
    read=info_of,
    draw=draw,
    several=True,
    takes=("objective",),
)
