"""Handwritten digits: 1,797 real scans of 8x8 pixels, in `digits.csv.gz` beside this file.

Source: E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI Machine Learning
Repository, its test part (CC BY 4.0); the file is that of scikit-learn.  Differs: upsampled, made
three equal channels, and split into training and test images here, since it has no such split.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional

from ablate.data import SIDES
from ablate.data.dataset import Source, Split, digest_images, split_stratified
from ablate.data.decode import resize_images
from ablate.distortion.shapes import ByteImages
from ablate.errors import DataError
from ablate.study.settings import DatasetSettings

_TEST_FRACTION = 0.2
_TEST_SEED = 0
"""Part of what this data set is: no setting moves an image from test to training."""


def read(settings: DatasetSettings, _base: Path, _cache: Path, image_size: int) -> Source:
    """The digits at `image_size`.

    Raises:
        DataError: if a path is given.
    """
    if settings.path is not None:
        raise DataError(
            f"dataset.path: digits is embedded and takes none, got {settings.path!r}. "
            "Remove it, or set dataset.name to image_folder."
        )
    scans, labels = read_scans()
    train, test = split_stratified(labels, _TEST_FRACTION, _TEST_SEED)
    side = settings.resize or image_size

    def part(indices: torch.Tensor) -> Split:
        upsampled = upsample_digits(scans[indices.numpy()], side)
        images = resize_images(upsampled, image_size, settings.resize).contiguous()
        chosen = labels[indices]
        return Split(images, chosen, digest_images(images.numpy(), chosen.numpy()))

    return Source(
        classes=tuple(str(digit) for digit in range(10)),
        train=part(train),
        test=lambda: part(test),
        stored_size=(SIDES["digits"],) * 2,
    )


@cache
def read_scans() -> tuple[np.ndarray, torch.Tensor]:
    """Scans `[n, 8, 8]`, ink from 0 to 16, and labels `[n]`."""
    rows = np.loadtxt(Path(__file__).with_name("digits.csv.gz"), delimiter=",")
    return rows[:, :-1].reshape(-1, 8, 8), torch.from_numpy(rows[:, -1].astype(np.int64))


def upsample_digits(scans: np.ndarray, image_size: int) -> ByteImages:
    """Scans as square images with three equal channels.

    Args:
        scans: `[n, 8, 8]`, ink from 0 to 16.
        image_size: side in pixels; bilinear.

    Returns:
        uint8 `[n, 3, image_size, image_size]`.
    """
    ink = torch.from_numpy(scans).float().unsqueeze(1) / 16
    grey = functional.interpolate(ink, size=(image_size, image_size), mode="bilinear")
    return (grey * 255).round().to(torch.uint8).repeat(1, 3, 1, 1)
