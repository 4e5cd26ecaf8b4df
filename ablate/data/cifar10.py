"""CIFAR-10: 60,000 colour photographs of 32x32 pixels in 10 classes, 10,000 of them to test on.

Source: Krizhevsky 2009, Learning Multiple Layers of Features from Tiny Images; read by
torchvision from the python version's files.
"""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from torchvision.datasets import CIFAR10
from torchvision.datasets.utils import check_integrity

from ablate.data.dataset import Source
from ablate.data.published import Arrays, Published, read_published
from ablate.study.settings import DatasetSettings


def read(settings: DatasetSettings, base: Path, cache: Path, image_size: int) -> Source:
    """CIFAR-10 at `image_size`; see `read_published`."""
    settings = step_out(settings, CIFAR10.base_folder)
    return read_published(published_cifar("cifar10", CIFAR10), settings, base, cache, image_size)


def published_cifar(name: str, dataset: Any) -> Published:
    """What is published of a data set in CIFAR's format.

    Args:
        name: as in `dataset.name`.
        dataset: torchvision's class.
    """
    entries = [*dataset.train_list, *dataset.test_list, (dataset.meta["filename"], "")]
    return Published(
        name=name,
        layouts=(tuple(f"{dataset.base_folder}/{file}" for file, _ in entries),),
        fetch=partial(dataset, download=True),
        read_classes=partial(_read_classes, dataset),
        read=partial(_read_arrays, dataset),
    )


def step_out(settings: DatasetSettings, base_folder: str) -> DatasetSettings:
    """The settings with the folder that torchvision looks in, where the one inside it is named."""
    if settings.path is None or Path(settings.path).name != base_folder:
        return settings
    return settings.model_copy(update={"path": str(Path(settings.path).parent)})


def _read_arrays(dataset: Any, folder: Path, part: str) -> Arrays:
    found = dataset(folder, train=part == "train")
    return found.data.transpose(0, 3, 1, 2), np.array(found.targets, dtype=np.int64)


def _read_classes(dataset: Any, folder: Path) -> Sequence[str]:
    file = folder / dataset.base_folder / dataset.meta["filename"]
    # Before it is unpickled, since a pickle can run anything.
    if not check_integrity(file, dataset.meta["md5"]):
        raise RuntimeError(f"{file} has another md5")
    with file.open("rb") as pickled:
        names: list[str] = pickle.load(pickled, encoding="latin1")[dataset.meta["key"]]
    return names
