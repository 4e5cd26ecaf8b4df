"""The figures of a page: drawn light, without a title, as the page's own headings say it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ablate.ablation.study_source import StudySource
from ablate.errors import NothingToDrawError
from ablate.report.figures import find_figure
from ablate.report.figures.figure import FigureKind, why_not_drawn

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

_WIDE_PIXELS = 700
_TOP_PIXELS = 28
_WIDE_SHARE = 0.8
_INSIDE_PIXELS = 230


@dataclass(frozen=True)
class DrawnFigure:
    """A figure as the page holds it.

    Attributes:
        anchor: unique on the page; title, says, caption: plain text.
        json: plotly's `data` and `layout`.
        width, height: pixels that it was made for; is_wide: whether it takes two columns.
        least_width: pixels below which it is moved sideways in place of being pressed together.
    """

    anchor: str
    title: str
    says: str
    caption: str
    json: str
    width: int
    height: int
    least_width: int

    @property
    def is_wide(self) -> bool:
        return self.width > _WIDE_PIXELS


def drawn_figures(
    source: StudySource, names: Sequence[str], said: Sequence[str], prefix: str = ""
) -> tuple[tuple[DrawnFigure, ...], str]:
    """Those of the figures that the study has something for, in this order.

    Args:
        said: facts that the page says once, for all figures.
        prefix: of the anchors, where a page has a figure twice.

    Returns:
        The figures; and of those that could not be drawn, a sentence each.
    """
    found, missing = [], []
    for name in names:
        kind = find_figure(name)
        try:
            info = kind.info([source])
            found.append(_drawn(kind, kind.draw(info), prefix + name, said))
        except NothingToDrawError:
            continue
        except Exception as error:  # the rest of the page does not depend on it
            why = why_not_drawn(name, error)
            missing.append(why[0].upper() + why[1:])
    return tuple(found), " ".join(missing)


def _drawn(kind: FigureKind, figure: Figure, anchor: str, said: Sequence[str]) -> DrawnFigure:
    width, height = figure.layout.meta["image_pixels"]
    caption = " \N{MIDDLE DOT} ".join(
        fact for fact in figure.layout.meta["facts"] if fact not in said
    )
    top = figure.layout.margin.t or 0
    figure.update_layout(title=None, margin_t=_TOP_PIXELS, width=None, height=None)
    # Of a title that is none plotly would still keep the rest.
    figure.layout.title = None
    return DrawnFigure(
        anchor=anchor,
        title=kind.title,
        says=kind.says,
        caption=caption,
        json=_json(figure),
        width=int(width),
        height=int(height - top + _TOP_PIXELS),
        least_width=_least_width(figure, width),
    )


def _least_width(figure: Figure, width: float) -> int:
    """Names and numbers beside a plot do not shrink with it."""
    if width > _WIDE_PIXELS:
        return round(_WIDE_SHARE * width)
    beside = float(figure.layout.margin.l) + float(figure.layout.margin.r)
    return round(min(width, beside + _INSIDE_PIXELS))


def _json(figure: Any) -> str:
    text: str = figure.to_json(validate=False)
    return text
