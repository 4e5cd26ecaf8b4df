"""Load a data set by its settings and split validation images off its training images."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from importlib import import_module
from pathlib import Path

from ablate.data import PUBLISHED
from ablate.data.dataset import (
    Dataset,
    Source,
    Split,
    SplitRows,
    TrainingImages,
    channel_statistics,
    draw_stratified,
    sample_stratified,
    split_validation,
    take_rows,
)
from ablate.data.image_folder import (
    UNLABELED_PART,
    list_parts,
    list_unlabeled_part,
    readable,
    training_images,
)
from ablate.data.scan import FolderScan, OnFile, scan_listings
from ablate.errors import DataError
from ablate.files.shown import show_name
from ablate.study.callables import is_callable_name
from ablate.study.settings import DatasetSettings, path_from

_STATISTICS_COUNT = 2000


def load_dataset(
    settings: DatasetSettings, base: Path, cache: Path, *, image_size: int = 32
) -> Dataset:
    """Load the data set of the settings; the test images are not read.

    Args:
        settings: the study's `dataset` section.
        base: folder for a relative `path`.
        cache: folder for decoded images and downloads.
        image_size: input size of the network in pixels: `settings.image_size`, or if that is None
            the network's own.

    Raises:
        DataError: if it is missing, empty or inconsistent, has one class, or if the validation
            split takes all or none of the images of a class.
        ParameterError: if its callable cannot be imported.
        UsageError: if the cache cannot be written.
    """
    source = _read_source(settings, base, cache, image_size)
    digests = [source.train.digest]
    if source.validation is None:
        train_rows, validation_rows = split_validation(source, settings.validation)
        train = take_rows(source.train, train_rows)
        validation = source.train.take(validation_rows).resident()
    else:
        train, validation = source.train, source.validation
        digests.append(validation.digest)
    streamed = [source.train.contents]
    unlabeled, left_out = None, dict(source.left_out)
    if (listing := list_unlabeled_part(settings, base)) is not None:
        listing, count = readable(settings, listing, cache)
        left_out |= {UNLABELED_PART: count} if count else {}
        unlabeled = training_images(settings, listing, image_size, cache)
        digests.append(unlabeled.digest)
        streamed.append(unlabeled.contents)
    if isinstance(train, SplitRows):
        mean, std = channel_statistics(train.split.images, train.rows)
    elif isinstance(train, Split):
        mean, std = channel_statistics(train.images)
    else:
        sample = train.take(sample_stratified(train.labels, _STATISTICS_COUNT, 0))
        mean, std = channel_statistics(sample.resident().images)
    contents = [digest for digest in streamed if digest is not None]
    return Dataset(
        train=train,
        validation=validation,
        test=source.test,
        classes=source.classes,
        mean=mean,
        std=std,
        digest=_join(digests),
        stored_size=source.stored_size,
        contents=_join(contents) if contents else None,
        unlabeled=unlabeled,
        left_out=left_out,
    )


def load_validation(
    settings: DatasetSettings, base: Path, cache: Path, *, count: int, image_size: int = 32
) -> tuple[tuple[str, ...], Split]:
    """Load the names of the classes, and some of the validation images of `load_dataset`.

    Nothing is downloaded.  If a folder's decoded images are no longer cached, all of it is decoded.

    Args:
        count: largest number, balanced over classes as far as possible; the same images each time.

    Raises: as `load_dataset`.
    """
    here = settings.model_copy(update={"download": False})
    source = _read_source(here, base, cache, image_size)
    images: TrainingImages | None = source.validation
    if images is None:
        images = source.train.take(split_validation(source, settings.validation)[1])
    chosen = draw_stratified(images.labels, count, settings.validation.seed)
    if len(chosen) < len(images):
        images = images.take(chosen)
    return source.classes, images.resident()


def count_classes(settings: DatasetSettings, base: Path) -> int | None:
    """Number of classes, as the name of the data set or its folders tell; None: they do not."""
    known = {"digits": 10, "cifar10": 10, "cifar100": 100}.get(settings.name)
    if settings.name != "image_folder" or settings.path is None:
        return known
    with suppress(OSError):  # a missing folder is refused where it is read
        entries = (path_from(base, settings.path) / "train").iterdir()
        return sum(entry.is_dir() for entry in entries if entry.name[0] != ".") or None
    return None


def scan_files(
    settings: DatasetSettings,
    base: Path,
    *,
    most: int | None = None,
    cache: Path | None = None,
    on_file: OnFile | None = None,
) -> FolderScan | None:
    """Scan the image files of a data set; None if it has none.

    Args:
        settings, base: as for `load_dataset`; most, cache, on_file: as for `scan_listings`.

    Raises:
        DataError: if a folder is missing, or a class has no image.
    """
    listings = list_parts(settings, base) if settings.name == "image_folder" else {}
    if (unlabeled := list_unlabeled_part(settings, base)) is not None:
        listings[UNLABELED_PART] = unlabeled
    if not listings:
        return None
    folder = path_from(base, settings.path or str(settings.unlabeled))
    return scan_listings(folder, listings, most=most, cache=cache, on_file=on_file)


def _read_source(settings: DatasetSettings, base: Path, cache: Path, image_size: int) -> Source:
    if settings.resize is not None and settings.resize < image_size:
        raise DataError(
            f"dataset.resize: must be at least the image size {image_size}, got "
            f"{settings.resize}. Raise it, or lower dataset.image_size."
        )
    source = read_source(settings, base, cache, image_size)
    if len(source.classes) < 2:
        raise DataError(
            f"dataset.name: {settings.name} must have at least two classes, got only "
            f"{', '.join(map(show_name, source.classes)) or 'none'}. Add the images of another."
        )
    return source


def read_source(settings: DatasetSettings, base: Path, cache: Path, image_size: int) -> Source:
    """What the reader of the data set gives, at `image_size`."""
    name = "published" if settings.name in PUBLISHED else settings.name
    reader = "from_callable" if is_callable_name(name) else name
    source: Source = import_module(f"ablate.data.{reader}").read(settings, base, cache, image_size)
    return source


def _join(digests: list[str]) -> str:
    """Combine digests; a single one is returned unchanged."""
    if len(digests) == 1:
        return digests[0]
    return hashlib.sha256("".join(digests).encode()).hexdigest()
