"""The sheet that every figure is drawn on: title, facts, margins, legend, a word for nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from plotly.graph_objects import Figure, Scatter, Scattergl

from ablate.analysis.caveats import Basis
from ablate.analysis.objectives import is_accuracy, metric_split
from ablate.files.shown import few
from ablate.report.figures.parts.names import (
    legend_pixels,
    legend_room,
    place_columns,
    text_pixels,
)
from ablate.report.numbers import count_texts, metric_label, plain_text, seed_texts, shortened
from ablate.report.style import (
    FAINT_INK,
    FONT_SIZE,
    PAPER,
    SERIES,
    SMALL_SIZE,
    SYMBOLS,
    TITLE_SIZE,
    TermsStyle,
    base_axis,
    base_layout,
)

COLUMN_PIXELS = (434, 400)
"""One column of print, 3.25 inches: the smallest text has 7 pt there (`style.INCHES_PER_PIXEL`)."""
WIDE_PIXELS = (900, 520)
"""Two columns of print."""
LEFT, RIGHT, BOTTOM = 76, 16, 56
"""Margins in pixels; the left one holds numbers and a title."""
_LEAST_INSIDE = 140
"""Pixels of a plot whose marks may stand closer together in a smaller image."""
_OVER_TITLE, _HEAD, _BARE = 12, 66, 16
"""Pixels over the title; of the margin with title and subtitle; of the margin without them."""
_TITLE_LINE, _LEAST_TITLE = 17, 105
"""Of another line of an upright title; and the shortest axis for which it is broken."""
_BOLD_WIDTH = 0.64
"""Of a character of a title, names in capitals included, in its size."""
_LEAST_NAME = 8
"""Characters of a study's name in a title that is too long for its line."""
MANY = 2000
"""More points than this are drawn by the graphics card."""
NO_TRIAL = "no complete trial"
"""In a figure without one."""


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
    least: float | None = None,
    left: float = LEFT,
    right: float = RIGHT,
    bottom: float = BOTTOM,
    nothing: str = "",
) -> Figure:
    """Add title, margins and legend to a figure whose traces and axes are drawn.

    Args:
        figure: the legend has the traces with a true `showlegend`.
        title: plain text, as is every fact: both are escaped here. It takes one line, where names
            of studies are shortened, or those of several counted.
        facts: the basis of the numbers, at least one.  The first stand under the title, as many as
            one line holds; all are the caption.
        meta: for `layout.meta`, which gets the facts too; "title" becomes that of the page.
        pixels: width and height of the image; a page stretches it.
        inside: height of the plot in pixels; if given, the image height is this and what surrounds
            it.
        least: height of the plot that it needs, in pixels; None: `inside`.
        left, right, bottom: margins in pixels, without the legend.
        nothing: text in the middle, if there is nothing to show yet; without a trace there are no
            axes.

    Returns:
        The same figure.
    """
    width, height = pixels
    if inside is not None:
        titles = _TITLE_LINE * (_break_titles(figure, inside) - 1)
        legend = legend_pixels(figure, width - left - titles - right)
        height = round(_HEAD + inside + bottom + legend)
    figure.update_layout(
        base_layout()
        | {
            "margin": {"l": left, "r": right},
            "legend": {
                "orientation": "h",
                "traceorder": "normal",  # or each group has a gap of its own
                "x": 0.5,
                "xanchor": "center",
                "yref": "container",
                "yanchor": "bottom",
                "font": {"size": SMALL_SIZE},
            },
            "hovermode": "closest",
            "title": {"subtitle": {"font": {"color": FAINT_INK}}},
            "meta": meta
            | {
                "heading": title,
                "facts": list(facts),
                "left": left,
                "bottom": bottom,
                "least_inside": least or inside or _LEAST_INSIDE,
                "least_width": width,
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
    return lay_out(figure, width, height)


def lay_out(
    figure: Figure, width: float, height: float, *, titled: bool = True, is_page: bool = True
) -> Figure:
    """Set what depends on the size of a finished figure: its heading, and room for the legend.

    Args:
        width, height: of the image, in pixels.
        titled: whether title and subtitle are shown.
        is_page: whether it may be stretched; a high legend of one that is not is in columns.

    Returns:
        The same figure.
    """
    meta, margin = figure.layout.meta, figure.layout.margin
    top, left = _HEAD if titled else _BARE, meta["left"]
    for _ in range(2):  # titles in several lines leave less width, and so may need a higher legend
        legend, columns = legend_room(figure, width, width - left - margin.r, is_page=is_page)
        foot = meta["bottom"] + legend
        lines = _break_titles(figure, max(0.0, height - top - foot))
        left = meta["left"] + _TITLE_LINE * (lines - 1)
    if titled:
        figure.layout.title.update(_heading(meta, width))
    else:
        figure.layout.title.update({"text": "", "subtitle": {"text": ""}})
    figure.layout.title.y = 1 - _OVER_TITLE / height  # a share of the figure
    figure.layout.margin.update(t=top, b=foot, l=left)
    figure.layout.legend.y = 4 / height  # near to the edge, however high the image is
    if columns:
        place_columns(figure, columns, width, height)
    figure.layout.meta = meta | {"image_pixels": [width, height]}
    return figure


def with_height(figure: Figure) -> Figure:
    """The same figure with the height of its image, for a notebook, where plotly's own may be too
    little."""
    return figure.update_layout(height=figure.layout.meta["image_pixels"][1])


def least_pixels(figure: Figure) -> tuple[float, float]:
    """The width and height that a finished figure needs, in pixels: with less, texts collide."""
    meta, margin = figure.layout.meta, figure.layout.margin
    return meta["least_width"], margin.t + meta["least_inside"] + margin.b


def _break_titles(figure: Figure, inside: float) -> int:
    """Break titles of upright axes that are longer than their axis; the most lines of any.

    Args:
        inside: height of the plot in pixels.
    """
    most = 1
    for axis in figure.select_yaxes():
        text = (axis.title.text or "").replace(_BREAK, " ")
        low, high = axis.domain or (0.0, 1.0)
        room = max(_LEAST_TITLE, (high - low) * inside)
        if not text or "<br>" in text:
            continue
        lines = [""]
        for word in text.split(" "):
            longer = f"{lines[-1]} {word}".strip()
            fits = not lines[-1] or text_pixels(longer, FONT_SIZE) <= room
            lines[-1 if fits else len(lines) :] = [longer if fits else word]
        axis.title.text = _BREAK.join(lines)
        axis.title.standoff = 8 + _TITLE_LINE * (len(lines) - 1)
        most = max(most, len(lines))
    return most


_BREAK = "<br />"
"""Made here, and undone for another size; a "<br>" is a figure's own."""
# -- Axes of metrics, alike in every figure that has one -----------------------------------


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


# -- Figure heading: what it shows, and what the numbers are based on -----------------------


def _heading(meta: Mapping[str, Any], width: float) -> dict[str, Any]:
    """plotly's `layout.title`: a line of the title, and a line of as many facts as it holds."""
    room = width - 14
    said, characters = "", int(room / (0.5 * SMALL_SIZE))
    for fact in meta["facts"]:
        longer = f"{said} · {fact}" if said else shortened(fact, characters)
        if len(longer) > characters:
            break
        said = longer
    return {
        "text": f"<b>{plain_text(_title_line(meta, int(room / (_BOLD_WIDTH * TITLE_SIZE))))}</b>",
        "font": {"size": TITLE_SIZE},
        "subtitle": {"text": plain_text(said), "font": {"size": SMALL_SIZE}},
        "x": 0.02,
        "xanchor": "left",
        # Not 1 with a pad: plotly.js does not apply `title.pad.t` to a title anchored so.
        "yref": "container",
        "yanchor": "top",
    }


def _title_line(meta: Mapping[str, Any], characters: int) -> str:
    """The title in one line: names of studies give way, what is shown of them stays."""
    title, study = meta["heading"], meta.get("study", "")
    if len(title) <= characters:
        return str(title)
    if not isinstance(study, str):  # the legend names them
        title = f"{meta['figure']} of {len(study)} studies"
    elif study and study in title:
        before, _, after = title.rpartition(study)
        name = shortened(study, max(_LEAST_NAME, characters - len(before) - len(after)))
        title = f"{before}{name}{after}"
    return shortened(title, characters)


def basis_facts(info: Basis, *, complete: int | None = None) -> list[str]:
    """What the numbers of one search stand on: n, data, split, seed; its marks come last.

    Args:
        complete: in place of the study's own, where a figure has others.
    """
    if complete is not None:
        info = replace(info, complete=complete)
    return [*several_facts([info]), *info.marks]


def violating_facts(infos: Sequence[Basis]) -> list[str]:
    """Of a figure of all complete trials: that it has those that violate a constraint too."""
    counted = any(info.violating for info in infos)
    return ["trials that violate a constraint are among those shown"] * counted


def objectives_facts(shown: int, count: int) -> list[str]:
    """How many of a study's objectives a figure shows; nothing where it shows all."""
    return [f"the first {shown} of {count} objectives"] if shown < count else []


# -- Several studies in one figure: their labels, looks, title, and what their numbers stand on


_LABEL_CHARACTERS = 32
_NAMED = 3


def study_labels(names: Sequence[str]) -> list[str]:
    """Names that fit a legend and differ, as plain text: cut in the middle, equal ones numbered;
    that of a figure's only study is whole."""
    if len(names) == 1:
        return list(names)
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
    """The basis of the numbers of several searches, without marks; each fact once, with the names
    of its studies where it is not one of all."""
    basis = [
        ", ".join(
            filter(
                None,
                (one.split, *count_texts(one.n_images, one.n_corrupted), *seed_texts(one.seed)),
            )
        )
        for one in infos
    ]
    complete, trials = (sum(getattr(one, name) for one in infos) for name in ("complete", "trials"))
    return [
        f"{complete} of {trials} trials complete",
        *_of_studies(infos, [[one.subject] for one in infos]),
        *_of_studies(infos, [[text] if text else [] for text in basis]),
    ]


def several_marks(infos: Sequence[Basis]) -> list[str]:
    """What has to be said beside the numbers of any of them, each once, with the names of its
    studies where it is not said of all."""
    return _of_studies(infos, [info.marks for info in infos])


def _of_studies(infos: Sequence[Basis], facts: Sequence[Sequence[str]]) -> list[str]:
    """Facts of each study, each fact once; those that are not of all name their studies."""
    labels = study_labels([info.study for info in infos])
    found: dict[str, list[str]] = {}
    for label, of_study in zip(labels, facts, strict=True):
        for fact in dict.fromkeys(of_study):
            found.setdefault(fact, []).append(label)
    return [
        fact if len(names) == len(infos) else f"{few(names)}: {fact}"
        for fact, names in found.items()
    ]


def basis_meta(figure: str, *infos: Basis) -> dict[str, Any]:
    """`layout.meta` of a figure of one study, or of several, with a list of what each has.

    Args:
        figure: its title, as "Pareto front".
    """
    named = ("study", "fingerprint", "split", "seed", "trials", "complete")
    meta: dict[str, Any] = {name: [getattr(info, name) for info in infos] for name in named}
    meta["split"] = list(dict.fromkeys(meta["split"]))
    if len(infos) == 1:
        meta = {name: values[0] for name, values in meta.items()}
        meta |= {"n_images": infos[0].n_images, "question": infos[0].question}
    return {
        "title": f"{', '.join(info.study for info in infos)}: {figure}",
        "figure": figure,
    } | meta
