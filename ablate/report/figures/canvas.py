"""The sheet that every figure is drawn on, and what figures of one study have in common: size,
title, facts, legend, axes, and one colour, mark and dash for each arm or set of loss terms."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from plotly.graph_objects import Figure, Scatter, Scattergl

from ablate.ablation.study_source import StudySource, arm_terms
from ablate.analysis.caveats import Basis, StudyFacts
from ablate.analysis.objectives import is_accuracy, metric_split
from ablate.files.shown import count_text, few, shown_if
from ablate.report.numbers import count_texts, metric_label, plain_text, seed_texts, shortened
from ablate.report.style import (
    DASHES,
    FAINT_INK,
    FONT,
    FONT_SIZE,
    GRID,
    INK,
    PAPER,
    SERIES,
    SMALL_POINTS,
    SMALL_SIZE,
    SYMBOLS,
    TITLE_SIZE,
    Look,
    faint,
    terms_look,
)
from ablate.report.words import network_label
from ablate.study.scores import less_is_better

if TYPE_CHECKING:
    from ablate.ablation.info import AblationInfo

MANY = 2000
"""More points than this are drawn by the graphics card."""
NO_TRIAL = "no complete trial"
"""In a figure without one."""


@dataclass(frozen=True)
class Sheet:
    """What a figure is drawn on.

    Attributes:
        width: in pixels of the layout, of which the smallest text has 13; 434 are one column of
            print (3.25 inches at 7 pt), 900 two.
        height: in pixels; None: what the figure needs.
        titled: whether title and subtitle stand over the figure.
        points: of the smallest text in print.
    """

    width: int = 434
    height: int | None = None
    titled: bool = True
    points: float = SMALL_POINTS

    @property
    def is_wide(self) -> bool:
        """Whether panels may stand side by side."""
        return self.width >= 700

    @property
    def pixels_per_inch(self) -> float:
        """In print."""
        return 72 * SMALL_SIZE / self.points

    def rows_that_fit(self, rows: int, pixels: float, around: float = 150) -> int:
        """How many of so many rows, each of these pixels, there is room for beside title, axis and
        legend (`around`); all where the height is free."""
        if self.height is None:
            return rows
        return max(1, min(rows, int((self.height - around) // pixels)))


COLUMN, WIDE = Sheet(), Sheet(900)
"""One column of print, and two."""


def single_precision(values: NDArray[np.float64]) -> NDArray[np.float32]:
    """In half of a page's bytes; what is beyond its range is infinite, and not drawn."""
    with np.errstate(over="ignore"):
        return values.astype(np.float32)


def trace_type(points: int) -> Any:
    """plotly's kind of trace for so many points."""
    return Scatter if points <= MANY else Scattergl


def finish(
    figure: Figure,
    sheet: Sheet,
    *,
    title: str,
    facts: Sequence[str],
    meta: Mapping[str, Any],
    height: float = 400,
    nothing: str = "",
) -> Figure:
    """Add title, legend and size to a figure whose traces and axes are drawn; plotly makes room
    for names of axes and for the legend at the foot, where each name stands once.

    Args:
        title, facts: plain text, escaped here, as are the titles of axes. The first facts stand
            under the title, as many as one line holds; all are the caption.
        meta: for `layout.meta`, which gets heading, facts and size too.
        height: of the image in pixels where the sheet leaves it free.
        nothing: text in the middle, if there is nothing to show yet.
    """
    height = round(height) if sheet.height is None else sheet.height
    heading, top = _heading(sheet, title, facts, height) if sheet.titled else ({}, 16)
    for axes, pixels in (
        (figure.select_xaxes(), sheet.width),
        (figure.select_yaxes(), height - top - 100),  # without legend and the axis below
    ):
        for one_axis in axes:
            start, end = one_axis.domain or (0.0, 1.0)
            room = max(80.0, pixels * (end - start))
            one_axis.title.text = wrapped(one_axis.title.text or "", room, FONT_SIZE, lines=3)
    _name_once(figure)
    figure.update_layout(
        {
            "template": None,
            "font": {"family": FONT, "size": FONT_SIZE, "color": INK},
            "paper_bgcolor": PAPER,
            "plot_bgcolor": PAPER,
            "hoverlabel": {
                "bgcolor": PAPER,
                "bordercolor": FAINT_INK,
                "align": "left",
                "font": {"family": FONT, "size": FONT_SIZE - 2, "color": INK},
            },
            "title": heading,
            "margin": {"l": 10, "r": 16, "t": top, "b": 10},
            "legend": {
                "orientation": "h",
                "traceorder": "normal",  # or each group has a gap of its own
                "x": 0.5,
                "xanchor": "center",
                "yref": "container",
                "y": 0,
                "yanchor": "bottom",
                "font": {"size": SMALL_SIZE},
            },
            "hovermode": "closest",
            "meta": {
                **meta,
                "heading": title,
                "facts": list(facts),
                "image_pixels": [sheet.width, height],
                "inches": [side / sheet.pixels_per_inch for side in (sheet.width, height)],
            },
        },
        overwrite=True,  # each of these is whole; merging them takes as long as the traces do
    )
    if nothing:
        if not figure.data:
            figure.update_layout(xaxis={"visible": False}, yaxis={"visible": False})
        middle = {"xref": "paper", "yref": "paper", "x": 0.5, "y": 0.5, "showarrow": False}
        font = {"size": FONT_SIZE, "color": FAINT_INK}
        figure.add_annotation(text=nothing, bgcolor=PAPER, font=font, **middle)
    return figure


