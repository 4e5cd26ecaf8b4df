"""Photographs of frost, from a folder of the user; their crops; and plates that stand for them."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image, ImageDraw
from scipy import ndimage
from torch import Tensor
from torch.nn import functional

from ablate.data.decode import ENDINGS, open_rgb
from ablate.distortion.shapes import ByteImages
from ablate.errors import DataError
from ablate.files.shown import show_name
from ablate.robustness.corruption import Scale

DRAWN = 5
"""Number of photographs used; the benchmark's code never draws its sixth."""


@dataclass(frozen=True, eq=False)
class FrostPhotographs:
    """The photographs that `frost` adds to images.

    Attributes:
        photographs: uint8 `[3, height, width]` RGB each, on the CPU, in the order of their names.
        digest: digest of their content, in hexadecimal.
    """

    photographs: tuple[Tensor, ...]
    digest: str


def load_frost(folder: Path) -> FrostPhotographs:
    """Load the first five image files of a folder, or as many as it has, in the order of their
    names.

    Raises:
        DataError: if there is no such folder, it has no image, or one is unreadable.
    """
    if not folder.is_dir():
        raise DataError(
            f"{show_name(folder)}: must be a folder of frost photographs, got no such folder. "
            "Correct the path, or leave it out to use a texture."
        )
    files = sorted(
        file
        for file in folder.iterdir()
        if file.suffix.lower() in ENDINGS and not file.name.startswith(".")
    )
    if not files:
        raise DataError(
            f"{show_name(folder)}: must contain frost photographs ({', '.join(sorted(ENDINGS))}), "
            "got none. Add some, or leave the folder out to use a texture."
        )
    return of_photographs([np.asarray(open_rgb(file)) for file in files[:DRAWN]])


def of_photographs(pixels: list[np.ndarray]) -> FrostPhotographs:
    """The object of decoded photographs, uint8 `[height, width, 3]` each."""
    digest = hashlib.sha256()
    for photograph in pixels:
        digest.update(repr(photograph.shape).encode())
        digest.update(np.ascontiguousarray(photograph).data)
    photographs = tuple(
        torch.from_numpy(np.ascontiguousarray(photograph.transpose(2, 0, 1)).copy())
        for photograph in pixels
    )
    return FrostPhotographs(photographs, digest.hexdigest()[:32])


_SHRUNK = 5  # the code for CIFAR-10-C brings photographs to a fifth of their size


def draw_frost(
    photographs: FrostPhotographs,
    shape: torch.Size,
    scale: Scale,
    generator: torch.Generator,
) -> ByteImages:
    """A random part of a random photograph for each image, on the generator's device.

    Args:
        shape: of the images.  A photograph that is smaller than they are is enlarged first.
        scale: "cifar": photographs are brought to a fifth of their size; "imagenet": as they are.
    """
    device = generator.device
    batch, _, height, width = shape
    fitted = _fit(photographs, height, width, scale, device)
    drawn = torch.rand(3, batch, generator=generator, device=device)
    which = (drawn[0] * len(fitted)).long().clamp_(max=len(fitted) - 1)
    parts, order = [], []
    for number, photograph in enumerate(fitted):
        places = (which == number).nonzero()[:, 0]
        rows, columns = photograph.shape[1:]
        # As `randint` draws them: the last place is never taken, where there is more than one.
        top, left = (
            (drawn[axis + 1, places] * free).long().clamp_(max=max(free - 1, 0))
            for axis, free in enumerate((rows - height, columns - width))
        )
        # Every part by where it begins in memory: picked so, it is copied row by row.
        starts = (rows - height) * columns + columns - width + 1
        steps = (1, rows * columns, columns, 1)
        every_part = photograph.as_strided((starts, 3, height, width), steps)
        parts.append(every_part.index_select(0, top * columns + left))
        order.append(places)
    return torch.cat(parts).index_select(0, torch.cat(order).argsort())


@lru_cache(maxsize=8)
def _fit(
    photographs: FrostPhotographs, height: int, width: int, scale: Scale, device: torch.device
) -> tuple[Tensor, ...]:
    """The photographs at their size of the scale, but at least as large as the images."""
    fitted = []
    for photograph in photographs.photographs:
        sized = photograph
        if scale == "cifar":
            # A fifth, bilinear without antialiasing: that is the middle of each 5 x 5 pixels.
            rows, columns = (round(side / _SHRUNK) for side in photograph.shape[1:])
            middle = slice(_SHRUNK // 2, None, _SHRUNK)
            sized = photograph[:, middle, middle][:, :rows, :columns]
        rows, columns = sized.shape[1:]
        factor = max(height / max(rows, 1), width / max(columns, 1))
        if factor > 1:
            size = (max(height, math.ceil(rows * factor)), max(width, math.ceil(columns * factor)))
            enlarged = functional.interpolate(sized[None].float(), size, mode="bilinear")
            sized = enlarged[0].round_().clamp_(0, 255).to(torch.uint8)
        fitted.append(sized.contiguous().to(device))
    return tuple(fitted)


# -- Painted plates of frost, which stand for photographs where the user names none --------


_HEIGHT, _WIDTH = 480, 640
_SEED = 20190328
_NEEDLES = 12  # of a crystal
_CLOUD = 80  # pixels across
_SOFTNESS = 0.8  # sigma in pixels
_MIDDLE, _SPREAD = 128, 40  # grey levels of what is painted, before it gets its colours


class _Plate(NamedTuple):
    """How one plate looks; mean and deviation are fractions of 255, of red, green and blue."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    crystals: int  # how many fans of needles
    length: float  # of a needle at the most, in pixels
    width: float
    cloudy: float  # share of the variance that is of large patches
    grainy: float  # share that is of single pixels


_ICE = _Plate((0.30, 0.58, 0.65), (0.11, 0.07, 0.06), 500, 80.0, 10.0, 0.5, 0.02)
_WHITE = _Plate((0.78, 0.79, 0.83), (0.075, 0.077, 0.08), 700, 70.0, 8.0, 0.3, 0.02)
_GREY = _Plate((0.555, 0.615, 0.665), (0.105, 0.105, 0.11), 1500, 35.0, 6.0, 0.25, 0.04)
_DARK = _Plate((0.41, 0.455, 0.50), (0.145, 0.145, 0.14), 1200, 45.0, 6.0, 0.25, 0.03)
_PLATES = (_ICE, _WHITE, _WHITE, _GREY, _DARK)


@cache
def frost_plates() -> FrostPhotographs:
    """Five plates, always the same: two of them white, as of the photographs.

    They are approximate: their colours, contrasts and the share of large and small structure are
    near those of the photographs that the benchmark was made with, but not their pictures.
    """
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
