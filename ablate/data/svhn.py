"""SVHN: cropped house numbers of 32x32 pixels, 73,257 to train on and 26,032 to test on.

Source: Netzer et al. 2011, Reading Digits in Natural Images with Unsupervised Feature Learning;
read by torchvision from the .mat files.  The `extra` images are not used.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from torchvision.datasets import SVHN

from ablate.data.dataset import Source
from ablate.data.published import Arrays, Published, read_published
from ablate.study.settings import DatasetSettings

_PARTS = ("train", "test")


def read(settings: DatasetSettings, base: Path, cache: Path, image_size: int) -> Source:
    """SVHN at `image_size`; see `read_published`."""
    return read_published(published_svhn(SVHN), settings, base, cache, image_size)


def published_svhn(dataset: Any) -> Published:
    """What is published of SVHN.

    Args:
        dataset: torchvision's class.
    """
    return Published(
        name="svhn",
        layouts=(tuple(dataset.split_list[part][1] for part in _PARTS),),
        fetch=lambda folder: [dataset(folder, part, download=True) for part in _PARTS],
        read_classes=lambda _folder: [str(digit) for digit in range(10)],
        read=partial(_read_arrays, dataset),
    )


def _read_arrays(dataset: Any, folder: Path, part: str) -> Arrays:
    found = dataset(folder, part)
    return found.data, found.labels.astype(np.int64)
