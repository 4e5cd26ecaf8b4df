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
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
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

Arrays = tuple[np.ndarray, np.ndarray]
"""uint8 images `[n, channel, height, width]` and int64 labels `[n]`."""

_FETCH_ERRORS = (OSError, RuntimeError, EOFError, http.client.HTTPException, tarfile.TarError)


_NOT_AS_PUBLISHED = (RuntimeError, ValueError, AssertionError, IndexError)
"""Of torchvision's checks and its reader."""


@dataclass(frozen=True)
class Published:
    """A published data set.

    Attributes:
        name: as in `dataset.name`.
        files: below the folder, as torchvision lays them out.
        fetch: downloads them into an empty folder.
        read_classes: names of the classes, from the files in the folder.
        read: `train` or `test` as arrays, from the files in the folder; an error of
            `_NOT_AS_PUBLISHED` where they are not those that were published.
        inner: folder that all files lie in; a user may name it instead of the one above.
    """

    name: str
    files: tuple[str, ...]
    fetch: Callable[[Path], object]
    read_classes: Callable[[Path], Sequence[str]]
    read: Callable[[Path, str], Arrays]
    inner: str = ""

    def missing(self, folder: Path) -> str | None:
        """The first file that is not there; None if all are."""
        return next((name for name in self.files if not (folder / name).is_file()), None)


def read(settings: DatasetSettings, base: Path, cache: Path, image_size: int) -> Source:
    """The data set `settings.name` at `image_size`; see `read_published`."""
    dataset = {"cifar10": CIFAR10, "cifar100": CIFAR100}[settings.name]
    published = published_cifar(settings.name, dataset)
    return read_published(published, settings, base, cache, image_size)


def read_published(
    published: Published, settings: DatasetSettings, base: Path, cache: Path, image_size: int
) -> Source:
    """A published data set at `image_size`, from `path` or else `torchvision/` in the cache.

    Raises:
        DataError: if its files are missing, cannot be fetched or are not those published.
        UsageError: if the cache, or the folder to fetch into, cannot be written.
    """
    folder = cache / "torchvision" if settings.path is None else path_from(base, settings.path)
    if published.inner and folder.name == published.inner:
        folder = folder.parent
    if published.missing(folder) and settings.download:
        with locked(folder / published.name):
            if published.missing(folder):
                _fetch(published, folder)
    if (missing := published.missing(folder)) is not None:
        raise DataError(
            f"dataset.path: {published.name} must be in {show_name(folder)}, got no {missing}.",
            "Set dataset.download: true, or set dataset.path to its folder.",
            parameter_fix="Set `data` to its folder.",
        )
    files = [folder / name for name in published.files]
    stats = [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files]

    def part(name: str) -> Split:
        def read() -> Pixels:
            with _as_published(published, folder):
                images, labels = published.read(folder, name)
            return Pixels(labels, resize_chunks(images, image_size, settings.resize))

        made_from = (published.name, name, image_size, settings.resize, stats)
        return stored_split(cache, made_from, read, what=f"{published.name}, {name}")

    with _as_published(published, folder):
        classes = tuple(published.read_classes(folder))
    return Source(
        classes=classes,
        train=part("train"),
        test=lambda: part("test"),
        stored_size=(SIDES[published.name],) * 2,
    )


@contextmanager
def _as_published(published: Published, folder: Path) -> Iterator[None]:
    try:
        yield
    except _NOT_AS_PUBLISHED as error:
        raise DataError(
            f"dataset.path: {published.name} must be the published files, got different ones in "
            f"{show_name(folder)}.",
            "Remove them and set dataset.download: true.",
            parameter_fix="Download them again.",
        ) from error


def _fetch(published: Published, folder: Path) -> None:
    with tempfile.TemporaryDirectory(prefix=f".{published.name}.", dir=folder) as name:
        temporary = Path(name)
        try:
            published.fetch(temporary)
        except _FETCH_ERRORS as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            raise DataError(
                f"dataset.download: {published.name} must be fetched, got {reason}. "
                f"Check the network and the disk, or put its files in {show_name(folder)}."
            ) from error
        for file in published.files:
            # With its mode, because a published file is first readable only by its owner.
            publish_file(folder / file, partial(shutil.copy, temporary / file))


def published_cifar(name: str, dataset: Any) -> Published:
    """What is published of a data set in CIFAR's format."""

    def read_arrays(folder: Path, part: str) -> Arrays:
        found = dataset(folder, train=part == "train")
        return found.data.transpose(0, 3, 1, 2), np.array(found.targets, dtype=np.int64)

    def read_classes(folder: Path) -> Sequence[str]:
        file = folder / dataset.base_folder / dataset.meta["filename"]
        # Before it is unpickled, since a pickle can run anything.
        if not check_integrity(file, dataset.meta["md5"]):
            raise RuntimeError(f"{file} has another md5")
        with file.open("rb") as pickled:
            names: list[str] = pickle.load(pickled, encoding="latin1")[dataset.meta["key"]]
        return names

    entries = [*dataset.train_list, *dataset.test_list, (dataset.meta["filename"], "")]
    files = tuple(f"{dataset.base_folder}/{file}" for file, _ in entries)
    fetch = partial(dataset, download=True)
    return Published(name, files, fetch, read_classes, read_arrays, dataset.base_folder)
