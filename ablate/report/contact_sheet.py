"""Rows of images with words below each; and a contact sheet of them: one image under every
corruption at every severity, to be looked at."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from PIL import Image as PillowImage
from plotly.graph_objects import Figure, Image, Scatter

from ablate.files.shown import show_name
from ablate.report.figures.canvas import Sheet, finish, rows_that_fit, wrapped
from ablate.report.numbers import plain_text, shortened
from ablate.report.style import FAINT_INK, INK, SMALL_SIZE
from ablate.report.write import write_figure

if TYPE_CHECKING:
    from ablate.robustness.evaluation_set import Recipe

_NAMES = 88
"""Pixels left of the images, for the names of rows and of the lines below the images."""
_LEAST, _LARGEST = 70, 150
"""Pixels of an image, across."""
_GAP, _LINE = 8, 16
"""Pixels between two images, and of a line of words."""
_BESIDE, _AROUND = 26, 80
"""Pixels of a sheet that are not the images': margins left and right; title and facts."""
_KEPT, _PHOTOGRAPH = 160, 96
"""Pixels of an image's longer side in a figure's data; and above which it is kept as JPEG: as PNG
it would be many times larger."""


class Tile(NamedTuple):
    """An image (uint8 `[height, width, 3]`), lines below it (text, colour), and for a pointer."""

    pixels: np.ndarray
    lines: Sequence[tuple[str, str]]
    hover: Sequence[str]


class TileRow(NamedTuple):
    """Images beside each other, all of one size: their name, and names of the lines below them."""

    name: str
    line_names: Sequence[str]
    tiles: Sequence[Tile]