def _heading(
    sheet: Sheet, title: str, facts: Sequence[str], height: int
) -> tuple[dict[str, Any], int]:
    """plotly's title of the layout, and the pixels that it takes."""
    text = wrapped(title, sheet.width - 20, 1.1 * TITLE_SIZE, lines=2)
    characters = _characters(sheet.width - 20, SMALL_SIZE)
    longer = [line for line in accumulate(facts, "{} · {}".format) if len(line) <= characters]
    subtitle = [*facts[:1], *longer][-1] if facts else ""
    heading = {
        "text": f"<b>{text}</b>",
        "font": {"size": TITLE_SIZE},
        "subtitle": {
            "text": wrapped(subtitle, sheet.width - 20, lines=1),
            "font": {"size": SMALL_SIZE, "color": FAINT_INK},
        },
        "x": 10 / sheet.width,
        "xanchor": "left",
        "y": 1 - 21 / height,  # of the first line's foot
        "yanchor": "bottom",
        "yref": "container",
    }
    return heading, 42 + 19 * (text.count("<br>") + 1)


def _name_once(figure: Figure) -> None:
    """Of traces with one name the last stands in the legend, and shows and hides them all."""
    named = [trace for trace in figure.data if trace.name and trace.showlegend is not False]
    last = {trace.name: trace for trace in named}
    for trace in named:
        trace.showlegend = trace is last[trace.name]
        trace.legendgroup = trace.legendgroup or trace.name


# -- Texts -----------------------------------------------------------------------------------


def _characters(pixels: float, size: float) -> int:
    """How many a line holds, about, in the font that stands in for Helvetica on many servers."""
    return max(8, int(pixels / (0.59 * size)))


def wrapped(text: str, pixels: float, size: float = SMALL_SIZE, lines: int | None = None) -> str:
    """Plain text as markup, broken into lines of this width with plotly's `<br>`; the last of so
    many `lines` ends in "…" where more would be needed."""
    width = _characters(pixels, size)
    broken = textwrap.wrap(text, width, max_lines=lines, placeholder="…", break_on_hyphens=False)
    return "<br>".join(map(plain_text, broken))


# -- Axes and marks --------------------------------------------------------------------------


def axis(title: str = "", **more: Any) -> dict[str, Any]:
    """An axis with this title, plain text that `finish` escapes; plotly makes room for its
    names."""
    return {
        "title": {"text": title, "standoff": 8, "font": {"size": FONT_SIZE}},
        "automargin": True,
        "showline": True,
        "linecolor": INK,
        "ticks": "outside",
        "ticklen": 4,
        "tickcolor": INK,
        "gridcolor": GRID,
        "zeroline": False,
        **more,
    }


def metric_axis(metric: str, *, titled: bool = True) -> dict[str, Any]:
    """plotly's axis of a metric: its label with the split, and where less is better; in percent
    where it is an accuracy."""
    less = shown_if(less_is_better(metric), "less is better")
    facts = ", ".join(filter(None, (metric_split(metric), less)))
    label = metric_label(metric) + shown_if(facts, f" ({facts})")
    percent = {"tickformat": ".3~%"} if is_accuracy(metric) else {}
    return axis(label if titled else "", **percent)


def least_range(metric: str, largest: float) -> float:
    """Of an axis of this metric whose values are at most so large: nearly equal ones are not blown
    up, or noise would look like a trend."""
    return 0.02 if is_accuracy(metric) else 0.1 * abs(largest) or 1.0


def marker(
    look: Look, size: float = 8, *, on_front: bool = True, hollow: bool = False
) -> dict[str, Any]:
    """plotly's marker: with an ink line on the front, smaller and faint off it."""
    color = look.color if on_front else faint(look.color)
    if hollow:
        outline, dot, _ = look.symbol.partition("-dot")  # "circle-open-dot" of "circle-dot"
        symbol = f"{outline.removesuffix('-open')}-open{dot}"
        line = {"color": color, "width": 1.5}
        return {"color": color, "symbol": symbol, "size": size, "line": line}
    return {
        "color": color,
        "symbol": look.symbol,
        "size": size if on_front else 0.8 * size,
        "line": {"color": INK if on_front else color, "width": 1},
    }


def interval_bars(estimates: Sequence[Any], factor: float = 1.0, **style: Any) -> dict[str, Any]:
    """plotly's error bars of estimates with `low`, `mean` and `high`, multiplied by the factor."""
    ends = [(estimate.low, estimate.mean, estimate.high) for estimate in estimates]
    return error_bars(*factor * np.array(ends).reshape(-1, 3).T, **style)


