"""Cards: an image as it is and distorted, and what two networks say of it."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from ablate.report.images.contact_sheet import (
    drawable,
    sheet_font,
    shown_size,
    shown_tile,
    wrapped,
)
from ablate.report.style import FAINT_INK, INK, PAPER

SCALE = 2
"""Pixels of a card for one of the page, so that its text is sharp."""
_GAP, _MARGIN = 6, 10
_TEXT, _LINE = 13, 5
_NARROWEST = 210
_LARGEST = 160
"""Of a tile, across."""


@dataclass(frozen=True)
class Card:
    """What a card shows.

    Attributes:
        clean, distorted: uint8 `[height, width, 3]`.
        distortion: what was done.
        lines: what is said below.
    """

    clean: np.ndarray
    distorted: np.ndarray
    distortion: str
    lines: tuple[str, ...]

    @property
    def text(self) -> str:
        """For whoever does not see it."""
        return "; ".join((self.distortion, *self.lines))


def draw_card(card: Card) -> Image.Image:
    """The card on white, `SCALE` pixels for one of the page."""
    width, height = shown_size(card.clean)
    shrunk = min(1.0, _LARGEST / width)
    size = round(SCALE * shrunk * width), round(SCALE * shrunk * height)
    font = sheet_font(SCALE * _TEXT)
    gap, margin, line = SCALE * _GAP, SCALE * _MARGIN, SCALE * (_TEXT + _LINE)
    across = max(2 * size[0] + gap, SCALE * _NARROWEST)
    texts = [
        (ink, words)
        for ink, said in ((INK, (card.distortion,)), (FAINT_INK, card.lines))
        for one in said
        for words in wrapped(drawable(one, font), font, across)
    ]
    sheet = Image.new(
        "RGB", (across + 2 * margin, size[1] + gap + line * len(texts) + 2 * margin), PAPER
    )
    draw = ImageDraw.Draw(sheet)
    sheet.paste(shown_tile(card.clean, size), (margin, margin))
    sheet.paste(shown_tile(card.distorted, size), (margin + size[0] + gap, margin))
    for place, (ink, words) in enumerate(texts):
        draw.text((margin, margin + size[1] + gap + place * line), words, ink, font)
    return sheet


def encoded(image: Image.Image, *, is_photograph: bool) -> str:
    """An image as a data URI: JPEG of photographs, which as PNG are many times larger."""
    buffer = io.BytesIO()
    kind = "jpeg" if is_photograph else "png"
    if is_photograph:
        image.save(buffer, "JPEG", quality=90, subsampling=0)
    else:
        image.save(buffer, "PNG", optimize=True)
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}"
