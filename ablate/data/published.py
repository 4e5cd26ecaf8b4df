"""Published data sets, read by torchvision: found in a folder, or downloaded to it.

    cifar10, cifar100   60,000 colour photographs of 32x32 pixels, 10,000 of them to test on.
                        Krizhevsky 2009, Learning Multiple Layers of Features from Tiny Images; the
                        python version's files, the fine classes of CIFAR-100.

Decoded images are cached at the requested size, so torchvision checks the files' md5 and reads them
once.
"""

from __future__ import annotations

import http.client
import pickle
import shutil
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from torchvision.datasets import CIFAR10, CIFAR100
from torchvision.datasets.utils import check_integrity

from ablate.data import SIDES
from ablate.data.dataset import Source, Split
from ablate.data.decode import resize_chunks
from ablate.data.stored import Pixels, stored_split
from ablate.errors import DataError
from ablate.files.cache import locked, publish_file
from ablate.files.shown import show_name
from ablate.study.settings import DatasetSettings, path_from

DATASETS: dict[str, Any] = {"cifar10": CIFAR10, "cifar100": CIFAR100}

_FETCH_ERRORS = (OSError, RuntimeError, EOFError, http.client.HTTPException, tarfile.TarError)
_NOT_AS_PUBLISHED = (RuntimeError, ValueError, AssertionError, IndexError)
"""Of torchvision's checks and its reader."""


def read(settings: DatasetSettings, base: Path, cache: Path, image_size: int) -> Source:
    """The data set `settings.name` at `image_size`, from `path`, or `torchvision/` in the cache.

    Raises:
        DataError: if its files are missing, cannot be fetched or are not those published.
        UsageError: if the cache, or the folder to fetch into, cannot be written.
    """
    name, dataset = settings.name, DATASETS[settings.name]
    folder = cache / "torchvision" if settings.path is None else path_from(base, settings.path)
    if folder.name == dataset.base_folder:
        folder = folder.parent
    entries = [*dataset.train_list, *dataset.test_list, (dataset.meta["filename"], "")]
    files = [folder / dataset.base_folder / file for file, _ in entries]
    if not all(file.is_file() for file in files) and settings.download:
        with locked(folder / name):
            if not all(file.is_file() for file in files):
                _fetch(name, dataset, folder, files)
    if (missing := next((file for file in files if not file.is_file()), None)) is not None:
        raise DataError(
            f"dataset.path: {name} must be in {show_name(folder)}, got no "
            f"{missing.relative_to(folder)}.",
            "Set dataset.download: true, or set dataset.path to its folder.",
            parameter_fix="Set `data` to its folder.",
        )
    stats = [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files]

    def part(which: str) -> Split:
        def read() -> Pixels:
            with _as_published(name, folder):
                found = dataset(folder, train=which == "train")
            images = resize_chunks(found.data.transpose(0, 3, 1, 2), image_size, settings.resize)
            return Pixels(np.array(found.targets, dtype=np.int64), images)

        made_from = (name, which, image_size, settings.resize, stats)
        return stored_split(cache, made_from, read, what=f"{name}, {which}")

    with _as_published(name, folder):
        # Before it is unpickled, since a pickle can run anything.
        if not check_integrity(files[-1], dataset.meta["md5"]):
            raise RuntimeError(f"{files[-1]} has another md5")
        with files[-1].open("rb") as pickled:
            classes = tuple(pickle.load(pickled, encoding="latin1")[dataset.meta["key"]])
    train, size = part("train"), (SIDES[name],) * 2
    return Source(classes=classes, train=train, test=lambda: part("test"), stored_size=size)


@contextmanager
def _as_published(name: str, folder: Path) -> Iterator[None]:
    try:
        yield
    except _NOT_AS_PUBLISHED as error:
        raise DataError(
            f"dataset.path: {name} must be the published files, got different ones in "
            f"{show_name(folder)}.",
            "Remove them and set dataset.download: true.",
            parameter_fix="Download them again.",
        ) from error


def _fetch(name: str, dataset: Any, folder: Path, files: list[Path]) -> None:
    with tempfile.TemporaryDirectory(prefix=f".{name}.", dir=folder) as temporary:
        try:
            dataset(temporary, download=True)
        except _FETCH_ERRORS as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            raise DataError(
                f"dataset.download: {name} must be fetched, got {reason}. "
                f"Check the network and the disk, or put its files in {show_name(folder)}."
            ) from error
        for file in files:
            # With its mode, because a published file is first readable only by its owner.
            publish_file(file, partial(shutil.copy, temporary / file.relative_to(folder)))
