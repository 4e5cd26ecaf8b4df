"""A contact sheet: one image under every corruption at every severity, for visual inspection."""

from __future__ import annotations

import base64
import io
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ablate.errors import ParameterError
from ablate.files.cache import publish_file
from ablate.files.shown import show_name
from ablate.report.style import FAINT_INK, INK

if TYPE_CHECKING:
    from ablate.robustness.evaluation_set import Recipe

_SMALL = 48  # pixels: up to it a tile is shown threefold
_MEDIUM = 112
_LARGEST = 256
_GAP = 8
_MARGIN = 24
_LABEL_WIDTH = 190
_TEXT, _SMALL_TEXT, _HEADING = 15, 12, 19
_NARROWEST = 480
_LINE = 5  # pixels between text and tile
Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

_CUT_SIDE = 224  # pixels: what larger images are cut to, as the benchmark's
_LARGEST_UNCUT = 256


@dataclass(frozen=True)
class SheetRow:
    """A corruption on a sheet.

    Attributes:
        family: of it; rows of one family are adjacent.
        name: of it.
        parameters: at each severity, as text.
        tiles: uint8 `[height, width, 3]`, one for each severity.
        mark: a caveat, or empty.
    """

    family: str
    name: str
    parameters: tuple[str, ...]
    tiles: tuple[np.ndarray, ...]
    mark: str = ""


