"""The sheet that every figure is drawn on: title, facts, margins, legend, a word for nothing."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from plotly.graph_objects import Figure, Scatter, Scattergl

from ablate.analysis.caveats import Basis
from ablate.analysis.objectives import is_accuracy, metric_split
from ablate.report.numbers import count_texts, metric_label, plain_text, seed_texts, shortened
from ablate.report.style import (
    FAINT_INK,
    FONT_SIZE,
    PAPER,
    SERIES,
    SYMBOLS,
    TermsStyle,
    base_axis,
    base_layout,
)

COLUMN_PIXELS = (560, 500)
"""One column of print."""
WIDE_PIXELS = (1160, 560)
"""Two columns of print."""
LEFT, RIGHT, BOTTOM = 76, 16, 56
"""Margins in pixels; the left one holds numbers and a title."""
_OVER_TITLE = 22
"""Pixels over the title."""
MANY = 2000
"""More points than this are drawn by the graphics card."""


def trace_type(points: int) -> Any:
    """plotly's kind of trace for so many points."""
    return Scatter if points <= MANY else Scattergl


def finish(
    figure: Figure,
    *,
    title: str,
    facts: Sequence[str],
    meta: dict[str, Any],
    pixels: tuple[float, float] = COLUMN_PIXELS,
    inside: float | None = None,
    left: float = LEFT,
    right: float = RIGHT,
    bottom: float = BOTTOM,
    nothing: str = "",
) -> Figure:
    """Add title, facts, margins and legend to a figure whose traces and axes are drawn.

    Args:
        figure: the legend has the traces with a true `showlegend`.
        title: plain text, as is every fact: both are escaped here.
        facts: the basis of the numbers, at least one.
        meta: for `layout.meta`, which gets the facts too; "title" becomes that of the page.
        pixels: width and height of the image; a page stretches it.
        inside: height of the plot in pixels; if given, the image height is this and what surrounds
            it.
        left, right, bottom: margins in pixels, without the legend.
        nothing: text in the middle, if there is nothing to show yet.

    Returns:
        The same figure.
    """
    head, top = heading(title, list(facts))
    named = [str(trace.name) for trace in figure.data if trace.showlegend]
    width, height = pixels
    edge = 0.01
    foot = bottom + _legend_pixels(named, width - left - right)
    if inside is not None:
        height = round(top + inside + foot)
        edge = 5 / height  # the legend stays as near to the edge, however high the image is
    head["y"] = 1 - _OVER_TITLE / height  # which is a share of the figure, however high it is
    figure.update_layout(
        base_layout()
        | {
            "title": head,
            "margin": {
                "l": left,
                "r": right,
                "t": top,
                "b": foot,
            },
            "legend": {
                "orientation": "h",
                "x": 0.5,
                "xanchor": "center",
                "y": edge,
                "yref": "container",
                "yanchor": "bottom",
                "font": {"size": FONT_SIZE - 1},
            },
            "hovermode": "closest",
            "meta": meta | {"image_pixels": [width, height], "facts": list(facts)},
        },
        overwrite=True,  # each of these is whole; merging them takes as long as the traces do
    )
    if nothing:
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


def _legend_pixels(names: Sequence[str], width: float) -> float:
    """Height of a horizontal legend; plotly.js does not make room for one at the page's foot."""
    rows, used = (1 if names else 0), 0.0
    for name in names:
        entry = 45 + 0.5 * (FONT_SIZE - 1) * len(name)
        if used and used + entry > width:
            rows, used = rows + 1, 0.0
        used += entry
    return rows * 30.0


# -- Axes of metrics, alike in every figure that has one -----------------------------------


def axis_number(place: int) -> str:
    """The number of a panel's axes as plotly writes it, from its place from 0: "", "2", "3"."""
    return str(place + 1) if place else ""


def axis_title(text: str) -> dict[str, Any]:
    """The title of an axis, of plain text."""
    return {"text": plain_text(text), "standoff": 8, "font": {"size": FONT_SIZE}}


def metric_axis(metric: str, *, titled: bool = True) -> dict[str, Any]:
    """plotly's axis of a metric: its label with the split, in percent where it is an accuracy."""
    split = metric_split(metric)
    axis = base_axis()
    if is_accuracy(metric):
        axis["tickformat"] = ".3~%"
    if titled:
        label = f"{metric_label(metric)} ({split})" if split else metric_label(metric)
        axis["title"] = axis_title(label)
    return axis


# -- Figure heading: the question, and what the numbers are based on ------------------------


_TITLE_CHARACTERS = 62
_SUBTITLE_CHARACTERS = 88


