"""A folder of images: train/CLASS/* with test/CLASS/*, val/CLASS/* or both."""

from __future__ import annotations

from pathlib import Path

from ablate.data.dataset import Source, TrainingImages
from ablate.data.listing import Listing, list_classes
from ablate.data.stored import decoded_split
from ablate.data.streamed import StreamedSplit
from ablate.errors import DataError
from ablate.files.shown import show_name
from ablate.study.settings import DatasetSettings, path_from

_TREES = "train/CLASS/* and test/CLASS/* or val/CLASS/*"


def read(settings: DatasetSettings, base: Path, cache: Path, image_size: int) -> Source:
    """The folder's images at `image_size`.

    With train/ and val/ alone, val/ is the test set, as ImageNet's is; with all three it is the
    validation split, unless `validation.path` names another folder.

    Raises:
        DataError: if no path is given, it has no such folders with the same classes, a class has
            no image, an image cannot be read, or, without `resize`, not all have one size.
        UsageError: if the cache cannot be written.
    """
    if settings.path is None:
        raise DataError(
            "dataset.path: image_folder needs a folder with train/ and test/ or val/, got none. "
            "Add it."
        )
    folder = path_from(base, settings.path)
    train = _list_part(folder, "train")
    has_test = (folder / "test").is_dir()
    held_out = "test" if has_test or not (folder / "val").is_dir() else "val"
    test = _list_part(folder, held_out)
    _check_classes(
        f"{show_name(folder)}: train/ and {held_out}/ must have the same classes", train, test
    )
    validation = _list_validation(settings, base, folder, train, has_test=has_test)

    def decode(listing: Listing) -> TrainingImages:
        if settings.loading == "streamed":
            return stream(settings, listing, image_size, cache)
        return decoded_split(listing, image_size, settings.resize, cache)

    return Source(
        classes=train.classes,
        train=decode(train),
        test=lambda: decoded_split(test, image_size, settings.resize, cache),
        validation=(
            None
            if validation is None
            else decoded_split(validation, image_size, settings.resize, cache)
        ),
    )


def stream(
    settings: DatasetSettings, listing: Listing, image_size: int, cache: Path
) -> StreamedSplit:
    """Files as the settings would have them streamed."""
    return StreamedSplit(
        listing=listing,
        image_size=image_size,
        resize=settings.resize,
        crop_scale=settings.crop_scale,
        workers=settings.loading_workers,
        cache=cache,
    )


def _list_part(folder: Path, part: str) -> Listing:
    root = folder / part
    if not root.is_dir():
        missing = f"no {part}/" if folder.is_dir() else "no such folder"
        raise DataError(
            f"{show_name(folder)}: must have {_TREES}, got {missing}. "
            "Correct dataset.path; it starts from the study file's folder."
        )
    return list_classes(root)


def _list_validation(
    settings: DatasetSettings, base: Path, folder: Path, train: Listing, *, has_test: bool
) -> Listing | None:
    if settings.validation.path is not None:
        root = path_from(base, settings.validation.path)
        if not root.is_dir():
            raise DataError(
                f"{show_name(root)}: must have CLASS/*, got no such folder. "
                "Correct dataset.validation.path; it starts from the study file's folder."
            )
    elif has_test and (folder / "val").is_dir():
        root = folder / "val"
    else:
        return None
    found = list_classes(root)
    rule = f"{show_name(root)}: must have the classes of {show_name(folder / 'train')}"
    _check_classes(rule, train, found)
    return found


def _check_classes(rule: str, one: Listing, other: Listing) -> None:
    if one.classes != other.classes:
        odd = sorted(set(one.classes) ^ set(other.classes))
        raise DataError(
            f"{rule}, got {', '.join(map(show_name, odd))} in only one of them. "
            "Add or remove their folders."
        )
