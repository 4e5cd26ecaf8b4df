"""Painted plates of frost, which stand for photographs where the user names none.

They are approximate: their colours, contrasts and the share of large and small structure are near
those of the photographs that the benchmark was made with, but not their pictures.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from PIL import Image, ImageDraw
from scipy import ndimage

from ablate.robustness.corruption.frost_photographs import FrostPhotographs, of_photographs

_HEIGHT, _WIDTH = 480, 640
_SEED = 20190328
_NEEDLES = 12  # of a crystal
_CLOUD = 80  # pixels across
_SOFTNESS = 0.8  # sigma in pixels
_MIDDLE, _SPREAD = 128, 40  # grey levels of what is painted, before it gets its colours


@dataclass(frozen=True)
class _Plate:
    """How one plate looks.

    Attributes:
        mean, std: of red, green and blue, as fractions of 255.
        crystals: how many fans of needles.
        length, width: of a needle at the most, in pixels.
        cloudy: share of the variance that is of large patches.
        grainy: share that is of single pixels.
    """

    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    crystals: int
    length: float
    width: float
    cloudy: float
    grainy: float


_ICE = _Plate((0.30, 0.58, 0.65), (0.11, 0.07, 0.06), 500, 80.0, 10.0, 0.5, 0.02)
_WHITE = _Plate((0.78, 0.79, 0.83), (0.075, 0.077, 0.08), 700, 70.0, 8.0, 0.3, 0.02)
_GREY = _Plate((0.555, 0.615, 0.665), (0.105, 0.105, 0.11), 1500, 35.0, 6.0, 0.25, 0.04)
_DARK = _Plate((0.41, 0.455, 0.50), (0.145, 0.145, 0.14), 1200, 45.0, 6.0, 0.25, 0.03)
_PLATES = (_ICE, _WHITE, _WHITE, _GREY, _DARK)


@cache
def frost_plates() -> FrostPhotographs:
    """Five plates, always the same: two of them white, as of the photographs."""
    random = np.random.RandomState(_SEED)  # whose stream is frozen for good
    return of_photographs([_paint(plate, random) for plate in _PLATES])


def _paint(plate: _Plate, random: np.random.RandomState) -> np.ndarray:
    coarse = random.standard_normal((_HEIGHT // _CLOUD, _WIDTH // _CLOUD))
    clouds = ndimage.zoom(coarse, _CLOUD, order=3, mode="nearest")
    grain = random.standard_normal((_HEIGHT, _WIDTH))
    needles = ndimage.gaussian_filter(_draw_crystals(plate, random), _SOFTNESS)
    painted = (
        plate.cloudy**0.5 * _standard(clouds)
        + (1 - plate.cloudy - plate.grainy) ** 0.5 * _standard(needles)
        + plate.grainy**0.5 * grain
    )
    colored = _standard(painted)[..., None] * plate.std + plate.mean
    return np.asarray((colored.clip(0, 1) * 255).round().astype(np.uint8))


def _draw_crystals(plate: _Plate, random: np.random.RandomState) -> np.ndarray:
    """Fans of needles of many greys, one over the other."""
    canvas = Image.new("L", (_WIDTH, _HEIGHT), _MIDDLE)
    draw = ImageDraw.Draw(canvas)
    for _ in range(plate.crystals):
        root = random.uniform((0, 0), (_WIDTH, _HEIGHT))
        toward, opening = random.uniform(0, 2 * np.pi), random.uniform(0.2, 1.2)
        angles = toward + opening * random.uniform(-1, 1, _NEEDLES)
        lengths = plate.length * random.uniform(0.2, 1, _NEEDLES)
        widths = plate.width * random.uniform(0.2, 1, _NEEDLES) / 2
        greys = _MIDDLE + _SPREAD * random.standard_normal(_NEEDLES)
        forward = np.stack([np.cos(angles), np.sin(angles)], axis=1)
        aside = np.stack([-forward[:, 1], forward[:, 0]], axis=1) * widths[:, None]
        tips = root + forward * lengths[:, None]
        for tip, side, grey in zip(tips, aside, greys.clip(0, 255), strict=True):
            corners = [tuple(root + side), tuple(tip), tuple(root - side)]
            draw.polygon(corners, fill=int(grey))
    return np.asarray(canvas, dtype=np.float64)


def _standard(values: np.ndarray) -> np.ndarray:
    return np.asarray((values - values.mean()) / values.std())
