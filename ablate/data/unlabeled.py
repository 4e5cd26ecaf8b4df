"""A folder of images without labels, to be finetuned on where no term needs one."""

from __future__ import annotations

from pathlib import Path

from ablate.data.dataset import TrainingImages
from ablate.data.image_folder import stream
from ablate.data.listing import list_tree
from ablate.data.stored import decoded_split
from ablate.study.settings import DatasetSettings, path_from


def read_unlabeled(
    settings: DatasetSettings, base: Path, cache: Path, image_size: int
) -> TrainingImages | None:
    """The images below `settings.unlabeled`, at any depth, all with label -1; none: no such key.

    Raises:
        DataError: if the folder is missing or holds no image, an image cannot be read, or,
            without `resize`, not all have one size.
        UsageError: if the cache cannot be written.
    """
    if settings.unlabeled is None:
        return None
    listing = list_tree(path_from(base, settings.unlabeled))
    if settings.loading == "streamed":
        return stream(settings, listing, image_size, cache)
    return decoded_split(listing, image_size, settings.resize, cache)