@dataclass(frozen=True)
class SheetInfo:
    """The content of a sheet.

    Attributes:
        title: what the image is.
        original: uint8 `[height, width, 3]`.
        severities: of the columns.
        rows: in the order of every table.
        notes: lines below it all.
        columns: their headings; empty: the severities.
    """

    title: str
    original: np.ndarray
    severities: tuple[int, ...]
    rows: tuple[SheetRow, ...]
    notes: tuple[str, ...]
    columns: tuple[str, ...] = ()


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
        image: a file.
        file: a .png.
        recipe: the distortions.
        image_size: side of the centre crop; None: no crop, except for images with a side over 256
            pixels, which are cropped to 224 as in the benchmark.
        resize: shorter side in pixels before that.

    Raises:
        DataError: if the image cannot be read.
        ParameterError: if `file` has a different ending.
        UsageError: if it cannot be written.
    """
    from ablate.data.decode import fit_image, open_rgb
    from ablate.data.evaluated import usual_resize

    check_sheet_name(file)
    opened = open_rgb(image)
    side = image_size
    if side is None and max(opened.size) > _LARGEST_UNCUT:
        side = _CUT_SIDE
    pixels = np.asarray(opened)
    if side is not None:
        pixels = fit_image(opened, side, resize or usual_resize(side)).transpose(1, 2, 0)
    info = sheet_info(show_name(image.name), np.ascontiguousarray(pixels), recipe)
    publish_file(file, lambda path: draw_sheet(info).save(path, "PNG"))


def sheet_info(title: str, pixels: np.ndarray, recipe: Recipe) -> SheetInfo:
    """The contact sheet of an image.

    Args:
        title: what the image is.
        pixels: uint8 `[height, width, 3]`.
        recipe: what is done to it.
    """
    from ablate.robustness.corrupt.source import corrupt_tiles
    from ablate.robustness.corruption import SEVERITIES, scale_for
    from ablate.robustness.corruption.kind import load as load_corruption
    from ablate.study.provenance import versions

    suite = recipe.suite
    tiles = corrupt_tiles(pixels, recipe)
    scale = suite.scale or scale_for(min(pixels.shape[:2]))

    def said(kind: str, severity: int) -> str:
        if suite.made_by == "distortion":
            return f"strength {severity / len(SEVERITIES):g}"
        row = load_corruption(kind).tables[scale][severity - 1]
        return ", ".join(f"{value:g}" for value in row)

    approximate = suite.made_by == "corruption" and recipe.frost is None
    rows = tuple(
        SheetRow(
            family=family,
            name=kind,
            parameters=tuple(said(kind, severity) for severity in recipe.severities),
            tiles=tuple(tiles[kind]),
            mark="procedural texture, approximate" if approximate and kind == "frost" else "",
        )
        for family, kinds in suite.families.items()
        for kind in kinds
    )
    made = f"ablate {versions(('ablate',)).get('ablate', '')}".strip()
    table = {"cifar": "CIFAR-10-C", "imagenet": "ImageNet-C"}[scale]
    notes = [
        f"{made}, suite {suite.name}, seed {recipe.seed}, {pixels.shape[1]} x "
        f"{pixels.shape[0]} pixels"
    ]
    if suite.made_by == "corruption":
        notes.append(f"Below each image: its parameters, from the table of {table}.")
    return SheetInfo(title, pixels, recipe.severities, rows, tuple(notes))


def check_sheet_name(file: Path) -> None:
    """Refuse endings that a sheet cannot have.

    Raises:
        ParameterError: naming the file.
    """
    if file.suffix.lower() != ".png":
        raise ParameterError(
            f"{file}: a contact sheet's file must end with .png, got "
            f"{file.suffix or 'no ending'}. Name it {file.with_suffix('.png').name}."
        )


def draw_sheet(info: SheetInfo) -> Image.Image:
    """The sheet as one picture on white."""
    width, height = shown_size(info.original)
    text, small, heading = (sheet_font(size) for size in (_TEXT, _SMALL_TEXT, _HEADING))
    labels = _column_labels(info)
    cell = max(width, *(math.ceil(text.getlength(label)) for label in labels))
    column = cell + _GAP
    said = [[wrapped(one, small, cell) for one in row.parameters] for row in info.rows]
    line_height = _SMALL_TEXT + _LINE
    row_heights = [
        height + 3 * _LINE + line_height * max(len(lines) for lines in row) for row in said
    ]
    left = _MARGIN + _LABEL_WIDTH
    families = len({row.family for row in info.rows})
    across = max(left + len(labels) * column - _GAP + _MARGIN, _NARROWEST)
    title = wrapped(drawable(info.title, heading), heading, across - 2 * _MARGIN)
    notes = [line for note in info.notes for line in wrapped(note, small, across - 2 * _MARGIN)]
    under_title = _MARGIN + len(title) * (_HEADING + _LINE) - _LINE + 3 * _GAP
    top = under_title + _TEXT + _GAP
    total = top + families * (_HEADING + 3 * _GAP) + sum(row_heights)
    total += len(notes) * line_height + _MARGIN
    sheet = Image.new("RGB", (across, total), "white")
    draw = ImageDraw.Draw(sheet)

    for place, line in enumerate(title):
        draw.text((_MARGIN, _MARGIN + place * (_HEADING + _LINE)), line, INK, heading)
    y = under_title
    for place, label in enumerate(labels):
        draw.text((left + place * column, y), label, FAINT_INK, text)
    y, family = top, ""
    for row, lines, row_height in zip(info.rows, said, row_heights, strict=True):
        if row.family != family:
            family = row.family
            draw.text((_MARGIN, y + _GAP), family, INK, heading)
            rule = y + _GAP + _HEADING + _LINE
            draw.line((_MARGIN, rule, across - _MARGIN, rule), fill="#CCCCCC")
            y += _HEADING + 3 * _GAP
        draw.text((_MARGIN, y), row.name, INK, text)
        if row.mark:
            marked = "\n".join(wrapped(row.mark, small, _LABEL_WIDTH - _GAP))
            draw.multiline_text((_MARGIN, y + _TEXT + 2 * _LINE), marked, FAINT_INK, small)
        for place, tile in enumerate((info.original, *row.tiles)):
            sheet.paste(shown_tile(tile, (width, height)), (left + place * column, y))
        for place, words in enumerate(lines, 1):
            under = (left + place * column, y + height + _LINE)
            draw.multiline_text(under, "\n".join(words), FAINT_INK, small)
        y += row_height
    for line in notes:
        draw.text((_MARGIN, y + _LINE), line, FAINT_INK, small)
        y += line_height
    return sheet


def _column_labels(info: SheetInfo) -> tuple[str, ...]:
    named = info.columns or tuple(f"severity {severity}" for severity in info.severities)
    return ("original", *named)


def shown_size(tile: np.ndarray) -> tuple[int, int]:
    """Width and height that tiles of this size are shown at."""
    height, width = tile.shape[:2]
    shorter, longer = sorted((height, width))
    factor: float = 3 if shorter <= _SMALL else 2 if shorter <= _MEDIUM else 1
    factor = min(factor, max(1, _LARGEST / longer)) if factor > 1 else min(1, _LARGEST / longer)
    return max(1, round(width * factor)), max(1, round(height * factor))


def shown_tile(tile: np.ndarray, size: tuple[int, int]) -> Image.Image:
    """A tile at that width and height; enlarged, its pixels stay squares."""
    image = Image.fromarray(tile)
    if image.size == size:
        return image
    enlarged = size[0] > image.width
    return image.resize(size, Image.Resampling.NEAREST if enlarged else Image.Resampling.LANCZOS)


def encoded(image: Image.Image, *, is_photograph: bool) -> str:
    """An image as a data URI: JPEG of photographs, which as PNG are many times larger."""
    buffer = io.BytesIO()
    kind = "jpeg" if is_photograph else "png"
    if is_photograph:
        image.save(buffer, "JPEG", quality=90, subsampling=0)
    else:
        image.save(buffer, "PNG", optimize=True)
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}"


def sheet_font(size: int) -> Font:
    """Pillow's own font, which every machine has."""
    return ImageFont.load_default(size)


def wrapped(said: str, font: Font, width: int) -> list[str]:
    """Lines of at most this number of pixels; longer words are cut."""
    lines: list[str] = []
    for word in said.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and font.getlength(longer) <= width:
            lines[-1] = longer
            continue
        lines.append("")
        for letter in word:
            if lines[-1] and font.getlength(lines[-1] + letter) > width:
                lines.append("")
            lines[-1] += letter
    return lines


def drawable(said: str, font: Font) -> str:
    """A text with escapes for the letters that the font has no picture of."""
    missing = _picture("\U0010ffff", font)
    return "".join(
        letter
        if letter.isascii() or _picture(letter, font) not in (missing, None)
        else letter.encode("unicode_escape").decode()
        for letter in said
    )


def _picture(letter: str, font: Font) -> bytes | None:
    try:
        mask = font.getmask(letter)
    except UnicodeError:  # Pillow's own font of fixed size has Latin-1 alone
        return None
    return bytes(mask) + repr(mask.size).encode()
