"""Published data sets, read by torchvision: found in a folder, or downloaded to it.

    cifar10, cifar100   60,000 colour photographs of 32x32 pixels, 10,000 of them to test on.
                        Krizhevsky 2009, Learning Multiple Layers of Features from Tiny Images; the
                        python version's files, the fine classes of CIFAR-100.
    svhn                cropped house numbers of 32x32 pixels, 73,257 to train, 26,032 to test on.
                        Netzer et al. 2011, Reading Digits in Natural Images with Unsupervised
                        Feature Learning; the .mat files, without the `extra` images.
    fashion_mnist       70,000 grey pictures of clothes of 28x28 pixels, 10,000 of them to test on.
                        Xiao et al. 2017, arXiv:1708.07747.  The files as torchvision lays them out,
                        or straight in the folder, gzipped or not: Debian's package
                        dataset-fashion-mnist has them so.

Decoded images are cached at the requested size, so torchvision checks the files' md5 and reads them
once.
"""

from __future__ import annotations

import gzip
import http.client
import pickle
import shutil
import tarfile
import tempfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from torchvision.datasets import CIFAR10, CIFAR100, SVHN, FashionMNIST
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
        inner: folder that all files lie in; a user may name it instead of the one above.
    """

    name: str
    layouts: tuple[tuple[str, ...], ...]
    fetch: Callable[[Path], object]
    read_classes: Callable[[Path], Sequence[str]]
    read: Callable[[Path, str], Arrays]
    inner: str = ""

    def find(self, folder: Path) -> list[Path] | None:
        """The files of the first layout that is complete."""
        for layout in self.layouts:
            files = [folder / name for name in layout]
            if all(file.is_file() for file in files):
                return files
        return None


def read(settings: DatasetSettings, base: Path, cache: Path, image_size: int) -> Source:
    """The data set `settings.name` at `image_size`; see `read_published`."""
    makers: dict[str, Callable[[], Published]] = {
        "cifar10": lambda: published_cifar("cifar10", CIFAR10),
        "cifar100": lambda: published_cifar("cifar100", CIFAR100),
        "svhn": lambda: published_svhn(SVHN),
        "fashion_mnist": lambda: published_fashion(FashionMNIST),
    }
    return read_published(makers[settings.name](), settings, base, cache, image_size)


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
    files = published.find(folder)
    if files is None and settings.download:
        with locked(folder / published.name):
            if published.find(folder) is None:
                _fetch(published, folder)
        files = published.find(folder)
    if files is None:
        missing = next(file for file in published.layouts[0] if not (folder / file).is_file())
        raise DataError(
            f"dataset.path: {published.name} must be in {show_name(folder)}, got no {missing}.",
            "Set dataset.download: true, or set dataset.path to its folder.",
            parameter_fix="Set `data` to its folder.",
        )
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
    except RuntimeError as error:
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
        for file in published.layouts[0]:
            # With its mode, because a published file is first readable only by its owner.
            publish_file(folder / file, partial(shutil.copy, temporary / file))


# -- The data sets; `dataset` is torchvision's class ---------------------------------------


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
    layout = tuple(f"{dataset.base_folder}/{file}" for file, _ in entries)
    fetch = partial(dataset, download=True)
    return Published(name, (layout,), fetch, read_classes, read_arrays, dataset.base_folder)


def published_svhn(dataset: Any) -> Published:
    """What is published of SVHN."""
    parts = ("train", "test")

    def read_arrays(folder: Path, part: str) -> Arrays:
        found = dataset(folder, part)
        return found.data, found.labels.astype(np.int64)

    return Published(
        name="svhn",
        layouts=(tuple(dataset.split_list[part][1] for part in parts),),
        fetch=lambda folder: [dataset(folder, part, download=True) for part in parts],
        read_classes=lambda _folder: [str(digit) for digit in range(10)],
        read=read_arrays,
    )


_FASHION_FILES = (
    *("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    *("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
)


def published_fashion(dataset: Any) -> Published:
    """What is published of Fashion-MNIST."""
    layouts = tuple(
        tuple(f"{below}{file}{ending}" for file in _FASHION_FILES)
        for below in ("FashionMNIST/raw/", "")
        for ending in ("", ".gz")
    )

    def read_arrays(folder: Path, part: str) -> Arrays:
        files = published.find(folder) or []
        images, labels = files[:2] if part == "train" else files[2:]
        return read_idx(images, 3)[:, None], read_idx(labels, 1).astype(np.int64)

    fetch, classes = partial(dataset, download=True), dataset.classes
    published = Published("fashion_mnist", layouts, fetch, lambda _folder: classes, read_arrays)
    return published


def read_idx(file: Path, dimensions: int) -> np.ndarray:
    """Read an array of bytes from a file in the IDX format, gzipped or not.

    Args:
        dimensions: required number of dimensions.

    Raises:
        DataError: if it is not such a file, or incomplete.
    """

    def refusal(got: object) -> DataError:
        return DataError(
            f"{show_name(file)}: must be an IDX file of bytes in {dimensions} dimensions, got "
            f"{got}. Download it again."
        )

    opened = gzip.open if file.suffix == ".gz" else Path.open
    try:
        with opened(file, "rb") as stream:
            data = stream.read()
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise refusal(error) from error
    header = 4 * (1 + dimensions)
    if len(data) < header or data[:4] != bytes([0, 0, 8, dimensions]):
        raise refusal(f"one that begins with {data[:4].hex() or 'nothing'}")
    shape = np.frombuffer(data[4:header], dtype=">u4").astype(np.int64)
    if len(data) - header != shape.prod():
        raise refusal(f"{len(data) - header} values for {shape.prod()}")
    return np.frombuffer(data, dtype=np.uint8, offset=header).reshape(shape)
