"""The sheet that every figure is drawn on, and what figures of one study have in common: size,
title, facts, legend, axes, and one colour, mark and dash for each arm or set of loss terms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import isfinite
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from plotly.graph_objects import Figure, Scatter, Scattergl

from ablate.ablation.study_source import StudySource, arm_terms
from ablate.analysis.caveats import Basis, StudyFacts
from ablate.analysis.objectives import is_accuracy, metric_split
from ablate.files.shown import count_text, few
from ablate.report.numbers import count_texts, metric_label, plain_text, seed_texts, shortened
from ablate.report.style import (
    DASHES,
    FAINT_INK,
    FONT_SIZE,
    INK,
    PAPER,
    SERIES,
    SMALL_POINTS,
    SMALL_SIZE,
    SYMBOLS,
    TITLE_SIZE,
    Look,
    base_axis,
    base_layout,
    faint,
    open_symbol,
    terms_look,
)
from ablate.report.words import network_label

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


COLUMN, WIDE = Sheet(), Sheet(900)
"""One column of print, and two."""
_TITLE_LINES = 2
_LINE, _SUBTITLE_LINE, _OVER = 19, 20, 10
"""Pixels of a line of the title, of the subtitle, and over both."""
_AROUND = 150
"""Pixels of a sheet's height that are not the plot's, about."""
_BELOW = 100
"""Pixels of an axis' numbers and title and of the legend, about."""


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
    meta: dict[str, Any],
    height: float = 400,
    nothing: str = "",
) -> Figure:
    """Add title, legend and size to a figure whose traces and axes are drawn; plotly makes room
    for names of axes and for the legend at the foot.

    Args:
        title, facts: plain text, escaped here. The first facts stand under the title, as many as
            one line holds; all are the caption.
        meta: for `layout.meta`, which gets heading, facts and size too.
        height: of the image in pixels where the sheet leaves it free.
        nothing: text in the middle, if there is nothing to show yet.
    """
    height = round(height) if sheet.height is None else sheet.height
    top, heading = 16, {}
    if sheet.titled:
        text = wrapped(plain_text(title), sheet.width - 20, 1.1 * TITLE_SIZE, _TITLE_LINES)
        lines = text.count("<br>") + 1
        top = _OVER + _LINE * lines + _SUBTITLE_LINE + 12
        heading = {
            "text": f"<b>{text}</b>",
            "font": {"size": TITLE_SIZE},
            "subtitle": {
                "text": plain_text(_first_facts(facts, sheet.width - 20)),
                "font": {"size": SMALL_SIZE, "color": FAINT_INK},
            },
            "x": 10 / sheet.width,
            "xanchor": "left",
            "y": 1 - (_OVER + 0.72 * TITLE_SIZE) / height,  # of the first line's foot
            "yanchor": "bottom",
            "yref": "container",
        }
    for upright in figure.select_yaxes():
        low, high = upright.domain or (0.0, 1.0)
        if upright.title.text:
            room = max(80.0, (height - top - _BELOW) * (high - low))
            upright.title.text = wrapped(upright.title.text, room, FONT_SIZE, lines=3)
    figure.update_layout(
        base_layout()
        | {
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
            "meta": meta
            | {
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
        figure.add_annotation(
            text=nothing,
            xref="paper",
            yref="paper",
            x=0.5,
            y=0.5,
            showarrow=False,
            bgcolor=PAPER,
            font={"size": FONT_SIZE, "color": FAINT_INK},
        )
    return figure


def _first_facts(facts: Sequence[str], pixels: float) -> str:
    """As many facts as one line holds."""
    said = ""
    for fact in facts:
        longer = f"{said} · {fact}" if said else fact
        if text_pixels(longer, SMALL_SIZE) > pixels:
            break
        said = longer
    return said or (shortened(facts[0], int(pixels / (0.5 * SMALL_SIZE))) if facts else "")


def rows_that_fit(sheet: Sheet, rows: int, pixels: float, around: float = _AROUND) -> int:
    """How many of so many rows, each of these pixels, a sheet has room for beside title, axis and
    legend; all where its height is free."""
    if sheet.height is None:
        return rows
    return max(1, min(rows, int((sheet.height - around) // pixels)))


# -- Texts -----------------------------------------------------------------------------------


_NARROW = frozenset("fijlrtI ().,:;|'![]-")


def text_pixels(text: str, size: float) -> float:
    """The width of a line, about, in the font that stands in for Helvetica on many servers."""
    ems = (0.3 if one in _NARROW else 0.67 if one.isupper() else 0.56 for one in text)
    return 1.15 * size * sum(ems)


def wrapped(text: str, pixels: float, size: float = SMALL_SIZE, lines: int = 0) -> str:
    """Text broken at spaces into lines of this width, with plotly's `<br>`.

    Args:
        lines: at the most; the last is cut where more would be needed. 0: any number.
    """
    broken = [""]
    for word in text.replace("<br>", " ").split(" "):
        longer = f"{broken[-1]} {word}".strip()
        if not broken[-1] or text_pixels(longer, size) <= pixels:
            broken[-1] = longer
        else:
            broken.append(word)
    if lines and len(broken) > lines:
        last = " ".join(broken[lines - 1 :])
        broken[lines - 1 :] = [shortened(last, max(8, int(pixels / (0.5 * size))))]
    return "<br>".join(broken)


# -- Axes and marks --------------------------------------------------------------------------


def axis(title: str = "", **more: Any) -> dict[str, Any]:
    """An axis with this title, plain text; plotly makes room for its names."""
    text = {"text": plain_text(title), "standoff": 8, "font": {"size": FONT_SIZE}}
    return base_axis() | {"automargin": True, "title": text} | more


def metric_axis(metric: str, *, titled: bool = True) -> dict[str, Any]:
    """plotly's axis of a metric: its label with the split, in percent where it is an accuracy."""
    split = metric_split(metric)
    label = f"{metric_label(metric)} ({split})" if split else metric_label(metric)
    return axis(label * titled, **({"tickformat": ".3~%"} if is_accuracy(metric) else {}))


def marker(
    look: Look, size: float = 8, *, on_front: bool = True, hollow: bool = False
) -> dict[str, Any]:
    """plotly's marker: with an ink line on the front, smaller and faint off it."""
    color = look.color if on_front else faint(look.color)
    if hollow:
        line = {"color": color, "width": 1.5}
        return {"color": color, "symbol": open_symbol(look.symbol), "size": size, "line": line}
    return {
        "color": color,
        "symbol": look.symbol,
        "size": size if on_front else 0.8 * size,
        "line": {"color": INK if on_front else color, "width": 1},
    }


def interval_bars(estimates: Sequence[Any], factor: float = 1.0, **style: Any) -> dict[str, Any]:
    """plotly's error bars of estimates with `low`, `mean` and `high`, multiplied by the factor."""
    ends = [
        [factor * (one.high - one.mean), factor * (one.mean - one.low)]
        if isfinite(one.low) and isfinite(one.high)
        else [None, None]
        for one in estimates
    ]
    more, less = ([pair[at] for pair in ends] for at in (0, 1))
    return style | {"type": "data", "symmetric": False, "array": more, "arrayminus": less}


def looks(source: StudySource) -> Mapping[str, Look]:
    """Colour, mark and dash of each arm of an ablation by its name, or of each set of loss terms of
    a search (`StudyRecord.loss_terms`): the same in all figures of a study."""
    if source.ablation is None:
        sets = {source.record.loss_terms(row) for row in source.record.rows}
        return {terms: terms_look(terms) for terms in sets}
    found: dict[str, Look] = {}
    terms_of = arm_terms(source)
    used = list(terms_of.values())
    for at, (name, terms) in enumerate(terms_of.items()):
        place = used[:at].count(terms)  # among the arms with these terms
        if terms:
            look = like(terms_look(terms), place)
        else:
            look = _nth_look("", place)
            look = replace(look, color=FAINT_INK) if any(used) else look
        found[name] = replace(look, label=network_label(name))
    return found


def like(look: Look, place: int) -> Look:
    """That of a further network with the same loss terms: another mark and dash."""
    symbols = [look.symbol, *(one for one in SYMBOLS if one != look.symbol)]
    dash = DASHES[place % len(DASHES)]
    return replace(look, symbol=symbols[place % len(symbols)], dash=dash)


# -- Facts: what the numbers of one study, or of several, stand on ---------------------------


_LABEL_CHARACTERS, _NAMED = 32, 3


def study_looks(names: Sequence[str]) -> list[Look]:
    """Label, colour, mark and dash of each study in a figure of several, by its place: names that
    fit a legend and differ, cut in the middle, equal ones numbered."""
    labels = [shortened(name, _LABEL_CHARACTERS) for name in names] if len(names) > 1 else [*names]
    found = []
    for place, label in enumerate(labels):
        is_twice, nth = labels.count(label) > 1, labels[: place + 1].count(label)
        found.append(_nth_look(f"{label} [{nth}]" if is_twice else label, place))
    return found


def _nth_look(label: str, place: int) -> Look:
    color, symbol = SERIES[place % len(SERIES)], SYMBOLS[place % len(SYMBOLS)]
    return Look(label, color, symbol, DASHES[place % len(DASHES)])


def several_title(what: str, labels: Sequence[str]) -> str:
    """ "Pareto fronts of a, b and c"; more than three studies are counted."""
    if len(labels) > _NAMED:
        return f"{what} of {len(labels)} studies"
    return f"{what} of {' and '.join(filter(None, [', '.join(labels[:-1]), labels[-1]]))}"


def several_facts(infos: Sequence[Basis]) -> list[str]:
    """The basis of the numbers of several searches, without marks."""
    complete, trials = (sum(getattr(one, name) for one in infos) for name in ("complete", "trials"))
    basis = []
    for one in infos:
        counts = [*count_texts(one.n_images, one.n_corrupted), *seed_texts(one.seed)]
        text = ", ".join(filter(None, (one.split, *counts)))
        basis.append([text] if text else [])
    return [
        f"{complete} of {trials} trials complete",
        *_of_studies(infos, [[one.subject] for one in infos]),
        *_of_studies(infos, basis),
    ]


def several_marks(infos: Sequence[Basis]) -> list[str]:
    """What has to be said beside the numbers of any of them."""
    return _of_studies(infos, [info.marks for info in infos])


def _of_studies(infos: Sequence[Basis], facts: Sequence[Sequence[str]]) -> list[str]:
    """Facts of each study, each fact once; those that are not of all name their studies."""
    found: dict[str, list[str]] = {}
    for look, of_study in zip(study_looks([info.study for info in infos]), facts, strict=True):
        for fact in dict.fromkeys(of_study):
            found.setdefault(fact, []).append(look.label)
    return [
        fact if len(names) == len(infos) else f"{few(names)}: {fact}"
        for fact, names in found.items()
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
        counts = count_texts(info.n_images, info.n_corrupted)
        facts += [
            ", ".join([f"{info.split} accuracy", *counts]),
            f"robust: mean over {info.mean_over}",
        ]
    return facts