def heading(title: str, subtitle: list[str]) -> tuple[dict[str, Any], float]:
    """A title that fits one column of print.

    Args:
        title: plain text; broken between words.
        subtitle: plain facts; broken between two, and within one that is longer than a line.

    Returns:
        plotly's `layout.title`, with whatever its author wrote escaped, and the top margin in
        pixels that it takes.
    """
    lines = textwrap.wrap(title, _TITLE_CHARACTERS)
    facts_lines = _lines(subtitle)
    top = 1.3 * (len(lines) * (FONT_SIZE + 1) + len(facts_lines) * (FONT_SIZE - 2)) + 40
    return {
        "text": "<br>".join(f"<b>{plain_text(line)}</b>" for line in lines),
        "font": {"size": FONT_SIZE + 1},
        "subtitle": {
            "text": "<br>".join(plain_text(line) for line in facts_lines),
            "font": {"size": FONT_SIZE - 2, "color": FAINT_INK},
        },
        "x": 0.02,
        "xanchor": "left",
        # Not 1 with a pad: plotly.js does not apply `title.pad.t` to a title anchored so.
        "y": 0.97,
        "yref": "container",
        "yanchor": "top",
    }, top


def basis_facts(info: Basis, *, complete: int | None = None) -> list[str]:
    """What the numbers of one search stand on: n, data, split, seed; its marks come last.

    Args:
        complete: in place of the study's own, where a figure has others.
    """
    if complete is not None:
        info = replace(info, complete=complete)
    return [*several_facts([info]), *info.marks]


def objectives_facts(shown: int, count: int) -> list[str]:
    """How many of a study's objectives a figure shows; nothing where it shows all."""
    return [f"the first {shown} of {count} objectives"] if shown < count else []


def _lines(facts: list[str]) -> list[str]:
    """As many facts a line as fit; one that is longer than a line goes on in the next."""
    lines: list[str] = []
    for fact in facts:
        pieces = textwrap.wrap(fact, _SUBTITLE_CHARACTERS) or [fact]
        joined = f"{lines[-1]} · {pieces[0]}" if lines else ""
        if lines and len(joined) <= _SUBTITLE_CHARACTERS and len(pieces) == 1:
            lines[-1] = joined
        else:
            lines += pieces
    return lines


# -- Several studies in one figure: their labels, looks, title, and what their numbers stand on


_LABEL_CHARACTERS = 32
_NAMED = 3


def study_labels(names: Sequence[str]) -> list[str]:
    """Names that fit a legend and differ, as plain text: cut in the middle, equal ones numbered."""
    labels = [shortened(name, _LABEL_CHARACTERS) for name in names]
    return [
        f"{label} [{labels[:place].count(label) + 1}]" if labels.count(label) > 1 else label
        for place, label in enumerate(labels)
    ]


def study_styles(labels: Sequence[str]) -> list[TermsStyle]:
    """A colour and a mark for each study, by its place."""
    return [
        TermsStyle(label, SERIES[place % len(SERIES)], SYMBOLS[place % len(SYMBOLS)])
        for place, label in enumerate(labels)
    ]


def several_title(what: str, labels: Sequence[str]) -> str:
    """ "Pareto fronts of a, b and c"; more than three studies are counted."""
    if len(labels) > _NAMED:
        return f"{what} of {len(labels)} studies"
    return f"{what} of {' and '.join(filter(None, [', '.join(labels[:-1]), labels[-1]]))}"


def several_facts(infos: Sequence[Basis]) -> list[str]:
    """The basis of the numbers of several searches, without marks; shared facts are stated once."""
    basis = (
        (one.split, *count_texts(one.n_images, one.n_corrupted), *seed_texts(one.seed))
        for one in infos
    )
    complete, trials = (sum(getattr(one, name) for one in infos) for name in ("complete", "trials"))
    return [
        f"{complete} of {trials} trials complete",
        *dict.fromkeys(one.subject for one in infos),
        *dict.fromkeys(", ".join(filter(None, parts)) for parts in basis if any(parts)),
    ]


def several_marks(infos: Sequence[Basis]) -> list[str]:
    """What has to be said beside the numbers of any of them, each once."""
    return list(dict.fromkeys(mark for info in infos for mark in info.marks))


def basis_meta(figure: str, *infos: Basis) -> dict[str, Any]:
    """`layout.meta` of a figure of one study, or of several, with a list of what each has.

    Args:
        figure: its title, as "Pareto front".
    """
    named = ("study", "fingerprint", "split", "seed", "trials", "complete")
    meta: dict[str, Any] = {name: [getattr(info, name) for info in infos] for name in named}
    meta["split"] = list(dict.fromkeys(meta["split"]))
    if len(infos) == 1:
        meta = {name: values[0] for name, values in meta.items()} | {"n_images": infos[0].n_images}
    return {"title": f"{', '.join(info.study for info in infos)}: {figure}"} | meta
