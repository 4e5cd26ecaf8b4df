"""Photographs of frost, from a folder of the user."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ablate.data.decode import ENDINGS, open_rgb
from ablate.errors import DataError
from ablate.files.shown import show_name

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