def error_bars(
    low: NDArray[np.float64], mean: NDArray[np.float64], high: NDArray[np.float64], **style: Any
) -> dict[str, Any]:
    """plotly's error bars between these ends, none where an end is not finite."""
    more, less = high - mean, mean - low
    is_known = np.isfinite(more) & np.isfinite(less)
    bars = {"type": "data", "symmetric": False, "width": 0}
    bars["array"] = np.where(is_known, more, 0.0).tolist()
    bars["arrayminus"] = np.where(is_known, less, 0.0).tolist()
    return bars | style


def looks(source: StudySource) -> Mapping[str, Look]:
    """Colour, mark and dash of each arm of an ablation by its name, or of each set of loss terms of
    a search (`StudyRecord.loss_terms`): the same in all figures of a study."""
    if source.ablation is None:
        sets = {source.record.loss_terms(row) for row in source.record.rows}
        return {terms: terms_look(terms) for terms in sets}
    looks_of: dict[str, Look] = {}
    terms_of = arm_terms(source)
    all_terms = list(terms_of.values())
    for position, (name, terms) in enumerate(terms_of.items()):
        nth = all_terms[:position].count(terms)  # among the arms with these terms
        look = like(terms_look(terms), nth) if terms else _nth_look("", nth)
        if not terms and any(all_terms):
            look = replace(look, color=FAINT_INK)
        looks_of[name] = replace(look, label=network_label(name))
    return looks_of


def like(look: Look, nth: int) -> Look:
    """That of a further network with the same loss terms: another mark and dash."""
    symbols = [look.symbol, *(symbol for symbol in SYMBOLS if symbol != look.symbol)]
    return replace(look, symbol=symbols[nth % len(symbols)], dash=DASHES[nth % len(DASHES)])


def study_looks(names: Sequence[str]) -> list[Look]:
    """Label, colour, mark and dash of each study in a figure of several, by its place: names that
    fit a legend and differ, cut in the middle, equal ones numbered."""
    labels = [shortened(name, 32) for name in names] if len(names) > 1 else [*names]
    numbered = [
        f"{label} [{labels[: place + 1].count(label)}]" if labels.count(label) > 1 else label
        for place, label in enumerate(labels)
    ]
    return [_nth_look(label, place) for place, label in enumerate(numbered)]


def _nth_look(label: str, nth: int) -> Look:
    color, symbol = SERIES[nth % len(SERIES)], SYMBOLS[nth % len(SYMBOLS)]
    return Look(label, color, symbol, DASHES[nth % len(DASHES)])


# -- Facts: what the numbers of one study, or of several, stand on ---------------------------


def several_title(what: str, labels: Sequence[str]) -> str:
    """ "Pareto fronts of a, b and c"; more than three studies are counted."""
    if len(labels) > 3:
        return f"{what} of {len(labels)} studies"
    return f"{what} of {' and '.join(filter(None, [', '.join(labels[:-1]), labels[-1]]))}"


def several_facts(infos: Sequence[Basis]) -> list[str]:
    """The basis of the numbers of several searches, without marks."""
    complete, trials = sum(info.complete for info in infos), sum(info.trials for info in infos)
    bases = []
    for info in infos:
        counts = [*count_texts(info), *seed_texts(info.seed)]
        bases.append(", ".join(filter(None, (info.split, *counts))))
    return [
        f"{complete} of {trials} trials complete",
        *_of_studies(infos, [[info.subject] for info in infos]),
        *_of_studies(infos, [[basis] if basis else [] for basis in bases]),
    ]


def several_marks(infos: Sequence[StudyFacts]) -> list[str]:
    """What has to be said beside the numbers of any of them."""
    return _of_studies(infos, [info.marks for info in infos])


def _of_studies(infos: Sequence[StudyFacts], facts: Sequence[Sequence[str]]) -> list[str]:
    """Facts of each study, each fact once; those that are not of all name their studies."""
    names_of: dict[str, list[str]] = {}
    for look, of_study in zip(study_looks([info.study for info in infos]), facts, strict=True):
        for fact in dict.fromkeys(of_study):
            names_of.setdefault(fact, []).append(look.label)
    return [
        fact if len(names) == len(infos) else f"{few(names)}: {fact}"
        for fact, names in names_of.items()
    ]


def basis_meta(figure: str, *infos: StudyFacts) -> dict[str, Any]:
    """`layout.meta` of a figure of one study, or of several, with a list of what each has.

    Args:
        figure: its name in a page's title, as "Pareto front".
    """
    title = f"{', '.join(info.study for info in infos)}: {figure}"
    meta: dict[str, Any] = {"title": title, "figure": figure}
    for name in ("study", "question", "fingerprint", "split", "n_images"):
        values = [getattr(info, name) for info in infos]
        meta[name] = values[0] if len(values) == 1 else values
    return meta


def ablation_facts(info: AblationInfo) -> list[str]:
    """The basis of the numbers of an ablation, without marks."""
    seeds = count_text(info.seeds, info.paired)
    facts = [f"{info.ended} of {info.runs} runs ended, {seeds}", info.subject]
    if info.n_images is not None:
        counts = count_texts(info)
        facts.append(", ".join([f"{info.split} accuracy", *counts]))
        facts.append(f"robust: mean over {info.mean_over}")
    return facts
