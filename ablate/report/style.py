"""The style of all figures: colour and mark of each set of loss terms, fonts, axes.

Colours: those of Okabe and Ito 2008, distinguishable with any common colour vision, the light ones
darkened to a contrast of 3:1 on paper; each set also has a different mark, so that a figure printed
in grey is readable.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ablate.report.words import PLAIN, network_label, terms_words

if TYPE_CHECKING:
    from plotly.graph_objects import Figure


# By the terms beside `clean`; without `clean` the mark has a dot in it.
_STYLES = {
    frozenset[str](): ("#767676", "pentagon"),
    frozenset({"da"}): ("#C98500", "square"),
    frozenset({"st"}): ("#0072B2", "triangle-up"),
    frozenset({"fma"}): ("#009E73", "circle"),
    frozenset({"st", "fma"}): ("#C4689B", "diamond"),
    frozenset({"da", "st"}): ("#2E96D2", "triangle-down"),
    frozenset({"da", "fma"}): ("#D55E00", "hexagon"),
    frozenset({"da", "st", "fma"}): ("#9E9100", "cross"),
}
_OTHER = ("#767676", "x")
_OWN_LOOP = ("#0072B2", "circle")

INK = "#1A1A1A"
FAINT_INK = "#6B6B6B"
GRID = "#E6E6E6"
PAPER = "#FFFFFF"
SERIES = ("#0072B2", "#C98500", "#009E73", "#C4689B", "#D55E00", "#2E96D2", "#767676", "#9E9100")
"""Of things without a colour of their own: studies, families, workers. Each has its dash and mark
too (`DASHES`, `SYMBOLS`)."""
DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
SYMBOLS = (
    *("circle", "square", "triangle-up", "diamond"),
    *("hexagon", "triangle-down", "pentagon", "cross"),
)
FONT = "Helvetica, Arial, 'Liberation Sans', sans-serif"
FONT_SIZE, SMALL_SIZE, TITLE_SIZE = 14, 13, 15
"""Of text, of the smallest text and of titles, in pixels of the layout."""
SMALL_POINTS = 7.0
"""Of the smallest text in print."""
INCHES_PER_PIXEL = SMALL_POINTS / 72 / SMALL_SIZE
"""Of an image, unless its size is given."""


@dataclass(frozen=True)
class Look:
    """Colour, mark and dash of an arm, a set of loss terms or a study; plotly's names."""

    label: str
    color: str
    symbol: str
    dash: str = DASHES[0]


def terms_look(loss_terms: str) -> Look:
    """The look of a set of loss terms.

    Args:
        loss_terms: joined by +, in any order; a set with an unknown term is grey; empty for a
            custom training loop, whose trials all look the same.
    """
    if not loss_terms:
        return Look("Trials", *_OWN_LOOP)
    terms = frozenset(loss_terms.split("+"))
    color, symbol = _STYLES.get(terms - {"clean"}, _OTHER)
    words = terms_words(loss_terms)
    label = network_label("plain") if words == PLAIN else words
    return Look(label, color, symbol if "clean" in terms else f"{symbol}-dot")


MIXTURES_LOOK = Look("Mixtures", INK, "hexagram")
"""Of averages of trials, and of networks between them and the baseline."""

OUTSIDE_LOOK = Look("Outside the space", FAINT_INK, "x-thin-open")
"""Of trials that do not lie in an edited space."""

_FAINT = {
    "#767676": "#949494",
    "#C98500": "#CA8705",
    "#0072B2": "#4C9CC9",
    "#009E73": "#1AA881",
    "#C4689B": "#CB7AA7",
    "#2E96D2": "#3D9DD5",
    "#D55E00": "#DD7B2E",
    "#9E9100": "#A3960D",
    INK: "#939393",
    FAINT_INK: "#949494",
}


def faint(color: str) -> str:
    """The palest form of a colour of this module that still has a contrast of 3:1 on paper."""
    return _FAINT.get(color, color)


# -- The dark form of a figure: the same drawing, its inks and papers exchanged ------------
#
# Figures are drawn light and know of no theme; the report's page exchanges by the same table.


DARK = {
    INK: "#E9EAEC",
    FAINT_INK: "#A3A8B0",
    GRID: "#2F343C",
    PAPER: "#16191E",
    # Of the terms' colours, those that would sink into a dark page.
    "#767676": "#9B9B9B",
    "#0072B2": "#3D8BDB",
    "#009E73": "#1FBE90",
    "#D55E00": "#EE7B27",
}
"""Light colour -> dark colour; one that is not here stays as it is."""


def dark(figure: Figure) -> Figure:
    """The figure for a dark page, as a new one."""
    from plotly.io import from_json

    text = str(figure.to_json())
    for light, exchanged in DARK.items():
        text = text.replace(f'"{light}"', f'"{exchanged}"')
    # Without a template a figure that is read would have plotly's own.
    return from_json(text).update_layout(template=None)