def draw_tiles(
    sheet: Sheet, heads: Sequence[str], rows: Sequence[TileRow]
) -> tuple[Figure, float, int]:
    """Rows of images in a figure without axes, as many rows and columns as the sheet has room for,
    under heads; the height of the figure, and how many rows it shows."""
    room = sheet.width - _BESIDE - _NAMES
    heads = heads[: max(2, room // (_LEAST + _GAP))]
    side = min(_LARGEST, room / len(heads) - _GAP)
    height, width, _ = rows[0].tiles[0].pixels.shape
    high = side * height / width
    a_row = high + _GAP + _LINE * len(rows[0].line_names)
    lefts = [_NAMES + column * (side + _GAP) for column in range(len(heads))]
    wrapped_heads = [wrapped(plain_text(head), side + _GAP, lines=2) for head in heads]
    top = float(_LINE * (1 + max(head.count("<br>") for head in wrapped_heads)))
    around = _AROUND if sheet.titled else _BESIDE
    rows = rows[: rows_that_fit(sheet, len(rows), a_row, around + top)]

    figure, texts = Figure(), list[tuple[float, float, str, str, str]]()
    for left, head in zip(lefts, wrapped_heads, strict=True):
        texts.append((left + side / 2, top, head, INK, "top center"))
    for row in rows:
        name = wrapped(plain_text(row.name), _NAMES - 2 * _GAP, lines=2)
        texts.append((0, top + high / 2, name, INK, "middle right"))
        line_ys = [top + high + _LINE * (place + 0.6) for place in range(len(row.line_names))]
        for line_y, line_name in zip(line_ys, row.line_names, strict=True):
            texts.append((0, line_y, plain_text(line_name), FAINT_INK, "middle right"))
        for left, tile in zip(lefts, row.tiles, strict=False):
            figure.add_trace(_image(tile, left, top, side, high))
            for line_y, (line, color) in zip(line_ys, tile.lines, strict=True):
                text = plain_text(shortened(line, int(side / (0.56 * SMALL_SIZE))))
                texts.append((left + side / 2, line_y, text, color, "middle center"))
        top += a_row
    x, y, words, colors, positions = zip(*texts, strict=True)
    font = {"size": SMALL_SIZE, "color": colors}
    look = {"mode": "text", "textposition": positions, "textfont": font, "cliponaxis": False}
    figure.add_trace(Scatter(x=x, y=y, text=words, hoverinfo="skip", showlegend=False, **look))
    hidden = {"visible": False, "fixedrange": True, "constrain": "domain"}
    figure.update_layout(
        xaxis={**hidden, "range": [0, sheet.width - _BESIDE]},
        yaxis={**hidden, "range": [top, 0], "scaleanchor": "x", "constraintoward": "top"},
    )
    return figure, top + around, len(rows)


def _image(tile: Tile, left: float, top: float, width: float, height: float) -> Image:
    """Where it is enlarged, its pixels stay squares."""
    picture = PillowImage.fromarray(tile.pixels)
    kind = "jpeg" if max(picture.size) > _PHOTOGRAPH else "png"
    picture.thumbnail((_KEPT, _KEPT), PillowImage.Resampling.LANCZOS)
    content = io.BytesIO()
    picture.save(content, kind, quality=90)
    dx, dy = width / picture.width, height / picture.height
    return Image(
        source=f"data:image/{kind};base64,{base64.b64encode(content.getvalue()).decode()}",
        x0=left + dx / 2,
        dx=dx,
        y0=top + dy / 2,
        dy=dy,
        zsmooth="fast" if kind == "jpeg" else False,
        hovertemplate="<br>".join(map(plain_text, tile.hover)).replace("%{", "% {")
        + "<extra></extra>",
    )


# -- The contact sheet ---------------------------------------------------------------------


_CUT_SIDE, _LARGEST_UNCUT = 224, 256
"""Pixels of a side: what larger images are cut to, as the benchmark's; and what is not cut."""


def write_contact_sheet(
    image: Path,
    file: Path,
    recipe: Recipe,
    *,
    image_size: int | None = None,
    resize: int | None = None,
) -> None:
    """Draw one image under every type at every severity.

    Args:
        file: as for `write_figures`.
        image_size: side of the centre crop; None: none, except that images with a side over 256
            pixels are cropped to 224 as in the benchmark.
        resize: shorter side in pixels before that.

    Raises:
        DataError: if the image cannot be read.
        ParameterError, UsageError, MissingDependencyError: as `write_figures`.
    """
    from ablate.data.decode import fit_image, open_rgb
    from ablate.data.evaluated import usual_resize

    opened = open_rgb(image)
    side = image_size
    if side is None and max(opened.size) > _LARGEST_UNCUT:
        side = _CUT_SIDE
    pixels = np.asarray(opened)
    if side is not None:
        pixels = fit_image(opened, side, resize or usual_resize(side)).transpose(1, 2, 0)
    write_figure(contact_sheet(show_name(image.name), np.ascontiguousarray(pixels), recipe), file)


def contact_sheet(title: str, pixels: np.ndarray, recipe: Recipe) -> Figure:
    """The contact sheet of an image (uint8 `[height, width, 3]`)."""
    from ablate.robustness.corrupt import corrupt_tiles
    from ablate.robustness.suites import caveats

    suite, severities = recipe.suite, recipe.severities
    heads = ["original", *(f"severity {severity}" for severity in severities)]
    rows = []
    for kind, copies in corrupt_tiles(pixels, recipe).items():
        named = zip((pixels, *copies), heads, strict=True)
        tiles = [Tile(copy, (), [f"{kind}, {head}"]) for copy, head in named]
        rows.append(TileRow(kind.replace("_", " "), (), tiles))
    sheet = Sheet(width=_BESIDE + _NAMES + len(heads) * 118)
    figure, height, _ = draw_tiles(sheet, heads, rows)
    size = f"{pixels.shape[1]} x {pixels.shape[0]} pixels"
    facts = [f"suite {suite.name}, seed {recipe.seed}, {size}", *caveats(suite, recipe.frost)]
    meta = {"title": f"{title}: contact sheet"}
    return finish(figure, sheet, title=title, facts=facts, meta=meta, height=height)
