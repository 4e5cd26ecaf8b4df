"""Load a data set by its settings and split validation images off its training images."""

from __future__ import annotations

import hashlib
from importlib import import_module
from pathlib import Path

from ablate.data import DATASETS
from ablate.data.dataset import (
    Contents,
    Dataset,
    Source,
    Split,
    TrainingImages,
    channel_statistics,
    draw_stratified,
    sample_stratified,
    split_validation,
)
from ablate.data.decode import list_tree
from ablate.data.image_folder import list_parts, stream
from ablate.data.scan import FolderScan, OnFile, ignore_file, leave_out, scan_listings
from ablate.data.stored import decoded_split
from ablate.errors import DataError, did_you_mean
from ablate.files.shown import show_name
from ablate.study.callables import is_callable_name
from ablate.study.settings import DatasetSettings, path_from

_STATISTICS_COUNT = 2000
_STATISTICS_SEED = 0


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
        DataError: if it is unknown, missing, empty or inconsistent, has one class, or if the
            validation split takes all or none of the images of a class.
        ParameterError: if its callable cannot be imported.
        UsageError: if the cache cannot be written.
    """
    source = _read_source(settings, base, cache, image_size)
    digests = [source.train.digest]
    if source.validation is None:
        train_rows, validation_rows = split_validation(source, settings.validation)
        train = source.train.take(train_rows)
        validation = source.train.take(validation_rows).resident()
    else:
        train, validation = source.train, source.validation
        digests.append(validation.digest)
    unlabeled, left_out = _read_unlabeled(settings, base, cache, image_size)
    if unlabeled is not None:
        digests.append(unlabeled.digest)
    mean, std = _statistics(train)
    return Dataset(
        train=train,
        validation=validation,
        test=source.test,
        classes=source.classes,
        mean=mean,
        std=std,
        digest=_join(digests),
        stored_size=source.stored_size,
        contents=_contents(source.train, unlabeled),
        unlabeled=unlabeled,
        left_out={**source.left_out, **left_out},
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
    images: TrainingImages
    if source.validation is None:
        images = source.train.take(split_validation(source, settings.validation)[1])
    else:
        images = source.validation
    chosen = draw_stratified(images.labels, count, settings.validation.seed)
    if len(chosen) < len(images):
        images = images.take(chosen)
    return source.classes, images.resident()


def _read_source(settings: DatasetSettings, base: Path, cache: Path, image_size: int) -> Source:
    _check_settings(settings, image_size)
    reader = "from_callable" if is_callable_name(settings.name) else settings.name
    read = import_module(f"ablate.data.{reader}").read
    source: Source = read(settings, base, cache, image_size)
    if len(source.classes) < 2:
        raise DataError(
            f"dataset.name: {settings.name} must have at least two classes, got only "
            f"{', '.join(map(show_name, source.classes)) or 'none'}. Add the images of another."
        )
    return source


def _check_settings(settings: DatasetSettings, image_size: int) -> None:
    name = settings.name
    if name not in DATASETS and not is_callable_name(name):
        raise DataError(
            f"dataset.name: must be a known data set, got {name!r}. {did_you_mean(name, DATASETS)}"
        )
    if settings.resize is not None and settings.resize < image_size:
        raise DataError(
            f"dataset.resize: must be at least the image size {image_size}, got "
            f"{settings.resize}. Raise it, or lower dataset.image_size."
        )
    if settings.validation.path is not None and name != "image_folder":
        raise DataError(
            "dataset.validation.path: only image_folder has a folder of validation images, got "
            f"{settings.validation.path!r} with {name}. Use dataset.validation.fraction."
        )
    has_files = name == "image_folder" or settings.unlabeled is not None
    if settings.skip_unreadable and not has_files:
        raise DataError(
            f"dataset.skip_unreadable: requires image files, got {name}. Remove it, or set "
            "dataset.name to image_folder."
        )
    if settings.loading == "streamed" and not has_files:
        raise DataError(
            f"dataset.loading: streamed requires image files, got {name}. Remove it, or set "
            "dataset.name to image_folder."
        )
    if settings.crop_scale is not None and settings.loading != "streamed":
        raise DataError(
            "dataset.crop_scale: needs images that are decoded in each epoch, got "
            f"{settings.crop_scale:g} with resident ones. Set dataset.loading: streamed."
        )


def _statistics(train: TrainingImages) -> tuple[tuple[float, ...], tuple[float, ...]]:
    if isinstance(train, Split):
        return channel_statistics(train.images)
    sample = sample_stratified(train.labels, _STATISTICS_COUNT, _STATISTICS_SEED)
    return channel_statistics(train.take(sample).resident().images)


def _contents(*images: TrainingImages | None) -> Contents | None:
    """Of all files whose bytes are not in the digest."""
    found = [one.contents for one in images if one is not None and one.contents is not None]
    if not found:
        return None
    return Contents(_join([one.digest for one in found]), max(one.changed for one in found))


def _join(digests: list[str]) -> str:
    """Combine digests; a single one is returned unchanged, for compatibility with old studies."""
    if len(digests) == 1:
        return digests[0]
    return hashlib.sha256("".join(digests).encode()).hexdigest()


# -- A folder of images without labels, to be finetuned on where no term needs one ---------


def _read_unlabeled(
    settings: DatasetSettings, base: Path, cache: Path, image_size: int
) -> tuple[TrainingImages | None, dict[str, int]]:
    """Load the images below `settings.unlabeled`, at any depth, all with label -1; None if it is
    not set.  With the number of files that are left out.

    Raises:
        DataError: if the folder is missing or holds no image, an image cannot be read, or,
            without `resize`, not all have one size.
        UsageError: if the cache cannot be written.
    """
    if settings.unlabeled is None:
        return None, {}
    listing, left_out = list_tree(path_from(base, settings.unlabeled)), dict[str, int]()
    if settings.skip_unreadable:
        found, left_out = leave_out({_UNLABELED: listing}, cache)
        listing = found[_UNLABELED]
    if settings.loading == "streamed":
        return stream(settings, listing, image_size, cache), left_out
    return decoded_split(listing, image_size, settings.resize, cache), left_out


_UNLABELED = "unlabeled"


# -- All files of a study's data, decoded once to find what is wrong with them ------------------


def scan_files(
    settings: DatasetSettings,
    base: Path,
    *,
    most: int | None = None,
    cache: Path | None = None,
    on_file: OnFile = ignore_file,
) -> FolderScan | None:
    """Scan the image files of a data set; None if it has none.

    Args:
        settings, base: as for `load_dataset`; most, cache, on_file: as for `scan_folder`.

    Raises:
        DataError: if a folder is missing, or a class has no image.
    """
    listings = list_parts(settings, base) if settings.name == "image_folder" else {}
    if settings.unlabeled is not None:
        listings[_UNLABELED] = list_tree(path_from(base, settings.unlabeled))
    if not listings:
        return None
    folder = path_from(base, settings.path or str(settings.unlabeled))
    return scan_listings(folder, listings, most=most, cache=cache, on_file=on_file)
