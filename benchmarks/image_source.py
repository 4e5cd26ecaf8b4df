"""Images for the benchmarks: of a folder, or digits by default."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from ablate.data.digits import read_scans

ENDINGS = {".jpg", ".jpeg", ".png"}


def read_images(folder: Path | None, count: int, side: int) -> np.ndarray:
    """uint8 `[count, side, side, 3]`.

    Args:
        folder: of images, in folders of classes or not; they are taken evenly. None: the digits
            of ablate, enlarged, over and over.
    """
    if folder is None:
        inks = (read_scans()[0] * 15.9375).astype(np.uint8)
        found = [Image.fromarray(inks[i % len(inks)]).convert("RGB") for i in range(count)]
    else:
        files = sorted(file for file in folder.rglob("*") if file.suffix.lower() in ENDINGS)
        if len(files) < count:
            raise SystemExit(f"{folder}: {count} images are needed, got {len(files)}.")
        step = len(files) // count
        found = [Image.open(file).convert("RGB") for file in files[::step][:count]]
    shape = (side, side)
    resized = (image.resize(shape, Image.Resampling.BICUBIC) for image in found)
    return np.stack([np.asarray(image) for image in resized])
