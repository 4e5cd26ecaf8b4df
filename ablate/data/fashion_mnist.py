"""Fashion-MNIST: 70,000 grey pictures of clothes, 28x28 pixels, 10,000 of them to test on.

Source: Xiao et al. 2017, arXiv:1708.07747.  The files are taken as torchvision lays them out, or
straight in the folder, gzipped or not: Debian's package dataset-fashion-mnist has them so.
"""

from __future__ import annotations

import gzip
import zlib
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from torchvision.datasets import FashionMNIST

from ablate.data.dataset import Source
from ablate.data.published import Arrays, Published, find_files, read_published
from ablate.errors import DataError
from ablate.files.shown import show_name
from ablate.study.settings import DatasetSettings

_FILES = (
    *("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    *("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
)
_RAW = "FashionMNIST/raw/"
_LAYOUTS = tuple(
    tuple(f"{below}{file}{ending}" for file in _FILES)
    for below in (_RAW, "")
    for ending in ("", ".gz")
)


def read(settings: DatasetSettings, base: Path, cache: Path, image_size: int) -> Source:
    """Fashion-MNIST at `image_size`, in three equal channels; see `read_published`.

    Raises:
        DataError: also if a file is not in the IDX format.
    """
    return read_published(published_fashion(FashionMNIST), settings, base, cache, image_size)


def published_fashion(dataset: Any) -> Published:
    """What is published of Fashion-MNIST.

    Args:
        dataset: torchvision's class.
    """
    return Published(
        name="fashion_mnist",
        layouts=_LAYOUTS,
        fetch=partial(dataset, download=True),
        read_classes=lambda _folder: dataset.classes,
        read=_read_arrays,
    )


def read_idx(file: Path, dimensions: int) -> np.ndarray:
    """Read an array of bytes from a file in the IDX format, gzipped or not.

    Args:
        dimensions: required number of dimensions.

    Raises:
        DataError: if it is not such a file, or incomplete.
    """
    opened = gzip.open if file.suffix == ".gz" else Path.open
    try:
        with opened(file, "rb") as stream:
            data = stream.read()
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise _no_idx(file, dimensions, str(error)) from error
    header = 4 * (1 + dimensions)
    if len(data) < header or data[:4] != bytes([0, 0, 8, dimensions]):
        raise _no_idx(file, dimensions, f"one that begins with {data[:4].hex() or 'nothing'}")
    shape = np.frombuffer(data[4:header], dtype=">u4").astype(np.int64)
    if len(data) - header != shape.prod():
        raise _no_idx(file, dimensions, f"{len(data) - header} values for {shape.prod()}")
    return np.frombuffer(data, dtype=np.uint8, offset=header).reshape(shape)


def _read_arrays(folder: Path, part: str) -> Arrays:
    files = find_files(_LAYOUTS, folder) or []
    images, labels = files[:2] if part == "train" else files[2:]
    return read_idx(images, 3)[:, None], read_idx(labels, 1).astype(np.int64)


def _no_idx(file: Path, dimensions: int, got: str) -> DataError:
    return DataError(
        f"{show_name(file)}: must be an IDX file of bytes in {dimensions} dimensions, got {got}. "
        "Download it again."
    )
