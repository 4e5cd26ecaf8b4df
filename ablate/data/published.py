"""Published data sets of torchvision: found in a folder, or downloaded to it.

Decoded images are cached at the requested size, so torchvision checks the files' md5 and reads them
once.
"""

from __future__ import annotations

import http.client
import shutil
import tarfile
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np

from ablate.data import SIDES
from ablate.data.dataset import Source, Split
from ablate.data.decode import resize_chunks
from ablate.data.stored import Pixels, stored_split
from ablate.errors import DataError
from ablate.files.cache import locked, publish_file
from ablate.files.shown import show_name
from ablate.study.settings import DatasetSettings, path_from

Result = TypeVar("Result")

Arrays = tuple[np.ndarray, np.ndarray]
"""uint8 images `[n, channel, height, width]` and int64 labels `[n]`."""

_FETCH_ERRORS = (OSError, RuntimeError, EOFError, http.client.HTTPException, tarfile.TarError)


@dataclass(frozen=True)
class Published:
    """A published data set.

    Attributes:
        name: as in `dataset.name`.
        layouts: files below the folder, in each way that they may lie; `fetch` makes the first.
        fetch: downloads them into an empty folder.
        read_classes: names of the classes, from the files in the folder.
        read: `train` or `test` as arrays, from the files in the folder; a RuntimeError where they
            are not those that were published.
    """

    name: str
    layouts: tuple[tuple[str, ...], ...]
    fetch: Callable[[Path], object]
    read_classes: Callable[[Path], Sequence[str]]
    read: Callable[[Path, str], Arrays]


def read_published(
    published: Published, settings: DatasetSettings, base: Path, cache: Path, image_size: int
) -> Source:
    """A published data set at `image_size`.

    Raises:
        DataError: if its files are missing, cannot be fetched or are not those published.
        UsageError: if the cache, or the folder to fetch into, cannot be written.
    """
    folder = published_folder(settings, base, cache)
    files = obtain_files(published, folder, download=settings.download)

    def part(name: str) -> Split:
        def read() -> Pixels:
            images, labels = _checked(published, folder, lambda: published.read(folder, name))
            return Pixels(labels, resize_chunks(images, image_size, settings.resize))

        stats = [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files]
        made_from = (published.name, name, image_size, settings.resize, stats)
        return stored_split(cache, made_from, read, what=f"{published.name}, {name}")

    classes = _checked(published, folder, lambda: published.read_classes(folder))
    return Source(
        classes=tuple(classes),
        train=part("train"),
        test=lambda: part("test"),
        stored_size=(SIDES[published.name],) * 2,
    )


def published_folder(settings: DatasetSettings, base: Path, cache: Path) -> Path:
    """`path` from the study file's folder, else `torchvision/` in the cache."""
    if settings.path is None:
        return cache / "torchvision"
    return path_from(base, settings.path)


def obtain_files(published: Published, folder: Path, *, download: bool) -> list[Path]:
    """Find the data set's files in a folder, and download them if they are missing and that is
    allowed.

    Raises:
        DataError: if they are missing or cannot be downloaded; then no partial files are left.
        UsageError: if the folder cannot be written.
    """
    found = find_files(published.layouts, folder)
    if found is None and download:
        with locked(folder / published.name):
            found = find_files(published.layouts, folder)
            if found is None:
                _fetch(published, folder)
        found = find_files(published.layouts, folder)
    if found is None:
        missing = next(file for file in published.layouts[0] if not (folder / file).is_file())
        raise DataError(
            f"dataset.path: {published.name} must be in {show_name(folder)}, got no {missing}.",
            "Set dataset.download: true, or set dataset.path to its folder.",
            option_fix="Set --data to its folder.",
        )
    return found


def find_files(layouts: Sequence[Sequence[str]], folder: Path) -> list[Path] | None:
    """The files of the first complete layout."""
    for layout in layouts:
        files = [folder / name for name in layout]
        if all(file.is_file() for file in files):
            return files
    return None


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
        for file in published.layouts[0]:
            # With its mode, because a published file is first readable only by its owner.
            publish_file(folder / file, partial(shutil.copy, temporary / file))


def _checked(published: Published, folder: Path, read: Callable[[], Result]) -> Result:
    try:
        return read()
    except RuntimeError as error:
        raise DataError(
            f"dataset.path: {published.name} must be the published files, got different ones in "
            f"{show_name(folder)}.",
            "Remove them and set dataset.download: true.",
            option_fix="Download them again.",
        ) from error
